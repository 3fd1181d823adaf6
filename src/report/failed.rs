//! `--failed FILE`: copies the input lines that failed, for a rerun.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::stream::DeviceStream;
use super::{Reporter, SharedEndingCheck};
use crate::model::{EngineEvent, ErrorKind, OutcomeName, Summary};

/// Copies failed input lines to a file. This is the only output that may contain a password from a
/// URL, so the file has mode 0600.
pub(crate) struct FailedLines {
    file: BufWriter<FailedTarget>,
    end: u8,
    has_begun: bool,
    /// Whether the old content is still there: it stays if the list has no URL.
    keeps_old: bool,
}

enum FailedTarget {
    File(File),
    /// A pipe or a device.
    Stream(DeviceStream, SharedEndingCheck),
}

impl FailedTarget {
    fn open(path: &Path, is_ending: SharedEndingCheck) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Ok(Self::Stream(DeviceStream::open(path)?, is_ending));
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self::File(options.open(path)?))
    }

    /// Removes the old content of a file.
    fn clear(&self) -> io::Result<()> {
        let Self::File(file) = self else {
            return Ok(());
        };
        #[cfg(unix)]
        restrict(file)?;
        // Some regular files, such as those of /proc, have no length to set.
        match file.metadata()?.len() {
            0 => Ok(()),
            _ => file.set_len(0),
        }
    }
}

impl Write for FailedTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stream(stream, is_ending) => {
                stream.write_all(bytes, &**is_ending)?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FailedLines {
    /// Creates or truncates the file; with `is_kept_if_empty`, an existing one is truncated only
    /// once a URL is settled. Lines end with `end`, like those of the input. Writing to a pipe waits
    /// for its reader until `is_ending` returns true.
    ///
    /// # Errors
    /// If the file cannot be created or opened.
    pub(crate) fn create(
        path: &Path,
        end: u8,
        is_kept_if_empty: bool,
        is_ending: SharedEndingCheck,
    ) -> io::Result<Self> {
        let target = FailedTarget::open(path, is_ending)?;
        if !is_kept_if_empty {
            target.clear()?;
        }
        Ok(Self {
            file: BufWriter::new(target),
            end,
            has_begun: false,
            keeps_old: is_kept_if_empty,
        })
    }

    /// Keeps the first line, which is no request, from being taken for the beginning of another
    /// format. What `--failed` makes of other formats begins with an object, which is recognized.
    fn write_guard(&mut self, line: &[u8]) -> io::Result<()> {
        match self.end {
            _ if is_plain(line) || line.starts_with(b"{\"") => Ok(()),
            0 => self.file.write_all(b"\0"),
            end => self.file.write_all(&[b'#', end]),
        }
    }
}

/// Whether a line is text that begins like no format.
fn is_plain(line: &[u8]) -> bool {
    let is_begun = |first: &u8| first.is_ascii_alphanumeric() || *first == b'#';
    let is_text = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    line.first().is_some_and(is_begun) && std::str::from_utf8(line).is_ok_and(is_text)
}

/// Sets mode 0600 on an existing file, too; the mode given to `open` applies to new files only.
#[cfg(unix)]
fn restrict(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

impl Reporter for FailedLines {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        if std::mem::take(&mut self.keeps_old) {
            self.file.get_ref().clear()?;
        }
        if settled.record.outcome != OutcomeName::Failed {
            return Ok(());
        }
        let is_invalid = settled
            .record
            .error
            .as_ref()
            .is_some_and(|error| error.kind == ErrorKind::InvalidUrl);
        let line = settled
            .raw
            .as_deref()
            .map_or(settled.record.url.as_bytes(), |line| line);
        if !std::mem::replace(&mut self.has_begun, true) && is_invalid {
            self.write_guard(line)?;
        }
        self.file.write_all(line)?;
        self.file.write_all(&[self.end])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if self.keeps_old && summary.input > 0 {
            self.file.get_ref().clear()?;
        }
        self.file.flush()?;
        // Opens a pipe even if no line failed, so that its reader sees the end.
        self.file.get_mut().write(b"").map(drop)
    }
}
