//! The counts of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{ContentChange, ErrorKind, Outcome, OutcomeName, Record, format_duration};

/// Why a run ended before everything was settled.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum EndReason {
    /// The caller stopped it; in the program, by a signal.
    Shutdown,
    /// This time limit was reached (`--stop-after`).
    StopAfter(Duration),
    /// This limit on failures was exceeded (`--max-failures`).
    MaxFailures(MaxFailures),
    /// Saving failed: the disk is full or broken.
    Disk,
    /// The reader of the results closed the pipe (`| head -1`).
    ResultsClosed,
    /// The results could not be written, or not be read any more.
    Output,
    /// A finished pack could not be delivered.
    Delivery,
}

impl EndReason {
    /// The stable name in the summary's JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "interrupted",
            Self::StopAfter(_) => "stop_after",
            Self::MaxFailures(_) => "max_failures",
            Self::Disk => "disk",
            Self::ResultsClosed | Self::Output => "output",
            Self::Delivery => "delivery",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("interrupted"),
            Self::Disk => f.write_str("saving failed"),
            Self::ResultsClosed => f.write_str("stdout closed"),
            Self::Output => f.write_str("results could not be written"),
            Self::Delivery => f.write_str("a pack could not be delivered"),
            Self::StopAfter(time) => {
                write!(f, "time limit {} reached", format_duration(*time))
            }
            Self::MaxFailures(MaxFailures::Number(most)) => {
                let urls = if *most == 1 { "URL" } else { "URLs" };
                write!(f, "more than {most} {urls} failed")
            }
            Self::MaxFailures(MaxFailures::Percent(most)) => {
                write!(f, "more than {most} % of URLs failed")
            }
        }
    }
}

/// The limit on failures: exceeding it ends the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// At most this many URLs.
    Number(u64),
    /// At most this percentage of the settled URLs. Until 100 URLs are settled (or the whole
    /// list, if shorter), the percentage is taken of that number: two failures out of the first
    /// three mean little.
    Percent(f64),
}

/// Settled jobs below which a percentage means little.
const MIN_OUTCOMES_FOR_PERCENT: u64 = 100;

impl MaxFailures {
    /// Whether `failed` of `settled` jobs exceed the limit; `total` is the length of the list, if
    /// known.
    #[must_use]
    pub fn is_exceeded(self, failed: u64, settled: u64, total: Option<u64>) -> bool {
        match self {
            Self::Number(most) => failed > most,
            Self::Percent(most) => {
                let of = settled.max(
                    total
                        .unwrap_or(MIN_OUTCOMES_FOR_PERCENT)
                        .min(MIN_OUTCOMES_FOR_PERCENT),
                );
                failed as f64 * 100.0 > of as f64 * most
            }
        }
    }
}

/// The counts of a run: `input = fetched + failed + skipped + left`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Input lines, without comments and blank lines.
    pub input: u64,
    /// Jobs with a final 2xx and a complete body.
    pub fetched: u64,
    /// Jobs that failed, with a reason.
    pub failed: u64,
    /// Jobs that an earlier run had done.
    pub skipped: u64,
    /// Jobs without a record because the run ended early.
    pub left: u64,
    /// Lines of the whole list, if only a shard of it is input and it was read to its end.
    pub list_lines: Option<u64>,
    /// Whether the list was read to its end. If not, it may have more lines than `input`.
    pub list_ended: bool,
    /// Why the results are not those of the whole list, where the journals of its shards were put
    /// together.
    pub problems: Vec<String>,
    /// Failures by kind.
    pub by_kind: BTreeMap<ErrorKind, u64>,
    /// Failures of kind `status` by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Decoded bytes of the fetched bodies.
    pub bytes: u64,
    /// Bytes of bodies per second that were allowed at the end of the run, as they come on the wire.
    pub limit_rate: Option<u64>,
    /// Attempts after a failed one; redirect hops do not count.
    pub retries: u64,
    /// Jobs that met a simulated fault.
    pub simulated: u64,
    /// Origins whose robots.txt was asked for.
    pub robots_files: u64,
    /// Duration of the run.
    pub wall: Duration,
    /// Sum of the durations of all requests: the time they would have taken sequentially.
    pub sequential: Duration,
    /// Pages by how they changed since the last run, with `--refresh`.
    pub changes: BTreeMap<ContentChange, u64>,
    /// Why the run ended early, if it did.
    pub ended_by: Option<EndReason>,
    /// When the run started, in RFC 3339 as in records.
    pub at: Option<String>,
    /// When the run ended, in RFC 3339.
    pub ended_at: Option<String>,
}

