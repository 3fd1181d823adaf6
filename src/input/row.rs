//! Scans one row of CSV or TSV for its end and its cells.
//!
//! Common CSV readers accept any input: after an unclosed quote, the rest of the list becomes one
//! cell. This one detects rows that violate RFC 4180.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr3};

/// Longest row, in bytes. A row may contain a request body and is held in memory.
pub(super) const MAX_ROW_BYTES: usize = 16 << 20;
/// Maximum number of cells in a row.
pub(super) const MAX_CELLS: usize = 4096;

/// The delimiter between cells, with its quoting rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellDelimiter {
    /// A comma. Cells with a comma, a line break or a quote are quoted.
    Comma,
    /// A semicolon, with the same rules: spreadsheets write it where a comma separates decimals.
    Semicolon,
    /// A tab. It always ends a cell, and a line break always ends a row, even inside quotes; a pair
    /// of quotes around a whole cell is removed.
    Tab,
}

impl CellDelimiter {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// Why a row is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowFlaw {
    NotClosed,
    TextBehind,
    TooLong,
    TooManyCells,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowState {
    /// At the start of a cell.
    Start,
    /// In a cell without quotes.
    Plain,
    Quoted,
    /// After the closing quote of a cell.
    Closed,
}

enum RowStep {
    On,
    /// More bytes are needed.
    More,
    Ended,
    Broken(RowFlaw),
}

#[derive(Debug)]
struct RowCell {
    text: Range<usize>,
    /// Whether it contains doubled quotes, each meaning one quote.
    is_doubled: bool,
}

impl RowCell {
    fn text<'a>(&self, row: &'a [u8]) -> Cow<'a, [u8]> {
        let text = row.get(self.text.clone()).unwrap_or_default();
        if !self.is_doubled {
            return Cow::Borrowed(text);
        }
        let mut is_second = false;
        let once = |byte: &&u8| {
            is_second = **byte == b'"' && !is_second;
            **byte != b'"' || is_second
        };
        Cow::Owned(text.iter().filter(once).copied().collect())
    }
}

/// An incremental scan of a row: when more bytes arrive, it continues where it stopped.
#[derive(Debug)]
pub(super) struct RowScan {
    delimiter: CellDelimiter,
    state: RowState,
    /// Number of bytes scanned.
    at: usize,
    start: usize,
    is_doubled: bool,
    cells: Vec<RowCell>,
}

impl RowScan {
    pub(super) fn new(delimiter: CellDelimiter) -> Self {
        Self {
            delimiter,
            state: RowState::Start,
            at: 0,
            start: 0,
            is_doubled: false,
            cells: Vec::new(),
        }
    }

    /// Starts another row.
    pub(super) fn clear(&mut self) {
        self.state = RowState::Start;
        self.at = 0;
        self.cells.clear();
    }

