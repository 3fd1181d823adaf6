//! What is known of one host, and what follows: whether another request may start now.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::model::{Feedback, FetchError, HostVerdict, deadline_after, format_duration};

use super::circuit_breaker::{CircuitBreaker, ProbePolicy};
use super::host_change::{HostChange, LimitReason};
use super::limit::{ConcurrencyLimit, PerHostLimit};
use super::pace::HostPace;
use super::spacing::Spacing;
use super::tally::Tally;
use super::throttle_trial::{Trial, TrialFinding};

/// How long something that was learned of a host is kept after its last request.
const HOST_MEMORY: Duration = Duration::from_secs(60);
/// What cuts a limit short counts as having been the limit from this share of it on.
const LIMITED_SHARE: f64 = 0.75;

/// A wait this long is that for the next minute, or hour, and not a rough guess.
const LONG_HOLD: Duration = Duration::from_secs(5);
/// Refusals in a row, each with a wait that is too long, after which a host is given up.
const MAX_EXCESSIVE_HOLDS: u32 = 3;
/// How long a host that nothing special is known of is kept: its connections are, too.
const IDLE_HOST_MEMORY: Duration = Duration::from_secs(4);
/// A hold that becomes longer by less is not told of again.
const MIN_REPORTED_EXTENSION: Duration = Duration::from_secs(1);

/// What holds for every host.
#[derive(Debug, Clone, Copy)]
pub struct HostPolicy {
    /// Requests to one host at the same time.
    pub per_host: PerHostLimit,
    /// Requests in all at the same time.
    pub total: NonZeroUsize,
    /// Shortest time between two starts to one host.
    pub host_interval: Duration,
    /// How a host that can't be reached is asked again.
    pub probing: ProbePolicy,
    /// Longest `Retry-After` that is waited for.
    pub retry_after_max: Duration,
    /// A host that refuses is given up when it has held its jobs for longer than this
    /// without a single answer.
    pub max_wait: Duration,
}

/// Whether another request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open,
    /// Not before this time.
    At(Instant),
    /// Not before one that runs has ended.
    Full,
    /// Never: the host was given up, and its jobs fail.
    Shut,
}

/// What goes on at a host when a request ends.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests that run, that one included.
    pub running: usize,
    /// Those that wait.
    pub queued: usize,
    /// A limit above this would be at the expense of other hosts.
    pub may_grow_to: usize,
}

/// What has to be known of a request when it ends: the host as it was at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartSnapshot {
    /// When it started.
    pub at: Instant,
    /// Refusals in a row before it.
    pub refusals: u32,
    /// Whether its bare 503s are known to speak of the pace, as a 429 does.
    pub limits_by_503: bool,
    /// Whether no connection to the host was known to stand.
    pub cold: bool,
    epoch: u32,
}

/// What is known of one host.
#[derive(Debug, Clone)]
pub struct HostControl {
    limit: ConcurrencyLimit,
    pace: Option<HostPace>,
    interval: Spacing,
    hold: Option<Instant>,
    circuit: CircuitBreaker,
    trial: Trial,
    tally: Tally,
    /// Rounds refused in a row, less two for each answer since.
    refusals: u32,
    /// Time it has held its jobs since its last answer.
    held: Duration,
    /// Whether a connection is known to stand, or to have stood. Before that one request
    /// goes alone: to an HTTP/2 host the others can share its connection, and one is
    /// enough to find a host that is down.
    warm: bool,
    pace_cut: Option<Instant>,
    touched: Instant,
}

impl HostControl {
    /// Nothing is known.
    #[must_use]
    pub fn new(rules: &HostPolicy, now: Instant) -> Self {
        Self {
            limit: ConcurrencyLimit::new(rules.per_host, rules.total),
            pace: None,
            interval: Spacing::new(rules.host_interval, Duration::ZERO),
            hold: None,
            circuit: CircuitBreaker::default(),
            trial: Trial::default(),
            tally: Tally::new(now),
            refusals: 0,
            held: Duration::ZERO,
            warm: false,
            pace_cut: None,
            touched: now,
        }
    }

    /// Whether another request may start beside `running` ones.
    #[must_use]
    pub fn admit(&self, running: usize, now: Instant) -> Admission {
        if self.circuit.rejection(now).is_some() {
            return Admission::Shut;
        }
        let most = if self.warm { self.limit.current() } else { 1 };
        if running >= most {
            return Admission::Full;
        }
        match self.earliest_start(now) {
            Some(at) => Admission::At(at),
            None => Admission::Open,
        }
    }

    /// When a request may start at the earliest, apart from those that run.
    #[must_use]
    pub fn earliest_start(&self, now: Instant) -> Option<Instant> {
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

    /// What the jobs of the host fail with, once it was given up.
    #[must_use]
    pub fn rejection(&self, now: Instant) -> Option<&FetchError> {
        self.circuit.rejection(now)
    }

    /// A request starts.
    pub fn record_start(
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
            refusals: if self.trial.is_unrelated() {
                0
            } else {
                self.refusals
            },
            limits_by_503: self.trial.is_confirmed(),
            cold: !self.warm,
            epoch: self.limit.epoch(),
        }
    }

    /// A connection stands.
    pub fn mark_connected(&mut self) {
        self.warm = true;
    }

