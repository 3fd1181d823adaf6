//! The body of a real response, with a check that an HTTP/2 stream really ended.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;

use super::ResponseBody;
use super::classify::{FailurePhase, classify, is_broken_trailer, was_throttled};
use crate::model::{FetchError, ResponseHead, Unprocessed, WireState};

/// The body of a real response.
#[derive(Debug)]
pub struct HttpBody {
    /// `None` once the body has ended.
    response: Option<reqwest::Response>,
    received: u64,
    expected: Option<u64>,
    /// HTTP/2 marks the end of every body. The client also treats a stream reset with NO_ERROR as
    /// ended, which is right for the request (RFC 9113 §8.1) but not for the response.
    has_marked_end: bool,
    /// Whether the lenient client may accept what this one rejects.
    may_be_repaired: bool,
    wire: Arc<WireState>,
}

impl HttpBody {
    /// Creates the body of the response with this `head`.
    pub fn new(
        response: reqwest::Response,
        head: &ResponseHead,
        may_be_repaired: bool,
        wire: Arc<WireState>,
    ) -> Self {
        Self {
            received: 0,
            expected: response.content_length(),
            response: Some(response),
            has_marked_end: head.version == Version::HTTP_2,
            may_be_repaired,
            wire,
        }
    }

    /// Classifies the error of a body, and records what it reveals.
    fn failed(&self, error: reqwest::Error) -> FetchError {
        if was_throttled(&error) {
            self.wire.mark_throttled();
        }
        let phase = FailurePhase::Body {
            received: self.received,
            expected: self.expected,
        };
        let error = classify(error, phase);
        if self.may_be_repaired && matches!(error, FetchError::Protocol { .. }) {
            self.wire.mark_unprocessed(Unprocessed::Malformed);
        }
        error
    }

    fn end(&mut self) -> Result<(), FetchError> {
        use hyper::body::Body as _;
        let Some(response) = self.response.take().filter(|_| self.has_marked_end) else {
            return Ok(());
        };
        if reqwest::Body::from(response).is_end_stream() {
            return Ok(());
        }
        Err(FetchError::Truncated {
            received: self.received,
            expected: self.expected,
        })
    }
}

impl ResponseBody for HttpBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let chunk = match response.chunk().await {
            // Trailers are not used, and curl and browsers tolerate invalid ones.
            Err(error) if is_broken_trailer(&error) => Ok(None),
            chunk => chunk,
        };
        let chunk = chunk.map_err(|error| self.failed(error))?;
        match &chunk {
            Some(chunk) => self.received += chunk.len() as u64,
            None => self.end()?,
        }
        Ok(chunk)
    }
}
