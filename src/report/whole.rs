//! A file that is written at the end of a run: whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file whose content is known only when the run has ended. Until then what stood under its name
/// stays, and nothing else is there.
pub struct WholeFile(Place);

enum Place {
    /// A regular file, or none yet: it is replaced in one step.
    File(PathBuf),
    /// A pipe or a device. Another file under its name would take it away from everybody who
    /// uses it, `/dev/null` from the whole machine.
    Stream(File),
}

impl WholeFile {
    /// It will stand at `path`, or where a link of this name leads.
    ///
    /// # Errors
    /// When nothing can be created there, or a folder stands there: that is to be known before the
    /// run and not after it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path).ok();
        if found.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if found.is_some_and(|found| !found.is_file()) {
            let stream = File::options().write(true).open(path)?;
            return Ok(Self(Place::Stream(stream)));
        }
        // Fails where nothing is yet; then there is no link that leads anywhere either.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // Gone again at once: a run that is killed leaves nothing.
        part(&path)?;
        Ok(Self(Place::File(path)))
    }

    /// Writes all of it and gives it its name.
    ///
    /// # Errors
    /// When it can't be written; there is nothing new under its name then.
    pub fn finish(&self, content: &[u8]) -> io::Result<()> {
        match &self.0 {
            Place::File(path) => {
                let mut part = part(path)?;
                part.write_all(content)?;
                part.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            Place::Stream(stream) => (&*stream).write_all(content),
        }
    }
}

/// An unfinished file beside the final one, so that giving it its name is one step.
fn part(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(".fetchall-");
    // As any other file that is created: the umask says who may read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(bare)
}

/// What the system said, without the name of the unfinished file, which tells nobody anything.
fn bare(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(std::error::Error::source);
    let cause = source.and_then(|source| source.downcast_ref::<io::Error>());
    match cause.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_until_all_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        std::fs::write(&path, "old").unwrap();
        let file = WholeFile::create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        file.finish(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_where_nothing_can_stand_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(WholeFile::create(folder.path()).is_err());
        assert!(WholeFile::create(&folder.path().join("none/report.html")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_stays_a_pipe_and_a_link_a_link() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::io::Read as _;
        use std::os::unix::fs::FileTypeExt as _;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // Open for both, it waits for nobody.
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        WholeFile::create(&pipe).unwrap().finish(b"all").unwrap();
        let mut read = [0; 3];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"all");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

        let (link, real) = (folder.path().join("link"), folder.path().join("real"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        WholeFile::create(&link).unwrap().finish(b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
