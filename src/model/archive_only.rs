//! Bodies that archives keep although no job gets them: of redirects and of final failures.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::FetchError;

/// Maximum bytes kept of the body of a redirect or a failed response.
pub(crate) const MAX_ARCHIVE_ONLY_BYTES: usize = 256 * 1024;

/// Why an archived body is incomplete, in the terms of WARC 1.1 (§5.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truncation {
    /// It exceeds a limit on bytes.
    Length,
    /// It took too long.
    Time,
    /// The connection broke.
    Disconnect,
    /// Another reason, such as a coding that cannot be decoded.
    Unspecified,
}

impl Truncation {
    /// Returns the name in WARC records.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Time => "time",
            Self::Disconnect => "disconnect",
            Self::Unspecified => "unspecified",
        }
    }

    /// Returns why a body is incomplete whose transfer ended with this error.
    #[must_use]
    pub(crate) const fn by(error: &FetchError) -> Self {
        match error {
            FetchError::TooLarge { .. } => Self::Length,
            FetchError::Timeout { .. } | FetchError::Stalled { .. } => Self::Time,
            FetchError::Truncated { .. } | FetchError::Reset { .. } => Self::Disconnect,
            FetchError::InvalidUrl { .. }
            | FetchError::Dns { .. }
            | FetchError::Refused { .. }
            | FetchError::Unreachable { .. }
            | FetchError::ConnectTimeout { .. }
            | FetchError::Tls { .. }
            | FetchError::Proxy { .. }
            | FetchError::Protocol { .. }
            | FetchError::Redirect { .. }
            | FetchError::Status { .. }
            | FetchError::Robots { .. }
            | FetchError::Decode { .. }
            | FetchError::Checksum(_)
            | FetchError::ContentType(_)
            | FetchError::Denied(_)
            | FetchError::Conflict(_)
            | FetchError::Save { .. }
            | FetchError::HostGivenUp { .. } => Self::Unspecified,
        }
    }
}

/// The body of a redirect or a failed response, as far as it is kept.
#[derive(Debug)]
pub(crate) struct ArchiveOnlyBody {
    /// Its first bytes.
    pub bytes: Bytes,
    /// Why there are no more; `None` if it is complete.
    pub truncated: Option<Truncation>,
    /// Whether its content coding was undone. Otherwise the bytes are those of the wire.
    pub is_decoded: bool,
    /// The room that the bytes take in memory.
    pub room: Option<OwnedSemaphorePermit>,
}

impl ArchiveOnlyBody {
    /// A body of which nothing was kept.
    #[must_use]
    pub(crate) const fn nothing(truncated: Option<Truncation>) -> Self {
        Self {
            bytes: Bytes::new(),
            truncated,
            is_decoded: false,
            room: None,
        }
    }
}
