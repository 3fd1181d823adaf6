//! The learned pace of a host: how many requests a second it lets through.

use std::time::{Duration, Instant};

use super::spacing::Spacing;

/// Starts may come so much too early to make up for late ones (timers are rough), but no
/// more than a quarter of the interval.
const SLACK: Duration = Duration::from_millis(5);
/// While nothing is known of the right pace, it doubles in this time, in seconds.
const DOUBLING: f64 = 0.7;
/// After a cut the pace is back at its plateau after this time, in seconds.
const RETURN: f64 = 10.0;
/// Or after so many starts, whichever is later.
const RETURN_STARTS: f64 = 20.0;
/// And after as long again it is so much above it.
const RISE: f64 = 0.25;
/// A plateau lies so far under what seems right.
const BELOW: f64 = 0.95;
/// And a cut goes down to so much of it.
const CUT: f64 = 0.9;
/// After so many starts in a row that would have come no sooner without it a pace is
/// dropped.
const FREE: u32 = 100;
/// What a pace that doubles in that time lets through in two seconds, a second, as a share of
/// what it has come to (0.44), and a little for the noise.
const DOUBLED: f64 = 0.48;
/// Then so much of it is right.
const AT_ONCE: f64 = 0.75;
/// Otherwise it went on for a while beyond what was right.
const OVERSHOT: f64 = 0.85;
/// A refusal that comes sooner than this after the last one...
const SOON: Duration = Duration::from_millis(1750);
/// ...says that the pace was too high by more than can be seen.
const LESS: f64 = 0.92;
/// A pace that was wrong by more than this says little about the right one.
const FAR: f64 = 0.5;
/// One refusal says no more than that so much of the pace is right.
const LEAST: f64 = 0.25;
/// A pace this fast limits nothing, per second.
const FASTEST: f64 = 10_000.0;
/// Slowest pace, per second. Below it the waits between refusals say more.
const SLOWEST: f64 = 0.05;

/// The learned pace of a host.
///
/// After its first refusal a host is asked at the pace it let through, and that doubles
/// again and again, until it refuses again. From then on something is known about where the
/// right pace lies, and it moves as CUBIC moves its window (RFC 9438 §4.2): quickly back
/// to a plateau just under what was refused, slowly past it, then faster and faster. So a
/// host with a fixed limit refuses seldom, and one that has more to give is soon used.
#[derive(Debug, Clone)]
pub struct Pace {
    per_second: f64,
    course: Course,
    spacing: Spacing,
    last: Option<Instant>,
    /// Starts in a row that came later than it wanted.
    free: u32,
}

#[derive(Debug, Clone)]
enum Course {
    /// It has not been refused yet.
    Seeking,
    /// `age` seconds after a cut to `depth` (a share of 1) below the plateau.
    Around { plateau: f64, depth: f64, age: f64 },
}

impl Pace {
    /// The pace after the first refusal: the host let `accepted` requests a second
    /// through, the wait it asked for included.
    #[must_use]
    pub fn first(accepted: f64) -> Self {
        let mut pace = Self {
            per_second: accepted.max(SLOWEST),
            course: Course::Seeking,
            spacing: Spacing::new(Duration::ZERO, SLACK),
            last: None,
            free: 0,
        };
        pace.space();
        pace
    }

    /// The pace of a host that lets `right` requests a second through, as far as is known.
    #[must_use]
    pub fn known(right: f64) -> Self {
        let mut pace = Self::first(right);
        pace.go_around(right, right);
        pace
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// When the next request may start, if that is not now.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        self.spacing.wait(now)
    }

    /// A request starts. Tells whether the pace still limits anything.
    #[must_use]
    pub fn start(&mut self, now: Instant) -> bool {
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
        self.spacing.start(now);
        self.free < FREE && self.per_second < FASTEST
    }

