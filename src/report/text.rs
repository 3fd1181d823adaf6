//! The default output: one line per URL, `STATUS SIZE TIME URL`, and the cause of a failure.

use std::io;

use super::{Output, Reporter};
use crate::model::{EngineEvent, OutcomeName, Record, escape_control};

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Column widths, in characters.
const STATUS_WIDTH: usize = 15;
const SIZE_WIDTH: usize = 9;
const TIME_WIDTH: usize = 8;

/// Units up to the largest that `u64` can hold.
const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes one line per URL. The first four columns contain no spaces, so that `awk` can split them;
/// the cause of a failure follows the URL.
pub(crate) struct TextReporter {
    output: Output,
    color: bool,
}

impl TextReporter {
    /// Creates a reporter that writes to `output`, with colours if `color` is set.
    #[must_use]
    pub(crate) fn new(output: Output, color: bool) -> Self {
        Self { output, color }
    }
}

impl Reporter for TextReporter {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        push_line(self.output.line(), &settled.record, self.color);
        self.output.end_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Appends a line. Avoids `format!`, with which a line would cost more than its record as JSON.
fn push_line(line: &mut Vec<u8>, record: &Record, color: bool) {
    let paint = |code: &'static str| if color { code } else { "" };
    let mut number = itoa::Buffer::new();
    let tone = match record.outcome {
        OutcomeName::Fetched => GREEN,
        OutcomeName::Failed => RED,
        OutcomeName::Skipped => DIM,
    };
    push(line, paint(tone));
    push_left(line, status_of(record, &mut number), STATUS_WIDTH);
    push(line, paint(PLAIN));
    push(line, " ");
    match record.bytes {
        Some(bytes) => push_size(line, bytes, SIZE_WIDTH),
        None => push_right(line, "-", "", SIZE_WIDTH),
    }
    push(line, " ");
    match record.elapsed_ms {
        Some(ms) => push_right(line, number.format(ms), "ms", TIME_WIDTH),
        None => push_right(line, "-", "", TIME_WIDTH),
    }
    push(line, " ");
    push(line, &escape_control(&record.url));
    if let Some(error) = &record.error {
        push(line, "  ");
        push(line, paint(DIM));
        push(line, &escape_control(&error.message));
        push(line, paint(PLAIN));
    }
}

/// Returns the status of a fetched URL or the error kind of a failed one; for the kind `status`,
/// the status itself, which says more. A skipped URL is `skipped`, since the status in its record
/// is that of an earlier run.
pub(super) fn status_of<'a>(record: &'a Record, number: &'a mut itoa::Buffer) -> &'a str {
    match (&record.error, record.status) {
        _ if record.outcome == OutcomeName::Skipped => "skipped",
        (Some(error), Some(status)) if error.kind.as_str() == "status" => number.format(status),
        (Some(error), _) => error.kind.as_str(),
        (None, Some(status)) => number.format(status),
        (None, None) => "-",
    }
}

fn push(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

fn pad(line: &mut Vec<u8>, length: usize, width: usize) {
    line.resize(line.len() + width.saturating_sub(length), b' ');
}

fn push_left(line: &mut Vec<u8>, text: &str, width: usize) {
    push(line, text);
    pad(line, text.len(), width);
}

fn push_right(line: &mut Vec<u8>, text: &str, unit: &str, width: usize) {
    pad(line, text.len() + unit.len(), width);
    push(line, text);
    push(line, unit);
}

/// Appends a size such as `12.3KiB`, without a space.
fn push_size(line: &mut Vec<u8>, bytes: u64, width: usize) {
    let mut number = itoa::Buffer::new();
    let tenths_of = |power: usize| {
        let shift = 10 * power;
        (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift
    };
    // 1024.0 of a unit is written as 1.0 of the next.
    let unit = UNITS.iter().enumerate().skip(1).find_map(|(power, unit)| {
        let tenths = tenths_of(power) as u64;
        (tenths < 10_240).then_some((tenths, *unit))
    });
    match unit {
        Some((tenths, unit)) if bytes >= 1024 => {
            let mut tenth = itoa::Buffer::new();
            let (whole, tenth) = (number.format(tenths / 10), tenth.format(tenths % 10));
            pad(line, whole.len() + 1 + tenth.len() + unit.len(), width);
            push(line, whole);
            push(line, ".");
            push(line, tenth);
            push(line, unit);
        }
        _ => push_right(line, number.format(bytes), "B", width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, InputPosition, RecordError};

    fn record() -> Record {
        let place = InputPosition::first();
        Record {
            ok: true,
            outcome: OutcomeName::Fetched,
            status: Some(200),
            bytes: Some(12_561),
            elapsed_ms: Some(15),
            ..Record::for_line(&place, "http://a/\u{1b}[2J".into())
        }
    }

    fn line_of(record: &Record, color: bool) -> String {
        let mut line = Vec::new();
        push_line(&mut line, record, color);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn sizes_match_those_in_the_summary() {
        let size = |bytes| {
            let mut text = Vec::new();
            push_size(&mut text, bytes, 0);
            String::from_utf8(text).unwrap()
        };
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (12_561, "12.3KiB"),
            ((1 << 20) - 1, "1.0MiB"),
            (1 << 30, "1.0GiB"),
            (u64::MAX, "16.0EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for bytes in (0..40_000_000_u64).step_by(7919) {
            let summary = bytesize::ByteSize(bytes).to_string().replace(' ', "");
            if !summary.starts_with("1024.0") {
                assert_eq!(size(bytes), summary);
            }
        }
    }

    #[test]
    fn columns_are_aligned_and_contain_no_spaces_or_escapes() {
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
