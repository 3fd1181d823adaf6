//! `--report FILE.html`: the run as one self-contained HTML page. Its size is bounded: a million
//! URLs take no more than ten thousand.

mod charts;
mod data;
mod hosts;
mod latency;
mod page;
mod series;
mod waterfall;

use std::io;
use std::path::Path;

use crate::model::{EndReason, EngineEvent, Summary};

use super::atomic_file::AtomicFile;
use super::{Reporter, SharedEndingCheck};

use data::ReportData;

/// Collects the data of the report and writes the page when the run has ended.
pub(crate) struct HtmlReport {
    file: AtomicFile,
    data: ReportData,
    /// Whether an existing file stays if the list has no URL.
    is_kept_if_empty: bool,
    is_ending: SharedEndingCheck,
    end_text: fn(EndReason) -> String,
}

impl HtmlReport {
    /// Prepares to write the page to `path` at the end of the run. An existing file stays until
    /// then, or for good if the list has no URL and `is_kept_if_empty`. Writing to a pipe waits for its reader until `is_ending` returns true.
    /// `end_text` says why the run ended early.
    ///
    /// # Errors
    /// If no file can be created there.
    pub(crate) fn create(
        path: &Path,
        is_kept_if_empty: bool,
        is_ending: SharedEndingCheck,
        end_text: fn(EndReason) -> String,
    ) -> io::Result<Self> {
        Ok(Self {
            is_kept_if_empty,
            is_ending,
            end_text,
            file: AtomicFile::create(path)?,
            data: ReportData::default(),
        })
    }
}

impl Reporter for HtmlReport {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        self.data.observe(event);
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.is_list_empty() && self.is_kept_if_empty {
            return Ok(());
        }
        let page = page::render(&self.data, summary, self.end_text)?;
        self.file.commit(page.as_bytes(), &*self.is_ending)
    }
}
