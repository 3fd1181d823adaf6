//! `--report FILE.html`: the run as one page for a browser, which loads nothing from anywhere.
//! It is as large for a million URLs as for ten thousand.

mod charts;
mod collect;
mod hosts;
mod latency;
mod page;
mod series;
mod waterfall;

use std::io;
use std::path::Path;

use crate::model::{Event, Summary};

use super::whole::WholeFile;
use super::{IsRunEnding, Reporter};

use collect::Collected;

/// Collects what the page shows, and writes it when the run has ended.
pub struct HtmlReport {
    file: WholeFile,
    collected: Collected,
    is_ending: IsRunEnding,
}

impl HtmlReport {
    /// The page will stand at `path`; what is there now stays until then. A pipe there is waited
    /// for until `is_ending`.
    ///
    /// # Errors
    /// When nothing can be created there.
    pub fn create(path: &Path, is_ending: IsRunEnding) -> io::Result<Self> {
        Ok(Self {
            is_ending,
            file: WholeFile::create(path)?,
            collected: Collected::default(),
        })
    }
}

impl Reporter for HtmlReport {
    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        self.collected.look(event);
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let page = page::render(&self.collected, summary)?;
        self.file.finish(page.as_bytes(), &*self.is_ending)
    }
}
