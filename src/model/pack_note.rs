//! What a journal says of whole packs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Sha256;

/// A pack to which nothing is added any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FinishedPack {
    /// Its number.
    pub n: u32,
    /// Its length.
    pub bytes: u64,
    /// The number of its records; of a tar, that of its samples.
    pub records: u64,
    /// The SHA-256 of the file.
    pub sha256: Sha256,
}

/// A line of a journal about a whole pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pack_note", rename_all = "snake_case")]
pub(crate) enum PackNote {
    /// It is complete and has been checked. Written before it gets its final name.
    Finished(FinishedPack),
    /// The command for finished packs is run for it, and may remove it.
    Delivering { n: u32 },
    /// The command for finished packs has accepted it; from then on it may be gone.
    Delivered { n: u32 },
    /// It was gone before it was delivered.
    Lost { n: u32 },
}

/// How far the delivery of a finished pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DeliveryState {
    Due,
    Begun,
    Done,
}

/// The packs that earlier runs have finished.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackHistory {
    finished: BTreeMap<u32, (FinishedPack, DeliveryState)>,
    last: Option<u32>,
}

impl PackHistory {
    /// Adds the next note of the journal.
    pub(crate) fn add(&mut self, note: PackNote) {
        match note {
            PackNote::Finished(pack) => {
                self.last = self.last.max(Some(pack.n));
                self.finished.insert(pack.n, (pack, DeliveryState::Due));
            }
            PackNote::Delivering { n } => self.advance(n, DeliveryState::Begun),
            PackNote::Delivered { n } => self.advance(n, DeliveryState::Done),
            PackNote::Lost { n } => {
                self.last = self.last.max(Some(n));
                self.finished.remove(&n);
            }
        }
    }

    fn advance(&mut self, n: u32, to: DeliveryState) {
        if let Some((_, state)) = self.finished.get_mut(&n) {
            *state = to.max(*state);
        }
    }

    /// Takes packs as delivered whose delivery was begun and which are gone: the command has removed
    /// them, and the run was killed before it could say so. Returns their numbers.
    pub(crate) fn deliver_gone(&mut self, is_there: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut gone = Vec::new();
        for (n, (_, state)) in &mut self.finished {
            if *state == DeliveryState::Begun && !is_there(*n) {
                *state = DeliveryState::Done;
                gone.push(*n);
            }
        }
        gone
    }

    /// Returns the finished pack with this number.
    pub(crate) fn get(&self, n: u32) -> Option<&FinishedPack> {
        self.finished.get(&n).map(|(pack, _)| pack)
    }

    /// Returns the finished packs that were not delivered.
    pub(crate) fn undelivered(&self) -> impl Iterator<Item = &FinishedPack> {
        let packs = self.finished.values();
        packs.filter_map(|(pack, state)| (*state != DeliveryState::Done).then_some(pack))
    }

    /// Whether a pack was delivered.
    pub(crate) fn is_delivered(&self, n: u32) -> bool {
        self.finished
            .get(&n)
            .is_some_and(|(_, state)| *state == DeliveryState::Done)
    }

    /// Returns the number of the pack to fill, if the last journaled record is in `last`.
    pub(crate) fn next(&self, last: Option<u32>) -> u32 {
        match (self.last, last) {
            (Some(finished), Some(last)) if last > finished => last,
            (Some(finished), _) => finished.saturating_add(1),
            (None, last) => last.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(n: u32) -> PackNote {
        PackNote::Finished(FinishedPack {
            n,
            bytes: 10,
            records: 3,
            sha256: Sha256([7; 32]),
        })
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let notes = [
            finished(3),
            PackNote::Delivering { n: 3 },
            PackNote::Delivered { n: 3 },
            PackNote::Lost { n: 3 },
        ];
        for note in notes {
            let text = serde_json::to_string(&note).unwrap();
            assert!(text.starts_with("{\"pack_note\":\""), "{text}");
            assert_eq!(serde_json::from_str::<PackNote>(&text).unwrap(), note);
        }
    }

    #[test]
    fn the_next_pack_is_the_one_begun_or_the_one_after_the_last_finished() {
        let mut packs = PackHistory::default();
        assert_eq!((packs.next(None), packs.next(Some(0))), (0, 0));
        packs.add(finished(0));
        packs.add(finished(1));
        assert_eq!((packs.next(Some(1)), packs.next(Some(2))), (2, 2));
        assert_eq!(packs.undelivered().count(), 2);
        packs.add(PackNote::Delivered { n: 1 });
        assert!(packs.is_delivered(1) && !packs.is_delivered(0));
        packs.add(PackNote::Delivering { n: 1 });
        assert!(packs.is_delivered(1), "it stays delivered");
        assert!(packs.deliver_gone(|_| false).is_empty(), "none was begun");
        packs.add(PackNote::Delivering { n: 0 });
        assert!(packs.deliver_gone(|_| true).is_empty());
        assert_eq!(packs.clone().deliver_gone(|_| false), [0]);
        packs.add(PackNote::Lost { n: 0 });
        assert_eq!((packs.get(0), packs.undelivered().count()), (None, 0));
        packs.add(PackNote::Lost { n: 1 });
        assert_eq!(packs.next(None), 2, "a number is not used again");
    }
}
