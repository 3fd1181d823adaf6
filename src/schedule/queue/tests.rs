use super::*;
use crate::model::{Cause, GiveUpReason, HostVerdict};
use crate::schedule::circuit_breaker::ProbePolicy;
use crate::schedule::limit::PerHostLimit;
use proptest::prelude::*;
use std::collections::HashSet;
use std::num::NonZeroUsize;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn rules(per_host: usize, total: usize) -> HostPolicy {
    HostPolicy {
        per_host: PerHostLimit::Fixed(NonZeroUsize::new(per_host).unwrap()),
        total: NonZeroUsize::new(total).unwrap(),
        host_interval: Duration::ZERO,
        probing: ProbePolicy {
            probes: 2,
            delay: SECOND,
            max_delay: SECOND * 30,
        },
        retry_after_max: SECOND * 300,
        max_wait: SECOND * 900,
    }
}

fn limits(per_host: usize, auto: bool, total: usize, others: HostPolicy) -> HostPolicy {
    let mut rules = HostPolicy {
        per_host: rules(per_host, 1).per_host,
        total: NonZeroUsize::new(total).unwrap(),
        ..others
    };
    if auto {
        let max = NonZeroUsize::new(per_host);
        rules.per_host = PerHostLimit::Auto { max };
    }
    rules
}

pub(super) fn queue<T>(per_host: usize) -> FairQueue<T> {
    FairQueue::new(rules(per_host, 100), None)
}

fn answered() -> Feedback {
    Feedback::from_verdict(HostVerdict::Answered)
}

fn throttled(hold: Option<Instant>) -> Feedback {
    let error = FetchError::Status {
        status: http::StatusCode::TOO_MANY_REQUESTS,
        retry_after: None,
        note: None,
    };
    Feedback {
        hold,
        ..Feedback::from_verdict(HostVerdict::Throttled {
            error,
            is_rate_limit: true,
        })
    }
}

fn not_connected() -> Feedback {
    Feedback::from_verdict(HostVerdict::ConnectFailed(FetchError::Refused {
        cause: Cause::from_text("x"),
    }))
}

fn given_up_reason(error: &FetchError) -> &GiveUpReason {
    match error {
        FetchError::HostGivenUp { why, .. } => why,
        other => panic!("{other}"),
    }
}

pub(super) fn add<T>(queue: &mut FairQueue<T>, key: &str, item: T, now: Instant) {
    let host = queue.intern_host(key);
    queue.push(host, item, now);
}

impl<T: std::fmt::Debug> FairQueue<T> {
    fn run(&mut self, now: Instant) -> (Ticket, T) {
        match self.next(0, now) {
            Turn::Run(ticket, item) => (ticket, item),
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, key: &str, item: T, now: Instant) {
        add(self, key, item, now);
    }
}

#[test]
fn hosts_take_turns() {
    let mut queue = queue(9);
    let now = Instant::now();
    for (key, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)] {
        queue.add(key, item, now);
    }
    let order: Vec<_> = (0..5)
        .map(|_| {
            let (ticket, item) = queue.run(now);
            queue.connected(&ticket, now);
            item
        })
        .collect();
    assert_eq!(order, [1, 4, 5, 2, 3]);
}

#[test]
fn a_new_host_gets_one_request_until_it_is_connected() {
    let mut queue = queue(9);
    let now = Instant::now();
    for item in 0..3 {
        queue.add("a", item, now);
    }
    let (ticket, _) = queue.run(now);
    assert!(ticket.start.cold);
    assert!(matches!(queue.next(0, now), Turn::WaitForSlot));
    queue.connected(&ticket, now);
    assert!(!queue.run(now).0.start.cold);
    queue.run(now);
}

#[test]
fn a_held_host_costs_the_others_nothing() {
    let mut queue = queue(1);
    let now = Instant::now();
    let later = now + SECOND * 9;
    queue.add("slow", 1, now);
    queue.add("slow", 2, now);
    let (slow, item) = queue.run(now);
    queue.park(slow.host, item, later);
    queue.release(&slow, &throttled(Some(later)), now);
    queue.add("fast", 3, now);
    queue.input_ended();
    let (fast, item) = queue.run(now);
    assert_eq!(item, 3);
    queue.release(&fast, &answered(), now);
    assert!(matches!(queue.next(0, now), Turn::WaitUntil(_)));
    assert!(matches!(queue.next(0, later - MS), Turn::WaitUntil(at) if at == later));
    let (slow, item) = queue.run(later);
    assert_eq!(item, 1);
    assert!(matches!(queue.next(0, later), Turn::WaitForSlot));
    queue.release(&slow, &answered(), later);
    let (slow, item) = queue.run(later);
    assert_eq!(item, 2);
    queue.release(&slow, &answered(), later);
    assert!(matches!(queue.next(0, later), Turn::Done));
}

