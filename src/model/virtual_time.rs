//! Simulated runs: one thread, and a clock that only jumps ahead.
//!
//! While a thread holds a [`VirtualTime`], its runs start no thread of their own and read the wall
//! clock from tokio's paused one, so that the same seed gives the same run to the byte.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The wall clock at the start of each simulated run, in seconds since 1970.
const EPOCH: u64 = 1_800_000_000;

thread_local! {
    static START: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    static LEAKS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Makes the runs of this thread simulated ones until dropped.
pub(crate) struct VirtualTime(());

impl VirtualTime {
    /// Starts a simulated run `passed` after the first one, in a runtime whose clock is paused.
    pub(crate) fn start(passed: Duration) -> Self {
        START.set(Some((Instant::now(), passed)));
        LEAKS.take();
        Self(())
    }

    /// Takes what was reported as left over at the end of a run.
    pub(crate) fn leaks() -> Vec<String> {
        LEAKS.take()
    }
}

impl Drop for VirtualTime {
    fn drop(&mut self) {
        START.set(None);
    }
}

/// Whether the runs of this thread are simulated.
pub(crate) fn is_virtual() -> bool {
    START.get().is_some()
}

/// Reports what should have been returned when a run is over, and was not.
pub(crate) fn report_leak(what: String) {
    if is_virtual() {
        LEAKS.with_borrow_mut(|leaks| leaks.push(what));
    }
}

/// Returns the wall clock of a simulated run.
pub(super) fn virtual_wall_time() -> Option<SystemTime> {
    let (start, passed) = START.get()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH) + passed + start.elapsed())
}
