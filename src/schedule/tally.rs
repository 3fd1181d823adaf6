//! How many requests a host let through lately.

use std::time::{Duration, Instant};

/// Time a bucket stands for.
const BUCKET: Duration = Duration::from_millis(250);
/// Buckets kept.
const BUCKETS: u64 = 8;

/// How many requests a host let through lately: since its last refusal, but no longer
/// ago than two seconds.
#[derive(Debug, Clone)]
pub struct Tally {
    since: Instant,
    bucket: u64,
    counts: [u32; BUCKETS as usize],
}

impl Tally {
    /// Counts from `now` on.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            bucket: 0,
            counts: [0; BUCKETS as usize],
        }
    }

    /// The number of the bucket at `now`; those that have passed since are emptied.
    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let bucket = u64::try_from(elapsed / BUCKET.as_millis()).unwrap_or(u64::MAX);
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

    /// A request was let through. One that comes before the time that is counted (it was
    /// under way when its host was held) does not count.
    pub fn add(&mut self, now: Instant) {
        if now < self.since {
            return;
        }
        self.turn(now);
        if let Some(count) = self.counts.get_mut((self.bucket % BUCKETS) as usize) {
            *count += 1;
        }
    }

    /// Requests let through lately.
    #[must_use]
    pub fn count(&mut self, now: Instant) -> u32 {
        self.turn(now);
        self.counts.iter().sum()
    }

    /// The time over which [`count`](Self::count) counts.
    #[must_use]
    pub fn time(&self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.since);
        let into_bucket =
            elapsed.saturating_sub(BUCKET * u32::try_from(self.bucket).unwrap_or(u32::MAX));
        let kept = BUCKET * (BUCKETS as u32 - 1) + into_bucket;
        elapsed.min(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_longer_ago_than_two_seconds_does_not_count() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for ms in (0..10_000).step_by(10) {
            tally.add(start + MS * ms);
        }
        let now = start + MS * 10_000;
        let rate = f64::from(tally.count(now)) / tally.time(now).as_secs_f64();
        assert!((99.0..=101.0).contains(&rate), "{rate}");
        assert!(tally.time(now) <= BUCKET * 8);
        let later = now + Duration::from_secs(3600);
        assert_eq!(tally.count(later), 0);
    }

    #[test]
    fn a_short_time_is_counted_as_what_it_is() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for ms in [1, 2, 3, 300] {
            tally.add(start + MS * ms);
        }
        let now = start + MS * 400;
        assert_eq!((tally.count(now), tally.time(now)), (4, MS * 400));
    }
}
