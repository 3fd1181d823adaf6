//! `--summary-json FILE`: the counts of a run for machines.

use std::io;
use std::path::Path;

use super::Reporter;
use super::whole::WholeFile;
use crate::model::{Event, Summary};

/// Writes the summary when the run has ended.
pub struct SummaryFile(WholeFile);

impl SummaryFile {
    /// It will stand at `path`; what is there now stays until then.
    ///
    /// # Errors
    /// When nothing can be created there.
    pub fn create(path: &Path) -> io::Result<Self> {
        WholeFile::create(path).map(Self)
    }
}

impl Reporter for SummaryFile {
    fn on_event(&mut self, _event: &Event) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.0.finish(format!("{}\n", summary.json()).as_bytes())
    }
}
