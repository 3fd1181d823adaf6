//! Where runs put their files, and whether there is room.

use std::fs::File;
use std::io;
use std::path::Path;

use bytesize::ByteSize;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, statvfs};
use tempfile::TempDir;

/// Where several runs put their files. It is removed when it is dropped.
pub struct Area {
    dir: TempDir,
    removes: bool,
}

impl Area {
    /// What a run leaves is removed after it.
    pub fn removing(dir: &Path) -> Self {
        Self {
            dir: tempfile::tempdir_in(dir).expect("a folder of our own"),
            removes: true,
        }
    }

    /// What runs leave stays until all are over, and each has a part of the disk of its own:
    /// for minutes after many files were removed, ext4 spends most of its time on looking for
    /// a number for a new one among those just freed nearby.
    pub fn keeping(dir: &Path) -> Self {
        let area = Self {
            removes: false,
            ..Self::removing(dir)
        };
        // Other file systems know no such thing, nor do they need it.
        let _ = spread(area.dir.path());
        area
    }

    /// A folder for one run.
    pub fn folder(&self) -> TempDir {
        tempfile::tempdir_in(self.dir.path()).expect("a folder of our own")
    }

    /// The run is over.
    pub fn leave(&self, folder: TempDir) {
        if !self.removes {
            let _ = folder.keep();
        }
    }
}

/// What is `chattr +T`: folders in this one need not be near each other.
fn spread(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    let flags = ioctl_getflags(&dir)? | IFlags::TOPDIR;
    Ok(ioctl_setflags(&dir, flags)?)
}

/// Left for others.
const SPARE: u64 = 256 * 1024 * 1024;

/// Why so many bytes had better not be written to a folder; `None` when they may.
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
