//! Why a pack cannot be used.

use std::fs::TryLockError;
use std::io;

use thiserror::Error;

/// Why a pack cannot be opened. Messages do not include the path, which the caller adds.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// Its name has none of the three extensions.
    #[error("name must end in .warc, .warc.gz or .tar")]
    Name,
    /// It would be a compressed tar, which cannot be cut back to its last whole file.
    #[error("a compressed tar cannot be continued once a run was killed; end the name in .tar")]
    CompressedTar,
    /// It is a directory, a pipe or a device.
    #[error("not a regular file; name another file")]
    NotAFile,
    /// Another process has it open.
    #[error("in use by another fetchall; wait for it, or name another pack")]
    InUse,
    /// It exists, but its journal is missing, or says nothing of a pack.
    #[error(
        "already exists, but its journal is missing or empty; put that back, or name another file"
    )]
    NoJournal,
    /// It exists, but does not begin as the packs of fetchall.
    #[error("already exists, but is not the pack of its journal; name another file")]
    Unknown,
    /// After the last record of the journal is something else than what a killed run leaves.
    #[error(
        "the {more} bytes from byte {end} on, where its journal ends, are not from its own runs; if \
         another program added them, move them to a file of their own (tail -c {more}) and cut them \
         off (truncate -s {end}), else name another file"
    )]
    Added {
        /// End of the last record in the journal.
        end: u64,
        /// Number of bytes after it.
        more: u64,
    },
    /// It is shorter than the journal says. Nothing was changed. To continue, drop all records that
    /// end beyond `length`, and open it again.
    #[error("has {length} bytes, but its journal expects {known}: truncated or replaced")]
    Short {
        /// Its length in bytes.
        length: u64,
        /// End of the last record in the journal.
        known: u64,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<TryLockError> for PackError {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::InUse,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}
