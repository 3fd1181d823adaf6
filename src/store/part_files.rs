//! Writes the parts of a list that is divided: one file for each, all at once or none.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::{ListCompression, PartForm};

/// What the parts buffer together, in bytes.
const BUFFERED_BYTES: usize = 32 << 20;
/// Directory for unfinished parts, below that of the parts.
const UNFINISHED: &str = ".split";
/// File in it that is locked while a process writes parts.
const LOCK: &str = "lock";
/// The file that describes the parts. It is there once they are complete.
const DESCRIPTION: &str = "split.json";
/// Minimum number of digits in the name of a part.
const MIN_DIGITS: usize = 5;

/// Why a directory cannot be used for parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// Parts of another list might be taken for those of this one.
    #[error("it has the parts of a list already; name another directory, or remove them")]
    Occupied,
    /// Another process is writing parts to it.
    #[error("in use by another fetchall; wait for it, or name another directory")]
    InUse,
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One part.
#[derive(Default)]
struct Part {
    /// Entries that are not written yet.
    buffer: Vec<u8>,
    lines: u64,
    /// Length of its file.
    bytes: u64,
}

/// What is in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartSize {
    /// The name of its file.
    pub file: String,
    /// Its entries.
    pub lines: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// The files of all parts. Dropped before [`finish`](Self::finish), it leaves none.
pub(crate) struct PartFiles {
    dir: PathBuf,
    unfinished: PathBuf,
    /// Holds the lock.
    _lock: File,
    form: PartForm,
    compression: ListCompression,
    parts: Vec<Part>,
    /// Bytes that a part buffers. Files are open only while that is written: there may be more parts
    /// than a process can have files.
    room: usize,
}

impl PartFiles {
    /// Prepares a directory, which is created if it does not exist.
    ///
    /// # Errors
    /// See [`PartsError`].
    pub(crate) fn create(
        dir: &Path,
        number: usize,
        form: PartForm,
        compression: ListCompression,
    ) -> Result<Self, PartsError> {
        let unfinished = dir.join(UNFINISHED);
        let was_killed = find_unfinished(&unfinished)?;
        if !was_killed && has_parts(dir)? {
            return Err(PartsError::Occupied);
        }
        fs::create_dir_all(&unfinished)?;
        let lock = lock(&unfinished)?;
        if was_killed {
            // Killed while it put finished parts into place, or before.
            remove_parts(dir)?;
            remove_parts(&unfinished)?;
        }
        let mut parts = Vec::new();
        parts.resize_with(number, Part::default);
        let mut files = Self {
            dir: dir.to_owned(),
            unfinished,
            _lock: lock,
            form,
            compression,
            parts,
            room: (BUFFERED_BYTES / number.max(1)).clamp(256, 1 << 20),
        };
        for part in &mut files.parts {
            part.buffer.extend_from_slice(&files.form.head);
        }
        Ok(files)
    }

    /// Returns how entries are written.
    pub(crate) fn form(&self) -> &PartForm {
        &self.form
    }

    /// Adds an entry to a part. One that is no valid line is kept from changing others.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn put(&mut self, number: u32, entry: &[u8], is_valid: bool) -> io::Result<()> {
        let number = number as usize;
        let Some(part) = self.parts.get_mut(number) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let guard = if is_valid { None } else { self.form.guard };
        if let Some(guard) = guard.filter(|_| part.lines == 0) {
            part.buffer.extend_from_slice(guard.first);
        }
        part.buffer.extend_from_slice(entry);
        part.buffer.push(self.form.end);
        part.buffer
            .extend_from_slice(guard.map_or(b"", |guard| guard.behind));
        part.lines += 1;
        if part.buffer.len() >= self.room {
            self.write(number)?;
        }
        Ok(())
    }

    /// Completes all parts, and puts them into place; `describe` makes their description.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn finish(
        mut self,
        describe: impl FnOnce(&[PartSize]) -> Vec<u8>,
    ) -> io::Result<Vec<PartSize>> {
        for number in 0..self.parts.len() {
            if let Some(part) = self.parts.get_mut(number) {
                part.buffer.extend_from_slice(self.form.tail);
            }
            self.write(number)?;
        }
        let sizes: Vec<_> = (0..)
            .zip(&self.parts)
            .map(|(n, part)| self.size(n, part))
            .collect();
        fs::write(self.unfinished.join(DESCRIPTION), describe(&sizes))?;
        let names = sizes.iter().map(|part| part.file.as_str());
        for name in names.chain([DESCRIPTION]) {
            fs::rename(self.unfinished.join(name), self.dir.join(name))?;
        }
        Ok(sizes)
    }

    fn size(&self, number: usize, part: &Part) -> PartSize {
        PartSize {
            file: self.name(number),
            lines: part.lines,
            bytes: part.bytes,
        }
    }

    fn name(&self, number: usize) -> String {
        let last = self.parts.len().saturating_sub(1);
        let digits = last.to_string().len().max(MIN_DIGITS);
        let (extension, packed) = (self.form.extension, self.compression.extension());
        format!("part-{number:0digits$}.{extension}{packed}")
    }

    /// Appends what a part has buffered to its file, as a member or frame of its own.
    fn write(&mut self, number: usize) -> io::Result<()> {
        let path = self.unfinished.join(self.name(number));
        let Some(part) = self.parts.get_mut(number) else {
            return Ok(());
        };
        let mut options = File::options();
        options.append(true).create(true);
        // URLs of the list may have passwords.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        if part.buffer.is_empty() && part.bytes > 0 {
            return Ok(());
        }
        let packed = self.compression.pack(&part.buffer)?;
        file.write_all(&packed)?;
        part.bytes += packed.len() as u64;
        part.buffer.clear();
        Ok(())
    }
}

impl Drop for PartFiles {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = fs::remove_dir_all(&self.unfinished);
    }
}

/// Whether a run that was killed has left its directory.
///
/// # Errors
/// [`PartsError::Occupied`] if something else has its name: what is in it, or behind a link, would be
/// removed.
fn find_unfinished(unfinished: &Path) -> Result<bool, PartsError> {
    match fs::symlink_metadata(unfinished) {
        Ok(found) if found.is_dir() => {
            let is_empty = fs::read_dir(unfinished)?.next().is_none();
            match is_empty || unfinished.join(LOCK).exists() {
                true => Ok(true),
                false => Err(PartsError::Occupied),
            }
        }
        Ok(_) => Err(PartsError::Occupied),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

fn lock(unfinished: &Path) -> Result<File, PartsError> {
    let path = unfinished.join(LOCK);
    // Someone else may have put a link or a pipe there.
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(PartsError::Occupied);
    }
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        super::NO_WAIT | super::NO_FOLLOW,
    );
    let lock = options.open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(PartsError::InUse),
        Err(TryLockError::Error(cause)) => Err(cause.into()),
    }
}

fn is_part(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("part-") || name == DESCRIPTION
}

fn has_parts(dir: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if is_part(&entry?.file_name()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_parts(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_part(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
