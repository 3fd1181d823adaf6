//! Collects what is known of one host, and decides whether another request to it may start now.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::model::{Feedback, FetchError, GiveUpReason, HostVerdict, deadline_after};

use super::circuit_breaker::{CircuitBreaker, ProbePolicy};
use super::host_change::{HostChange, LimitReason};
use super::limit::{ConcurrencyLimit, PerHostLimit};
use super::pace::HostPace;
use super::spacing::Spacing;
use super::tally::Tally;
use super::throttle_trial::{Trial, TrialFinding};
use super::tuning::hold::{LONG_HOLD, MAX_EXCESSIVE_HOLDS, MIN_REPORTED_EXTENSION};
use super::tuning::limit::LIMITED_SHARE;
use super::tuning::memory::{HOST_MEMORY, IDLE_HOST_MEMORY};

/// Settings that apply to every host.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostPolicy {
    /// Concurrent requests per host.
    pub per_host: PerHostLimit,
    /// Concurrent requests over all hosts.
    pub total: NonZeroUsize,
    /// Minimum time between two starts per host.
    pub host_interval: Duration,
    /// How an unreachable host is probed.
    pub probing: ProbePolicy,
    /// Maximum `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// A throttling host is given up once its holds add up to more than this without a single
    /// accepted request.
    pub max_wait: Duration,
}

/// Settings of single hosts, by name as in a URL.
pub type HostLimits = HashMap<String, HostLimit>;

/// Settings of one host, which replace those for every host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostLimit {
    /// Concurrent requests.
    pub per_host: Option<PerHostLimit>,
    /// Minimum time between two starts.
    pub host_interval: Option<Duration>,
    /// Bytes of bodies per second; [`u64::MAX`]: no limit.
    pub limit_rate: Option<u64>,
    /// Retries of each of its URLs, and probes while it is unreachable.
    pub retries: Option<u32>,
}

impl HostPolicy {
    /// Returns the settings with at least this time between two starts.
    #[must_use]
    pub(super) fn with_min_interval(self, interval: Duration) -> Self {
        Self {
            host_interval: self.host_interval.max(interval),
            ..self
        }
    }

    /// Returns the settings of a host with limits of its own.
    #[must_use]
    pub(super) fn with_limit(mut self, limit: &HostLimit) -> Self {
        self.per_host = limit.per_host.unwrap_or(self.per_host);
        self.host_interval = limit.host_interval.unwrap_or(self.host_interval);
        self.probing.probes = limit.retries.unwrap_or(self.probing.probes);
        self
    }
}

/// Whether another request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Now.
    Now,
    /// Not before this time.
    At(Instant),
    /// Not before a running one has ended.
    Full,
    /// Never: the host was given up, and its jobs fail.
    Rejected,
}

/// The load of a host when a request ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Running requests, including the one that ends.
    pub running: usize,
    /// Queued requests.
    pub queued: usize,
    /// The highest limit that is not at the expense of other hosts.
    pub may_grow_to: usize,
}

/// A request that ended.
#[derive(Debug)]
pub(super) struct RequestEnd<'a> {
    /// The state of the host when it started.
    pub start: StartSnapshot,
    /// What it showed of the host.
    pub feedback: &'a Feedback,
    /// The load of the host when it ended.
    pub load: Load,
    /// When it ended.
    pub now: Instant,
}

/// The state of a host when a request started. Needed to judge the request when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartSnapshot {
    /// When the request started.
    pub at: Instant,
    /// Consecutive throttled rounds before it.
    pub throttles: u32,
    /// Whether 503s without `Retry-After` are known to be throttling, like a 429.
    pub throttles_with_503: bool,
    /// Whether the host had not been connected yet.
    pub cold: bool,
    /// Requests that it had accepted.
    pub accepted: u32,
    epoch: u32,
}

