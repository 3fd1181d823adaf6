//! `--failed FILE`: the failing input lines with all they hold, to be fed back.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::stream::DeviceStream;
use super::{Reporter, SharedEndingCheck};
use crate::model::{EngineEvent, OutcomeName, Summary};

/// Copies the failing lines into a file. It is the one place where a password that stood
/// in a URL may be written, so only its owner may read it.
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
    /// Creates the file, or empties it. Each line in it ends with `end`, as those of the list do.
    /// A pipe is waited for until `is_ending`, once there is something to write.
    ///
    /// # Errors
    /// When that can't be done.
    pub fn create(path: &Path, end: u8, is_ending: SharedEndingCheck) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(FailedTarget::open(path, is_ending)?),
            end,
        })
    }
}

/// The mode given to `open` counts for new files only.
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
        // Of no lines, too, the end is to be heard.
        self.file.get_mut().write(b"").map(drop)
    }
}
