//! The learned pace of a host: how many requests per second it accepts.

use std::time::{Duration, Instant};

use super::spacing::Spacing;
use super::tuning::pace::*;

/// The learned pace of a host.
///
/// When a host throttles for the first time, its pace is the rate it accepted; the pace then
/// doubles continuously until the host throttles again. From then on it follows CUBIC's window
/// growth (RFC 9438 §4.2): quickly back to a plateau just below the throttled rate, slowly past
/// it, then faster and faster. So a host with a fixed limit throttles rarely, and one that can
/// take more is soon used to the full.
#[derive(Debug, Clone)]
pub(super) struct HostPace {
    per_second: f64,
    phase: PacePhase,
    spacing: Spacing,
    last: Option<Instant>,
    /// Consecutive starts that the pace did not delay.
    undelayed: u32,
}

#[derive(Debug, Clone)]
enum PacePhase {
    /// Not throttled yet at this pace: doubling.
    Seeking,
    /// `age` seconds after a cut to `depth` (as a share of the plateau) below the plateau.
    Around { plateau: f64, depth: f64, age: f64 },
}

impl HostPace {
    /// Creates the pace of a host that throttled for the first time. `accepted`: requests per
    /// second that it accepted until then, its requested delay included.
    #[must_use]
    pub(super) fn from_accepted_rate(accepted: f64) -> Self {
        let mut pace = Self {
            per_second: accepted.max(MIN_STARTS_PER_SECOND),
            phase: PacePhase::Seeking,
            spacing: Spacing::new(Duration::ZERO, MAX_CATCH_UP),
            last: None,
            undelayed: 0,
        };
        pace.space();
        pace
    }

    /// Creates the pace of a host that is known to accept `right` requests per second.
    #[must_use]
    pub(super) fn from_known_rate(right: f64) -> Self {
        let mut pace = Self::from_accepted_rate(right);
        pace.enter_cubic(right, right);
        pace
    }

    /// Returns the pace in requests per second.
    #[must_use]
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Returns when the next request may start, if that is later than now.
    #[must_use]
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        self.spacing.next_start(now)
    }

    /// Records a start. Returns false when the pace no longer limits the host and can be dropped.
    #[must_use]
    pub(super) fn record_start(&mut self, now: Instant) -> bool {
        // The pace grows only while it is being used: a pause shows nothing about the host.
        let gap = self.last.map(|last| now.saturating_duration_since(last));
        let interval = self.spacing.interval();
        match gap {
            Some(gap) if gap <= interval * 2 + slack(interval) => {
                self.grow(gap.as_secs_f64());
                self.undelayed = 0;
            }
            _ => self.undelayed += 1,
        }
        self.last = Some(now);
        self.space();
        self.spacing.record_start(now);
        self.undelayed < STARTS_TO_DROP && self.per_second < MAX_STARTS_PER_SECOND
    }

    fn grow(&mut self, seconds: f64) {
        match &mut self.phase {
            // At most doubles per start, however long the interval was.
            PacePhase::Seeking => self.per_second *= (seconds / DOUBLING_SECONDS).min(1.0).exp2(),
            PacePhase::Around {
                plateau,
                depth,
                age,
            } => {
                *age += seconds;
                let back = RECOVERY_SECONDS.max(RECOVERY_STARTS / *plateau);
                let past = (*age - back) / back;
                let height = if past < 0.0 { *depth } else { PROBE_GAIN };
                self.per_second = *plateau * (1.0 + height * past.powi(3));
            }
        }
    }

    /// Lowers the pace because the host throttled again, `after` this time since the last cut. In
    /// that time it accepted `accepted` requests per second.
    pub(super) fn cut(&mut self, accepted: f64, after: Duration) {
        let throttled = self.per_second;
        let right = match self.phase {
            // The accepted rate is what the doubling explains: the host throttled as soon as the
            // pace became too high.
            PacePhase::Seeking if accepted < throttled * DOUBLING_PASSED_SHARE => {
                throttled * FIRST_THROTTLE_RATIO
            }
            PacePhase::Seeking => accepted.min(throttled) * OVERSHOOT_RATIO,
            // Some hosts allow bursts, or a quota per clock second, so the rate accepted in a short
            // time is higher than the sustainable one.
            PacePhase::Around { .. } if after < REPEATED_THROTTLE_TIME => {
                accepted.min(throttled) * REPEATED_THROTTLE_RATIO
            }
            PacePhase::Around { .. } => accepted.min(throttled),
        };
        let right = right.max(throttled * MIN_CUT_RATIO);
        // With such a large error the right pace may be anywhere between the two: take their
        // geometric mean.
        let likely = if right < throttled * MAX_TRUSTED_ERROR {
            (right * throttled).sqrt()
        } else {
            right
        };
        self.enter_cubic(right, likely);
    }

    /// Starts a cubic curve from just below the `right` pace up to just below the `likely` one.
    fn enter_cubic(&mut self, right: f64, likely: f64) {
        self.per_second = (right * CUT_RATIO).max(MIN_STARTS_PER_SECOND);
        let plateau = (likely * PLATEAU_RATIO).max(self.per_second);
        self.phase = PacePhase::Around {
            plateau,
            depth: 1.0 - self.per_second / plateau,
            age: 0.0,
        };
        self.space();
    }

    fn space(&mut self) {
        let interval = Duration::from_secs_f64(1.0 / self.per_second);
        self.spacing.set(interval, slack(interval));
    }
}

