//! How fast things go, and when they will be done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The stretch of time that a rate is taken over.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// For the time left it is a part of the run so far, up to this: who has worked for an hour does not
/// expect an end that ten slow seconds have put off by a day.
const MAX_ETA_WINDOW: Duration = Duration::from_secs(300);
const ETA_WINDOW_FRACTION: u32 = 4;
/// Before that, a rate says nothing about the time left.
const WARM_UP: Duration = Duration::from_secs(1);
/// An estimate that is off by less than this, or by less than this part of the time left, is left
/// as it is: it counts down like a clock.
const TOLERANCE: Duration = Duration::from_secs(2);
const TOLERATED_SHARE: f64 = 0.15;
/// Part of the way to a better estimate that is gone in one step.
const SMOOTHING: f64 = 0.1;

/// How fast a count grows, over the last seconds.
#[derive(Debug, Default)]
pub struct RateMeter {
    counts: VecDeque<(Instant, u64)>,
    first: Option<Instant>,
    is_long: bool,
}

impl RateMeter {
    /// Over a part of the run so far instead of the last seconds.
    pub fn long() -> Self {
        Self {
            is_long: true,
            ..Self::default()
        }
    }

    /// The count at this time.
    pub fn add(&mut self, now: Instant, count: u64) {
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

    /// Time over which the rate was taken.
    pub fn span(&self) -> Duration {
        match (self.counts.front(), self.counts.back()) {
            (Some((from, _)), Some((to, _))) => to.duration_since(*from),
            _ => Duration::ZERO,
        }
    }

    /// Per second.
    pub fn rate(&self) -> f64 {
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

/// The time left as it is shown: it counts down like a clock, and moves to a better estimate
/// slowly instead of jumping there.
#[derive(Debug, Default)]
pub struct TimeLeft {
    end: Option<Instant>,
}

impl TimeLeft {
    /// What to show at `now`, if so many are left at this pace.
    pub fn show(&mut self, now: Instant, left: u64, pace: &RateMeter) -> Option<Duration> {
        let rate = pace.rate();
        // Without progress nobody can tell.
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
        // Whole seconds: more would only flicker. Never 0, as long as something is left.
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
        // The rate wavers between 50 and 150 a second every half a second.
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
    fn nothing_is_promised_too_early_or_without_progress() {
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
