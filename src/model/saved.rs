//! Where the bytes of a body went.

use bytes::Bytes;

/// Where the bytes of a body went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Length of the whole decoded body.
    pub bytes: u64,
    /// The body itself, when it was kept in memory.
    pub body: Option<Bytes>,
}
