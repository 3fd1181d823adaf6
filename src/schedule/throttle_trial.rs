//! Finds out whether a host throttles with bare 503s (those without `Retry-After`). Some servers
//! do, others are just broken. To tell them apart, a trial lowers the load and checks whether fewer
//! 503s come back.

use std::time::{Duration, Instant};

use super::tuning::throttle_trial::*;

/// What follows from a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrialFinding {
    /// Nothing to do.
    Nothing,
    /// Lower the load and measure again.
    Throttle,
    /// The 503s are unrelated to the load: restore the given limit.
    Unrelated {
        /// The limit before the first cut.
        limit: usize,
    },
}

/// The trial of one host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    state: TrialState,
    /// Responses for which the next finding "unrelated to load" will hold.
    unrelated_responses: u32,
    /// Trials in which lowering the load helped, since the last one in which it did not.
    helped: u32,
}

#[derive(Debug, Clone, Copy)]
enum TrialState {
    /// No trial is running.
    None,
    /// The load was lowered, and responses are counted.
    Running {
        /// The limit before the first cut.
        limit: usize,
        /// Responses since the last cut.
        responses: u32,
        /// Throttled ones among them.
        throttled: u32,
        /// Time of the last cut.
        since: Instant,
        /// The sample before the last cut, if there is one.
        before: Option<TrialSample>,
        /// The sample after the first cut.
        first: Option<TrialSample>,
        /// Cuts so far.
        cuts: u32,
    },
    /// Lowering the load is known not to help.
    Unrelated {
        /// Responses until the finding expires.
        left: u32,
        /// Throttled responses since the last recheck.
        throttled: u32,
        /// The usual throttled share.
        usual: f64,
    },
}

/// What was measured between two cuts.
#[derive(Debug, Clone, Copy)]
struct TrialSample {
    /// Share of throttled responses.
    throttled: f64,
    /// Accepted requests per second.
    goodput: f64,
}

impl TrialSample {
    fn from_counts(responses: u32, throttled: u32, time: Duration) -> Self {
        Self {
            throttled: f64::from(throttled) / f64::from(responses),
            goodput: f64::from(responses - throttled) / time.as_secs_f64().max(1e-3),
        }
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            state: TrialState::None,
            unrelated_responses: UNRELATED_RESPONSES,
            helped: 0,
        }
    }
}

impl Trial {
    /// Whether bare 503s are known to be unrelated to the load.
    #[must_use]
    pub(super) fn is_unrelated(&self) -> bool {
        matches!(self.state, TrialState::Unrelated { .. })
    }

    /// Whether bare 503s are known to be throttling.
    #[must_use]
    pub(super) fn is_confirmed(&self) -> bool {
        self.helped >= TRIALS_TO_CONFIRM
    }

    /// Whether there is no trial and no result to remember.
    #[must_use]
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, TrialState::None) && self.helped == 0
    }

    /// Records a response to a request sent after the last cut. `is_throttled`: it is a bare 503.
    /// `limit`: the host's current concurrency limit.
    pub(super) fn record_response(
        &mut self,
        is_throttled: bool,
        limit: usize,
        now: Instant,
    ) -> TrialFinding {
        match &mut self.state {
            TrialState::None if is_throttled => self.begin(limit, now),
            TrialState::None => TrialFinding::Nothing,
            TrialState::Unrelated {
                left,
                throttled,
                usual,
            } => {
                *left -= 1;
                *throttled += u32::from(is_throttled);
                let worse = *left % RECHECK_RESPONSES == 0
                    && f64::from(std::mem::take(throttled)) / f64::from(RECHECK_RESPONSES)
                        > *usual + RECHECK_INCREASE;
                if *left == 0 || worse {
                    self.state = TrialState::None;
                }
                TrialFinding::Nothing
            }
            TrialState::Running {
                limit,
                responses,
                throttled,
                since,
                before,
                first,
                cuts,
            } => {
                *responses += 1;
                *throttled += u32::from(is_throttled);
                // Enough responses for about four throttled ones if nothing has changed.
                let enough = before.map_or(0, |before| (4.0 / before.throttled).ceil() as u32);
                if *responses < enough.max(MIN_RESPONSES) {
                    return TrialFinding::Nothing;
                }
                let time = now.saturating_duration_since(*since);
                let seen = TrialSample::from_counts(*responses, *throttled, time);
                let first = first.get_or_insert(seen);
                let in_vain = *cuts >= CUTS_TO_COMPARE
                    && seen.goodput < first.goodput * MIN_GOODPUT_LOSS
                    && seen.throttled > first.throttled * UNCHANGED_THROTTLING_RATIO;
                *cuts += 1;
                if *cuts >= CUTS_TO_COMPARE {
                    // Needing this many cuts shows that earlier successes were chance.
                    self.helped = 0;
                }
                let before = before.replace(seen);
                let limit = *limit;
                (*responses, *throttled, *since) = (0, 0, now);
                self.judge(limit, seen, before, in_vain)
            }
        }
    }

    fn begin(&mut self, limit: usize, now: Instant) -> TrialFinding {
        self.state = TrialState::Running {
            limit,
            responses: 0,
            throttled: 0,
            since: now,
            before: None,
            first: None,
            cuts: 1,
        };
        TrialFinding::Throttle
    }

    fn judge(
        &mut self,
        limit: usize,
        seen: TrialSample,
        before: Option<TrialSample>,
        in_vain: bool,
    ) -> TrialFinding {
        if seen.throttled < MAX_THROTTLED_SHARE {
            self.state = TrialState::None;
            self.helped += u32::from(before.is_some());
            return TrialFinding::Nothing;
        }
        let helps = |before: TrialSample| {
            before.throttled.max(seen.throttled) > MAX_CONCLUSIVE_SHARE
                || seen.throttled <= before.throttled * MAX_THROTTLED_RATIO
                || 1.0 - seen.throttled >= (1.0 - before.throttled) * MIN_PASS_RATE_GAIN
                || seen.goodput >= before.goodput * MIN_GOODPUT_RATIO
        };
        if !in_vain && before.is_none_or(helps) {
            return TrialFinding::Throttle;
        }
        self.helped = 0;
        self.state = TrialState::Unrelated {
            left: self.unrelated_responses,
            throttled: 0,
            usual: seen.throttled,
        };
        self.unrelated_responses = (self.unrelated_responses * 4).min(MAX_UNRELATED_RESPONSES);
        TrialFinding::Unrelated { limit }
    }
}
