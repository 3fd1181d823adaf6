//! `--csv`: a table with a row for each URL (RFC 4180, with line feeds alone).

use std::borrow::Cow;
use std::io;

use csv_core::{WriteResult, Writer};

use super::fields::COLUMNS;
use super::{Output, Reporter};
use crate::model::EngineEvent;

/// Bytes that a cell is written in at a time.
const CHUNK_BYTES: usize = 1024;

/// What a spreadsheet takes for the begin of a formula, the full-width forms included, or passes
/// over on its way to one. Formulas can run programs and send other cells away.
const FORMULA_STARTS: [char; 11] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n',
];

/// Writes a row for each URL below a row of names.
pub struct CsvReporter {
    output: Output,
    writer: Writer,
    has_head: bool,
}

impl CsvReporter {
    /// Writes to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self {
            output,
            writer: Writer::new(),
            has_head: false,
        }
    }

    fn head(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_head, true) {
            return Ok(());
        }
        self.row(COLUMNS.map(|(name, _)| name))
    }

    fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) -> io::Result<()> {
        let line = self.output.line();
        for (number, cell) in cells.into_iter().enumerate() {
            if number > 0 {
                drain(line, |piece| self.writer.delimiter(piece));
            }
            let cell = defused(cell.as_ref());
            let mut rest = cell.as_bytes();
            drain(line, |piece| {
                let (result, read, written) = self.writer.field(rest, piece);
                rest = rest.get(read..).unwrap_or_default();
                (result, written)
            });
        }
        // The line end is the output's, so that of the writer is not asked for: but it has to
        // know that a row is over.
        let mut end = Vec::new();
        drain(&mut end, |piece| self.writer.terminator(piece));
        let quote = end.strip_suffix(b"\n").unwrap_or(&end);
        line.extend_from_slice(quote);
        self.output.end_line()
    }
}

/// A cell that no spreadsheet takes for a formula: an apostrophe in front makes it a text. Numbers
/// are never negative here, so they stay what they are; so does the `-` that stdin is called.
fn defused(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(FORMULA_STARTS) && cell != "-" {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Writes what comes piece by piece.
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
        self.head()?;
        match event {
            EngineEvent::Settled(settled) => {
                let record = &settled.record;
                self.row(COLUMNS.map(|(_, field)| field.text(record)))
            }
            EngineEvent::Continuing { .. } => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self, _summary: &crate::model::Summary) -> io::Result<()> {
        // A table without rows has its names all the same.
        self.head()?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_everything_else_stays_as_it_is() {
        for first in FORMULA_STARTS {
            let cell = format!("{first}1+1");
            assert_eq!(defused(&cell), format!("'{cell}"));
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
            assert_eq!(defused(cell), cell);
        }
    }
}
