//! The head of a response.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, StatusCode, Version, header};

/// Status, version and headers of a response as the server sent them.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The protocol version it came over.
    pub version: Version,
    /// All headers, `Content-Encoding` and `Content-Length` included. Shared: the record and a
    /// pack both want them.
    pub headers: Arc<HeaderMap>,
    /// The request it answers, where that is kept.
    pub asked: Option<Arc<Asked>>,
}

/// A request as it was sent.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: SystemTime,
    /// All headers but those that the connection adds (`Host`, `Content-Length`).
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// The announced length of the body on the wire, in bytes. Beside a transfer coding
    /// it does not count (RFC 9112 §6.3): servers that compress on the fly forget to take
    /// it out.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        self.text(header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// A header as text; `None` when it is missing or not visible ASCII.
    #[must_use]
    pub fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The protocol version as records write it: `1.1`, `2`.
    #[must_use]
    pub fn version_text(&self) -> Option<&'static str> {
        match self.version {
            Version::HTTP_09 => Some("0.9"),
            Version::HTTP_10 => Some("1.0"),
            Version::HTTP_11 => Some("1.1"),
            Version::HTTP_2 => Some("2"),
            Version::HTTP_3 => Some("3"),
            _ => None,
        }
    }
}
