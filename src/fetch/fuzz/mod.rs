//! What the rules of this room make of anything.

mod chains;
mod coded;
mod spec;
