//! Reads small files, and tells whether two names mean the same file.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// Maximum size of a small file: reading an endless device would use up all memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a text file of headers, a password or settings, without its byte order mark.
///
/// # Errors
/// When the file cannot be read, exceeds 1 MiB, or is not UTF-8.
pub(super) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read_bytes(path, MAX_FILE_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))?;
    // Some editors write a byte order mark.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Reads a file in any charset, of at most `limit` bytes.
///
/// # Errors
/// When the file cannot be read or exceeds the limit.
pub(super) fn read_bytes(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("larger than {} MiB", limit >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Identity of a regular file, the same for all its hard links and for open streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    fn of_metadata(meta: &std::fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        meta.is_file().then(|| Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Returns the identity of the file at `path`, if it is a regular one.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        Self::of_metadata(&std::fs::metadata(path).ok()?)
    }

    /// Returns the identity of the file behind a stream, if it is a regular one.
    pub(super) fn of_stream(stream: &impl std::os::fd::AsFd) -> Option<Self> {
        let file = std::fs::File::from(stream.as_fd().try_clone_to_owned().ok()?);
        Self::of_metadata(&file.metadata().ok()?)
    }
}

/// Whether `path` is what is open as stdin, whatever its name. Among devices, only a terminal
/// counts: readers of `/dev/null` take nothing from each other.
#[cfg(unix)]
pub(super) fn is_stdin(path: &Path) -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let is_terminal = io::stdin().is_terminal();
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let Ok((stdin, named)) = stdin
        .and_then(|stdin| stdin.metadata())
        .and_then(|stdin| Ok((stdin, path.metadata()?)))
    else {
        return false;
    };
    let is_device = named.file_type().is_char_device() && !is_terminal;
    !is_device && (stdin.dev(), stdin.ino()) == (named.dev(), named.ino())
}

/// Returns `false`: not implemented on this system.
#[cfg(not(unix))]
pub fn is_stdin(_: &Path) -> bool {
    false
}

/// Whether `path` is a regular file that its group or all users can read.
#[cfg(unix)]
pub(super) fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o044 != 0)
}

/// Returns `false`: not implemented on this system.
#[cfg(not(unix))]
pub fn is_readable_by_others(_: &Path) -> bool {
    false
}

/// Whether a stream is open but not readable. The standard library reads it as empty.
#[cfg(unix)]
pub(super) fn is_only_for_writing(stream: &impl std::os::fd::AsFd) -> bool {
    access(stream) == Some(rustix::fs::OFlags::WRONLY)
}

/// Whether a stream is open but not writable. The standard library ignores the errors of that.
#[cfg(unix)]
pub(crate) fn is_only_for_reading(stream: &impl std::os::fd::AsFd) -> bool {
    access(stream) == Some(rustix::fs::OFlags::RDONLY)
}

#[cfg(unix)]
fn access(stream: &impl std::os::fd::AsFd) -> Option<rustix::fs::OFlags> {
    let flags = rustix::fs::fcntl_getfl(stream).ok()?;
    Some(flags & rustix::fs::OFlags::ACCMODE)
}

/// Returns `false`: not implemented on this system.
#[cfg(not(unix))]
pub fn is_only_for_writing<T>(_: &T) -> bool {
    false
}

/// Returns `false`: not implemented on this system.
#[cfg(not(unix))]
pub fn is_only_for_reading<T>(_: &T) -> bool {
    false
}

#[cfg(not(unix))]
impl FileId {
    /// Returns `None`: not implemented on this system.
    pub fn of_path(_: &Path) -> Option<Self> {
        None
    }

    /// Returns `None`: not implemented on this system.
    pub fn of_stream<T>(_: &T) -> Option<Self> {
        None
    }
}
