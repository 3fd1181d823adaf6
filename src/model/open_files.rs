//! The limit on open files (`ulimit -n`). Where it is reached, whatever opens one waits: connections
//! and files of ours are closed all the time.

use std::io;
use std::time::{Duration, Instant};

/// What can be done about it.
pub const OPEN_FILES_HINT: &str = "this machine allows no more: raise ulimit -n, or lower -j";
/// Longest wait for a descriptor. Requests end by clocks of their own and idle connections after
/// seconds, so this passes only where long bodies hold all descriptors.
pub const DESCRIPTOR_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two tries to open a file: it holds up a thread, and is over soon.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// No more open files, for the system and for the process. std has no kind for them; the numbers
/// are the same on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Whether this process, or the system, may have no more open files.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(os_code(error), Some(ENFILE | EMFILE))
}

/// What the system said, also where a library has put a path around it.
fn os_code(error: &io::Error) -> Option<i32> {
    let below = || error.get_ref()?.source()?.downcast_ref::<io::Error>();
    error.raw_os_error().or_else(|| below()?.raw_os_error())
}

/// How many files this process may have open; `None`: the system sets no limit.
#[cfg(unix)]
#[must_use]
pub fn allowed_descriptors() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    usize::try_from(getrlimit(Resource::Nofile).current?).ok()
}

/// Other systems have no such limit.
#[cfg(not(unix))]
#[must_use]
pub fn allowed_descriptors() -> Option<usize> {
    None
}

/// Opens a file, and waits for a descriptor where there is none. Blocks its thread, so not for one
/// that serves connections.
///
/// # Errors
/// Those of `open`; that there are too many open files only after a minute.
pub fn open_when_free<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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
    fn only_a_lack_of_descriptors_is_waited_for_and_not_for_ever() {
        let limit = RETRY_INTERVAL * 4;
        let mut tries = 0;
        let mut fail = |code| {
            tries = 0;
            let failed: io::Result<()> = open_within(limit, || {
                tries += 1;
                Err(io::Error::from_raw_os_error(code))
            });
            (failed.unwrap_err().raw_os_error(), tries)
        };
        let (error, tries) = fail(EMFILE);
        assert!(error == Some(EMFILE) && tries > 1, "{tries}");
        assert_eq!(fail(2), (Some(2), 1));

        let mut codes = vec![ENFILE, EMFILE];
        let opened = open_when_free(|| match codes.pop() {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok("open"),
        });
        assert_eq!(opened.unwrap(), "open");
    }
}