#[test]
fn idle_hosts_are_forgotten_unless_something_was_learned() {
    let mut queue = queue(1);
    let now = Instant::now();
    for n in 0..1000 {
        queue.add(&format!("h{n}"), n, now);
        let (ticket, _) = queue.run(now);
        let feedback = if n == 500 {
            throttled(None)
        } else {
            answered()
        };
        queue.release(&ticket, &feedback, now);
    }
    // For a short time each is kept for further items.
    assert_eq!(queue.ids.len(), 1000);
    queue.unpark_due(now + SECOND * 5);
    assert_eq!(queue.ids.len(), 1);
    queue.unpark_due(now + SECOND * 30);
    assert!(queue.ids.contains_key("h500"));
    queue.unpark_due(now + SECOND * 61);
    assert!(queue.ids.is_empty());
    assert_eq!(queue.idle, 0);
}

#[test]
fn a_host_that_takes_the_place_of_a_forgotten_one_is_not_mistaken_for_it() {
    let mut queue = queue(1);
    let now = Instant::now();
    let old = queue.intern_host("a");
    assert_eq!(queue.intern_host("a"), old);
    queue.push(old, 1, now);
    let (ticket, _) = queue.run(now);
    queue.release(&ticket, &answered(), now);
    let later = now + SECOND * 5;
    queue.unpark_due(later);
    assert!(queue.ids.is_empty());
    let new = queue.intern_host("b");
    assert_eq!(new, old, "the place is used again");
    queue.push(new, 2, later);
    assert_ne!(queue.intern_host("a"), new);
    assert_eq!(queue.intern_host("b"), new);
}

#[test]
fn the_interval_of_a_host_is_kept_when_it_has_no_items() {
    let mut rules = rules(4, 100);
    rules.host_interval = SECOND;
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    queue.add("a", 1, now);
    let (ticket, _) = queue.run(now);
    queue.release(&ticket, &answered(), now);
    queue.add("a", 2, now);
    assert!(matches!(queue.next(0, now), Turn::WaitUntil(at) if at == now + SECOND));
    assert_eq!(queue.run(now + SECOND).1, 2);
}

#[test]
fn an_unlimited_interval_does_not_overflow() {
    let mut rules = rules(4, 100);
    rules.host_interval = Duration::MAX;
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    queue.add("a", 1, now);
    queue.add("a", 2, now);
    let (ticket, _) = queue.run(now);
    queue.connected(&ticket, now);
    assert!(matches!(queue.next(0, now), Turn::WaitUntil(_)));
}

#[test]
fn a_total_rate_holds_across_hosts() {
    let mut queue = FairQueue::new(rules(4, 100), Some(SECOND));
    let now = Instant::now();
    queue.add("a", 1, now);
    queue.add("b", 2, now);
    queue.run(now);
    assert!(matches!(queue.next(0, now), Turn::WaitUntil(at) if at == now + SECOND));
    assert!(queue.next_thread(now).is_none() && queue.next_thread(now + SECOND).is_some());
    queue.run(now + SECOND);
}

#[test]
fn a_pending_connection_can_stop_counting_against_the_total() {
    let mut queue = FairQueue::new(rules(4, 1), None);
    let now = Instant::now();
    queue.add("a", 1, now);
    queue.add("b", 2, now);
    let (first, _) = queue.run(now);
    assert!(matches!(queue.next(0, now), Turn::WaitForSlot));
    queue.stop_counting();
    let (second, _) = queue.run(now);
    queue.resume_counting();
    queue.add("c", 3, now);
    queue.release(&second, &answered(), now);
    assert!(queue.next_thread(now).is_none());
    queue.release(&first, &answered(), now);
    assert_eq!(queue.run(now).1, 3);
}

fn changed(rules: HostPolicy, rate: Option<Duration>) -> QueueLimits {
    QueueLimits {
        rules,
        hosts: Arc::default(),
        rate,
        most_per_thread: usize::MAX,
        spare: 0,
    }
}

#[test]
fn raised_limits_hold_at_once_and_lowered_ones_once_enough_has_ended() {
    let mut queue = FairQueue::new(rules(1, 1), None);
    let now = Instant::now();
    for item in 0..9 {
        queue.add(if item < 6 { "a" } else { "b" }, item, now);
    }
    let (first, _) = queue.run(now);
    queue.connected(&first, now);
    assert!(queue.next_thread(now).is_none());
    queue.set_limits(changed(rules(3, 4), None), now);
    assert!(queue.next_thread(now).is_some());
    let mut running = vec![first];
    while let Turn::Run(ticket, _) = queue.next(0, now) {
        running.push(ticket);
    }
    assert_eq!(
        running.len(),
        4,
        "three of one host, and the first of the other"
    );
    queue.set_limits(changed(rules(3, 2), None), now);
    for ticket in running.drain(..2) {
        queue.release(&ticket, &answered(), now);
        assert!(matches!(queue.next(0, now), Turn::WaitForSlot));
    }
    queue.release(&running.remove(0), &answered(), now);
    queue.run(now);
    assert!(matches!(queue.next(0, now), Turn::WaitForSlot));
}

#[test]
fn a_changed_rate_counts_from_the_last_start_on() {
    let mut queue = FairQueue::new(rules(4, 100), Some(SECOND * 3600));
    let now = Instant::now();
    for (host, item) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        queue.add(host, item, now);
    }
    queue.run(now);
    queue.set_limits(changed(rules(4, 100), Some(SECOND * 5)), now + SECOND);
    let wait = queue.next(0, now + SECOND);
    assert!(matches!(wait, Turn::WaitUntil(at) if at == now + SECOND * 5));
    queue.set_limits(changed(rules(4, 100), None), now + SECOND);
    queue.run(now + SECOND);
    queue.run(now + SECOND);
    queue.set_limits(changed(rules(4, 100), Some(SECOND)), now + SECOND);
    queue.run(now + SECOND);
}

