//! `--report FILE.html`: the run as one page for a browser, which loads nothing from anywhere.
//! It is as large for a million URLs as for ten thousand.

mod charts;
mod data;
mod hosts;
mod latency;
mod page;
mod series;
mod waterfall;

use std::io;
use std::path::Path;

use crate::model::{EngineEvent, Summary};

use super::atomic_file::AtomicFile;
use super::{Reporter, SharedEndingCheck};

use data::ReportData;

/// Collects what the page shows, and writes it when the run has ended.
pub struct HtmlReport {
    file: AtomicFile,
    collected: ReportData,
    is_ending: SharedEndingCheck,
}

impl HtmlReport {
    /// The page will stand at `path`; what is there now stays until then. A pipe there is waited
    /// for until `is_ending`.
    ///
    /// # Errors
    /// When nothing can be created there.
    pub fn create(path: &Path, is_ending: SharedEndingCheck) -> io::Result<Self> {
        Ok(Self {
            is_ending,
            file: AtomicFile::create(path)?,
            collected: ReportData::default(),
        })
    }
}

impl Reporter for HtmlReport {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        self.collected.observe(event);
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let page = page::render(&self.collected, summary)?;
        self.file.commit(page.as_bytes(), &*self.is_ending)
    }
}
