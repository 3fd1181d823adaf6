//! Points in time.

use std::time::{Duration, Instant};

/// Longer than any run; a longer wait counts as endless. Keeps `Instant` from overflowing.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Returns `start + wait`, capped at 30 years so that it cannot overflow.
#[must_use]
pub(crate) fn deadline_after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FAR_FUTURE)
}

/// Returns the time from one time stamp of a record to another.
#[must_use]
pub(crate) fn timestamp_span(start: &str, end: &str) -> Option<Duration> {
    let parse = |at: &str| at.parse::<jiff::Timestamp>().ok();
    let span = parse(end)?.duration_since(parse(start)?);
    Duration::try_from(span).ok()
}

/// Returns the current time of tokio's clock, which tests can pause.
#[must_use]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
