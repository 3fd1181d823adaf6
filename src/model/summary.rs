//! The counts of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{ContentChange, ErrorKind, Outcome, format_duration};

/// What ended a run before everything was settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndReason {
    /// Whoever started it: a signal, for the program.
    Shutdown,
    /// It was to take no longer than this (`--stop-after`).
    StopAfter(Duration),
    /// More failed than this allows (`--max-failures`).
    MaxFailures(MaxFailures),
    /// Nothing could be saved any more.
    Disk,
    /// Nobody reads the results any more (`| head -1`).
    ResultsClosed,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("it was interrupted"),
            Self::Disk => f.write_str("nothing can be saved any more"),
            Self::ResultsClosed => f.write_str("stdout was closed"),
            Self::StopAfter(time) => {
                write!(f, "{} have passed (--stop-after)", format_duration(*time))
            }
            Self::MaxFailures(MaxFailures::Number(most)) => {
                write!(f, "more than {most} failed (--max-failures)")
            }
            Self::MaxFailures(MaxFailures::Percent(most)) => {
                write!(f, "more than {most} % failed (--max-failures)")
            }
        }
    }
}

/// How many may fail before the run is ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// So many.
    Number(u64),
    /// So many of a hundred that were settled. Of a run with a hundred and more, the first
    /// hundred are waited for: two of the first three say little.
    Percent(f64),
}

/// Settled jobs from which on a share says something.
const MIN_OUTCOMES_FOR_PERCENT: u64 = 100;

impl MaxFailures {
    /// Whether `failed` of `settled` are too many, in a run of `total` where that is known.
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
pub struct Summary {
    /// Lines that stood in the list, comments and blank lines not counted.
    pub input: u64,
    /// Final 2xx, whole body.
    pub fetched: u64,
    /// Not fetched, with a reason.
    pub failed: u64,
    /// Nothing to do.
    pub skipped: u64,
    /// Without a record, because the run was ended early.
    pub left: u64,
    /// Whether the list was read to its end. If not, it may hold more than `input`.
    pub list_ended: bool,
    /// Failures by kind.
    pub by_kind: BTreeMap<ErrorKind, u64>,
    /// Failures of kind `status` by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Decoded bytes of the fetched bodies.
    pub bytes: u64,
    /// Attempts after a failed one; redirect hops are none.
    pub retries: u64,
    /// How long the run took.
    pub wall: Duration,
    /// Time all requests took together: what they would have cost one after another.
    pub one_by_one: Duration,
    /// What became of the pages since the run before, with `--refresh`.
    pub changes: BTreeMap<ContentChange, u64>,
    /// What ended the run early, if something did.
    pub ended_by: Option<EndReason>,
    /// When the run began, in RFC 3339, as records have it.
    pub at: Option<String>,
    /// When it ended.
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

    /// Counts what became of a page since the run before.
    pub fn count_change(&mut self, change: Option<ContentChange>) {
        if let Some(change) = change {
            *self.changes.entry(change).or_default() += 1;
        }
    }

    /// It as JSON, in one line: the counts, and what they are made of. Later versions only add
    /// fields; what is not known is absent, as the exit code is to all but a program.
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
            by_kind: &self.by_kind,
            by_status: &self.by_status,
            changes: &self.changes,
            bytes: self.bytes,
            retries: self.retries,
            wall_ms: ms(self.wall),
            one_by_one_ms: ms(self.one_by_one),
            ended_by: self.ended_by.map(|why| why.to_string()),
            exit_code,
            at: self.at.as_deref(),
            ended_at: self.ended_at.as_deref(),
        };
        // Numbers and texts can always be written.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Jobs with a record.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.fetched + self.failed + self.skipped
    }

    /// Whether every line was fetched or skipped.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.left == 0 && self.list_ended
    }
}

/// A summary as it is written.
#[derive(Serialize)]
struct SummaryJson<'a> {
    schema: u32,
    input: u64,
    fetched: u64,
    failed: u64,
    skipped: u64,
    left: u64,
    list_ended: bool,
    by_kind: &'a BTreeMap<ErrorKind, u64>,
    by_status: &'a BTreeMap<u16, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    changes: &'a BTreeMap<ContentChange, u64>,
    bytes: u64,
    retries: u64,
    wall_ms: u64,
    one_by_one_ms: u64,
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
    fn as_json_it_has_its_counts_first_and_nothing_unknown() {
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
        let counts = r#"{"schema":1,"input":4,"fetched":2,"failed":2,"skipped":0,"left":0,"list_ended":true,"by_kind":{"status":2},"by_status":{"404":2},"bytes":0,"retries":0,"wall_ms":1500,"one_by_one_ms":0"#;
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
    fn a_share_of_failures_is_judged_when_it_says_something() {
        let five = MaxFailures::Percent(5.0);
        assert!(!five.is_exceeded(2, 3, None), "too early");
        assert!(!five.is_exceeded(5, 5, Some(10_000)));
        assert!(
            five.is_exceeded(6, 6, Some(10_000)),
            "of a hundred it is too many"
        );
        assert!(!five.is_exceeded(50, 1000, Some(10_000)));
        assert!(five.is_exceeded(51, 1000, Some(10_000)));
        assert!(five.is_exceeded(1, 2, Some(10)), "a short list");
        assert!(MaxFailures::Percent(0.0).is_exceeded(1, 1, None));
        assert!(!MaxFailures::Percent(100.0).is_exceeded(200, 200, None));
        assert!(!MaxFailures::Number(3).is_exceeded(3, 3, None));
        assert!(MaxFailures::Number(3).is_exceeded(4, 1000, None));
    }
}
