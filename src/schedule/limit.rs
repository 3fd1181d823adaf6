//! How many requests a host gets at the same time, found by trying.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::host_change::{HostChange, LimitReason};

/// Requests at the same time that a host starts with.
const INITIAL_LIMIT: usize = 4;
/// While doubling, a round has at least so many answers, or the noise decides.
const MIN_ROUND_RESPONSES: u32 = 8;
/// And lasts so long at least.
const MIN_ROUND_TIME: Duration = Duration::from_millis(5);
/// A limit that is steady, or tried, is measured over so many rounds of requests.
const ROUNDS_PER_SAMPLE: u32 = 4;
/// Rounds between two tries; four times as many after each that failed.
const ROUNDS_BETWEEN_TRIES: u32 = 4;
/// And at most.
const MAX_ROUNDS_BETWEEN_TRIES: u32 = 64;
/// While doubling: the share of the added requests that has to show as goodput, to go on
/// at once, and after having looked longer.
const MIN_GAIN_AT_ONCE: f64 = 0.5;
const MIN_GAIN_ON_RECHECK: f64 = 0.25;
/// And to look once more beyond, and to stay there.
const MIN_GAIN_TO_LOOK_BEYOND: f64 = -0.1;
const MIN_GAIN_BEYOND: f64 = 0.2;
/// While trying a little more: the same.
const MIN_GAIN_OF_TRY: f64 = 0.15;
/// A try this much worse ends early.
const ABORT_GOODPUT_RATIO: f64 = 0.8;
/// And one whose first answers let no more than this share of the goodput expect.
const ABORT_FORECAST_RATIO: f64 = 0.75;
/// Fewer are kept when they do as well as this.
const KEEP_SMALLER_RATIO: f64 = 0.985;
/// Fewer are tried when answers take this many times as long as they did once.
const SHRINK_LATENCY_RATIO: f64 = 1.5;

/// How many requests a host gets at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerHostLimit {
    /// Always so many.
    Fixed(NonZeroUsize),
    /// Found by trying: few at first, more while that brings more, fewer when the host
    /// refuses.
    Auto {
        /// Never more than this; `None`: as many as there are requests in all.
        max: Option<NonZeroUsize>,
    },
}

impl Default for PerHostLimit {
    fn default() -> Self {
        Self::Auto { max: None }
    }
}

impl PerHostLimit {
    /// The most it can come to when `total` requests run at the same time.
    #[must_use]
    pub fn max(self, total: NonZeroUsize) -> NonZeroUsize {
        match self {
            Self::Fixed(limit) => limit.min(total),
            Self::Auto { max } => max.map_or(total, |max| max.min(total)),
        }
    }
}

/// The limit of one host.
///
/// It measures goodput: good answers a second, while it is this limit that keeps others
/// waiting. It doubles while that pays, and from then on tries now and then whether a little
/// more brings more, or a little less as much. A refusal halves it.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    limit: usize,
    max: usize,
    fixed: bool,
    /// Requests are measured by the limit they started under.
    epoch: u32,
    phase: LimitPhase,
    round: Round,
    /// The quickest round's mean time of an answer, in seconds.
    quickest: Option<f64>,
    last_cut: Option<Instant>,
    patience: u32,
}

#[derive(Debug, Clone, Copy)]
enum LimitPhase {
    /// Twice what it was before, if there was anything before.
    Doubling(Option<LimitSample>),
    /// Half as many more, once, because twice as many brought nothing, but cost nothing
    /// either: some servers change gear. What it was before both.
    Beyond(LimitSample),
    /// On the way back to where a refusal cut it down from.
    Recovering(usize),
    /// The limit is believed in; after so many more rounds something else is tried.
    Steady(u32),
    /// Another limit is being tried.
    Trying(LimitSample),
}

impl LimitPhase {
    /// What it goes back to when that was better.
    fn before(self) -> Option<LimitSample> {
        match self {
            Self::Doubling(before) => before,
            Self::Beyond(before) | Self::Trying(before) => Some(before),
            Self::Recovering(_) | Self::Steady(_) => None,
        }
    }
}

/// A limit and what came of it.
#[derive(Debug, Clone, Copy)]
struct LimitSample {
    limit: usize,
    goodput: f64,
    /// The mean time of an answer, in seconds.
    mean: f64,
}

/// Answers to requests of one epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Answers before it began.
    skipped: usize,
    since: Option<Instant>,
    answers: u32,
    good: u32,
    /// What the answers took, all together.
    seconds: f64,
}

impl ConcurrencyLimit {
    /// The limit of a host that nothing is known of; never above `max`.
    #[must_use]
    pub fn new(per_host: PerHostLimit, total: NonZeroUsize) -> Self {
        let max = per_host.max(total).get();
        let fixed = matches!(per_host, PerHostLimit::Fixed(_));
        Self {
            limit: if fixed { max } else { INITIAL_LIMIT.min(max) },
            max,
            fixed,
            epoch: 0,
            phase: LimitPhase::Doubling(None),
            round: Round::default(),
            quickest: None,
            last_cut: None,
            patience: ROUNDS_BETWEEN_TRIES,
        }
    }

