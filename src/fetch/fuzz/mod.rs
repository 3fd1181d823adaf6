//! Fuzz targets for error classification, decoding, fault specifications and credentials.

mod chains;
mod coded;
mod netrc;
mod spec;
