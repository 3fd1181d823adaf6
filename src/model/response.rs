//! Response heads.

use std::net::IpAddr;
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
    /// All headers, including `Content-Encoding` and `Content-Length`. Shared by the record and
    /// the pack.
    pub headers: Arc<HeaderMap>,
    /// The request that it answers, if kept.
    pub asked: Option<Arc<SentRequest>>,
    /// The content coding that the body still has; `None` if it is decoded or never had one.
    pub kept_coding: Option<KeptCoding>,
}

/// A content coding that was not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCoding {
    /// The value of `Content-Encoding`.
    pub value: HeaderValue,
    /// Whether the coding is part of the file itself, as with a `.tar.gz`.
    pub is_own: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

/// A request as sent, and what is known of its connection.
#[derive(Debug, Clone)]
pub struct SentRequest {
    /// When it was sent.
    pub at: SystemTime,
    /// All headers except those that the connection adds (`Host`, `Content-Length`).
    pub headers: HeaderMap,
    /// The address of the server; unknown behind a proxy.
    pub address: Option<IpAddr>,
    /// The version of TLS, if known.
    pub tls: Option<TlsVersion>,
}

impl ResponseHead {
    /// Creates the head of a response over HTTP/1.1.
    #[must_use]
    pub(crate) fn http11(status: StatusCode, headers: HeaderMap) -> Self {
        Self {
            status,
            version: Version::HTTP_11,
            headers: headers.into(),
            asked: None,
            kept_coding: None,
        }
    }

    /// Returns the announced length of the body on the wire, in bytes.
    ///
    /// It is ignored if there is a transfer coding other than `identity` (RFC 9112 §6.3): servers
    /// that compress on the fly forget to remove `Content-Length`.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let mut codings = self.headers.get_all(header::TRANSFER_ENCODING).iter();
        if codings.any(|value| !is_identity(value.as_bytes())) {
            return None;
        }
        self.header_str(header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// Whether the body is chunked (HTTP/1.1). The client decodes chunks only if `chunked` is the
    /// last transfer coding and has no parameters.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        let lines = self.headers.get_all(header::TRANSFER_ENCODING);
        let last = lines.iter().next_back().and_then(|line| line.to_str().ok());
        last.and_then(|line| line.rsplit(',').next())
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
    }

    /// Whether the protocol marks the end of the body. If not, the body ends with the connection,
    /// and a truncated body looks like a complete one.
    #[must_use]
    pub fn marks_end(&self) -> bool {
        self.version >= Version::HTTP_2 || self.is_chunked() || self.content_length().is_some()
    }

    /// Returns a header as text; `None` if it is missing or not visible ASCII.
    #[must_use]
    pub fn header_str(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the protocol version as in records: `1.1`, `2`.
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

/// Whether a `Transfer-Encoding` has no coding but `identity`, so that `Content-Length` applies.
fn is_identity(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').all(|name| {
        let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
        let name = name.trim_ascii();
        name.is_empty() || name.eq_ignore_ascii_case(b"identity")
    })
}
