//! Texts that were asked for.

use std::io::{self, Write};

/// Prints a text on stdout.
///
/// # Errors
/// What kept it from being written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
