//! The queue of every host, and the decision whose turn it is: pure, the clock passed in.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::Instant;

use crate::model::HostKey;

/// A host in the queue. Valid while something of that host is queued, parked or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostId(usize);

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// Run this one; its slot is taken until [`HostQueue::release`].
    Run(HostId, T),
    /// Nothing can run before this time, unless something else happens first.
    WaitUntil(Instant),
    /// Everything queued waits for a slot of its host.
    WaitForSlot,
    /// Nothing is queued, but the input goes on.
    WaitForInput,
    /// Nothing is left, and nothing will come.
    Done,
}

/// The queue of every host.
///
/// Hosts that can run something stand in a ring and take turns, one item each. An item
/// is queued, parked or running; each of these gives it to exactly one of the others.
#[derive(Debug)]
pub struct HostQueue<T> {
    per_host: NonZeroUsize,
    ids: HashMap<HostKey, usize>,
    hosts: Vec<Option<Host<T>>>,
    free: Vec<usize>,
    ring: VecDeque<usize>,
    timers: BinaryHeap<Timer<T>>,
    sequence: u64,
    queued: usize,
    parked: usize,
    running: usize,
    ended: bool,
}

#[derive(Debug)]
struct Host<T> {
    key: HostKey,
    /// Items that had their turn before, ahead of those that did not: retries whose time
    /// has come, and redirects that lead here.
    returned: VecDeque<T>,
    fresh: VecDeque<T>,
    running: usize,
    /// Timers that name this host; it can't be forgotten before they have passed.
    timers: usize,
    hold: Option<Instant>,
    in_ring: bool,
}

#[derive(Debug)]
struct Timer<T> {
    at: Instant,
    /// Ties are broken by age.
    sequence: u64,
    host: usize,
    /// `None`: the end of a hold.
    item: Option<T>,
}

impl<T> Ord for Timer<T> {
    /// Reversed: the heap gives its greatest, and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Timer<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Timer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timer<T> {}

impl<T> Host<T> {
    fn can_run(&self, limit: usize) -> bool {
        self.hold.is_none()
            && self.running < limit
            && !(self.returned.is_empty() && self.fresh.is_empty())
    }

    fn is_idle(&self) -> bool {
        self.running == 0
            && self.timers == 0
            && !self.in_ring
            && self.returned.is_empty()
            && self.fresh.is_empty()
    }
}

impl<T> HostQueue<T> {
    /// An empty queue; at most `per_host` items of a host run at the same time.
    #[must_use]
    pub fn new(per_host: NonZeroUsize) -> Self {
        Self {
            per_host,
            ids: HashMap::new(),
            hosts: Vec::new(),
            free: Vec::new(),
            ring: VecDeque::new(),
            timers: BinaryHeap::new(),
            sequence: 0,
            queued: 0,
            parked: 0,
            running: 0,
            ended: false,
        }
    }

    /// Items in it: queued, parked or running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued + self.parked + self.running
    }

    /// Whether nothing is queued, parked or running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that wait for their time.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Whether some host can probably run something now; `next` tells for sure.
    #[must_use]
    pub fn has_runnable(&self) -> bool {
        !self.ring.is_empty()
    }

