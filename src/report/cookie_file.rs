//! `--cookie-jar FILE`: the cookies of the run, written when it ends.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::atomic_file::AtomicFile;
use super::{Reporter, SharedEndingCheck};
use crate::model::{CookieJar, EngineEvent, Summary};

/// Writes the cookies of a jar to a file that only its owner can read.
pub(crate) struct CookieFile {
    file: AtomicFile,
    jar: Arc<CookieJar>,
    /// Whether an existing file stays if the list has no URL.
    is_kept_if_empty: bool,
    is_ending: SharedEndingCheck,
}

impl CookieFile {
    /// Prepares to write to `path` at the end of the run. An existing file stays until then, or for
    /// good if the list has no URL and `is_kept_if_empty`. Writing to a pipe waits for its reader
    /// until `is_ending` returns true.
    ///
    /// # Errors
    /// If no file can be created there.
    pub(crate) fn create(
        path: &Path,
        jar: Arc<CookieJar>,
        is_kept_if_empty: bool,
        is_ending: SharedEndingCheck,
    ) -> io::Result<Self> {
        Ok(Self {
            file: AtomicFile::create_private(path)?,
            jar,
            is_kept_if_empty,
            is_ending,
        })
    }
}

impl Reporter for CookieFile {
    fn on_event(&mut self, _: &EngineEvent) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.is_list_empty() && self.is_kept_if_empty {
            return Ok(());
        }
        self.file.commit(&self.jar.render(), &*self.is_ending)
    }
}
