//! Outcomes of jobs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FetchError, ResponseHead, SavedBody};

/// The result of a fetched job: a final 2xx with a complete body.
#[derive(Debug, Clone)]
pub struct FetchSuccess {
    /// The head of the final response, only if the caller also gets the body. For others the
    /// record has what they need, and a head may take 400 KiB.
    pub head: Option<ResponseHead>,
    /// Where the body was stored.
    pub saved: SavedBody,
}

/// The outcome of a settled job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Fetched, with a complete body.
    Fetched(Box<FetchSuccess>),
    /// Failed with this error.
    Failed(FetchError),
    /// Skipped because an earlier run fetched it.
    Skipped,
}

/// What became of a URL, as records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutcomeName {
    /// Fetched, with a complete body.
    Fetched,
    /// Failed.
    Failed,
    /// Skipped because an earlier run fetched it.
    Skipped,
}

impl OutcomeName {
    /// Returns the name in records.
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
    /// Returns the name in records.
    #[must_use]
    pub fn name(&self) -> OutcomeName {
        match self {
            Self::Fetched(_) => OutcomeName::Fetched,
            Self::Failed(_) => OutcomeName::Failed,
            Self::Skipped => OutcomeName::Skipped,
        }
    }
}