#[test]
fn a_changed_interval_counts_from_the_last_start_on() {
    let with_interval = |seconds| HostPolicy {
        host_interval: SECOND * seconds,
        ..rules(4, 100)
    };
    let mut queue = FairQueue::new(with_interval(3600), None);
    let now = Instant::now();
    queue.add("a", 1, now);
    queue.add("a", 2, now);
    let (ticket, _) = queue.run(now);
    queue.release(&ticket, &answered(), now);
    assert!(matches!(queue.next(0, now), Turn::WaitUntil(_)));
    queue.set_limits(changed(with_interval(5), None), now);
    let wait = queue.next(0, now);
    assert!(matches!(wait, Turn::WaitUntil(at) if at == now + SECOND * 5));
    queue.run(now + SECOND * 5);
}

#[test]
fn no_more_than_the_spare_items_stop_counting() {
    let mut queue = FairQueue::<u32>::new(rules(4, 1), None).with_spare(1);
    assert!(queue.stop_counting());
    assert!(!queue.stop_counting());
    queue.resume_counting();
    assert!(queue.stop_counting());
}

#[test]
fn a_host_that_is_down_is_probed_and_then_its_items_fail_with_the_error_of_the_probe() {
    let mut queue = queue(4);
    let mut now = Instant::now();
    for item in 0..10 {
        queue.add("a", item, now);
    }
    queue.add("b", 99, now);
    queue.input_ended();
    // Three consecutive failures, one at a time; each item is parked for its own retry.
    for item in 0..3 {
        let (ticket, got) = queue.run(now);
        assert_eq!(got, item);
        queue.park(ticket.host, item, now + SECOND * 100);
        queue.release(&ticket, &not_connected(), now);
        if item == 0 {
            let (other, got) = queue.run(now);
            assert_eq!(got, 99, "other hosts continue");
            queue.release(&other, &answered(), now);
        }
    }
    // Probes after one second, and after another two.
    for (item, wait) in [(3, 1), (4, 2)] {
        assert!(matches!(queue.next(0, now), Turn::WaitUntil(at) if at == now + SECOND * wait));
        now += SECOND * wait;
        let (ticket, got) = queue.run(now);
        assert_eq!(got, item);
        assert!(
            !matches!(queue.next(0, now), Turn::Run(..)),
            "one probe at a time"
        );
        queue.park(ticket.host, item, now + SECOND * 100);
        queue.release(&ticket, &not_connected(), now);
    }
    let mut failed = HashSet::new();
    while let Turn::Fail(item, error) = queue.next(0, now) {
        assert_eq!(
            given_up_reason(&error),
            &GiveUpReason::HostDown { failures: 5 }
        );
        failed.insert(item);
    }
    assert_eq!(failed, (0..10).collect(), "parked ones as well");
    assert!(matches!(queue.next(0, now), Turn::Done));
    let changes: Vec<_> = queue
        .take_changes()
        .into_iter()
        .map(|(host, change)| format!("{host}: {change}"))
        .collect();
    assert_eq!(
        changes,
        [
            "a: circuit open after 3 failed connections; next probe in 1s",
            "a: circuit open after 4 failed connections; next probe in 2s",
            "a: given up; its remaining URLs fail",
        ]
    );
}

#[test]
fn a_successful_probe_closes_the_circuit_for_all() {
    let mut queue = queue(4);
    let mut now = Instant::now();
    for item in 0..7 {
        queue.add("a", item, now);
    }
    for _ in 0..3 {
        let (ticket, _) = queue.run(now);
        queue.release(&ticket, &not_connected(), now);
    }
    now += SECOND;
    let (probe, _) = queue.run(now);
    queue.connected(&probe, now);
    queue.release(&probe, &answered(), now);
    for _ in 0..3 {
        queue.run(now);
    }
}

#[test]
fn a_host_that_was_given_up_is_probed_again_after_a_while() {
    let mut rules = rules(4, 100);
    rules.probing.probes = 0;
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    for item in 0..4 {
        queue.add("a", item, now);
    }
    for _ in 0..3 {
        let (ticket, _) = queue.run(now);
        queue.release(&ticket, &not_connected(), now);
    }
    assert!(matches!(queue.next(0, now), Turn::Fail(3, _)));
    let later = now + SECOND * 29;
    queue.add("a", 4, later);
    assert!(matches!(queue.next(0, later), Turn::Fail(4, _)));
    let later = now + SECOND * 30;
    queue.add("a", 5, later);
    queue.add("a", 6, later);
    let (ticket, _) = queue.run(later);
    queue.release(&ticket, &not_connected(), later);
    assert!(matches!(queue.next(0, later), Turn::Fail(6, _)));
}

