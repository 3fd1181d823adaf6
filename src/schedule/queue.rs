//! The queues of all hosts, and the decision which host is next. Pure: the clock is passed in.

mod gate;
mod host;
mod rings;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Feedback, FetchError, HostKey, MAX_STRAGGLERS, StragglerPhase};

use super::host_change::HostChange;
use super::host_control::{
    Admission, HostControl, HostLimits, HostPolicy, Load, RequestEnd, StartSnapshot,
};
use super::spacing::Spacing;
use super::timers::Timers;
use super::tuning::pace::MAX_CATCH_UP;

pub(super) use gate::GatedItem;
#[cfg(doc)]
use host::TURN_QUANTUM_US;
use host::{HostEntry, HostPlacement};
use rings::TurnRings;

/// Maximum hosts scanned for one that is below its fair share.
const MAX_HOSTS_SCANNED: usize = 16;
/// With fewer hosts per thread than this, all threads serve each host that speaks HTTP/1.1 and runs
/// at least this part of the requests that a thread can have on average.
const HOSTS_PER_THREAD: usize = 2;
const SHARED_FROM: usize = 4;
/// Maximum idle hosts, kept only for what was learned of them.
const MAX_IDLE_HOSTS: usize = 65_536;

/// Identifies a host in the queue. Valid while an item of that host is queued, parked or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HostId(usize);

/// The right to run one item, returned with [`FairQueue::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The host of the item.
    pub host: HostId,
    /// The thread that runs the item.
    pub thread: usize,
    /// The state of the host at the start.
    pub start: StartSnapshot,
    /// Slot time charged to the host in advance, in microseconds.
    charged: u64,
}

/// What to do next. Returned by [`FairQueue::next`].
#[derive(Debug)]
pub(super) enum Turn<T> {
    /// Run this item; it takes a slot until [`FairQueue::release`].
    Run(Ticket, T),
    /// Fail this item without running it: its host was given up. It has left the queue.
    Fail(T, FetchError),
    /// Nothing can run before this time, unless another event comes first.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "`run_timers` sleeps for all workers, by `next_timer`"
        )
    )]
    WaitUntil(Instant),
    /// Everything queued waits for a slot.
    WaitForSlot,
    /// Nothing is queued, but more input may come.
    WaitForInput,
    /// Nothing is left and the input has ended.
    Done,
}

/// The limits of a queue that can change during a run.
#[derive(Debug)]
pub(super) struct QueueLimits {
    /// The settings for every host.
    pub rules: HostPolicy,
    /// Those of single hosts.
    pub hosts: Arc<HostLimits>,
    /// Minimum mean time between two starts, over all hosts.
    pub rate: Option<Duration>,
    /// Maximum items that each thread can run at once.
    pub most_per_thread: usize,
    /// Maximum running items that do not count against the total limit.
    pub spare: usize,
}

/// The queues of all hosts.
///
/// Hosts that can run an item take turns, one item each; the host that has used the least slot time
/// is next. This is start-time fair queueing (Goyal, Vin and Cheng 1996): a host is charged the
/// usual duration of its items in advance, and slot time is compared in steps of
/// [`TURN_QUANTUM_US`]. So a fast host does not wait behind a hundred slow ones. An item is in
/// exactly one state: queued, parked or running. The [`HostControl`] of a host decides whether it
/// can run an item.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    rules: HostPolicy,
    limits: Arc<HostLimits>,
    rate: Option<Spacing>,
    ids: HashMap<HostKey, usize>,
    /// The host that `intern_host` returned last; possibly forgotten or replaced since.
    last_interned: usize,
    hosts: Vec<Option<HostEntry<T>>>,
    free: Vec<usize>,
    /// Hosts that can run an item, in the order of their turns.
    rings: TurnRings,
    /// The virtual time of the fair queue, in microseconds of slot time.
    clock: u64,
    sequence: u64,
    /// Hosts whose items fail.
    failing: VecDeque<usize>,
    /// Items that fail, because their host does not allow them.
    denied: VecDeque<(T, FetchError)>,
    /// Which items a closed gate lets through.
    is_exempt: fn(&T) -> bool,
    /// Items taken out to see whether their host allows them.
    in_review: usize,
    timers: Timers<T>,
    queued: usize,
    parked: usize,
    running: usize,
    /// Running items that do not count against the total limit.
    uncounted: usize,
    /// Most of them.
    spare: usize,
    idle: usize,
    /// Hosts with at least one start so far, idle ones included.
    started: usize,
    ended: bool,
    changes: Vec<(HostKey, HostChange)>,
}

