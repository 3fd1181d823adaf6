//! One host in the queue: its items and its place in the order of turns.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::{HostKey, HostVerdict};
use crate::schedule::host_control::{Admission, HostControl};
use crate::schedule::robots::HostRules;

/// Slot time, in microseconds, within which hosts count as equal. Among equal hosts those with an
/// idle connection go first. So with fast requests a host gets several in a row, and thousands of
/// hosts need no more connections than there are concurrent requests.
pub(super) const TURN_QUANTUM_US: u64 = 250_000;

/// Minimum slot time charged per item, in microseconds: limits a host to 128 items per quantum.
const MIN_TURN_US: u64 = TURN_QUANTUM_US / 128;

/// The sort key of a host in the order of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TurnKey {
    /// Slot time used, rounded down to a multiple of [`TURN_QUANTUM_US`].
    pub spent: u64,
    /// Whether its next request probably needs a new connection.
    pub connects: bool,
    /// The number of its request for a turn, so that the oldest goes first; inverted for hosts with
    /// an idle connection, so that the host of the last turn continues.
    pub age: u64,
    /// Index of the host.
    pub host: usize,
}

/// A host, its items, and what is known of it.
#[derive(Debug)]
pub(super) struct HostEntry<T> {
    pub key: HostKey,
    /// Items that ran before: retries that are due, and redirects to this host. They alternate with
    /// new items and go first. So started jobs finish soon, but a URL that is throttled again and
    /// again cannot block the others.
    pub returned: VecDeque<T>,
    /// New items.
    pub fresh: VecDeque<T>,
    /// Items that may run while the gate is closed; they go before all others.
    pub exempt: VecDeque<T>,
    /// Whether the other items wait until it is known what the host allows.
    pub is_gated: bool,
    /// What the host says about all its items.
    pub rules: Option<HostRules>,
    /// Whether the last item was a returned one.
    pub last_was_returned: bool,
    pub running: usize,
    /// Sequence number of its request for a turn, or of its last release.
    pub turn_number: u64,
    /// Most items that ran at once and got a response: an estimate of its open connections.
    pub connections: usize,
    /// Slot time used, in microseconds of the queue's virtual time.
    pub spent: u64,
    /// Usual duration of its items in microseconds (moving average).
    pub usual: u64,
    /// Timers that refer to this host; it is kept until they have fired.
    pub timers: usize,
    /// The earliest timer set to reconsider the host itself.
    pub wake: Option<Instant>,
    pub place: HostPlacement,
    /// The thread that has its connections; `None` before the first start, and if there is only one
    /// thread.
    pub home: Option<usize>,
    /// Whether its last response came over HTTP/2; `None` before the first one.
    pub multiplexes: Option<bool>,
    pub is_idle: bool,
    /// Created at the first start, because a list may name millions of hosts.
    pub control: Option<Box<HostControl>>,
}

/// Where a host is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPlacement {
    Nowhere,
    /// In the ring of this thread, or in the shared one.
    Ring(Option<usize>, TurnKey),
    Failing,
}

impl<T> HostEntry<T> {
    pub(super) fn new(key: HostKey) -> Self {
        Self {
            key,
            returned: VecDeque::new(),
            fresh: VecDeque::new(),
            exempt: VecDeque::new(),
            is_gated: false,
            rules: None,
            last_was_returned: false,
            running: 0,
            turn_number: 0,
            connections: 0,
            spent: 0,
            usual: 0,
            timers: 0,
            wake: None,
            place: HostPlacement::Nowhere,
            home: None,
            multiplexes: None,
            is_idle: false,
            control: None,
        }
    }

    /// Returns the number of queued items that may run as far as the gate is concerned.
    pub(super) fn queued(&self) -> usize {
        match self.is_gated {
            true => self.exempt.len(),
            false => self.all_queued(),
        }
    }

    fn all_queued(&self) -> usize {
        self.exempt.len() + self.returned.len() + self.fresh.len()
    }

    /// Whether any items are queued, those behind a closed gate included.
    pub(super) fn has_queued(&self) -> bool {
        self.all_queued() > 0
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        if self.is_gated || !self.exempt.is_empty() {
            return self.exempt.pop_front();
        }
        self.last_was_returned = match (self.returned.is_empty(), self.fresh.is_empty()) {
            (false, false) => !self.last_was_returned,
            (is_empty, _) => !is_empty,
        };
        if self.last_was_returned {
            self.returned.pop_front()
        } else {
            self.fresh.pop_front()
        }
    }

    /// Charges the duration of an item, less what was charged in advance. Both in microseconds.
    pub(super) fn charge(&mut self, took: u64, charged: u64) {
        let counts = took.max(MIN_TURN_US);
        self.spent = self.spent.saturating_add(counts).saturating_sub(charged);
        self.usual = match self.usual {
            0 => took,
            usual => usual - usual / 8 + took / 8,
        };
    }

    /// Updates the estimate of open connections when an item ends.
    pub(super) fn observe_connections(&mut self, verdict: &HostVerdict) {
        self.connections = match verdict {
            HostVerdict::Answered | HostVerdict::Throttled { .. } => {
                self.connections.max(self.running)
            }
            HostVerdict::ConnectFailed(_) => 0,
            HostVerdict::Failed | HostVerdict::Inconclusive => self.connections,
        };
    }

    pub(super) fn gate(&self, now: Instant) -> Admission {
        match &self.control {
            Some(control) => control.admit(self.running, now),
            None if self.running == 0 => Admission::Now,
            None => Admission::Full,
        }
    }

    /// Returns its sort key in the order of turns.
    pub(super) fn turn_key(&self, host: usize) -> TurnKey {
        let connects = self.running >= self.connections;
        TurnKey {
            spent: self.spent - self.spent % TURN_QUANTUM_US,
            connects,
            age: if connects {
                self.turn_number
            } else {
                !self.turn_number
            },
            host,
        }
    }

    /// Whether it has no queued or running items. Items may be parked.
    pub(super) fn is_unused(&self) -> bool {
        self.running == 0 && self.place == HostPlacement::Nowhere && !self.has_queued()
    }
}