#[test]
fn a_host_that_throttles_everything_for_too_long_is_given_up() {
    let mut rules = rules(1, 100);
    rules.max_wait = SECOND * 25;
    let mut queue = FairQueue::new(rules, None);
    let mut now = Instant::now();
    for item in 0..10 {
        queue.add("a", item, now);
    }
    let mut sent = 0;
    let error = loop {
        match queue.next(0, now) {
            Turn::Run(ticket, _) => {
                sent += 1;
                queue.release(&ticket, &throttled(Some(now + SECOND * 10)), now);
            }
            Turn::WaitUntil(at) => now = at,
            Turn::Fail(_, error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sent, 3);
    assert_eq!(
        given_up_reason(&error),
        &GiveUpReason::HostThrottles { max: SECOND * 25 }
    );
}

/// One step of a test.
#[derive(Debug, Clone)]
enum QueueStep {
    Push(u8),
    Next,
    NextOf(u8),
    Connected(prop::sample::Index),
    Settle(prop::sample::Index, ReleaseKind),
    Park(prop::sample::Index, u16, ReleaseKind),
    Requeue(prop::sample::Index, u8),
    Pass(u16),
    SetLimits(usize, bool, usize, u64, usize),
}

/// How an item ends at its host.
#[derive(Debug, Clone, Copy)]
enum ReleaseKind {
    Answered,
    Troubled,
    Throttled(Option<u16>),
    BareThrottle,
    NotConnected,
    Nothing,
}

fn how() -> impl Strategy<Value = ReleaseKind> {
    prop_oneof![
        6 => Just(ReleaseKind::Answered),
        1 => Just(ReleaseKind::Troubled),
        1 => prop::option::of(0u16..500).prop_map(ReleaseKind::Throttled),
        1 => Just(ReleaseKind::BareThrottle),
        2 => Just(ReleaseKind::NotConnected),
        1 => Just(ReleaseKind::Nothing),
    ]
}

fn step() -> impl Strategy<Value = QueueStep> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0u8..6).prop_map(QueueStep::Push),
        2 => Just(QueueStep::Next),
        2 => (0u8..4).prop_map(QueueStep::NextOf),
        2 => which().prop_map(QueueStep::Connected),
        3 => (which(), how()).prop_map(|(which, how)| QueueStep::Settle(which, how)),
        2 => (which(), 0u16..500, how()).prop_map(|(which, ms, how)| QueueStep::Park(which, ms, how)),
        1 => (which(), 0u8..6).prop_map(|(which, host)| QueueStep::Requeue(which, host)),
        2 => (0u16..300).prop_map(QueueStep::Pass),
        1 => (1usize..5, any::<bool>(), 1usize..12, 0u64..100, 1usize..12).prop_map(
            |(per_host, auto, total, interval, most)| {
                QueueStep::SetLimits(per_host, auto, total, interval, most)
            }
        ),
    ]
}

/// An item: the name of its host, and its number.
type QueueItem = (u8, u32);

/// Whether a host speaks HTTP/2.
fn multiplexes(name: u8) -> bool {
    name.is_multiple_of(2)
}

/// A queue under test, with a model to check it against.
struct QueueBench {
    queue: FairQueue<QueueItem>,
    rules: HostPolicy,
    threads: usize,
    most_per_thread: usize,
    now: Instant,
    running: Vec<(Ticket, QueueItem)>,
    held: [Option<Instant>; 6],
    last_start: [Option<Instant>; 6],
    not_before: HashMap<u32, Instant>,
    pushed: u32,
    settled: HashSet<u32>,
}

impl QueueBench {
    fn new(rules: HostPolicy, threads: usize, most_per_thread: usize) -> Self {
        Self {
            queue: FairQueue::new(rules, None).with_threads(threads, most_per_thread),
            rules,
            threads,
            most_per_thread,
            now: Instant::now(),
            running: Vec::new(),
            held: [None; 6],
            last_start: [None; 6],
            not_before: HashMap::new(),
            pushed: 0,
            settled: HashSet::new(),
        }
    }

    fn take(&mut self, which: &prop::sample::Index) -> Option<(Ticket, QueueItem)> {
        (!self.running.is_empty())
            .then(|| self.running.swap_remove(which.index(self.running.len())))
    }

    /// Asks for a thread's next item: for the one that should start it, or any if none can.
    fn next(&mut self) -> Result<Turn<()>, TestCaseError> {
        self.queue.unpark_due(self.now);
        let thread = self.queue.next_thread(self.now);
        self.next_of(
            thread,
            thread.unwrap_or(self.pushed as usize % self.threads),
        )
    }

    fn next_of(
        &mut self,
        expected: Option<usize>,
        thread: usize,
    ) -> Result<Turn<()>, TestCaseError> {
        Ok(match self.queue.next(thread, self.now) {
            Turn::Run(ticket, item) => {
                prop_assert!(expected.is_some(), "nobody was told that {item:?} can run");
                prop_assert_eq!(ticket.thread, thread);
                self.check_start(ticket, item)?;
                self.running.push((ticket, item));
                Turn::Run(ticket, ())
            }
            Turn::Fail((_, item), error) => {
                prop_assert!(self.settled.insert(item));
                Turn::Fail((), error)
            }
            Turn::WaitUntil(at) => Turn::WaitUntil(at),
            Turn::WaitForSlot => Turn::WaitForSlot,
            Turn::WaitForInput => Turn::WaitForInput,
            Turn::Done => Turn::Done,
        })
    }

