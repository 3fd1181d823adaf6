//! The concurrency limit of a host, fixed or found by measuring.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::host_change::{HostChange, LimitReason};
use super::tuning::limit::*;

/// How the concurrency limit of a host is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerHostLimit {
    /// A fixed limit.
    Fixed(NonZeroUsize),
    /// Found by measuring: starts at 4, grows while throughput improves, and is halved on 429, 503
    /// or a failed connection.
    Auto {
        /// Upper bound; `None`: the overall concurrency.
        max: Option<NonZeroUsize>,
    },
}

impl Default for PerHostLimit {
    fn default() -> Self {
        Self::Auto { max: None }
    }
}

impl PerHostLimit {
    /// Returns the highest possible limit if `total` requests may run over all hosts.
    #[must_use]
    pub fn upper_bound(self, total: NonZeroUsize) -> NonZeroUsize {
        match self {
            Self::Fixed(limit) => limit.min(total),
            Self::Auto { max } => max.map_or(total, |max| max.min(total)),
        }
    }
}

/// The concurrency limit of one host.
///
/// Measures goodput (successful responses per second) while this limit is what keeps requests
/// waiting. Doubles while that improves goodput; after that, tries a slightly larger or smaller
/// limit from time to time. Throttling or a failed connection halves it.
#[derive(Debug, Clone)]
pub(super) struct ConcurrencyLimit {
    limit: usize,
    max: usize,
    fixed: bool,
    /// Increases with each change of the limit. Requests started under another limit are not
    /// measured.
    epoch: u32,
    phase: LimitPhase,
    round: Round,
    /// The lowest mean latency of any round, in seconds.
    lowest_mean: Option<f64>,
    last_cut: Option<Instant>,
    /// Samples between two trials of another limit; grows with each failed trial.
    rounds_between_tries: u32,
}

#[derive(Debug, Clone, Copy)]
enum LimitPhase {
    /// Doubled; with the sample before, unless this is the first limit.
    Doubling(Option<LimitSample>),
    /// Raised by half once more, because doubling neither helped nor hurt: some servers scale up
    /// only at a higher load. With the sample before the doubling.
    Beyond(LimitSample),
    /// Growing back to the limit before a cut.
    Recovering(usize),
    /// Settled; another limit is tried after this many samples.
    Steady(u32),
    /// Trying another limit; with the sample before.
    Trying(LimitSample),
}

impl LimitPhase {
    /// Returns the sample to revert to.
    fn before(self) -> Option<LimitSample> {
        match self {
            Self::Doubling(before) => before,
            Self::Beyond(before) | Self::Trying(before) => Some(before),
            Self::Recovering(_) | Self::Steady(_) => None,
        }
    }
}

/// A limit and its measured performance.
#[derive(Debug, Clone, Copy)]
struct LimitSample {
    limit: usize,
    goodput: f64,
    /// Mean latency, in seconds.
    mean: f64,
}

/// Responses to requests of one epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Responses before the round began.
    skipped: usize,
    since: Option<Instant>,
    responses: u32,
    /// Successful ones among them.
    good: u32,
    /// Total latency, in seconds.
    seconds: f64,
}

impl ConcurrencyLimit {
    /// Creates the limit of a new host.
    #[must_use]
    pub(super) fn new(per_host: PerHostLimit, total: NonZeroUsize) -> Self {
        let max = per_host.upper_bound(total).get();
        let fixed = matches!(per_host, PerHostLimit::Fixed(_));
        Self {
            limit: if fixed { max } else { INITIAL_LIMIT.min(max) },
            max,
            fixed,
            epoch: 0,
            phase: LimitPhase::Doubling(None),
            round: Round::default(),
            lowest_mean: None,
            last_cut: None,
            rounds_between_tries: ROUNDS_BETWEEN_TRIES,
        }
    }

    /// Changes how the limit is chosen. What was learned stays, as far as it is allowed.
    pub(super) fn set_policy(&mut self, per_host: PerHostLimit, total: NonZeroUsize) {
        let new = Self::new(per_host, total);
        if (new.max, new.fixed) == (self.max, self.fixed) {
            return;
        }
        (self.max, self.fixed) = (new.max, new.fixed);
        self.phase = match self.phase {
            LimitPhase::Recovering(to) => LimitPhase::Recovering(to.min(self.max)),
            _ => LimitPhase::Doubling(None),
        };
        let limit = if self.fixed {
            self.max
        } else {
            self.limit.min(self.max)
        };
        let _ = self.set(limit, LimitReason::Recovering);
    }

    /// Returns the current limit.
    #[must_use]
    pub(super) fn current(&self) -> usize {
        self.limit
    }

    /// Returns the limit for requests that prove themselves that they are not too many: the highest one,
    /// unless the host has shown that it is too high.
    #[must_use]
    pub(super) fn unproven(&self) -> usize {
        match self.last_cut {
            None => self.max,
            Some(_) => self.limit,
        }
    }

