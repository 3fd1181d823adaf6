//! Types shared by the resolver's modules: the name of a host and the result of its lookup.

use std::net::IpAddr;
use std::sync::Arc;

/// The result of a lookup: addresses in the order in which to try them (RFC 6724), as sorted by
/// the system.
pub(super) type LookupResult = Result<Vec<IpAddr>, ResolveError>;

/// A name that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct ResolveError {
    pub host: String,
    /// Whether DNS answered that the name does not exist.
    pub not_found: bool,
    reason: String,
}

impl ResolveError {
    /// A temporary failure. Also what `--simulate-failure` injects.
    pub(crate) fn temporary(host: &str) -> Self {
        Self::without_answer(host, "temporary failure in name resolution".to_owned())
    }

    /// The name does not exist or has no address. This is an answer, so it is cached longer than
    /// a failure.
    pub(crate) fn not_found(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            not_found: true,
            reason: "no such name".to_owned(),
        }
    }

    /// The name has addresses, but none that this run may use. This is as final as if it had none.
    pub(crate) fn unusable(host: &str, reason: String) -> Self {
        Self {
            not_found: true,
            ..Self::without_answer(host, reason)
        }
    }

    /// No answer was received, so it is unknown whether the name exists.
    pub(crate) fn without_answer(host: &str, reason: String) -> Self {
        Self {
            host: host.to_owned(),
            not_found: false,
            reason,
        }
    }
}

/// A host name in lower case, since names are case-insensitive (RFC 4343).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HostName(Arc<str>);

impl HostName {
    pub(super) fn new(name: &str) -> Self {
        Self(name.to_ascii_lowercase().into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
