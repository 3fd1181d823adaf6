//! What the store and its body writers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use http::HeaderValue;

use super::folder::Folder;
use super::parts::PartIndex;
use super::writer::{DiskWriterPool, TempFile, WriteOrder};
use crate::model::parse_http_date;

/// Collected bytes from which they are sent to a writer.
pub(super) const FLUSH_BYTES: usize = 256 * 1024;
/// The same for the number of chunks, each of which has some overhead.
pub(super) const MAX_CHUNKS: usize = 512;

/// State shared by the store and its body writers.
pub(crate) struct FileStoreShared {
    pub folder: Arc<Folder>,
    pub writers: DiskWriterPool,
    pub parts: PartIndex,
    pub next_id: AtomicU64,
    pub remote_time: bool,
    /// Whether bodies are synced to disk before they count as saved.
    pub sync: bool,
}

impl FileStoreShared {
    /// Returns the time for a file whose response has this `Last-Modified`.
    pub(crate) fn file_time(&self, last_modified: Option<&HeaderValue>) -> Option<SystemTime> {
        let text = last_modified.filter(|_| self.remote_time)?.to_str().ok()?;
        parse_http_date(text)
    }

    pub(crate) fn temp(&self) -> TempFile {
        TempFile::new(self.next_id())
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// Removes a file that is no longer needed.
    pub(crate) fn remove(&self, temp: Arc<TempFile>) {
        self.writers.send_to(
            writer_of(&temp, &self.writers),
            WriteOrder::Remove(temp),
            None,
        );
    }
}

/// Returns the thread that writes this file.
pub(super) fn writer_of(temp: &TempFile, writers: &DiskWriterPool) -> usize {
    writers.worker_for(temp.id())
}
