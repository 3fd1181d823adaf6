//! The clock of a run: every time in a record comes from it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::now;

/// The start of the run on both clocks. Times of day are the start plus what has passed,
/// so that a system clock that jumps does not tear the records apart.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    start: Instant,
    wall: Timestamp,
}

impl RunClock {
    /// The run starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: now(),
            wall: Timestamp::now(),
        }
    }

    /// When the run started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    /// A moment as RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn rfc3339(&self, at: Instant) -> String {
        let passed = self.since_start(at);
        let time = self.wall.checked_add(passed).unwrap_or(self.wall);
        format!("{time:.3}")
    }

    /// A moment as time since the start.
    #[must_use]
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// A moment in whole milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(&self, at: Instant) -> u64 {
        millis(self.since_start(at))
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
