//! Which bytes of a body are there, if they do not come in order.

/// A set of byte offsets, as ranges in ascending order that neither overlap nor touch. The end of a
/// range is the offset after its last byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ByteRanges(Vec<(u64, u64)>);

impl ByteRanges {
    /// Adds the bytes from `start` to `end`.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|(_, other)| *other < start);
        let after = self.0.partition_point(|(other, _)| *other <= end);
        let joined = self.0.get(first..after).unwrap_or_default();
        let start = joined.first().map_or(start, |(other, _)| start.min(*other));
        let end = joined.last().map_or(end, |(_, other)| end.max(*other));
        self.0.splice(first..after, [(start, end)]);
    }

    /// Whether there are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes from 0 on are there without a gap.
    #[must_use]
    pub(crate) fn prefix(&self) -> u64 {
        match self.0.first() {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub(crate) fn length(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }

    /// Returns the offset after the last byte.
    #[must_use]
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }

    /// Returns the ranges, each with its start and end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Returns the bytes from `at` to `end` of these.
    #[must_use]
    pub(crate) fn between(&self, at: u64, end: u64) -> Self {
        let within = |(start, stop): (u64, u64)| (start.max(at), stop.min(end));
        self.iter().map(within).collect()
    }

    /// Returns the gaps before `end`, each with its start and end.
    pub(crate) fn gaps(&self, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let starts = std::iter::once(0).chain(self.iter().map(|(_, stop)| stop));
        let stops = self.iter().map(|(start, _)| start).chain([end]);
        starts
            .zip(stops)
            .map(move |(start, stop)| (start, stop.min(end)))
            .filter(|(start, stop)| start < stop)
    }
}

impl FromIterator<(u64, u64)> for ByteRanges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::default();
        for (start, end) in ranges {
            set.add(start, end);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same set, a flag for each byte.
    fn flags(ranges: &[(u64, u64)], length: u64) -> Vec<bool> {
        let has = |at| {
            ranges
                .iter()
                .any(|(start, end)| (*start..*end).contains(&at))
        };
        (0..length).map(has).collect()
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_the_bytes_that_were_added(
            added in prop::collection::vec((0u64..40, 0u64..40), 0..12), at in 0u64..40, end in 0u64..40
        ) {
            let set: ByteRanges = added.iter().copied().collect();
            let flags = flags(&added, 41);
            let ranges: Vec<_> = set.iter().collect();
            prop_assert_eq!(&self::flags(&ranges, 41), &flags);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ranges);
            prop_assert_eq!(set.length(), flags.iter().filter(|is| **is).count() as u64);
            prop_assert_eq!(set.prefix(), flags.iter().take_while(|is| **is).count() as u64);
            let last = flags.iter().rposition(|is| *is);
            prop_assert_eq!(set.end(), last.map_or(0, |at| at as u64 + 1));
            prop_assert_eq!(set.is_empty(), set.length() == 0);

            let gaps: Vec<_> = set.gaps(end).collect();
            let inverse: Vec<_> = (0..end).map(|at| !flags[at as usize]).collect();
            prop_assert_eq!(self::flags(&gaps, end), inverse);

            let within: Vec<_> = set.between(at, end).iter().collect();
            let wanted: Vec<_> = (0..41).map(|n| flags[n as usize] && n >= at && n < end).collect();
            prop_assert_eq!(self::flags(&within, 41), wanted);
        }
    }
}
