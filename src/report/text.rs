//! The lines for people: `STATUS SIZE TIME URL`, and for a failure why.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use bytesize::ByteSize;

use super::{Output, Reporter};
use crate::model::{Event, OutcomeName, Record, harmless};

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes a line for each URL. The first four columns hold no blanks, so `awk` can count
/// on them; what follows the URL says why it failed.
pub struct TextLines {
    output: Output,
    color: bool,
}

impl TextLines {
    /// Writes to `output`, in colour if wanted.
    #[must_use]
    pub fn new(output: Output, color: bool) -> Self {
        Self { output, color }
    }
}

impl Reporter for TextLines {
    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        let Event::Settled(settled) = event else {
            return Ok(());
        };
        let line = line_of(&settled.record, self.color);
        self.output.line().write_all(line.as_bytes())?;
        self.output.end_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn line_of(record: &Record, color: bool) -> String {
    let paint = |code: &'static str| if color { code } else { "" };
    let status = status_of(record);
    let tone = match record.outcome {
        OutcomeName::Fetched => paint(GREEN),
        OutcomeName::Failed => paint(RED),
        OutcomeName::Skipped => paint(DIM),
    };
    let size = record.bytes.map_or_else(|| "-".to_owned(), size_text);
    let time = record
        .elapsed_ms
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms}ms"));
    let mut line = format!(
        "{tone}{status:<15}{} {size:>9} {time:>8} {}",
        paint(PLAIN),
        harmless(&record.url),
    );
    if let Some(error) = &record.error {
        // Writing to a String can't fail.
        let _ = write!(
            line,
            "  {}{}{}",
            paint(DIM),
            harmless(&error.message),
            paint(PLAIN)
        );
    }
    line
}

/// The status of a fetched URL, the kind of error of a failed one; a failing status says
/// more than the word `status`.
fn status_of(record: &Record) -> String {
    match (&record.error, record.status) {
        (Some(error), Some(status)) if error.kind.as_str() == "status" => status.to_string(),
        (Some(error), _) => error.kind.to_string(),
        (None, Some(status)) => status.to_string(),
        (None, None) if record.outcome == OutcomeName::Skipped => "skipped".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// `12.3KiB`: no blank inside a column.
fn size_text(bytes: u64) -> String {
    ByteSize(bytes).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, Place, RecordError};

    fn record() -> Record {
        let place = Place {
            number: 0,
            input: "-".into(),
            line: 1,
        };
        Record {
            ok: true,
            outcome: OutcomeName::Fetched,
            status: Some(200),
            bytes: Some(12_561),
            elapsed_ms: Some(15),
            ..Record::of_line(&place, "http://a/\u{1b}[2J".into())
        }
    }

    #[test]
    fn columns_are_aligned_hold_no_blanks_and_no_escapes() {
        let line = line_of(&record(), false);
        assert_eq!(
            line,
            "200               12.3KiB     15ms http://a/\\u{1b}[2J"
        );
        let mut failed = record();
        failed.error = Some(RecordError {
            kind: ErrorKind::ConnectTimeout,
            message: "not connected".into(),
            transient: true,
        });
        failed.bytes = None;
        assert_eq!(
            line_of(&failed, false),
            "connect_timeout         -     15ms http://a/\\u{1b}[2J  not connected"
        );
    }
}
