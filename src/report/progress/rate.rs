//! Rates, and the estimated time left.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Window over which a rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// The window for the time left is a quarter of the run so far, but at least [`RATE_WINDOW`] and at
/// most this. After an hour, ten slow seconds should not move the estimated end by a day.
const MAX_ETA_WINDOW: Duration = Duration::from_secs(300);
const ETA_WINDOW_FRACTION: u32 = 4;
/// Minimum span of measurements for an estimate of the time left.
const WARM_UP: Duration = Duration::from_secs(1);
/// If the new estimate differs from the displayed one by less than this, or less than this share of
/// the time left, the display just keeps counting down.
const TOLERANCE: Duration = Duration::from_secs(2);
const TOLERATED_SHARE: f64 = 0.15;
/// Otherwise the displayed time moves toward the new estimate by this fraction per update.
const SMOOTHING: f64 = 0.1;

/// Measures how fast a count grows.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    counts: VecDeque<(Instant, u64)>,
    first: Option<Instant>,
    is_long: bool,
}

impl RateMeter {
    /// Creates a meter with the longer window, for estimating the time left.
    pub(super) fn long() -> Self {
        Self {
            is_long: true,
            ..Self::default()
        }
    }

    /// Records the count at time `now`.
    pub(super) fn add(&mut self, now: Instant, count: u64) {
        let first = *self.first.get_or_insert(now);
        let window = if self.is_long {
            (now.duration_since(first) / ETA_WINDOW_FRACTION).clamp(RATE_WINDOW, MAX_ETA_WINDOW)
        } else {
            RATE_WINDOW
        };
        self.counts.push_back((now, count));
        let is_old = |(then, _): &(Instant, u64)| now.duration_since(*then) > window;
        while self.counts.len() > 2 && self.counts.front().is_some_and(is_old) {
            self.counts.pop_front();
        }
    }

    /// Returns the time between the oldest and the newest measurement.
    pub(super) fn span(&self) -> Duration {
        match (self.counts.front(), self.counts.back()) {
            (Some((from, _)), Some((to, _))) => to.duration_since(*from),
            _ => Duration::ZERO,
        }
    }

    /// Returns the growth per second.
    pub(super) fn rate(&self) -> f64 {
        let (Some((_, first)), Some((_, last))) = (self.counts.front(), self.counts.back()) else {
            return 0.0;
        };
        let time = self.span().as_secs_f64();
        if time <= 0.0 {
            0.0
        } else {
            last.saturating_sub(*first) as f64 / time
        }
    }
}

/// The displayed time left. Counts down like a clock and approaches a new estimate gradually
/// instead of jumping to it.
#[derive(Debug, Default)]
pub(super) struct TimeLeft {
    end: Option<Instant>,
}

impl TimeLeft {
    /// Returns the time to display at `now` for `left` remaining jobs; `None` if it cannot be
    /// estimated.
    pub(super) fn show(&mut self, now: Instant, left: u64, pace: &RateMeter) -> Option<Duration> {
        let rate = pace.rate();
        if left == 0 || rate <= 0.0 || pace.span() < WARM_UP {
            return None;
        }
        let estimate = (left as f64 / rate).min(1e9);
        let shown = self
            .end
            .map(|end| end.saturating_duration_since(now).as_secs_f64());
        let next = match shown {
            None => estimate,
            Some(shown) => {
                let tolerance = (estimate * TOLERATED_SHARE).max(TOLERANCE.as_secs_f64());
                if (estimate - shown).abs() <= tolerance {
                    shown
                } else {
                    shown + (estimate - shown) * SMOOTHING
                }
            }
        };
        let next = Duration::from_secs_f64(next);
        self.end = Some(now + next);
        // Whole seconds, since fractions would only flicker; never 0 while jobs remain.
        Some(Duration::from_secs_f64(next.as_secs_f64().ceil().max(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut pace = RateMeter::default();
        let start = Instant::now();
        for second in 0..60u64 {
            let count = if second < 30 { 0 } else { (second - 30) * 100 };
            pace.add(start + Duration::from_secs(second), count);
        }
        assert!((pace.rate() - 100.0).abs() < 1.0);
        assert!(RateMeter::default().rate().abs() < f64::EPSILON);
    }

    #[test]
    fn the_time_left_counts_down_and_does_not_jump() {
        let start = Instant::now();
        let (mut pace, mut left) = (RateMeter::long(), TimeLeft::default());
        let tick = Duration::from_millis(100);
        let mut settled = 0.0;
        let mut shown = Vec::new();
        // The rate alternates between 50/s and 150/s every half second.
        for step in 0..900u32 {
            let now = start + tick * step;
            settled += if step / 5 % 2 == 0 { 5.0 } else { 15.0 };
            pace.add(now, settled as u64);
            let todo = 10_000u64.saturating_sub(settled as u64);
            shown.extend(left.show(now, todo, &pace).map(|time| time.as_secs()));
        }
        let jumps = shown.windows(2).map(|pair| pair[0].abs_diff(pair[1]));
        assert!(jumps.max().unwrap() <= 3, "{shown:?}");
        let ups = shown.windows(2).filter(|pair| pair[1] > pair[0]).count();
        assert!(ups < 40, "{ups} of {}", shown.len());
        assert!(*shown.last().unwrap() <= 12, "{shown:?}");
    }

    #[test]
    fn there_is_no_estimate_too_early_or_without_progress() {
        let start = Instant::now();
        let (mut pace, mut left) = (RateMeter::default(), TimeLeft::default());
        pace.add(start, 0);
        pace.add(start + Duration::from_millis(100), 50);
        assert_eq!(left.show(start, 100, &pace), None);
        pace.add(start + Duration::from_secs(2), 50);
        assert!(left.show(start, 100, &pace).is_some());
        assert_eq!(left.show(start, 0, &pace), None);
    }
}
