//! The output directory. All paths are opened relative to it, so that neither a name nor a symbolic
//! link leads out of it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::folders::FolderCache;
use crate::model::{RelPath, is_out_of_descriptors, open_when_free};

/// The directory for temporary files. It is below the output directory to be on the same file
/// system, so that files can be renamed into place.
const TEMP_FOLDER_NAME: &str = ".fetchall";
pub(super) const JOURNAL_NAME: &str = "fetchall.jsonl";
const LOCK_NAME: &str = "lock";

/// Why an output directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another process is saving to it.
    #[error(
        "{}: in use by another fetchall; wait for it, or name another directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be created or written to.
    #[error("cannot save to {}: {cause}", path.display())]
    Unusable {
        /// The directory, or the file in it that causes the problem.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
}

/// Opens a regular file. A pipe or device in its place is an error, and does not block.
pub(super) fn open_regular(dir: &Dir, path: &str, options: &mut OpenOptions) -> io::Result<File> {
    let not_a_file = || io::Error::other(format!("{path} is not a regular file"));
    // Checked before opening, too, because opening some devices has side effects.
    let found = dir.metadata(path);
    if found.is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(not_a_file());
    }
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(options, crate::store::NO_WAIT);
    let file = dir.open_with(path, options)?.into_std();
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_a_file())
    }
}

/// Rejects a path through a file, and through a symbolic link: it gives every file below it a second
/// name, under which another URL would overwrite it, or count as saved.
pub(super) fn check_directories(dir: &Dir, path: &str) -> io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let above = path.get(..end).unwrap_or(path);
        let (kind, what) = match dir.symlink_metadata(above) {
            Ok(found) if found.is_dir() => continue,
            Ok(found) if found.is_symlink() => (io::ErrorKind::Other, "symbolic link"),
            Ok(_) => (io::ErrorKind::NotADirectory, "file"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = format!("{above} is a {what}; replace it with a directory");
        return Err(io::Error::new(kind, text));
    }
    Ok(())
}

/// The output directory, locked by this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    dir: Dir,
    temp: Dir,
    /// Its lock ends when the file is closed, even if the process is killed.
    lock: File,
    folders: Mutex<FolderCache>,
    /// Held while waiting for a file descriptor.
    descriptor_wait: Mutex<()>,
}

