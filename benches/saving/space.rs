//! Where runs put their files, and whether there is enough space.

use std::fs::File;
use std::io;
use std::path::Path;

use bytesize::ByteSize;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, statvfs};
use tempfile::TempDir;

/// The directory for several runs. It is removed when dropped.
pub struct Area {
    dir: TempDir,
    removes: bool,
}

impl Area {
    /// Removes the files of each run after it.
    pub fn removing(dir: &Path) -> Self {
        Self {
            dir: tempfile::tempdir_in(dir).expect("a folder of our own"),
            removes: true,
        }
    }

    /// Keeps the files of all runs until the end, in different parts of the disk. For minutes after
    /// many files were removed, ext4 spends most of its time searching the recently freed inode
    /// numbers nearby.
    pub fn keeping(dir: &Path) -> Self {
        let area = Self {
            removes: false,
            ..Self::removing(dir)
        };
        // Other file systems do not support this, and do not need it.
        let _ = spread(area.dir.path());
        area
    }

    /// Returns a directory for one run.
    pub fn folder(&self) -> TempDir {
        tempfile::tempdir_in(self.dir.path()).expect("a folder of our own")
    }

    /// Ends a run.
    pub fn leave(&self, folder: TempDir) {
        if !self.removes {
            let _ = folder.keep();
        }
    }
}

/// Does what `chattr +T` does: the subdirectories need not be near each other.
fn spread(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    let flags = ioctl_getflags(&dir)? | IFlags::TOPDIR;
    Ok(ioctl_setflags(&dir, flags)?)
}

/// Space to leave for other programs.
const SPARE: u64 = 256 * 1024 * 1024;

/// Returns why this number of bytes should not be written to a directory; `None` if they may be.
pub fn lacks(dir: &Path, bytes: u64) -> Option<String> {
    let room = match statvfs(dir) {
        Ok(found) => found.f_bavail * found.f_frsize,
        Err(error) => return Some(format!("{}: {error}", dir.display())),
    };
    let needed = bytes + SPARE;
    (room < needed).then(|| {
        let [room, needed] = [room, needed].map(|bytes| ByteSize(bytes).display().iec());
        format!("{}: {room} are free, {needed} are needed", dir.display())
    })
}
