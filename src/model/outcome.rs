//! What became of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FetchError, ResponseHead, SavedBody};

/// A job that was fetched: a final 2xx whose whole body came.
#[derive(Debug, Clone)]
pub struct FetchSuccess {
    /// The head of the final response, for those who get the body, too: what others want of it
    /// stands in the record, and a server may send 400 KiB.
    pub head: Option<ResponseHead>,
    /// Where the bytes went.
    pub saved: SavedBody,
}

/// What became of a job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Fetched, whole.
    Fetched(Box<FetchSuccess>),
    /// Not fetched, and why.
    Failed(FetchError),
    /// Nothing was to be done: an earlier run had fetched it.
    Skipped,
}

/// What became of a job, as it stands in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// Fetched, whole.
    Fetched,
    /// Not fetched.
    Failed,
    /// Nothing was to be done.
    Skipped,
}

impl OutcomeName {
    /// As it stands in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for OutcomeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Outcome {
    /// The name in records.
    #[must_use]
    pub fn name(&self) -> OutcomeName {
        match self {
            Self::Fetched(_) => OutcomeName::Fetched,
            Self::Failed(_) => OutcomeName::Failed,
            Self::Skipped => OutcomeName::Skipped,
        }
    }
}
