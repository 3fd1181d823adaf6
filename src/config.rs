//! The options of a run: those of the engine and of every stage. Each options type defines its own
//! defaults.

#[cfg(feature = "cli")]
use std::io::Write;
use std::path::PathBuf;
#[cfg(feature = "cli")]
use std::sync::Arc;

use crate::engine::EngineOptions;
use crate::fetch::{FaultPlan, HttpOptions};
use crate::input::InputOptions;
#[cfg(feature = "cli")]
use crate::model::{CookieJar, EndReason};
use crate::model::{Record, Shard};
#[cfg(feature = "cli")]
use crate::report::{Screen, Template, TimelineStyle};
use crate::schedule::{LimitUpdates, RetryPolicy, ScheduleOptions};

/// All options of a run.
#[derive(Debug, Default)]
pub struct Config {
    /// The inputs and their format.
    pub input: InputOptions,
    /// Concurrency, and the limits of an attempt.
    pub engine: EngineOptions,
    /// Limits per host.
    pub schedule: ScheduleOptions,
    /// What to retry, and after which backoff.
    pub retry: RetryPolicy,
    /// How requests are made.
    pub http: HttpOptions,
    /// Faults to inject; `None`: no faults.
    pub faults: Option<FaultPlan>,
    /// Where bodies are saved, and how earlier runs are resumed.
    pub save: SaveOptions,
    /// Where results go.
    pub report: ReportOptions,
    /// Where new limits come from while it runs.
    pub limit_updates: Option<LimitUpdates>,
}

/// Where bodies are saved, and how earlier runs are resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The directory for one file per body, and for the journal `fetchall.jsonl`.
    pub dir: Option<PathBuf>,
    /// The file for all bodies: a WARC, if its name ends in `.warc` or `.warc.gz`, or a `.tar` of
    /// samples.
    pub pack: Option<PathBuf>,
    /// Length of a pack from which the next one is begun, if `pack` has `{n}` in its name for their
    /// number. 1 GB by default.
    pub pack_size: Option<u64>,
    /// Whether a CDXJ index, as pywb reads it, is written beside each pack. Not for a tar.
    pub cdxj: bool,
    /// The kept column that a tar has as text beside each body.
    pub caption_column: Option<String>,
    /// What is done with each finished pack of such a series.
    #[cfg(feature = "cli")]
    pub pack_done: Option<PackCommand>,
    /// Whether the pack has only fetched bodies, without redirects and failed responses. A tar has no
    /// others.
    pub pack_only_fetched: bool,
    /// The journal of a run that saves no bodies, or of a pack. The default for a pack is its name
    /// with `.jsonl` appended.
    pub journal: Option<PathBuf>,
    /// Whether to send conditional requests for what earlier runs have saved, instead of skipping
    /// it.
    pub refresh: bool,
    /// Whether a file gets the modification time that its response gives as `Last-Modified`.
    pub remote_time: bool,
    /// Whether bodies and journal are flushed to disk before a URL counts as done.
    pub sync: bool,
    /// The shard whose results the journal has. Derived from the input.
    pub shard: Option<Shard>,
}

/// Length of a pack in a series, unless it is set, in bytes.
pub(crate) const DEFAULT_PACK_BYTES: u64 = 1_000_000_000;

/// A command to run for each finished pack.
#[cfg(feature = "cli")]
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PackCommand {
    /// The command, for the shell.
    pub command: String,
    /// Changes to its environment; variables without a value are removed.
    pub variables: Vec<(String, Option<String>)>,
}

#[cfg(feature = "cli")]
impl std::fmt::Debug for PackCommand {
    /// Shows neither: a secret may be in both.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackCommand(…)")
    }
}

/// Format of the results.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResultFormat {
    /// Aligned lines of text.
    #[default]
    Text,
    /// Aligned lines of text, in colour.
    ColorText,
    /// JSON Lines: one record per line.
    Json,
    /// CSV: a header row, then one row per URL. The names are columns of the input that become
    /// columns of their own, `*` for all.
    Csv(Vec<String>),
    /// Text rendered from a template.
    Template(Template),
}

/// Called with each record: [`ReportOptions::on_record`].
pub type RecordCallback = Box<dyn FnMut(&Record) + Send>;

/// Where results go.
#[derive(Default)]
pub struct ReportOptions {
    /// The format of the results and the stream they are written to; `None`: not written.
    #[cfg(feature = "cli")]
    pub results: Option<(ResultFormat, Box<dyn Write + Send>)>,
    /// Whether results are terminated with NUL instead of a line feed.
    #[cfg(feature = "cli")]
    pub print0: bool,
    /// Called with each record, on the thread that writes the results. A slow callback slows down
    /// the run.
    pub on_record: Option<RecordCallback>,
    /// Whether results are written in input order. At most [`order_window`](Self::order_window)
    /// are held back.
    pub ordered: bool,
    /// Whether records include the body.
    pub body: bool,
    /// The stream for warnings and other notices; stderr in the program.
    #[cfg(feature = "cli")]
    pub notices: Option<Box<dyn Write + Send>>,
    /// The file for the input lines that failed.
    #[cfg(feature = "cli")]
    pub failed: Option<PathBuf>,
    /// Whether those lines are terminated with NUL, as in a NUL-separated input.
    #[cfg(feature = "cli")]
    pub failed_with_nul: bool,
    /// The jar whose cookies are written when the run ends, and the file for them.
    #[cfg(feature = "cli")]
    pub cookie_jar: Option<(PathBuf, Arc<CookieJar>)>,
    /// The file for the HTML report.
    #[cfg(feature = "cli")]
    pub page: Option<PathBuf>,
    /// Of the files in `failed`, `cookie_jar` and `page`, those to leave as they are if the list has no
    /// URL.
    #[cfg(feature = "cli")]
    pub kept_if_empty: Vec<PathBuf>,
    /// The style of the timeline that is drawn after the run, and the stream for it.
    #[cfg(feature = "cli")]
    pub timeline: Option<(TimelineStyle, Box<dyn Write + Send>)>,
    /// The progress display.
    #[cfg(feature = "cli")]
    pub screen: Option<Screen>,
    /// Whether results go to the terminal that shows the progress.
    #[cfg(feature = "cli")]
    pub shares_screen: bool,
    /// Says in the HTML report why the run ended early. By default as [`EndReason`] displays it.
    #[cfg(feature = "cli")]
    pub end_text: Option<fn(EndReason) -> String>,
}

impl ReportOptions {
    /// Whether a report needs the timing of each attempt.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn needs_traces(&self) -> bool {
        self.timeline.is_some() || self.page.is_some()
    }

    /// Returns the maximum number of records that `ordered` holds back before reading pauses. It is
    /// lower with `body`, where each record may take megabytes.
    #[must_use]
    pub fn order_window(&self) -> usize {
        if self.body { 1_000 } else { 100_000 }
    }
}

impl std::fmt::Debug for ReportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportOptions")
            .field("ordered", &self.ordered)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
