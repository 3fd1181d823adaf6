//! What is wrong with a line or a list.

use std::io;

use crate::model::Hint;

/// Why a line is invalid or a list cannot be read, and what may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct ListFlaw {
    pub reason: String,
    pub hint: Option<Hint>,
}

impl ListFlaw {
    pub(super) fn with_hint(reason: impl Into<String>, hint: Hint) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint),
        }
    }

    /// Returns the error of a list that cannot be read.
    pub(super) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// Returns what may help against the error of a list.
    pub(super) fn hint_of(error: &io::Error) -> Option<Hint> {
        error.get_ref()?.downcast_ref::<Self>()?.hint
    }
}

impl From<String> for ListFlaw {
    fn from(reason: String) -> Self {
        Self { reason, hint: None }
    }
}

impl From<&str> for ListFlaw {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}
