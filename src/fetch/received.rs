//! A body as it comes from the client, and whether it has come to its end.

use std::sync::Arc;

use bytes::Bytes;
use http::{Version, header};

use super::Body;
use super::classify::{Phase, classify, was_throttled};
use crate::model::{Cause, FetchError, ResponseHead, Wire};

/// The body of a real response.
#[derive(Debug)]
pub struct HttpBody {
    /// Until its end.
    response: Option<reqwest::Response>,
    received: u64,
    expected: Option<u64>,
    /// HTTP/2 marks the end of every body. The client takes a stream that was reset with
    /// NO_ERROR for ended, too, which is right for the request (RFC 9113 §8.1), not for the
    /// response.
    has_marked_end: bool,
    wire: Arc<Wire>,
    /// A header line was passed over, and it may have said that the body comes in chunks.
    may_be_chunked: bool,
}

impl HttpBody {
    /// The body that comes after `head`.
    pub fn new(response: reqwest::Response, head: &ResponseHead, wire: Arc<Wire>) -> Self {
        Self {
            received: 0,
            expected: response.content_length(),
            response: Some(response),
            has_marked_end: head.version == Version::HTTP_2,
            wire,
            may_be_chunked: false,
        }
    }

    /// A header line may have been passed over that said that the body comes in chunks.
    pub fn doubt_framing(&mut self, head: &ResponseHead) {
        let has_chunks = head.headers.contains_key(header::TRANSFER_ENCODING);
        self.may_be_chunked = head.version < Version::HTTP_2 && !has_chunks;
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

/// Whether a body begins as chunks do (RFC 9112 §7.1): `1a2b;name=value` and the end of a line.
fn begins_with_chunk_size(body: &[u8]) -> bool {
    let digits = body.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    let rest = body.get(digits..).unwrap_or_default();
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let has_end = rest.len() > line.len() && line.ends_with(b"\r");
    let after = line.trim_ascii();
    (1..=16).contains(&digits) && has_end && (after.is_empty() || after.starts_with(b";"))
}

impl Body for HttpBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let chunk = response.chunk().await.map_err(|error| {
            if was_throttled(&error) {
                self.wire.mark_throttled();
            }
            let phase = Phase::Body {
                received: self.received,
                expected: self.expected,
            };
            classify(error, phase)
        })?;
        if let Some(chunk) = &chunk
            && std::mem::take(&mut self.may_be_chunked)
            && begins_with_chunk_size(chunk)
        {
            return Err(FetchError::Protocol {
                cause: Cause::words(
                    "a header line is no HTTP, and it must have been the one that says that the \
                     body comes in chunks",
                ),
            });
        }
        match &chunk {
            Some(chunk) => self.received += chunk.len() as u64,
            None => self.end()?,
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_told_by_their_first_line() {
        for (body, is_chunked) in [
            (&b"5\r\nhello\r\n0\r\n\r\n"[..], true),
            (b"1aF;x=y\r\n...", true),
            (b"5 \r\nhello", true),
            (b"5\nhello", false),
            (b"hello\r\n", false),
            (b"\r\nhello", false),
            (b"abc def\r\n", false),
            (b"5", false),
            (b"", false),
        ] {
            assert_eq!(begins_with_chunk_size(body), is_chunked, "{body:?}");
        }
    }
}
