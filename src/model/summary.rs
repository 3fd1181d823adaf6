//! The counts of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ErrorKind, Outcome};

/// The counts of a run: `input = fetched + failed + skipped + left`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that stood in the list, comments and blank lines not counted.
    pub input: u64,
    /// Final 2xx, whole body.
    pub fetched: u64,
    /// Not fetched, with a reason.
    pub failed: u64,
    /// Nothing to do.
    pub skipped: u64,
    /// Without a record, because the run was ended early.
    pub left: u64,
    /// Whether the list was read to its end. If not, it may hold more than `input`.
    pub list_ended: bool,
    /// Failures by kind.
    pub by_kind: BTreeMap<ErrorKind, u64>,
    /// Failures of kind `status` by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Decoded bytes of the fetched bodies.
    pub bytes: u64,
    /// Attempts after a failed one; redirect hops are none.
    pub retries: u64,
    /// How long the run took.
    pub wall: Duration,
    /// Time all requests took together: what they would have cost one after another.
    pub one_by_one: Duration,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
}

impl Summary {
    /// Counts one settled job.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fetched(fetched) => {
                self.fetched += 1;
                self.bytes += fetched.saved.bytes;
            }
            Outcome::Failed(error) => {
                self.failed += 1;
                *self.by_kind.entry(error.kind()).or_default() += 1;
                if let Some(status) = error.status() {
                    *self.by_status.entry(status.as_u16()).or_default() += 1;
                }
            }
            Outcome::Skipped => self.skipped += 1,
        }
    }

    /// Jobs with a record.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.fetched + self.failed + self.skipped
    }

    /// Whether every line was fetched or skipped.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.left == 0
    }
}
