//! Connection state of one request. The transport writes nearly all of it, the engine the rest; the
//! timeouts and the progress display read it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Why a failed request may be resent without counting as an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResendCause {
    /// A reused connection was closed as the request was sent, maybe with a 408. That does not
    /// indicate a server failure (RFC 9112 §9.3.1 allows resending an idempotent request).
    StaleConnection,
    /// As [`StaleConnection`](Self::StaleConnection), with an HTTP/2 connection that carried other requests, too.
    StaleSharedConnection,
    /// The server reports that it did not process this request: GOAWAY, or a rejected stream
    /// (RFC 9113 §6.8, §8.7).
    GoAway,
    /// Nothing was sent to the server: its proxy opened the tunnel with a response that only the
    /// lenient client accepts.
    BrokenTunnel,
    /// The server requires HTTP/1.1 (HTTP_1_1_REQUIRED, RFC 9113 §7).
    Http1Required,
    /// HTTP/2 failed for this response, or for another one on its connection, in a way that
    /// HTTP/1.1 cannot: HTTP_1_1_REQUIRED after the head, or more small frames than the client
    /// accepts.
    Http2Failed,
    /// The server does not speak HTTP/1.1, which was tried after HTTP/2 had failed.
    Http2Only,
    /// The response head or the framing of the body is malformed; the lenient client may be able to
    /// repair it.
    Malformed,
    /// A timeout fired late: the process was kept busy, maybe by an endless head or chunk size of
    /// this very response, which the lenient client does not read for ever.
    LateClock,
}

impl ResendCause {
    const ALL: [Self; 9] = [
        Self::StaleConnection,
        Self::StaleSharedConnection,
        Self::GoAway,
        Self::BrokenTunnel,
        Self::Http1Required,
        Self::Http2Failed,
        Self::Http2Only,
        Self::Malformed,
        Self::LateClock,
    ];
}

/// A timeout that fires this much late says nothing about the server.
const LATE_CLOCK: Duration = Duration::from_millis(500);

/// Connection state of one request.
#[derive(Debug)]
pub(crate) struct WireState {
    start: Instant,
    of_use: usize,
    thread: usize,
    connects: AtomicU64,
    connect_ended_ns: AtomicU64,
    connected: AtomicBool,
    head_ns: AtomicU64,
    progress: Notify,
    simulated: AtomicBool,
    waits_for_fd: AtomicBool,
    made_port: AtomicU16,
    peer: Mutex<Option<IpAddr>>,
    body_awaited: AtomicBool,
    segments: AtomicUsize,
    throttled: AtomicBool,
    failed_over_http2: AtomicBool,
    resend_cause: AtomicU8,
    proxy: OnceLock<Arc<str>>,
}

