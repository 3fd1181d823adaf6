//! The threads that drive the sockets. (Reading lists, writing results and saving bodies have their
//! own.)

use std::io;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// Up to this concurrency, `auto` is one thread: more of them have more connections to open, and one
/// core suffices for most networks.
const SINGLE_THREAD_UP_TO: usize = 256;
/// Requests that a thread of `auto` has at least.
const REQUESTS_PER_THREAD: usize = 128;

/// The value of `--threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadCount {
    /// As many as cores, or fewer for few requests.
    Auto,
    /// This many.
    Fixed(NonZeroUsize),
}

impl ThreadCount {
    /// Returns the number of threads for this many concurrent requests.
    #[must_use]
    pub(crate) fn number(self, concurrency: NonZeroUsize) -> NonZeroUsize {
        let most = match self {
            Self::Fixed(number) => return number.min(concurrency),
            Self::Auto if concurrency.get() <= SINGLE_THREAD_UP_TO => 1,
            Self::Auto => concurrency.get() / REQUESTS_PER_THREAD,
        };
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        NonZeroUsize::new(most).map_or(cores, |most| most.min(cores))
    }
}

/// Builds the runtime of the main thread. The engine starts the other threads.
///
/// # Errors
/// When the system cannot create a runtime, for want of threads or descriptors.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_suits_that_of_requests() {
        let n = |number| NonZeroUsize::new(number).unwrap();
        assert_eq!(ThreadCount::Auto.number(n(256)), n(1));
        let cores = available_parallelism().unwrap();
        assert_eq!(ThreadCount::Auto.number(n(257)), n(2).min(cores));
        assert_eq!(ThreadCount::Auto.number(n(10_000)), n(78).min(cores));
        assert_eq!(ThreadCount::Fixed(n(3)).number(n(2)), n(2));
        assert_eq!(ThreadCount::Fixed(n(3)).number(n(64)), n(3));
    }
}
