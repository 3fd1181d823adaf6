//! `--csv`: one row per URL (RFC 4180, but rows end with a line feed only).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use csv_core::{WriteResult, Writer};

use super::fields::COLUMNS;
use super::{Output, Reporter};
use crate::model::{Columns, EngineEvent, Record, column_text, escape_control, escape_formula};

/// Size of the buffer that cells are encoded into.
const CHUNK_BYTES: usize = 1024;

/// Writes a header row, then one row per URL.
pub(crate) struct CsvReporter {
    output: Output,
    writer: Writer,
    has_header: bool,
    columns: KeptColumns,
}

/// The columns of the input lines.
#[derive(Default)]
struct KeptColumns {
    /// Their names, in the order of their cells.
    names: Vec<String>,
    /// Whether a last cell has all other columns as JSON.
    has_rest: bool,
}

impl CsvReporter {
    /// Creates a reporter that writes to `output`. `columns` are the names of the columns of input
    /// lines that become columns of their own, `*` for all.
    #[must_use]
    pub(crate) fn new(output: Output, columns: &[String]) -> Self {
        Self {
            output,
            writer: Writer::new(),
            has_header: false,
            columns: KeptColumns::new(columns),
        }
    }

    /// Writes the names, before the first row. If all columns of the input are kept, their names
    /// are those of that row.
    fn write_header(&mut self, first: Option<&Record>) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        if let Some(columns) = first.and_then(|record| record.columns.as_ref()) {
            self.columns.complete(columns);
        }
        let names = COLUMNS.map(|(name, _)| Cow::Borrowed(name));
        let kept = self.columns.header();
        self.write_row(names.into_iter().chain(kept))
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

impl KeptColumns {
    fn new(names: &[String]) -> Self {
        let (all, names): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name == "*");
        Self {
            names,
            has_rest: !all.is_empty(),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let mut names = self.names.iter();
        names.position(|kept| kept.eq_ignore_ascii_case(name))
    }

    /// Adds the names of the first row, if all columns are kept.
    fn complete(&mut self, columns: &Columns) {
        if !self.has_rest {
            return;
        }
        for (name, _) in columns.fields() {
            if self.position(&name).is_none() {
                self.names.push(name);
            }
        }
    }

    /// Returns the names of the cells. A name that a field of the record has gets a prefix, and so
    /// does one that has it already, since each name must be different.
    fn header(&self) -> Vec<Cow<'static, str>> {
        let rest = self.has_rest.then_some("columns");
        let is_taken = |name: &str| {
            let is_same = |taken: &str| taken.eq_ignore_ascii_case(name);
            let prefix = name.get(.."columns.".len());
            let has_prefix = prefix.is_some_and(|it| it.eq_ignore_ascii_case("columns."));
            has_prefix || is_same("columns") || COLUMNS.iter().any(|(taken, _)| is_same(taken))
        };
        let names = self.names.iter().map(|name| {
            let name = escape_control(name);
            Cow::Owned(if is_taken(&name) {
                format!("columns.{name}")
            } else {
                name.into_owned()
            })
        });
        names.chain(rest.map(Cow::Borrowed)).collect()
    }

    /// Returns the cells of a row.
    fn cells(&self, columns: Option<&Columns>) -> Vec<String> {
        let mut cells = vec![String::new(); self.names.len()];
        let mut rest = BTreeMap::new();
        for (name, value) in columns.map(Columns::values).unwrap_or_default() {
            let cell = self.position(&name).and_then(|at| cells.get_mut(at));
            match cell {
                Some(cell) => *cell = escape_control(&column_text(value)).into_owned(),
                None => {
                    rest.insert(name, value);
                }
            }
        }
        if self.has_rest {
            // Serializing text cannot fail.
            let json = serde_json::to_string(&rest).unwrap_or_default();
            cells.push(if rest.is_empty() { String::new() } else { json });
        }
        cells
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
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        let record = &settled.record;
        self.write_header(Some(record))?;
        let cells = COLUMNS.map(|(_, field)| field.text(record));
        let kept = self.columns.cells(record.columns.as_ref());
        self.write_row(cells.into_iter().chain(kept.into_iter().map(Cow::Owned)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self, _summary: &crate::model::Summary) -> io::Result<()> {
        // A table without rows has a header, too.
        self.write_header(None)?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_values_of_further_columns_are_json() {
        let names = ["status", "columns.status", "Columns", "id", "*"].map(str::to_owned);
        let kept = KeptColumns::new(&names);
        let header = [
            "columns.status",
            "columns.columns.status",
            "columns.Columns",
            "id",
            "columns",
        ];
        assert_eq!(kept.header(), header);
        let columns: Columns =
            serde_json::from_str(r#"{"id":{"a":1},"more":{"b":[2]},"text":"x"}"#).unwrap();
        let cells = kept.cells(Some(&columns));
        let rest = r#"{"more":{"b":[2]},"text":"x"}"#;
        assert_eq!(cells, ["", "", "", r#"{"a":1}"#, rest]);
    }
}