    fn check_start(
        &mut self,
        ticket: Ticket,
        (name, item): QueueItem,
    ) -> Result<(), TestCaseError> {
        prop_assert!(!self.settled.contains(&item), "{item} ran after its end");
        let others = || self.running.iter().filter(|(_, (other, _))| *other == name);
        prop_assert!(
            self.running.iter().all(|(_, (_, other))| *other != item),
            "{item} runs twice"
        );
        prop_assert!(
            self.held[name as usize].is_none_or(|until| until <= self.now),
            "a held host ran"
        );
        prop_assert!(
            self.not_before.get(&item).is_none_or(|at| *at <= self.now),
            "back too early"
        );
        let of_thread = |(other, _): &&(Ticket, QueueItem)| other.thread == ticket.thread;
        prop_assert!(
            self.running.iter().filter(of_thread).count() < self.most_per_thread,
            "too many run on a thread"
        );
        prop_assert!(
            !multiplexes(name) || others().all(|(other, _)| other.thread == ticket.thread),
            "two threads serve a host with one connection"
        );
        let most = match ticket.start.cold {
            true => 1,
            false => self.rules.per_host.upper_bound(self.rules.total).get(),
        };
        prop_assert!(others().count() < most, "too many of one host run");
        prop_assert!(self.running.len() < self.rules.total.get(), "too many run");
        let last = self.last_start[name as usize].replace(self.now);
        prop_assert!(
            last.is_none_or(|last| self.now - last >= self.rules.host_interval),
            "two starts too close together"
        );
        Ok(())
    }

    fn feedback(&mut self, how: ReleaseKind, name: u8) -> Feedback {
        Feedback {
            multiplexes: Some(multiplexes(name)),
            ..self.verdict(how, name)
        }
    }

    fn verdict(&mut self, how: ReleaseKind, name: u8) -> Feedback {
        match how {
            ReleaseKind::Answered => Feedback {
                latency: Duration::from_millis(u64::from(name) * 7),
                ..answered()
            },
            ReleaseKind::Troubled => Feedback::from_verdict(HostVerdict::Failed),
            ReleaseKind::Throttled(hold) => {
                let hold = hold.map(|ms| self.now + Duration::from_millis(u64::from(ms)));
                let held = &mut self.held[name as usize];
                *held = (*held).max(hold);
                throttled(hold)
            }
            ReleaseKind::BareThrottle => {
                let mut feedback = throttled(None);
                if let HostVerdict::Throttled {
                    is_rate_limit: surely_pace,
                    ..
                } = &mut feedback.verdict
                {
                    *surely_pace = false;
                }
                feedback
            }
            ReleaseKind::NotConnected => not_connected(),
            ReleaseKind::Nothing => Feedback::from_verdict(HostVerdict::Inconclusive),
        }
    }

    fn apply(&mut self, step: &QueueStep) -> Result<(), TestCaseError> {
        match step {
            QueueStep::Push(name) => {
                let item = (*name, self.pushed);
                self.queue.add(&name.to_string(), item, self.now);
                self.pushed += 1;
            }
            QueueStep::Next => {
                self.next()?;
            }
            QueueStep::NextOf(thread) => {
                self.queue.unpark_due(self.now);
                let expected = self.queue.next_thread(self.now);
                self.next_of(expected, usize::from(*thread) % self.threads)?;
            }
            QueueStep::Connected(which) => {
                if let Some(running) = self.take(which) {
                    self.queue.connected(&running.0, self.now);
                    self.running.push(running);
                }
            }
            QueueStep::Settle(which, how) => {
                if let Some((ticket, (name, item))) = self.take(which) {
                    let feedback = self.feedback(*how, name);
                    self.queue.release(&ticket, &feedback, self.now);
                    prop_assert!(self.settled.insert(item));
                }
            }
            QueueStep::Park(which, ms, how) => {
                if let Some((ticket, (name, item))) = self.take(which) {
                    let until = self.now + Duration::from_millis(u64::from(*ms));
                    self.queue.park(ticket.host, (name, item), until);
                    self.not_before.insert(item, until);
                    let feedback = self.feedback(*how, name);
                    self.queue.release(&ticket, &feedback, self.now);
                }
            }
            QueueStep::Requeue(which, name) => {
                if let Some((ticket, (own, item))) = self.take(which) {
                    let other = self.queue.intern_host(&name.to_string());
                    self.queue.push_returned(other, (*name, item), self.now);
                    let feedback = self.feedback(ReleaseKind::Answered, own);
                    self.queue.release(&ticket, &feedback, self.now);
                }
            }
            QueueStep::SetLimits(per_host, auto, total, interval, most_per_thread) => {
                let interval = MS * u32::try_from(*interval).unwrap();
                if interval > self.rules.host_interval {
                    // A host that is forgotten by now has no last start.
                    self.last_start = [None; 6];
                }
                self.rules = HostPolicy {
                    host_interval: interval,
                    ..limits(*per_host, *auto, *total, self.rules)
                };
                if self.threads > 1 {
                    self.most_per_thread = *most_per_thread;
                }
                let changed = QueueLimits {
                    rules: self.rules,
                    hosts: Arc::default(),
                    rate: None,
                    most_per_thread: self.most_per_thread,
                    spare: 0,
                };
                self.queue.set_limits(changed, self.now);
            }
            QueueStep::Pass(ms) => self.now += Duration::from_millis(u64::from(*ms)),
        }
        Ok(())
    }

