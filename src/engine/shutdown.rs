//! The two ways to end a run early.

use tokio_util::sync::CancellationToken;

/// The two ways to end a run early: stop (nothing new starts, what is in flight may
/// end) and abort (everything ends now). An abort is also a stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    abort: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// Nothing asked for yet.
    #[must_use]
    pub fn new() -> Self {
        let abort = CancellationToken::new();
        let stop = abort.child_token();
        Self { abort, stop }
    }

    /// Nothing new starts; what is in flight may end.
    pub fn stop(&self) {
        self.stop.cancel();
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
    pub fn alarm(&self) -> Alarm<'_> {
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

/// See [`Shutdown::alarm`].
pub struct Alarm<'a>(&'a Shutdown);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort();
        }
    }
}
