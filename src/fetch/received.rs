//! The body of a real response, with a check that an HTTP/2 stream really ended.

use std::sync::Arc;

use bytes::Bytes;
use http::{Version, header};

use super::ResponseBody;
use super::chunk_repair::ChunkRepairer;
use super::classify::{FailurePhase, classify, is_broken_trailer, was_throttled};
use crate::model::{Cause, FetchError, ResponseHead, Unprocessed, WireState};

/// The body of a real response.
#[derive(Debug)]
pub(crate) struct HttpBody {
    /// `None` once the body has ended.
    response: Option<reqwest::Response>,
    received: u64,
    expected: Option<u64>,
    /// HTTP/2 marks the end of every body. The client also treats a stream reset with NO_ERROR as
    /// ended (RFC 9113 §8.1), which is right only if all announced bytes were received.
    has_marked_end: bool,
    /// Whether the lenient client may accept what this one rejects.
    may_be_repaired: bool,
    /// Finds out whether the body still is chunked, if `chunked` is listed twice. Most often an
    /// application and a proxy in front of it both add the header, and only one sends chunks.
    inner_chunks: Option<Box<ChunkRepairer>>,
    wire: Arc<WireState>,
}

/// Whether `chunked` is listed more than once (RFC 9112 §7 forbids it).
fn is_chunked_twice(head: &ResponseHead) -> bool {
    let lines = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_chunked = |name: &&[u8]| name.trim_ascii().eq_ignore_ascii_case(b"chunked");
    names.filter(is_chunked).nth(1).is_some()
}

impl HttpBody {
    /// Creates the body of the response with this `head`.
    pub(crate) fn new(
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
            inner_chunks: is_chunked_twice(head).then(Box::default),
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

    fn take_in(&mut self, chunk: &[u8]) {
        self.received += chunk.len() as u64;
        let inner = self.inner_chunks.as_mut();
        if inner.is_some_and(|inner| inner.push(chunk, &mut Vec::new()).is_err()) {
            self.inner_chunks = None;
        }
    }

    fn end(&mut self) -> Result<(), FetchError> {
        if self.inner_chunks.take().is_some_and(|it| it.has_ended()) {
            return Err(FetchError::Protocol {
                cause: Cause::from_text("body is chunked twice"),
            });
        }
        self.end_stream()
    }

    fn end_stream(&mut self) -> Result<(), FetchError> {
        use hyper::body::Body as _;
        let Some(response) = self.response.take().filter(|_| self.has_marked_end) else {
            return Ok(());
        };
        let is_complete = self.expected == Some(self.received);
        if is_complete || reqwest::Body::from(response).is_end_stream() {
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
            Some(chunk) => self.take_in(chunk),
            None => self.end()?,
        }
        Ok(chunk)
    }
}
