//! Where a line stands in the inputs.

use std::sync::Arc;

/// The position of an input line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPosition {
    /// Number among all entries of the run, from 0 and without gaps: the order of `--ordered`.
    pub number: u64,
    /// Name of the input: a path, `-` for stdin, `argument` for a URL on the command line.
    pub input: Arc<str>,
    /// Line number in that input, from 1, blank lines and comments included.
    pub line: u64,
}

#[cfg(test)]
impl InputPosition {
    /// Returns the position of the first line of stdin.
    pub(crate) fn first() -> Self {
        Self {
            number: 0,
            input: "-".into(),
            line: 1,
        }
    }
}
