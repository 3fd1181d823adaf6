//! Locations of saved bodies.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BodyHashes, RelPath};

/// The result of storing a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedBody {
    /// Length of the whole decoded body.
    pub bytes: u64,
    /// Hashes of the whole decoded body, if computed.
    pub hashes: Option<Box<BodyHashes>>,
    /// The body itself, if kept in memory.
    pub body: Option<Bytes>,
    /// Its file, if any.
    pub file: Option<RelPath>,
    /// Its position in a pack, if any.
    pub pack: Option<PackPlace>,
    /// End of the record that was added to the pack, if the body is not in it but in an earlier
    /// record, which it refers to.
    pub pack_end: Option<u64>,
    /// Whether the file already had exactly these bytes.
    pub is_same: bool,
}

impl SavedBody {
    /// Returns the end of what was added to the pack.
    #[must_use]
    pub fn end_in_pack(&self) -> Option<u64> {
        self.pack.map(PackPlace::end).max(self.pack_end)
    }
}

/// The position of a response in a pack: enough to read that response alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PackPlace {
    /// Offset of its record from the start of the file, in bytes.
    pub offset: u64,
    /// Length of its record in the file, in bytes.
    pub length: u64,
}

impl PackPlace {
    /// Returns the offset of the first byte after it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}
