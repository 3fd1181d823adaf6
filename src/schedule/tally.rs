//! Counts the requests that a host accepted recently.

use std::time::{Duration, Instant};

use super::tuning::tally::*;

/// Counts the requests that a host accepted: in the last two seconds if those are enough, else
/// since it last throttled.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    since: Instant,
    bucket: u64,
    counts: [u32; BUCKETS as usize],
    all: u32,
}

impl Tally {
    /// Creates a tally that counts from `now` on.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            bucket: 0,
            counts: [0; BUCKETS as usize],
            all: 0,
        }
    }

    /// Moves on to the bucket of `now` and empties those in between.
    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let bucket = u64::try_from(elapsed / BUCKET_WIDTH.as_millis()).unwrap_or(u64::MAX);
        let steps = bucket.saturating_sub(self.bucket).min(BUCKETS);
        for step in 1..=steps {
            if let Some(count) = self
                .counts
                .get_mut(((bucket - steps + step) % BUCKETS) as usize)
            {
                *count = 0;
            }
        }
        self.bucket = self.bucket.max(bucket);
    }

    /// Counts an accepted request. One that was accepted before the tally starts, because it was in
    /// flight when its host was put on hold, does not count.
    pub(super) fn add(&mut self, now: Instant) {
        if now < self.since {
            return;
        }
        self.advance(now);
        self.all = self.all.saturating_add(1);
        if let Some(count) = self.counts.get_mut((self.bucket % BUCKETS) as usize) {
            *count += 1;
        }
    }

    /// Returns the number of recently accepted requests, and the time span that they cover.
    #[must_use]
    pub(super) fn recent(&mut self, now: Instant) -> (u32, Duration) {
        self.advance(now);
        let kept = self.counts.iter().sum();
        if kept < MIN_COUNT {
            return self.since_throttle(now);
        }
        let elapsed = now.saturating_duration_since(self.since);
        let into_bucket =
            elapsed.saturating_sub(BUCKET_WIDTH * u32::try_from(self.bucket).unwrap_or(u32::MAX));
        (
            kept,
            elapsed.min(BUCKET_WIDTH * (BUCKETS as u32 - 1) + into_bucket),
        )
    }

    /// Returns the number of requests accepted since the last throttling, and the time since then.
    #[must_use]
    pub(super) fn since_throttle(&self, now: Instant) -> (u32, Duration) {
        (self.all, now.saturating_duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn older_requests_than_two_seconds_do_not_count() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for ms in (0..10_000).step_by(10) {
            tally.add(start + MS * ms);
        }
        let now = start + MS * 10_000;
        let (count, time) = tally.recent(now);
        let rate = f64::from(count) / time.as_secs_f64();
        assert!((99.0..=101.0).contains(&rate), "{rate}");
        assert!(time <= BUCKET_WIDTH * 8);
        // Without recent requests, all of them count.
        let later = now + Duration::from_secs(90);
        assert_eq!(tally.recent(later), (1000, Duration::from_secs(100)));
    }

    #[test]
    fn a_short_time_span_is_not_rounded_up_to_the_window() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for ms in [1, 2, 3, 300] {
            tally.add(start + MS * ms);
        }
        let now = start + MS * 400;
        assert_eq!(tally.recent(now), (4, MS * 400));
    }
}
