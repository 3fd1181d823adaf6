//! A row for each job that gets one, with a stretch for each phase of its attempts.

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::{ErrorKind, TryOutcome, harmless, shorten};
use crate::report::rows::{Picked, Row};
use crate::report::timeline::duration;

use super::charts::{LEAST, number};

/// Characters of a URL.
const LONGEST: usize = 120;
/// Width of a row of the waterfall.
pub const ROW_WIDTH: f64 = 1000.0;

/// The rows, and of how many they are where that is not all.
pub struct Waterfall {
    pub note: Option<String>,
    pub rows: Vec<WaterfallRow>,
}

/// A job.
pub struct WaterfallRow {
    pub label: String,
    pub failed: bool,
    pub url: String,
    pub took: String,
    pub title: String,
    pub parts: Vec<Part>,
}

/// A stretch of a row.
pub struct Part {
    pub class: &'static str,
    pub x: String,
    pub width: String,
}

/// The rows of a run, `end` long.
pub fn waterfall(picked: &Picked, end: Duration) -> Waterfall {
    Waterfall {
        note: picked.note(),
        rows: picked
            .rows
            .iter()
            .map(|row| waterfall_row(row, end))
            .collect(),
    }
}

fn waterfall_row(row: &Row, end: Duration) -> WaterfallRow {
    let mut parts = Vec::new();
    let scale = ROW_WIDTH / end.as_secs_f64();
    let mut add = |class, from: Duration, to: Duration, least: f64| {
        if to > from || least > 0.0 {
            let x = from.as_secs_f64() * scale;
            let width = to.saturating_sub(from).as_secs_f64() * scale;
            let width = width.max(least);
            parts.push(Part {
                class,
                x: number(x.min(ROW_WIDTH - width)),
                width: number(width),
            });
        }
    };
    for one in &row.tries {
        let connected = one.connected.unwrap_or(one.start);
        let head = one.head.unwrap_or(one.end);
        add("queue", one.ready, one.start, 0.0);
        add("connect", one.start, connected, 0.0);
        add("wait", connected, head, 0.0);
        add("body", head, one.end, 0.0);
        match one.outcome {
            TryOutcome::Failed(_) => add("bad", one.end, one.end, 2.0 * LEAST),
            // However short, it can be seen.
            _ => add("body", one.end, one.end, LEAST),
        }
    }
    WaterfallRow {
        label: row.label.clone(),
        failed: row.failed,
        url: shorten(&harmless(&row.url), LONGEST),
        took: duration(row.took()),
        title: tries_text(row),
        parts,
    }
}

/// What a row shows, in words.
fn tries_text(row: &Row) -> String {
    let mut text = String::new();
    for (number, one) in row.tries.iter().enumerate() {
        let outcome = match (one.outcome, one.status) {
            (TryOutcome::Failed(ErrorKind::Status) | TryOutcome::Fetched, Some(status)) => {
                status.to_string()
            }
            (TryOutcome::Failed(kind), _) => kind.to_string(),
            (TryOutcome::Fetched, None) => "fetched".to_owned(),
            (TryOutcome::Redirected, Some(status)) => format!("{status}, redirected"),
            (TryOutcome::Redirected, None) => "redirected".to_owned(),
            (TryOutcome::Resent, Some(status)) => format!("{status}, sent again"),
            (TryOutcome::Resent, None) => "sent again".to_owned(),
            (TryOutcome::GoesOn, Some(status)) => format!("{status}, goes on"),
            (TryOutcome::GoesOn, None) => "goes on".to_owned(),
        };
        let start = if number == 0 { "" } else { "; " };
        let _ = write!(
            text,
            "{start}{outcome} after {} at {}",
            duration(one.took()),
            duration(one.start)
        );
        if one.queued() > Duration::from_millis(1) {
            let _ = write!(text, ", {} in the queue", duration(one.queued()));
        }
    }
    text
}
