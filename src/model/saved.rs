//! Locations of saved bodies.

use std::collections::BTreeMap;

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
    pub pack_end: Option<PackPosition>,
    /// Whether the file already had exactly these bytes.
    pub is_same: bool,
}

impl SavedBody {
    /// Returns the end of what was added to the pack.
    #[must_use]
    pub fn end_in_pack(&self) -> Option<PackPosition> {
        self.pack.map(PackPlace::end_position).max(self.pack_end)
    }
}

/// The position of a response in a pack: enough to read that response alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PackPlace {
    /// Number of the pack, if the run fills several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
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

    /// Returns the position of the first byte after it.
    #[must_use]
    pub(crate) fn end_position(self) -> PackPosition {
        PackPosition {
            n: self.n,
            offset: self.end(),
        }
    }
}

/// The packs of which only a beginning is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PackLimits(BTreeMap<Option<u32>, u64>);

impl PackLimits {
    /// Adds a pack that ends at `end`; one that is gone ends at 0.
    pub(crate) fn add(&mut self, end: PackPosition) {
        self.0.insert(end.n, end.offset);
    }

    /// Whether all packs are whole.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns where these packs end.
    pub(crate) fn ends(&self) -> impl Iterator<Item = PackPosition> {
        let ends = self.0.iter();
        ends.map(|(n, offset)| PackPosition {
            n: *n,
            offset: *offset,
        })
    }

    /// Whether a position is beyond the end of its pack.
    pub(crate) fn is_beyond(&self, position: PackPosition) -> bool {
        let limit = self.0.get(&position.n);
        limit.is_some_and(|limit| position.offset > *limit)
    }
}

/// A position in the packs of a run, which are filled one after the other: a greater one was
/// written later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackPosition {
    /// Number of the pack, if the run fills several.
    pub n: Option<u32>,
    /// Offset in bytes.
    pub offset: u64,
}