/// The learned state of one host.
#[derive(Debug, Clone)]
pub(super) struct HostControl {
    limit: ConcurrencyLimit,
    pace: Option<HostPace>,
    interval: Spacing,
    hold: Option<Instant>,
    circuit: CircuitBreaker,
    trial: Trial,
    tally: Tally,
    /// Consecutive throttled rounds, less two for each accepted request since.
    throttles: u32,
    /// Whether it has ever throttled.
    has_throttled: bool,
    /// Accepted requests in all.
    accepted: u32,
    /// Total of its holds since the last accepted request.
    held: Duration,
    /// Whether a connection has succeeded. Before that, one request goes alone: the others can
    /// share its connection if the host speaks HTTP/2, and one is enough to find a host that is
    /// down.
    warm: bool,
    pace_cut: Option<Instant>,
    touched: Instant,
}

impl HostControl {
    /// Creates the state of a host of which nothing is known.
    #[must_use]
    pub(super) fn new(rules: &HostPolicy, now: Instant) -> Self {
        Self {
            limit: ConcurrencyLimit::new(rules.per_host, rules.total),
            pace: None,
            interval: Spacing::new(rules.host_interval, Duration::ZERO),
            hold: None,
            circuit: CircuitBreaker::default(),
            trial: Trial::default(),
            tally: Tally::new(now),
            throttles: 0,
            has_throttled: false,
            accepted: 0,
            held: Duration::ZERO,
            warm: false,
            pace_cut: None,
            touched: now,
        }
    }

    /// Changes the settings. What was learned of the host stays.
    pub(super) fn set_policy(&mut self, rules: &HostPolicy) {
        self.limit.set_policy(rules.per_host, rules.total);
        if rules.host_interval != self.interval.interval() {
            self.interval.change_interval(rules.host_interval);
        }
    }

    /// Decides whether another request may start in addition to `running` ones.
    #[must_use]
    pub(super) fn admit(&self, running: usize, now: Instant) -> Admission {
        if self.circuit.rejection(now).is_some() {
            return Admission::Rejected;
        }
        let most = if self.warm { self.limit.current() } else { 1 };
        if running >= most {
            return Admission::Full;
        }
        match self.earliest_start(now) {
            Some(at) => Admission::At(at),
            None => Admission::Now,
        }
    }

    /// Whether another request for a body that one of the `running` ones brings may start. It counts
    /// as any other, but does not wait.
    #[must_use]
    pub(super) fn is_open_for_segment(&self, running: usize, now: Instant) -> bool {
        let is_willing = self.warm && !self.has_throttled && self.rejection(now).is_none();
        is_willing && running < self.limit.unproven() && self.earliest_start(now).is_none()
    }

    /// Returns when a request may start at the earliest, leaving concurrency aside; `None`: now.
    #[must_use]
    pub(super) fn earliest_start(&self, now: Instant) -> Option<Instant> {
        [
            self.hold.filter(|hold| *hold > now),
            self.circuit.wait(now),
            self.interval.next_start(now),
            self.pace.as_ref().and_then(|pace| pace.next_start(now)),
        ]
        .into_iter()
        .flatten()
        .max()
    }

    /// Returns the error that the host's jobs fail with, if it was given up.
    #[must_use]
    pub(super) fn rejection(&self, now: Instant) -> Option<&FetchError> {
        self.circuit.rejection(now)
    }

    /// Records the start of a request.
    pub(super) fn record_start(
        &mut self,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) -> StartSnapshot {
        self.touched = now;
        self.interval.record_start(now);
        if self
            .pace
            .as_mut()
            .is_some_and(|pace| !pace.record_start(now))
        {
            self.pace = None;
            changes(HostChange::Pace(None));
        }
        StartSnapshot {
            at: now,
            throttles: if self.trial.is_unrelated() {
                0
            } else {
                self.throttles
            },
            throttles_with_503: self.trial.is_confirmed(),
            cold: !self.warm,
            accepted: self.accepted,
            epoch: self.limit.epoch(),
        }
    }

