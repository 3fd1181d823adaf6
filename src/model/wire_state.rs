//! What the transport noticed while one request was under way.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Why a request that failed may be sent again without being charged as an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprocessed {
    /// The connection, an old one, was closed just as it was used again. Nothing says
    /// that the server has trouble (RFC 9112 §9.3.1 allows to send an idempotent request
    /// again).
    Stale,
    /// The same with an HTTP/2 connection that other requests went over, too.
    StaleShared,
    /// The server says that it did not process this request: it winds an HTTP/2 connection
    /// down, or refuses the stream (RFC 9113 §6.8, §8.7).
    TurnedAway,
    /// The server wants the request over HTTP/1.1 (HTTP_1_1_REQUIRED, RFC 9113 §7).
    Http1Required,
    /// The head of the response breaks the rules; the lenient client can repair it.
    BrokenHead,
}

impl Unprocessed {
    const ALL: [Self; 5] = [
        Self::Stale,
        Self::StaleShared,
        Self::TurnedAway,
        Self::Http1Required,
        Self::BrokenHead,
    ];
}

/// What the transport noticed while one request was under way: shared between the
/// transport, which writes it, and the clocks above, which read it.
#[derive(Debug)]
pub struct WireState {
    start: Instant,
    of_use: usize,
    connects: AtomicU64,
    connect_ended_ns: AtomicU64,
    connected: AtomicBool,
    head_ns: AtomicU64,
    progress: Notify,
    simulated: AtomicBool,
    no_room: AtomicBool,
    made_port: AtomicU16,
    throttled: AtomicBool,
    unheard: AtomicU8,
}

impl WireState {
    /// Nothing noticed yet.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            of_use: 1,
            connects: AtomicU64::new(0),
            connect_ended_ns: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            head_ns: AtomicU64::new(0),
            progress: Notify::new(),
            simulated: AtomicBool::new(false),
            no_room: AtomicBool::new(false),
            made_port: AtomicU16::new(0),
            throttled: AtomicBool::new(false),
            unheard: AtomicU8::new(0),
        }
    }

    /// While so many connections are of use to this run.
    #[must_use]
    pub fn with_useful_connections(self, connections: usize) -> Self {
        Self {
            of_use: connections,
            ..self
        }
    }

    /// Connections that are of use to the run as it stood when the request was begun.
    #[must_use]
    pub fn connections_of_use(&self) -> usize {
        self.of_use
    }

    /// When the request was begun.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    fn since_start(&self, now: Instant) -> u64 {
        let took = now.saturating_duration_since(self.start);
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// A connection is being made for this request. An earlier one has not come about.
    pub fn mark_connecting(&self) {
        self.connect_ended_ns.store(0, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    /// Connecting came to its end at `now`, well or not.
    pub fn mark_connect_ended(&self, now: Instant, well: bool) {
        self.connect_ended_ns.store(self.since_start(now), Relaxed);
        if well {
            self.connected.store(true, Relaxed);
            self.progress.notify_one();
        }
    }

    /// A connection was made for this request, from this port of this machine. Whether the request
    /// goes over it is not said: the client may take another one that comes free first.
    pub fn mark_made(&self, local_port: u16) {
        self.made_port.store(local_port, Relaxed);
    }

    /// Whether the connection from this port of this machine is the one that was made for this
    /// request.
    #[must_use]
    pub fn has_made(&self, local_port: u16) -> bool {
        self.made_port.load(Relaxed) == local_port
    }

    /// The server said, below HTTP, that it is asked too much (ENHANCE_YOUR_CALM, RFC 9113 §7).
    pub fn mark_throttled(&self) {
        self.throttled.store(true, Relaxed);
    }

    /// Whether the server said, below HTTP, that it is asked too much.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.throttled.load(Relaxed)
    }

    /// The head of the response came.
    pub fn mark_head_received(&self, now: Instant) {
        self.head_ns.store(self.since_start(now), Relaxed);
        self.connected.store(true, Relaxed);
        self.progress.notify_one();
    }

    /// Waits until a connection to the server stands, as far as can be told: one was made
    /// for this request, or a response came; or a fault is simulated, which says nothing
    /// about the server. One task can wait for it.
    pub async fn wait_connected(&self) {
        while !self.connected.load(Relaxed) && !self.is_simulated() {
            self.progress.notified().await;
        }
    }

    /// Waits for the head of the response. One task can wait for it.
    pub async fn wait_head(&self) {
        while self.head_ns.load(Relaxed) == 0 {
            self.progress.notified().await;
        }
    }

    /// Whether a connection was made, or begun, for this request; if not, it went over
    /// one that stood already.
    #[must_use]
    pub fn opened_connection(&self) -> bool {
        self.connects.load(Relaxed) > 0
    }

    /// How long connecting took, once it has ended.
    #[must_use]
    pub fn connect_time(&self) -> Option<Duration> {
        time(&self.connect_ended_ns)
    }

    /// How long it took until the head came, once it has come.
    #[must_use]
    pub fn head_time(&self) -> Option<Duration> {
        time(&self.head_ns)
    }

    /// Connecting has to wait for room on this machine, or no longer.
    pub fn set_waiting_for_fd(&self, waits: bool) {
        self.no_room.store(waits, Relaxed);
    }

    /// Whether connecting waits for room on this machine: not the server's fault.
    #[must_use]
    pub fn is_waiting_for_fd(&self) -> bool {
        self.no_room.load(Relaxed)
    }

    /// Whether a connection is being made, and nothing has come of it yet.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.opened_connection()
            && !self.is_waiting_for_fd()
            && self.connect_time().is_none()
            && self.head_time().is_none()
    }

    /// A simulated fault was put in the way.
    pub fn mark_simulated(&self) {
        self.simulated.store(true, Relaxed);
        self.progress.notify_one();
    }

    /// Whether a simulated fault was put in the way.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated.load(Relaxed)
    }

    /// The request failed in a way that lets it be sent again without being charged.
    pub fn mark_unprocessed(&self, how: Unprocessed) {
        self.unheard.store(how as u8 + 1, Relaxed);
    }

    /// Whether, and how, the request failed in a way that lets it be sent again without being
    /// charged.
    #[must_use]
    pub fn unheard(&self) -> Option<Unprocessed> {
        let index = self.unheard.load(Relaxed).checked_sub(1)?;
        Unprocessed::ALL.get(usize::from(index)).copied()
    }
}

fn time(ns: &AtomicU64) -> Option<Duration> {
    match ns.load(Relaxed) {
        0 => None,
        ns => Some(Duration::from_nanos(ns)),
    }
}
