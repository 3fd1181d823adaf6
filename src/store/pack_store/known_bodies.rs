//! Where the bodies of this run are in the pack, to find one that arrives again.

use crate::model::{CompactMap, KeyHasher, PackPlace};
use crate::store::warc::PayloadDigest;

/// Minimum size of a body that is worth a reference to an earlier one, which takes some 300 bytes.
const MIN_BODY_BYTES: u64 = 512;
/// Maximum number of bodies known; later ones are not added. Each takes 32 bytes.
const MAX_BODIES: usize = 1_000_000;
/// Number of places for which memory is allocated at once.
const GROWTH: usize = 16 * 1024;

/// The bodies in the pack, by digest and length.
#[derive(Debug, Default)]
pub(super) struct KnownBodies {
    keys: KeyHasher,
    /// Indices into `places`.
    indices: CompactMap,
    /// Offset and length of each body.
    places: Vec<(u64, u64)>,
    /// The pack of each body, given by the first index of each pack.
    packs: Vec<(usize, Option<u32>)>,
}

impl KnownBodies {
    /// Whether a body is large enough to be referred to.
    pub(super) fn is_worth_it(length: u64) -> bool {
        length >= MIN_BODY_BYTES
    }

    /// Returns the response with this body. As only a hash of the digest is known, the caller
    /// checks the digest in its head.
    pub(super) fn find(&self, digest: PayloadDigest, length: u64) -> Option<PackPlace> {
        if !Self::is_worth_it(length) {
            return None;
        }
        let index = self.indices.get(self.keys.of(&(digest, length)))?;
        let index = usize::try_from(index).ok()?;
        let (offset, length) = *self.places.get(index)?;
        let pack = self.packs.partition_point(|(first, _)| *first <= index);
        let (_, n) = *self.packs.get(pack.checked_sub(1)?)?;
        Some(PackPlace { n, offset, length })
    }

    /// Adds a response in the pack, or in the next one of a series.
    pub(super) fn add(&mut self, digest: PayloadDigest, length: u64, place: PackPlace) {
        let is_full = self.places.len() >= MAX_BODIES;
        if !Self::is_worth_it(length) || is_full || self.find(digest, length).is_some() {
            return;
        }
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(GROWTH);
        }
        let key = self.keys.of(&(digest, length));
        self.indices.put(key, self.places.len() as u64);
        if self.packs.last().is_none_or(|(_, n)| *n != place.n) {
            self.packs.push((self.places.len(), place.n));
        }
        self.places.push((place.offset, place.length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> PackPlace {
        PackPlace {
            n: None,
            offset,
            length: 9,
        }
    }

    #[test]
    fn the_first_of_equal_bodies_is_found_by_digest_and_length() {
        let mut known = KnownBodies::default();
        let (one, other) = (PayloadDigest::of(b"1"), PayloadDigest::of(b"2"));
        known.add(one, 600, place(10));
        known.add(one, 600, place(20));
        known.add(one, 700, place(30));
        assert_eq!(known.find(one, 600), Some(place(10)));
        assert_eq!(known.find(one, 700), Some(place(30)));
        assert_eq!(known.find(other, 600), None);
    }

    #[test]
    fn bodies_in_several_packs_are_found() {
        let mut known = KnownBodies::default();
        let digest = PayloadDigest::of(b"x");
        let place = |n, offset| PackPlace {
            n: Some(n),
            ..place(offset)
        };
        let places = [
            place(0, 5),
            place(0, 50),
            place(2, 5),
            place(3, 9),
            place(3, 90),
        ];
        for (length, place) in (600..).zip(places) {
            known.add(digest, length, place);
        }
        for (length, place) in (600..).zip(places) {
            assert_eq!(known.find(digest, length), Some(place));
        }
    }

    #[test]
    fn small_bodies_are_not_worth_it() {
        let mut known = KnownBodies::default();
        let digest = PayloadDigest::of(b"");
        known.add(digest, MIN_BODY_BYTES - 1, place(10));
        assert_eq!(known.find(digest, MIN_BODY_BYTES - 1), None);
        known.add(digest, MIN_BODY_BYTES, place(10));
        assert!(known.find(digest, MIN_BODY_BYTES).is_some());
    }

    #[test]
    fn memory_is_bounded_at_32_bytes_for_each_of_a_million_bodies() {
        let mut known = KnownBodies::default();
        let digest = PayloadDigest::of(b"x");
        let last = MAX_BODIES as u64;
        for number in 0..=last {
            known.add(digest, 1000 + number, place(number));
        }
        assert_eq!(known.find(digest, 1000 + last - 1), Some(place(last - 1)));
        assert_eq!(known.find(digest, 1000 + last), None);
        known.indices.merge();
        let places = known.places.capacity() * size_of::<(u64, u64)>();
        let size = known.indices.size() + places;
        assert!(size <= 33 * MAX_BODIES, "{size}");
    }
}
