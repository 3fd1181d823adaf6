//! Writes many bodies to one WARC 1.1 file (ISO 28500:2017; section numbers below refer to it), one
//! group of records per exchange. Renders, appends, truncates and reads records synchronously;
//! knows nothing of queues, threads or the journal's format.
//!
//! A group consists of metadata, request and response, in this order. The response is last, so that
//! its end is the end of the group: the journal stores only the location of the response, and
//! everything after the last location it knows is truncated when the pack is reopened. The request
//! directly precedes it, because indexers pair the two only if they are adjacent and the later one
//! names the earlier in `WARC-Concurrent-To` (pywb's `join_request_records`).

mod cdxj;
mod coding;
mod digest;
mod exchange;
mod file;
#[cfg(test)]
mod fuzz;
mod http1;
mod id;
mod pack_error;
mod read;
mod record_head;
mod records;
mod render;
mod surt;
mod tail;
#[cfg(test)]
mod tests;

pub(super) use cdxj::{CDXJ_EXTENSION, CdxjBuilder, write_index};
pub(super) use coding::RecordCompression;
pub(super) use digest::{PayloadDigest, PayloadHasher};
pub(super) use exchange::{Exchange, RequestHead};
pub(crate) use file::KnownEnd;
pub(super) use file::{OpenedFile, PART_EXTENSION, Pack};
pub use pack_error::PackError;
pub(crate) use read::SavedPack;
#[cfg(test)]
pub(super) use read::{payload, read_record};
pub(super) use record_head::ResponseRecordHead;
pub(super) use render::{RecordGroup, Renderer, SpooledBody};