    /// A request ended under this load.
    pub fn record_result(
        &mut self,
        start: &StartSnapshot,
        feedback: &Feedback,
        load: &Load,
        rules: &HostPolicy,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        self.touched = now;
        let limit = self.limit.current();
        let bound = load.queued > 0
            && load.running as f64 >= limit as f64 * LIMITED_SHARE
            && limit <= load.may_grow_to;
        match &feedback.verdict {
            HostVerdict::Nothing => {}
            HostVerdict::Answered | HostVerdict::Troubled => {
                self.reached(changes);
                let good = matches!(feedback.verdict, HostVerdict::Answered);
                if good {
                    self.refusals = self.refusals.saturating_sub(2);
                    self.held = Duration::ZERO;
                    self.tally.add(now);
                }
                let measured = self.limit.record_response(
                    start.epoch,
                    feedback.latency,
                    good,
                    bound,
                    load.may_grow_to,
                    now,
                );
                measured.into_iter().for_each(&mut *changes);
                self.update_trial(start, false, 503, now, changes);
            }
            HostVerdict::Refused { error, surely_pace } => {
                if self
                    .circuit
                    .is_still_throttled(start.at, now, &rules.probing)
                {
                    return;
                }
                self.reached(changes);
                self.refusals = self.refusals.max(start.refusals + 1);
                let status = error.status().map_or(0, |status| status.as_u16());
                if *surely_pace {
                    let hold = feedback.hold.unwrap_or(now);
                    self.throttle(start, status, hold, now, changes);
                } else {
                    self.update_trial(start, true, status, now, changes);
                }
                self.give_up_if_too_long(error, rules, now, changes);
            }
            HostVerdict::NotConnected(error) => {
                let cut = self.limit.halve(start.at, now, LimitReason::NotConnected);
                cut.into_iter().for_each(&mut *changes);
                if self
                    .circuit
                    .record_failure(error, start.at, now, &rules.probing)
                {
                    self.warm = false;
                    changes(self.circuit_changed(now));
                }
            }
        }
        if let Some(until) = feedback.hold {
            self.hold_until(until, &feedback.verdict, rules, now, changes);
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

    /// Counts an answer in the trial of bare refusals, and does what follows.
    fn update_trial(
        &mut self,
        start: &StartSnapshot,
        is_refusal: bool,
        status: u16,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        if self.pace_cut.is_some_and(|cut| start.at <= cut) {
            return;
        }
        match self
            .trial
            .record_response(is_refusal, self.limit.current(), now)
        {
            TrialFinding::Nothing => {}
            TrialFinding::AskLess => self.throttle(start, status, now, now, changes),
            TrialFinding::NotOurPace { limit } => {
                if self.pace.take().is_some() {
                    changes(HostChange::Pace(None));
                }
                let restored = self.limit.restore(limit);
                restored.into_iter().for_each(changes);
            }
        }
    }

    /// Fewer at the same time, and at a slower pace from `hold` on. Refusals of requests
    /// that were under way together count once.
    fn throttle(
        &mut self,
        start: &StartSnapshot,
        status: u16,
        hold: Instant,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let cut = self
            .limit
            .halve(start.at, now, LimitReason::Refused(status));
        cut.into_iter().for_each(&mut *changes);
        if self.pace_cut.is_some_and(|cut| start.at <= cut) {
            return;
        }
        self.pace_cut = Some(now);
        let held = hold.saturating_duration_since(now);
        let (let_through, asked_for) = self.tally.recent(now);
        if let_through == 0 {
            // It lets nobody through: what helps is waiting, not a pace.
            return;
        }
        let (all, since) = self.tally.since_throttle(now);
        let with_hold = per_second(all, since + held);
        if held >= LONG_HOLD {
            // Who knows so exactly when there is more knows how much there is.
            self.pace = Some(HostPace::from_known_rate(with_hold));
        } else if let Some(pace) = &mut self.pace {
            pace.cut(per_second(let_through, asked_for), asked_for);
        } else {
            self.pace = Some(HostPace::from_accepted_rate(with_hold));
        }
        self.tally = Tally::new(hold);
        changes(HostChange::Pace(
            self.pace.as_ref().map(HostPace::per_second),
        ));
    }

    /// A host that says again and again, and nothing else, that it wants to be left alone
    /// for longer than anybody waits need not be told by every URL.
    fn give_up_if_too_long(
        &mut self,
        error: &FetchError,
        rules: &HostPolicy,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let asked = error.retry_after().unwrap_or_default();
        if asked > rules.retry_after_max && self.refusals >= MAX_EXCESSIVE_HOLDS {
            let why = format!(
                "the host asks to wait {}, longer than --retry-after-max {}",
                format_duration(asked),
                format_duration(rules.retry_after_max)
            );
            self.give_up(error, why, rules, now, changes);
        }
    }

    fn give_up(
        &mut self,
        error: &FetchError,
        why: String,
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
        verdict: &HostVerdict,
        rules: &HostPolicy,
        now: Instant,
        changes: &mut dyn FnMut(HostChange),
    ) {
        let held_till = self.hold.filter(|hold| *hold > now).unwrap_or(now);
        if until <= held_till {
            return;
        }
        self.hold = Some(until);
        self.limit.reset_round();
        // Each refusal of those that were under way together makes it a little longer.
        if held_till == now || until - held_till > MIN_REPORTED_EXTENSION {
            changes(HostChange::Held(until - now));
        }
        let HostVerdict::Refused { error, .. } = verdict else {
            return;
        };
        self.held = self.held.saturating_add(until - held_till);
        if self.held > rules.max_wait {
            let why = format!(
                "the host lets nothing through, and to wait longer would be beyond --max-wait {}",
                format_duration(rules.max_wait)
            );
            self.give_up(error, why, rules, now, changes);
        }
    }

    /// Until when the host must be remembered though nothing of it is queued or runs.
    #[must_use]
    pub fn retain_until(&self, now: Instant) -> Option<Instant> {
        let learned = self.pace.is_some()
            || self.refusals > 0
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
