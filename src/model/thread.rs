//! Starts threads of the program's own.

use std::error::Error;
use std::io;
use std::thread;

use tokio::task::JoinHandle;

/// The system does not start a thread, mostly because of a limit on their number.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread: {0}")]
struct ThreadError(io::Error);

/// Starts a thread that nobody joins.
///
/// # Errors
/// If the system does not start it; [`is_thread_error`] recognizes that.
pub(crate) fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map(drop).map_err(no_thread)
}

/// Starts blocking work on a thread of the runtime. A simulated run does it on its only thread.
pub(crate) fn spawn_blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    #[cfg(test)]
    if super::virtual_time::is_virtual() {
        return tokio::spawn(async move { work() });
    }
    tokio::task::spawn_blocking(work)
}

/// Returns the error of a thread that does not start.
pub(crate) fn no_thread(cause: io::Error) -> io::Error {
    io::Error::new(cause.kind(), ThreadError(cause))
}

/// Whether an I/O error is that of a thread that does not start.
#[cfg(feature = "cli")]
#[must_use]
pub fn is_thread_error(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| (inner as &(dyn Error + 'static)).is::<ThreadError>())
}
