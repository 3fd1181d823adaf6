//! A tar of samples, as WebDataset reads it (POSIX.1-2017, pax, "ustar Interchange Format"): of each
//! fetched body `KEY.json` (the record), `KEY.txt` (the caption, if there is one) and `KEY.EXT`.
//!
//! The body is last, so that its end is the end of the sample: the journal stores only the location
//! of the body, and everything after the last location it knows is cut off when the pack is reopened.

mod extension;
mod head;
mod read;
mod sample;

pub(super) use head::END;
pub(super) use read::{begins_as_ours, ends_as_ours, is_ended_at, pack_id, read_file};
pub(super) use sample::TarSample;
