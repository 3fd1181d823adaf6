//! Counts the bytes and lets them go.

use bytes::Bytes;

use super::{BodyFile, BodyStore};
use crate::model::{Attempt, FetchError, ResponseHead, Saved};

/// Counts the bytes and lets them go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

/// A body that is only counted.
#[derive(Debug, Default)]
pub struct Counted(u64);

impl BodyStore for Discard {
    type File = Counted;

    fn begin(&self, _: &Attempt, _: &ResponseHead) -> Result<Counted, FetchError> {
        Ok(Counted::default())
    }
}

impl BodyFile for Counted {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.0 += chunk.len() as u64;
        Ok(())
    }

    async fn commit(self) -> Result<Saved, FetchError> {
        Ok(Saved {
            bytes: self.0,
            ..Saved::default()
        })
    }
}