impl<T> FairQueue<T> {
    /// Creates an empty queue. `rate`: the minimum mean time between two starts, over all hosts.
    #[must_use]
    pub(super) fn new(rules: HostPolicy, rate: Option<Duration>) -> Self {
        Self {
            rules,
            limits: Arc::default(),
            rate: rate.map(|interval| Spacing::new(interval, MAX_CATCH_UP)),
            ids: HashMap::new(),
            last_interned: 0,
            hosts: Vec::new(),
            free: Vec::new(),
            rings: TurnRings::new(1, usize::MAX),
            clock: 0,
            sequence: 0,
            failing: VecDeque::new(),
            denied: VecDeque::new(),
            is_exempt: |_| false,
            in_review: 0,
            timers: Timers::default(),
            queued: 0,
            parked: 0,
            running: 0,
            uncounted: 0,
            spare: usize::MAX,
            idle: 0,
            started: 0,
            ended: false,
            changes: Vec::new(),
        }
    }

    /// Sets the limits of single hosts.
    #[must_use]
    pub(super) fn with_limits(self, limits: Arc<HostLimits>) -> Self {
        Self { limits, ..self }
    }

    /// Sets the number of threads that run items, and how many each can run at once.
    #[must_use]
    pub(super) fn with_threads(self, threads: usize, most_per_thread: usize) -> Self {
        Self {
            rings: TurnRings::new(threads, most_per_thread),
            ..self
        }
    }

    /// Sets how many running items may stop counting against the total limit.
    #[must_use]
    pub(super) fn with_spare(self, spare: usize) -> Self {
        Self { spare, ..self }
    }

    /// Changes the limits. Running items may finish.
    pub(super) fn set_limits(&mut self, limits: QueueLimits, now: Instant) {
        self.rules = limits.rules;
        self.limits = limits.hosts;
        self.spare = limits.spare;
        self.rings.set_most_per_thread(limits.most_per_thread);
        self.rate = match (self.rate.take(), limits.rate) {
            (Some(mut spacing), Some(interval)) => {
                spacing.change_interval(interval);
                Some(spacing)
            }
            (_, rate) => rate.map(|interval| Spacing::new(interval, MAX_CATCH_UP)),
        };
        for id in 0..self.hosts.len() {
            let rules = self.rules_of(id);
            let host = self.host_mut(id);
            if let Some(control) = host.and_then(|host| host.control.as_mut()) {
                control.set_policy(&rules);
                self.reschedule_host(id, now);
            }
        }
    }

    /// Returns the settings for every host.
    #[must_use]
    pub(super) fn rules(&self) -> HostPolicy {
        self.rules
    }

