//! Errors of a run as a whole, as opposed to those of a URL.

use std::path::PathBuf;

use crate::fetch::TransportError;
use crate::input::InputError;
use crate::model::{EndReason, FetchError, Summary};
use crate::report::{JournalError, ReportError};
#[cfg(feature = "cli")]
use crate::store::PartsError;
use crate::store::{FolderError, PackError};

/// Name of the stream of results in errors.
pub(super) const RESULTS: &str = "results";

/// Error of a run that could not continue. The summary has what was done until then.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
#[non_exhaustive]
pub struct RunError {
    /// The counts until the run failed.
    pub summary: Box<Summary>,
    /// The cause.
    #[source]
    pub problem: Problem,
}

/// Cause of a [`RunError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Results cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Bodies or the journal cannot be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The run ended early, and left URLs without the result that each of them needs.
    #[error("the run ended early: {0}")]
    EndedEarly(EndReason),
    /// The system does not start a thread.
    #[error(transparent)]
    Thread(std::io::Error),
    /// A bug in fetchall.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// Error of saving that ends the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The output directory cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal cannot be used.
    #[error("cannot use the journal {}: {cause}", path.display())]
    Journal {
        /// Its path.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: JournalError,
    },
    /// There is no journal to compare with.
    #[error("no journal at {}: no run has saved anything there", .0.display())]
    NoJournal(PathBuf),
    /// The pack cannot be used.
    #[error("cannot use the pack {}: {cause}", path.display())]
    Pack {
        /// Its path.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: PackError,
    },
    /// The parts of a list cannot be written.
    #[cfg(feature = "cli")]
    #[error("cannot write the parts to {}: {cause}", path.display())]
    Parts {
        /// Their directory.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: PartsError,
    },
    /// The command for finished packs has failed for good.
    #[error("cannot deliver {}: {cause}; the pack is kept, rerun to deliver it", path.display())]
    Delivery {
        /// The pack.
        path: PathBuf,
        /// The cause, with the last line that the command wrote to its stderr.
        cause: std::io::Error,
    },
    /// The disk is full or fails.
    #[error("{0}; saved data is kept, rerun to resume")]
    Disk(FetchError),
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
    /// Whether the reader of the results has closed the pipe (`| head -1`), which is not an error
    /// but a regular end of the run.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Report(error) if is_closed_pipe(error))
    }
}

/// See [`Problem::is_closed_pipe`].
pub(super) fn is_closed_pipe(error: &ReportError) -> bool {
    error.what == RESULTS && error.source.kind() == std::io::ErrorKind::BrokenPipe
}
