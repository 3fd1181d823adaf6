//! `--json`: one record per line.

use std::io;

use super::{Output, Reporter};
use crate::model::EngineEvent;

/// Writes each record as a line of JSON.
pub(crate) struct JsonlReporter(Output);

impl JsonlReporter {
    /// Creates a reporter that writes to `output`.
    #[must_use]
    pub(crate) fn new(output: Output) -> Self {
        Self(output)
    }
}

impl Reporter for JsonlReporter {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        self.0.line().extend_from_slice(settled.json()?);
        self.0.end_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
