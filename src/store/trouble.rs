//! What it means that something can't be written.

use std::io;

use crate::model::{Cause, FetchError, chain_text};

/// Why something could not be saved. What `concerns_all` ends the run; a full disk does in any
/// case, and too many open files never do: others will be closed.
pub fn failed(path: &str, error: &io::Error, concerns_all: bool) -> FetchError {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    );
    FetchError::Save {
        cause: Cause::words(format!("{path}: {}", chain_text(error))),
        ends_run: is_full || (concerns_all && !is_passing(error)),
    }
}

/// What was being written has not come to its end in time.
pub fn stuck(path: &str) -> FetchError {
    FetchError::Save {
        cause: Cause::words(format!(
            "{path}: what was being written there did not come to its end in time"
        )),
        ends_run: true,
    }
}

#[cfg(unix)]
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .contains(&code.unwrap_or_default())
}

#[cfg(not(unix))]
fn is_passing(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_run_and_too_many_open_files_do_not() {
        let ends = |error: io::Error, concerns_all| match failed("x", &error, concerns_all) {
            FetchError::Save { ends_run, .. } => ends_run,
            other => panic!("{other}"),
        };
        assert!(ends(io::ErrorKind::StorageFull.into(), false));
        assert!(!ends(io::ErrorKind::PermissionDenied.into(), false));
        assert!(ends(io::ErrorKind::PermissionDenied.into(), true));
        #[cfg(unix)]
        {
            let code = rustix::io::Errno::MFILE.raw_os_error();
            assert!(!ends(io::Error::from_raw_os_error(code), true));
        }
    }
}
