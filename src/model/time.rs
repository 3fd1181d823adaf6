//! Points in time.

use std::time::{Duration, Instant};

/// Longer than any run. A wait beyond it is one without an end.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The moment after a wait, however long that is.
#[must_use]
pub fn deadline_after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FAR_FUTURE)
}

/// Tokio's clock, so that tests can stop it.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
