//! Writes the segments of a body that come at the same time, each to its place in the file.

use std::sync::Arc;

use bytes::Bytes;

use super::segment_log::SegmentLog;
use super::shared::{FLUSH_BYTES, FileStoreShared, MAX_CHUNKS, writer_of};
use super::writer::{TempFile, WriteOrder};
use crate::model::FetchError;
use crate::store::save_error;

/// The file of a body, for its segments.
pub(crate) struct SegmentedFile {
    shared: Arc<FileStoreShared>,
    temp: Arc<TempFile>,
    /// What describes the body in the list of its ranges.
    head: String,
    total: u64,
}

impl SegmentedFile {
    pub(super) fn new(
        shared: Arc<FileStoreShared>,
        temp: Arc<TempFile>,
        head: String,
        total: u64,
    ) -> Self {
        Self {
            shared,
            temp,
            head,
            total,
        }
    }

    /// Lists from now on what is there of the body.
    pub(super) fn begin_log(&self) {
        self.temp
            .begin_log(|| SegmentLog::new(self.head.clone(), self.total, self.shared.sync));
    }

    /// Returns the writer of a segment that begins at `start`. From then on it is listed what is there of
    /// the body.
    #[must_use]
    pub(crate) fn open_segment(&self, start: u64) -> SegmentWriter {
        self.begin_log();
        SegmentWriter {
            shared: Arc::clone(&self.shared),
            temp: Arc::clone(&self.temp),
            start,
            chunks: Vec::new(),
            held: 0,
        }
    }
}

/// Writes one segment of a body. What it was given stays in the file, also if it is dropped.
pub(crate) struct SegmentWriter {
    shared: Arc<FileStoreShared>,
    temp: Arc<TempFile>,
    /// Where the first of the chunks belongs.
    start: u64,
    /// Chunks not sent to a writer yet.
    chunks: Vec<Bytes>,
    held: usize,
}

impl SegmentWriter {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// Kind `save` if they cannot be stored.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.held += chunk.len();
        self.chunks.push(chunk);
        if self.held < FLUSH_BYTES && self.chunks.len() < MAX_CHUNKS {
            return Ok(());
        }
        let permit = self.shared.writers.reserve_bytes(self.held).await;
        if permit.is_none() {
            return Err(save_error::save_timeout(&self.shared.folder.path()));
        }
        let order = self.take_order(false);
        let writer = writer_of(&self.temp, &self.shared.writers);
        self.shared.writers.send_to(writer, order, permit);
        self.temp.failure().map_or(Ok(()), Err)
    }

    fn take_order(&mut self, is_last: bool) -> WriteOrder {
        let chunks = std::mem::take(&mut self.chunks);
        let start = self.start;
        self.start += std::mem::take(&mut self.held) as u64;
        self.temp.claim(start, self.start);
        WriteOrder::Write {
            temp: Arc::clone(&self.temp),
            start,
            chunks,
            is_last,
        }
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        // `drop` cannot wait for queue space; it is about FLUSH_BYTES at most.
        let order = self.take_order(true);
        let writer = writer_of(&self.temp, &self.shared.writers);
        self.shared.writers.send_to(writer, order, None);
    }
}
