//! What the engine says while it runs.

use super::{Outcome, Place, Record};

/// A job that reached its end, for whatever reason.
#[derive(Debug)]
pub struct Settled {
    /// Where its line stood.
    pub place: Place,
    /// What became of it, as it is written.
    pub record: Record,
    /// What became of it, as a type.
    pub outcome: Outcome,
    /// The line for `--failed FILE`, where it differs from the record's `url`. May hold a
    /// password.
    pub raw: Option<Box<[u8]>>,
}

/// What the engine says to the reporters.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A job reached its end. Comes exactly once for each job that is not left.
    Settled(Box<Settled>),
    /// What earlier runs have done of the list, as far as it was read before the first wait.
    Continuing {
        /// Jobs that are skipped.
        done: u64,
        /// Jobs that were looked at.
        of: u64,
        /// Whether these are all of the list.
        is_all: bool,
    },
}
