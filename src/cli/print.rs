//! Output of actions such as `--print-config`, which is the result of the call.

use std::io::{self, Write};

/// Prints a text on stdout.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
