//! The rows of a table, one after another. A row that is broken ends with its first line, however
//! far it had to be read to know that: the lines behind it are still there, and are read again.

use std::borrow::Cow;
use std::io::{self, BufRead};

use memchr::{memchr2, memchr2_iter};

use super::compressed::InputStream;
use super::row::{CellDelimiter, RowFlaw, RowScan};

/// Room that is kept when there is little to read, in bytes.
const RETAINED_BYTES: usize = 1 << 20;
/// As much of a broken row as is looked at, in bytes.
const MAX_BROKEN_BYTES: usize = 64 * 1024;

/// One row.
pub struct CsvRow<'a> {
    /// Its text; of a broken one, its first line, or the beginning of that.
    pub text: &'a [u8],
    /// The line it begins on, from 1.
    pub line: u64,
    pub flaw: Option<RowFlaw>,
    scan: &'a RowScan,
}

impl<'a> CsvRow<'a> {
    /// Its cells, without their quotes.
    pub fn cells(&self) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.scan.cells(self.text)
    }

    /// How many cells it has.
    pub fn count(&self) -> usize {
        self.scan.count()
    }

    /// A cell, if it is known where it ends.
    pub fn cell(&self, number: usize) -> Option<Cow<'a, [u8]>> {
        self.scan.cell(self.text, number)
    }

    /// That it has another number of cells than the header, in words.
    pub fn explain_count(&self, names: usize) -> String {
        let count = self.count();
        let cells = if count == 1 { "cell" } else { "cells" };
        let hint = match self.scan.delimiter() {
            _ if count < names => "",
            CellDelimiter::Comma => " (a cell with a comma in it needs quotes)",
            CellDelimiter::Tab => " (a tab ends a cell, also between quotes)",
        };
        format!("the row has {count} {cells} and the header {names}{hint}")
    }

    /// What is wrong with it, in words.
    pub fn explain(&self, flaw: RowFlaw) -> String {
        self.scan.explain(flaw)
    }

    pub fn is_empty(&self) -> bool {
        self.flaw.is_none() && self.cells().all(|cell| cell.trim_ascii().is_empty())
    }
}

/// The rows of a stream.
pub struct RowStream {
    stream: InputStream,
    scan: RowScan,
    /// What was read: as much as it takes to know where a row ends, so little more than the
    /// longest row.
    window: Vec<u8>,
    /// What of that was passed.
    passed: usize,
    /// The line that comes next, from 1.
    line: u64,
    /// The line before ended with a CR, and what followed was not there yet: an LF belongs to it.
    after_cr: bool,
    is_at_end: bool,
}

impl RowStream {
    pub fn new(stream: InputStream, delimiter: CellDelimiter) -> Self {
        Self {
            stream,
            scan: RowScan::new(delimiter),
            window: Vec::new(),
            passed: 0,
            line: 1,
            after_cr: false,
            is_at_end: false,
        }
    }

    /// What `look` makes of the next row; `None` at the end.
    pub fn next<T>(&mut self, look: impl FnOnce(&CsvRow<'_>) -> T) -> io::Result<Option<T>> {
        if !self.skip_line_ends()? {
            return Ok(None);
        }
        let flaw = self.read_row()?.err();
        let length = match flaw {
            None => self.scan.length(),
            Some(_) => self.read_first_line()?,
        };
        let rest = self.rest();
        let row = CsvRow {
            text: rest.get(..length).unwrap_or(rest),
            line: self.line,
            flaw,
            scan: &self.scan,
        };
        let found = look(&row);
        self.line += line_ends(row.text);
        self.pass(length);
        self.skip_rest_of_line()?;
        Ok(Some(found))
    }

    /// Whether a whole row is in memory already, so that reading on can't block.
    pub fn is_ready(&self) -> bool {
        has_row(self.rest(), self.scan.delimiter())
    }

    /// Bytes of the file taken so far.
    pub fn position(&self) -> u64 {
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

    /// How much there is of the first line of a broken row: what is wrong with it may be known
    /// before its end.
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

    /// Passes over what stands between rows; false at the end.
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

    /// The first line of a broken row may be longer than what is read of it.
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

    /// Takes the line end that is there, but does not wait for the second half of one: the row
    /// is known already.
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

    /// Reads more; false at the end.
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
            // Less than twice as much: it has megabytes when a quote is not closed.
            self.window.reserve_exact(piece.len().max(length / 4));
        }
        self.window.extend_from_slice(piece);
        self.is_at_end = piece.is_empty();
        let read = piece.len();
        self.stream.reader.consume(read);
        Ok(read > 0)
    }
}

/// Lines that end within a row.
fn line_ends(row: &[u8]) -> u64 {
    let ends = memchr2_iter(b'\n', b'\r', row);
    let lines = ends.filter(|at| {
        let is_crlf = row.get(*at..at + 2) == Some(b"\r\n");
        !is_crlf
    });
    lines.count() as u64
}

/// Whether a whole row stands there: a line end outside of quotes, after something else. A
/// quote that has no business where it is may be misjudged; then the rows read so far are
/// handed on a moment too early, or too late.
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
    fn a_row_is_ready_once_its_line_end_is_there() {
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
