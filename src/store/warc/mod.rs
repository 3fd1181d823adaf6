//! Packs many bodies into one WARC 1.1 file (ISO 28500:2017, below "WARC"), one group of
//! records for each exchange. Renders, writes, cuts and reads back, all of it
//! synchronously; knows nothing of queues, threads and the journal itself.
//!
//! A group is metadata, request, response, in this order. The response stands last, so
//! that its end is the end of the group: the journal keeps its place alone, and whatever
//! stands behind the last place it knows is cut off when the pack is opened again. The
//! request stands right before it, because indexers pair the two only when they are
//! neighbours and the later one names the earlier in `WARC-Concurrent-To` (pywb's
//! `join_request_records`).

mod coding;
mod digest;
mod file;
#[cfg(test)]
mod fuzz;
mod http1;
mod id;
mod read;
mod records;
mod render;
#[cfg(test)]
mod tests;

pub use coding::RecordCompression;
pub use digest::{PayloadDigest, PayloadHasher};
pub use file::{KnownEnd, OpenedFile, Pack, PackError};
pub use read::payload_digest;
#[cfg(test)]
pub use read::{payload, read_record};
pub use render::{Exchange, RecordGroup, Renderer, RequestHead, SpooledBody};