    /// Returns the length of a complete row, without its line break.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    pub(super) fn delimiter(&self) -> CellDelimiter {
        self.delimiter
    }

    /// Returns the number of cells.
    pub(super) fn count(&self) -> usize {
        self.cells.len()
    }

    /// Returns the cells of `row`, without their quotes.
    pub(super) fn cells<'a>(&'a self, row: &'a [u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.cells.iter().map(|cell| cell.text(row))
    }

    /// Returns a cell by its index, if it ends within `row`.
    pub(super) fn cell<'a>(&self, row: &'a [u8], number: usize) -> Option<Cow<'a, [u8]>> {
        let cell = self.cells.get(number)?;
        (cell.text.end <= row.len()).then(|| cell.text(row))
    }

    /// Continues the scan with all bytes available so far, from the start of the row. Returns
    /// `None` if more are needed.
    pub(super) fn advance(&mut self, row: &[u8]) -> Option<Result<(), RowFlaw>> {
        loop {
            let step = match self.state {
                RowState::Start => self.begin(row),
                RowState::Plain => self.look_for_end(row),
                RowState::Quoted => self.look_for_quote(row),
                RowState::Closed => self.close(row),
            };
            if self.cells.len() > MAX_CELLS {
                return Some(Err(RowFlaw::TooManyCells));
            }
            if self.at > MAX_ROW_BYTES {
                return Some(Err(RowFlaw::TooLong));
            }
            match step {
                RowStep::On => {}
                RowStep::More => {
                    return (row.len() > MAX_ROW_BYTES).then_some(Err(RowFlaw::TooLong));
                }
                RowStep::Ended => return Some(Ok(())),
                RowStep::Broken(flaw) => return Some(Err(flaw)),
            }
        }
    }

    /// Completes the scan of a row that ends with the input.
    pub(super) fn finish(&mut self, row: &[u8]) -> Result<(), RowFlaw> {
        match self.state {
            // The last byte is a quote that might have been the first of a doubled one.
            RowState::Quoted if self.at < row.len() => self.push(row, self.at),
            RowState::Quoted => return Err(RowFlaw::NotClosed),
            RowState::Start => {
                self.start = self.at;
                self.push(row, self.at);
            }
            RowState::Plain => self.push(row, row.len()),
            RowState::Closed => {}
        }
        self.at = row.len();
        match self.cells.len() {
            ..=MAX_CELLS => Ok(()),
            _ => Err(RowFlaw::TooManyCells),
        }
    }

    fn begin(&mut self, row: &[u8]) -> RowStep {
        let Some(first) = row.get(self.at) else {
            return RowStep::More;
        };
        self.is_doubled = false;
        if *first == b'"' && self.delimiter != CellDelimiter::Tab {
            self.at += 1;
            self.state = RowState::Quoted;
        } else {
            self.state = RowState::Plain;
        }
        self.start = self.at;
        RowStep::On
    }

    fn look_for_end(&mut self, row: &[u8]) -> RowStep {
        let rest = row.get(self.at..).unwrap_or_default();
        let Some(end) = memchr3(self.delimiter.byte(), b'\n', b'\r', rest) else {
            self.at = row.len();
            return RowStep::More;
        };
        self.at += end;
        self.push(row, self.at);
        self.end_cell(row)
    }

    fn look_for_quote(&mut self, row: &[u8]) -> RowStep {
        let rest = row.get(self.at..).unwrap_or_default();
        let Some(quote) = memchr(b'"', rest) else {
            self.at = row.len();
            return RowStep::More;
        };
        self.at += quote;
        match row.get(self.at + 1) {
            None => return RowStep::More,
            Some(b'"') => {
                self.is_doubled = true;
                self.at += 2;
            }
            Some(_) => {
                self.push(row, self.at);
                self.at += 1;
                self.state = RowState::Closed;
            }
        }
        RowStep::On
    }

    fn close(&mut self, row: &[u8]) -> RowStep {
        let rest = row.get(self.at..).unwrap_or_default();
        // Whitespace after the closing quote is tolerated.
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        self.at += spaces.count();
        match row.get(self.at) {
            None => RowStep::More,
            Some(b'\n' | b'\r') => self.end_cell(row),
            Some(byte) if *byte == self.delimiter.byte() => self.end_cell(row),
            Some(_) => RowStep::Broken(RowFlaw::TextBehind),
        }
    }

    /// Handles the byte that ends a cell.
    fn end_cell(&mut self, row: &[u8]) -> RowStep {
        if row.get(self.at) != Some(&self.delimiter.byte()) {
            return RowStep::Ended;
        }
        self.at += 1;
        self.state = RowState::Start;
        // After the last delimiter there is one more cell, possibly empty.
        RowStep::On
    }

    fn push(&mut self, row: &[u8], end: usize) {
        let mut cell = RowCell {
            text: self.start..end,
            is_doubled: self.is_doubled,
        };
        if self.delimiter == CellDelimiter::Tab
            && let Some((inner, is_doubled)) = unquoted(row, &cell.text)
        {
            (cell.text, cell.is_doubled) = (inner, is_doubled);
        }
        self.cells.push(cell);
    }

    /// Returns the message for a flaw.
    pub(super) fn explain(&self, flaw: RowFlaw) -> String {
        let number = self.cells.len();
        let mib = MAX_ROW_BYTES >> 20;
        match flaw {
            RowFlaw::NotClosed => format!("unclosed quote in cell {}", number + 1),
            RowFlaw::TooLong if self.state == RowState::Quoted => {
                let number = number + 1;
                format!("unclosed quote in cell {number}: row exceeds {mib} MiB")
            }
            RowFlaw::TextBehind => format!(
                "text after the closing quote of cell {number} (write a quote inside quotes twice)"
            ),
            RowFlaw::TooLong => format!("row exceeds {mib} MiB"),
            RowFlaw::TooManyCells => format!("row exceeds {MAX_CELLS} cells"),
        }
    }
}

