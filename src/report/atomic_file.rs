//! A file that is written at the end of a run: whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::stream::{DeviceStream, EndingCheck};
use tempfile::{Builder, NamedTempFile};

/// Links that lead to each other are followed so far, as Linux does it.
const MAX_LINKS: usize = 40;

/// A file whose content is known only when the run has ended. Until then what stood under its name
/// stays, and nothing else is there.
pub struct AtomicFile(FileTarget);

enum FileTarget {
    /// A regular file, or none yet: it is replaced in one step.
    File(PathBuf),
    /// A pipe or a device. Another file under its name would take it away from everybody who
    /// uses it, `/dev/null` from the whole machine.
    Stream(Mutex<DeviceStream>),
}

impl AtomicFile {
    /// It will stand at `path`, or where a link of this name leads.
    ///
    /// # Errors
    /// When nothing can be created there, or a folder stands there: that is to be known before the
    /// run and not after it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if found.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if found.is_some_and(|found| !found.is_file()) {
            return Ok(Self(FileTarget::Stream(Mutex::new(DeviceStream::open(
                path,
            )?))));
        }
        // Fails where nothing is yet.
        let path = fs::canonicalize(path).unwrap_or_else(|_| link_target(path));
        // Gone again at once: a run that is killed leaves nothing.
        part(&path)?;
        Ok(Self(FileTarget::File(path)))
    }

    /// Writes all of it and gives it its name. A pipe waits for its reader, and for a moment
    /// longer once `is_ending` says that the run is to end.
    ///
    /// # Errors
    /// When it can't be written; there is nothing new under its name then.
    pub fn commit(&self, content: &[u8], is_ending: EndingCheck<'_>) -> io::Result<()> {
        match &self.0 {
            FileTarget::File(path) => {
                let mut part = part(path)?;
                keep_mode(path, part.as_file())?;
                part.write_all(content)?;
                part.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            FileTarget::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                stream.write_all(content, is_ending)
            }
        }
    }
}

/// Where a link leads, also when nothing is there yet; the path itself where it is no link.
fn link_target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        // An absolute target takes the place of the whole.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Who may read the file that is replaced may read the new one, and nobody else. What the file did
/// as a program (setuid, setgid) is not for the new content.
#[cfg(unix)]
fn keep_mode(path: &Path, new: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path) {
        Ok(old) => {
            let mode = old.permissions().mode() & 0o777;
            new.set_permissions(fs::Permissions::from_mode(mode))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn keep_mode(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
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
    // Its own type is private, and leaves the system's error out of its sources.
    match error.to_string().split_once(" at path ") {
        Some((said, _)) => io::Error::new(error.kind(), said.to_owned()),
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
        let file = AtomicFile::create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        file.commit(b"new", &|| false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        drop(AtomicFile::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_where_nothing_can_stand_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AtomicFile::create(folder.path()).is_err());
        let error = AtomicFile::create(&folder.path().join("none/report.html")).err();
        let error = error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_replaces_one_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o640, 0o664, 0o400, 0o4755, 0o2755, 0o1644] {
            let path = folder.path().join(format!("{mode:o}"));
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = AtomicFile::create(&path).unwrap();
            file.commit(b"new", &|| false).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode & 0o777);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_reads_is_waited_for_until_the_run_is_to_end() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let whole = || AtomicFile::create(&pipe).unwrap();
        let error = whole().commit(b"all", &|| true).unwrap_err();
        insta::assert_snapshot!("no_reader", error);
        let large = vec![b'x'; 1 << 20];
        // One that has it open and does not read is no reader either.
        let held = File::options().read(true).write(true).open(&pipe).unwrap();
        assert!(whole().commit(&large, &|| true).is_err());
        drop(held);
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        whole().commit(&large, &|| false).unwrap();
        assert_eq!(reader.join().unwrap(), large);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_yet_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("second", at("first")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("second")).unwrap();
        let file = AtomicFile::create(&at("first")).unwrap();
        file.commit(b"text", &|| false).unwrap();
        assert_eq!(fs::read(at("real")).unwrap(), b"text");
        assert!(fs::symlink_metadata(at("first")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at("second")).unwrap().is_symlink());
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        assert!(AtomicFile::create(&at("round")).is_err());
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
        let file = AtomicFile::create(&pipe).unwrap();
        file.commit(b"all", &|| false).unwrap();
        let mut read = [0; 3];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"all");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

        let (link, real) = (folder.path().join("link"), folder.path().join("real"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let file = AtomicFile::create(&link).unwrap();
        file.commit(b"new", &|| false).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
