//! A file that is written at the end of a run: whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file whose content is known only when the run has ended. Until then what stood under its name
/// stays, and nothing else is there.
pub struct WholeFile(PathBuf);

impl WholeFile {
    /// It will stand at `path`.
    ///
    /// # Errors
    /// When nothing can be created there, or a folder stands there: that is to be known before the
    /// run and not after it.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Gone again at once: a run that is killed leaves nothing.
        part(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Writes all of it and gives it its name.
    ///
    /// # Errors
    /// When it can't be written; there is nothing new under its name then.
    pub fn finish(&self, content: &[u8]) -> io::Result<()> {
        let mut part = part(&self.0)?;
        part.write_all(content)?;
        part.persist(&self.0).map_err(|error| error.error)?;
        Ok(())
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
    builder.tempfile_in(folder)
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
}