impl Summary {
    /// Counts one settled job.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fetched(fetched) => {
                self.fetched += 1;
                self.bytes += fetched.saved.bytes;
            }
            Outcome::Failed(error) => {
                self.failed += 1;
                *self.by_kind.entry(error.kind()).or_default() += 1;
                if let Some(status) = error.status() {
                    *self.by_status.entry(status.as_u16()).or_default() += 1;
                }
            }
            Outcome::Skipped => self.skipped += 1,
        }
    }

    /// Counts a job by its record.
    pub(crate) fn count_record(&mut self, record: &Record) {
        match record.outcome {
            OutcomeName::Fetched => {
                self.fetched += 1;
                self.bytes += record.bytes.unwrap_or(0);
            }
            OutcomeName::Failed => self.failed += 1,
            OutcomeName::Skipped => self.skipped += 1,
        }
        if let (Some(error), OutcomeName::Failed) = (&record.error, record.outcome) {
            *self.by_kind.entry(error.kind).or_default() += 1;
            if let (ErrorKind::Status, Some(status)) = (error.kind, record.status) {
                *self.by_status.entry(status).or_default() += 1;
            }
        }
    }

    /// Counts how a page changed since the last run.
    pub fn count_change(&mut self, change: Option<ContentChange>) {
        if let Some(change) = change {
            *self.changes.entry(change).or_default() += 1;
        }
    }

    /// Formats the summary as one line of JSON. Later versions only add fields; unknown values
    /// are absent, such as the exit code for library callers.
    #[must_use]
    pub fn to_json(&self, exit_code: Option<u8>) -> String {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let written = SummaryJson {
            schema: 1,
            input: self.input,
            fetched: self.fetched,
            failed: self.failed,
            skipped: self.skipped,
            left: self.left,
            list_ended: self.list_ended,
            list_lines: self.list_lines,
            problems: &self.problems,
            by_kind: &self.by_kind,
            by_status: &self.by_status,
            changes: &self.changes,
            bytes: self.bytes,
            limit_rate: self.limit_rate,
            retries: self.retries,
            simulated: self.simulated,
            robots_files: self.robots_files,
            wall_ms: ms(self.wall),
            sequential_ms: ms(self.sequential),
            end_reason: self.ended_by.map(EndReason::as_str),
            ended_by: self.ended_by.map(|why| why.to_string()),
            exit_code,
            at: self.at.as_deref(),
            ended_at: self.ended_at.as_deref(),
        };
        // Serializing numbers and strings cannot fail.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Returns the number of jobs with a record.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.fetched + self.failed + self.skipped
    }

    /// Whether the list has no URL. A shard may have none of a list that has some.
    #[must_use]
    pub fn is_list_empty(&self) -> bool {
        self.input == 0 && self.list_lines.unwrap_or(0) == 0
    }

    /// Whether every line was fetched or skipped.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.is_settled()
    }

    /// Whether every line of the list has its record.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.left == 0 && self.list_ended && self.problems.is_empty()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The JSON form of a [`Summary`].
#[derive(Serialize)]
struct SummaryJson<'a> {
    schema: u32,
    input: u64,
    fetched: u64,
    failed: u64,
    skipped: u64,
    left: u64,
    list_ended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_lines: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [String],
    by_kind: &'a BTreeMap<ErrorKind, u64>,
    by_status: &'a BTreeMap<u16, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    changes: &'a BTreeMap<ContentChange, u64>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_rate: Option<u64>,
    retries: u64,
    #[serde(skip_serializing_if = "is_zero")]
    simulated: u64,
    #[serde(skip_serializing_if = "is_zero")]
    robots_files: u64,
    wall_ms: u64,
    sequential_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_counts_first_and_omits_unknown_values() {
        let summary = Summary {
            input: 4,
            fetched: 2,
            failed: 2,
            list_ended: true,
            by_kind: [(ErrorKind::Status, 2)].into(),
            by_status: [(404, 2)].into(),
            wall: Duration::from_millis(1500),
            ..Summary::default()
        };
        let counts = r#"{"schema":1,"input":4,"fetched":2,"failed":2,"skipped":0,"left":0,"list_ended":true,"by_kind":{"status":2},"by_status":{"404":2},"bytes":0,"retries":0,"wall_ms":1500,"sequential_ms":0"#;
        assert_eq!(summary.to_json(None), format!("{counts}}}"));
        let timed = Summary {
            at: Some("2026-11-22T10:00:00.000Z".into()),
            ended_at: Some("2026-11-22T10:00:01.500Z".into()),
            ..summary
        };
        assert_eq!(
            timed.to_json(Some(1)),
            format!(
                r#"{counts},"exit_code":1,"at":"2026-11-22T10:00:00.000Z","ended_at":"2026-11-22T10:00:01.500Z"}}"#
            )
        );
    }

    #[test]
    fn a_percentage_of_failures_is_judged_against_at_least_100_jobs() {
        let five = MaxFailures::Percent(5.0);
        assert!(!five.is_exceeded(2, 3, None), "too early");
        assert!(!five.is_exceeded(5, 5, Some(10_000)));
        assert!(five.is_exceeded(6, 6, Some(10_000)), "6 of at least 100");
        assert!(!five.is_exceeded(50, 1000, Some(10_000)));
        assert!(five.is_exceeded(51, 1000, Some(10_000)));
        assert!(five.is_exceeded(1, 2, Some(10)), "a short list");
        assert!(MaxFailures::Percent(0.0).is_exceeded(1, 1, None));
        assert!(!MaxFailures::Percent(100.0).is_exceeded(200, 200, None));
        assert!(!MaxFailures::Number(3).is_exceeded(3, 3, None));
        assert!(MaxFailures::Number(3).is_exceeded(4, 1000, None));
    }
}
