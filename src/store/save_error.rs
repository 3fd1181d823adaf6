//! What it means that something can't be written.

use std::io;

use crate::model::{Cause, FetchError, OPEN_FILES_HINT, chain_text, is_out_of_descriptors};

/// Why something could not be saved. What `concerns_all` ends the run; a full disk does in any
/// case, and too many open files never do: others will be closed.
pub fn save_error(path: &str, error: &io::Error, concerns_all: bool) -> FetchError {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    );
    let is_passing = is_out_of_descriptors(error);
    let text = match is_passing {
        true => format!("{path}: {}; {OPEN_FILES_HINT}", chain_text(error)),
        false => format!("{path}: {}", chain_text(error)),
    };
    FetchError::Save {
        cause: Cause::from_text(text),
        ends_run: is_full || (concerns_all && !is_passing),
    }
}

/// What was being written has not come to its end in time.
pub fn save_timeout(path: &str) -> FetchError {
    FetchError::Save {
        cause: Cause::from_text(format!(
            "{path}: what was being written there did not come to its end in time"
        )),
        ends_run: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_the_run_and_too_many_open_files_do_not() {
        let ends = |error: io::Error, concerns_all| match save_error("x", &error, concerns_all) {
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
            let text = save_error("x", &too_many(), true).to_string();
            assert!(text.contains("ulimit -n"), "{text}");
        }
    }
}
