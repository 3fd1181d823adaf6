//! Latency distributions (HdrHistogram), whose memory does not depend on the number of values.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The percentiles shown, and their names.
pub(super) const PERCENTILES: [(f64, &str); 5] = [
    (50.0, "p50"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99.9"),
];

/// A distribution of durations.
#[derive(Debug)]
pub(super) struct LatencyHistogram {
    /// In microseconds; `None` only if the precision is invalid.
    histogram: Option<Histogram<u64>>,
}

impl LatencyHistogram {
    /// Creates an empty histogram with a precision of `digits` significant digits, 1 to 5.
    pub(super) fn with_digits(digits: u8) -> Self {
        Self {
            histogram: Histogram::new(digits).ok(),
        }
    }

    /// Adds a duration.
    pub(super) fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.histogram {
            // The histogram resizes itself; durations beyond its range do not occur.
            let _ = histogram.record(us.max(1));
        }
    }

    /// Returns the number of durations.
    pub(super) fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Returns the duration that `percent` % of all do not exceed.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        let of = |histogram: &Histogram<u64>| histogram.value_at_percentile(percent);
        Duration::from_micros(self.histogram.as_ref().map_or(0, of))
    }

    /// Returns the longest duration.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_micros(self.histogram.as_ref().map_or(0, Histogram::max))
    }

    /// Returns the shortest duration.
    pub(super) fn shortest(&self) -> Duration {
        Duration::from_micros(self.histogram.as_ref().map_or(0, Histogram::min))
    }

    /// Returns the number of durations from `from` up to, but not including, `to`.
    pub(super) fn count_between(&self, from: Duration, to: Duration) -> u64 {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (from, to) = (us(from), us(to).saturating_sub(1));
        if to < from {
            return 0;
        }
        let of = |histogram: &Histogram<u64>| {
            histogram
                .iter_recorded()
                .filter(|step| (from..=to).contains(&step.value_iterated_to()))
                .map(|step| step.count_at_value())
                .sum()
        };
        self.histogram.as_ref().map_or(0, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_three_digits_and_bins_do_not_overlap() {
        let mut latency = LatencyHistogram::with_digits(3);
        for ms in 1..=10_000 {
            latency.add(Duration::from_millis(ms));
        }
        assert_eq!(latency.count(), 10_000);
        for (percent, ms) in [(50.0, 5_000.0), (99.0, 9_900.0), (99.9, 9_990.0)] {
            let seen = latency.percentile(percent).as_secs_f64() * 1e3;
            assert!((seen / ms - 1.0).abs() < 0.001, "{percent}: {seen}");
        }
        let edges = [0, 3, 50, 777, 12_000].map(Duration::from_millis);
        let sum: u64 = edges
            .windows(2)
            .map(|pair| latency.count_between(pair[0], pair[1]))
            .sum();
        assert_eq!(sum, 10_000);
    }
}