    /// When the next timer ends.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|timer| timer.at)
    }

    /// Nothing new will be pushed.
    pub fn input_ended(&mut self) {
        self.ended = true;
    }

    /// The host of this key, made known if it is not. The id must be used (`push`,
    /// `push_front`) before the queue is asked for another turn.
    pub fn host(&mut self, key: &str) -> HostId {
        if let Some(id) = self.ids.get(key) {
            return HostId(*id);
        }
        let key = HostKey::from(key);
        let host = Host {
            key: key.clone(),
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            running: 0,
            timers: 0,
            hold: None,
            in_ring: false,
        };
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
        HostId(id)
    }

    fn host_mut(&mut self, id: usize) -> Option<&mut Host<T>> {
        self.hosts.get_mut(id)?.as_mut()
    }

    /// Queues an item behind those of its host. Tells whether the host can run now.
    pub fn push(&mut self, host: HostId, item: T) -> bool {
        if let Some(slot) = self.host_mut(host.0) {
            slot.fresh.push_back(item);
            self.queued += 1;
        }
        self.join_ring(host.0)
    }

    /// Queues an item before the fresh ones of its host.
    pub fn push_front(&mut self, host: HostId, item: T) {
        if let Some(slot) = self.host_mut(host.0) {
            slot.returned.push_back(item);
            self.queued += 1;
        }
        self.join_ring(host.0);
    }

    /// Keeps an item aside until `until`. Its slot is freed by `release`, not by this.
    pub fn park(&mut self, host: HostId, item: T, until: Instant) {
        self.parked += 1;
        self.add_timer(host.0, until, Some(item));
    }

    /// Nothing of this host runs before `until`. The latest of several holds counts.
    pub fn hold(&mut self, host: HostId, until: Instant) {
        let Some(slot) = self.host_mut(host.0) else {
            return;
        };
        if slot.hold.is_none_or(|hold| hold < until) {
            slot.hold = Some(until);
            self.add_timer(host.0, until, None);
        }
    }

    /// The item that ran gives its slot back.
    pub fn release(&mut self, host: HostId) {
        if let Some(slot) = self.host_mut(host.0) {
            slot.running -= 1;
            self.running -= 1;
        }
        self.join_ring(host.0);
        self.forget_if_idle(host.0);
    }

    /// Brings back what waited for a time that has come.
    pub fn release_due(&mut self, now: Instant) {
        while self.timers.peek().is_some_and(|timer| timer.at <= now) {
            let Some(timer) = self.timers.pop() else {
                return;
            };
            if timer.item.is_some() {
                self.parked -= 1;
                self.queued += 1;
            }
            if let Some(host) = self.host_mut(timer.host) {
                host.timers -= 1;
                host.returned.extend(timer.item);
                if host.hold.is_some_and(|hold| hold <= now) {
                    host.hold = None;
                }
            }
            self.join_ring(timer.host);
            self.forget_if_idle(timer.host);
        }
    }

    /// Whose turn it is.
    pub fn next(&mut self, now: Instant) -> Turn<T> {
        self.release_due(now);
        let limit = self.per_host.get();
        while let Some(id) = self.ring.pop_front() {
            let Some(host) = self.host_mut(id) else {
                continue;
            };
            host.in_ring = false;
            let item = if host.can_run(limit) {
                host.returned.pop_front().or_else(|| host.fresh.pop_front())
            } else {
                None
            };
            if let Some(item) = item {
                host.running += 1;
                self.queued -= 1;
                self.running += 1;
                self.join_ring(id);
                return Turn::Run(HostId(id), item);
            }
        }
        self.nothing_now()
    }

    fn nothing_now(&self) -> Turn<T> {
        if self.ended && self.is_empty() {
            return Turn::Done;
        }
        match self.next_timer() {
            Some(at) => Turn::WaitUntil(at),
            None if self.queued == 0 && !self.ended => Turn::WaitForInput,
            None => Turn::WaitForSlot,
        }
    }

    fn add_timer(&mut self, host: usize, at: Instant, item: Option<T>) {
        if let Some(slot) = self.host_mut(host) {
            slot.timers += 1;
        }
        self.sequence += 1;
        self.timers.push(Timer {
            at,
            sequence: self.sequence,
            host,
            item,
        });
    }

    /// Puts a host into the ring if it can run something. Tells whether it can.
    fn join_ring(&mut self, id: usize) -> bool {
        let limit = self.per_host.get();
        let Some(host) = self.host_mut(id) else {
            return false;
        };
        let can_run = host.can_run(limit);
        if can_run && !host.in_ring {
            host.in_ring = true;
            self.ring.push_back(id);
        }
        can_run
    }

    /// A list of millions of hosts must not keep them all.
    fn forget_if_idle(&mut self, id: usize) {
        let idle = self
            .hosts
            .get_mut(id)
            .and_then(|place| place.take_if(|host| host.is_idle()));
        if let Some(host) = idle {
            self.ids.remove(&host.key);
            self.free.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::time::Duration;

    fn limit(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    #[test]
    fn hosts_take_turns() {
        let mut queue = HostQueue::new(limit(9));
        for (key, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)] {
            let host = queue.host(key);
            queue.push(host, item);
        }
        let now = Instant::now();
        let order: Vec<_> = std::iter::from_fn(|| match queue.next(now) {
            Turn::Run(_, item) => Some(item),
            _ => None,
        })
        .collect();
        assert_eq!(order, [1, 4, 5, 2, 3]);
    }

    #[test]
    fn a_held_host_costs_the_others_nothing() {
        let mut queue = HostQueue::new(limit(1));
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let slow = queue.host("slow");
        queue.push(slow, 1);
        queue.push(slow, 2);
        let Turn::Run(slow, item) = queue.next(now) else {
            panic!()
        };
        queue.park(slow, item, later);
        queue.hold(slow, later);
        queue.release(slow);
        let quick = queue.host("quick");
        queue.push(quick, 3);
        queue.input_ended();
        assert_eq!(queue.next(now), Turn::Run(quick, 3));
        queue.release(quick);
        assert_eq!(queue.next(now), Turn::WaitUntil(later));
        assert_eq!(queue.next(later), Turn::Run(slow, 1));
        assert_eq!(queue.next(later), Turn::WaitForSlot);
        queue.release(slow);
        assert_eq!(queue.next(later), Turn::Run(slow, 2));
        queue.release(slow);
        assert_eq!(queue.next(later), Turn::Done);
    }

    #[test]
    fn hosts_that_are_done_are_forgotten() {
        let mut queue = HostQueue::new(limit(1));
        let now = Instant::now();
        for n in 0..1000 {
            let host = queue.host(&format!("h{n}"));
            queue.push(host, n);
            let Turn::Run(host, _) = queue.next(now) else {
                panic!()
            };
            queue.release(host);
        }
        assert!(queue.hosts.len() <= 1 && queue.ids.is_empty());
    }

    /// What a test does to the queue in one step.
    #[derive(Debug, Clone)]
    enum Step {
        Push(u8),
        Next,
        Settle(prop::sample::Index),
        Park(prop::sample::Index, u16, bool),
        HandOver(prop::sample::Index, u8),
        Pass(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u8..6).prop_map(Step::Push),
            4 => Just(Step::Next),
            3 => any::<prop::sample::Index>().prop_map(Step::Settle),
            2 => (any::<prop::sample::Index>(), 0u16..500, any::<bool>())
                .prop_map(|(which, ms, hold)| Step::Park(which, ms, hold)),
            1 => (any::<prop::sample::Index>(), 0u8..6)
                .prop_map(|(which, host)| Step::HandOver(which, host)),
            2 => (0u16..300).prop_map(Step::Pass),
        ]
    }

    /// A queue under test, with what it may be compared to.
    struct Bench {
        queue: HostQueue<(u8, u32)>,
        limit: usize,
        now: Instant,
        running: Vec<(HostId, (u8, u32))>,
        held: [Option<Instant>; 6],
        not_before: HashMap<u32, Instant>,
        pushed: u32,
        settled: HashSet<u32>,
    }

    impl Bench {
        fn new(per_host: usize) -> Self {
            Self {
                queue: HostQueue::new(limit(per_host)),
                limit: per_host,
                now: Instant::now(),
                running: Vec::new(),
                held: [None; 6],
                not_before: HashMap::new(),
                pushed: 0,
                settled: HashSet::new(),
            }
        }

        fn take(&mut self, which: &prop::sample::Index) -> Option<(HostId, (u8, u32))> {
            (!self.running.is_empty())
                .then(|| self.running.swap_remove(which.index(self.running.len())))
        }

        fn run_next(&mut self) -> Result<bool, TestCaseError> {
            let Turn::Run(host, (name, item)) = self.queue.next(self.now) else {
                return Ok(false);
            };
            prop_assert!(!self.settled.contains(&item), "{item} ran after its end");
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
            self.running.push((host, (name, item)));
            let of_host = self
                .running
                .iter()
                .filter(|(_, (other, _))| *other == name)
                .count();
            prop_assert!(of_host <= self.limit, "{of_host} of one host run");
            Ok(true)
        }

        fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match step {
                Step::Push(name) => {
                    let host = self.queue.host(&name.to_string());
                    self.queue.push(host, (*name, self.pushed));
                    self.pushed += 1;
                }
                Step::Next => {
                    self.run_next()?;
                }
                Step::Settle(which) => {
                    if let Some((host, (_, item))) = self.take(which) {
                        self.queue.release(host);
                        prop_assert!(self.settled.insert(item));
                    }
                }
                Step::Park(which, ms, hold) => {
                    if let Some((host, (name, item))) = self.take(which) {
                        let until = self.now + Duration::from_millis(u64::from(*ms));
                        self.queue.park(host, (name, item), until);
                        self.not_before.insert(item, until);
                        if *hold {
                            self.queue.hold(host, until);
                            let held = &mut self.held[name as usize];
                            *held = (*held).max(Some(until));
                        }
                        self.queue.release(host);
                    }
                }
                Step::HandOver(which, name) => {
                    if let Some((host, (_, item))) = self.take(which) {
                        let other = self.queue.host(&name.to_string());
                        self.queue.push_front(other, (*name, item));
                        self.queue.release(host);
                    }
                }
                Step::Pass(ms) => self.now += Duration::from_millis(u64::from(*ms)),
            }
            Ok(())
        }

        /// Works off everything that is left: nobody is starved, nothing is lost.
        fn finish(&mut self) -> Result<(), TestCaseError> {
            self.queue.input_ended();
            let mut rounds = 0;
            loop {
                rounds += 1;
                prop_assert!(rounds < 100_000, "it does not come to an end");
                if self.run_next()? {
                    continue;
                }
                if let Some((host, (_, item))) = self.running.pop() {
                    self.queue.release(host);
                    prop_assert!(self.settled.insert(item));
                    continue;
                }
                match self.queue.next(self.now) {
                    Turn::WaitUntil(at) => {
                        prop_assert!(at > self.now);
                        self.now = at;
                    }
                    Turn::Done => break,
                    Turn::Run(host, item) => {
                        self.running.push((host, item));
                    }
                    other => prop_assert!(false, "{other:?} with nothing running"),
                }
            }
            prop_assert_eq!(self.settled.len(), self.pushed as usize);
            prop_assert!(
                self.queue
                    .hosts
                    .iter()
                    .flatten()
                    .all(|host| host.timers > 0)
            );
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn never_above_a_limit_nothing_lost_nothing_twice_nobody_starved(
            per_host in 1usize..4,
            steps in prop::collection::vec(step(), 0..300),
        ) {
            let mut bench = Bench::new(per_host);
            for step in &steps {
                bench.apply(step)?;
                prop_assert_eq!(bench.queue.len() + bench.settled.len(), bench.pushed as usize);
            }
            bench.finish()?;
        }
    }
}
