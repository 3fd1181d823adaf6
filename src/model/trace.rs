//! When the attempts of a job did what: for timelines and reports.

use std::time::Duration;

use super::ErrorKind;

/// Tries that are kept of one job: the first, and the last ones. A host that says "later" a
/// hundred times is not drawn a hundred times.
const MAX_TRACES: usize = 16;

/// When one attempt did what. All times are since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptTrace {
    /// When it could have started: its line was read, its wait was over, or its redirect had
    /// come.
    pub ready: Duration,
    /// When the request was begun.
    pub start: Duration,
    /// When making a connection for it came to its end; `None` where one stood already.
    pub connected: Option<Duration>,
    /// When the head of the response was there, if one came.
    pub head: Option<Duration>,
    /// When it ended.
    pub end: Duration,
    /// The status of its response, if one came.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: TraceOutcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceOutcome {
    /// Its job was fetched.
    Fetched,
    /// A redirect led elsewhere.
    Redirected,
    /// The request is sent again free of charge: it did not arrive, or HEAD was refused.
    Resent,
    /// The job goes on without anything having failed: with the next piece of a body, from its
    /// beginning, or once the server has made what was asked for.
    GoesOn,
    /// It failed.
    Failed(ErrorKind),
}

impl AttemptTrace {
    /// Time in a queue, until it was begun.
    #[must_use]
    pub fn queued(&self) -> Duration {
        self.start.saturating_sub(self.ready)
    }

    /// Time under way.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// Adds a try to those of its job.
pub fn add_try(tries: &mut Vec<AttemptTrace>, one: AttemptTrace) {
    if tries.len() >= MAX_TRACES {
        // The first one says when it began.
        tries.remove(1);
    }
    tries.push(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_tries_the_first_and_the_last_are_kept() {
        let at = |second| AttemptTrace {
            ready: Duration::from_secs(second),
            start: Duration::from_secs(second),
            connected: None,
            head: None,
            end: Duration::from_secs(second + 1),
            status: Some(429),
            outcome: TraceOutcome::Failed(ErrorKind::Status),
        };
        let mut tries = Vec::new();
        for second in 0..100 {
            add_try(&mut tries, at(second));
        }
        let starts: Vec<_> = tries.iter().map(|one| one.start.as_secs()).collect();
        assert_eq!(starts.len(), MAX_TRACES);
        assert_eq!((starts[0], starts[1], starts[15]), (0, 85, 99));
    }
}
