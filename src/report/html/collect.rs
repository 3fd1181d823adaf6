//! What the page shows, collected while the run goes on, in bounded memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{ErrorKind, Event, Outcome, Settled, harmless, shorten};
use crate::report::rows::Rows;

use super::hosts::Hosts;
use super::latency::Latency;
use super::series::{Series, Step};

/// Rows of the waterfall.
const MOST_ROWS: usize = 120;
/// Failures that are listed one by one. All are counted by cause.
pub const MOST_FAILURES: usize = 10_000;
/// Causes that are told apart.
const MOST_CAUSES: usize = 500;
/// Characters of a URL, and of a message, that are kept.
const LONGEST: usize = 300;

/// A URL that failed.
#[derive(Debug)]
pub struct Failure {
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
pub struct Collected {
    /// Jobs with a row of their own.
    pub rows: Rows,
    /// The run over time.
    pub series: Series,
    /// What became of each host.
    pub hosts: Hosts,
    /// Making connections.
    pub connect: Latency,
    /// From the begin of a request to the head of its response.
    pub first_byte: Latency,
    /// Whole requests, those that decided.
    pub whole: Latency,
    /// URLs from their first request to their end, waits included.
    pub total: Latency,
    /// The first failures.
    pub failures: Vec<Failure>,
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

impl Default for Collected {
    fn default() -> Self {
        Self {
            rows: Rows::new(MOST_ROWS),
            series: Series::default(),
            hosts: Hosts::default(),
            connect: Latency::with_digits(3),
            first_byte: Latency::with_digits(3),
            whole: Latency::with_digits(3),
            total: Latency::with_digits(3),
            failures: Vec::new(),
            causes: HashMap::new(),
            other_causes: 0,
            inputs: Vec::new(),
            first_at: String::new(),
            last: Duration::ZERO,
        }
    }
}

impl Collected {
    /// Looks at what happened.
    pub fn look(&mut self, event: &Event) {
        self.rows.look(event);
        if let Event::Settled(settled) = event {
            self.add(settled);
        }
    }

    fn add(&mut self, settled: &Settled) {
        self.add_input(&settled.record.input);
        if self.first_at.is_empty() {
            self.first_at.clone_from(&settled.record.at);
        }
        self.add_times(settled);
        let mut step = Step::default();
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
        const FEW: usize = 5;
        let is_known = self.inputs.last().is_some_and(|last| last == input);
        if !is_known && self.inputs.len() < FEW && !self.inputs.iter().any(|one| one == input) {
            let name = if input == "-" { "stdin" } else { input };
            self.inputs.push(shorten(&harmless(name), LONGEST));
        }
    }

    fn add_times(&mut self, settled: &Settled) {
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

    fn add_failure(&mut self, settled: &Settled, kind: ErrorKind) {
        let record = &settled.record;
        let message = record.error.as_ref().map_or("", |error| &error.message);
        let message = shorten(&harmless(message), LONGEST);
        let cause = (kind, message.clone());
        if let Some(count) = self.causes.get_mut(&cause) {
            *count += 1;
        } else if self.causes.len() < MOST_CAUSES {
            self.causes.insert(cause, 1);
        } else {
            self.other_causes += 1;
        }
        if self.failures.len() < MOST_FAILURES {
            let input = shorten(&harmless(&record.input), LONGEST);
            self.failures.push(Failure {
                place: format!("{input}:{}", record.line),
                url: shorten(&harmless(&record.url), LONGEST),
                kind,
                status: record.status,
                message,
                attempts: record.attempts,
                at: settled.tries.last().map_or(self.last, |last| last.end),
            });
        }
    }
}
