//! Signals: Ctrl-C and SIGTERM stop the run, SIGUSR1 prints its status, SIGUSR2 reads its limits again.

use std::io;
#[cfg(unix)]
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use fetchall::program::Screen;
use tokio::runtime::Builder;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use super::LimitReader;
#[cfg(unix)]
use super::fd_limit::free_descriptors;

/// Exit code after an interrupt: 128 plus the number of the signal.
const INTERRUPTED: u8 = 130;
#[cfg(unix)]
const TERMINATED: u8 = 143;
/// Descriptors that are needed while the first signal handler is installed, and those that stay
/// open after that.
#[cfg(unix)]
const CATCHING_DESCRIPTORS: usize = 6;
#[cfg(unix)]
const CAUGHT_DESCRIPTORS: usize = 2;
/// Time from the second signal until the process exits on its own. An orderly end takes far less,
/// unless a write hangs that nothing can interrupt.
const FORCED_EXIT_DELAY: Duration = Duration::from_secs(2);

/// The signals that are caught from the start of the process: SIGUSR1 and SIGUSR2, whose default
/// action would end it while it is still starting. Ctrl-C and SIGTERM keep their default action until
/// [`Signals::listen`]: before, there is nothing to shut down, and Ctrl-C has to end the reading of
/// a request body from a terminal.
///
/// They are caught, not ignored: child processes inherit ignored signals.
#[derive(Debug)]
pub(crate) struct EarlySignals {
    /// SIGUSR1 and SIGUSR2.
    #[cfg(unix)]
    requests: io::Result<(Signal, Signal)>,
}

impl EarlySignals {
    /// Starts to catch them. [`Signals::listen`] reports a failure, which does not matter without a
    /// run.
    #[cfg(unix)]
    pub(crate) fn catch() -> Self {
        let catch = || {
            // The handler stays installed after this runtime is dropped.
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let _entered = runtime.enter();
            let status = signal(SignalKind::user_defined1())?;
            let limits = signal(SignalKind::user_defined2())?;
            // With SIGXFSZ caught, a file at its size limit (ulimit -f) is a write error that can
            // name the file.
            let too_large = rustix::process::Signal::XFSZ.as_raw();
            let _ = signal(SignalKind::from_raw(too_large));
            Ok((status, limits))
        };
        // tokio panics when it gets no descriptor for this.
        let requests = match free_descriptors(CATCHING_DESCRIPTORS) {
            CATCHING_DESCRIPTORS => catch(),
            _ => Err(io::Error::other("too many open files")),
        };
        Self { requests }
    }

    /// Returns how many descriptors catching the signals needs but could not get.
    #[cfg(unix)]
    pub(crate) fn missing_descriptors(&self) -> usize {
        match self.requests {
            Ok(_) => 0,
            Err(_) => CAUGHT_DESCRIPTORS,
        }
    }

    /// Other systems have no such signals.
    #[cfg(not(unix))]
    pub fn catch() -> Self {
        Self {}
    }
}

/// The signals that end a run: Ctrl-C and SIGTERM.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    code: Arc<AtomicU8>,
    /// One permit per signal that [`next`](Self::next) has not returned yet.
    pending: Arc<Semaphore>,
}

impl Signals {
    /// Starts to listen. From now on these signals no longer end the process by themselves, SIGUSR1
    /// prints the status of the run on `screen`, and SIGUSR2 has `limits` read again. The listener
    /// has its own thread, so that signals work even while the rest of the program hangs in a write
    /// to an unread pipe.
    ///
    /// # Errors
    /// When the thread or the signal handlers cannot be set up.
    pub(crate) fn listen(
        early: EarlySignals,
        screen: Screen,
        limits: LimitReader,
    ) -> io::Result<Self> {
        let signals = Self {
            code: Arc::default(),
            pending: Arc::new(Semaphore::new(0)),
        };
        let (ready, listening) = mpsc::channel();
        let this = signals.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(
                move || match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => {
                        runtime.block_on(this.handle_signals(&ready, &screen, &limits, early))
                    }
                    // The receiver is still waiting for this.
                    Err(error) => drop(ready.send(Err(error))),
                },
            )?;
        listening.recv().map_err(io::Error::other)??;
        Ok(signals)
    }

    #[cfg(unix)]
    async fn handle_signals(
        &self,
        ready: &mpsc::Sender<io::Result<()>>,
        screen: &Screen,
        limits: &LimitReader,
        early: EarlySignals,
    ) {
        let streams = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)))
            .and_then(|(one, other)| Ok((one, other, early.requests?)));
        let (mut interrupt, mut terminate, (mut status_requests, mut limit_requests)) =
            match streams {
                Ok(streams) => streams,
                Err(error) => return drop(ready.send(Err(error))),
            };
        drop(ready.send(Ok(())));
        let mut count = 0;
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
                _ = status_requests.recv() => {
                    print_status(screen);
                    continue;
                }
                _ = limit_requests.recv() => {
                    let (limits, screen) = (limits.clone(), screen.clone());
                    answer(move || limits.read_again(&screen));
                    continue;
                }
            };
            count += 1;
            self.record(code, count);
        }
    }

    #[cfg(not(unix))]
    async fn handle_signals(
        &self,
        ready: &mpsc::Sender<io::Result<()>>,
        _: &Screen,
        _: &LimitReader,
        _: EarlySignals,
    ) {
        drop(ready.send(Ok(())));
        let mut count = 0;
        while tokio::signal::ctrl_c().await.is_ok() {
            count += 1;
            self.record(INTERRUPTED, count);
        }
    }

    fn record(&self, code: u8, count: u32) {
        // The first signal decides the exit code.
        let _ = self.code.compare_exchange(0, code, Relaxed, Relaxed);
        self.pending.add_permits(1);
        if count == 2 {
            let code = self.code.load(Relaxed);
            // Without the thread, the process just waits for the orderly end.
            let _ = std::thread::Builder::new().spawn(move || {
                std::thread::sleep(FORCED_EXIT_DELAY);
                std::process::exit(i32::from(code));
            });
        }
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&self) {
        // The semaphore is never closed, so this can't fail.
        if let Ok(permit) = self.pending.acquire().await {
            permit.forget();
        }
    }

    /// Returns the exit code of the first signal, if one was received.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        Some(self.code.load(Relaxed)).filter(|code| *code != 0)
    }
}

/// Prints the status of the run.
#[cfg(unix)]
fn print_status(screen: &Screen) {
    let screen = screen.clone();
    answer(move || {
        if let Some(line) = screen.snapshot() {
            // Ignored if stderr is closed.
            let _ = screen.suspend(|| writeln!(io::stderr(), "{line}"));
        }
    });
}

/// Answers a signal on a thread of its own, since a blocked terminal or file system must not delay the
/// handling of the other signals.
#[cfg(unix)]
fn answer(what: impl FnOnce() + Send + 'static) {
    // If no thread could be started, the user can send the signal again.
    drop(std::thread::Builder::new().spawn(what));
}
