//! One host in the queue: its items, and where it stands.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::{HostKey, HostVerdict};
use crate::schedule::host_control::{Admission, HostControl};

/// Slot time in microseconds within which hosts are taken as even. Among them go first those
/// that have a connection to spare: where requests are quick, a host gets some in a row, and
/// thousands of hosts need no more connections than there are requests at the same time.
pub const TURN_QUANTUM_US: u64 = 250_000;

/// An item counts for at least so much, however quick it was: no more than so many in a row.
const MIN_TURN_US: u64 = TURN_QUANTUM_US / 128;

/// The place of a host in the order of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnKey {
    /// The slot time it has used, in whole [`TURN_QUANTUM_US`]s.
    pub spent: u64,
    /// Whether it needs another connection, as far as that can be told.
    pub connects: bool,
    /// The age of its wish; the other way round for a host that has a connection to spare: the one
    /// whose turn was last goes on.
    pub age: u64,
    /// The host.
    pub host: usize,
}

#[derive(Debug)]
pub struct QueuedHost<T> {
    pub key: HostKey,
    /// Items that had their turn before: retries whose time has come, and redirects that
    /// lead here. They take turns with those that did not, and come first: what was begun
    /// ends soon, but a URL that is refused again and again does not keep the others out.
    pub returned: VecDeque<T>,
    pub fresh: VecDeque<T>,
    /// Whether the last turn was one of the returned.
    pub fresh_next: bool,
    pub running: usize,
    /// The number of its wish to have a turn, or of its last end.
    pub wish: u64,
    /// The most that ran together and had an answer: so many connections it may have.
    pub connections: usize,
    /// Slot time it has used, on the clock of the turns.
    pub spent: u64,
    /// What an item of it usually takes.
    pub usual: u64,
    /// Timers that name this host; it can't be forgotten before they have passed.
    pub timers: usize,
    /// The next of them that is there to look at the host again.
    pub wake: Option<Instant>,
    pub place: HostPlacement,
    pub is_idle: bool,
    /// There from the first start on: a list may name millions of hosts.
    pub control: Option<Box<HostControl>>,
}

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPlacement {
    Nowhere,
    Ring(TurnKey),
    Failing,
}

impl<T> QueuedHost<T> {
    pub fn new(key: HostKey) -> Self {
        Self {
            key,
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            fresh_next: false,
            running: 0,
            wish: 0,
            connections: 0,
            spent: 0,
            usual: 0,
            timers: 0,
            wake: None,
            place: HostPlacement::Nowhere,
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
        let counts = took.max(MIN_TURN_US);
        self.spent = self.spent.saturating_add(counts).saturating_sub(charged);
        self.usual = match self.usual {
            0 => took,
            usual => usual - usual / 8 + took / 8,
        };
    }

    /// What an item that ends tells of the connections.
    pub fn observe_connections(&mut self, verdict: &HostVerdict) {
        self.connections = match verdict {
            HostVerdict::Answered | HostVerdict::Refused { .. } => {
                self.connections.max(self.running)
            }
            HostVerdict::NotConnected(_) => 0,
            HostVerdict::Troubled | HostVerdict::Nothing => self.connections,
        };
    }

    pub fn gate(&self, now: Instant) -> Admission {
        match &self.control {
            Some(control) => control.admit(self.running, now),
            None if self.running == 0 => Admission::Open,
            None => Admission::Full,
        }
    }

    /// Its place in the order of turns.
    pub fn turn_key(&self, host: usize) -> TurnKey {
        let connects = self.running >= self.connections;
        TurnKey {
            spent: self.spent - self.spent % TURN_QUANTUM_US,
            connects,
            age: if connects { self.wish } else { !self.wish },
            host,
        }
    }

    /// Whether nothing of it is queued or running. Something may be parked.
    pub fn is_unused(&self) -> bool {
        self.running == 0 && self.place == HostPlacement::Nowhere && self.queued() == 0
    }
}
