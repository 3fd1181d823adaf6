//! Discards bodies, for runs that save none.

use bytes::Bytes;

use super::{BodyStore, BodyWriter, SaveCallback};
use crate::model::{Attempt, BodyVersion, FetchError, ResponseHead, SavedBody};

/// Discards bodies and only counts their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiscardStore;

/// Counts the bytes of one body.
#[derive(Debug, Default)]
pub(crate) struct DiscardWriter(u64);

impl BodyStore for DiscardStore {
    type File = DiscardWriter;

    fn create(
        &self,
        _: &Attempt,
        _: &ResponseHead,
        _: impl FnOnce() -> Option<BodyVersion>,
        _: Option<DiscardWriter>,
    ) -> DiscardWriter {
        DiscardWriter::default()
    }
}

impl BodyWriter for DiscardWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.0 += chunk.len() as u64;
        Ok(())
    }

    async fn commit(self, done: SaveCallback) {
        done(Ok(SavedBody {
            bytes: self.0,
            ..SavedBody::default()
        }));
    }

    fn discard(self) {}
}
