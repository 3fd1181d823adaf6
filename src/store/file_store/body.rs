//! Collects one body for a file. A small body is sent to a writer thread when complete, a large one
//! in pieces, so that memory per body is bounded.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::parts::{StoredPart, describe_part};
use super::segment_writer::SegmentedFile;
use super::shared::{FLUSH_BYTES, FileStoreShared, MAX_CHUNKS, writer_of};
use super::writer::{FinalFile, TempFile, WriteOrder};
use crate::model::{BodyVersion, FetchError, PartialBody};
use crate::store::worker_pool::DISK_TIMEOUT;
use crate::store::{BodyWriter, SaveCallback, save_error};

/// Collects one body for a file.
pub(crate) struct FileBodyWriter {
    shared: Arc<FileStoreShared>,
    file: FinalFile,
    /// If set, the body is kept as a partial body when it is cut off.
    version: Option<BodyVersion>,
    /// Chunks not sent to a writer yet.
    chunks: Vec<Bytes>,
    held: usize,
    /// Length of the body so far, in bytes.
    length: u64,
    /// The file with the bytes already sent to a writer.
    temp: Option<Arc<TempFile>>,
    /// Length of the whole body, if it comes in segments, of which this writes the first.
    total: Option<u64>,
    /// Whether it was committed or discarded, so that `drop` has nothing to do.
    is_over: bool,
}

impl FileBodyWriter {
    /// Starts a body at its first byte.
    pub(crate) fn new(
        shared: Arc<FileStoreShared>,
        file: FinalFile,
        version: Option<BodyVersion>,
    ) -> Self {
        Self {
            shared,
            file,
            version,
            chunks: Vec::new(),
            held: 0,
            length: 0,
            temp: None,
            total: None,
            is_over: false,
        }
    }

    /// Returns the writer of a body whose first bytes are on disk.
    pub(crate) fn from_part(
        shared: Arc<FileStoreShared>,
        file: FinalFile,
        kept: StoredPart,
    ) -> Self {
        let mut body = Self::new(shared, file, Some(kept.part.version));
        body.length = kept.part.length;
        body.temp = Some(kept.temp);
        if !kept.part.beyond.is_empty() {
            body.total = body.version.as_ref().and_then(|version| version.total);
        }
        body
    }

    /// Continues the body, with what the response with the rest says of it.
    pub(crate) fn resume(mut self, file: FinalFile, version: Option<BodyVersion>) -> Self {
        self.file = file;
        self.version = version;
        self
    }

    fn take_chunks(&mut self) -> Vec<Bytes> {
        self.held = 0;
        std::mem::take(&mut self.chunks)
    }

    /// Returns the order to write the chunks.
    fn take_order(&mut self, is_last: bool) -> (Arc<TempFile>, WriteOrder) {
        let start = self.length - self.held as u64;
        let chunks = self.take_chunks();
        let temp = self.temp();
        temp.claim(start, self.length);
        let order = WriteOrder::Write {
            temp: Arc::clone(&temp),
            start,
            chunks,
            is_last,
        };
        (temp, order)
    }

    fn temp(&mut self) -> Arc<TempFile> {
        let shared = &self.shared;
        Arc::clone(self.temp.get_or_insert_with(|| Arc::new(shared.temp())))
    }

    async fn flush(&mut self) -> Result<(), FetchError> {
        let permit = self.reserve().await?;
        let (temp, order) = self.take_order(false);
        let writer = writer_of(&temp, &self.shared.writers);
        self.shared.writers.send_to(writer, order, Some(permit));
        Ok(())
    }

    async fn reserve(&self) -> Result<OwnedSemaphorePermit, FetchError> {
        let permit = self.shared.writers.reserve_bytes(self.held).await;
        permit.ok_or_else(|| save_error::save_timeout(&self.shared.folder.path()))
    }

