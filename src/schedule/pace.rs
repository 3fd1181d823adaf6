//! The learned pace of a host: how many requests a second it lets through.

use std::time::{Duration, Instant};

use super::spacing::Spacing;

/// Starts may come so much too early to make up for late ones (timers are rough), but no
/// more than a quarter of the interval.
const MAX_CATCH_UP: Duration = Duration::from_millis(5);
/// While nothing is known of the right pace, it doubles in this time, in seconds.
const DOUBLING_SECONDS: f64 = 0.7;
/// After a cut the pace is back at its plateau after this time, in seconds.
const RECOVERY_SECONDS: f64 = 10.0;
/// Or after so many starts, whichever is later.
const RECOVERY_STARTS: f64 = 20.0;
/// And after as long again it is so much above it.
const PROBE_GAIN: f64 = 0.25;
/// A plateau lies so far under what seems right.
const PLATEAU_RATIO: f64 = 0.95;
/// And a cut goes down to so much of it.
const CUT_RATIO: f64 = 0.9;
/// After so many starts in a row that would have come no sooner without it a pace is
/// dropped.
const STARTS_TO_DROP: u32 = 100;
/// What a pace that doubles in that time lets through in two seconds, a second, as a share of
/// what it has come to (0.44), and a little for the noise.
const DOUBLING_PASSED_SHARE: f64 = 0.48;
/// Then so much of it is right.
const FIRST_REFUSAL_RATIO: f64 = 0.75;
/// Otherwise it went on for a while beyond what was right.
const OVERSHOOT_RATIO: f64 = 0.85;
/// A refusal that comes sooner than this after the last one...
const REPEATED_REFUSAL_TIME: Duration = Duration::from_millis(1750);
/// ...says that the pace was too high by more than can be seen.
const REPEATED_REFUSAL_RATIO: f64 = 0.92;
/// A pace that was wrong by more than this says little about the right one.
const MAX_TRUSTED_ERROR: f64 = 0.5;
/// One refusal says no more than that so much of the pace is right.
const MIN_CUT_RATIO: f64 = 0.25;
/// A pace this fast limits nothing, per second.
const MAX_STARTS_PER_SECOND: f64 = 10_000.0;
/// Slowest pace, per second. Below it the waits between refusals say more.
const MIN_STARTS_PER_SECOND: f64 = 0.05;

/// The learned pace of a host.
///
/// After its first refusal a host is asked at the pace it let through, and that doubles
/// again and again, until it refuses again. From then on something is known about where the
/// right pace lies, and it moves as CUBIC moves its window (RFC 9438 §4.2): quickly back
/// to a plateau just under what was refused, slowly past it, then faster and faster. So a
/// host with a fixed limit refuses seldom, and one that has more to give is soon used.
#[derive(Debug, Clone)]
pub struct HostPace {
    per_second: f64,
    course: PacePhase,
    spacing: Spacing,
    last: Option<Instant>,
    /// Starts in a row that came later than it wanted.
    free: u32,
}

#[derive(Debug, Clone)]
enum PacePhase {
    /// It has not been refused yet.
    Seeking,
    /// `age` seconds after a cut to `depth` (a share of 1) below the plateau.
    Around { plateau: f64, depth: f64, age: f64 },
}

impl HostPace {
    /// The pace after the first refusal: the host let `accepted` requests a second
    /// through, the wait it asked for included.
    #[must_use]
    pub fn from_accepted_rate(accepted: f64) -> Self {
        let mut pace = Self {
            per_second: accepted.max(MIN_STARTS_PER_SECOND),
            course: PacePhase::Seeking,
            spacing: Spacing::new(Duration::ZERO, MAX_CATCH_UP),
            last: None,
            free: 0,
        };
        pace.space();
        pace
    }

