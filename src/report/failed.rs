//! `--failed FILE`: the failing input lines with all they hold, to be fed back.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Reporter;
use crate::model::{Event, OutcomeName};

/// Copies the failing lines into a file. It is the one place where a password that stood
/// in a URL may be written, so only its owner may read it.
pub struct FailedLines {
    file: BufWriter<File>,
    end: u8,
}

impl FailedLines {
    /// Creates the file, or empties it. Each line in it ends with `end`, as those of the list do.
    ///
    /// # Errors
    /// When that can't be done.
    pub fn create(path: &Path, end: u8) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        #[cfg(unix)]
        restrict(&file)?;
        Ok(Self {
            file: BufWriter::new(file),
            end,
        })
    }
}

/// The mode given to `open` counts for new files only. A device or a pipe keeps its own.
#[cfg(unix)]
fn restrict(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

impl Reporter for FailedLines {
    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        let Event::Settled(settled) = event else {
            return Ok(());
        };
        if settled.record.outcome != OutcomeName::Failed {
            return Ok(());
        }
        let line = settled
            .raw
            .as_deref()
            .map_or(settled.record.url.as_bytes(), |line| line);
        self.file.write_all(line)?;
        self.file.write_all(&[self.end])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
