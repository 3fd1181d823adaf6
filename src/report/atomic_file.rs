//! A file written at the end of a run, completely or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::stream::{DeviceStream, EndingCheck};
use tempfile::{Builder, NamedTempFile};

/// Maximum number of symbolic links followed, as in Linux, to detect loops.
const MAX_LINKS: usize = 40;

/// A file whose content is known only at the end of the run. Until it is committed, an existing
/// file of that name stays as it is, and no temporary file exists.
pub struct AtomicFile {
    target: FileTarget,
    mode: FileMode,
}

/// The permissions of the new file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileMode {
    /// Those of the file it replaces, else as the umask says.
    Usual,
    /// Only its owner can read and write it.
    Private,
}

enum FileTarget {
    /// A regular or not yet existing file, replaced by a rename.
    File(PathBuf),
    /// A pipe or a device. Replacing it would break it for all its users; replacing `/dev/null`,
    /// for the whole machine.
    Stream(Mutex<DeviceStream>),
}

impl AtomicFile {
    /// Prepares to write to `path`, or to the target if `path` is a symbolic link.
    ///
    /// # Errors
    /// If no file can be created there, or `path` is a directory. Checked here, so that the run does
    /// not start in vain.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_mode(path, FileMode::Usual)
    }

    /// Prepares as [`create`](Self::create) does, for a file that only its owner may read.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn create_private(path: &Path) -> io::Result<Self> {
        Self::with_mode(path, FileMode::Private)
    }

    fn with_mode(path: &Path, mode: FileMode) -> io::Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if found.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if found.is_some_and(|found| !found.is_file()) {
            let target = FileTarget::Stream(Mutex::new(DeviceStream::open(path)?));
            return Ok(Self { target, mode });
        }
        // `canonicalize` fails if the target does not exist yet.
        let path = fs::canonicalize(path).unwrap_or_else(|_| link_target(path));
        // Only a check; dropped at once, so that a killed run leaves nothing behind.
        create_temp(&path, mode)?;
        let target = FileTarget::File(path);
        Ok(Self { target, mode })
    }

    /// Writes `content` to a temporary file and renames it into place. A pipe waits for its reader,
    /// but only 1 s longer once `is_ending` returns true.
    ///
    /// # Errors
    /// If the content cannot be written; the file under the final name is then unchanged.
    pub fn commit(&self, content: &[u8], is_ending: EndingCheck<'_>) -> io::Result<()> {
        match &self.target {
            FileTarget::File(path) => {
                let mut temp = create_temp(path, self.mode)?;
                if self.mode == FileMode::Usual {
                    keep_mode(path, temp.as_file())?;
                }
                temp.write_all(content)?;
                temp.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            FileTarget::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                stream.write_all(content, is_ending)
            }
        }
    }
}

/// Returns the target of a symbolic link, which need not exist; otherwise `path` itself.
fn link_target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        // `join` replaces the whole path if the target is absolute.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Gives the new file the read, write and execute permissions of the file it replaces, but not
/// setuid and setgid, which were meant for the old content.
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

/// Creates a temporary file in the directory of `path`, so that a rename can replace `path`
/// atomically.
fn create_temp(path: &Path, mode: FileMode) -> io::Result<NamedTempFile> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(".fetchall-");
    // `tempfile` defaults to 0600; usually the umask decides, as for any created file.
    #[cfg(unix)]
    if mode == FileMode::Usual {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder.tempfile_in(dir).map_err(without_temp_path)
}

/// Removes the path of the temporary file from the message, since it means nothing to users.
fn without_temp_path(error: io::Error) -> io::Error {
    // By text, because tempfile's error type is private and does not have the system's error as its
    // source.
    match error.to_string().split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_stays_until_the_new_one_is_complete() {
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
    fn an_unusable_path_is_an_error_at_once() {
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
    fn a_pipe_without_a_reader_is_waited_for_until_the_run_is_to_end() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let whole = || AtomicFile::create(&pipe).unwrap();
        let error = whole().commit(b"all", &|| true).unwrap_err();
        insta::assert_snapshot!("no_reader", error);
        let large = vec![b'x'; 1 << 20];
        // A process that has the pipe open without reading is not a reader either.
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
    fn a_dangling_link_is_followed() {
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
        // Opened for reading and writing, so that opening does not block.
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
