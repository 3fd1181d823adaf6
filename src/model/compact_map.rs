//! A map for millions of entries, from hashes to small numbers, with 16 bytes per entry.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Low bits of an entry that store its value; the key is above them.
const VALUE_BITS: u32 = 48;
const VALUE: u128 = (1 << VALUE_BITS) - 1;
/// Minimum number of new entries before a merge. Small in tests, so that merges are frequent.
const MIN_CAPACITY: usize = if cfg!(test) { 4 } else { 1 << 14 };
/// A merge also waits until the new entries are this fraction of the sorted ones. That bounds both
/// the cost (each entry is moved about 64 times in total) and the extra memory (1/64).
const MERGE_FRACTION: usize = 64;
/// Vectors of merged entries. One that grows is copied, so this is also the part of the entries
/// that is in memory twice meanwhile.
const VECTORS: usize = 256;

/// An 80-bit hash, stored in the upper bits. The chance of any collision among ten million keys is
/// 4 in 10^11. The hash is keyed at random for each process, so no list can be crafted to collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashKey(u128);

impl HashKey {
    /// Returns 64 bits of the hash: enough to tell apart the few entries that share another key.
    #[must_use]
    pub(crate) fn short(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// Computes [`HashKey`]s with a random key of this process.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(RandomState, RandomState);

impl KeyHasher {
    /// Returns the key of a value.
    #[must_use]
    pub(crate) fn of(&self, what: &impl Hash) -> HashKey {
        let half = |state: &RandomState| u128::from(state.hash_one(what));
        HashKey((half(&self.0) << 64 | half(&self.1)) & !VALUE)
    }
}

/// A map from keys to numbers below 2^48, built by many insertions in a row.
///
/// Entries are in sorted vectors without spare capacity, and new ones are merged in from time to
/// time. A hash table takes two to three times the memory, and twice that while it grows.
#[derive(Debug, Default)]
pub(crate) struct CompactMap {
    /// Merged entries, sorted by key, in a vector for each value of the first bits of the key.
    sorted: Vec<Vec<u128>>,
    /// Number of merged entries.
    merged: usize,
    /// Entries since the last merge, by key.
    fresh: BTreeMap<u128, u64>,
}

impl CompactMap {
    /// Whether the map is empty.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.fresh.is_empty()
    }

    /// Sets the number of a key, replacing any earlier one.
    pub(crate) fn put(&mut self, key: HashKey, value: u64) {
        self.fresh.insert(key.0, value);
        if self.fresh.len() >= MIN_CAPACITY.max(self.merged / MERGE_FRACTION) {
            self.merge();
        }
    }

    /// Returns the number of a key.
    #[must_use]
    pub(crate) fn get(&self, key: HashKey) -> Option<u64> {
        if let Some(value) = self.fresh.get(&key.0) {
            return Some(*value);
        }
        let sorted = self.sorted.get(vector_of(key.0))?;
        let place = upper_bound(sorted, key).checked_sub(1)?;
        let (found, value) = parts(*sorted.get(place)?);
        (found == key).then_some(value)
    }

    /// Merges the new entries into the sorted ones. The latest number of a key wins.
    pub(crate) fn merge(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh).into_iter().peekable();
        if fresh.peek().is_none() {
            return;
        }
        self.sorted.resize_with(VECTORS, Vec::new);
        for (number, sorted) in self.sorted.iter_mut().enumerate() {
            let own = std::iter::from_fn(|| fresh.next_if(|(key, _)| vector_of(*key) == number));
            self.merged += merge_into(sorted, own);
        }
    }

    /// Returns the number of sorted entries.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.sorted.iter().map(Vec::len).sum()
    }

    /// Returns the size of the sorted entries in bytes.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        assert!(self.fresh.is_empty());
        let capacity: usize = self.sorted.iter().map(Vec::capacity).sum();
        capacity * size_of::<u128>()
    }
}

/// Returns the index of the vector for a key, so that all keys of one are below those of the next.
fn vector_of(key: u128) -> usize {
    (key >> 120) as usize
}

/// Merges entries in the order of their keys into sorted ones. Returns how many keys are new.
fn merge_into(sorted: &mut Vec<u128>, fresh: impl Iterator<Item = (u128, u64)>) -> usize {
    // The new entries, and the index in `sorted` at which each of them is inserted.
    let (mut new, mut places) = (Vec::new(), Vec::new());
    let mut place = 0;
    for (key, value) in fresh {
        let key = HashKey(key);
        place = upper_bound_from(sorted, place, key);
        let before = place.checked_sub(1).and_then(|last| sorted.get_mut(last));
        match before.filter(|before| parts(**before).0 == key) {
            Some(before) => *before = entry(key, value),
            None => {
                new.push(entry(key, value));
                places.push(place);
            }
        }
    }
    insert(sorted, &new, &places);
    new.len()
}

/// Inserts each new entry at its index, starting from the back so that no entry is moved twice.
fn insert(sorted: &mut Vec<u128>, new: &[u128], places: &[usize]) {
    let mut end = sorted.len();
    sorted.reserve_exact(new.len());
    sorted.resize(end + new.len(), 0);
    for (before, (entry, place)) in new.iter().zip(places).enumerate().rev() {
        sorted.copy_within(*place..end, place + before + 1);
        if let Some(free) = sorted.get_mut(place + before) {
            *free = *entry;
        }
        end = *place;
    }
}

fn entry(key: HashKey, value: u64) -> u128 {
    key.0 | (u128::from(value) & VALUE)
}

fn parts(entry: u128) -> (HashKey, u64) {
    (HashKey(entry & !VALUE), (entry & VALUE) as u64)
}

/// Returns the index after the last entry whose key is not greater than `key`.
fn upper_bound(sorted: &[u128], key: HashKey) -> usize {
    let last = key.0 | VALUE;
    sorted.partition_point(|entry| *entry <= last)
}

/// [`upper_bound`] by galloping search from index `from`: fast if the result is near, because
/// neighbouring entries are in the cache.
fn upper_bound_from(sorted: &[u128], from: usize, key: HashKey) -> usize {
    let rest = sorted.get(from..).unwrap_or_default();
    let last = key.0 | VALUE;
    let mut reach = 1;
    while rest.get(reach).is_some_and(|entry| *entry <= last) {
        reach *= 2;
    }
    let near = rest.get(..reach).unwrap_or(rest);
    from + upper_bound(near, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_takes_16_bytes() {
        let (mut table, keys) = (CompactMap::default(), KeyHasher::default());
        for number in 0..10_000u64 {
            table.put(keys.of(&number), number);
        }
        table.merge();
        assert_eq!(table.size(), 10_000 * 16);
        let all = |number: u64| table.get(keys.of(&number)) == Some(number);
        assert!((0..10_000).all(all));
        assert_eq!(table.get(keys.of(&10_000)), None);
    }

    proptest! {
        #[test]
        fn it_is_a_map(put in prop::collection::vec((0u8..8, 0u64..1 << 48), 0..200)) {
            let (mut table, keys) = (CompactMap::default(), KeyHasher::default());
            let mut model = HashMap::<u8, u64>::new();
            for (key, value) in put {
                table.put(keys.of(&key), value);
                model.insert(key, value);
                prop_assert_eq!(table.get(keys.of(&key)), Some(value));
            }
            table.merge();
            prop_assert_eq!(table.size(), 16 * model.len());
            for key in 0..9 {
                prop_assert_eq!(table.get(keys.of(&key)), model.get(&key).copied());
            }
        }
    }
}
