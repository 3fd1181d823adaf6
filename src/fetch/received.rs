//! The body of a real response, with a check that an HTTP/2 stream really ended.

use std::sync::Arc;

use bytes::Bytes;
use http::{Version, header};

use super::ResponseBody;
use super::chunk_repair::ChunkRepairer;
use super::classify::{
    FailurePhase, classify, is_broken_trailer, wants_http1, was_overwhelmed, was_throttled,
};
use super::habits::{HostHabit, HostHabits};
use crate::model::{Cause, FetchError, ResendCause, ResponseHead, WireState};

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
    habits: Arc<HostHabits>,
    wire: Arc<WireState>,
}

/// What the `Transfer-Encoding` of a response says about chunks.
#[derive(Debug, Default)]
struct ChunkedCoding {
    /// How often `chunked` is listed; more than once is invalid (RFC 9112 §7).
    count: usize,
    /// Whether an empty element ends the list, which hides `chunked` from the client.
    is_hidden: bool,
}

impl ChunkedCoding {
    fn of(head: &ResponseHead) -> Self {
        let mut coding = Self::default();
        let lines = head.headers.get_all(header::TRANSFER_ENCODING).iter();
        for name in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            let name = name.trim_ascii();
            coding.count += usize::from(name.eq_ignore_ascii_case(b"chunked"));
            coding.is_hidden = name.is_empty() && coding.count > 0;
        }
        coding
    }
}

impl HttpBody {
    /// Creates the body of the response with this `head`.
    pub(super) fn new(
        response: reqwest::Response,
        head: &ResponseHead,
        may_be_repaired: bool,
        habits: Arc<HostHabits>,
        wire: Arc<WireState>,
    ) -> Self {
        let chunked = ChunkedCoding::of(head);
        if chunked.is_hidden && may_be_repaired {
            wire.mark_resendable(ResendCause::Malformed);
        }
        Self {
            received: 0,
            expected: response.content_length(),
            response: Some(response),
            has_marked_end: head.version == Version::HTTP_2,
            may_be_repaired,
            inner_chunks: (chunked.count > 1).then(Box::default),
            habits,
            wire,
        }
    }

    /// Ends the body after an error of its stream. It is complete if all announced bytes were
    /// received: then it does not matter how an HTTP/2 stream ended.
    fn end_broken(&self, error: reqwest::Error) -> Result<(), FetchError> {
        let (throttled, failed) = (was_throttled(&error), self.note_http2_failure(&error));
        let phase = FailurePhase::Body {
            received: self.received,
            expected: self.expected,
        };
        let error = classify(error, phase);
        // A protocol error may be that the server sent more than it announced.
        let is_protocol = matches!(error, FetchError::Protocol { .. });
        if self.expected == Some(self.received) && !is_protocol {
            return Ok(());
        }
        if throttled {
            self.wire.mark_throttled();
        }
        if failed {
            self.wire.mark_resendable(ResendCause::Http2Failed);
        } else if self.may_be_repaired && is_protocol {
            self.wire.mark_resendable(ResendCause::Malformed);
        }
        Err(error)
    }

    /// Records what the error of a body reveals about its host. Returns whether HTTP/1.1, or
    /// another connection, may succeed.
    fn note_http2_failure(&self, error: &reqwest::Error) -> bool {
        let habit = if was_overwhelmed(error) {
            HostHabit::OVERFLOWS
        } else if wants_http1(error) {
            HostHabit::HTTP1
        } else {
            return false;
        };
        if let Some(response) = &self.response {
            self.habits.add(response.url(), habit);
        }
        true
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
            Ok(chunk) => chunk,
            // Trailers are not used, and curl and browsers tolerate invalid ones.
            Err(error) if is_broken_trailer(&error) => None,
            Err(error) => {
                self.end_broken(error)?;
                self.response = None;
                None
            }
        };
        match &chunk {
            Some(chunk) => self.take_in(chunk),
            None => self.end()?,
        }
        Ok(chunk)
    }
}
