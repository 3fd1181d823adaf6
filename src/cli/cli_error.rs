//! Why the program exits before doing anything.

use super::flag_hints;
use super::options::SettingError;

/// Why the program exits before doing anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line is invalid, or requests help.
    #[error(transparent)]
    Usage(Box<clap::Error>),
    /// A variable or a config file has an invalid setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// `--explain` with an unknown error kind.
    #[error("--explain {0}")]
    Explain(String),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(flag_hints::add(error)))
    }
}
