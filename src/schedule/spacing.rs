//! Keeps a minimum time between starts.

use std::time::{Duration, Instant};

use crate::model::deadline_after;

/// Keeps a minimum time between starts.
///
/// Without slack, two starts are never closer than the interval. With slack, a late start (timers
/// are accurate to a millisecond, and a worker may be busy) lets the next ones come up to that much
/// earlier, so that the rate is met on average.
#[derive(Debug, Clone)]
pub(super) struct Spacing {
    interval: Duration,
    slack: Duration,
    next: Option<Instant>,
}

impl Spacing {
    /// Creates a spacing before its first start.
    #[must_use]
    pub(super) fn new(interval: Duration, slack: Duration) -> Self {
        Self {
            interval,
            slack,
            next: None,
        }
    }

    /// Sets the interval and slack, from the next start on.
    pub(super) fn set(&mut self, interval: Duration, slack: Duration) {
        self.interval = interval;
        self.slack = slack;
    }

    /// Sets the interval from the last start on.
    pub(super) fn change_interval(&mut self, interval: Duration) {
        let last = self.next.and_then(|next| next.checked_sub(self.interval));
        self.next = last.map(|last| deadline_after(last, interval));
        self.interval = interval;
    }

    /// Returns the interval.
    #[must_use]
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns when the next start may be, if that is later than now.
    #[must_use]
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// Records a start.
    pub(super) fn record_start(&mut self, now: Instant) {
        let from = match self.next {
            Some(next) if next + self.slack >= now => next.min(now),
            // A start later than the slack is not made up for.
            _ => now,
        };
        self.next = Some(deadline_after(from, self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns the times of starts that come `late` milliseconds after they may.
    fn starts(spacing: &mut Spacing, late: &[u64]) -> Vec<Instant> {
        let mut now = Instant::now();
        let mut starts = Vec::new();
        for late in late {
            if let Some(at) = spacing.next_start(now) {
                now = at;
            }
            now += MS * u32::try_from(*late).unwrap();
            spacing.record_start(now);
            starts.push(now);
        }
        starts
    }

    proptest! {
        #[test]
        fn without_slack_no_gap_is_shorter(late in prop::collection::vec(0u64..30, 2..50)) {
            let starts = starts(&mut Spacing::new(MS * 10, Duration::ZERO), &late);
            for pair in starts.windows(2) {
                prop_assert!(pair[1] - pair[0] >= MS * 10);
            }
        }

        #[test]
        fn with_slack_the_rate_is_met_and_never_exceeded_by_more_than_the_slack(
            late in prop::collection::vec(0u64..5, 100..200)
        ) {
            let starts = starts(&mut Spacing::new(MS * 10, MS * 5), &late);
            let took = *starts.last().unwrap() - starts[0];
            let ideal = MS * 10 * u32::try_from(starts.len() - 1).unwrap();
            prop_assert!(took <= ideal + MS * 5, "{took:?} for {ideal:?}");
            for (n, first) in starts.iter().enumerate() {
                for (gaps, later) in (0u32..).zip(&starts[n..]) {
                    prop_assert!(*later - *first + MS * 5 >= MS * 10 * gaps);
                }
            }
        }
    }
}
