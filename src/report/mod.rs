//! From events to lines, files and a display: reporters, and the pump that feeds them.

mod csv;
mod failed;
mod fields;
#[cfg(test)]
mod fuzz;
mod html;
mod journal;
mod jsonl;
mod notices;
mod ordered;
mod output;
mod progress;
mod pump;
mod rows;
mod stream;
mod summary;
mod template;
mod text;
mod timeline;
mod whole;

use std::io;

use crate::model::{Event, Summary};

pub use csv::Csv;
pub use failed::FailedLines;
pub use html::HtmlReport;
pub use journal::{Found, Journal, JournalError, JournalReader, PastRecord};
pub use jsonl::JsonLines;
pub use notices::Notices;
pub use output::Output;
pub use progress::{Progress, ProgressStyle, Screen};
pub use pump::{Pump, PumpEnd, ReportError};
pub use stream::IsRunEnding;
pub use summary::render as render_summary;
pub use template::{Template, TemplateError, Templated};
pub use text::TextLines;
pub use timeline::{Timeline, TimelineStyle};
pub use whole::WholeFile;

/// Takes what the engine says. Reporters run on one thread of their own, so a slow one
/// slows the run down instead of filling memory.
pub trait Reporter: Send {
    /// Something happened.
    ///
    /// # Errors
    /// When it can't be reported; the run is then wound down.
    fn on_event(&mut self, event: &Event) -> io::Result<()>;

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
