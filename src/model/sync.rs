//! What the threads of a run share, and how they wait. With `--cfg interleaved`, the same under a test
//! that tries other orders of their steps.

#[cfg(not(all(test, interleaved)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, interleaved)))]
pub(crate) use tokio::{sync::Notify, time::sleep_until};

#[cfg(all(test, interleaved))]
pub(crate) use interleaved::start_clock;
#[cfg(all(test, interleaved))]
pub(crate) use interleaved::{Notify, sleep_until, virtual_now};
#[cfg(all(test, interleaved))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

#[cfg(all(test, interleaved))]
mod interleaved {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use shuttle::future::yield_now;
    use shuttle::rand::{Rng, thread_rng};
    use shuttle_tokio::sync::{self, futures::Notified};

    thread_local! {
        /// All threads of such a test are one thread of the system.
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// Starts the clock of a test, which only jumps ahead.
    pub(crate) fn start_clock() {
        NOW.set(Some(Instant::now()));
    }

    /// Returns the time. As on a busy machine, some may have passed since the last call.
    pub(crate) fn virtual_now() -> Option<Instant> {
        let now = NOW.get()?;
        let passed = match thread_rng().gen_bool(0.1) {
            true => Duration::from_millis(thread_rng().gen_range(0..50)),
            false => Duration::ZERO,
        };
        NOW.set(Some(now + passed));
        NOW.get()
    }

    /// Returns after a few turns of other tasks, and moves the clock to at least `due`.
    pub(crate) async fn sleep_until(due: tokio::time::Instant) {
        for _ in 0..thread_rng().gen_range(0..4) {
            yield_now().await;
        }
        NOW.set(NOW.get().max(Some(due.into_std())));
    }

    /// Like tokio's, but any task that waits may be the last one.
    #[derive(Debug)]
    pub(crate) struct Notify(sync::Notify);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(sync::Notify::new())
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            self.0.notified()
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_last(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_waiters(&self) {
            self.0.notify_waiters();
        }
    }
}
