//! Compares a new file with the existing one.

use std::fs::File;
use std::io::{self, Read};

use super::folder::Folder;
use crate::model::RelPath;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Returns whether the temporary file `name`, of `length` bytes, and the final file are equal byte
/// for byte. False if either cannot be read.
pub(super) fn is_same(folder: &Folder, name: &str, file: &RelPath, length: u64) -> bool {
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
