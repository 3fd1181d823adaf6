//! Keeps bodies in memory: for `--body` and for `fetch_all`.

use bytes::{Bytes, BytesMut};

use super::{BodyStore, BodyWriter, SaveCallback};
use crate::model::{Attempt, BodyVersion, FetchError, ResponseHead, SavedBody};

/// Keeps every body in memory until its record is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoryStore;

/// Collects one body in memory. A body that arrives in one chunk is not copied.
#[derive(Debug, Default)]
pub(crate) struct MemoryWriter {
    first: Bytes,
    rest: BytesMut,
}

impl BodyStore for MemoryStore {
    type File = MemoryWriter;

    fn create(
        &self,
        _: &Attempt,
        _: &ResponseHead,
        _: impl FnOnce() -> Option<BodyVersion>,
        _: Option<MemoryWriter>,
    ) -> MemoryWriter {
        MemoryWriter::default()
    }
}

impl BodyWriter for MemoryWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = chunk;
        } else {
            let first = std::mem::take(&mut self.first);
            self.rest.extend_from_slice(&first);
            self.rest.extend_from_slice(&chunk);
        }
        Ok(())
    }

    async fn commit(self, done: SaveCallback) {
        let body = if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        };
        done(Ok(SavedBody {
            bytes: body.len() as u64,
            body: Some(body),
            ..SavedBody::default()
        }));
    }

    fn discard(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_are_joined_in_order() {
        let mut file = MemoryWriter::default();
        for chunk in ["ab", "", "cde", "f"] {
            file.write(Bytes::from_static(chunk.as_bytes()))
                .await
                .unwrap();
        }
        let (done, saved) = std::sync::mpsc::channel();
        file.commit(Box::new(move |result| done.send(result.unwrap()).unwrap()))
            .await;
        let saved = saved.recv().unwrap();
        assert_eq!(saved.bytes, 6);
        assert_eq!(saved.body.unwrap(), "abcdef");
    }
}