    /// Returns the number of items: queued, parked or running.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.queued + self.parked + self.running + self.in_review
    }

    /// Whether the queue has no items.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of parked items.
    #[must_use]
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Returns the number of running items.
    #[must_use]
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Returns the number of hosts that had a start and still have items.
    #[must_use]
    pub(super) fn active_hosts(&self) -> usize {
        self.started.saturating_sub(self.idle)
    }

    /// Whether the input has ended and only a few items are left.
    #[must_use]
    pub(super) fn is_tail(&self) -> bool {
        self.ended && self.len() <= MAX_STRAGGLERS
    }

    /// Returns the items that are not running, with what they wait for.
    pub(super) fn waiting(&self, now: Instant) -> impl Iterator<Item = (&T, StragglerPhase)> {
        let hosts = self.hosts.iter().flatten();
        let queued = hosts.flat_map(move |host| {
            let control = host.control.as_ref();
            let until = control.and_then(|host| host.earliest_start(now));
            let phase = until.map_or(StragglerPhase::Queued, StragglerPhase::HostWaits);
            let items = host.exempt.iter().chain(&host.returned).chain(&host.fresh);
            items.map(move |item| (item, phase))
        });
        let parked = self.timers.items();
        parked
            .map(|(item, at)| (item, StragglerPhase::Parked(at)))
            .chain(queued)
    }

    /// Returns the thread for which [`next`](Self::next) may have work now. An estimate: only
    /// `next` knows.
    #[must_use]
    pub(super) fn next_thread(&self, now: Instant) -> Option<usize> {
        let can_run = self.has_slot() && self.rate_wait(now).is_none();
        let next = can_run.then(|| self.rings.next_thread(self.rules.total.get()));
        // Any thread can fail an item.
        let may_fail = !self.failing.is_empty() || !self.denied.is_empty();
        next.flatten().or(may_fail.then_some(0))
    }

    fn has_slot(&self) -> bool {
        self.running - self.uncounted < self.rules.total.get()
    }

    fn rate_wait(&self, now: Instant) -> Option<Instant> {
        self.rate.as_ref().and_then(|rate| rate.next_start(now))
    }

    /// Returns the next time at which the passing of time alone may make an item runnable.
    #[must_use]
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        let rate = self.rate_wait(now).filter(|_| !self.rings.is_empty());
        self.timers.first().into_iter().chain(rate).min()
    }

    /// Returns the changes to hosts since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<(HostKey, HostChange)> {
        std::mem::take(&mut self.changes)
    }

    /// Marks the input as ended: nothing new will be pushed.
    pub(super) fn input_ended(&mut self) {
        self.ended = true;
    }

    /// Returns the host with this key, adding it if it is new. The id must be used (`push`,
    /// `push_returned`, `park`) before the next call to `next`.
    pub(super) fn intern_host(&mut self, key: &str) -> HostId {
        // Many URLs in a row have the same host, and a comparison is cheaper than a lookup.
        let last = self.hosts.get(self.last_interned).and_then(Option::as_ref);
        if last.is_some_and(|host| host.key.as_str() == key) {
            return HostId(self.last_interned);
        }
        if let Some(id) = self.ids.get(key) {
            self.last_interned = *id;
            return HostId(*id);
        }
        let key = HostKey::from(key);
        let host = HostEntry::new(key.clone());
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.hosts.push(None);
                self.hosts.len() - 1
            }
        };
        if let Some(place) = self.hosts.get_mut(id) {
            *place = Some(host);
        }
        self.ids.insert(key, id);
        self.last_interned = id;
        HostId(id)
    }

    /// Returns the settings of a host.
    fn rules_of(&self, id: usize) -> HostPolicy {
        let host = self.hosts.get(id).and_then(Option::as_ref);
        let limits = Some(&self.limits).filter(|limits| !limits.is_empty());
        let limit = host.and_then(|host| limits?.get(host.key.host_name()));
        let policy = limit.map_or(self.rules, |limit| self.rules.with_limit(limit));
        match host.and_then(|host| host.rules) {
            Some(rules) => policy.with_min_interval(rules.interval),
            None => policy,
        }
    }

    fn host_mut(&mut self, id: usize) -> Option<&mut HostEntry<T>> {
        self.hosts.get_mut(id)?.as_mut()
    }

    /// Queues a new item behind those of its host.
    pub(super) fn push(&mut self, host: HostId, item: T, now: Instant) {
        let is_exempt = (self.is_exempt)(&item);
        if let Some(slot) = self.host_mut(host.0) {
            match is_exempt {
                true => slot.exempt.push_back(item),
                false => slot.fresh.push_back(item),
            }
            self.queued += 1;
        }
        self.reschedule_host(host.0, now);
    }

    /// Queues an item that ran before, ahead of the new items of its host.
    pub(super) fn push_returned(&mut self, host: HostId, item: T, now: Instant) {
        self.queued += 1;
        self.return_item(host.0, item);
        self.reschedule_host(host.0, now);
    }

    fn return_item(&mut self, id: usize, item: T) {
        let is_exempt = (self.is_exempt)(&item);
        if let Some(host) = self.host_mut(id) {
            match is_exempt {
                true => host.exempt.push_back(item),
                false => host.returned.push_back(item),
            }
        }
    }

    /// Parks an item until `until`. This does not free its slot; `release` does.
    pub(super) fn park(&mut self, host: HostId, item: T, until: Instant) {
        if let Some(slot) = self.host_mut(host.0) {
            slot.timers += 1;
            self.parked += 1;
            self.timers.add(until, host.0, Some(item));
        }
    }

    /// Marks the host of a running item as connected.
    pub(super) fn connected(&mut self, ticket: &Ticket, now: Instant) {
        let id = ticket.host.0;
        if let Some(control) = self.host_mut(id).and_then(|host| host.control.as_mut()) {
            control.mark_connected();
        }
        self.reschedule_host(id, now);
    }

    /// Stops counting a running item against the total limit, until `resume_counting`. Returns
    /// whether it did: only so many may.
    pub(super) fn stop_counting(&mut self) -> bool {
        let may = self.uncounted < self.spare;
        self.uncounted += usize::from(may);
        may
    }

    /// Reverts [`stop_counting`](Self::stop_counting).
    pub(super) fn resume_counting(&mut self) {
        self.uncounted -= 1;
    }

    /// Releases the slot of an item that ran, with feedback about its host.
    pub(super) fn release(&mut self, ticket: &Ticket, feedback: &Feedback, now: Instant) {
        let id = ticket.host.0;
        let rules = self.rules_of(id);
        self.sequence += 1;
        let sequence = self.sequence;
        // If all slots are taken, this host can only grow at the expense of others.
        let (may_grow_to, has_slot) = (self.fair_share(), self.has_slot());
        let mut learned = Vec::new();
        let (mut ended, mut home) = (false, None);
        if let Some(host) = self.host_mut(id) {
            let load = Load {
                running: host.running,
                queued: host.queued(),
                may_grow_to: if has_slot { usize::MAX } else { may_grow_to },
            };
            let took = now.saturating_duration_since(ticket.start.at).as_micros();
            host.charge(u64::try_from(took).unwrap_or(u64::MAX), ticket.charged);
            host.observe_connections(&feedback.verdict);
            host.multiplexes = feedback.multiplexes.or(host.multiplexes);
            if host.running <= host.connections {
                host.turn_number = sequence;
            }
            host.running -= 1;
            home = host.home;
            ended = host.running == 0;
            if let Some(control) = &mut host.control {
                let end = RequestEnd {
                    start: ticket.start,
                    feedback,
                    load,
                    now,
                };
                control.record_result(&end, &rules, &mut |change| learned.push(change));
            }
            self.running -= 1;
        }
        self.rings.record_end(ticket.thread);
        if ended {
            self.rings.record_idle(home);
        }
        self.move_in_ring(id);
        self.record_changes(id, learned);
        self.reschedule_host(id, now);
        self.forget_if_unused(id, now);
    }

    fn record_changes(&mut self, id: usize, learned: Vec<HostChange>) {
        if learned.is_empty() {
            return;
        }
        if learned.contains(&HostChange::GivenUp) {
            self.unpark_host(id);
        }
        if let Some(key) = self.host_mut(id).map(|host| host.key.clone()) {
            self.changes
                .extend(learned.into_iter().map(|change| (key.clone(), change)));
        }
    }

    /// Queues the parked items of a host that was given up: they fail, so there is nothing to wait
    /// for.
    fn unpark_host(&mut self, id: usize) {
        let items = self.timers.take_items_of(id);
        self.parked -= items.len();
        self.queued += items.len();
        if let Some(host) = self.host_mut(id) {
            host.timers -= items.len();
        }
        items
            .into_iter()
            .for_each(|item| self.return_item(id, item));
    }

    /// Queues parked items that are due, and reconsiders hosts whose wait is over.
    pub(super) fn unpark_due(&mut self, now: Instant) {
        while let Some((id, item)) = self.timers.take_due(now) {
            if let Some(item) = item {
                self.parked -= 1;
                self.queued += 1;
                self.return_item(id, item);
            }
            if let Some(host) = self.host_mut(id) {
                host.timers -= 1;
                host.wake = host.wake.filter(|wake| *wake > now);
            }
            self.reschedule_host(id, now);
            self.forget_if_unused(id, now);
        }
    }

    /// Decides what a thread does next.
    pub(super) fn next(&mut self, thread: usize, now: Instant) -> Turn<T> {
        self.unpark_due(now);
        if let Some((item, error)) = self.next_failing(now) {
            return Turn::Fail(item, error);
        }
        let total = self.rules.total.get();
        let can_run = self.has_slot() && self.rate_wait(now).is_none();
        if can_run && self.rings.may_start(thread, total) {
            while let Some(id) = self.next_in_ring(thread) {
                if let Some((ticket, item)) = self.start(id, thread, now) {
                    return Turn::Run(ticket, item);
                }
            }
        }
        self.idle_turn(now)
    }

    /// Returns the slots per host if they were divided evenly among the hosts that use or want one.
    /// Most hosts in the ring also have running items, so the larger of both counts approximates
    /// their union.
    fn fair_share(&self) -> usize {
        (self.rules.total.get() / self.rings.demand().max(1)).max(1)
    }

    /// Takes the next host from the ring. A host at its fair share lets others go first: slow hosts
    /// keep their slots longer, and would soon have them all.
    fn next_in_ring(&mut self, thread: usize) -> Option<usize> {
        let share = self.fair_share();
        let mut turns = self.rings.in_order(thread).take(MAX_HOSTS_SCANNED);
        let first = turns.next()?;
        let next = std::iter::once(first).chain(turns).find(|(_, tag)| {
            let host = self.hosts.get(tag.host).and_then(Option::as_ref);
            host.is_none_or(|host| host.running < share)
        });
        let (ring, next) = next.unwrap_or(first);
        self.rings.remove(ring, &next);
        self.clock = self.clock.max(first.1.spent);
        Some(next.host)
    }

    /// Moves a host to its new place in the ring after its slot time was charged.
    fn move_in_ring(&mut self, id: usize) {
        let Some(host) = self.host_mut(id) else {
            return;
        };
        if let HostPlacement::Ring(ring, tag) = host.place {
            let moved = host.turn_key(id);
            host.place = HostPlacement::Ring(ring, moved);
            self.rings.remove(ring, &tag);
            self.rings.insert(ring, moved);
        }
    }

    fn next_failing(&mut self, now: Instant) -> Option<(T, FetchError)> {
        if let Some(denied) = self.denied.pop_front() {
            self.queued -= 1;
            return Some(denied);
        }
        while let Some(id) = self.failing.pop_front() {
            let Some(host) = self.host_mut(id) else {
                continue;
            };
            host.place = HostPlacement::Nowhere;
            let error = host
                .control
                .as_ref()
                .and_then(|control| control.rejection(now))
                .cloned();
            let failed = error.and_then(|error| Some((host.pop()?, error)));
            self.queued -= usize::from(failed.is_some());
            self.reschedule_host(id, now);
            self.forget_if_unused(id, now);
            if failed.is_some() {
                return failed;
            }
        }
        None
    }

    fn start(&mut self, id: usize, thread: usize, now: Instant) -> Option<(Ticket, T)> {
        let has_threads = self.rings.threads() > 1;
        let host = self.host_mut(id)?;
        host.place = HostPlacement::Nowhere;
        let is_admitted = host.gate(now) == Admission::Now;
        let Some(item) = is_admitted.then(|| host.pop()).flatten() else {
            self.reschedule_host(id, now);
            return None;
        };
        if has_threads {
            host.home.get_or_insert(thread);
        }
        self.queued -= 1;
        Some((self.begin(id, thread, now)?, item))
    }

    /// Starts one more request for the body that the item of a ticket brings, if nothing else could
    /// use its slot.
    pub(super) fn start_segment(&mut self, of: &Ticket, now: Instant) -> Option<Ticket> {
        let is_idle = self.has_slot() && self.rings.is_empty() && self.rate_wait(now).is_none();
        let may_start = is_idle && self.rings.may_start(of.thread, self.rules.total.get());
        let host = self.host_mut(of.host.0).filter(|_| may_start)?;
        let is_open = host
            .control
            .as_ref()
            .is_some_and(|control| control.is_open_for_segment(host.running, now));
        if !is_open || host.has_queued() {
            return None;
        }
        self.begin(of.host.0, of.thread, now)
    }

    /// Counts the start of a request to a host.
    fn begin(&mut self, id: usize, thread: usize, now: Instant) -> Option<Ticket> {
        let rules = self.rules_of(id);
        let mut learned = Vec::new();
        let host = self.host_mut(id)?;
        let home = host.home;
        let charged = host.usual;
        host.spent = host.spent.saturating_add(charged);
        host.running += 1;
        let is_begun = host.running == 1;
        let first = usize::from(host.control.is_none());
        let control = host
            .control
            .get_or_insert_with(|| Box::new(HostControl::new(&rules, now)));
        let start = control.record_start(now, &mut |change| learned.push(change));
        self.running += 1;
        if is_begun {
            self.rings.record_active(home);
        }
        self.rings.record_start(thread);
        self.started += first;
        if let Some(rate) = &mut self.rate {
            rate.record_start(now);
        }
        self.record_changes(id, learned);
        self.reschedule_host(id, now);
        let host = HostId(id);
        Some(Ticket {
            host,
            thread,
            start,
            charged,
        })
    }

    fn idle_turn(&self, now: Instant) -> Turn<T> {
        if self.ended && self.is_empty() {
            return Turn::Done;
        }
        match self.next_timer(now) {
            Some(at) => Turn::WaitUntil(at),
            None if self.queued == 0 && !self.ended => Turn::WaitForInput,
            None => Turn::WaitForSlot,
        }
    }

    /// Places a host with queued items: in the ring if it can run one, among the failing if it was
    /// given up, on a timer if it has to wait.
    fn reschedule_host(&mut self, id: usize, now: Instant) {
        let (clock, sequence) = (self.clock, self.sequence + 1);
        let shared_from = self.shared_from();
        let Some(host) = self.host_mut(id) else {
            return;
        };
        if host.is_idle && host.queued() > 0 {
            host.is_idle = false;
            self.idle -= 1;
        }
        let Some(host) = self.host_mut(id) else {
            return;
        };
        if host.queued() == 0 || host.place != HostPlacement::Nowhere {
            return;
        }
        match host.gate(now) {
            Admission::Full => {}
            Admission::Now => {
                if host.running == 0 {
                    // An idle host earns no credit for the time it used no slots.
                    host.spent = host.spent.max(clock);
                }
                host.turn_number = sequence;
                let tag = host.turn_key(id);
                // HTTP/2 needs only one connection, which one thread has.
                let is_shared = host.running >= shared_from && host.multiplexes == Some(false);
                let ring = host.home.filter(|_| !is_shared);
                host.place = HostPlacement::Ring(ring, tag);
                self.sequence = sequence;
                self.rings.insert(ring, tag);
            }
            Admission::Rejected => {
                host.place = HostPlacement::Failing;
                self.failing.push_back(id);
            }
            Admission::At(at) => self.wake_at(id, at),
        }
    }

    /// Returns from how many running items on all threads serve a host. With few on each, a thread
    /// sleeps between any two, which costs more than it gains.
    fn shared_from(&self) -> usize {
        let threads = self.rings.threads();
        if self.rings.demand() >= HOSTS_PER_THREAD * threads {
            // Each thread has enough to do with its own.
            return usize::MAX;
        }
        self.rules.total.get() / (threads * SHARED_FROM)
    }

    fn wake_at(&mut self, id: usize, at: Instant) {
        let Some(host) = self.host_mut(id) else {
            return;
        };
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            host.timers += 1;
            self.timers.add(at, id, None);
        }
    }

    /// Drops a host without items, so that lists with millions of hosts fit in memory. What was
    /// learned of it is kept for a while, and always as long as a hold or interval delays its next
    /// start.
    fn forget_if_unused(&mut self, id: usize, now: Instant) {
        let many = self.idle >= MAX_IDLE_HOSTS;
        let Some(host) = self.host_mut(id).filter(|host| host.is_unused()) else {
            return;
        };
        let control = host.control.as_ref();
        let keep = control.and_then(|control| {
            if many {
                control.earliest_start(now)
            } else {
                control.retain_until(now)
            }
        });
        let has_timers = host.timers > 0;
        let stays = keep.is_some() || has_timers;
        let was_idle = std::mem::replace(&mut host.is_idle, stays);
        match (was_idle, stays) {
            (false, true) => self.idle += 1,
            (true, false) => self.idle -= 1,
            _ => {}
        }
        if let Some(until) = keep {
            self.wake_at(id, until);
        }
        if stays {
            return;
        }
        let forgotten = self.hosts.get_mut(id).and_then(Option::take);
        if let Some(host) = forgotten {
            self.started -= usize::from(host.control.is_some());
            self.ids.remove(&host.key);
            self.free.push(id);
        }
    }
}

#[cfg(test)]
mod tests;
