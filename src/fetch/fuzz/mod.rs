//! Fuzz targets for error classification, decoding and fault specifications.

mod chains;
mod coded;
mod spec;
