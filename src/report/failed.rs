//! `--failed FILE`: copies the input lines that failed, for a rerun.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::stream::DeviceStream;
use super::{Reporter, SharedEndingCheck};
use crate::model::{EngineEvent, OutcomeName, Summary};

/// Copies failed input lines to a file. This is the only output that may contain a password from a
/// URL, so the file has mode 0600.
pub struct FailedLines {
    file: BufWriter<FailedTarget>,
    end: u8,
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
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        #[cfg(unix)]
        restrict(&file)?;
        Ok(Self::File(file))
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
    /// Creates or truncates the file. Lines end with `end`, like those of the input. Writing to a
    /// pipe waits for its reader until `is_ending` returns true.
    ///
    /// # Errors
    /// If the file cannot be created or opened.
    pub fn create(path: &Path, end: u8, is_ending: SharedEndingCheck) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(FailedTarget::open(path, is_ending)?),
            end,
        })
    }
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

    fn finish(&mut self, _: &Summary) -> io::Result<()> {
        self.file.flush()?;
        // Opens a pipe even if no line failed, so that its reader sees the end.
        self.file.get_mut().write(b"").map(drop)
    }
}