    /// Runs everything that is left: no host is starved, no item lost.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        self.queue.input_ended();
        for rounds in 0.. {
            prop_assert!(rounds < 100_000, "it does not end");
            let turn = self.next()?;
            if matches!(turn, Turn::Run(..) | Turn::Fail(..)) {
                continue;
            }
            if let Some((ticket, (_, item))) = self.running.pop() {
                self.queue.release(&ticket, &answered(), self.now);
                prop_assert!(self.settled.insert(item));
                continue;
            }
            match turn {
                Turn::WaitUntil(at) => {
                    prop_assert!(at > self.now);
                    self.now = at;
                }
                Turn::Done => break,
                other => prop_assert!(false, "{other:?} with nothing running"),
            }
        }
        prop_assert_eq!(self.settled.len(), self.pushed as usize);
        // Learned state expires, and every count returns to 0.
        self.now += SECOND * 3600;
        self.queue.unpark_due(self.now);
        prop_assert!(self.queue.ids.is_empty());
        let queue = &self.queue;
        let counts = [
            queue.queued,
            queue.parked,
            queue.running,
            queue.rings.demand(),
            queue.idle,
        ];
        prop_assert_eq!(counts, [0; 5]);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_limit_is_exceeded_no_item_lost_or_run_twice_no_host_starved(
        per_host in 1usize..5, auto in any::<bool>(), total in 1usize..12,
        interval in 0u64..100, probes in 0u32..3,
        threads in 1usize..5, most_per_thread in 1usize..12,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut rules = limits(per_host, auto, total, rules(1, 1));
        rules.host_interval = Duration::from_millis(interval);
        rules.probing.probes = probes;
        // A single thread has workers for all requests.
        let most_per_thread = if threads == 1 { usize::MAX } else { most_per_thread };
        let mut bench = QueueBench::new(rules, threads, most_per_thread);
        for step in &steps {
            bench.apply(step)?;
            prop_assert_eq!(bench.queue.len() + bench.settled.len(), bench.pushed as usize);
        }
        bench.finish()?;
    }
}

