//! Errors in a SPEC or LIST argument, with the position marked.

use std::fmt;

use super::text::escape_control;

/// A SPEC or LIST argument that cannot be parsed. Displays the message, the argument, and a
/// marker below the faulty part.
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

    /// An error at `place`, which must be a slice of `spec`.
    pub(crate) fn at(spec: &str, place: &str, message: String) -> Self {
        let start = (place.as_ptr() as usize).saturating_sub(spec.as_ptr() as usize);
        Self::new(spec, start.min(spec.len()), place.len(), message)
    }

    /// The faulty part of the text.
    #[cfg(test)]
    pub(crate) fn marked(&self) -> &str {
        &self.spec[self.start..self.start + self.length]
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |range| self.spec.get(range).unwrap_or_default();
        // Escaped text is wider.
        let width = |text| escape_control(text).chars().count();
        let before = width(part(0..self.start));
        let marked = width(part(self.start..self.start + self.length)).max(1);
        writeln!(f, "{}", escape_control(&self.message))?;
        writeln!(f, "  {}", escape_control(&self.spec))?;
        write!(f, "  {}{}", " ".repeat(before), "^".repeat(marked))
    }
}

impl std::error::Error for SpecError {}
