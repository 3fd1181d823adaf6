//! What the transport noticed while one request was under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the transport noticed while one request was under way: shared between the
/// transport, which writes it, and the clocks above, which read it.
#[derive(Debug)]
pub struct Wire {
    start: Instant,
    connects: AtomicU64,
    connect_ended_ns: AtomicU64,
    simulated: AtomicBool,
}

impl Wire {
    /// Nothing noticed yet.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            connects: AtomicU64::new(0),
            connect_ended_ns: AtomicU64::new(0),
            simulated: AtomicBool::new(false),
        }
    }

    /// A connection is being made for this request.
    pub fn connecting(&self) {
        self.connects.fetch_add(1, Relaxed);
    }

    /// Connecting came to its end at `now`, well or not.
    pub fn connect_ended(&self, now: Instant) {
        let took = now.saturating_duration_since(self.start);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.connect_ended_ns.store(ns.max(1), Relaxed);
    }

    /// Whether a connection was made, or begun, for this request; if not, it went over
    /// one that stood already.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.connects.load(Relaxed) > 0
    }

    /// How long connecting took, once it has ended.
    #[must_use]
    pub fn connect_time(&self) -> Option<Duration> {
        match self.connect_ended_ns.load(Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    /// A simulated fault was put in the way.
    pub fn mark_simulated(&self) {
        self.simulated.store(true, Relaxed);
    }

    /// Whether a simulated fault was put in the way.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated.load(Relaxed)
    }
}