impl WireState {
    /// Creates the state of a request that starts at `start`.
    #[must_use]
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            of_use: 1,
            thread: 0,
            connects: AtomicU64::new(0),
            connect_ended_ns: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            head_ns: AtomicU64::new(0),
            progress: Notify::new(),
            simulated: AtomicBool::new(false),
            waits_for_fd: AtomicBool::new(false),
            made_port: AtomicU16::new(0),
            peer: Mutex::new(None),
            body_awaited: AtomicBool::new(false),
            segments: AtomicUsize::new(0),
            throttled: AtomicBool::new(false),
            failed_over_http2: AtomicBool::new(false),
            resend_cause: AtomicU8::new(0),
            proxy: OnceLock::new(),
        }
    }

    /// Sets the thread that runs the request.
    #[must_use]
    pub(crate) fn with_thread(self, thread: usize) -> Self {
        Self { thread, ..self }
    }

    /// Returns the thread that runs the request: it can only use connections that were made there.
    #[must_use]
    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    /// Sets how many connections the run could use when the request started.
    #[must_use]
    pub(crate) fn with_useful_connections(self, connections: usize) -> Self {
        Self {
            of_use: connections,
            ..self
        }
    }

    /// Returns how many connections the run could use when the request started.
    #[must_use]
    pub(crate) fn connections_of_use(&self) -> usize {
        self.of_use
    }

    /// Sets how many requests bring the body at the same time.
    pub(crate) fn set_segments(&self, segments: usize) {
        self.segments.store(segments, Relaxed);
    }

    /// Returns how many requests bring the body at the same time; 0 if it does not come in segments.
    #[must_use]
    pub(crate) fn segments(&self) -> usize {
        self.segments.load(Relaxed)
    }

    /// Returns when the request started.
    #[must_use]
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    fn since_start(&self, now: Instant) -> u64 {
        let took = now.saturating_duration_since(self.start);
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Marks that the transport starts a connection for this request, possibly after a failed one.
    pub(crate) fn mark_connecting(&self) {
        self.connect_ended_ns.store(0, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    /// Marks that connecting ended at `now`, successfully or not.
    pub(crate) fn mark_connect_ended(&self, now: Instant, succeeded: bool) {
        self.connect_ended_ns.store(self.since_start(now), Relaxed);
        if succeeded {
            self.connected.store(true, Relaxed);
            self.progress.notify_one();
        }
    }

    /// Marks that a connection with these ends was opened for this request. The client may still
    /// use another connection that becomes free first.
    pub(crate) fn mark_made(&self, local: SocketAddr, peer: SocketAddr) {
        self.made_port.store(local.port(), Relaxed);
        self.set_peer(peer.ip());
    }

    /// Sets the address that the request was sent to.
    pub(crate) fn set_peer(&self, peer: IpAddr) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
    }

    /// Returns the address that the request was sent to, as far as it is known: before the head, only
    /// that of a connection opened for the request.
    #[must_use]
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection from this local port is the one opened for this request.
    #[must_use]
    pub(crate) fn has_made(&self, local_port: u16) -> bool {
        self.made_port.load(Relaxed) == local_port
    }

    /// Sets the proxy that the request uses, by host and port.
    pub(crate) fn set_proxy(&self, proxy: String) {
        let _ = self.proxy.set(proxy.into());
    }

    /// Returns the proxy that the request uses, if it does.
    #[must_use]
    pub(crate) fn proxy(&self) -> Option<&Arc<str>> {
        self.proxy.get()
    }

    /// Notes how late a timeout fired that ends the request.
    pub(crate) fn note_lateness(&self, late: Duration) {
        if late >= LATE_CLOCK {
            self.mark_resendable(ResendCause::LateClock);
        }
    }

    /// Marks that the server throttled us at the HTTP/2 level (ENHANCE_YOUR_CALM, RFC 9113 §7).
    pub(crate) fn mark_throttled(&self) {
        self.throttled.store(true, Relaxed);
    }

    /// Whether the server throttled us at the HTTP/2 level.
    #[must_use]
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled.load(Relaxed)
    }

    /// Marks that an HTTP/2 connection or stream failed before the head.
    pub(crate) fn mark_failed_over_http2(&self) {
        self.failed_over_http2.store(true, Relaxed);
    }

    /// Whether an HTTP/2 connection or stream failed before the head.
    #[must_use]
    pub(crate) fn failed_over_http2(&self) -> bool {
        self.failed_over_http2.load(Relaxed)
    }

    /// Marks that the response head arrived at `now`.
    pub(crate) fn mark_head_received(&self, now: Instant) {
        self.head_ns.store(self.since_start(now), Relaxed);
        self.connected.store(true, Relaxed);
        self.progress.notify_one();
    }

    /// Marks that a part of the body was not there yet when it was to be read, or may not have been.
    pub(crate) fn mark_body_awaited(&self) {
        self.body_awaited.store(true, Relaxed);
    }

    /// Whether the body arrived later than the head, or may have.
    #[must_use]
    pub(crate) fn has_awaited_body(&self) -> bool {
        self.body_awaited.load(Relaxed)
    }

    /// Waits until the request has a connection: one was opened for it, or a response arrived
    /// over a reused one. Also returns for a simulated fault, which needs no connection. Only one
    /// task may wait.
    pub(crate) async fn wait_connected(&self) {
        while !self.connected.load(Relaxed) && !self.is_simulated() {
            self.progress.notified().await;
        }
    }

    /// Waits for the response head. Only one task may wait.
    pub(crate) async fn wait_head(&self) {
        while self.head_ns.load(Relaxed) == 0 {
            self.progress.notified().await;
        }
    }

    /// Whether a connection was opened, or started, for this request. If not, it reused one.
    #[must_use]
    pub(crate) fn opened_connection(&self) -> bool {
        self.connects.load(Relaxed) > 0
    }

    /// Returns the time from the start until connecting ended, once it has.
    #[must_use]
    pub(crate) fn connect_time(&self) -> Option<Duration> {
        time(&self.connect_ended_ns)
    }

    /// Returns the time from the start until the response head arrived, once it has.
    #[must_use]
    pub(crate) fn head_time(&self) -> Option<Duration> {
        time(&self.head_ns)
    }

    /// Sets whether connecting waits for a free file descriptor.
    pub(crate) fn set_waiting_for_fd(&self, waits: bool) {
        self.waits_for_fd.store(waits, Relaxed);
    }

    /// Whether connecting waits for a free file descriptor, which is not the server's fault.
    #[must_use]
    pub(crate) fn is_waiting_for_fd(&self) -> bool {
        self.waits_for_fd.load(Relaxed)
    }

    /// Whether a connection is pending: opened, but neither connected nor failed yet.
    #[must_use]
    pub(crate) fn is_connecting(&self) -> bool {
        self.opened_connection()
            && !self.is_waiting_for_fd()
            && self.connect_time().is_none()
            && self.head_time().is_none()
    }

    /// Marks that the request met a simulated fault.
    pub(crate) fn mark_simulated(&self) {
        self.simulated.store(true, Relaxed);
        self.progress.notify_one();
    }

    /// Whether the request met a simulated fault.
    #[must_use]
    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated.load(Relaxed)
    }

    /// Marks that the request failed in a way that allows a free resend.
    pub(crate) fn mark_resendable(&self, how: ResendCause) {
        self.resend_cause.store(how as u8 + 1, Relaxed);
    }

    /// Returns why the request may be resent for free, if it may.
    #[must_use]
    pub(crate) fn resend_cause(&self) -> Option<ResendCause> {
        let index = self.resend_cause.load(Relaxed).checked_sub(1)?;
        ResendCause::ALL.get(usize::from(index)).copied()
    }
}

fn time(ns: &AtomicU64) -> Option<Duration> {
    match ns.load(Relaxed) {
        0 => None,
        ns => Some(Duration::from_nanos(ns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_read_back() {
        for cause in ResendCause::ALL {
            let wire = WireState::new(Instant::now());
            wire.mark_resendable(cause);
            assert_eq!(wire.resend_cause(), Some(cause));
        }
    }
}
