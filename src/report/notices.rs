//! Notices for the user during a run, apart from results.

use std::io;

use super::summary::count;
use super::{Output, Reporter};
use crate::model::{EngineEvent, escape_control};

/// Writes notices. A write error is ignored: a closed stderr must not end the run.
pub(crate) struct NoticeReporter(Output);

impl NoticeReporter {
    /// Creates a reporter that writes to `output`.
    #[must_use]
    pub(crate) fn new(output: Output) -> Self {
        Self(output)
    }

    /// Writes `text` as one line. Control characters are escaped, since file names may contain any.
    pub(crate) fn write_notice(&mut self, text: &str) {
        self.0
            .line()
            .extend_from_slice(escape_control(text).as_bytes());
        let _ = self.0.end_line().and_then(|()| self.0.flush());
    }
}

impl Reporter for NoticeReporter {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        match event {
            EngineEvent::Continuing { done, of, is_all } => {
                let (done, of) = (count(*done), count(*of));
                self.write_notice(&if *is_all {
                    format!("resuming: {done} of {of} already done")
                } else {
                    format!("resuming: {done} of the first {of} already done")
                });
            }
            EngineEvent::Settled(_) => {}
        }
        Ok(())
    }
}