    /// Requests at the same time.
    #[must_use]
    pub fn current(&self) -> usize {
        self.limit
    }

    /// Requests that start now belong to this epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A request of `epoch` was answered now, after `latency`, well or not. `bound` says
    /// whether it was this limit that kept others waiting. It grows up to `most`.
    pub fn record_response(
        &mut self,
        epoch: u32,
        latency: Duration,
        good: bool,
        bound: bool,
        most: usize,
        now: Instant,
    ) -> Option<HostChange> {
        if self.fixed || epoch != self.epoch {
            return None;
        }
        if !bound {
            self.reset_round();
            return None;
        }
        let Some(since) = self.round.since else {
            // The first generation met fewer others than the limit allows.
            self.round.skipped += 1;
            self.round.seconds += latency.as_secs_f64();
            if self.round.skipped < self.limit {
                return None;
            }
            let mean = self.round.seconds / self.round.skipped as f64;
            self.round.seconds = 0.0;
            self.round.since = Some(now);
            return self.abort_if_slower(mean);
        };
        self.round.answers += 1;
        self.round.good += u32::from(good);
        self.round.seconds += latency.as_secs_f64();
        // Answers that take equally long come in bursts, one of each place: a part of a
        // burst would be measured wrongly.
        let is_whole = (self.round.answers as usize).is_multiple_of(self.limit);
        let time = now.saturating_duration_since(since);
        if !is_whole || time < MIN_ROUND_TIME {
            return None;
        }
        let goodput = f64::from(self.round.good) / time.as_secs_f64();
        self.judge(goodput, most.min(self.max), now)
    }

    /// A try whose first answers took so long that it can't be worth it ends at once.
    fn abort_if_slower(&mut self, mean: f64) -> Option<HostChange> {
        let before = self.phase.before()?;
        // By Little's law: as many at the same time as come in a second, times what each takes.
        let expected = self.limit as f64 / mean.max(1e-9);
        let was = before.limit as f64 / before.mean.max(1e-9);
        if expected < was * ABORT_FORECAST_RATIO {
            self.revert(before)
        } else {
            None
        }
    }

    /// What was measured so far does not count: something else kept others waiting.
    pub fn reset_round(&mut self) {
        self.round = Round::default();
    }

    /// The host refused a request that started at `started`, or could not be reached.
    /// Requests that were under way together count once.
    pub fn halve(
        &mut self,
        started: Instant,
        now: Instant,
        why: LimitReason,
    ) -> Option<HostChange> {
        if self.fixed || self.last_cut.is_some_and(|cut| started <= cut) {
            return None;
        }
        self.last_cut = Some(now);
        self.patience = ROUNDS_BETWEEN_TRIES;
        // What is being tried, or came from doubling, is not believed in yet.
        let to = self
            .phase
            .before()
            .map_or(self.limit, |before| before.limit);
        let to = to.min(self.limit);
        self.phase = LimitPhase::Recovering(to);
        self.set((self.limit / 2).max(1), why)
    }

    /// Back to what it was before it was cut for nothing, and on from there.
    pub fn restore(&mut self, limit: usize) -> Option<HostChange> {
        if self.fixed {
            return None;
        }
        self.phase = LimitPhase::Doubling(None);
        self.set(limit.clamp(1, self.max), LimitReason::RefusesAnyway)
    }

    fn judge(&mut self, goodput: f64, most: usize, now: Instant) -> Option<HostChange> {
        if let LimitPhase::Recovering(to) = self.phase {
            return self.recover(to.min(most));
        }
        if let Some(before) = self.phase.before()
            && goodput < before.goodput * ABORT_GOODPUT_RATIO
        {
            return self.revert(before);
        }
        let size = u32::try_from(self.limit)
            .unwrap_or(u32::MAX)
            .max(MIN_ROUND_RESPONSES);
        let rounds = self.round.answers / size;
        if rounds == 0 {
            return None;
        }
        let mean = self.round.mean();
        self.quickest = Some(self.quickest.map_or(mean, |quickest| quickest.min(mean)));
        match self.phase {
            LimitPhase::Recovering(_) => None,
            LimitPhase::Doubling(None) => self.double(goodput, most),
            LimitPhase::Doubling(Some(before)) => {
                self.judge_doubling(before, rounds, goodput, most)
            }
            LimitPhase::Beyond(before) if rounds >= 2 => {
                if share_gained(before, self.limit, goodput) >= MIN_GAIN_BEYOND {
                    self.double(goodput, most)
                } else {
                    self.revert(before)
                }
            }
            LimitPhase::Steady(1) if rounds >= ROUNDS_PER_SAMPLE => self.try_another(goodput, most),
            LimitPhase::Steady(left) if rounds >= ROUNDS_PER_SAMPLE => {
                self.phase = LimitPhase::Steady(left - 1);
                self.round = Round {
                    since: Some(now),
                    ..Round::default()
                };
                None
            }
            LimitPhase::Trying(before) if rounds >= ROUNDS_PER_SAMPLE => {
                self.judge_try(before, goodput)
            }
            LimitPhase::Beyond(_) | LimitPhase::Steady(_) | LimitPhase::Trying(_) => None,
        }
    }

