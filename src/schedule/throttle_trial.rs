//! Whether a bare 503 speaks of our pace. Some servers limit with it, in others something
//! is broken: the way to tell is to ask for less and look whether fewer come.

use std::time::Instant;

/// Answers after which a trial can be judged at the earliest.
const MIN_RESPONSES: u32 = 16;
/// Up to this share of refusals the lower pace has helped.
const MAX_THROTTLED_SHARE: f64 = 0.1;
/// Or when this many times as many of those that are sent are let through as before.
const MIN_PASS_RATE_GAIN: f64 = 1.3;
/// Or when about as many a second are let through although fewer are sent.
const MIN_GOODPUT_RATIO: f64 = 0.8;
/// Or when the refusals are down to this part of what they were.
const MAX_THROTTLED_RATIO: f64 = 0.5;
/// While more than this share is refused nothing can be told: the pace may be many times
/// too high.
const MAX_CONCLUSIVE_SHARE: f64 = 0.5;
/// Once it is known not to be our pace, that is not doubted for so many answers; then for
/// four times as many, and so on.
const UNRELATED_RESPONSES: u32 = 2048;
/// And for so many at most.
const MAX_UNRELATED_RESPONSES: u32 = 1 << 16;
/// Unless of so many...
const RECHECK_RESPONSES: u32 = 64;
/// ...a share is refused that is larger by this.
const RECHECK_INCREASE: f64 = 0.3;
/// Trials that have to help until it is certain: one may do so by chance.
const TRIALS_TO_CONFIRM: u32 = 2;
/// After so many cuts the first and the last are compared, too...
const CUTS_TO_COMPARE: u32 = 4;
/// ...and if so much less is let through, and about as many are refused, asking less only
/// costs.
const MIN_GOODPUT_LOSS: f64 = 0.4;
const UNCHANGED_THROTTLING_RATIO: f64 = 0.7;

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialFinding {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// The host is to be asked less, and looked at again.
    AskLess,
    /// It refuses anyway: everything back to what it was at the given limit.
    NotOurPace {
        /// The limit before the first cut.
        limit: usize,
    },
}

/// The trial of one host.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    state: TrialState,
    /// For how many answers the next finding holds that it is not our pace.
    blind: u32,
    /// Trials in which asking less has helped, since one in which it did not.
    helped: u32,
}

#[derive(Debug, Clone, Copy)]
enum TrialState {
    /// None is on.
    None,
    /// The host is asked less than before, and its answers are counted.
    On {
        /// The limit before the first cut.
        limit: usize,
        /// Answers since the last cut.
        answers: u32,
        /// Refusals among them.
        refused: u32,
        /// When the last cut was.
        since: Instant,
        /// What was seen before the last cut, when something was.
        before: Option<TrialSample>,
        /// What was seen after the first cut.
        first: Option<TrialSample>,
        /// Cuts so far.
        cuts: u32,
    },
    /// It is known that asking less does not help.
    Blind {
        /// For so many more answers.
        left: u32,
        /// Refusals of late.
        refused: u32,
        /// The share of refusals that is usual.
        usual: f64,
    },
}

/// What was seen between two cuts.
#[derive(Debug, Clone, Copy)]
struct TrialSample {
    /// The share of refusals.
    refused: f64,
    /// Requests let through a second.
    let_through: f64,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            state: TrialState::None,
            blind: UNRELATED_RESPONSES,
            helped: 0,
        }
    }
}

impl Trial {
    /// Whether bare refusals are known not to speak of our pace.
    #[must_use]
    pub fn is_unrelated(&self) -> bool {
        matches!(self.state, TrialState::Blind { .. })
    }

    /// Whether they are known to speak of it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.helped >= TRIALS_TO_CONFIRM
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, TrialState::None) && self.helped == 0
    }

    /// An answer to a request that was sent after the last cut came: a bare refusal, or
    /// anything else. `limit` is the host's limit now.
    pub fn record_response(
        &mut self,
        is_refusal: bool,
        limit: usize,
        now: Instant,
    ) -> TrialFinding {
        match &mut self.state {
            TrialState::None if is_refusal => self.begin(limit, now),
            TrialState::None => TrialFinding::Nothing,
            TrialState::Blind {
                left,
                refused,
                usual,
            } => {
                *left -= 1;
                *refused += u32::from(is_refusal);
                let worse = *left % RECHECK_RESPONSES == 0
                    && f64::from(std::mem::take(refused)) / f64::from(RECHECK_RESPONSES)
                        > *usual + RECHECK_INCREASE;
                if *left == 0 || worse {
                    self.state = TrialState::None;
                }
                TrialFinding::Nothing
            }
            TrialState::On {
                limit,
                answers,
                refused,
                since,
                before,
                first,
                cuts,
            } => {
                *answers += 1;
                *refused += u32::from(is_refusal);
                // Enough answers to see a refusal or four if nothing has changed.
                let enough = before.map_or(0, |before| (4.0 / before.refused).ceil() as u32);
                if *answers < enough.max(MIN_RESPONSES) {
                    return TrialFinding::Nothing;
                }
                let time = now.saturating_duration_since(*since).as_secs_f64();
                let seen = TrialSample {
                    refused: f64::from(*refused) / f64::from(*answers),
                    let_through: f64::from(*answers - *refused) / time.max(1e-3),
                };
                let first = first.get_or_insert(seen);
                let in_vain = *cuts >= CUTS_TO_COMPARE
                    && seen.let_through < first.let_through * MIN_GOODPUT_LOSS
                    && seen.refused > first.refused * UNCHANGED_THROTTLING_RATIO;
                *cuts += 1;
                if *cuts >= CUTS_TO_COMPARE {
                    // By chance, then.
                    self.helped = 0;
                }
                let before = before.replace(seen);
                let limit = *limit;
                (*answers, *refused, *since) = (0, 0, now);
                self.judge(limit, seen, before, in_vain)
            }
        }
    }

    fn begin(&mut self, limit: usize, now: Instant) -> TrialFinding {
        self.state = TrialState::On {
            limit,
            answers: 0,
            refused: 0,
            since: now,
            before: None,
            first: None,
            cuts: 1,
        };
        TrialFinding::AskLess
    }

    fn judge(
        &mut self,
        limit: usize,
        seen: TrialSample,
        before: Option<TrialSample>,
        in_vain: bool,
    ) -> TrialFinding {
        if seen.refused < MAX_THROTTLED_SHARE {
            self.state = TrialState::None;
            self.helped += u32::from(before.is_some());
            return TrialFinding::Nothing;
        }
        let helps = |before: TrialSample| {
            before.refused.max(seen.refused) > MAX_CONCLUSIVE_SHARE
                || seen.refused <= before.refused * MAX_THROTTLED_RATIO
                || 1.0 - seen.refused >= (1.0 - before.refused) * MIN_PASS_RATE_GAIN
                || seen.let_through >= before.let_through * MIN_GOODPUT_RATIO
        };
        if !in_vain && before.is_none_or(helps) {
            return TrialFinding::AskLess;
        }
        self.helped = 0;
        self.state = TrialState::Blind {
            left: self.blind,
            refused: 0,
            usual: seen.refused,
        };
        self.blind = (self.blind * 4).min(MAX_UNRELATED_RESPONSES);
        TrialFinding::NotOurPace { limit }
    }
}
