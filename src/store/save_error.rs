//! Maps I/O errors of the stores to `save` errors.

use std::io;

use crate::model::{Cause, FetchError, Hint, chain_text, is_out_of_descriptors};

/// Returns the error for a failed write to `path`. It ends the run if it `affects_all` bodies. A
/// full, read-only or over-quota disk always does; too many open files never do, since others get
/// closed.
pub(super) fn save_error(path: &str, error: &io::Error, affects_all: bool) -> FetchError {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    );
    let is_temporary = is_out_of_descriptors(error);
    let cause = Cause::from_text(format!("{path}: {}", chain_text(error)));
    FetchError::Save {
        cause: cause.with_hint(is_temporary.then_some(Hint::RaiseOpenFiles)),
        ends_run: is_full || (affects_all && !is_temporary),
    }
}

/// Returns the error for a write to `path` that did not finish in time. It ends the run.
pub(super) fn save_timeout(path: &str) -> FetchError {
    FetchError::Save {
        cause: Cause::from_text(format!("{path}: write did not finish in time")),
        ends_run: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_run_and_too_many_open_files_do_not() {
        let ends = |error: io::Error, affects_all| match save_error("x", &error, affects_all) {
            FetchError::Save { ends_run, .. } => ends_run,
            other => panic!("{other}"),
        };
        assert!(ends(io::ErrorKind::StorageFull.into(), false));
        assert!(!ends(io::ErrorKind::PermissionDenied.into(), false));
        assert!(ends(io::ErrorKind::PermissionDenied.into(), true));
        #[cfg(unix)]
        {
            let code = rustix::io::Errno::MFILE.raw_os_error();
            let too_many = || io::Error::from_raw_os_error(code);
            assert!(!ends(too_many(), true));
            let hint = save_error("x", &too_many(), true).hint();
            assert_eq!(hint, Some(Hint::RaiseOpenFiles));
        }
    }
}
