//! The two ways to end a run early.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::model::EndReason;

/// The two ways to end a run early: stop (nothing new starts, what is in flight may
/// end) and abort (everything ends now). An abort is also a stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    abort: CancellationToken,
    stop: CancellationToken,
    early: Arc<OnceLock<EndReason>>,
}

impl Shutdown {
    /// Nothing asked for yet.
    #[must_use]
    pub fn new() -> Self {
        let abort = CancellationToken::new();
        let stop = abort.child_token();
        Self {
            abort,
            stop,
            early: Arc::default(),
        }
    }

    /// Nothing new starts; what is in flight may end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// A stop before everything was settled. The first reason is the one that counts.
    pub fn end_early(&self, why: EndReason) {
        let _ = self.early.set(why);
        self.stop();
    }

    /// Waits until the run is to end early.
    pub async fn ended_early(&self) {
        self.stopped().await;
        if self.early.get().is_none() {
            // The work has come to its end.
            std::future::pending().await
        }
    }

    /// What ended the run early, if something did.
    #[must_use]
    pub fn ended_by(&self) -> Option<EndReason> {
        self.early.get().copied()
    }

    /// Everything ends now.
    pub fn abort(&self) {
        self.abort.cancel();
    }

    /// Waits until a stop, or an abort, is asked for.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until an abort is asked for.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }

    /// Aborts when the task that holds it unwinds: a mistake must not pass for a slow
    /// server.
    #[must_use]
    pub fn abort_on_panic(&self) -> Alarm<'_> {
        Alarm(self)
    }

    /// The token that an abort cancels.
    #[must_use]
    pub fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// The token that a stop cancels.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// See [`Shutdown::abort_on_panic`].
pub struct Alarm<'a>(&'a Shutdown);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort();
        }
    }
}
