//! What can go wrong with a run as a whole.

use super::{RESULTS, SaveError};
use crate::fetch::TransportError;
use crate::input::InputError;
use crate::model::{EndReason, Summary};
use crate::report::ReportError;

/// A run that did not go as it should. What was done until then is in the summary.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct RunError {
    /// The counts of what was done.
    pub summary: Box<Summary>,
    /// What went wrong.
    #[source]
    pub problem: Problem,
}

/// What can go wrong with a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// An input can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The HTTP client can't be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Results can't be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Bodies or the journal can't be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// It ended before every URL had a result, where each needs one.
    #[error("the run ended early: {0}")]
    EndedEarly(EndReason),
    /// A mistake in this program.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl From<Problem> for RunError {
    fn from(problem: Problem) -> Self {
        Self {
            summary: Box::default(),
            problem,
        }
    }
}

impl Problem {
    /// Whether the reader of the results has gone (`| head -1`): no error, but an end.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Report(error) if is_closed_pipe(error))
    }
}

/// See [`Problem::is_closed_pipe`].
pub fn is_closed_pipe(error: &ReportError) -> bool {
    error.what == RESULTS && error.source.kind() == std::io::ErrorKind::BrokenPipe
}
