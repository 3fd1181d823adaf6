//! The clock of a run: every time in a record comes from it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::{now, rfc3339, wall_time};

/// The start of the run on the monotonic and the wall clock. Timestamps are the start plus the
/// monotonic time since, so a system clock that jumps does not put records out of order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunClock {
    start: Instant,
    wall: Timestamp,
}

impl RunClock {
    /// Starts the clock.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self {
            start: now(),
            wall: Timestamp::try_from(wall_time()).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Returns when the run started.
    #[must_use]
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    /// Formats a time as RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub(crate) fn rfc3339(&self, at: Instant) -> String {
        let passed = self.since_start(at);
        let time = self.wall.checked_add(passed).unwrap_or(self.wall);
        rfc3339(time)
    }

    /// Returns the time from the start of the run to `at`.
    #[must_use]
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Returns the whole milliseconds from the start of the run to `at`.
    #[must_use]
    pub(crate) fn elapsed_ms(&self, at: Instant) -> u64 {
        millis(self.since_start(at))
    }
}

/// Converts to whole milliseconds, saturating.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
