//! The head of a response.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

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
    pub asked: Option<Arc<SentRequest>>,
    /// The content coding that the body is left with; `None`: it is decoded, or had none.
    pub kept_coding: Option<KeptCoding>,
}

/// A content coding that is not undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCoding {
    /// As `Content-Encoding` has it.
    pub value: HeaderValue,
    /// Whether it is the coding of the file itself, so that the bytes are the file's: that of a
    /// `.tar.gz`.
    pub is_own: bool,
}

/// A request as it was sent.
#[derive(Debug, Clone)]
pub struct SentRequest {
    /// When.
    pub at: SystemTime,
    /// All headers but those that the connection adds (`Host`, `Content-Length`).
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// The announced length of the body on the wire, in bytes. Beside a transfer coding
    /// it does not count (RFC 9112 §6.3): servers that compress on the fly forget to take
    /// it out. `identity` is none.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let mut codings = self.headers.get_all(header::TRANSFER_ENCODING).iter();
        if codings.any(|value| !is_identity(value.as_bytes())) {
            return None;
        }
        self.header_str(header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// Whether the body comes in chunks over HTTP/1.1: only where that is the last transfer
    /// coding, named without parameters, does the client take it out of them.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        let lines = self.headers.get_all(header::TRANSFER_ENCODING);
        let last = lines.iter().next_back().and_then(|line| line.to_str().ok());
        last.and_then(|line| line.rsplit(',').next())
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
    }

    /// Whether the protocol says where the body ends. If not, the end of the connection does,
    /// and nothing tells a body that is whole from one that was cut off.
    #[must_use]
    pub fn marks_end(&self) -> bool {
        self.version >= Version::HTTP_2 || self.is_chunked() || self.content_length().is_some()
    }

    /// A header as text; `None` when it is missing or not visible ASCII.
    #[must_use]
    pub fn header_str(&self, name: header::HeaderName) -> Option<&str> {
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
/// Whether a `Transfer-Encoding` names no coding but `identity`: such a body ends where its
/// `Content-Length` says.
fn is_identity(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').all(|name| {
        let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
        let name = name.trim_ascii();
        name.is_empty() || name.eq_ignore_ascii_case(b"identity")
    })
}
