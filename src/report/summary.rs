//! The summary printed at the end of a run.

use std::fmt::Write as _;

use bytesize::ByteSize;

use crate::model::{ContentChange, EndReason, ErrorKind, Summary, format_duration};

/// Maximum number of statuses listed, the most frequent first.
const MAX_STATUSES: usize = 5;

/// Formats a number with thousands separators: `12,345`.
#[must_use]
pub(super) fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// Formats failures by kind, the most frequent first: `8 timeout, 4 reset`.
pub(super) fn kinds(failures: impl Iterator<Item = (ErrorKind, u64)>) -> String {
    let mut all: Vec<_> = failures.collect();
    all.sort_by_key(|(kind, n)| (std::cmp::Reverse(*n), *kind));
    let parts: Vec<_> = all
        .iter()
        .map(|(kind, n)| format!("{} {kind}", count(*n)))
        .collect();
    parts.join(", ")
}

/// Renders the summary as lines of text, without a final line feed. `end_text` says why the run
/// ended early.
#[must_use]
pub fn render(summary: &Summary, end_text: fn(EndReason) -> String) -> String {
    let mut text = counts(summary);
    match &*summary.problems {
        [] if summary.list_ended => {}
        [] => text.push_str("; input not fully read"),
        [problem] => {
            let _ = write!(text, "; {problem}");
        }
        problems => {
            let _ = write!(text, "; {} problems with the journals", problems.len());
        }
    }
    if let Some(why) = summary.ended_by {
        let _ = write!(text, "\nended early: {}", end_text(why));
    }
    if !summary.changes.is_empty() {
        let parts = ContentChange::ALL.map(|change| {
            let n = summary.changes.get(&change).copied().unwrap_or_default();
            format!("{} {}", count(n), change.as_str())
        });
        let _ = write!(text, "\nsince the last run: {}", parts.join(", "));
    }
    if summary.failed > 0 {
        let by_kind = summary.by_kind.iter().map(|(kind, n)| (*kind, *n));
        let _ = write!(text, "\nfailed: {}{}", kinds(by_kind), statuses(summary));
    }
    let _ = write!(
        text,
        "\n{} in {}",
        ByteSize(summary.bytes),
        format_duration(summary.wall)
    );
    if summary.retries > 0 {
        let noun = if summary.retries == 1 {
            "retry"
        } else {
            "retries"
        };
        let _ = write!(text, ", {} {noun}", count(summary.retries));
    }
    if summary.robots_files > 0 {
        let _ = write!(text, ", {} robots.txt", count(summary.robots_files));
    }
    if summary.simulated > 0 {
        let _ = write!(
            text,
            "; {} with simulated failures",
            count(summary.simulated)
        );
    }
    if let Some(speedup) = speedup(summary) {
        let sequential = format_duration(summary.sequential);
        let _ = write!(text, "; sequentially {sequential}: {speedup}");
    }
    text
}

/// Formats what became of the URLs: `5 URLs: 4 fetched, 1 failed`.
fn counts(summary: &Summary) -> String {
    let noun = if summary.input == 1 { "URL" } else { "URLs" };
    let mut text = format!(
        "{} {noun}: {} fetched",
        count(summary.input),
        count(summary.fetched)
    );
    for (n, name) in [
        (summary.failed, "failed"),
        (summary.skipped, "skipped"),
        (summary.left, "left"),
    ] {
        if n > 0 || name == "failed" {
            // Writing to a String cannot fail; the same goes for every `let _` here.
            let _ = write!(text, ", {} {name}", count(n));
        }
    }
    text
}

/// Formats how many times as long the requests would have taken sequentially, each with the
/// duration it had: `3.0x`. `None` below 1.05, where concurrency saved no time.
pub(super) fn speedup(summary: &Summary) -> Option<String> {
    let ratio = summary.sequential.as_secs_f64() / summary.wall.as_secs_f64().max(1e-9);
    (ratio >= 1.05).then(|| format!("{ratio:.1}x"))
}

/// Formats the most frequent failing statuses: ` (status: 20 × 404, 3 × 500)`.
fn statuses(summary: &Summary) -> String {
    if summary.by_status.is_empty() {
        return String::new();
    }
    let mut all: Vec<_> = summary.by_status.iter().collect();
    all.sort_by_key(|(status, n)| (std::cmp::Reverse(**n), **status));
    let mut parts: Vec<_> = all
        .iter()
        .take(MAX_STATUSES)
        .map(|(status, n)| format!("{} × {status}", count(**n)))
        .collect();
    if all.len() > MAX_STATUSES {
        parts.push("…".to_owned());
    }
    format!(" (status: {})", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndReason, MaxFailures};
    use std::time::Duration;

    #[test]
    fn it_adds_up_and_names_the_failures() {
        let summary = Summary {
            input: 10_000,
            fetched: 9_950,
            failed: 48,
            left: 2,
            list_ended: true,
            ended_by: Some(EndReason::MaxFailures(MaxFailures::Number(47))),
            by_kind: [(ErrorKind::Timeout, 18), (ErrorKind::Status, 30)].into(),
            by_status: [(404, 20), (500, 10)].into(),
            bytes: 125_600_000,
            retries: 1,
            wall: Duration::from_secs(2),
            sequential: Duration::from_secs(50),
            ..Summary::default()
        };
        insta::assert_snapshot!("adds_up", render(&summary, |reason| reason.to_string()));
    }

    #[test]
    fn it_says_why_it_is_not_that_of_the_whole_list() {
        let first_line = |problems: &[&str], list_ended| {
            let summary = Summary {
                problems: problems.iter().map(|it| (*it).to_owned()).collect(),
                list_ended,
                ..Summary::default()
            };
            let text = render(&summary, |reason| reason.to_string());
            text.lines().next().unwrap_or_default().to_owned()
        };
        let counts = "0 URLs: 0 fetched, 0 failed";
        assert_eq!(first_line(&[], true), counts);
        assert_eq!(
            first_line(&[], false),
            format!("{counts}; input not fully read")
        );
        assert_eq!(first_line(&["why"], false), format!("{counts}; why"));
        let two = format!("{counts}; 2 problems with the journals");
        assert_eq!(first_line(&["a", "b"], true), two);
    }

    #[test]
    fn it_compares_only_runs_that_were_faster_than_sequential() {
        let summary = |wall, sequential| Summary {
            wall: Duration::from_millis(wall),
            sequential: Duration::from_millis(sequential),
            ..Summary::default()
        };
        assert_eq!(speedup(&summary(0, 0)), None);
        assert_eq!(speedup(&summary(1000, 1040)), None);
        assert_eq!(speedup(&summary(1000, 3000)), Some("3.0x".to_owned()));
        assert!(!render(&summary(1000, 500), |reason| reason.to_string()).contains("sequentially"));
    }
}