    /// Sets the minimum time between two starts, from the next one on.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval.set(interval, Duration::ZERO);
    }

    /// Records that a connection succeeded.
    pub(super) fn mark_connected(&mut self) {
        self.warm = true;
    }

    /// Records the end of a request.
    pub(super) fn record_result(
        &mut self,
        end: &RequestEnd<'_>,
        rules: &HostPolicy,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let now = end.now;
        self.touched = now;
        match &end.feedback.verdict {
            HostVerdict::Inconclusive => {}
            HostVerdict::Answered => {
                self.throttles = self.throttles.saturating_sub(2);
                self.accepted = self.accepted.wrapping_add(1);
                self.held = Duration::ZERO;
                self.tally.add(now);
                self.record_response(end, true, changes);
            }
            HostVerdict::Failed => self.record_response(end, false, changes),
            HostVerdict::Throttled {
                error,
                is_rate_limit: surely_pace,
            } => {
                self.has_throttled = true;
                let probing = &rules.probing;
                if self.circuit.is_still_throttled(end.start.at, now, probing) {
                    // Nothing new, except for how long: requests that were in flight may say more.
                    self.hold = self.hold.max(end.feedback.hold);
                    return;
                }
                self.record_throttle(end, error, *surely_pace, changes);
                self.give_up_if_too_long(error, rules, now, changes);
            }
            HostVerdict::ConnectFailed(error) => {
                self.record_connect_failure(end, error, rules, changes);
            }
        }
        if let Some(until) = end.feedback.hold {
            self.hold_until(until, end, rules, changes);
        }
    }

    /// Records a response that is not throttled: it was received and complete, or else failed.
    fn record_response(
        &mut self,
        end: &RequestEnd<'_>,
        is_good: bool,
        changes: &mut dyn FnMut(HostChange),
    ) {
        self.reached(changes);
        let (load, limit) = (end.load, self.limit.current());
        let is_bound = load.queued > 0
            && load.running as f64 >= limit as f64 * LIMITED_SHARE
            && limit <= load.may_grow_to;
        let measured = self.limit.record_response(
            end.start.epoch,
            end.feedback.latency,
            is_good,
            is_bound,
            load.may_grow_to,
            end.now,
        );
        measured.into_iter().for_each(&mut *changes);
        self.update_trial(end, false, Some(503), changes);
    }

    fn record_throttle(
        &mut self,
        end: &RequestEnd<'_>,
        error: &FetchError,
        surely_pace: bool,
        changes: &mut dyn FnMut(HostChange),
    ) {
        self.reached(changes);
        self.throttles = self.throttles.max(end.start.throttles + 1);
        let status = error.status().map(|status| status.as_u16());
        if surely_pace {
            let hold = end.feedback.hold.unwrap_or(end.now);
            self.throttle(end, status, hold, changes);
        } else {
            self.update_trial(end, true, status, changes);
        }
    }

    fn record_connect_failure(
        &mut self,
        end: &RequestEnd<'_>,
        error: &FetchError,
        rules: &HostPolicy,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let (start, now) = (end.start.at, end.now);
        let cut = self.limit.halve(start, now, LimitReason::ConnectFailed);
        cut.into_iter().for_each(&mut *changes);
        let probing = &rules.probing;
        if self.circuit.record_failure(error, start, now, probing) {
            self.warm = false;
            changes(self.circuit_changed(now));
        }
    }

    fn reached(&mut self, changes: &mut dyn FnMut(HostChange)) {
        self.warm = true;
        if self.circuit.record_success() {
            changes(HostChange::CircuitClosed);
        }
    }

    fn circuit_changed(&self, now: Instant) -> HostChange {
        match &self.circuit {
            CircuitBreaker::Open {
                failures, probe_at, ..
            } => HostChange::CircuitOpen {
                failures: *failures,
                probe_in: probe_at.saturating_duration_since(now),
            },
            _ => HostChange::GivenUp,
        }
    }

    /// Feeds a response to the throttle trial, and carries out its finding.
    fn update_trial(
        &mut self,
        end: &RequestEnd<'_>,
        is_throttled: bool,
        status: Option<u16>,
        changes: &mut dyn FnMut(HostChange),
    ) {
        if self.pace_cut.is_some_and(|cut| end.start.at <= cut) {
            return;
        }
        match self
            .trial
            .record_response(is_throttled, self.limit.current(), end.now)
        {
            TrialFinding::Nothing => {}
            TrialFinding::Throttle => self.throttle(end, status, end.now, changes),
            TrialFinding::Unrelated { limit } => {
                if self.pace.take().is_some() {
                    changes(HostChange::Pace(None));
                }
                let restored = self.limit.restore(limit);
                restored.into_iter().for_each(changes);
            }
        }
    }

    /// Lowers the concurrency, and paces the host from `hold` on. Requests that were in flight
    /// together count once.
    fn throttle(
        &mut self,
        end: &RequestEnd<'_>,
        status: Option<u16>,
        hold: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let (start, now) = (end.start.at, end.now);
        let cut = self.limit.halve(start, now, LimitReason::Throttled(status));
        cut.into_iter().for_each(&mut *changes);
        if self.pace_cut.is_some_and(|cut| start <= cut) {
            return;
        }
        self.pace_cut = Some(now);
        let held = hold.saturating_duration_since(now);
        let (accepted, elapsed) = self.tally.recent(now);
        if accepted == 0 {
            // Nothing was accepted, so there is no pace to learn: only waiting helps.
            return;
        }
        let (all, since) = self.tally.since_throttle(now);
        let with_hold = per_second(all, since + held);
        if held >= LONG_HOLD {
            // The host enforces a quota per period, and the counts cover a whole period: what it
            // accepted in that time is its rate.
            self.pace = Some(HostPace::from_known_rate(with_hold));
        } else if let Some(pace) = &mut self.pace {
            pace.cut(per_second(accepted, elapsed), elapsed);
        } else {
            self.pace = Some(HostPace::from_accepted_rate(with_hold));
        }
        self.tally = Tally::new(hold);
        changes(HostChange::Pace(
            self.pace.as_ref().map(HostPace::per_second),
        ));
    }

    /// Gives up on a host that keeps asking for more than `--retry-after-max`, for all its URLs at
    /// once.
    fn give_up_if_too_long(
        &mut self,
        error: &FetchError,
        rules: &HostPolicy,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let requested = error.retry_after().unwrap_or_default();
        if requested > rules.retry_after_max && self.throttles >= MAX_EXCESSIVE_HOLDS {
            let why = GiveUpReason::DelayTooLong {
                requested,
                max: rules.retry_after_max,
            };
            self.give_up(error, why, rules, now, changes);
        }
    }

    fn give_up(
        &mut self,
        error: &FetchError,
        why: GiveUpReason,
        rules: &HostPolicy,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        self.circuit.give_up(error, why, now, &rules.probing);
        self.held = Duration::ZERO;
        self.warm = false;
        changes(HostChange::GivenUp);
    }

    fn hold_until(
        &mut self,
        until: Instant,
        end: &RequestEnd<'_>,
        rules: &HostPolicy,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let now = end.now;
        let held_till = self.hold.filter(|hold| *hold > now).unwrap_or(now);
        if until <= held_till {
            return;
        }
        self.hold = Some(until);
        self.limit.reset_round();
        if held_till == now || until - held_till > MIN_REPORTED_EXTENSION {
            changes(HostChange::Held(until - now));
        }
        let HostVerdict::Throttled { error, .. } = &end.feedback.verdict else {
            return;
        };
        self.held = self.held.saturating_add(until - held_till);
        if self.held > rules.max_wait {
            let why = GiveUpReason::HostThrottles {
                max: rules.max_wait,
            };
            self.give_up(error, why, rules, now, changes);
        }
    }

    /// Returns until when the host must be remembered although it has no items.
    #[must_use]
    pub(super) fn retain_until(&self, now: Instant) -> Option<Instant> {
        let learned = self.pace.is_some()
            || self.throttles > 0
            || !self.circuit.is_closed()
            || !self.trial.is_over();
        let linger = if learned {
            Some(deadline_after(self.touched, HOST_MEMORY))
        } else {
            self.warm
                .then(|| deadline_after(self.touched, IDLE_HOST_MEMORY))
        };
        self.earliest_start(now)
            .into_iter()
            .chain(linger.filter(|until| *until > now))
            .max()
    }
}

fn per_second(count: u32, time: Duration) -> f64 {
    f64::from(count) / time.as_secs_f64().max(1e-3)
}
