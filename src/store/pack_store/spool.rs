//! Temporary files of a pack, in its directory.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::model::open_when_free;

/// Creates an unnamed temporary file, which disappears when closed, even if the process is killed.
pub(super) fn spool_file(dir: &Path) -> io::Result<File> {
    open_when_free(|| tempfile::tempfile_in(dir))
}
