//! What the page shows, collected while the run goes on, in bounded memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{EngineEvent, ErrorKind, Outcome, SettledJob, elide_middle, escape_control};
use crate::report::row_sampler::RowSampler;

use super::hosts::HostStatsMap;
use super::latency::LatencyHistogram;
use super::series::{Series, TimeBucket};

/// Rows of the waterfall.
const MAX_ROWS: usize = 120;
/// Failures that are listed one by one. All are counted by cause.
pub const MAX_FAILURES: usize = 10_000;
/// Causes that are told apart.
const MAX_CAUSES: usize = 500;
/// Characters of a URL, and of a message, that are kept.
const MAX_TEXT_CHARS: usize = 300;

/// A URL that failed.
#[derive(Debug)]
pub struct FailureEntry {
    /// Where its line stood: `urls.txt:12`.
    pub place: String,
    /// Its URL.
    pub url: String,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The status it was answered with, if it was.
    pub status: Option<u16>,
    /// Why, down to the last cause.
    pub message: String,
    /// Requests for it.
    pub attempts: u32,
    /// When it was given up, since the run began.
    pub at: Duration,
}

/// What the page shows.
#[derive(Debug)]
pub struct ReportData {
    /// Jobs with a row of their own.
    pub rows: RowSampler,
    /// The run over time.
    pub series: Series,
    /// What became of each host.
    pub hosts: HostStatsMap,
    /// Making connections.
    pub connect: LatencyHistogram,
    /// From the begin of a request to the head of its response.
    pub first_byte: LatencyHistogram,
    /// Whole requests, those that decided.
    pub whole: LatencyHistogram,
    /// URLs from their first request to their end, waits included.
    pub total: LatencyHistogram,
    /// The first failures.
    pub failures: Vec<FailureEntry>,
    /// Failures by cause.
    pub causes: HashMap<(ErrorKind, String), u64>,
    /// Failures of causes for which there was no room.
    pub other_causes: u64,
    /// The input files, in the order in which they came.
    pub inputs: Vec<String>,
    /// When the first URL was settled, as its record says.
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
            whole: LatencyHistogram::with_digits(3),
            total: LatencyHistogram::with_digits(3),
            failures: Vec::new(),
            causes: HashMap::new(),
            other_causes: 0,
            inputs: Vec::new(),
            first_at: String::new(),
            last: Duration::ZERO,
        }
    }
}

impl ReportData {
    /// Looks at what happened.
    pub fn observe(&mut self, event: &EngineEvent) {
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
        let mut step = TimeBucket::default();
        match &settled.outcome {
            Outcome::Fetched(fetched) => {
                step.fetched = 1;
                step.bytes = fetched.saved.bytes;
            }
            Outcome::Failed(error) => {
                step.failed = 1;
                self.add_failure(settled, error.kind());
            }
            Outcome::Skipped => {}
        }
        if let Some(last) = settled.tries.last() {
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
        self.series.add(self.last, step);
    }

    fn add_input(&mut self, input: &str) {
        const SINGLE_ROWS: usize = 5;
        let is_known = self.inputs.last().is_some_and(|last| last == input);
        if !is_known
            && self.inputs.len() < SINGLE_ROWS
            && !self.inputs.iter().any(|one| one == input)
        {
            let name = if input == "-" { "stdin" } else { input };
            self.inputs
                .push(elide_middle(&escape_control(name), MAX_TEXT_CHARS));
        }
    }

    fn add_times(&mut self, settled: &SettledJob) {
        for one in &settled.tries {
            self.series.add_busy(one.start, one.end);
            if let Some(connected) = one.connected {
                self.connect.add(connected.saturating_sub(one.start));
            }
            if let Some(head) = one.head {
                self.first_byte.add(head.saturating_sub(one.start));
            }
        }
        if let (Some(first), Some(last)) = (settled.tries.first(), settled.tries.last()) {
            self.whole.add(last.took());
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
                at: settled.tries.last().map_or(self.last, |last| last.end),
            });
        }
    }
}
