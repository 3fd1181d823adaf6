//! What people are told while a run goes on, apart from results.

use std::io;

use super::summary::count;
use super::{Output, Reporter};
use crate::model::{EngineEvent, escape_control};

/// Tells people what is going on. That nobody listens is no reason to end a run.
pub struct NoticeReporter(Output);

impl NoticeReporter {
    /// They go to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self(output)
    }

    /// Says something, in one line: names of files may hold anything.
    pub fn write_notice(&mut self, text: &str) {
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
                    format!("continuing: {done} of {of} already done")
                } else {
                    format!("continuing: {done} of the first {of} already done")
                });
            }
            EngineEvent::Settled(_) => {}
        }
        Ok(())
    }
}
