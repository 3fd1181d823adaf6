//! Reporters turn engine events into output lines, files and a progress display; the pump feeds
//! them.

mod atomic_file;
mod csv;
mod failed;
mod fields;
#[cfg(test)]
mod fuzz;
mod html;
mod journal;
mod jsonl;
mod notices;
mod output;
mod progress;
mod pump;
mod reorder;
mod row_sampler;
mod stream;
mod summary;
mod template;
mod text;
mod timeline;

use std::io;

use crate::model::{EngineEvent, Summary};

pub use atomic_file::AtomicFile;
pub use csv::CsvReporter;
pub use failed::FailedLines;
pub use html::HtmlReport;
pub use journal::{Journal, JournalContents, JournalError, JournalReader, PastRecord};
pub use jsonl::JsonlReporter;
pub use notices::NoticeReporter;
pub use output::Output;
pub use progress::{Progress, ProgressStyle, Screen};
pub use pump::{Pump, PumpEnd, ReportError};
pub use stream::SharedEndingCheck;
pub use summary::render as render_summary;
pub use template::{Template, TemplateError, TemplateReporter};
pub use text::TextReporter;
pub use timeline::{Timeline, TimelineStyle};

/// Receives the events of a run. All reporters run on one dedicated thread behind a bounded queue,
/// so a slow reporter slows the run down instead of filling memory.
pub trait Reporter: Send {
    /// Reports one event.
    ///
    /// # Errors
    /// If the event cannot be written; the run is then wound down.
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()>;

    /// Writes out buffered data. Called after each batch of events.
    ///
    /// # Errors
    /// If the data cannot be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Completes the output after the last event.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
        self.flush()
    }
}