    fn judge_doubling(
        &mut self,
        before: LimitSample,
        rounds: u32,
        goodput: f64,
        most: usize,
    ) -> Option<HostChange> {
        let share = share_gained(before, self.limit, goodput);
        let looked_long = rounds >= 3;
        if share >= MIN_GAIN_AT_ONCE || (looked_long && share >= MIN_GAIN_ON_RECHECK) {
            self.double(goodput, most)
        } else if looked_long && share >= MIN_GAIN_TO_LOOK_BEYOND && self.limit < most {
            self.phase = LimitPhase::Beyond(before);
            self.set((self.limit * 3 / 2).min(most), LimitReason::NotLess)
        } else if looked_long {
            self.revert(before)
        } else {
            None
        }
    }

    fn judge_try(&mut self, before: LimitSample, goodput: f64) -> Option<HostChange> {
        let (is_worth_it, why) = if self.limit > before.limit {
            let share = share_gained(before, self.limit, goodput);
            (share >= MIN_GAIN_OF_TRY, LimitReason::Gain)
        } else {
            let as_good = goodput >= before.goodput * KEEP_SMALLER_RATIO;
            (as_good, LimitReason::AsGoodWithFewer)
        };
        if !is_worth_it {
            return self.revert(before);
        }
        self.patience = ROUNDS_BETWEEN_TRIES;
        self.phase = LimitPhase::Steady(1);
        self.round = Round::default();
        Some(HostChange::Limit {
            from: before.limit,
            to: self.limit,
            why,
        })
    }

    fn double(&mut self, goodput: f64, most: usize) -> Option<HostChange> {
        if self.limit >= most {
            self.phase = LimitPhase::Steady(self.patience);
            self.round = Round::default();
            return None;
        }
        let limit = self.limit;
        let mean = self.round.mean();
        self.phase = LimitPhase::Doubling(Some(LimitSample {
            limit,
            goodput,
            mean,
        }));
        self.set((limit * 2).min(most), LimitReason::Gain)
    }

    /// One more with every round of answers, as TCP does (RFC 5681 §3.1).
    fn recover(&mut self, to: usize) -> Option<HostChange> {
        if self.limit >= to {
            self.phase = LimitPhase::Steady(self.patience);
            self.round = Round::default();
            return None;
        }
        self.set(self.limit + 1, LimitReason::NoRefusal)
    }

    /// A quarter more, or a quarter less when answers have become slow. What is tried is
    /// told when it has proved good.
    fn try_another(&mut self, goodput: f64, most: usize) -> Option<HostChange> {
        let limit = self.limit;
        let slow = self
            .quickest
            .is_some_and(|quickest| self.round.mean() > quickest * SHRINK_LATENCY_RATIO);
        let step = (limit / 4).max(1);
        let to = if slow && limit > 1 {
            limit - step
        } else {
            (limit + step).min(most).max(limit)
        };
        if to == limit {
            self.phase = LimitPhase::Steady(self.patience);
            self.round = Round::default();
            return None;
        }
        let mean = self.round.mean();
        self.phase = LimitPhase::Trying(LimitSample {
            limit,
            goodput,
            mean,
        });
        let _ = self.set(to, LimitReason::Gain);
        None
    }

    /// What was tried brings too little.
    fn revert(&mut self, before: LimitSample) -> Option<HostChange> {
        let doubled = !matches!(self.phase, LimitPhase::Trying(_));
        if !doubled {
            self.patience = (self.patience * 4).min(MAX_ROUNDS_BETWEEN_TRIES);
        }
        // A small try was not told of when it began.
        self.settle_at(before.limit, LimitReason::NoGain)
            .filter(|_| doubled)
    }

    fn settle_at(&mut self, limit: usize, why: LimitReason) -> Option<HostChange> {
        self.phase = LimitPhase::Steady(self.patience);
        self.set(limit, why)
    }

    fn set(&mut self, to: usize, why: LimitReason) -> Option<HostChange> {
        let from = self.limit;
        self.limit = to;
        self.round = Round::default();
        self.epoch = self.epoch.wrapping_add(1);
        (from != to).then_some(HostChange::Limit { from, to, why })
    }
}

impl Round {
    fn mean(&self) -> f64 {
        self.seconds / f64::from(self.answers.max(1))
    }
}

/// How much of the requests that were added shows as goodput: 1 when twice as many bring
/// twice as much, 0 when they bring nothing.
fn share_gained(before: LimitSample, limit: usize, goodput: f64) -> f64 {
    let added = limit as f64 / before.limit.max(1) as f64 - 1.0;
    (goodput / before.goodput.max(1e-9) - 1.0) / added.max(1e-9)
}
