//! One host in the queue: its items, and where it stands.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::HostKey;
use crate::schedule::control::{Control, Gate};

/// The place of a host in the order of turns: the slot time it has used in microseconds, the
/// age of its wish, the host.
pub type Tag = (u64, u64, usize);

#[derive(Debug)]
pub struct Host<T> {
    pub key: HostKey,
    /// Items that had their turn before: retries whose time has come, and redirects that
    /// lead here. They take turns with those that did not, and come first: what was begun
    /// ends soon, but a URL that is refused again and again does not keep the others out.
    pub returned: VecDeque<T>,
    pub fresh: VecDeque<T>,
    /// Whether the last turn was one of the returned.
    pub fresh_next: bool,
    pub running: usize,
    /// Slot time it has used, on the clock of the turns.
    pub spent: u64,
    /// What an item of it usually takes.
    pub usual: u64,
    /// Timers that name this host; it can't be forgotten before they have passed.
    pub timers: usize,
    /// The next of them that is there to look at the host again.
    pub wake: Option<Instant>,
    pub place: Place,
    pub is_idle: bool,
    /// There from the first start on: a list may name millions of hosts.
    pub control: Option<Box<Control>>,
}

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Nowhere,
    Ring(Tag),
    Failing,
}

impl<T> Host<T> {
    pub fn new(key: HostKey) -> Self {
        Self {
            key,
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            fresh_next: false,
            running: 0,
            spent: 0,
            usual: 0,
            timers: 0,
            wake: None,
            place: Place::Nowhere,
            is_idle: false,
            control: None,
        }
    }

    pub fn queued(&self) -> usize {
        self.returned.len() + self.fresh.len()
    }

    pub fn pop(&mut self) -> Option<T> {
        self.fresh_next = match (self.returned.is_empty(), self.fresh.is_empty()) {
            (false, false) => !self.fresh_next,
            (is_empty, _) => !is_empty,
        };
        if self.fresh_next {
            self.returned.pop_front()
        } else {
            self.fresh.pop_front()
        }
    }

    /// An item took so long; `charged` was counted in advance.
    pub fn charge(&mut self, took: u64, charged: u64) {
        self.spent = self.spent.saturating_add(took).saturating_sub(charged);
        self.usual = match self.usual {
            0 => took,
            usual => usual - usual / 8 + took / 8,
        };
    }

    pub fn gate(&self, now: Instant) -> Gate {
        match &self.control {
            Some(control) => control.gate(self.running, now),
            None if self.running == 0 => Gate::Open,
            None => Gate::Full,
        }
    }

    /// Whether nothing of it is queued or running. Something may be parked.
    pub fn is_unused(&self) -> bool {
        self.running == 0 && self.place == Place::Nowhere && self.queued() == 0
    }
}
