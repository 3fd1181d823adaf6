//! Why a job, or all jobs of a host, are not attempted again.

use std::fmt;
use std::time::Duration;

use super::text::format_duration;

/// Why a job, or all jobs of a host, are not attempted again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUpReason {
    /// The server requested a longer delay than is honoured.
    DelayTooLong {
        /// The delay in its `Retry-After`.
        requested: Duration,
        /// The longest one honoured.
        max: Duration,
    },
    /// With another wait, the job would have waited for too long.
    WaitTooLong {
        /// The next wait.
        wait: Duration,
        /// The maximum of all waits of a job together.
        max: Duration,
    },
    /// The resource is not ready (202), and the server asks for a request that is not allowed.
    StillProcessing(Box<GiveUpReason>),
    /// The resource is not ready (202), and a run without retries does not ask again.
    PollingOff {
        /// The delay in its `Retry-After`.
        requested: Duration,
    },
    /// The host rejects every request, and has done so for too long.
    HostThrottles {
        /// The maximum of all waits of a job together.
        max: Duration,
    },
    /// Without the robots.txt of the host, nothing else may be requested there.
    RobotsUnread,
    /// Connections to the host fail.
    HostDown {
        /// How many have failed, one after the other.
        failures: u32,
    },
}

/// An option that sets when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUpOption {
    /// The longest delay of a server that is honoured.
    RetryAfterMax,
    /// The maximum of all waits of a job together.
    MaxWait,
    /// The number of retries.
    Retries,
}

impl GiveUpOption {
    /// Returns the method of the builder that sets it.
    fn method(self) -> &'static str {
        match self {
            Self::RetryAfterMax => "retry_after_max",
            Self::MaxWait => "max_wait",
            Self::Retries => "retries",
        }
    }
}

impl GiveUpReason {
    /// Returns the message, in which options have the names that `name` returns.
    #[must_use]
    pub fn text(&self, name: fn(GiveUpOption) -> &'static str) -> String {
        match self {
            Self::DelayTooLong { requested, max } => format!(
                "requested delay {} exceeds {} {}",
                format_duration(*requested),
                name(GiveUpOption::RetryAfterMax),
                format_duration(*max)
            ),
            Self::WaitTooLong { wait, max } => format!(
                "another {} of waiting would exceed {} {}",
                format_duration(*wait),
                name(GiveUpOption::MaxWait),
                format_duration(*max)
            ),
            Self::StillProcessing(why) => format!("still processing; {}", why.text(name)),
            Self::PollingOff { requested } => format!(
                "still processing; {} 0 disables polling (requested delay {})",
                name(GiveUpOption::Retries),
                format_duration(*requested)
            ),
            Self::HostThrottles { max } => format!(
                "host rejects every request; waiting longer would exceed {} {}",
                name(GiveUpOption::MaxWait),
                format_duration(*max)
            ),
            Self::RobotsUnread => "nothing is requested without its robots.txt".to_owned(),
            Self::HostDown { failures: 1 } => "host down: connection failed".to_owned(),
            Self::HostDown { failures } => {
                format!("host down: {failures} consecutive connections failed")
            }
        }
    }
}

impl fmt::Display for GiveUpReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(GiveUpOption::method))
    }
}
