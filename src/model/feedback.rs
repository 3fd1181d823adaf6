//! Feedback from attempts to host control.

use std::time::{Duration, Instant};

use super::FetchError;

/// What an attempt reveals about its host, reported when its slot is released.
#[derive(Debug, Clone)]
pub(crate) struct Feedback {
    /// How the host responded.
    pub verdict: HostVerdict,
    /// No request may start at the host before this time.
    pub hold: Option<Instant>,
    /// Duration of the attempt without connecting.
    pub latency: Duration,
    /// Whether it responded over HTTP/2; `None` without a response.
    pub multiplexes: Option<bool>,
}

impl Feedback {
    /// Creates feedback with a verdict only.
    #[must_use]
    pub(crate) fn from_verdict(verdict: HostVerdict) -> Self {
        Self {
            verdict,
            hold: None,
            latency: Duration::ZERO,
            multiplexes: None,
        }
    }
}

/// How a host responded to an attempt.
#[derive(Debug, Clone)]
pub(crate) enum HostVerdict {
    /// It responded, with any status except those below.
    Answered,
    /// It throttled the request.
    Throttled {
        /// The error of the attempt.
        error: FetchError,
        /// Whether the cause is certainly the request rate: a 429, or a 503 or 403 with
        /// `Retry-After`. A bare 503 may have any cause.
        is_rate_limit: bool,
    },
    /// The connection failed.
    ConnectFailed(FetchError),
    /// It was reached but failed: late, connection lost, body truncated, server error.
    Failed,
    /// Inconclusive: aborted on this side, or simulated.
    Inconclusive,
}
