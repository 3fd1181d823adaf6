//! SHA-1 payload digests. SHA-1 does not protect against forgery, but WARC indexes and
//! deduplication tools compare it.

use aws_lc_rs::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE32_NOPAD;

/// The SHA-1 of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PayloadDigest([u8; 20]);

impl PayloadDigest {
    /// Hashes a complete payload.
    #[must_use]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from(&digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes))
    }

    /// Returns the digest in base32 (RFC 4648 §6): 20 bytes give 32 digits without padding.
    #[must_use]
    pub(crate) fn base32(&self) -> [u8; 32] {
        let mut text = [0; 32];
        BASE32_NOPAD.encode_mut(&self.0, &mut text);
        text
    }
}

impl From<&Digest> for PayloadDigest {
    fn from(digest: &Digest) -> Self {
        let mut bytes = [0; 20];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// Hashes a payload in pieces.
#[derive(Clone)]
pub(crate) struct PayloadHasher(Context);

impl PayloadHasher {
    /// Hashes the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the digest of all pieces.
    #[must_use]
    pub(crate) fn finish(self) -> PayloadDigest {
        PayloadDigest::from(&self.0.finish())
    }
}

impl Default for PayloadHasher {
    fn default() -> Self {
        Self(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))
    }
}

impl std::fmt::Debug for PayloadHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadHasher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(digest: PayloadDigest) -> String {
        String::from_utf8(digest.base32().to_vec()).unwrap()
    }

    #[test]
    fn digests_match_known_values() {
        let empty = "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ";
        assert_eq!(text(PayloadDigest::of(b"")), empty);
        assert_eq!(text(PayloadHasher::default().finish()), empty);
        let abc = "VGMT4NSHA2AWVOR6EVYXQUGCNSONBWE5";
        assert_eq!(text(PayloadDigest::of(b"abc")), abc);
        let mut hasher = PayloadHasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(text(hasher.finish()), abc);
    }
}
