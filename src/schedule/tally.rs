//! How many requests a host let through lately.

use std::time::{Duration, Instant};

/// Time a bucket stands for.
const BUCKET_WIDTH: Duration = Duration::from_millis(250);
/// Buckets kept.
const BUCKETS: u64 = 8;

/// Fewer than these in the buckets say little: then all since the last refusal count.
const MIN_COUNT: u32 = 8;

/// How many requests a host let through lately: since its last refusal, and where they are
/// enough, only those of the last two seconds.
#[derive(Debug, Clone)]
pub struct Tally {
    since: Instant,
    bucket: u64,
    counts: [u32; BUCKETS as usize],
    all: u32,
}

impl Tally {
    /// Counts from `now` on.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            bucket: 0,
            counts: [0; BUCKETS as usize],
            all: 0,
        }
    }

    /// The number of the bucket at `now`; those that have passed since are emptied.
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

    /// A request was let through. One that comes before the time that is counted (it was
    /// under way when its host was held) does not count.
    pub fn add(&mut self, now: Instant) {
        if now < self.since {
            return;
        }
        self.advance(now);
        self.all = self.all.saturating_add(1);
        if let Some(count) = self.counts.get_mut((self.bucket % BUCKETS) as usize) {
            *count += 1;
        }
    }

    /// Requests let through lately, and in what time.
    #[must_use]
    pub fn recent(&mut self, now: Instant) -> (u32, Duration) {
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

    /// Requests let through since the last refusal, and how long ago that was.
    #[must_use]
    pub fn since_throttle(&self, now: Instant) -> (u32, Duration) {
        (self.all, now.saturating_duration_since(self.since))
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
        let (count, time) = tally.recent(now);
        let rate = f64::from(count) / time.as_secs_f64();
        assert!((99.0..=101.0).contains(&rate), "{rate}");
        assert!(time <= BUCKET_WIDTH * 8);
        // Where there is nothing of late, all of it counts.
        let later = now + Duration::from_secs(90);
        assert_eq!(tally.recent(later), (1000, Duration::from_secs(100)));
    }

    #[test]
    fn a_short_time_is_counted_as_what_it_is() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for ms in [1, 2, 3, 300] {
            tally.add(start + MS * ms);
        }
        let now = start + MS * 400;
        assert_eq!(tally.recent(now), (4, MS * 400));
    }
}
