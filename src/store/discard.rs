//! Counts the bytes and lets them go.

use bytes::Bytes;

use super::{BodyFile, BodyStore, Done};
use crate::model::{Attempt, FetchError, Part, ResponseHead, Saved, Version};

/// Counts the bytes and lets them go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

/// A body that is only counted.
#[derive(Debug, Default)]
pub struct Counted(u64);

impl BodyStore for Discard {
    type File = Counted;

    fn begin(
        &self,
        _: &Attempt,
        _: &ResponseHead,
        _: Option<Version>,
        _: Option<&Part>,
    ) -> Result<Counted, FetchError> {
        Ok(Counted::default())
    }
}

impl BodyFile for Counted {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.0 += chunk.len() as u64;
        Ok(())
    }

    async fn commit(self, done: Done) {
        done(Ok(Saved {
            bytes: self.0,
            ..Saved::default()
        }));
    }

    fn discard(self) {}
}
