//! Reads the rows of a table. A malformed row ends with its first line, however far it had to be
//! read to detect that; reading continues with the next line.

use std::borrow::Cow;
use std::io::{self, BufRead};

use memchr::{memchr2, memchr2_iter};

use super::row::{CellDelimiter, RowFlaw, RowScan};
use super::stream::InputStream;

/// Buffer capacity kept when rows are short, in bytes.
const RETAINED_BYTES: usize = 1 << 20;
/// Maximum bytes kept of a malformed row.
const MAX_BROKEN_BYTES: usize = 64 * 1024;

/// One row.
pub(super) struct CsvRow<'a> {
    /// Its text; for a malformed row, its first line or the beginning of that.
    pub text: &'a [u8],
    /// Number of its first line, from 1.
    pub line: u64,
    pub flaw: Option<RowFlaw>,
    scan: &'a RowScan,
}

impl<'a> CsvRow<'a> {
    /// Returns its cells, without their quotes.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.scan.cells(self.text)
    }

    /// Returns the byte between its cells.
    pub(super) fn delimiter(&self) -> u8 {
        self.scan.delimiter().byte()
    }

    /// Returns the number of its cells.
    pub(super) fn count(&self) -> usize {
        self.scan.count()
    }

    /// Returns a cell by its index, if its end is known.
    pub(super) fn cell(&self, number: usize) -> Option<Cow<'a, [u8]>> {
        self.scan.cell(self.text, number)
    }

    /// Returns the message for a row with another number of cells than the header.
    pub(super) fn explain_count(&self, names: usize) -> String {
        let count = self.count();
        let cells = if count == 1 { "cell" } else { "cells" };
        let hint = match self.scan.delimiter() {
            _ if count < names => "",
            CellDelimiter::Comma => " (quote cells that contain a comma)",
            CellDelimiter::Semicolon => " (quote cells that contain a semicolon)",
            CellDelimiter::Tab => " (a tab ends a cell, even inside quotes)",
        };
        format!("row has {count} {cells}, header has {names}{hint}")
    }

    /// Returns the message for a flaw.
    pub(super) fn explain(&self, flaw: RowFlaw) -> String {
        self.scan.explain(flaw)
    }

    /// Returns its text as a row with another delimiter, with the result of `use_row` for it.
    pub(super) fn split_at<T>(
        &self,
        delimiter: CellDelimiter,
        use_row: impl FnOnce(&CsvRow<'_>) -> T,
    ) -> T {
        let mut scan = RowScan::new(delimiter);
        let scanned = scan
            .advance(self.text)
            .unwrap_or_else(|| scan.finish(self.text));
        use_row(&CsvRow {
            text: self.text,
            line: self.line,
            flaw: scanned.err(),
            scan: &scan,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flaw.is_none() && self.cells().all(|cell| cell.trim_ascii().is_empty())
    }
}

/// Reads the rows of a stream.
pub(super) struct RowStream {
    stream: InputStream,
    scan: RowScan,
    /// Bytes read: just enough to find the end of a row, so not much more than the longest row.
    window: Vec<u8>,
    /// Bytes of `window` that were consumed.
    passed: usize,
    /// A copy of the last row, if it is to be kept.
    source: Option<Vec<u8>>,
    /// Number of the next line, from 1.
    line: u64,
    /// Whether the last line ended with a CR at the end of the data read so far: a following LF
    /// belongs to it.
    after_cr: bool,
    is_at_end: bool,
}

impl RowStream {
    pub(super) fn new(stream: InputStream, delimiter: CellDelimiter) -> Self {
        Self {
            stream,
            scan: RowScan::new(delimiter),
            window: Vec::new(),
            passed: 0,
            source: None,
            line: 1,
            after_cr: false,
            is_at_end: false,
        }
    }

    /// Keeps the text of the last row, if `keeps` is true.
    pub(super) fn keeping_source(mut self, keeps: bool) -> Self {
        self.source = keeps.then(Vec::new);
        self
    }

    /// Returns the text of the last row, if it is kept.
    pub(super) fn source(&self) -> &[u8] {
        self.source.as_deref().unwrap_or_default()
    }

    /// Sets the delimiter of the rows to come.
    pub(super) fn set_delimiter(&mut self, delimiter: CellDelimiter) {
        self.scan = RowScan::new(delimiter);
    }

    /// Reads the next row and returns the result of `use_row` for it; `None` at the end.
    pub(super) fn next<T>(
        &mut self,
        use_row: impl FnOnce(&CsvRow<'_>) -> T,
    ) -> io::Result<Option<T>> {
        if !self.skip_line_ends()? {
            return Ok(None);
        }
        let flaw = self.read_row()?.err();
        let length = match flaw {
            None => self.scan.length(),
            Some(_) => self.read_first_line()?,
        };
        let rest = self.window.get(self.passed..).unwrap_or_default();
        let text = rest.get(..length).unwrap_or(rest);
        if let Some(source) = &mut self.source {
            source.clear();
            source.shrink_to(RETAINED_BYTES);
            source.extend_from_slice(text);
        }
        let row = CsvRow {
            text,
            line: self.line,
            flaw,
            scan: &self.scan,
        };
        let found = use_row(&row);
        self.line += line_ends(row.text);
        self.pass(length);
        self.skip_rest_of_line()?;
        Ok(Some(found))
    }

    /// Whether a complete row is in memory, so that reading it cannot block.
    pub(super) fn is_ready(&self) -> bool {
        has_row(self.rest(), self.scan.delimiter())
    }

    /// Returns the number of bytes consumed from the file.
    pub(super) fn position(&self) -> u64 {
        self.stream.position(self.rest().len())
    }

    fn rest(&self) -> &[u8] {
        self.window.get(self.passed..).unwrap_or_default()
    }

    fn read_row(&mut self) -> io::Result<Result<(), RowFlaw>> {
        self.scan.clear();
        loop {
            let rest = self.window.get(self.passed..).unwrap_or_default();
            if let Some(end) = self.scan.advance(rest) {
                return Ok(end);
            }
            if !self.fill()? {
                let rest = self.window.get(self.passed..).unwrap_or_default();
                return Ok(self.scan.finish(rest));
            }
        }
    }

    /// Reads the first line of a malformed row and returns its length, cut at a maximum. The flaw
    /// may have been found before the end of that line.
    fn read_first_line(&mut self) -> io::Result<usize> {
        loop {
            let rest = self.rest();
            let line = rest.get(..MAX_BROKEN_BYTES).unwrap_or(rest);
            match memchr2(b'\n', b'\r', line) {
                Some(end) => return Ok(end),
                None if line.len() == MAX_BROKEN_BYTES => return Ok(MAX_BROKEN_BYTES),
                None => {}
            }
            if !self.fill()? {
                return Ok(self.rest().len());
            }
        }
    }

    /// Skips line breaks between rows; returns false at the end of the input.
    fn skip_line_ends(&mut self) -> io::Result<bool> {
        loop {
            match self.rest().first().copied() {
                Some(b'\n') if self.after_cr => {
                    self.after_cr = false;
                    self.pass(1);
                }
                Some(b'\n' | b'\r') => self.take_line_end(),
                Some(_) => return Ok(true),
                None if self.fill()? => {}
                None => return Ok(false),
            }
        }
    }

    /// Skips the rest of the line: that of a malformed row may be longer than the part kept.
    fn skip_rest_of_line(&mut self) -> io::Result<()> {
        loop {
            let rest = self.rest();
            match memchr2(b'\n', b'\r', rest) {
                Some(end) => {
                    self.pass(end);
                    self.take_line_end();
                    return Ok(());
                }
                None => self.pass(rest.len()),
            }
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Consumes the line break, but does not read on for the LF of a CRLF: that may block, and the
    /// row is complete.
    fn take_line_end(&mut self) {
        let (length, is_open) = match self.rest() {
            [b'\r', b'\n', ..] => (2, false),
            [b'\r'] => (1, true),
            _ => (1, false),
        };
        self.after_cr = is_open;
        self.line += 1;
        self.pass(length);
    }

    fn pass(&mut self, length: usize) {
        self.passed += length;
        if self.passed == self.window.len() {
            self.window.clear();
            self.window.shrink_to(RETAINED_BYTES);
            self.passed = 0;
        }
    }

    /// Reads more; returns false at the end of the input.
    fn fill(&mut self) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        self.window.drain(..self.passed);
        self.passed = 0;
        let length = self.window.len();
        if length < RETAINED_BYTES / 2 {
            self.window.shrink_to(RETAINED_BYTES);
        }
        let piece = self.stream.reader.fill_buf()?;
        if self.window.capacity() - length < piece.len() {
            // Grow by a quarter instead of doubling: with an unclosed quote it has megabytes.
            self.window.reserve_exact(piece.len().max(length / 4));
        }
        self.window.extend_from_slice(piece);
        self.is_at_end = piece.is_empty();
        let read = piece.len();
        self.stream.reader.consume(read);
        Ok(read > 0)
    }
}

/// Counts the line breaks within a row.
fn line_ends(row: &[u8]) -> u64 {
    let ends = memchr2_iter(b'\n', b'\r', row);
    let lines = ends.filter(|at| {
        let is_crlf = row.get(*at..at + 2) == Some(b"\r\n");
        !is_crlf
    });
    lines.count() as u64
}

/// Whether the buffer contains a complete row: a line break outside quotes, after other bytes. A
/// misplaced quote may be misjudged; then the rows read so far are passed on a moment too early or
/// too late.
fn has_row(buffer: &[u8], delimiter: CellDelimiter) -> bool {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = buffer.iter().position(|byte| !is_line_end(byte));
    let row = start.and_then(|start| buffer.get(start..));
    let row = row.unwrap_or_default();
    if delimiter == CellDelimiter::Tab {
        return memchr2(b'\n', b'\r', row).is_some();
    }
    let mut quoted = false;
    for at in memchr::memchr3_iter(b'"', b'\n', b'\r', row) {
        match row.get(at) {
            Some(b'"') => quoted = !quoted,
            _ if !quoted => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_ready_once_its_line_break_arrived() {
        for (buffer, ready) in [
            ("", false),
            ("\r\n\n", false),
            ("a,b", false),
            ("\na,b\n", true),
            ("a,b\r", true),
            ("a,\"b\n", false),
            ("a,\"b\n\"\"c\"\n", true),
        ] {
            let found = has_row(buffer.as_bytes(), CellDelimiter::Comma);
            assert_eq!(found, ready, "{buffer:?}");
        }
        assert!(has_row(b"a\t\"b\n", CellDelimiter::Tab));
    }
}
