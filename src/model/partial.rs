//! Bodies and responses that earlier attempts or runs left: for range and conditional requests.

use http::HeaderValue;
use url::Url;

use super::{ByteRanges, PriorFetch};

/// Identifies one version of a body, so that bytes of two versions are never joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyVersion {
    /// The URL in the list, before any redirects.
    pub job_url: Url,
    /// The URL that sent the body. A validator holds for one URL only (RFC 9110 §8.8), so for
    /// any other URL the total length has to match, too.
    pub url: Url,
    /// A strong validator, as sent in `If-Range` (RFC 9110 §13.1.5).
    pub validator: HeaderValue,
    /// Length of the whole body in bytes, if known.
    pub total: Option<u64>,
}

impl BodyVersion {
    /// Whether the validator is an `ETag`. `Last-Modified`, the other validator, has no quotes.
    #[must_use]
    pub(crate) fn is_tagged(&self) -> bool {
        self.validator.as_bytes().starts_with(b"\"")
    }
}

/// The first bytes of a body, kept by a store, and others if it came in segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartialBody {
    /// The version that the bytes belong to.
    pub version: BodyVersion,
    /// Number of bytes kept, counted from the start of the body.
    pub length: u64,
    /// The bytes kept after the gap that follows.
    pub beyond: ByteRanges,
}

impl PartialBody {
    /// Returns the offset after the last byte to request, if that is not the end of the body.
    #[must_use]
    pub(crate) fn request_end(&self) -> Option<u64> {
        let next = self.beyond.iter().next();
        next.map(|(start, _)| start)
    }

    /// Returns the number of bytes kept in all.
    #[must_use]
    pub(crate) fn kept(&self) -> u64 {
        self.length + self.beyond.length()
    }
}

/// The validators of a page that an earlier run fetched, for a conditional request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revalidation {
    /// Its `ETag`, weak or strong.
    pub etag: Option<HeaderValue>,
    /// Its `Last-Modified`.
    pub last_modified: Option<HeaderValue>,
    /// The earlier run's record of the page.
    pub past: PriorFetch,
}
