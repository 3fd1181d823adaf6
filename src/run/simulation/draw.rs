//! Random numbers of a seed.

use std::hash::{Hash, Hasher};

use fastrand::Rng;
use siphasher::sip::SipHasher13;

/// Returns the random numbers for one purpose. Those for others do not change if this one is left
/// out.
pub(super) fn random(seed: u64, purpose: impl Hash) -> Rng {
    let mut hash = SipHasher13::new_with_keys(seed, 22);
    purpose.hash(&mut hash);
    Rng::with_seed(hash.finish())
}