    /// Keeps the bytes so far as a partial body.
    fn suspend(&mut self, version: BodyVersion) {
        let has_chunks = !self.chunks.is_empty();
        let (temp, order) = self.take_order(true);
        if has_chunks {
            // Called from `drop`, which cannot wait for queue space; it is about FLUSH_BYTES at
            // most.
            let writer = writer_of(&temp, &self.shared.writers);
            self.shared.writers.send_to(writer, order, None);
        }
        let there = temp.claimed();
        let length = there.prefix();
        let part = PartialBody {
            version,
            length,
            beyond: there.between(length, u64::MAX),
        };
        let kept = StoredPart { part, temp };
        if let Some(useless) = self.shared.parts.keep(self.file.path.clone(), kept) {
            self.shared.remove(useless);
        }
    }

    fn remove(&mut self) {
        if let Some(temp) = self.temp.take() {
            self.shared.remove(temp);
        }
    }
}

impl BodyWriter for FileBodyWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.length += chunk.len() as u64;
        self.held += chunk.len();
        self.chunks.push(chunk);
        if self.held < FLUSH_BYTES && self.chunks.len() < MAX_CHUNKS {
            return Ok(());
        }
        self.flush().await?;
        self.temp
            .as_ref()
            .and_then(|temp| temp.failure())
            .map_or(Ok(()), Err)
    }

    async fn commit(mut self, done: SaveCallback) {
        if self.temp.is_some() {
            if !self.chunks.is_empty()
                && let Err(error) = self.flush().await
            {
                return done(Err(error));
            }
            self.is_over = true;
            let temp = self.temp();
            let writer = writer_of(&temp, &self.shared.writers);
            let order = WriteOrder::Finish {
                temp,
                length: self.total.unwrap_or(self.length),
                file: self.file.clone(),
                done,
            };
            return self.shared.writers.send_to(writer, order, None);
        }
        let permit = match self.reserve().await {
            Ok(permit) => Some(permit),
            Err(error) => return done(Err(error)),
        };
        self.is_over = true;
        let order = WriteOrder::Body {
            id: self.shared.next_id(),
            chunks: self.take_chunks(),
            file: self.file.clone(),
            done,
        };
        let writer = self.shared.writers.pick_worker();
        self.shared.writers.send_to(writer, order, permit);
    }

    fn discard(mut self) {
        self.is_over = true;
        self.remove();
    }

    fn segments(&mut self) -> Option<SegmentedFile> {
        let total = self.version.as_ref()?.total?;
        let temp = self.temp();
        let shared = Arc::clone(&self.shared);
        let version = self.version.as_ref()?;
        let head = describe_part(&self.file.path, temp.id(), version, self.shared.sync)?;
        let was_split = self.total.replace(total).is_some();
        let file = SegmentedFile::new(shared, temp, head, total);
        if was_split {
            // It goes on with a gap, and a kill must not cost what comes of that.
            file.begin_log();
        }
        Some(file)
    }

    async fn read_back(&self) -> Result<File, FetchError> {
        let shown = || self.shared.folder.display_path(&self.file.path);
        let missing = || save_error::save_error(&shown(), &io::ErrorKind::NotFound.into(), false);
        let temp = self.temp.as_ref().ok_or_else(missing)?;
        let (sender, opened) = oneshot::channel();
        // Opened by the thread that writes it, after all pending writes.
        let reader = Box::new(move |file| drop(sender.send(file)));
        let writer = writer_of(temp, &self.shared.writers);
        let order = WriteOrder::Read(Arc::clone(temp), reader);
        self.shared.writers.send_to(writer, order, None);
        match tokio::time::timeout(DISK_TIMEOUT, opened).await {
            Err(_) => Err(save_error::save_timeout(&shown())),
            Ok(Ok(opened)) => {
                opened.map_err(|error| save_error::save_error(&shown(), &error, false))
            }
            Ok(Err(_)) => Err(missing()),
        }
    }
}

impl Drop for FileBodyWriter {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        match self.version.take().filter(|_| self.length > 0) {
            Some(version) => self.suspend(version),
            None => self.remove(),
        }
    }
}
