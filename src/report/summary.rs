//! The summary for people.

use std::fmt::Write as _;

use bytesize::ByteSize;

use crate::model::{ContentChange, ErrorKind, Summary, format_duration};

/// Statuses named in the summary, the most frequent first.
const MAX_STATUSES: usize = 5;

/// A number with its thousands told apart: `12,345`.
#[must_use]
pub fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `8 timeout, 4 reset`: the most frequent first.
pub(super) fn kinds(failures: impl Iterator<Item = (ErrorKind, u64)>) -> String {
    let mut all: Vec<_> = failures.collect();
    all.sort_by_key(|(kind, n)| (std::cmp::Reverse(*n), *kind));
    let parts: Vec<_> = all
        .iter()
        .map(|(kind, n)| format!("{} {kind}", count(*n)))
        .collect();
    parts.join(", ")
}

/// The summary as lines of text, without a line end after the last.
#[must_use]
pub fn render(summary: &Summary) -> String {
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
            // Writing to a String can't fail; so for every `let _` here.
            let _ = write!(text, ", {} {name}", count(n));
        }
    }
    if !summary.list_ended {
        text.push_str("; the list was not read to its end");
    }
    if let Some(why) = summary.ended_by {
        let _ = write!(text, "\nended early: {why}");
    }
    if !summary.changes.is_empty() {
        let parts = ContentChange::ALL.map(|change| {
            let n = summary.changes.get(&change).copied().unwrap_or_default();
            format!("{} {}", count(n), change.as_str())
        });
        let _ = write!(text, "\nsince the run before: {}", parts.join(", "));
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
    let _ = write!(text, "; {}", sequential_text(summary));
    text
}

/// What not waiting for each other has brought.
pub(super) fn sequential_text(summary: &Summary) -> String {
    let mut text = format!(
        "one after another, each as quick, the requests would have taken {}",
        format_duration(summary.one_by_one)
    );
    let ratio = summary.one_by_one.as_secs_f64() / summary.wall.as_secs_f64().max(1e-9);
    if ratio >= 1.05 {
        let _ = write!(text, " ({ratio:.1} times as long)");
    }
    text
}

/// ` (status: 20 × 404, 3 × 500)`
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
    fn it_adds_up_and_names_what_went_wrong() {
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
            one_by_one: Duration::from_secs(50),
            ..Summary::default()
        };
        insta::assert_snapshot!("adds_up", render(&summary));
    }
}
