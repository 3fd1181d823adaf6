//! The threads that drive the sockets.

use std::io;
use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Runtime};

/// Up to so many requests at the same time one thread drives all of them. Several hand tasks
/// to each other, which costs a quarter to a third more CPU for each URL; that pays only where
/// one processor is not enough. (Reading lists, writing results and saving bodies have threads
/// of their own.)
const SINGLE_THREAD_BELOW: usize = 256;

/// A runtime for so many requests at the same time: one thread, or one for each processor.
///
/// # Errors
/// When the system gives no more threads.
pub fn runtime(concurrency: NonZeroUsize) -> io::Result<Runtime> {
    let mut builder = if concurrency.get() <= SINGLE_THREAD_BELOW {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build()
}
