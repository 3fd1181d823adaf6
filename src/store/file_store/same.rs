//! Whether a file that is to become final holds just what is there already.

use std::fs::File;
use std::io::{self, Read};

use super::folder::Folder;
use crate::model::RelPath;

/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether the unfinished file `name`, of this length, and the final one are equal, byte for
/// byte. What can't be read is not.
pub fn is_same(folder: &Folder, name: &str, file: &RelPath, length: u64) -> bool {
    if folder.length(file) != Some(length) {
        return false;
    }
    let opened = folder.open_to_compare(name, file);
    opened
        .and_then(|(new, old)| equal(new, old))
        .unwrap_or(false)
}

fn equal(mut a: File, mut b: File) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut a).take(CHUNK_BYTES as u64).read_to_end(&mut left)?;
        (&mut b).take(CHUNK_BYTES as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
