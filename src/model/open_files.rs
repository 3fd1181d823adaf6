//! The limit on open files (`ulimit -n`). Once it is reached, opening a file waits: connections
//! and files of this process are closed all the time.

use std::io;
use std::time::{Duration, Instant};

/// Maximum wait for a file descriptor. Requests have their own timeouts and idle connections close
/// within seconds, so it is reached only if long bodies hold all descriptors.
pub(crate) const DESCRIPTOR_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between attempts to open a file. Short, because the wait blocks a thread.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Too many open files, in the system (`ENFILE`) and in the process (`EMFILE`). std has no kind
/// for them; the numbers are the same on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Whether the error means that the process or the system has too many open files.
#[must_use]
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(os_code(error), Some(ENFILE | EMFILE))
}

/// Returns the operating system's error code, also if a library wrapped the error to add a path.
fn os_code(error: &io::Error) -> Option<i32> {
    let below = || error.get_ref()?.source()?.downcast_ref::<io::Error>();
    error.raw_os_error().or_else(|| below()?.raw_os_error())
}

/// Returns how many files this process may have open; `None` means no limit.
#[cfg(unix)]
#[must_use]
pub(crate) fn allowed_descriptors() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    usize::try_from(getrlimit(Resource::Nofile).current?).ok()
}

/// Returns `None`: systems other than Unix have no such limit.
#[cfg(not(unix))]
#[must_use]
pub fn allowed_descriptors() -> Option<usize> {
    None
}

/// Opens a file, and waits until a descriptor is free. Blocks the thread, so it must not
/// be called on a thread that drives connections.
///
/// # Errors
/// Errors of `open`; "too many open files" only after [`DESCRIPTOR_TIMEOUT`].
pub(crate) fn open_when_free<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    open_within(DESCRIPTOR_TIMEOUT, open)
}

fn open_within<T>(limit: Duration, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match open() {
            Err(error) if is_out_of_descriptors(&error) && start.elapsed() < limit => {
                std::thread::sleep(RETRY_INTERVAL);
            }
            opened => return opened,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_descriptors_is_waited_for_and_not_forever() {
        let limit = RETRY_INTERVAL * 4;
        let mut attempts = 0;
        let mut fail = |code| {
            attempts = 0;
            let failed: io::Result<()> = open_within(limit, || {
                attempts += 1;
                Err(io::Error::from_raw_os_error(code))
            });
            (failed.unwrap_err().raw_os_error(), attempts)
        };
        let (error, attempts) = fail(EMFILE);
        assert!(error == Some(EMFILE) && attempts > 1, "{attempts}");
        assert_eq!(fail(2), (Some(2), 1));

        let mut codes = vec![ENFILE, EMFILE];
        let opened = open_when_free(|| match codes.pop() {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok("open"),
        });
        assert_eq!(opened.unwrap(), "open");
    }
}
