//! The threads that drive the sockets.

use std::io;
use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Runtime};

/// Up to this concurrency, one thread drives all requests. With several, work stealing costs 25 to
/// 33 % more CPU per URL, which pays off only where one core is not enough. (Reading lists, writing
/// results and saving bodies have their own threads.)
const SINGLE_THREAD_BELOW: usize = 256;

/// Builds a runtime for this many concurrent requests: with one thread, or with one per core.
///
/// # Errors
/// When the system cannot create a runtime, for want of threads or descriptors.
pub(crate) fn runtime(concurrency: NonZeroUsize) -> io::Result<Runtime> {
    let mut builder = if concurrency.get() <= SINGLE_THREAD_BELOW {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build()
}
