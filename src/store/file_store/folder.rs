//! The output folder: what is below it, and nothing else. Paths are opened from the folder
//! down, so that neither a name nor a symbolic link leads out of it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::folders::FolderCache;
use crate::model::{RelPath, is_out_of_descriptors, open_when_free};

/// The folder for what is not final yet, below the output folder: on the same file system, so
/// that a rename is all it takes.
const TEMP_FOLDER_NAME: &str = ".fetchall";
const JOURNAL_NAME: &str = "fetchall.jsonl";
const LOCK_NAME: &str = "lock";

/// An output folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process saves there.
    #[error(
        "{}: another fetchall is at work in this folder; wait for its end, or name another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// It can't be created, or not written to.
    #[error("cannot save to {}: {cause}", path.display())]
    Unusable {
        /// The folder, or what in it is in the way.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

/// An error as people can understand it: that a path leads out of its folder is no error of the
/// system, and has words only for programmers.
pub fn explained(error: io::Error) -> io::Error {
    let leads_out =
        error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    if leads_out {
        io::Error::other("a symbolic link on the way leads out of the output folder")
    } else {
        error
    }
}

/// Opens a regular file, and waits for nothing: a pipe or a device in its place is an error.
fn open_regular(dir: &Dir, path: &str, options: &mut OpenOptions) -> io::Result<File> {
    let not_a_file =
        || io::Error::other(format!("{path} is no regular file but a pipe or a device"));
    // Opening some devices does something.
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

/// The output folder, held by this process alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dir: Dir,
    temp: Dir,
    /// Lets go when it is closed, however that comes about.
    lock: File,
    folders: Mutex<FolderCache>,
    /// To wait for a descriptor.
    turn: Mutex<()>,
}

impl Folder {
    /// Opens the folder, creates it where it is missing, and locks it.
    ///
    /// # Errors
    /// When that can't be done, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
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
            turn: Mutex::default(),
        })
    }

    /// The folder, as messages show it.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Others may use it again, although the threads that wrote may not be quite at their end.
    pub fn unlock(&self) {
        // Closing it does the same, a little later.
        let _ = self.lock.unlock();
    }

    /// A path below the folder, as messages show it.
    pub fn display_path(&self, file: &RelPath) -> String {
        self.path.join(file.as_str()).display().to_string()
    }

    /// What is not final yet, as messages show it.
    pub fn shown_temp(&self, name: &str) -> String {
        self.path
            .join(TEMP_FOLDER_NAME)
            .join(name)
            .display()
            .to_string()
    }

    /// Creates a file that is not final yet.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        self.when_free(|| {
            let file = match self.temp.open_with(name, &options) {
                // Not ours, or the sweep would have taken it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.temp.remove_file(name)?;
                    self.temp.open_with(name, &options)
                }
                created => created,
            };
            Ok(file?.into_std())
        })
    }

    /// Opens such a file to go on at its end.
    pub fn append(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true);
        self.when_free(|| open_regular(&self.temp, name, &mut options))
    }

    /// Opens such a file to read it.
    pub fn read(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.when_free(|| open_regular(&self.temp, name, &mut options))
    }

    /// Removes such a file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.temp.remove_file(name)
    }

    /// Gives such a file another name.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.temp.rename(from, &self.temp, to)
    }

    /// The names of all such files.
    pub fn unfinished(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.temp.entries()? {
            let entry = entry?;
            // What is not UTF-8 is not ours.
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A file becomes final: it is there whole, or not at all.
    pub fn rename_into_place(&self, name: &str, file: &RelPath) -> io::Result<()> {
        self.when_free(|| self.try_place(name, file))
    }

    fn try_place(&self, name: &str, file: &RelPath) -> io::Result<()> {
        let (folder, last) = file.split();
        let parent = self.folder(folder)?;
        self.keep_mode(name, &parent, last)?;
        match self.temp.rename(name, &parent, last) {
            // Somebody has removed the folder meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(folder);
                self.temp.rename(name, &*self.folder(folder)?, last)
            }
            placed => placed,
        }
    }

    /// Who may read the file that is replaced may read the new one, and nobody else. What the file
    /// did as a program (setuid, setgid) is not for the new content.
    #[cfg(unix)]
    fn keep_mode(&self, name: &str, parent: &Dir, last: &str) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;

        use cap_std::fs::{Permissions, PermissionsExt as _};
        let old = match parent.symlink_metadata(last) {
            Ok(old) => old,
            // Looking takes a descriptor, too: that there is none does not mean that there is no file.
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

    /// Opens the journal, to read it and to append to it.
    pub fn open_journal(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        open_regular(&self.dir, JOURNAL_NAME, &mut options)
    }

    /// The path of the journal.
    pub fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL_NAME)
    }

    /// The length of a final file; `None` when there is none.
    pub fn length(&self, file: &RelPath) -> Option<u64> {
        // Looking takes a descriptor, too.
        let meta = self.when_free(|| self.dir.metadata(file.as_str())).ok()?;
        meta.is_file().then_some(meta.len())
    }

    /// Opens an unfinished file and a final one, to read both.
    pub fn open_to_compare(&self, name: &str, file: &RelPath) -> io::Result<(File, File)> {
        let mut options = OpenOptions::new();
        options.read(true);
        self.when_free(|| {
            let new = open_regular(&self.temp, name, &mut options)?;
            Ok((new, open_regular(&self.dir, file.as_str(), &mut options)?))
        })
    }

    /// Everything written to this file system so far survives a power cut from here on.
    pub fn sync(&self) -> io::Result<()> {
        // Any file there will do, but not the folder: it is open for paths only (`O_PATH`), and
        // so not open enough.
        #[cfg(target_os = "linux")]
        return rustix::fs::syncfs(&self.lock).map_err(io::Error::from);
        #[cfg(not(target_os = "linux"))]
        return self.sync_folders();
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_folders(&self) -> io::Result<()> {
        for dir in [&self.dir, &self.temp] {
            dir.try_clone()?.into_std_file().sync_all()?;
        }
        for dir in self.lock_folders().all() {
            dir.try_clone()?.into_std_file().sync_all()?;
        }
        Ok(())
    }

    /// Opens something below as soon as there are descriptors for it; folders that are only kept for
    /// later make room first. One thread at a time waits: what each of several has open already
    /// could be what the others lack.
    fn when_free<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_out_of_descriptors(&error) => {}
            opened => return opened,
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        open_when_free(|| {
            self.lock_folders().close_all();
            open()
        })
    }

    /// A folder below, created where it is missing.
    fn folder(&self, path: &str) -> io::Result<Arc<Dir>> {
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
        match self.dir.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.dir.create_dir_all(path)?;
                self.dir.open_dir(path)
            }
            opened => opened,
        }
    }

    fn forget(&self, path: &str) {
        self.lock_folders().forget(path);
    }

    fn lock_folders(&self) -> MutexGuard<'_, FolderCache> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
