//! Reads an output directory without changing or locking it.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::folder::{JOURNAL_NAME, check_directories, open_regular};
use crate::model::{RelPath, open_when_free};

/// The files that earlier runs saved in an output directory.
#[derive(Debug)]
pub(crate) struct SavedFiles {
    dir: Dir,
}

impl SavedFiles {
    /// Returns the path of the journal of an output directory.
    #[must_use]
    pub(crate) fn journal_path(dir: &Path) -> PathBuf {
        dir.join(JOURNAL_NAME)
    }

    /// Opens an output directory.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(dir, ambient_authority())?;
        Ok(Self { dir })
    }

    /// Opens a file, which is below the directory even if it is a link.
    ///
    /// # Errors
    /// If it is missing, is no file, is reached through a link to a directory, or cannot be read.
    pub(crate) fn open_file(&self, file: &RelPath) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        let (folder, _) = file.split();
        open_when_free(|| {
            if !folder.is_empty() {
                check_directories(&self.dir, folder)?;
            }
            open_regular(&self.dir, file.as_str(), &mut options)
        })
    }

    /// Calls `visit` with the path of everything that is no directory, except what belongs to
    /// fetchall itself. Links are not followed. A name that is not UTF-8 is passed in a readable
    /// form, with `false`.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&str, bool)) -> io::Result<()> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let entries = match folder.as_str() {
                "" => self.dir.entries()?,
                below => self.dir.read_dir(below)?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let (name, is_text) = match name.to_str() {
                    Some(name) => (Cow::Borrowed(name), true),
                    None => (name.to_string_lossy(), false),
                };
                if folder.is_empty() && RelPath::is_reserved(&name) {
                    continue;
                }
                let path = match folder.as_str() {
                    "" => name.into_owned(),
                    folder => format!("{folder}/{name}"),
                };
                if is_text && entry.file_type()?.is_dir() {
                    folders.push(path);
                } else {
                    visit(&path, is_text);
                }
            }
        }
        Ok(())
    }
}
