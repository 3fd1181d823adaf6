//! Ctrl-C and SIGTERM, and SIGUSR1, which asks how the run stands.

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

#[cfg(unix)]
use super::open_files::free_descriptors;

/// Exit code of an interrupt: 128 plus the number of the signal.
const INTERRUPTED: u8 = 130;
#[cfg(unix)]
const TERMINATED: u8 = 143;
/// Descriptors that it takes to catch signals, and those of them that stay.
#[cfg(unix)]
const CATCHING_DESCRIPTORS: usize = 6;
#[cfg(unix)]
const CAUGHT_DESCRIPTORS: usize = 2;
/// After the second signal the run has this long to end in order. It needs far less,
/// unless a write hangs that nothing can interrupt.
const LAST_RESORT: Duration = Duration::from_secs(2);

/// The signals that are caught from the first moment of the process on. The default of SIGUSR1 is
/// to end it, and whoever asks how a run stands can't know how far its start has come. Ctrl-C and
/// SIGTERM keep their default until [`Signals::listen`]: until then there is nothing to end in
/// order, and a body that is read from a terminal ends by Ctrl-C like anything else.
///
/// They are caught, not ignored: a program that is started from here would inherit the latter.
#[derive(Debug)]
pub struct EarlySignals {
    /// SIGUSR1.
    #[cfg(unix)]
    asked: io::Result<Signal>,
}

impl EarlySignals {
    /// Catches them. What keeps it from doing so is told by [`Signals::listen`]: without a run it
    /// does not matter.
    #[cfg(unix)]
    pub fn catch() -> Self {
        let asked = || {
            // What is caught stays caught, also when nothing drives this runtime any more.
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let _entered = runtime.enter();
            let asked = signal(SignalKind::user_defined1())?;
            // A file that may grow no more (ulimit -f) is an error of writing then, with a name.
            let too_large = rustix::process::Signal::XFSZ.as_raw();
            let _ = signal(SignalKind::from_raw(too_large));
            Ok(asked)
        };
        // Without a descriptor for it the library panics.
        let asked = match free_descriptors(CATCHING_DESCRIPTORS) {
            CATCHING_DESCRIPTORS => asked(),
            _ => Err(io::Error::other("too many open files")),
        };
        Self { asked }
    }

    /// Descriptors that hearing of them takes, and that there were none for.
    #[cfg(unix)]
    pub fn missing_descriptors(&self) -> usize {
        match self.asked {
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

/// The signals that end a run.
#[derive(Debug, Clone)]
pub struct Signals {
    code: Arc<AtomicU8>,
    /// A permit for each signal that nobody has answered yet.
    came: Arc<Semaphore>,
}

impl Signals {
    /// Starts to listen; from now on they no longer end the process by themselves, and SIGUSR1
    /// prints how the run on `screen` stands. They are heard on a thread of their own, so that
    /// they are heard even when everything else hangs in a write to a pipe that nobody reads.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub fn listen(early: EarlySignals, screen: Screen) -> io::Result<Self> {
        let signals = Self {
            code: Arc::default(),
            came: Arc::new(Semaphore::new(0)),
        };
        let (ready, listening) = mpsc::channel();
        let this = signals.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(
                move || match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime.block_on(this.hear(&ready, &screen, early)),
                    // The receiver waits for just this.
                    Err(error) => drop(ready.send(Err(error))),
                },
            )?;
        listening.recv().map_err(io::Error::other)??;
        Ok(signals)
    }

    #[cfg(unix)]
    async fn hear(
        &self,
        ready: &mpsc::Sender<io::Result<()>>,
        screen: &Screen,
        early: EarlySignals,
    ) {
        let streams = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)))
            .and_then(|(one, other)| Ok((one, other, early.asked?)));
        let (mut interrupt, mut terminate, mut asked) = match streams {
            Ok(streams) => streams,
            Err(error) => return drop(ready.send(Err(error))),
        };
        drop(ready.send(Ok(())));
        let mut count = 0;
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
                _ = asked.recv() => {
                    tell(screen);
                    continue;
                }
            };
            count += 1;
            self.note(code, count);
        }
    }

    #[cfg(not(unix))]
    async fn hear(&self, ready: &mpsc::Sender<io::Result<()>>, _: &Screen, _: EarlySignals) {
        drop(ready.send(Ok(())));
        let mut count = 0;
        while tokio::signal::ctrl_c().await.is_ok() {
            count += 1;
            self.note(INTERRUPTED, count);
        }
    }

    fn note(&self, code: u8, count: u32) {
        // The first one names the exit code.
        let _ = self.code.compare_exchange(0, code, Relaxed, Relaxed);
        self.came.add_permits(1);
        if count == 2 {
            let code = self.code.load(Relaxed);
            // Not being able to start it only means to wait for the orderly end.
            let _ = std::thread::Builder::new().spawn(move || {
                std::thread::sleep(LAST_RESORT);
                std::process::exit(i32::from(code));
            });
        }
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

/// Says how the run stands. On a thread of its own: a terminal that takes nothing must not keep
/// the other signals from being heard.
#[cfg(unix)]
fn tell(screen: &Screen) {
    let screen = screen.clone();
    let told = std::thread::Builder::new().spawn(move || {
        if let Some(line) = screen.snapshot() {
            // With stderr closed there is nobody to tell.
            let _ = screen.suspend(|| writeln!(io::stderr(), "{line}"));
        }
    });
    // No thread to be had: asking again costs nothing.
    drop(told);
}