#[test]
fn an_item_that_is_always_throttled_does_not_block_the_others() {
    let mut queue = queue(1);
    let mut now = Instant::now();
    for item in 0..10 {
        queue.add("a", item, now);
    }
    let mut order = Vec::new();
    while order.len() < 12 {
        match queue.next(0, now) {
            Turn::Run(ticket, 0) => {
                order.push(0);
                queue.park(ticket.host, 0, now + SECOND);
                queue.release(&ticket, &throttled(Some(now + SECOND)), now);
            }
            Turn::Run(ticket, item) => {
                order.push(item);
                queue.release(&ticket, &answered(), now);
            }
            Turn::WaitUntil(at) => now = at,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(order[..6], [0, 0, 1, 0, 2, 0]);
}

#[test]
fn a_fast_host_gets_several_items_in_a_row_and_the_others_do_not_starve() {
    let mut queue = queue(4);
    let now = Instant::now();
    for item in 0..400 {
        for host in ["a", "b", "c"] {
            queue.add(host, (host, item), now);
        }
    }
    let mut turns = Vec::new();
    for _ in 0..1200 {
        let (ticket, (host, _)) = queue.run(now);
        queue.connected(&ticket, now);
        assert_eq!(
            queue.active_hosts(),
            turns.iter().chain([&host]).collect::<HashSet<_>>().len()
        );
        queue.release(&ticket, &answered(), now);
        turns.push(host);
        if turns.iter().filter(|turn| **turn == host).count() == 400 {
            break;
        }
    }
    let mut runs: Vec<_> = turns.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    // The last run of items was still going on.
    runs.pop();
    assert!(runs.iter().all(|run| (8..=300).contains(run)), "{runs:?}");
    assert_eq!(turns.iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn a_host_with_slow_items_gets_one_at_a_time() {
    let mut queue = queue(1);
    let mut now = Instant::now();
    for item in 0..10 {
        for host in ["a", "b"] {
            queue.add(host, (host, item), now);
        }
    }
    let mut turns = String::new();
    for _ in 0..10 {
        let (ticket, (host, _)) = queue.run(now);
        queue.connected(&ticket, now);
        now += SECOND;
        queue.release(&ticket, &answered(), now);
        turns += host;
    }
    assert!(!turns.contains("aaa") && !turns.contains("bbb"), "{turns}");
}

#[test]
fn a_slow_host_does_not_get_all_slots() {
    let mut queue = FairQueue::new(rules(100, 10), None);
    let now = Instant::now();
    // More items than will run: a host without items leaves its share to the others.
    for item in 0..2_000 {
        queue.add("slow", ("slow", item), now);
        for fast in ["a", "b", "c", "d"] {
            queue.add(fast, (fast, item), now);
        }
    }
    let mut slow = 0;
    for _ in 0..2_000 {
        while let Turn::Run(ticket, (name, _)) = queue.next(0, now) {
            queue.connected(&ticket, now);
            if name == "slow" {
                slow += 1;
            } else {
                queue.release(&ticket, &answered(), now);
                break;
            }
        }
    }
    assert!((2..=3).contains(&slow), "{slow}: about a fifth of ten");
}

#[test]
fn a_limit_does_not_grow_at_the_expense_of_others() {
    let mut rules = rules(1, 8);
    rules.per_host = PerHostLimit::Auto { max: None };
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    for item in 0..1000 {
        queue.add("a", item, now);
        queue.add("b", item, now);
    }
    let mut running = VecDeque::new();
    for _ in 0..1000 {
        while let Turn::Run(ticket, _) = queue.next(0, now) {
            queue.connected(&ticket, now);
            running.push_back(ticket);
        }
        let ticket = running.pop_front().unwrap();
        let mut feedback = answered();
        feedback.latency = SECOND;
        queue.release(&ticket, &feedback, now);
    }
    assert!(
        queue.take_changes().is_empty(),
        "four each are all there are"
    );
}

#[test]
fn throttled_requests_in_flight_do_not_revive_a_host_that_was_given_up() {
    let mut rules = rules(8, 100);
    rules.max_wait = SECOND * 5;
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    for item in 0..100 {
        queue.add("a", item, now);
    }
    let (first, _) = queue.run(now);
    queue.connected(&first, now);
    let mut running = vec![first];
    while let Turn::Run(ticket, _) = queue.next(0, now) {
        running.push(ticket);
    }
    assert_eq!(running.len(), 8);
    for ticket in running {
        queue.release(&ticket, &throttled(Some(now + SECOND * 10)), now);
    }
    let mut failed = 0;
    while let Turn::Fail(..) = queue.next(0, now + SECOND) {
        failed += 1;
    }
    assert_eq!(failed, 92);
    // A later probe is throttled as well: nothing changes.
    let later = now + SECOND * 31;
    queue.add("a", 100, later);
    queue.add("a", 101, later);
    let (probe, _) = queue.run(later);
    queue.release(&probe, &throttled(None), later);
    assert!(matches!(queue.next(0, later), Turn::Fail(101, _)));
}

#[test]
fn the_longest_hold_counts_also_when_the_host_was_given_up_for_a_shorter_one() {
    let mut rules = rules(8, 100);
    rules.max_wait = SECOND * 5;
    let mut queue = FairQueue::new(rules, None);
    let now = Instant::now();
    for item in 0..2 {
        queue.add("a", item, now);
    }
    let (first, _) = queue.run(now);
    queue.connected(&first, now);
    let (second, _) = queue.run(now);
    queue.release(&first, &throttled(Some(now + SECOND * 10)), now);
    queue.release(&second, &throttled(Some(now + SECOND * 40)), now);
    let later = now + SECOND * 31;
    queue.add("a", 3, later);
    assert!(matches!(queue.next(0, later), Turn::WaitUntil(at) if at == now + SECOND * 40));
}

#[test]
fn a_host_that_keeps_requesting_too_long_a_delay_is_given_up() {
    let mut queue = queue(1);
    let now = Instant::now();
    for item in 0..100 {
        queue.add("a", item, now);
    }
    let error = FetchError::Status {
        status: http::StatusCode::TOO_MANY_REQUESTS,
        retry_after: Some(SECOND * 3600),
        note: None,
    };
    let mut sent = 0;
    let error = loop {
        match queue.next(0, now) {
            Turn::Run(ticket, _) => {
                sent += 1;
                let verdict = HostVerdict::Throttled {
                    error: error.clone(),
                    is_rate_limit: true,
                };
                queue.release(&ticket, &Feedback::from_verdict(verdict), now);
            }
            Turn::Fail(_, error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sent, 3);
    assert_eq!(
        given_up_reason(&error),
        &GiveUpReason::DelayTooLong {
            requested: SECOND * 3600,
            max: SECOND * 300
        }
    );
}

#[test]
fn a_fast_host_does_not_wait_behind_slow_ones() {
    let mut queue = FairQueue::new(rules(4, 8), None);
    let mut now = Instant::now();
    for item in 0..20 {
        for slow in 0..20 {
            queue.add(&format!("slow{slow}"), Some(item), now);
        }
    }
    for _ in 0..100 {
        queue.add("fast", None, now);
    }
    // Slow items take a second, fast ones a millisecond.
    let mut running: Vec<(Instant, Ticket, bool)> = Vec::new();
    let mut fast = 0;
    let start = now;
    while fast < 100 {
        while let Turn::Run(ticket, item) = queue.next(0, now) {
            queue.connected(&ticket, now);
            let takes = if item.is_some() { SECOND } else { MS };
            running.push((now + takes, ticket, item.is_none()));
        }
        let next = (0..running.len()).min_by_key(|n| running[*n].0).unwrap();
        let (at, ticket, is_fast) = running.swap_remove(next);
        now = at;
        fast += usize::from(is_fast);
        queue.release(&ticket, &answered(), now);
    }
    // Its first turn comes after two rounds of slow hosts, while no durations are known yet.
    assert!(now - start < SECOND * 4, "{:?}", now - start);
}

/// Runs what is queued, each item for 10 ms, and returns for each host the threads that served it, and
/// for each thread the most items at once.
fn serve(
    queue: &mut FairQueue<usize>,
    multiplexes: bool,
    mut now: Instant,
) -> (HashMap<HostId, HashSet<usize>>, HashMap<usize, usize>) {
    let (mut served, mut most) = (HashMap::new(), HashMap::new());
    loop {
        let mut running = Vec::new();
        while let Some(thread) = queue.next_thread(now) {
            if let Turn::Run(ticket, _) = queue.next(thread, now) {
                queue.connected(&ticket, now);
                running.push(ticket);
            }
        }
        if running.is_empty() {
            return (served, most);
        }
        now += MS * 10;
        let mut counts = HashMap::<usize, usize>::new();
        for ticket in &running {
            *counts.entry(ticket.thread).or_default() += 1;
            let threads: &mut HashSet<_> = served.entry(ticket.host).or_default();
            threads.insert(ticket.thread);
            let feedback = Feedback {
                multiplexes: Some(multiplexes),
                ..answered()
            };
            queue.release(ticket, &feedback, now);
        }
        for (thread, count) in counts {
            let most = most.entry(thread).or_default();
            *most = count.max(*most);
        }
    }
}

#[test]
fn hosts_are_divided_among_the_threads_and_each_stays_on_one() {
    let now = Instant::now();
    let mut queue = FairQueue::new(rules(100, 100), None).with_threads(4, 100);
    for item in 0..20_000 {
        queue.add(&(item % 200).to_string(), item, now);
    }
    let (served, most) = serve(&mut queue, false, now);
    assert_eq!(served.len(), 200);
    let two = served.values().filter(|threads| threads.len() > 1).count();
    // At the end few hosts are left, and all threads serve them.
    assert!(two <= 8, "{two} hosts were served by several threads");
    assert!(
        most.len() == 4 && most.values().all(|most| *most >= 20),
        "{most:?}"
    );
}

#[test]
fn one_host_is_served_by_all_threads_unless_it_multiplexes() {
    for (multiplexes, threads) in [(false, 4), (true, 1)] {
        let now = Instant::now();
        let mut queue = FairQueue::new(rules(100, 100), None).with_threads(4, 100);
        for item in 0..2_000 {
            queue.add("a", item, now);
        }
        let (served, most) = serve(&mut queue, multiplexes, now);
        assert_eq!(served.into_values().next().unwrap().len(), threads);
        assert!(most.values().all(|most| *most >= 100 / threads), "{most:?}");
    }
}

/// A further request for a body takes only what nothing else could use, and counts as any other.
#[test]
fn a_segment_gets_a_slot_that_is_idle() {
    let now = Instant::now();
    let started = |per_host, total| {
        let mut queue = FairQueue::new(rules(per_host, total), None);
        queue.add("a", 1, now);
        let (ticket, _) = queue.run(now);
        queue.connected(&ticket, now);
        (queue, ticket)
    };
    let (mut queue, first) = started(3, 4);
    let second = queue.start_segment(&first, now).unwrap();
    let third = queue.start_segment(&first, now).unwrap();
    assert_eq!((second.host, queue.running()), (first.host, 3));
    assert_eq!(queue.start_segment(&first, now), None, "the host's limit");
    queue.release(&third, &answered(), now);
    queue.add("a", 2, now);
    assert_eq!(queue.start_segment(&first, now), None, "a URL waits");
    let (ticket, _) = queue.run(now);
    queue.release(&ticket, &answered(), now);
    queue.add("b", 3, now);
    assert_eq!(queue.start_segment(&first, now), None, "another host");
    let (other, _) = queue.run(now);
    let last = queue.start_segment(&first, now).unwrap();
    assert_eq!(queue.running(), 4);
    for ticket in [last, other, second, first] {
        queue.release(&ticket, &answered(), now);
    }
    queue.input_ended();
    assert!(matches!(queue.next(0, now), Turn::Done));

    let (mut queue, first) = started(9, 2);
    assert!(queue.start_segment(&first, now).is_some());
    assert_eq!(queue.start_segment(&first, now), None, "the limit of all");

    let (mut queue, first) = started(9, 9);
    let second = queue.start_segment(&first, now).unwrap();
    queue.release(&second, &throttled(None), now);
    let later = now + SECOND * 600;
    queue.next(0, later);
    assert_eq!(queue.start_segment(&first, later), None, "it has throttled");
}

/// The limit of a host that adapts grows with the number of URLs that wait, and none waits here.
#[test]
fn segments_may_use_all_of_a_limit_that_adapts() {
    let now = Instant::now();
    let mut queue = FairQueue::new(limits(8, true, 100, rules(1, 1)), None);
    queue.add("a", 1, now);
    let (first, _) = queue.run(now);
    assert_eq!(queue.start_segment(&first, now), None, "not connected");
    queue.connected(&first, now);
    let more = std::iter::from_fn(|| queue.start_segment(&first, now));
    assert_eq!(more.count(), 7);
}
