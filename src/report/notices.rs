//! What people are told while a run goes on, apart from results.

use std::io;

use super::summary::count;
use super::{Output, Reporter};
use crate::model::{Event, harmless};

/// Tells people what is going on. That nobody listens is no reason to end a run.
pub struct Notices(Output);

impl Notices {
    /// They go to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self(output)
    }

    /// Says something, in one line: names of files may hold anything.
    pub fn say(&mut self, text: &str) {
        self.0.line().extend_from_slice(harmless(text).as_bytes());
        let _ = self.0.end_line().and_then(|()| self.0.flush());
    }
}

impl Reporter for Notices {
    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Continuing { done, of, is_all } => {
                let (done, of) = (count(*done), count(*of));
                self.say(&if *is_all {
                    format!("continuing: {done} of {of} already done")
                } else {
                    format!("continuing: {done} of the first {of} already done")
                });
            }
            Event::Settled(_) => {}
        }
        Ok(())
    }
}
