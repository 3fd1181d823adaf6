//! What is here already of a body that was cut off.

use http::HeaderValue;
use url::Url;

use super::PriorFetch;

/// What tells one version of a body from another, so that bytes of two are never glued
/// together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyVersion {
    /// The URL of the list that it is for, wherever redirects led from there.
    pub job_url: Url,
    /// The URL that sent it. A validator says nothing about another one (RFC 9110 §8.8), so
    /// there the total length has to fit, too.
    pub url: Url,
    /// A strong validator, as it stands in `If-Range` (RFC 9110 §13.1.5).
    pub validator: HeaderValue,
    /// Length of the whole body, in bytes, where it is known.
    pub total: Option<u64>,
}

impl BodyVersion {
    /// Whether the validator is an `ETag`, and not a `Last-Modified`: that has no quotes.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.validator.as_bytes().starts_with(b"\"")
    }
}

/// The beginning of a body, kept by a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialBody {
    /// What the store calls it.
    pub id: u64,
    /// Which version it is of.
    pub version: BodyVersion,
    /// So many bytes are here, from the first on.
    pub length: u64,
}

/// What is known of a page from a run before, to be asked for only if it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revalidation {
    /// Its `ETag`, weak or strong.
    pub etag: Option<HeaderValue>,
    /// Its `Last-Modified`.
    pub last_modified: Option<HeaderValue>,
    /// What was written down of it.
    pub past: PriorFetch,
}
