//! One body on its way into a file. What is small is handed to a writer once it is whole; what
//! is large goes there in pieces, so that it takes no more memory than a small one.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::parts::Kept;
use super::writer::{Order, Temp};
use super::{Shared, part_is_gone, writer_of};
use crate::model::{FetchError, Part, RelPath, Version};
use crate::store::{BodyFile, Done, trouble};

/// Bytes that are collected before they are handed to a writer.
const FULL: usize = 256 * 1024;
/// And pieces: each takes some memory of its own.
const MOST_CHUNKS: usize = 512;

/// One body on its way into a file.
pub struct FileBody {
    shared: Arc<Shared>,
    file: RelPath,
    /// What it has to be kept for when it is cut off.
    version: Option<Version>,
    /// Not handed to a writer yet.
    chunks: Vec<Bytes>,
    held: usize,
    /// Of the whole body so far.
    length: u64,
    /// Where its beginning is.
    temp: Option<Arc<Temp>>,
    /// Whether an attempt has taken the part: it gives it back, too.
    is_taken: bool,
    /// Nothing is to be done when it is dropped.
    is_over: bool,
}

impl FileBody {
    /// A body from its first byte on.
    pub fn new(shared: Arc<Shared>, file: RelPath, version: Option<Version>) -> Self {
        Self {
            shared,
            file,
            version,
            chunks: Vec::new(),
            held: 0,
            length: 0,
            temp: None,
            is_taken: false,
            is_over: false,
        }
    }

    /// The rest of a body.
    pub fn continued(
        shared: Arc<Shared>,
        file: RelPath,
        version: Option<Version>,
        length: u64,
        temp: Option<Arc<Temp>>,
    ) -> Result<Self, FetchError> {
        if temp.is_none() {
            return Err(part_is_gone(&shared.folder, &file));
        }
        let mut body = Self::new(shared, file, version);
        body.length = length;
        body.temp = temp;
        body.is_taken = true;
        Ok(body)
    }

    fn take_chunks(&mut self) -> Vec<Bytes> {
        self.held = 0;
        std::mem::take(&mut self.chunks)
    }

    fn temp(&mut self) -> Arc<Temp> {
        let shared = &self.shared;
        Arc::clone(self.temp.get_or_insert_with(|| Arc::new(shared.temp())))
    }

    async fn hand_on(&mut self) -> Result<(), FetchError> {
        let room = self.room().await?;
        let chunks = self.take_chunks();
        let temp = self.temp();
        let writer = writer_of(&temp, &self.shared.writers);
        self.shared
            .writers
            .hand(writer, Order::Append(temp, chunks), Some(room));
        Ok(())
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, FetchError> {
        let room = self.shared.writers.room(self.held).await;
        room.ok_or_else(|| trouble::stuck(&self.shared.folder.path()))
    }

    /// It was cut off: what came is kept.
    fn suspend(&mut self, version: Version) {
        let chunks = self.take_chunks();
        let temp = self.temp();
        if !chunks.is_empty() {
            // Nothing can be waited for here; it is less than a large body holds anyway.
            let order = Order::Append(Arc::clone(&temp), chunks);
            let writer = writer_of(&temp, &self.shared.writers);
            self.shared.writers.hand(writer, order, None);
        }
        let part = Part {
            id: temp.id(),
            version,
            length: self.length,
        };
        let kept = Kept {
            part,
            temp,
            // Not free a moment before it is given back: an equal line could take it in
            // between, and that would give it to a third one.
            in_use: self.is_taken,
        };
        if let Some(unwanted) = self.shared.parts.keep(self.file.clone(), kept) {
            self.shared.remove(unwanted);
        }
    }

    fn remove(&mut self) {
        if let Some(temp) = self.temp.take() {
            self.shared.parts.remove(&self.file, temp.id());
            self.shared.remove(temp);
        }
    }
}

impl BodyFile for FileBody {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.length += chunk.len() as u64;
        self.held += chunk.len();
        self.chunks.push(chunk);
        if self.held < FULL && self.chunks.len() < MOST_CHUNKS {
            return Ok(());
        }
        self.hand_on().await?;
        self.temp
            .as_ref()
            .and_then(|temp| temp.failure())
            .map_or(Ok(()), Err)
    }

    async fn commit(mut self, done: Done) {
        if self.temp.is_some() {
            if !self.chunks.is_empty()
                && let Err(error) = self.hand_on().await
            {
                return done(Err(error));
            }
            self.is_over = true;
            let temp = self.temp();
            self.shared.parts.remove(&self.file, temp.id());
            let writer = writer_of(&temp, &self.shared.writers);
            let order = Order::Finish {
                temp,
                length: self.length,
                file: self.file.clone(),
                done,
            };
            return self.shared.writers.hand(writer, order, None);
        }
        let room = match self.room().await {
            Ok(room) => Some(room),
            Err(error) => return done(Err(error)),
        };
        self.is_over = true;
        let order = Order::Body {
            temp: self.shared.temp(),
            chunks: self.take_chunks(),
            file: self.file.clone(),
            done,
        };
        let writer = self.shared.writers.pick();
        self.shared.writers.hand(writer, order, room);
    }

    fn discard(mut self) {
        self.is_over = true;
        self.remove();
    }
}

impl Drop for FileBody {
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
