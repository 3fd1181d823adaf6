//! Stops or aborts a run early.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::model::EndReason;

/// Ends a run early: a stop starts no new requests and lets those in flight finish; an abort
/// ends everything now. An abort is also a stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    abort: CancellationToken,
    stop: CancellationToken,
    early: Arc<OnceLock<EndReason>>,
}

impl Shutdown {
    /// Creates a shutdown that has not been requested.
    #[must_use]
    pub(crate) fn new() -> Self {
        let abort = CancellationToken::new();
        let stop = abort.child_token();
        Self {
            abort,
            stop,
            early: Arc::default(),
        }
    }

    /// Requests a stop: nothing new starts, requests in flight may finish.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Requests a stop before everything is settled, and records why. The first reason counts.
    pub(crate) fn end_early(&self, why: EndReason) {
        let _ = self.early.set(why);
        self.stop();
    }

    /// Waits until [`end_early`](Self::end_early) is called; never returns if the run just
    /// finishes.
    pub(crate) async fn ended_early(&self) {
        self.stopped().await;
        if self.early.get().is_none() {
            // Stopped because all work is done, not early.
            std::future::pending().await
        }
    }

    /// Returns why the run ended early, if it did.
    #[must_use]
    pub(crate) fn ended_by(&self) -> Option<EndReason> {
        self.early.get().copied()
    }

    /// Requests an abort: everything ends now.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }

    /// Waits until a stop or an abort is requested.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until an abort is requested.
    pub(crate) async fn aborted(&self) {
        self.abort.cancelled().await;
    }

    /// Returns a guard that aborts the run if the task holding it panics: a bug must not look
    /// like a slow server.
    #[must_use]
    pub(crate) fn abort_on_panic(&self) -> Alarm<'_> {
        Alarm(self)
    }

    /// Returns a token that an abort cancels.
    #[must_use]
    pub(crate) fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Returns a token that a stop cancels.
    #[must_use]
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Aborts the run when dropped by a panic. Made by [`Shutdown::abort_on_panic`].
pub(crate) struct Alarm<'a>(&'a Shutdown);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort();
        }
    }
}