    /// The pace of a host that lets `right` requests a second through, as far as is known.
    #[must_use]
    pub fn from_known_rate(right: f64) -> Self {
        let mut pace = Self::from_accepted_rate(right);
        pace.enter_cubic(right, right);
        pace
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// When the next request may start, if that is not now.
    #[must_use]
    pub fn next_start(&self, now: Instant) -> Option<Instant> {
        self.spacing.next_start(now)
    }

    /// A request starts. Tells whether the pace still limits anything.
    #[must_use]
    pub fn record_start(&mut self, now: Instant) -> bool {
        // Time counts only while the host is asked at this pace: who pauses learns nothing.
        let gap = self.last.map(|last| now.saturating_duration_since(last));
        let interval = self.spacing.interval();
        match gap {
            Some(gap) if gap <= interval * 2 + slack(interval) => {
                self.grow(gap.as_secs_f64());
                self.free = 0;
            }
            _ => self.free += 1,
        }
        self.last = Some(now);
        self.space();
        self.spacing.record_start(now);
        self.free < STARTS_TO_DROP && self.per_second < MAX_STARTS_PER_SECOND
    }

    fn grow(&mut self, seconds: f64) {
        match &mut self.course {
            // Twice what was not refused is enough for one start.
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

    /// The host refused although it was asked at this pace, `after` this time; meanwhile
    /// it let `accepted` requests a second through.
    pub fn cut(&mut self, accepted: f64, after: Duration) {
        let refused = self.per_second;
        let right = match self.course {
            // Not more than the doubling itself accounts for: it was refused at once when
            // it became too much.
            PacePhase::Seeking if accepted < refused * DOUBLING_PASSED_SHARE => {
                refused * FIRST_REFUSAL_RATIO
            }
            PacePhase::Seeking => accepted.min(refused) * OVERSHOOT_RATIO,
            // Some allow a burst, or a number in each second of the clock: what they let
            // through in a short time is more than what they do in a long one.
            PacePhase::Around { .. } if after < REPEATED_REFUSAL_TIME => {
                accepted.min(refused) * REPEATED_REFUSAL_RATIO
            }
            PacePhase::Around { .. } => accepted.min(refused),
        };
        let right = right.max(refused * MIN_CUT_RATIO);
        // So far off, the right pace may lie anywhere in between.
        let likely = if right < refused * MAX_TRUSTED_ERROR {
            (right * refused).sqrt()
        } else {
            right
        };
        self.enter_cubic(right, likely);
    }

    /// From a little under what is right back to what is likely.
    fn enter_cubic(&mut self, right: f64, likely: f64) {
        self.per_second = (right * CUT_RATIO).max(MIN_STARTS_PER_SECOND);
        let plateau = (likely * PLATEAU_RATIO).max(self.per_second);
        self.course = PacePhase::Around {
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

    /// Starts requests as fast as the pace lets them, for so long; gives their number.
    fn run(pace: &mut HostPace, now: &mut Instant, seconds: u64) -> u32 {
        let end = *now + Duration::from_secs(seconds);
        let mut starts = 0;
        while *now < end {
            assert!(pace.record_start(*now), "it limits");
            starts += 1;
            *now = pace.next_start(*now).unwrap_or(*now);
        }
        starts
    }

    #[test]
    fn after_the_first_refusal_it_doubles_again_and_again() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(10.0);
        run(&mut pace, &mut now, 3);
        // A little more than four times.
        assert!((170.0..=200.0).contains(&pace.per_second()), "{pace:?}");
    }

    #[test]
    fn a_slow_one_at_most_doubles_from_one_start_to_the_next() {
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
    fn after_a_cut_it_comes_back_to_just_under_what_was_right_and_stays_there_for_long() {
        let mut now = Instant::now();
        let mut pace = HostPace::from_accepted_rate(100.0);
        pace.cut(100.0, REPEATED_REFUSAL_TIME);
        assert!((76.0..=77.0).contains(&pace.per_second()), "{pace:?}");
        run(&mut pace, &mut now, 10);
        assert!((80.0..=81.0).contains(&pace.per_second()), "{pace:?}");
        run(&mut pace, &mut now, 5);
        assert!(pace.per_second() < 85.0, "{pace:?}");
        run(&mut pace, &mut now, 30);
        assert!(
            pace.per_second() > 200.0,
            "then it looks for more: {pace:?}"
        );
    }

    #[test]
    fn who_pauses_learns_nothing() {
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
