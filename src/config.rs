//! The options of a run: those of the engine and of every stage. A default is written
//! once, next to what it is for.

use std::io::Write;
use std::path::PathBuf;

use crate::engine::EngineOptions;
use crate::fetch::{FaultPlan, HttpOptions};
use crate::input::InputOptions;
use crate::model::Record;
use crate::report::{Screen, Template, TimelineStyle};
use crate::schedule::{RetryPolicy, ScheduleOptions};

/// Everything that can be set about a run.
#[derive(Debug, Default)]
pub struct Config {
    /// What to read.
    pub input: InputOptions,
    /// How many at once, and the limits of an attempt.
    pub engine: EngineOptions,
    /// Limits for each host.
    pub schedule: ScheduleOptions,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How requests are made.
    pub http: HttpOptions,
    /// Faults to rehearse.
    pub faults: Option<FaultPlan>,
    /// Where bodies are saved, and what is remembered of the runs before.
    pub save: SaveOptions,
    /// Where results go.
    pub report: ReportOptions,
}

/// Where bodies are saved, and what is remembered of the runs before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The folder that gets a file for each body, and the journal `fetchall.jsonl`.
    pub dir: Option<PathBuf>,
    /// The WARC file that gets all bodies; its name ends in `.warc` or `.warc.gz`.
    pub pack: Option<PathBuf>,
    /// The journal of a run that saves no bodies, or packs them: then it is the name of the pack
    /// with `.jsonl` behind it unless another one is named.
    pub journal: Option<PathBuf>,
    /// Ask the servers what has changed of what earlier runs have saved.
    pub refresh: bool,
    /// Bodies and journal survive a power cut before a URL counts as done.
    pub sync: bool,
}

/// How results are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResultFormat {
    /// Aligned lines for people.
    #[default]
    Text,
    /// The same in colour.
    ColorText,
    /// A JSON record a line.
    Json,
    /// A table: a row of names, then a row for each URL.
    Csv,
    /// As a template says.
    Template(Template),
}

/// Takes records one by one: [`ReportOptions::on_record`].
pub type RecordCallback = Box<dyn FnMut(&Record) + Send>;

/// Where results go.
#[derive(Default)]
pub struct ReportOptions {
    /// The stream results are written to, and how; `None`: nowhere.
    pub results: Option<(ResultFormat, Box<dyn Write + Send>)>,
    /// A NUL stands after each result, instead of a line feed.
    pub print0: bool,
    /// Called with every record, on the thread that writes the results. The run goes on
    /// only as fast as it comes back.
    pub on_record: Option<RecordCallback>,
    /// Results in input order. At most [`order_window`](Self::order_window) are held back.
    pub ordered: bool,
    /// Bodies in the records.
    pub body: bool,
    /// Where people are told what is going on, apart from results: stderr, for the program.
    pub notices: Option<Box<dyn Write + Send>>,
    /// The file that gets the failing lines.
    pub failed: Option<PathBuf>,
    /// A NUL stands after each of them, as in the list they are from.
    pub failed_with_nul: bool,
    /// The run as a picture after it has ended, and where that goes.
    pub timeline: Option<(TimelineStyle, Box<dyn Write + Send>)>,
    /// The page for a browser that tells of the run.
    pub page: Option<PathBuf>,
    /// Where progress is shown, if it is.
    pub screen: Option<Screen>,
    /// Results go to the terminal that progress is shown on.
    pub shares_screen: bool,
}

impl ReportOptions {
    /// Records that `ordered` holds back at most before reading pauses: fewer when each
    /// may carry megabytes.
    #[must_use]
    pub fn order_window(&self) -> usize {
        if self.body { 1_000 } else { 100_000 }
    }
}

impl std::fmt::Debug for ReportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportOptions")
            .field("format", &self.results.as_ref().map(|(format, _)| format))
            .field("ordered", &self.ordered)
            .field("body", &self.body)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
