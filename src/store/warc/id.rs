//! Record ids: random UUIDs, unique across runs and machines.

use std::io;

use uuid::Builder;
use uuid::fmt::Hyphenated;

/// Number of ids whose random bytes are generated in one call.
const BATCH_IDS: usize = 192;

/// How many characters the ids of all warcinfo records of a pack have in common, so that its own
/// records are known from those of another pack: 60 random bits, and as many are left for the run.
const SHARED_CHARS: usize = 18;

/// The id of the first warcinfo record of a pack, as text.
pub(super) type PackId = [u8];

/// Whether a run of this pack has an id.
pub(super) fn is_of_pack(id: &[u8], pack: &PackId) -> bool {
    id.len() == pack.len() && id.get(..SHARED_CHARS) == pack.get(..SHARED_CHARS)
}

/// A version 4 UUID (RFC 9562 §5.4) as text. Its 122 random bits come from the system's generator:
/// a generator with a 64-bit seed would make collisions between runs too likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordId([u8; Hyphenated::LENGTH]);

impl RecordId {
    /// Generates `N` ids with one call to the system's generator.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub(super) fn random<const N: usize>() -> io::Result<[Self; N]> {
        let mut bytes = [[0; 16]; N];
        getrandom::fill(bytes.as_flattened_mut())
            .map_err(|_| io::Error::other("the system's random number generator failed"))?;
        Ok(bytes.map(Self::from_random))
    }

    fn from_random(bytes: [u8; 16]) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        let id = Builder::from_random_bytes(bytes).into_uuid();
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }

    /// Makes this the id of a later run of a pack.
    pub(super) fn in_pack(mut self, pack: &PackId) -> Self {
        for (own, shared) in self.0.iter_mut().zip(pack).take(SHARED_CHARS) {
            *own = *shared;
        }
        self
    }

    /// Returns the characters that all runs of a pack share.
    pub(super) fn of_pack(&self) -> &[u8] {
        self.0.get(..SHARED_CHARS).unwrap_or(&self.0)
    }

    /// Returns the 36 characters.
    #[must_use]
    pub(super) fn text(&self) -> &[u8] {
        &self.0
    }
}

/// Generates ids from random bytes that are requested in batches.
#[derive(Default)]
pub(super) struct RecordIdSource(Vec<[u8; 16]>);

impl RecordIdSource {
    /// Generates `N` ids.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub(super) fn next<const N: usize>(&mut self) -> io::Result<[RecordId; N]> {
        if self.0.len() < N {
            let mut bytes = [[0; 16]; BATCH_IDS];
            getrandom::fill(bytes.as_flattened_mut())
                .map_err(|_| io::Error::other("the system's random number generator failed"))?;
            self.0.extend(bytes);
        }
        let start = self.0.len().saturating_sub(N);
        let mut drawn = self.0.drain(start..);
        Ok([(); N].map(|()| RecordId::from_random(drawn.next().unwrap_or_default())))
    }
}

impl std::fmt::Debug for RecordIdSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordIdSource(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_set() {
        let id = |byte| String::from_utf8(RecordId::from_random([byte; 16]).0.to_vec()).unwrap();
        assert_eq!(id(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(id(0xff), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let [one, other] = RecordId::random().unwrap();
        assert_ne!(one, other);
    }
}
