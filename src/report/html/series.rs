//! Counts over time, in a bounded number of equal time buckets that double in width when the run
//! outgrows them.

use std::time::Duration;

/// Maximum number of buckets, about what a chart can show.
pub(super) const MAX_BUCKETS: usize = 160;
/// Initial width of a bucket.
const FIRST_BUCKET_WIDTH: Duration = Duration::from_millis(10);

/// The counts of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct TimeBucket {
    /// URLs fetched.
    pub fetched: u64,
    /// URLs failed.
    pub failed: u64,
    /// Decoded bytes of the bodies fetched.
    pub bytes: u64,
    /// Total time of all requests within the bucket, in seconds.
    pub busy: f64,
}

impl TimeBucket {
    fn add(&mut self, other: Self) {
        self.fetched += other.fetched;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.busy += other.busy;
    }
}

/// Counts over the time of the run.
#[derive(Debug)]
pub(super) struct Series {
    width: Duration,
    buckets: Vec<TimeBucket>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            width: FIRST_BUCKET_WIDTH,
            buckets: Vec::new(),
        }
    }
}

impl Series {
    /// Returns the width of a bucket.
    pub(super) fn width(&self) -> Duration {
        self.width
    }

    /// Returns the buckets up to the last one used.
    pub(super) fn buckets(&self) -> &[TimeBucket] {
        &self.buckets
    }

    /// Adds counts at a time since the start of the run.
    pub(super) fn add(&mut self, at: Duration, counts: TimeBucket) {
        let index = self.index(at);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.add(counts);
        }
    }

    /// Adds the time of a request to all buckets it overlaps.
    pub(super) fn add_busy(&mut self, from: Duration, to: Duration) {
        let last = self.index(to);
        let first = self.index(from).min(last);
        let width = self.width.as_secs_f64();
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        let buckets = self.buckets.iter_mut().enumerate();
        for (number, bucket) in buckets.take(last + 1).skip(first) {
            let start = number as f64 * width;
            bucket.busy += (to.min(start + width) - from.max(start)).max(0.0);
        }
    }

    /// Returns the bucket of a time; makes all buckets wider first if it lies beyond the last one.
    fn index(&mut self, at: Duration) -> usize {
        loop {
            let index = at.as_nanos() / self.width.as_nanos().max(1);
            match usize::try_from(index) {
                Ok(index) if index < MAX_BUCKETS => {
                    if index >= self.buckets.len() {
                        self.buckets.resize(index + 1, TimeBucket::default());
                    }
                    return index;
                }
                _ => self.coarsen(),
            }
        }
    }

    fn coarsen(&mut self) {
        self.width *= 2;
        let pairs = self.buckets.chunks(2).map(|pair| {
            let mut sum = TimeBucket::default();
            pair.iter().for_each(|bucket| sum.add(*bucket));
            sum
        });
        self.buckets = pairs.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TimeBucket = TimeBucket {
        fetched: 1,
        failed: 0,
        bytes: 10,
        busy: 0.0,
    };

    #[test]
    fn nothing_is_lost_when_the_buckets_get_wider() {
        let mut series = Series::default();
        for ms in 0..100_000 {
            series.add(Duration::from_millis(ms), ONE);
        }
        assert!(series.buckets().len() <= MAX_BUCKETS);
        assert_eq!(series.width(), FIRST_BUCKET_WIDTH * 64);
        let sum: u64 = series.buckets().iter().map(|bucket| bucket.fetched).sum();
        assert_eq!(sum, 100_000);
        assert_eq!(series.buckets()[3].fetched, 640);
    }

    #[test]
    fn a_request_counts_in_every_bucket_it_overlaps() {
        let mut series = Series::default();
        series.add_busy(Duration::from_millis(5), Duration::from_millis(35));
        let busy: Vec<_> = series
            .buckets()
            .iter()
            .map(|bucket| (bucket.busy * 1e3).round() as u64)
            .collect();
        assert_eq!(busy, [5, 10, 10, 5]);
        // An hour later the buckets are wide, and the sum is unchanged.
        series.add_busy(Duration::from_secs(3600), Duration::from_secs(3601));
        let sum: f64 = series.buckets().iter().map(|bucket| bucket.busy).sum();
        assert!((sum - 1.03).abs() < 1e-9, "{sum}");
    }
}
