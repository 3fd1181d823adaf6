//! What the scheduler changed about a host, and why, in words for people.

use std::fmt;
use std::time::Duration;

use crate::model::format_duration;

/// Why a limit was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReason {
    /// More at the same time bring more.
    Gain,
    /// It has not refused again since it was cut down.
    NoRefusal,
    /// More at the same time brought nothing, but did no harm either.
    NotLess,
    /// More at the same time brought hardly more.
    NoGain,
    /// Fewer bring as much, and answers had become slow.
    AsGoodWithFewer,
    /// It refused with this status.
    Refused(u16),
    /// It could not be reached.
    NotConnected,
    /// It refuses some requests however few it gets.
    RefusesAnyway,
}

/// What the scheduler changed about a host.
#[derive(Debug, Clone, PartialEq)]
pub enum HostChange {
    /// How many requests it gets at the same time.
    Limit {
        /// Before.
        from: usize,
        /// From now on.
        to: usize,
        /// Why.
        why: LimitReason,
    },
    /// How many requests a second it gets; `None`: as many as it answers.
    Pace(Option<f64>),
    /// Nothing is sent to it for this long.
    Held(Duration),
    /// It can't be reached; the next probe goes out after this long.
    CircuitOpen {
        /// Failures in a row.
        failures: u32,
        /// Until the next probe.
        probe_in: Duration,
    },
    /// It was reached again.
    CircuitClosed,
    /// Its jobs fail without another try.
    GivenUp,
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { from, to, why } => {
                write!(f, "{to} at the same time instead of {from}: {why}")
            }
            Self::Pace(Some(pace)) if *pace < 1.0 => {
                write!(f, "asked every {:.1} s from now on", 1.0 / pace)
            }
            Self::Pace(Some(pace)) => write!(f, "asked {pace:.1} times a second from now on"),
            Self::Pace(None) => f.write_str("asked as fast as it answers again"),
            Self::Held(wait) => write!(f, "not asked for {}", format_duration(rounded(*wait))),
            Self::CircuitOpen { failures, probe_in } => write!(
                f,
                "not reached {failures} times in a row; one request probes it in {}",
                format_duration(*probe_in)
            ),
            Self::CircuitClosed => f.write_str("reached again"),
            Self::GivenUp => f.write_str("given up; its URLs fail without another try"),
        }
    }
}

/// To the millisecond: a second that began a moment ago is a second.
fn rounded(wait: Duration) -> Duration {
    (wait + Duration::from_micros(500)).max(wait)
}

impl fmt::Display for LimitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gain => f.write_str("more bring more"),
            Self::NoRefusal => f.write_str("it has not refused again"),
            Self::NotLess => f.write_str("twice as many brought no less; looking beyond, once"),
            Self::NoGain => f.write_str("more brought hardly more"),
            Self::AsGoodWithFewer => f.write_str("fewer bring as much, and sooner"),
            Self::Refused(status) => write!(f, "it answered {status}"),
            Self::NotConnected => f.write_str("it could not be reached"),
            Self::RefusesAnyway => f.write_str("it refuses some whatever their number"),
        }
    }
}
