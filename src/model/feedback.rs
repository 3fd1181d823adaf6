//! What an attempt taught about its host.

use std::time::Instant;

/// What an attempt taught about its host, handed back with the slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Feedback {
    /// The host asked not to be asked again before this time.
    pub hold: Option<Instant>,
}
