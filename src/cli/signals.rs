//! Ctrl-C and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tokio::sync::Semaphore;

/// Exit code of an interrupt: 128 plus the number of the signal.
const INTERRUPTED: u8 = 130;
#[cfg(unix)]
const TERMINATED: u8 = 143;

/// The signals that end a run.
#[derive(Debug, Clone)]
pub struct Signals {
    code: Arc<AtomicU8>,
    /// A permit for each signal that nobody has answered yet.
    came: Arc<Semaphore>,
}

impl Signals {
    /// Starts to listen; from now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub fn listen() -> io::Result<Self> {
        let signals = Self {
            code: Arc::default(),
            came: Arc::new(Semaphore::new(0)),
        };
        signals.start()?;
        Ok(signals)
    }

    #[cfg(unix)]
    fn start(&self) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        for (kind, code) in [
            (SignalKind::interrupt(), INTERRUPTED),
            (SignalKind::terminate(), TERMINATED),
        ] {
            let mut stream = signal(kind)?;
            let this = self.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    this.note(code);
                }
            });
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn start(&self) -> io::Result<()> {
        let this = self.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                this.note(INTERRUPTED);
            }
        });
        Ok(())
    }

    fn note(&self, code: u8) {
        // The first one names the exit code.
        let _ = self.code.compare_exchange(0, code, Relaxed, Relaxed);
        self.came.add_permits(1);
    }

    /// Waits for the next signal.
    pub async fn next(&self) {
        // The semaphore is never closed, so this can't fail.
        if let Ok(permit) = self.came.acquire().await {
            permit.forget();
        }
    }

    /// The exit code, when a signal came.
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.code.load(Relaxed)).filter(|code| *code != 0)
    }
}