impl Folder {
    /// Opens and locks the directory, and creates it if it is missing.
    ///
    /// # Errors
    /// If it cannot be used, or another process has locked it.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |path: PathBuf| move |cause| FolderError::Unusable { path, cause };
        if path.exists() && !path.is_dir() {
            return Err(unusable(path.to_owned())(
                io::ErrorKind::NotADirectory.into(),
            ));
        }
        std::fs::create_dir_all(path).map_err(unusable(path.to_owned()))?;
        let dir =
            Dir::open_ambient_dir(path, ambient_authority()).map_err(unusable(path.to_owned()))?;
        let below = path.join(TEMP_FOLDER_NAME);
        let temp = dir
            .create_dir_all(TEMP_FOLDER_NAME)
            .and_then(|()| dir.open_dir(TEMP_FOLDER_NAME))
            .map_err(unusable(below.clone()))?;
        let lock = open_regular(
            &temp,
            LOCK_NAME,
            OpenOptions::new().write(true).create(true),
        )
        .map_err(unusable(below.join(LOCK_NAME)))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(unusable(below.join(LOCK_NAME))(cause)),
        }
        Ok(Self {
            path: path.to_owned(),
            dir,
            temp,
            lock,
            folders: Mutex::new(FolderCache::new()),
            descriptor_wait: Mutex::default(),
        })
    }

    /// Returns the path of the directory, for messages.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Unlocks the directory for other processes, even if writer threads have not ended yet.
    pub(crate) fn unlock(&self) {
        // An error does not matter: closing the file also unlocks it.
        let _ = self.lock.unlock();
    }

    /// Returns the path of a final file, for messages.
    pub(crate) fn display_path(&self, file: &RelPath) -> String {
        self.path.join(file.as_str()).display().to_string()
    }

    /// Returns the path of a temporary file, for messages.
    pub(crate) fn shown_temp(&self, name: &str) -> String {
        self.path
            .join(TEMP_FOLDER_NAME)
            .join(name)
            .display()
            .to_string()
    }

    /// Creates a temporary file.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        self.when_free(|| {
            let file = match self.temp.open_with(name, &options) {
                // Not ours, since `PartIndex::read` removes our old files; replace it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.temp.remove_file(name)?;
                    self.temp.open_with(name, &options)
                }
                created => created,
            };
            Ok(file?.into_std())
        })
    }

    /// Opens a temporary file for appending.
    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true);
        self.when_free(|| open_regular(&self.temp, name, &mut options))
    }

    /// Opens a temporary file for writing at any place.
    pub(crate) fn open_for_writing(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true);
        self.when_free(|| open_regular(&self.temp, name, &mut options))
    }

    /// Opens a temporary file for reading.
    pub(crate) fn read(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.when_free(|| open_regular(&self.temp, name, &mut options))
    }

    /// Removes a temporary file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.temp.remove_file(name)
    }

    /// Renames a temporary file.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.temp.rename(from, &self.temp, to)
    }

    /// Returns the names of all temporary files.
    pub(crate) fn unfinished(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.temp.entries()? {
            let entry = entry?;
            // Our names are UTF-8.
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Renames a temporary file to its final name, atomically.
    pub(crate) fn rename_into_place(&self, name: &str, file: &RelPath) -> io::Result<()> {
        self.when_free(|| self.try_place(name, file))
    }

    fn try_place(&self, name: &str, file: &RelPath) -> io::Result<()> {
        let (folder, last) = file.split();
        let parent = self.folder(folder)?;
        self.keep_mode(name, &parent, last)?;
        match self.temp.rename(name, &parent, last) {
            // The cached directory has been deleted; create it again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(folder);
                self.temp.rename(name, &*self.folder(folder)?, last)
            }
            placed => placed,
        }
    }

    /// Gives the new file the read, write and execute permissions of the file it replaces, but not
    /// setuid and setgid, which were meant for the old content.
    #[cfg(unix)]
    fn keep_mode(&self, name: &str, parent: &Dir, last: &str) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;

        use cap_std::fs::{Permissions, PermissionsExt as _};
        let old = match parent.symlink_metadata(last) {
            Ok(old) => old,
            // `symlink_metadata` needs a descriptor itself, so this does not mean a missing file.
            Err(error) if is_out_of_descriptors(&error) => return Err(error),
            Err(_) => return Ok(()),
        };
        if !old.is_file() {
            return Ok(());
        }
        let mode = old.permissions().mode() & 0o777;
        if mode == self.temp.metadata(name)?.permissions().mode() & 0o7777 {
            return Ok(());
        }
        let kept = Permissions::from_std(std::fs::Permissions::from_mode(mode));
        self.temp.set_permissions(name, kept)
    }

    #[cfg(not(unix))]
    fn keep_mode(&self, _: &str, _: &Dir, _: &str) -> io::Result<()> {
        Ok(())
    }

    /// Opens the journal for reading and appending.
    pub(crate) fn open_journal(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        open_regular(&self.dir, JOURNAL_NAME, &mut options)
    }

    /// Returns the path of the journal.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL_NAME)
    }

    /// Returns the length of a final file in bytes; `None` if the file does not exist.
    pub(crate) fn length(&self, file: &RelPath) -> Option<u64> {
        // `metadata` needs a descriptor itself.
        let found = self.when_free(|| {
            self.existing_folder(file.split().0)?;
            self.dir.metadata(file.as_str())
        });
        let meta = found.ok()?;
        meta.is_file().then_some(meta.len())
    }

    /// Opens a final file for reading.
    pub(crate) fn open_final(&self, file: &RelPath) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.when_free(|| {
            self.existing_folder(file.split().0)?;
            open_regular(&self.dir, file.as_str(), &mut options)
        })
    }

    /// Opens a temporary and a final file for reading.
    pub(crate) fn open_to_compare(&self, name: &str, file: &RelPath) -> io::Result<(File, File)> {
        let mut options = OpenOptions::new();
        options.read(true);
        let (folder, last) = file.split();
        self.when_free(|| {
            let new = open_regular(&self.temp, name, &mut options)?;
            let parent = self.folder(folder)?;
            Ok((new, open_regular(&parent, last, &mut options)?))
        })
    }

    /// Syncs everything written to this file system so far.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // syncfs accepts any open file of the file system, but not the directory, because cap-std
        // opens it with `O_PATH`.
        #[cfg(target_os = "linux")]
        return rustix::fs::syncfs(&self.lock).map_err(io::Error::from);
        #[cfg(not(target_os = "linux"))]
        return self.sync_folders();
    }

    /// Windows syncs no directories.
    #[cfg(windows)]
    fn sync_folders(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", windows)))]
    fn sync_folders(&self) -> io::Result<()> {
        for dir in [&self.dir, &self.temp] {
            dir.try_clone()?.into_std_file().sync_all()?;
        }
        for dir in self.lock_folders().all() {
            dir.try_clone()?.into_std_file().sync_all()?;
        }
        Ok(())
    }

    /// Calls `open`, and waits while the process is out of file descriptors; cached directories are
    /// closed first. Only one thread waits at a time: several could each hold a descriptor that
    /// another one needs.
    fn when_free<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_out_of_descriptors(&error) => {}
            opened => return opened,
        }
        let _guard = self
            .descriptor_wait
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open_when_free(|| {
            self.lock_folders().close_all();
            open()
        })
    }

    /// Returns a subdirectory, created if missing.
    fn folder(&self, path: &str) -> io::Result<Arc<Dir>> {
        match self.existing_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.dir.create_dir_all(path)?;
                self.existing_folder(path)
            }
            opened => opened,
        }
    }

    /// Returns a subdirectory, unless a symbolic link leads to it.
    fn existing_folder(&self, path: &str) -> io::Result<Arc<Dir>> {
        if let Some(dir) = self.lock_folders().get(path) {
            return Ok(dir);
        }
        let dir = Arc::new(self.open_folder(path)?);
        self.lock_folders().keep(path, Arc::clone(&dir));
        Ok(dir)
    }

    fn open_folder(&self, path: &str) -> io::Result<Dir> {
        if path.is_empty() {
            return self.dir.try_clone();
        }
        check_directories(&self.dir, path)?;
        self.dir.open_dir(path)
    }

    fn forget(&self, path: &str) {
        self.lock_folders().forget(path);
    }

    fn lock_folders(&self) -> MutexGuard<'_, FolderCache> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
