//! What `--verify` has found: one line for each body that is missing or changed.

use std::io;

use super::Output;
use crate::model::{ContentChange, Record, escape_control, write_json};

/// Writes the records of bodies that are not as the journal says.
pub(crate) struct FindingWriter {
    output: Output,
    as_json: bool,
}

impl FindingWriter {
    /// Creates a writer of records, or of lines for people.
    #[must_use]
    pub(crate) fn new(output: Output, as_json: bool) -> Self {
        Self { output, as_json }
    }

    /// Writes one record as `missing|changed`, the file or URL, and the reason, separated by tabs;
    /// or as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = self.output.line();
        if self.as_json {
            write_json(&mut *line, record)?;
        } else {
            let what = match record.change {
                Some(ContentChange::Gone) => "missing",
                _ => "changed",
            };
            let name = record.file.as_ref().unwrap_or(&record.url);
            let reason = record.error.as_ref().map_or("", |error| &error.message);
            let (name, reason) = (escape_control(name), escape_control(reason));
            line.extend_from_slice(format!("{what}\t{name}\t{reason}").as_bytes());
        }
        self.output.end_line()?;
        self.output.flush()
    }
}
