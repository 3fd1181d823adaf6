//! Reporters turn engine events into output lines and files; the pump feeds them. The progress
//! display is no reporter: it reads the run's live counters.

#[cfg(feature = "cli")]
mod atomic_file;
#[cfg(feature = "cli")]
mod cookie_file;
#[cfg(feature = "cli")]
mod csv;
#[cfg(feature = "cli")]
mod failed;
#[cfg(feature = "cli")]
mod fields;
#[cfg(feature = "cli")]
mod findings;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "cli")]
mod html;
mod journal;
#[cfg(feature = "cli")]
mod jsonl;
#[cfg(feature = "cli")]
mod merge;
#[cfg(feature = "cli")]
mod notices;
#[cfg(feature = "cli")]
mod output;
#[cfg(feature = "cli")]
mod progress;
mod pump;
mod reorder;
#[cfg(feature = "cli")]
mod row_sampler;
#[cfg(feature = "cli")]
mod shard_sizes;
#[cfg(feature = "cli")]
mod stream;
#[cfg(feature = "cli")]
mod summary;
#[cfg(feature = "cli")]
mod template;
#[cfg(feature = "cli")]
mod text;
#[cfg(feature = "cli")]
mod timeline;

use std::io;

use crate::model::{EngineEvent, Summary};

pub use journal::JournalError;
pub(crate) use journal::{Journal, JournalContents, JournalNotes, JournalReader, PastRecord};
pub use pump::ReportError;
pub(crate) use pump::{Pump, PumpEnd, RunningPump};

// What only the program needs.
#[cfg(feature = "cli")]
pub use {
    atomic_file::AtomicFile,
    progress::{ProgressStyle, Screen},
    summary::render as render_summary,
    template::{Template, TemplateError},
    timeline::TimelineStyle,
};
#[cfg(feature = "cli")]
pub(crate) use {
    cookie_file::CookieFile, csv::CsvReporter, failed::FailedLines, findings::FindingWriter,
    html::HtmlReport, jsonl::JsonlReporter, merge::JournalMerge, notices::NoticeReporter,
    output::Output, progress::Progress, shard_sizes::LARGEST_HOSTS, shard_sizes::largest_hosts,
    shard_sizes::shard_counts, shard_sizes::shard_sizes, stream::SharedEndingCheck,
    template::TemplateReporter, text::TextReporter, timeline::Timeline,
};

/// Receives the events of a run. All reporters run on one dedicated thread behind a bounded queue,
/// so a slow reporter slows the run down instead of filling memory.
pub(crate) trait Reporter: Send {
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
