//! A list of a command line that can't be read: where, and what would be right.

use std::fmt;

use super::text::escape_control;

/// A SPEC or LIST that can't be read: where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    spec: String,
    start: usize,
    length: usize,
    message: String,
}

impl SpecError {
    pub(crate) fn new(spec: &str, start: usize, length: usize, message: String) -> Self {
        Self {
            spec: spec.to_owned(),
            start,
            length,
            message,
        }
    }

    /// An error at `place`, which is a slice of `spec`.
    pub(crate) fn at(spec: &str, place: &str, message: String) -> Self {
        let start = (place.as_ptr() as usize).saturating_sub(spec.as_ptr() as usize);
        Self::new(spec, start.min(spec.len()), place.len(), message)
    }

    /// The part of the text that is wrong.
    #[cfg(test)]
    pub(crate) fn marked(&self) -> &str {
        &self.spec[self.start..self.start + self.length]
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |range| self.spec.get(range).unwrap_or_default();
        // As wide as it is shown.
        let width = |text| escape_control(text).chars().count();
        let before = width(part(0..self.start));
        let marked = width(part(self.start..self.start + self.length)).max(1);
        writeln!(f, "{}", escape_control(&self.message))?;
        writeln!(f, "  {}", escape_control(&self.spec))?;
        write!(f, "  {}{}", " ".repeat(before), "^".repeat(marked))
    }
}

impl std::error::Error for SpecError {}