/// Returns the text inside a pair of quotes around a whole cell, and whether it contains doubled
/// quotes. With single quotes inside, the outer two are not a pair: `"a" and "b"`.
fn unquoted(row: &[u8], cell: &Range<usize>) -> Option<(Range<usize>, bool)> {
    let [b'"', inner @ .., b'"'] = row.get(cell.clone())? else {
        return None;
    };
    let mut quotes = memchr_iter(b'"', inner);
    let mut is_doubled = false;
    while let Some(quote) = quotes.next() {
        if quotes.next() != Some(quote + 1) {
            return None;
        }
        is_doubled = true;
    }
    Some((cell.start + 1..cell.end - 1, is_doubled))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cells of the first row, or its flaw; must not depend on the size of reads.
    fn cells(delimiter: CellDelimiter, row: &str) -> Result<Vec<String>, RowFlaw> {
        let row = row.as_bytes();
        let mut found = Vec::new();
        for piece in 1..=row.len().max(1) {
            let mut scan = RowScan::new(delimiter);
            let ends = (piece..row.len()).step_by(piece).chain([row.len()]);
            let end = ends
                .map(|end| scan.advance(&row[..end]))
                .find(Option::is_some);
            let end = end.flatten().unwrap_or_else(|| scan.finish(row));
            let cells = scan.cells(row);
            let cells = cells.map(|cell| String::from_utf8(cell.into_owned()).unwrap());
            let cells: Vec<_> = cells.collect();
            found.push(end.map(|()| cells));
        }
        found.dedup();
        assert_eq!(found.len(), 1, "{row:?}: {found:?}");
        found.pop().unwrap()
    }

    #[test]
    fn csv_cells_may_be_quoted() {
        let csv = |row| cells(CellDelimiter::Comma, row);
        for (row, expected) in [
            ("a,b\n", vec!["a", "b"]),
            ("a,\nx", vec!["a", ""]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            ("\"a,\r\nb\",c\r\n", vec!["a,\r\nb", "c"]),
            ("\"say \"\"hi\"\"\",\"\"", vec!["say \"hi\"", ""]),
            ("\"\"\"\"\r", vec!["\""]),
            ("\"a\" \t,b", vec!["a", "b"]),
            ("a\"b\"c, \"d\"", vec!["a\"b\"c", " \"d\""]),
            ("\"a\"", vec!["a"]),
        ] {
            assert_eq!(csv(row).unwrap(), expected, "{row:?}");
        }
        for (row, flaw) in [
            ("\"a\"b,c\n", RowFlaw::TextBehind),
            ("x,\"a\n\"y\",b\n", RowFlaw::TextBehind),
            ("x,\"a\ny,b\n", RowFlaw::NotClosed),
            ("x,\"", RowFlaw::NotClosed),
            ("x,\"a\"\"", RowFlaw::NotClosed),
        ] {
            assert_eq!(csv(row), Err(flaw), "{row:?}");
        }
    }

    #[test]
    fn in_tsv_only_a_pair_of_quotes_around_a_whole_cell_is_removed() {
        let tsv = |row| cells(CellDelimiter::Tab, row).unwrap();
        for (row, expected) in [
            ("\"a\tb\"\nc", vec!["\"a", "b\""]),
            ("\"a\"\t\"\"\t\"", vec!["a", "", "\""]),
            ("\"say \"\"hi\"\"\"\tx\r", vec!["say \"hi\"", "x"]),
            ("\"a\" and \"b\"\t\"a\"b", vec!["\"a\" and \"b\"", "\"a\"b"]),
            ("a,b\t\"c,d\"", vec!["a,b", "c,d"]),
        ] {
            assert_eq!(tsv(row), expected, "{row:?}");
        }
    }

    #[test]
    fn cells_and_bytes_of_a_row_are_limited() {
        let mut scan = RowScan::new(CellDelimiter::Comma);
        let row = vec![b','; MAX_CELLS + 10];
        assert_eq!(scan.advance(&row), Some(Err(RowFlaw::TooManyCells)));
        scan.clear();
        let mut row = vec![b'x'; MAX_ROW_BYTES];
        assert_eq!(scan.advance(&row), None);
        row.push(b'x');
        assert_eq!(scan.advance(&row), Some(Err(RowFlaw::TooLong)));
        assert_eq!(scan.explain(RowFlaw::TooLong), "row exceeds 16 MiB");
    }
}
