//! From events to lines, files and a display: reporters, and the pump that feeds them.

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

/// Takes what the engine says. Reporters run on one thread of their own, so a slow one
/// slows the run down instead of filling memory.
pub trait Reporter: Send {
    /// Something happened.
    ///
    /// # Errors
    /// When it can't be reported; the run is then wound down.
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()>;

    /// Nothing more is waiting at the moment: what is held in buffers goes out.
    ///
    /// # Errors
    /// When it can't be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The run is over.
    ///
    /// # Errors
    /// When it can't be written.
    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
        self.flush()
    }
}
