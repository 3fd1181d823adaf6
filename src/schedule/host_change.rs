//! Changes that the scheduler made to a host, and their log messages.

use std::fmt;
use std::time::Duration;

use crate::model::format_duration;

/// Why a concurrency limit was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitReason {
    /// Higher concurrency improved the throughput.
    Gain,
    /// No failure since the limit was cut.
    Recovering,
    /// Doubling neither helped nor hurt; a last increase is tried.
    NeitherGainNorLoss,
    /// Higher concurrency hardly improved the throughput.
    NoGain,
    /// Lower concurrency kept the throughput, with less latency.
    LessLatency,
    /// The host throttled a request with this status; `None`: with ENHANCE_YOUR_CALM (HTTP/2).
    Throttled(Option<u16>),
    /// A connection failed.
    ConnectFailed,
    /// The host's 503s turned out not to depend on the load.
    LoadIndependent,
}

/// A change that the scheduler made to a host.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum HostChange {
    /// The concurrency limit changed.
    Limit {
        /// The limit until now.
        from: usize,
        /// The limit from now on.
        to: usize,
        /// Reason of the change.
        why: LimitReason,
    },
    /// The pace changed, in requests per second; `None`: no longer paced.
    Pace(Option<f64>),
    /// The host asks for this time between two requests.
    CrawlDelay(Duration),
    /// The host is on hold: nothing is sent to it for this long.
    Held(Duration),
    /// The circuit opened, or a probe failed.
    CircuitOpen {
        /// Consecutive failures.
        failures: u32,
        /// Time until the next probe.
        probe_in: Duration,
    },
    /// The host was reached again.
    CircuitClosed,
    /// The host was given up: its jobs fail without another attempt.
    GivenUp,
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { from, to, why } => {
                write!(f, "concurrency {from} -> {to}: {why}")
            }
            Self::Pace(Some(pace)) if *pace < 1.0 => {
                write!(f, "paced to one request per {:.1} s", 1.0 / pace)
            }
            Self::Pace(Some(pace)) => write!(f, "paced to {pace:.1} requests/s"),
            Self::Pace(None) => f.write_str("pacing off"),
            Self::CrawlDelay(delay) => {
                write!(
                    f,
                    "crawl delay: {} between requests",
                    format_duration(*delay)
                )
            }
            Self::Held(wait) => write!(f, "on hold for {}", format_duration(rounded(*wait))),
            Self::CircuitOpen { failures, probe_in } => write!(
                f,
                "circuit open after {failures} failed connections; next probe in {}",
                format_duration(*probe_in)
            ),
            Self::CircuitClosed => f.write_str("circuit closed"),
            Self::GivenUp => f.write_str("given up; its remaining URLs fail"),
        }
    }
}

/// Rounds to the millisecond, so that a hold of 1 s that began a moment ago is not shown as 999 ms.
fn rounded(wait: Duration) -> Duration {
    (wait + Duration::from_micros(500)).max(wait)
}

impl fmt::Display for LimitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gain => f.write_str("throughput improved"),
            Self::Recovering => f.write_str("recovering"),
            Self::NeitherGainNorLoss => {
                f.write_str("doubling neither helped nor hurt; trying once more")
            }
            Self::NoGain => f.write_str("no throughput gain"),
            Self::LessLatency => f.write_str("same throughput, lower latency"),
            Self::Throttled(Some(status)) => write!(f, "got {status}"),
            Self::Throttled(None) => f.write_str("got ENHANCE_YOUR_CALM"),
            Self::ConnectFailed => f.write_str("connection failed"),
            Self::LoadIndependent => f.write_str("503s do not depend on load"),
        }
    }
}