    fn grow(&mut self, seconds: f64) {
        match &mut self.course {
            // Twice what was not refused is enough for one start.
            Course::Seeking => self.per_second *= (seconds / DOUBLING).min(1.0).exp2(),
            Course::Around {
                plateau,
                depth,
                age,
            } => {
                *age += seconds;
                let back = RETURN.max(RETURN_STARTS / *plateau);
                let past = (*age - back) / back;
                let height = if past < 0.0 { *depth } else { RISE };
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
            Course::Seeking if accepted < refused * DOUBLED => refused * AT_ONCE,
            Course::Seeking => accepted.min(refused) * OVERSHOT,
            // Some allow a burst, or a number in each second of the clock: what they let
            // through in a short time is more than what they do in a long one.
            Course::Around { .. } if after < SOON => accepted.min(refused) * LESS,
            Course::Around { .. } => accepted.min(refused),
        };
        let right = right.max(refused * LEAST);
        // So far off, the right pace may lie anywhere in between.
        let likely = if right < refused * FAR {
            (right * refused).sqrt()
        } else {
            right
        };
        self.go_around(right, likely);
    }

    /// From a little under what is right back to what is likely.
    fn go_around(&mut self, right: f64, likely: f64) {
        self.per_second = (right * CUT).max(SLOWEST);
        let plateau = (likely * BELOW).max(self.per_second);
        self.course = Course::Around {
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
    SLACK.min(interval / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts requests as fast as the pace lets them, for so long; gives their number.
    fn run(pace: &mut Pace, now: &mut Instant, seconds: u64) -> u32 {
        let end = *now + Duration::from_secs(seconds);
        let mut starts = 0;
        while *now < end {
            assert!(pace.start(*now), "it limits");
            starts += 1;
            *now = pace.wait(*now).unwrap_or(*now);
        }
        starts
    }

    #[test]
    fn after_the_first_refusal_it_doubles_again_and_again() {
        let mut now = Instant::now();
        let mut pace = Pace::first(10.0);
        run(&mut pace, &mut now, 3);
        // A little more than four times.
        assert!((170.0..=200.0).contains(&pace.per_second()), "{pace:?}");
    }

    #[test]
    fn a_slow_one_at_most_doubles_from_one_start_to_the_next() {
        let mut now = Instant::now();
        let mut pace = Pace::first(0.1);
        for _ in 0..5 {
            let before = pace.per_second();
            assert!(pace.start(now));
            assert!(pace.per_second() <= before * 2.0, "{pace:?}");
            now = pace.wait(now).unwrap();
        }
        assert!(pace.per_second() > 0.4, "{pace:?}");
    }

    #[test]
    fn after_a_cut_it_comes_back_to_just_under_what_was_right_and_stays_there_for_long() {
        let mut now = Instant::now();
        let mut pace = Pace::first(100.0);
        pace.cut(100.0, SOON);
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
        let mut pace = Pace::first(10.0);
        for _ in 0..10 {
            assert!(pace.start(now));
            now += Duration::from_secs(60);
        }
        assert!((pace.per_second() - 10.0).abs() < 0.01);
    }

    #[test]
    fn a_pace_that_delays_nothing_is_dropped() {
        let mut now = Instant::now();
        let mut pace = Pace::first(10.0);
        let starts = (0..1000)
            .take_while(|_| {
                now += Duration::from_secs(1);
                pace.start(now)
            })
            .count();
        assert_eq!(starts, FREE as usize - 1);
    }

    #[test]
    fn a_pace_that_has_long_been_too_fast_to_matter_is_dropped() {
        for gap in [Duration::from_micros(10), Duration::from_millis(2)] {
            let mut now = Instant::now();
            let mut pace = Pace::first(100.0);
            let mut starts = 0;
            while pace.start(now) {
                starts += 1;
                assert!(starts < 100_000, "{pace:?}");
                now = pace.wait(now).unwrap_or(now).max(now + gap);
            }
        }
    }

    #[test]
    fn a_cut_never_stops_a_host() {
        let mut pace = Pace::first(0.0);
        for _ in 0..100 {
            pace.cut(0.0, Duration::ZERO);
        }
        assert!(pace.per_second() >= SLOWEST);
    }
}
