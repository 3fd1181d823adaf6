//! The waterfall: a row per selected job, with a segment for each phase of its attempts.

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::{ErrorKind, TraceOutcome, elide_middle, escape_control};
use crate::report::row_sampler::{JobRow, SampledRows};
use crate::report::timeline::duration;

use super::charts::{MIN_BAR_WIDTH, number};

/// Maximum length of a URL, in characters.
const MAX_URL_CHARS: usize = 120;
/// Width of a row, in SVG units.
pub(super) const ROW_WIDTH: f64 = 1000.0;

/// The rows, with a note on their selection unless all jobs are shown.
pub(super) struct Waterfall {
    pub note: Option<String>,
    pub rows: Vec<WaterfallRow>,
}

/// The row of one job.
pub(super) struct WaterfallRow {
    pub label: String,
    pub failed: bool,
    pub url: String,
    pub took: String,
    pub title: String,
    pub parts: Vec<WaterfallSegment>,
}

/// A segment of a row.
pub(super) struct WaterfallSegment {
    pub class: &'static str,
    pub x: String,
    pub width: String,
}

/// Draws the rows of a run of duration `end`.
pub(super) fn waterfall(picked: &SampledRows, end: Duration) -> Waterfall {
    Waterfall {
        note: picked.note(),
        rows: picked
            .rows
            .iter()
            .map(|row| waterfall_row(row, end))
            .collect(),
    }
}

fn waterfall_row(row: &JobRow, end: Duration) -> WaterfallRow {
    let mut parts = Vec::new();
    let scale = ROW_WIDTH / end.as_secs_f64();
    let mut add = |class, from: Duration, to: Duration, min_width: f64| {
        if to > from || min_width > 0.0 {
            let x = from.as_secs_f64() * scale;
            let width = to.saturating_sub(from).as_secs_f64() * scale;
            let width = width.max(min_width);
            parts.push(WaterfallSegment {
                class,
                x: number(x.min(ROW_WIDTH - width)),
                width: number(width),
            });
        }
    };
    for one in &row.traces {
        let connected = one.connected.unwrap_or(one.start);
        let head = one.head.unwrap_or(one.end);
        add("queue", one.ready, one.start, 0.0);
        add("connect", one.start, connected, 0.0);
        add("wait", connected, head, 0.0);
        add("body", head, one.end, 0.0);
        match one.outcome {
            TraceOutcome::Failed(_) => add("bad", one.end, one.end, 2.0 * MIN_BAR_WIDTH),
            // Keeps even the shortest attempt visible.
            _ => add("body", one.end, one.end, MIN_BAR_WIDTH),
        }
    }
    WaterfallRow {
        label: row.label.clone(),
        failed: row.failed,
        url: elide_middle(&escape_control(&row.url), MAX_URL_CHARS),
        took: duration(row.took()),
        title: attempts_text(row),
        parts,
    }
}

/// Describes the attempts of a row, for its tooltip and for screen readers.
fn attempts_text(row: &JobRow) -> String {
    let mut text = String::new();
    for (number, one) in row.traces.iter().enumerate() {
        let outcome = match (one.outcome, one.status) {
            (TraceOutcome::Failed(ErrorKind::Status) | TraceOutcome::Fetched, Some(status)) => {
                status.to_string()
            }
            (TraceOutcome::Failed(kind), _) => kind.to_string(),
            (TraceOutcome::Fetched, None) => "fetched".to_owned(),
            (TraceOutcome::Redirected, Some(status)) => format!("{status}, redirected"),
            (TraceOutcome::Redirected, None) => "redirected".to_owned(),
            (TraceOutcome::Resent, Some(status)) => format!("{status}, resent"),
            (TraceOutcome::Resent, None) => "resent".to_owned(),
            (TraceOutcome::GoesOn, Some(status)) => format!("{status}, continued"),
            (TraceOutcome::GoesOn, None) => "continued".to_owned(),
        };
        let separator = if number == 0 { "" } else { "; " };
        let _ = write!(
            text,
            "{separator}{outcome} after {}, started at {}",
            duration(one.took()),
            duration(one.start)
        );
        if one.queued() > Duration::from_millis(1) {
            let _ = write!(text, ", queued {}", duration(one.queued()));
        }
    }
    if let Some(segments) = row.segments {
        let _ = write!(text, "; in {segments} segments");
    }
    text
}
