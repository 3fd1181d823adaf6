//! Timers of parked items and of waiting hosts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A queue of timers: parked items, and hosts to reconsider.
#[derive(Debug)]
pub(super) struct Timers<T> {
    heap: BinaryHeap<Timer<T>>,
    sequence: u64,
}

#[derive(Debug)]
struct Timer<T> {
    at: Instant,
    /// Breaks ties: the older timer goes first.
    sequence: u64,
    host: usize,
    item: Option<T>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Returns when the first timer is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.heap.peek().map(|timer| timer.at)
    }

    /// Adds a timer for a host, with an item to park, or without one to just reconsider the host.
    pub(super) fn add(&mut self, at: Instant, host: usize, item: Option<T>) {
        self.sequence += 1;
        self.heap.push(Timer {
            at,
            sequence: self.sequence,
            host,
            item,
        });
    }

    /// Returns the parked items and when they are due.
    pub(super) fn items(&self) -> impl Iterator<Item = (&T, Instant)> {
        self.heap
            .iter()
            .filter_map(|timer| timer.item.as_ref().map(|item| (item, timer.at)))
    }

    /// Takes the first timer if it is due: its host, and its item if it has one.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(usize, Option<T>)> {
        if self.first()? > now {
            return None;
        }
        let timer = self.heap.pop()?;
        Some((timer.host, timer.item))
    }

    /// Takes all parked items of a host, the earliest first.
    pub(super) fn take_items_of(&mut self, host: usize) -> Vec<T> {
        let (mut of_host, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.heap)
            .into_iter()
            .partition(|timer| timer.host == host && timer.item.is_some());
        self.heap = rest.into();
        of_host.sort_by_key(|timer| (timer.at, timer.sequence));
        of_host.into_iter().filter_map(|timer| timer.item).collect()
    }
}

impl<T> Ord for Timer<T> {
    /// Reversed: `BinaryHeap` is a max-heap, and the earliest timer must come first.
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
