//! A map for millions: from hashes to small numbers, 16 bytes an entry.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Bits of an entry below its key.
const VALUE_BITS: u32 = 48;
const VALUE: u128 = (1 << VALUE_BITS) - 1;
/// Entries that are gathered at least before they are sorted in; few in tests, where it is to
/// happen often.
const MIN_CAPACITY: usize = if cfg!(test) { 4 } else { 1 << 14 };
/// And the part of all entries: each one is moved about so many times in all, and so much
/// memory is taken on top.
const MERGE_FRACTION: usize = 64;

/// A hash of 80 bits, the upper ones. The chance that any two of ten million things meet there
/// is 4 in 10^11, and the key of the hash is one of this process: nobody can make a list for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKey(u128);

impl HashKey {
    /// 64 bits of it: enough to tell apart the few things that were found to have another key in
    /// common.
    #[must_use]
    pub fn short(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// Hashes under a key of this process.
#[derive(Debug, Default)]
pub struct KeyHasher(RandomState, RandomState);

impl KeyHasher {
    /// The key of something.
    #[must_use]
    pub fn of(&self, what: &impl Hash) -> HashKey {
        let half = |state: &RandomState| u128::from(state.hash_one(what));
        HashKey((half(&self.0) << 64 | half(&self.1)) & !VALUE)
    }
}

/// A map from keys to numbers below 2^48, for many that come one after another. They stand in
/// order, without room to grow, and new ones are sorted in from time to time: a table of hashes
/// takes two or three times as much, and again as much while it grows.
#[derive(Debug, Default)]
pub struct CompactMap {
    /// In the order of keys.
    sorted: Vec<u128>,
    /// What came since, by key.
    fresh: BTreeMap<u128, u64>,
}

impl CompactMap {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.fresh.is_empty()
    }

    /// Gives the key this number, in place of the one that it had.
    pub fn put(&mut self, key: HashKey, value: u64) {
        self.fresh.insert(key.0, value);
        if self.fresh.len() >= MIN_CAPACITY.max(self.sorted.len() / MERGE_FRACTION) {
            self.merge();
        }
    }

    /// The number of a key.
    #[must_use]
    pub fn get(&self, key: HashKey) -> Option<u64> {
        if let Some(value) = self.fresh.get(&key.0) {
            return Some(*value);
        }
        let place = upper_bound(&self.sorted, key).checked_sub(1)?;
        let (found, value) = parts(*self.sorted.get(place)?);
        (found == key).then_some(value)
    }

    /// Sorts in what came: of the numbers of one key the last one stays.
    pub fn merge(&mut self) {
        let mut new = Vec::<u128>::with_capacity(self.fresh.len());
        // Where each of them belongs among those that are there.
        let mut places = Vec::with_capacity(self.fresh.len());
        let mut place = 0;
        for (key, value) in std::mem::take(&mut self.fresh) {
            let key = HashKey(key);
            place = behind_from(&self.sorted, place, key);
            let before = place
                .checked_sub(1)
                .and_then(|last| self.sorted.get_mut(last));
            match before.filter(|before| parts(**before).0 == key) {
                Some(before) => *before = entry(key, value),
                None => {
                    new.push(entry(key, value));
                    places.push(place);
                }
            }
        }
        self.insert(&new, &places);
    }

    /// Makes room and puts every new one in its place, from the back, so that nothing is moved
    /// twice.
    fn insert(&mut self, new: &[u128], places: &[usize]) {
        let mut end = self.sorted.len();
        self.sorted.reserve_exact(new.len());
        self.sorted.resize(end + new.len(), 0);
        for (before, (entry, place)) in new.iter().zip(places).enumerate().rev() {
            self.sorted.copy_within(*place..end, place + before + 1);
            if let Some(free) = self.sorted.get_mut(place + before) {
                *free = *entry;
            }
            end = *place;
        }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        assert!(self.fresh.is_empty());
        self.sorted.capacity() * size_of::<u128>()
    }
}

fn entry(key: HashKey, value: u64) -> u128 {
    key.0 | (u128::from(value) & VALUE)
}

fn parts(entry: u128) -> (HashKey, u64) {
    (HashKey(entry & !VALUE), (entry & VALUE) as u64)
}

/// Where those of this key and of smaller ones end.
fn upper_bound(sorted: &[u128], key: HashKey) -> usize {
    let last = key.0 | VALUE;
    sorted.partition_point(|entry| *entry <= last)
}

/// The same from a place on, when it is not far: what is next to each other is read faster than
/// what is far away.
fn behind_from(sorted: &[u128], from: usize, key: HashKey) -> usize {
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
    fn an_entry_takes_16_bytes_however_many_come() {
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
