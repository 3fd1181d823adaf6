//! Exponential backoff.

use std::time::Duration;

/// Maximum exponent; every cap is reached long before.
const MAX_DOUBLINGS: u32 = 30;

/// Doubles `first` the given number of times, up to `max`.
pub(super) fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << times.min(MAX_DOUBLINGS)).min(max)
}
