//! The data of the report, collected during the run in bounded memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{EngineEvent, ErrorKind, Outcome, SettledJob, elide_middle, escape_control};
use crate::report::row_sampler::RowSampler;

use super::hosts::HostStatsMap;
use super::latency::LatencyHistogram;
use super::series::{Series, TimeBucket};

/// Maximum number of rows of the waterfall.
const MAX_ROWS: usize = 120;
/// Maximum number of failures listed individually. All are counted by cause.
pub(super) const MAX_FAILURES: usize = 10_000;
/// Maximum number of causes counted separately.
const MAX_CAUSES: usize = 500;
/// Maximum length of a URL, a message or an input name, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// A URL that failed.
#[derive(Debug)]
pub(super) struct FailureEntry {
    /// Its input line: `urls.txt:12`.
    pub place: String,
    /// Its URL.
    pub url: String,
    /// Its error kind.
    pub kind: ErrorKind,
    /// The status of its response, if there was one.
    pub status: Option<u16>,
    /// Its error message.
    pub message: String,
    /// Number of requests.
    pub attempts: u32,
    /// When it failed, since the start of the run.
    pub at: Duration,
}

/// The data of the report.
#[derive(Debug)]
pub(super) struct ReportData {
    /// Jobs shown in the waterfall.
    pub rows: RowSampler,
    /// Counts over time.
    pub series: Series,
    /// Statistics per host.
    pub hosts: HostStatsMap,
    /// Time to connect.
    pub connect: LatencyHistogram,
    /// Time from the start of a request to the response head.
    pub first_byte: LatencyHistogram,
    /// Duration of the final request of each URL.
    pub final_request: LatencyHistogram,
    /// Time from the first request of each URL to the end of its last, including waits.
    pub total: LatencyHistogram,
    /// The first [`MAX_FAILURES`] failures.
    pub failures: Vec<FailureEntry>,
    /// Number of failures by cause.
    pub causes: HashMap<(ErrorKind, String), u64>,
    /// Number of failures with causes beyond [`MAX_CAUSES`].
    pub other_causes: u64,
    /// The first inputs, in order, as they are shown.
    pub inputs: Vec<String>,
    /// The input of the last record.
    last_input: String,
    /// When the first URL settled, as in its record.
    pub first_at: String,
    last: Duration,
}

impl Default for ReportData {
    fn default() -> Self {
        Self {
            rows: RowSampler::new(MAX_ROWS),
            series: Series::default(),
            hosts: HostStatsMap::default(),
            connect: LatencyHistogram::with_digits(3),
            first_byte: LatencyHistogram::with_digits(3),
            final_request: LatencyHistogram::with_digits(3),
            total: LatencyHistogram::with_digits(3),
            failures: Vec::new(),
            causes: HashMap::new(),
            other_causes: 0,
            inputs: Vec::new(),
            last_input: String::new(),
            first_at: String::new(),
            last: Duration::ZERO,
        }
    }
}

impl ReportData {
    /// Adds the data of an event.
    pub(super) fn observe(&mut self, event: &EngineEvent) {
        self.rows.observe(event);
        if let EngineEvent::Settled(settled) = event {
            self.add(settled);
        }
    }

    fn add(&mut self, settled: &SettledJob) {
        self.add_input(&settled.record.input);
        if self.first_at.is_empty() {
            self.first_at.clone_from(&settled.record.at);
        }
        self.add_times(settled);
        let mut counts = TimeBucket::default();
        match &settled.outcome {
            Outcome::Fetched(fetched) => {
                counts.fetched = 1;
                counts.bytes = fetched.saved.bytes;
            }
            Outcome::Failed(error) => {
                counts.failed = 1;
                self.add_failure(settled, error.kind());
            }
            Outcome::Skipped => {}
        }
        if let Some(last) = settled.traces.last() {
            self.last = last.end;
        }
        let has_host = match &settled.outcome {
            Outcome::Fetched(_) => true,
            Outcome::Failed(error) => error.kind() != ErrorKind::InvalidUrl,
            Outcome::Skipped => false,
        };
        if has_host {
            self.hosts.add(settled);
        }
        self.series.add(self.last, counts);
    }

    fn add_input(&mut self, input: &str) {
        const MAX_INPUTS: usize = 5;
        if self.last_input == input {
            return;
        }
        input.clone_into(&mut self.last_input);
        let name = if input == "-" { "stdin" } else { input };
        let name = elide_middle(&escape_control(name), MAX_TEXT_CHARS);
        if self.inputs.len() < MAX_INPUTS && !self.inputs.contains(&name) {
            self.inputs.push(name);
        }
    }

    fn add_times(&mut self, settled: &SettledJob) {
        for one in &settled.traces {
            self.series.add_busy(one.start, one.end);
            if let Some(connected) = one.connected {
                self.connect.add(connected.saturating_sub(one.start));
            }
            if let Some(head) = one.head {
                self.first_byte.add(head.saturating_sub(one.start));
            }
        }
        if let (Some(first), Some(last)) = (settled.traces.first(), settled.traces.last()) {
            self.final_request.add(last.took());
            self.total.add(last.end.saturating_sub(first.start));
        }
    }

    fn add_failure(&mut self, settled: &SettledJob, kind: ErrorKind) {
        let record = &settled.record;
        let message = record.error.as_ref().map_or("", |error| &error.message);
        let message = elide_middle(&escape_control(message), MAX_TEXT_CHARS);
        let cause = (kind, message.clone());
        if let Some(count) = self.causes.get_mut(&cause) {
            *count += 1;
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.insert(cause, 1);
        } else {
            self.other_causes += 1;
        }
        if self.failures.len() < MAX_FAILURES {
            let input = elide_middle(&escape_control(&record.input), MAX_TEXT_CHARS);
            self.failures.push(FailureEntry {
                place: format!("{input}:{}", record.line),
                url: elide_middle(&escape_control(&record.url), MAX_TEXT_CHARS),
                kind,
                status: record.status,
                message,
                attempts: record.attempts,
                at: settled.traces.last().map_or(self.last, |last| last.end),
            });
        }
    }
}
