//! What an attempt taught about its host.

use std::time::{Duration, Instant};

use super::FetchError;

/// What an attempt taught about its host, handed back with the slot.
#[derive(Debug, Clone)]
pub struct Feedback {
    /// How the host took it.
    pub verdict: HostVerdict,
    /// The host is not to be asked again before this time.
    pub hold: Option<Instant>,
    /// How long it took, without connecting.
    pub latency: Duration,
}

impl Feedback {
    /// A verdict, and nothing else.
    #[must_use]
    pub fn from_verdict(verdict: HostVerdict) -> Self {
        Self {
            verdict,
            hold: None,
            latency: Duration::ZERO,
        }
    }
}

/// How a host took an attempt.
#[derive(Debug, Clone)]
pub enum HostVerdict {
    /// It answered, whatever the answer was.
    Answered,
    /// It said that it is asked too much.
    Refused {
        /// What the attempt failed with.
        error: FetchError,
        /// Whether it surely speaks of our pace: a 429, or a 503 or 403 that says when to come
        /// back. A bare 503 may have any reason.
        surely_pace: bool,
    },
    /// No connection came about.
    NotConnected(FetchError),
    /// It was reached, but no good answer came: late, lost, cut off, a server error.
    Troubled,
    /// Nothing is to be learned: cut off from this side, or simulated.
    Nothing,
}
