//! Small files, and whether two names mean one file.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// Most that is read of a small file: a device that never ends would take all memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The text of a file of headers, a password or settings.
///
/// # Errors
/// When it can't be read, is too large, or no text.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    // Editors of some systems put a mark in front.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// A regular file, told apart from all others: also by hard links, and when it is only
/// known as an open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
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

    /// The file of this path, if it is a regular one.
    pub fn of_path(path: &Path) -> Option<Self> {
        Self::of_metadata(&std::fs::metadata(path).ok()?)
    }

    /// The file behind a stream, if it is a regular one.
    pub fn of_stream(stream: &impl std::os::fd::AsFd) -> Option<Self> {
        let file = std::fs::File::from(stream.as_fd().try_clone_to_owned().ok()?);
        Self::of_metadata(&file.metadata().ok()?)
    }
}

/// Whether a path leads to what is open as stdin, under whatever name. Of devices only a terminal
/// has something that one reader takes from another: `/dev/null` has not.
#[cfg(unix)]
pub fn is_stdin(path: &Path) -> bool {
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

/// Not known here.
#[cfg(not(unix))]
pub fn is_stdin(_: &Path) -> bool {
    false
}

/// Whether a stream is there, but can't be read; the standard library takes it for an empty one.
#[cfg(unix)]
pub fn is_only_for_writing(stream: &impl std::os::fd::AsFd) -> bool {
    access(stream) == Some(rustix::fs::OFlags::WRONLY)
}

/// Whether a stream is there, but can't be written to; the standard library says nothing of that.
#[cfg(unix)]
pub fn is_only_for_reading(stream: &impl std::os::fd::AsFd) -> bool {
    access(stream) == Some(rustix::fs::OFlags::RDONLY)
}

#[cfg(unix)]
fn access(stream: &impl std::os::fd::AsFd) -> Option<rustix::fs::OFlags> {
    let flags = rustix::fs::fcntl_getfl(stream).ok()?;
    Some(flags & rustix::fs::OFlags::ACCMODE)
}

/// Not known here.
#[cfg(not(unix))]
pub fn is_only_for_writing<T>(_: &T) -> bool {
    false
}

/// Not known here.
#[cfg(not(unix))]
pub fn is_only_for_reading<T>(_: &T) -> bool {
    false
}

#[cfg(not(unix))]
impl FileId {
    /// Not known here.
    pub fn of_path(_: &Path) -> Option<Self> {
        None
    }

    /// Not known here.
    pub fn of_stream<T>(_: &T) -> Option<Self> {
        None
    }
}