    /// Returns the epoch of requests that start now.
    #[must_use]
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Records a response, successful (`good`) or not, to a request of `epoch`. `bound`: whether
    /// this limit is what keeps other requests waiting. The limit grows to at most `most`.
    pub(super) fn record_response(
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
            // The first requests of an epoch ran with lower concurrency than the limit: not
            // measured.
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
        self.round.responses += 1;
        self.round.good += u32::from(good);
        self.round.seconds += latency.as_secs_f64();
        // With equal latencies, responses arrive in bursts of one per slot. Measuring part of a
        // burst would distort the goodput.
        let is_whole = (self.round.responses as usize).is_multiple_of(self.limit);
        let time = now.saturating_duration_since(since);
        if !is_whole || time < MIN_ROUND_TIME {
            return None;
        }
        let goodput = f64::from(self.round.good) / time.as_secs_f64();
        self.judge(goodput, most.min(self.max), now)
    }

    /// Reverts a trial whose first latencies show that it cannot pay off.
    fn abort_if_slower(&mut self, mean: f64) -> Option<HostChange> {
        let before = self.phase.before()?;
        // Little's law: throughput = concurrency / latency.
        let expected = self.limit as f64 / mean.max(1e-9);
        let was = before.limit as f64 / before.mean.max(1e-9);
        if expected < was * ABORT_FORECAST_RATIO {
            self.revert(before)
        } else {
            None
        }
    }

    /// Discards the current round: something other than this limit kept requests waiting.
    pub(super) fn reset_round(&mut self) {
        self.round = Round::default();
    }

    /// Halves the limit after a request that started at `started` was throttled or could not
    /// connect. Requests that were in flight together count once.
    pub(super) fn halve(
        &mut self,
        started: Instant,
        now: Instant,
        why: LimitReason,
    ) -> Option<HostChange> {
        if self.fixed || self.last_cut.is_some_and(|cut| started <= cut) {
            return None;
        }
        self.last_cut = Some(now);
        self.rounds_between_tries = ROUNDS_BETWEEN_TRIES;
        // A limit under test is unproven, so recovery goes only to the one before it.
        let to = self
            .phase
            .before()
            .map_or(self.limit, |before| before.limit);
        let to = to.min(self.limit);
        self.phase = LimitPhase::Recovering(to);
        self.set((self.limit / 2).max(1), why)
    }

    /// Restores the limit before cuts that turned out to be unwarranted, and grows from there.
    pub(super) fn restore(&mut self, limit: usize) -> Option<HostChange> {
        if self.fixed {
            return None;
        }
        self.phase = LimitPhase::Doubling(None);
        self.set(limit.clamp(1, self.max), LimitReason::LoadIndependent)
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
        let rounds = self.round.responses / size;
        if rounds == 0 {
            return None;
        }
        let mean = self.round.mean();
        self.lowest_mean = Some(self.lowest_mean.map_or(mean, |lowest| lowest.min(mean)));
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
            self.set(
                (self.limit * 3 / 2).min(most),
                LimitReason::NeitherGainNorLoss,
            )
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
            (as_good, LimitReason::LessLatency)
        };
        if !is_worth_it {
            return self.revert(before);
        }
        self.rounds_between_tries = ROUNDS_BETWEEN_TRIES;
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
            self.phase = LimitPhase::Steady(self.rounds_between_tries);
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

    /// Adds one per round of responses, like TCP's congestion avoidance (RFC 5681 §3.1).
    fn recover(&mut self, to: usize) -> Option<HostChange> {
        if self.limit >= to {
            self.phase = LimitPhase::Steady(self.rounds_between_tries);
            self.round = Round::default();
            return None;
        }
        self.set(self.limit + 1, LimitReason::Recovering)
    }

    /// Tries a quarter more, or a quarter less if latency has grown. The change is reported only if
    /// it is kept.
    fn try_another(&mut self, goodput: f64, most: usize) -> Option<HostChange> {
        let limit = self.limit;
        let slow = self
            .lowest_mean
            .is_some_and(|lowest| self.round.mean() > lowest * SHRINK_LATENCY_RATIO);
        let step = (limit / 4).max(1);
        let to = if slow && limit > 1 {
            limit - step
        } else {
            (limit + step).min(most).max(limit)
        };
        if to == limit {
            self.phase = LimitPhase::Steady(self.rounds_between_tries);
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

    /// Reverts a limit that gained too little.
    fn revert(&mut self, before: LimitSample) -> Option<HostChange> {
        let doubled = !matches!(self.phase, LimitPhase::Trying(_));
        if !doubled {
            self.rounds_between_tries =
                (self.rounds_between_tries * 4).min(MAX_ROUNDS_BETWEEN_TRIES);
        }
        // The start of a small trial was not reported, so its end is not either.
        self.settle_at(before.limit, LimitReason::NoGain)
            .filter(|_| doubled)
    }

    fn settle_at(&mut self, limit: usize, why: LimitReason) -> Option<HostChange> {
        self.phase = LimitPhase::Steady(self.rounds_between_tries);
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
        self.seconds / f64::from(self.responses.max(1))
    }
}

/// Returns the relative goodput gained per relative concurrency added: 1 if doubling the limit
/// doubles the goodput, 0 if it gains nothing.
fn share_gained(before: LimitSample, limit: usize, goodput: f64) -> f64 {
    let added = limit as f64 / before.limit.max(1) as f64 - 1.0;
    (goodput / before.goodput.max(1e-9) - 1.0) / added.max(1e-9)
}
