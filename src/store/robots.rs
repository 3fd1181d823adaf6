//! Collects the body of a robots.txt for the queue, which reads the rules.

use bytes::Bytes;
use http::HeaderValue;

use super::{BodyWriter, SaveCallback};
use crate::model::{Cause, FetchError, MAX_ROBOTS_BYTES, RobotsBody, RobotsRoom, SavedBody};

/// Collects one robots.txt, as far as it counts.
pub(crate) struct RobotsWriter {
    body: RobotsBody,
    room: RobotsRoom,
    has_asked: bool,
    /// The content coding that is not known, if there is one.
    kept: Option<HeaderValue>,
}

impl RobotsWriter {
    pub(crate) fn new(body: RobotsBody, room: RobotsRoom, kept: Option<HeaderValue>) -> Self {
        // What an earlier attempt received.
        drop(body.take());
        Self {
            body,
            room,
            has_asked: false,
            kept,
        }
    }
}

impl BodyWriter for RobotsWriter {
    /// Fails once there is more than counts: the rest, which may have no end, is not received. A long
    /// body waits for a while until few others are in memory.
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        if let Some(coding) = &self.kept {
            return Err(FetchError::Decode {
                coding: String::from_utf8_lossy(coding.as_bytes()).into_owned(),
                cause: Cause::from_text("the coding is not known"),
            });
        }
        if !self.has_asked && self.body.is_long_with(chunk.len()) {
            self.has_asked = true;
            self.body.make_room(self.room.reserve().await);
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
