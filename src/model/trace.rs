//! The timing of a job's attempts, for timelines and reports.

use std::time::Duration;

use super::ErrorKind;

/// Maximum number of attempts kept per job: the first and the latest. A job that is throttled a
/// hundred times must not fill the report.
const MAX_TRACES: usize = 16;

/// The timing of one attempt. All times are since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptTrace {
    /// When it became ready to start: its line was read, its wait was over, or the redirect to it
    /// arrived.
    pub ready: Duration,
    /// When the request started.
    pub start: Duration,
    /// When connecting ended; `None` for a reused connection.
    pub connected: Option<Duration>,
    /// When the response head arrived, if it did.
    pub head: Option<Duration>,
    /// When it ended.
    pub end: Duration,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: TraceOutcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TraceOutcome {
    /// The job was fetched.
    Fetched,
    /// A redirect is followed.
    Redirected,
    /// The request is resent for free: the server did not process it, or it rejected HEAD.
    Resent,
    /// The job continues without a failure: with the next part of the body, with the body from
    /// its start, or after a 202 once the content is ready.
    GoesOn,
    /// It failed.
    Failed(ErrorKind),
}

impl AttemptTrace {
    /// Returns the time in the queue, from ready to start.
    #[must_use]
    pub(crate) fn queued(&self) -> Duration {
        self.start.saturating_sub(self.ready)
    }

    /// Returns the duration, from start to end.
    #[must_use]
    pub(crate) fn took(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// Adds an attempt to those of its job. Beyond a maximum, the second oldest is dropped.
pub(crate) fn add_trace(traces: &mut Vec<AttemptTrace>, one: AttemptTrace) {
    if traces.len() >= MAX_TRACES {
        // Keep the first: it has the start of the job.
        traces.remove(1);
    }
    traces.push(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_attempts_the_first_and_the_latest_are_kept() {
        let at = |second| AttemptTrace {
            ready: Duration::from_secs(second),
            start: Duration::from_secs(second),
            connected: None,
            head: None,
            end: Duration::from_secs(second + 1),
            status: Some(429),
            outcome: TraceOutcome::Failed(ErrorKind::Status),
        };
        let mut traces = Vec::new();
        for second in 0..100 {
            add_trace(&mut traces, at(second));
        }
        let starts: Vec<_> = traces.iter().map(|one| one.start.as_secs()).collect();
        assert_eq!(starts.len(), MAX_TRACES);
        assert_eq!((starts[0], starts[1], starts[15]), (0, 85, 99));
    }
}
