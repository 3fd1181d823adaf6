//! What happened when: a fixed number of steps of time, which get longer as the run does.

use std::time::Duration;

/// Steps at most: about as many as a screen has room for.
pub const MAX_BUCKETS: usize = 160;
/// The first length of a step.
const FIRST_BUCKET_WIDTH: Duration = Duration::from_millis(10);

/// What happened in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeBucket {
    /// URLs fetched.
    pub fetched: u64,
    /// URLs failed.
    pub failed: u64,
    /// Decoded bytes of the bodies that were fetched.
    pub bytes: u64,
    /// Time that requests were under way in it, all together, in seconds.
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

/// The run over time.
#[derive(Debug)]
pub struct Series {
    length: Duration,
    steps: Vec<TimeBucket>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            length: FIRST_BUCKET_WIDTH,
            steps: Vec::new(),
        }
    }
}

impl Series {
    /// How long a step is.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The steps up to the last one in which something happened.
    pub fn steps(&self) -> &[TimeBucket] {
        &self.steps
    }

    /// Something happened at this time.
    pub fn add(&mut self, at: Duration, what: TimeBucket) {
        let step = self.index(at);
        if let Some(step) = self.steps.get_mut(step) {
            step.add(what);
        }
    }

    /// A request was under way for this time.
    pub fn add_busy(&mut self, from: Duration, to: Duration) {
        let last = self.index(to);
        let first = self.index(from).min(last);
        let length = self.length.as_secs_f64();
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        let steps = self.steps.iter_mut().enumerate();
        for (number, step) in steps.take(last + 1).skip(first) {
            let start = number as f64 * length;
            step.busy += (to.min(start + length) - from.max(start)).max(0.0);
        }
    }

    /// The step of a time. There are longer steps afterwards, if it needs them.
    fn index(&mut self, at: Duration) -> usize {
        loop {
            let index = at.as_nanos() / self.length.as_nanos().max(1);
            match usize::try_from(index) {
                Ok(index) if index < MAX_BUCKETS => {
                    if index >= self.steps.len() {
                        self.steps.resize(index + 1, TimeBucket::default());
                    }
                    return index;
                }
                _ => self.coarsen(),
            }
        }
    }

    fn coarsen(&mut self) {
        self.length *= 2;
        let pairs = self.steps.chunks(2).map(|pair| {
            let mut sum = TimeBucket::default();
            pair.iter().for_each(|step| sum.add(*step));
            sum
        });
        self.steps = pairs.collect();
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
    fn nothing_is_lost_when_the_steps_get_longer() {
        let mut series = Series::default();
        for ms in 0..100_000 {
            series.add(Duration::from_millis(ms), ONE);
        }
        assert!(series.steps().len() <= MAX_BUCKETS);
        assert_eq!(series.length(), FIRST_BUCKET_WIDTH * 64);
        let sum: u64 = series.steps().iter().map(|step| step.fetched).sum();
        assert_eq!(sum, 100_000);
        assert_eq!(series.steps()[3].fetched, 640);
    }

    #[test]
    fn a_request_is_under_way_in_every_step_that_it_touches() {
        let mut series = Series::default();
        series.add_busy(Duration::from_millis(5), Duration::from_millis(35));
        let busy: Vec<_> = series
            .steps()
            .iter()
            .map(|step| (step.busy * 1e3).round() as u64)
            .collect();
        assert_eq!(busy, [5, 10, 10, 5]);
        // An hour later the steps are long, and the sum is the same.
        series.add_busy(Duration::from_secs(3600), Duration::from_secs(3601));
        let sum: f64 = series.steps().iter().map(|step| step.busy).sum();
        assert!((sum - 1.03).abs() < 1e-9, "{sum}");
    }
}
