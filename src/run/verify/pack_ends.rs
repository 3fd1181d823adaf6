//! Where the records of the packs end, as their journal says.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::model::{PackPosition, Record};
use crate::store::KnownEnd;

/// A part of a pack.
pub(super) struct PackPart {
    /// The number of the pack, in a series.
    pub(super) n: Option<u32>,
    pub(super) range: Range<u64>,
}

/// Where the records of each URL end in the packs, in order, with the positions in the journal that
/// say so.
#[derive(Default)]
pub(super) struct PackEnds {
    /// Of the records that count.
    pub(super) counting: Vec<(PackPosition, u64)>,
    /// Of these and those that others have replaced.
    pub(super) all: Vec<(PackPosition, u64)>,
    /// Starts and ends of the bodies that count, each of which is looked at by itself.
    pub(super) bodies: Vec<(PackPosition, u64)>,
}

impl PackEnds {
    /// Returns the parts of the pack between the response before that of a record and its own,
    /// without bodies. Its own is in them if it refers to an earlier one, or if it was not kept.
    /// Nothing if another line of the journal than this one is about the same response.
    pub(super) fn in_front_of(&self, record: &Record, line: Option<u64>) -> Vec<PackPart> {
        let Some(end) = record.end_in_pack() else {
            return Vec::new();
        };
        let n = end.n;
        let first = self.counting.partition_point(|(other, _)| *other < end);
        let next = self.counting.partition_point(|(other, _)| *other <= end);
        let last = next.checked_sub(1).and_then(|last| self.counting.get(last));
        if line.is_some_and(|line| last.is_none_or(|(_, last)| *last != line)) {
            return Vec::new();
        }
        let before = first
            .checked_sub(1)
            .and_then(|before| self.counting.get(before))
            .filter(|(before, _)| before.n == n);
        let mut start = before.map_or(0, |(end, _)| end.offset);
        let begin = PackPosition { n, offset: start };
        let from = self.bodies.partition_point(|(at, _)| *at < begin);
        let mut parts = Vec::new();
        let bodies = self.bodies.iter().skip(from);
        for (at, body_end) in bodies.take_while(|(at, _)| *at < end) {
            parts.push(start..at.offset);
            start = start.max(*body_end);
        }
        parts.push(start..end.offset);
        parts.retain(|part| part.start < part.end);
        let numbered = parts.into_iter().map(|range| PackPart { n, range });
        numbered.collect()
    }

    /// Returns the positions of the lines about the responses that end behind this position, in
    /// their order in the packs.
    pub(super) fn lines_behind(&self, at: PackPosition) -> impl Iterator<Item = u64> + '_ {
        let next = self.all.partition_point(|(end, _)| *end <= at);
        self.all.iter().skip(next).map(|(_, line)| *line)
    }

    /// Returns what is known of a pack that ends here.
    pub(super) fn last_within(&self, end: PackPosition) -> KnownEnd {
        let within = self.all.partition_point(|(other, _)| *other <= end);
        let last = within.checked_sub(1).and_then(|last| self.all.get(last));
        let last = last.filter(|(last, _)| last.n == end.n);
        last.map_or(KnownEnd::Nothing, |(end, _)| KnownEnd::UpTo(end.offset))
    }

    /// Returns how many of a pack are beyond its end.
    pub(super) fn beyond(&self, end: PackPosition) -> usize {
        let after = self.counting.partition_point(|(other, _)| *other <= end);
        let rest = self.counting.iter().skip(after);
        rest.take_while(|(other, _)| other.n == end.n).count()
    }

    /// Returns the numbers of the packs.
    pub(super) fn packs(&self) -> BTreeSet<Option<u32>> {
        self.all.iter().map(|(end, _)| end.n).collect()
    }
}
