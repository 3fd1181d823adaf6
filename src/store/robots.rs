//! Collects the body of a robots.txt for the queue, which reads the rules.

use bytes::Bytes;

use super::{BodyWriter, SaveCallback};
use crate::model::{FetchError, MAX_ROBOTS_BYTES, RobotsBody, SavedBody};

/// Collects one robots.txt, as far as it counts.
pub(crate) struct RobotsWriter {
    body: RobotsBody,
}

impl RobotsWriter {
    pub(crate) fn new(body: RobotsBody) -> Self {
        // What an earlier attempt received.
        drop(body.take());
        Self { body }
    }
}

impl BodyWriter for RobotsWriter {
    /// Fails once there is more than counts: the rest, which may have no end, is not received.
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        if self.body.append(&chunk) {
            return Ok(());
        }
        Err(FetchError::TooLarge {
            limit: MAX_ROBOTS_BYTES as u64,
            announced: None,
        })
    }

    async fn commit(self, done: SaveCallback) {
        done(Ok(SavedBody::default()));
    }

    fn discard(self) {}
}
