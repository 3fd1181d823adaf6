//! A pipe or a device that something is written to. Opening a pipe waits until somebody reads it,
//! and so does writing to one that is full: for as long as the run may go on.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two looks whether there is a reader by now.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long a reader is waited for once the run is to end.
const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Says whether the run is to end.
pub type EndingCheck<'a> = &'a (dyn Fn() -> bool + Send + Sync);
/// The same, to be kept.
pub type SharedEndingCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A pipe or a device.
#[derive(Debug)]
pub struct DeviceStream {
    path: PathBuf,
    /// Open as soon as there is a reader.
    file: Option<File>,
    /// Since when the run is to end, as far as it was noticed.
    ending: Option<Instant>,
}

impl DeviceStream {
    /// What is at `path`. It waits for no reader.
    ///
    /// # Errors
    /// When it can't be written to.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let file = open_if_read(&path)?;
        Ok(Self {
            path,
            file,
            ending: None,
        })
    }

    /// Writes all of it, when there is a reader. Without a byte to write it waits for one, too:
    /// who reads a pipe is to learn where it ends.
    ///
    /// # Errors
    /// When that can't be done, or the run is to end and there is no reader that takes it.
    pub fn write_all(&mut self, mut bytes: &[u8], is_ending: EndingCheck<'_>) -> io::Result<()> {
        while self.file.is_none() {
            self.file = open_if_read(&self.path)?;
            if self.file.is_none() {
                self.wait(is_ending)?;
            }
        }
        while let Some(file) = self.file.as_mut().filter(|_| !bytes.is_empty()) {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(is_ending)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits a moment for a reader, or gives up.
    fn wait(&mut self, is_ending: EndingCheck<'_>) -> io::Result<()> {
        if self.ending.is_none() && is_ending() {
            self.ending = Some(Instant::now());
        }
        if self
            .ending
            .is_some_and(|since| since.elapsed() > FINAL_TIMEOUT)
        {
            return Err(io::Error::other("nothing reads it"));
        }
        std::thread::sleep(POLL_INTERVAL);
        Ok(())
    }
}

/// Opens it for writing; `None` when it is a pipe that nobody reads.
#[cfg(unix)]
fn open_if_read(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    options.write(true).custom_flags(flags.bits() as i32);
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            use std::os::unix::fs::FileTypeExt;
            let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
            if is_pipe { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn open_if_read(path: &Path) -> io::Result<Option<File>> {
    File::options().write(true).open(path).map(Some)
}
