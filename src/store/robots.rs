//! Collects the body of a robots.txt for the queue, which reads the rules.

use bytes::Bytes;
use http::HeaderValue;

use super::{BodyWriter, SaveCallback};
use crate::model::{Cause, FetchError, MAX_ROBOTS_BYTES, RobotsBody, RobotsRoom, SavedBody};

/// Collects one robots.txt, as far as it counts.
pub(crate) struct RobotsWriter {
    body: RobotsBody,
    room: RobotsRoom,
    /// The content coding that is not known, if there is one.
    kept: Option<HeaderValue>,
}

impl RobotsWriter {
    pub(crate) fn new(body: RobotsBody, room: RobotsRoom, kept: Option<HeaderValue>) -> Self {
        // What an earlier attempt received.
        drop(body.take());
        Self { body, room, kept }
    }
}

impl BodyWriter for RobotsWriter {
    /// Fails once there is more than counts: the rest, which may have no end, is not received. A long
    /// body waits here until few others are in memory; each of them ends by its own time limits.
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        if let Some(coding) = &self.kept {
            return Err(FetchError::Decode {
                coding: String::from_utf8_lossy(coding.as_bytes()).into_owned(),
                cause: Cause::from_text("the coding is not known"),
            });
        }
        if self.body.needs_room(chunk.len())
            && let Some(room) = self.room.reserve().await
        {
            self.body.keep_room(room);
        }
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
