//! Writes to a pipe or device. Opening a pipe without a reader, and writing to a full one, waits
//! until the run is to end, then [`FINAL_TIMEOUT`] longer.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two checks for a reader.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait for the reader once the run is to end.
const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns whether the run is to end.
pub(super) type EndingCheck<'a> = &'a (dyn Fn() -> bool + Send + Sync);
/// An [`EndingCheck`] that can be stored.
pub(crate) type SharedEndingCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A pipe or a device.
#[derive(Debug)]
pub(super) struct DeviceStream {
    path: PathBuf,
    /// `None` until the pipe has a reader.
    file: Option<File>,
    /// When this stream first noticed that the run is to end.
    ending: Option<Instant>,
}

impl DeviceStream {
    /// Opens the pipe or device at `path` without waiting for a reader.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let file = open_if_read(&path)?;
        Ok(Self {
            path,
            file,
            ending: None,
        })
    }

    /// Waits for a reader and writes all bytes. Waits even if `bytes` is empty, so that the reader
    /// of a pipe sees its end.
    ///
    /// # Errors
    /// If writing fails, or no process reads the data within [`FINAL_TIMEOUT`] after the run is to
    /// end.
    pub(super) fn write_all(
        &mut self,
        mut bytes: &[u8],
        is_ending: EndingCheck<'_>,
    ) -> io::Result<()> {
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

    /// Sleeps for [`POLL_INTERVAL`], or fails if the time for the reader is up.
    fn wait(&mut self, is_ending: EndingCheck<'_>) -> io::Result<()> {
        if self.ending.is_none() && is_ending() {
            self.ending = Some(Instant::now());
        }
        if self
            .ending
            .is_some_and(|since| since.elapsed() > FINAL_TIMEOUT)
        {
            return Err(io::Error::other("the output is not being read"));
        }
        std::thread::sleep(POLL_INTERVAL);
        Ok(())
    }
}

/// Opens `path` for writing; `None` if it is a pipe without a reader.
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