fn slack(interval: Duration) -> Duration {
    MAX_CATCH_UP.min(interval / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts requests as fast as the pace allows for some seconds; returns how many.
    fn run(pace: &mut HostPace, now: &mut Instant, seconds: u64) -> u32 {
        let end = *now + Duration::from_secs(seconds);
        let mut starts = 0;
        while *now < end {
            assert!(pace.record_start(*now), "the pace still limits");
            starts += 1;
            *now = pace.next_start(*now).unwrap_or(*now);
        }
        starts
    }

    #[test]
    fn after_the_first_throttle_it_keeps_doubling() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(10.0);
        run(&mut pace, &mut now, 3);
        // A little more than four doublings.
        assert!((170.0..=200.0).contains(&pace.per_second()), "{pace:?}");
    }

    #[test]
    fn a_slow_pace_at_most_doubles_from_one_start_to_the_next() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(0.1);
        for _ in 0..5 {
            let before = pace.per_second();
            assert!(pace.record_start(now));
            assert!(pace.per_second() <= before * 2.0, "{pace:?}");
            now = pace.next_start(now).unwrap();
        }
        assert!(pace.per_second() > 0.4, "{pace:?}");
    }

    #[test]
    fn after_a_cut_it_returns_to_just_below_the_right_pace_and_stays_there() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(100.0);
        pace.cut(100.0, REPEATED_THROTTLE_TIME);
        assert!((76.0..=77.0).contains(&pace.per_second()), "{pace:?}");
        run(&mut pace, &mut now, 10);
        assert!((80.0..=81.0).contains(&pace.per_second()), "{pace:?}");
        run(&mut pace, &mut now, 5);
        assert!(pace.per_second() < 85.0, "{pace:?}");
        run(&mut pace, &mut now, 30);
        assert!(
            pace.per_second() > 200.0,
            "then it probes for more: {pace:?}"
        );
    }

    #[test]
    fn a_pause_does_not_change_the_pace() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(10.0);
        for _ in 0..10 {
            assert!(pace.record_start(now));
            now += Duration::from_secs(60);
        }
        assert!((pace.per_second() - 10.0).abs() < 0.01);
    }

    #[test]
    fn a_pace_that_delays_nothing_is_dropped() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(10.0);
        let starts = (0..1000)
            .take_while(|_| {
                now += Duration::from_secs(1);
                pace.record_start(now)
            })
            .count();
        assert_eq!(starts, STARTS_TO_DROP as usize - 1);
    }

    #[test]
    fn a_pace_that_has_long_been_too_fast_to_matter_is_dropped() {
        for gap in [Duration::from_micros(10), Duration::from_millis(2)] {
            let mut now = Instant::now();
            let mut pace = HostPace::from_accepted_rate(100.0);
            let mut starts = 0;
            while pace.record_start(now) {
                starts += 1;
                assert!(starts < 100_000, "{pace:?}");
                now = pace.next_start(now).unwrap_or(now).max(now + gap);
            }
        }
    }

    #[test]
    fn a_cut_never_stops_a_host() {
        let mut pace = HostPace::from_accepted_rate(0.0);
        for _ in 0..100 {
            pace.cut(0.0, Duration::ZERO);
        }
        assert!(pace.per_second() >= MIN_STARTS_PER_SECOND);
    }
}
