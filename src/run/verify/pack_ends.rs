//! Where the records of a pack end, as its journal says.

use std::ops::Range;

use crate::model::Record;
use crate::store::KnownEnd;

/// Where the records of each URL end in the pack, in order, with the positions in the journal that
/// say so.
#[derive(Default)]
pub(super) struct PackEnds {
    /// Of the records that count.
    pub(super) counting: Vec<(u64, u64)>,
    /// Of these and those that others have replaced.
    pub(super) all: Vec<(u64, u64)>,
    /// Offsets and ends of the bodies that count, each of which is looked at by itself.
    pub(super) bodies: Vec<(u64, u64)>,
}

impl PackEnds {
    /// Returns the parts of the pack between the response before that of a record and its own,
    /// without bodies. Its own is in them if it refers to an earlier one, or if it was not kept.
    /// Nothing if another line of the journal than this one is about the same response.
    pub(super) fn in_front_of(&self, record: &Record, line: Option<u64>) -> Vec<Range<u64>> {
        let Some(end) = record.end_in_pack() else {
            return Vec::new();
        };
        let first = self.counting.partition_point(|(other, _)| *other < end);
        let next = self.counting.partition_point(|(other, _)| *other <= end);
        let last = next.checked_sub(1).and_then(|last| self.counting.get(last));
        if line.is_some_and(|line| last.is_none_or(|(_, last)| *last != line)) {
            return Vec::new();
        }
        let before = first
            .checked_sub(1)
            .and_then(|before| self.counting.get(before));
        let mut start = before.map_or(0, |(end, _)| *end);
        let from = self.bodies.partition_point(|(offset, _)| *offset < start);
        let mut parts = Vec::new();
        let bodies = self.bodies.iter().skip(from).copied();
        for (offset, body_end) in bodies.take_while(|(offset, _)| *offset < end) {
            parts.push(start..offset);
            start = start.max(body_end);
        }
        parts.push(start..end);
        parts.retain(|part| part.start < part.end);
        parts
    }

    /// Returns the positions of the lines about the responses that end behind this position of the
    /// pack, in their order there.
    pub(super) fn lines_behind(&self, at: u64) -> impl Iterator<Item = u64> + '_ {
        let next = self.all.partition_point(|(end, _)| *end <= at);
        self.all.iter().skip(next).map(|(_, line)| *line)
    }

    /// Returns what is known of a pack of this length.
    pub(super) fn last_within(&self, length: u64) -> KnownEnd {
        let within = self.all.partition_point(|(end, _)| *end <= length);
        let last = within.checked_sub(1).and_then(|last| self.all.get(last));
        last.map_or(KnownEnd::Nothing, |(end, _)| KnownEnd::UpTo(*end))
    }

    /// Returns how many end beyond this length of the pack.
    pub(super) fn beyond(&self, length: u64) -> usize {
        self.counting.len() - self.counting.partition_point(|(end, _)| *end <= length)
    }
}
