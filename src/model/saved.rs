//! Where the bytes of a body went.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{RelPath, Sha256};

/// Where the bytes of a body went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedBody {
    /// Length of the whole decoded body.
    pub bytes: u64,
    /// Hash of the whole decoded body, when it was computed.
    pub sha256: Option<Sha256>,
    /// The body itself, when it was kept in memory.
    pub body: Option<Bytes>,
    /// Its file, when it has one.
    pub file: Option<RelPath>,
    /// Its place in a pack, when it went into one.
    pub pack: Option<PackPlace>,
    /// Whether its file held just these bytes before.
    pub is_same: bool,
}

/// Where in a pack a response stands: enough to read it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackPlace {
    /// Where the record begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in the file, in bytes.
    pub length: u64,
}

impl PackPlace {
    /// Where it ends.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}
