//! A map for millions: from hashes to small numbers, 16 bytes an entry.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Bits of an entry below its key.
const VALUE_BITS: u32 = 48;
const VALUE: u128 = (1 << VALUE_BITS) - 1;
/// Entries that are gathered at least before they are sorted in; few in tests, where it is to
/// happen often.
const LEAST: usize = if cfg!(test) { 4 } else { 1 << 14 };
/// And the part of all entries: each one is moved about so many times in all, and so much
/// memory is taken on top.
const PART: usize = 64;

/// A hash of 80 bits, the upper ones. The chance that any two of ten million things meet there
/// is 4 in 10^11, and the key of the hash is one of this process: nobody can make a list for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u128);

impl Key {
    /// 64 bits of it: enough to tell apart the few things that were found to have another key in
    /// common.
    #[must_use]
    pub fn short(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// Hashes under a key of this process.
#[derive(Debug, Default)]
pub struct Keys(RandomState, RandomState);

impl Keys {
    /// The key of something.
    #[must_use]
    pub fn of(&self, what: &impl Hash) -> Key {
        let half = |state: &RandomState| u128::from(state.hash_one(what));
        Key((half(&self.0) << 64 | half(&self.1)) & !VALUE)
    }
}

/// A map from keys to numbers below 2^48, for many that come one after another. They stand in
/// order, without room to grow, and new ones are sorted in from time to time: a table of hashes
/// takes two or three times as much, and again as much while it grows.
#[derive(Debug, Default)]
pub struct Table {
    /// In the order of keys; those of one key in the order in which they came.
    sorted: Vec<u128>,
    /// What came since, by key and then by number.
    fresh: BTreeMap<u128, u64>,
}

impl Table {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.fresh.is_empty()
    }

    /// Adds a number behind those that the key has already.
    pub fn push(&mut self, key: Key, value: u64) {
        let number = self.fresh.len() as u128 & VALUE;
        self.fresh.insert(key.0 | number, value);
    }

    /// Whether enough came to be [settled](Self::settle).
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.fresh.len() >= LEAST.max(self.sorted.len() / PART)
    }

    /// The last number of a key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<u64> {
        let fresh = self.fresh.range(key.0..=key.0 | VALUE).next_back();
        if let Some((_, value)) = fresh {
            return Some(*value);
        }
        let place = behind(&self.sorted, key).checked_sub(1)?;
        let (found, value) = parts(*self.sorted.get(place)?);
        (found == key).then_some(value)
    }

    /// Sorts in what came. `replaces` says whether a number takes the place of the one before it
    /// (the older is given first), or stands behind it.
    pub fn settle(&mut self, mut replaces: impl FnMut(u64, u64) -> bool) {
        let mut new = Vec::<u128>::with_capacity(self.fresh.len());
        // Where each of them belongs among those that are there.
        let mut places = Vec::with_capacity(self.fresh.len());
        let mut place = 0;
        for (key, value) in std::mem::take(&mut self.fresh) {
            let key = Key(key & !VALUE);
            place = behind_from(&self.sorted, place, key);
            let before = match new.last_mut() {
                Some(last) if parts(*last).0 == key => Some(last),
                _ => place
                    .checked_sub(1)
                    .and_then(|last| self.sorted.get_mut(last)),
            };
            let before = before.filter(|before| {
                let (same, old) = parts(**before);
                same == key && replaces(old, value)
            });
            if let Some(before) = before {
                *before = entry(key, value);
            } else {
                new.push(entry(key, value));
                places.push(place);
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

    /// Keeps what `keep` says of what is settled, asked from the last to the first.
    pub fn retain_from_last(&mut self, mut keep: impl FnMut(Key, u64) -> bool) {
        self.sorted.reverse();
        self.sorted.retain(|entry| {
            let (key, value) = parts(*entry);
            keep(key, value)
        });
        self.sorted.reverse();
        self.sorted.shrink_to_fit();
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        assert!(self.fresh.is_empty());
        self.sorted.capacity() * size_of::<u128>()
    }
}

fn entry(key: Key, value: u64) -> u128 {
    key.0 | (u128::from(value) & VALUE)
}

fn parts(entry: u128) -> (Key, u64) {
    (Key(entry & !VALUE), (entry & VALUE) as u64)
}

/// Where those of this key and of smaller ones end.
fn behind(sorted: &[u128], key: Key) -> usize {
    let last = key.0 | VALUE;
    sorted.partition_point(|entry| *entry <= last)
}

/// The same from a place on, when it is not far: what is next to each other is read faster than
/// what is far away.
fn behind_from(sorted: &[u128], from: usize, key: Key) -> usize {
    let rest = sorted.get(from..).unwrap_or_default();
    let last = key.0 | VALUE;
    let mut reach = 1;
    while rest.get(reach).is_some_and(|entry| *entry <= last) {
        reach *= 2;
    }
    let near = rest.get(..reach).unwrap_or(rest);
    from + behind(near, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_takes_16_bytes_however_many_come() {
        let (mut table, keys) = (Table::default(), Keys::default());
        for number in 0..10_000u64 {
            table.push(keys.of(&number), number);
            if table.is_due() {
                table.settle(|_, _| true);
            }
        }
        table.settle(|_, _| true);
        assert_eq!(table.size(), 10_000 * 16);
        let all = |number: u64| table.get(keys.of(&number)) == Some(number);
        assert!((0..10_000).all(all));
        assert_eq!(table.get(keys.of(&10_000)), None);
    }

    proptest! {
        /// Odd numbers replace, even ones stand behind.
        #[test]
        fn it_is_a_map_to_lists(pushed in prop::collection::vec((0u8..8, 0u64..1 << 48), 0..200)) {
            let (mut table, keys) = (Table::default(), Keys::default());
            let mut model = HashMap::<u8, Vec<u64>>::new();
            let replaces = |_, new: u64| new % 2 == 1;
            for (key, value) in pushed {
                table.push(keys.of(&key), value);
                let list = model.entry(key).or_default();
                if replaces(0, value) {
                    list.pop();
                }
                list.push(value);
                prop_assert_eq!(table.get(keys.of(&key)), Some(value));
                if table.is_due() {
                    table.settle(replaces);
                }
            }
            table.settle(replaces);
            let mut found = HashMap::<u8, Vec<u64>>::new();
            table.retain_from_last(|key, value| {
                let key = (0..8).find(|one| keys.of(one) == key).unwrap();
                found.entry(key).or_default().insert(0, value);
                value % 3 > 0
            });
            prop_assert_eq!(found, model.clone());
            for (key, mut list) in model {
                list.retain(|value| value % 3 > 0);
                prop_assert_eq!(table.get(keys.of(&key)), list.last().copied());
            }
        }
    }
}
