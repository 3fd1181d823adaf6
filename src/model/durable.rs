//! Names that survive a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

/// Returns the directory of a file.
#[must_use]
pub(crate) fn dir_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the name of a file durable: syncing the file itself need not do that (fsync(2)).
///
/// # Errors
/// If the system cannot sync its directory. Some file systems have nothing to sync there.
pub(crate) fn sync_name(file: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(dir_of(file))?.sync_all() {
        Err(error) if is_needless(error.kind()) => Ok(()),
        synced => synced,
    }
}

fn is_needless(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}
