//! SHA-256 of bodies.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 hash (FIPS 180-4), formatted and parsed as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Returns the hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = Sha256Context::default();
        context.update(bytes);
        context.finish()
    }
}

/// A SHA-256 hash being computed incrementally.
#[derive(Clone)]
pub struct Sha256Context(Context);

impl Default for Sha256Context {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sha256Context {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes passed to [`update`](Self::update).
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let digest = self.0.finish();
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Sha256(hash)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl FromStr for Sha256 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHA256_FORM: &str = "expected 64 hexadecimal digits";
        // Decoding panics if the lengths do not match.
        if text.len() != 64 {
            return Err(SHA256_FORM);
        }
        let mut bytes = [0; 32];
        HEXLOWER_PERMISSIVE
            .decode_mut(text.as_bytes(), &mut bytes)
            .map_err(|_| SHA256_FORM)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_formatted_and_parsed_as_64_digits() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash: Sha256 = text.parse().unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<Sha256>(&json).unwrap(), hash);
        let mut context = Sha256Context::default();
        context.update(b"a");
        context.update(b"bc");
        assert_eq!(context.finish(), hash);
        for bad in [
            &text[1..],
            &format!("{text}0"),
            &format!("+{}", &text[1..]),
            "é",
        ] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
    }
}
