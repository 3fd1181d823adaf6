//! The words of this folder: the name that is looked up, and what that ends with.

use std::net::IpAddr;
use std::sync::Arc;

/// What a look-up ends with: addresses in the order in which they are to be tried
/// (RFC 6724), as the system gave them.
pub type LookupResult = Result<Vec<IpAddr>, ResolveError>;

/// A name that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ResolveError {
    pub host: String,
    /// The name system says that there is no such name.
    pub not_found: bool,
    reason: String,
}

impl ResolveError {
    /// The name system could not tell: what a rehearsal simulates.
    pub fn temporary(host: &str) -> Self {
        Self::without_answer(host, "temporary failure in name resolution".to_owned())
    }

    /// There is no such name, or it has no address: an answer like any other.
    pub fn not_found(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            not_found: true,
            reason: "no such name".to_owned(),
        }
    }

    /// No answer came, which says nothing about the name.
    pub fn without_answer(host: &str, reason: String) -> Self {
        Self {
            host: host.to_owned(),
            not_found: false,
            reason,
        }
    }
}

/// A host name, as names are compared: without regard to case (RFC 4343).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    pub fn new(name: &str) -> Self {
        Self(name.to_ascii_lowercase().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
