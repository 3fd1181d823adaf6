//! Hosts in the order of their turns, for each thread.
//!
//! A connection belongs to the thread that made it, so a host stays with the thread that started
//! its first request: served by two, it would need twice the connections and TLS handshakes. Hosts
//! without a thread, and those that all threads serve, are in a ring that all share.

use std::collections::BTreeSet;

use super::host::TurnKey;

/// A thread leaves a slot to another one that has less than this part of its share.
const NEEDY_SHARE: (usize, usize) = (7, 8);

/// The hosts that can run an item, and what each thread runs.
#[derive(Debug)]
pub(super) struct TurnRings {
    threads: Vec<ThreadTurns>,
    /// Hosts that any thread may serve.
    shared: BTreeSet<TurnKey>,
    /// Hosts in all rings.
    waiting: usize,
    /// Hosts with a running item.
    active: usize,
    /// Maximum running items per thread, if there are several.
    most_per_thread: usize,
}

#[derive(Debug, Default, Clone)]
struct ThreadTurns {
    /// Hosts that only this thread serves.
    ring: BTreeSet<TurnKey>,
    /// Items that it runs.
    running: usize,
    /// Its hosts with a running item.
    active: usize,
}

impl TurnRings {
    /// Creates empty rings for at least one thread.
    pub(super) fn new(threads: usize, most_per_thread: usize) -> Self {
        Self {
            threads: vec![ThreadTurns::default(); threads.max(1)],
            shared: BTreeSet::new(),
            waiting: 0,
            active: 0,
            most_per_thread,
        }
    }

    /// Sets how many items each thread can run at once.
    pub(super) fn set_most_per_thread(&mut self, items: usize) {
        self.most_per_thread = items;
    }

    /// Returns the number of threads.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Whether no host can run an item.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Returns the number of hosts that use or want a slot. The larger of both counts approximates
    /// their union.
    pub(super) fn demand(&self) -> usize {
        self.active.max(self.waiting)
    }

    /// Adds a host to the ring of a thread, or to the shared one.
    pub(super) fn insert(&mut self, thread: Option<usize>, key: TurnKey) {
        self.waiting += usize::from(self.ring_mut(thread).insert(key));
    }

    /// Removes a host from the ring that it was added to.
    pub(super) fn remove(&mut self, thread: Option<usize>, key: &TurnKey) {
        self.waiting -= usize::from(self.ring_mut(thread).remove(key));
    }

    fn ring_mut(&mut self, thread: Option<usize>) -> &mut BTreeSet<TurnKey> {
        match thread.and_then(|thread| self.threads.get_mut(thread)) {
            Some(thread) => &mut thread.ring,
            None => &mut self.shared,
        }
    }

    /// Returns the hosts that a thread may serve, each with its ring, in the order of their turns.
    pub(super) fn in_order(
        &self,
        thread: usize,
    ) -> impl Iterator<Item = (Option<usize>, TurnKey)> + '_ {
        let own = self.threads.get(thread).map(|thread| thread.ring.iter());
        let mut own = own.into_iter().flatten().peekable();
        let mut shared = self.shared.iter().peekable();
        std::iter::from_fn(move || match (own.peek(), shared.peek()) {
            (Some(first), Some(other)) if other < first => shared.next().map(|key| (None, *key)),
            (Some(_), _) => own.next().map(|key| (Some(thread), *key)),
            (None, _) => shared.next().map(|key| (None, *key)),
        })
    }

    /// Counts the start of an item on a thread.
    pub(super) fn record_start(&mut self, thread: usize) {
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.running += 1;
        }
    }

    /// Counts the end of an item on a thread.
    pub(super) fn record_end(&mut self, thread: usize) {
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.running -= 1;
        }
    }

    /// Counts the first running item of a host.
    pub(super) fn record_active(&mut self, home: Option<usize>) {
        self.active += 1;
        if let Some(thread) = home.and_then(|home| self.threads.get_mut(home)) {
            thread.active += 1;
        }
    }

    /// Counts the end of the last running item of a host.
    pub(super) fn record_idle(&mut self, home: Option<usize>) {
        self.active -= 1;
        if let Some(thread) = home.and_then(|home| self.threads.get_mut(home)) {
            thread.active -= 1;
        }
    }

    /// Whether a thread may start an item while `total` may run at once: its share is not used up,
    /// or no other thread needs the slot more.
    pub(super) fn may_start(&self, thread: usize, total: usize) -> bool {
        if self.threads.len() == 1 {
            return true;
        }
        let own = self.threads.get(thread);
        own.is_some_and(|own| {
            self.has_room(own)
                && (own.running < self.share(own, total) || !self.has_needy_thread(total))
        })
    }

    /// Returns the thread that should start an item next, if any can.
    pub(super) fn next_thread(&self, total: usize) -> Option<usize> {
        if self.waiting == 0 || self.threads.len() == 1 {
            return (self.waiting > 0).then_some(0);
        }
        let is_tight = self.has_needy_thread(total);
        let threads = self.threads.iter().enumerate();
        threads
            .filter(|(_, it)| self.has_turn(it))
            .filter(|(_, it)| !is_tight || it.running < self.share(it, total))
            .min_by_key(|(_, it)| it.running)
            .map(|(thread, _)| thread)
    }

    /// Whether a thread could start an item and has much less than its share of the slots.
    fn has_needy_thread(&self, total: usize) -> bool {
        self.threads.iter().any(|thread| {
            let enough = self.share(thread, total) * NEEDY_SHARE.0 / NEEDY_SHARE.1;
            self.has_turn(thread) && thread.running < enough
        })
    }

    /// Whether a thread has a host to serve, and room for an item.
    fn has_turn(&self, thread: &ThreadTurns) -> bool {
        self.has_room(thread) && !(thread.ring.is_empty() && self.shared.is_empty())
    }

    fn has_room(&self, thread: &ThreadTurns) -> bool {
        thread.running < self.most_per_thread
    }

    /// Returns the slots of a thread if they were divided evenly among the hosts that use or want
    /// one. The shared hosts count for each thread with an equal part.
    fn share(&self, thread: &ThreadTurns, total: usize) -> usize {
        let threads = self.threads.len();
        let all = self.demand().max(1) * threads;
        let part = thread.demand() * threads + self.shared.len();
        total.saturating_mul(part).div_ceil(all)
    }
}

impl ThreadTurns {
    /// Returns how many of its hosts use or want slots. The larger of both counts approximates
    /// their union.
    fn demand(&self) -> usize {
        self.active.max(self.ring.len())
    }
}
