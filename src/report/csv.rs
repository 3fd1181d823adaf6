//! `--csv`: one row per URL (RFC 4180, but rows end with a line feed only).

use std::borrow::Cow;
use std::io;

use csv_core::{WriteResult, Writer};

use super::fields::COLUMNS;
use super::{Output, Reporter};
use crate::model::EngineEvent;

/// Size of the buffer that cells are encoded into.
const CHUNK_BYTES: usize = 1024;

/// Characters that make a spreadsheet treat a cell as a formula: the signs themselves, their
/// full-width forms, and whitespace that is skipped before them. Formulas can run programs and send
/// the content of other cells elsewhere.
const FORMULA_STARTS: [char; 11] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n',
];

/// Writes a header row, then one row per URL.
pub struct CsvReporter {
    output: Output,
    writer: Writer,
    has_header: bool,
}

impl CsvReporter {
    /// Creates a reporter that writes to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self {
            output,
            writer: Writer::new(),
            has_header: false,
        }
    }

    fn write_header(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        self.write_row(COLUMNS.map(|(name, _)| name))
    }

    fn write_row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) -> io::Result<()> {
        let line = self.output.line();
        for (number, cell) in cells.into_iter().enumerate() {
            if number > 0 {
                drain(line, |piece| self.writer.delimiter(piece));
            }
            let cell = escape_formula(cell.as_ref());
            let mut rest = cell.as_bytes();
            drain(line, |piece| {
                let (result, read, written) = self.writer.field(rest, piece);
                rest = rest.get(read..).unwrap_or_default();
                (result, written)
            });
        }
        // `output` adds the line end. The writer must still be told that the row has ended, since
        // it may have a quote to close.
        let mut end = Vec::new();
        drain(&mut end, |piece| self.writer.terminator(piece));
        let quote = end.strip_suffix(b"\n").unwrap_or(&end);
        line.extend_from_slice(quote);
        self.output.end_line()
    }
}

/// Prefixes an apostrophe to a cell that a spreadsheet would treat as a formula, which makes it
/// text. Numbers are unaffected, since none is negative; so is `-`, the name of stdin.
fn escape_formula(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(FORMULA_STARTS) && cell != "-" {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Appends everything that `write` produces, one buffer at a time.
fn drain(line: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> (WriteResult, usize)) {
    let mut piece = [0; CHUNK_BYTES];
    loop {
        let (result, written) = write(&mut piece);
        line.extend_from_slice(piece.get(..written).unwrap_or_default());
        if result == WriteResult::InputEmpty {
            return;
        }
    }
}

impl Reporter for CsvReporter {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        self.write_header()?;
        match event {
            EngineEvent::Settled(settled) => {
                let record = &settled.record;
                self.write_row(COLUMNS.map(|(_, field)| field.text(record)))
            }
            EngineEvent::Continuing { .. } => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self, _summary: &crate::model::Summary) -> io::Result<()> {
        // A table without rows has a header, too.
        self.write_header()?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_that_look_like_formulas_are_escaped() {
        for first in FORMULA_STARTS {
            let cell = format!("{first}1+1");
            assert_eq!(escape_formula(&cell), format!("'{cell}"));
        }
        for cell in [
            "",
            "1",
            "0.5",
            "http://a/=1",
            "'=1",
            "-",
            "a-b",
            "\u{ff0e}",
            "W/\"x\"",
        ] {
            assert_eq!(escape_formula(cell), cell);
        }
    }
}
