//! The learned pace of a host: how many requests a second it lets through.

use std::time::{Duration, Instant};

use super::spacing::Spacing;

/// Starts may come so much too early to make up for late ones (timers are rough), but no
/// more than a quarter of the interval.
const SLACK: Duration = Duration::from_millis(5);
/// While nothing is known of the right pace, it doubles in this time, in seconds.
const DOUBLING: f64 = 1.0;
/// After a cut the pace is back at its plateau after this time, in seconds.
const RETURN: f64 = 10.0;
/// And after as long again it is so much above it.
const RISE: f64 = 0.25;
/// A plateau lies so far under what seems right.
const BELOW: f64 = 0.95;
/// And a cut goes down to so much of it.
const CUT: f64 = 0.9;
/// After so many starts in a row that would have come no sooner without it a pace is
/// dropped.
const FREE: u32 = 100;
/// What a pace that doubles every second lets through in two seconds, a second, as a share
/// of what it has come to (0.54), and a little for the noise.
const DOUBLED: f64 = 0.6;
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
/// Slowest pace, per second. Below it the waits between refusals say more.
const SLOWEST: f64 = 0.05;

/// The learned pace of a host.
///
/// After its first refusal a host is asked at the pace it let through, and that doubles
/// every second until it refuses again. From then on something is known about where the
/// right pace lies, and it moves as CUBIC moves its window (RFC 9438 §4.2): quickly back
/// to a plateau just under what was refused, slowly past it, then faster and faster. So a
/// host with a fixed limit refuses seldom, and one that has more to give is soon used.
#[derive(Debug, Clone)]
pub struct Pace {
    per_second: f64,
    course: Course,
    spacing: Spacing,
    last: Option<Instant>,
    /// Starts in a row that it did not delay.
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
        match gap {
            Some(gap) if gap <= self.spacing.interval() * 2 + SLACK => {
                self.grow(gap.as_secs_f64());
                self.free = 0;
            }
            _ => self.free += 1,
        }
        self.last = Some(now);
        self.space();
        self.spacing.start(now);
        self.free < FREE
    }

    fn grow(&mut self, seconds: f64) {
        match &mut self.course {
            Course::Seeking => self.per_second *= (seconds / DOUBLING).exp2(),
            Course::Around {
                plateau,
                depth,
                age,
            } => {
                *age += seconds;
                let past = (*age - RETURN) / RETURN;
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
        let right = right.max(SLOWEST);
        self.per_second = right * CUT;
        // So far off, the right pace may lie anywhere in between.
        let likely = if right < refused * FAR {
            (right * refused).sqrt()
        } else {
            right
        };
        let plateau = likely * BELOW;
        self.course = Course::Around {
            plateau,
            depth: 1.0 - self.per_second / plateau,
            age: 0.0,
        };
        self.space();
    }

    fn space(&mut self) {
        let interval = Duration::from_secs_f64(1.0 / self.per_second);
        self.spacing.set(interval, SLACK.min(interval / 4));
    }
}
