//! Hashes of bodies: MD5, SHA-1, SHA-256 and SHA-512.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::Digest as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares the type of the hashes of one algorithm, by its number of bytes.
macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Returns the hash with these bytes; `None` if their number is wrong.
            pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().map(Self).ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                HEXLOWER.encode_display(&self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $bytes];
                // Decoding panics if the lengths do not match.
                if text.len() != 2 * bytes.len() {
                    return Err($form);
                }
                HEXLOWER_PERMISSIVE
                    .decode_mut(text.as_bytes(), &mut bytes)
                    .map_err(|_| $form)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hash_type!(
    /// An MD5 hash (RFC 1321), formatted and parsed as 32 hexadecimal digits. It shows damage, but
    /// no intent: files with the same MD5 hash can be made.
    Md5,
    16,
    "expected 32 hexadecimal digits"
);
hash_type!(
    /// A SHA-1 hash (FIPS 180-4), formatted and parsed as 40 hexadecimal digits. It shows damage,
    /// but no intent: files with the same SHA-1 hash can be made.
    Sha1,
    20,
    "expected 40 hexadecimal digits"
);
hash_type!(
    /// A SHA-256 hash (FIPS 180-4), formatted and parsed as 64 hexadecimal digits.
    Sha256,
    32,
    "expected 64 hexadecimal digits"
);
hash_type!(
    /// A SHA-512 hash (FIPS 180-4), formatted and parsed as 128 hexadecimal digits.
    Sha512,
    64,
    "expected 128 hexadecimal digits"
);

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
pub(crate) struct Sha256Context(Context);

impl Default for Sha256Context {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sha256Context {
    /// Hashes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes passed to [`update`](Self::update).
    #[must_use]
    pub(crate) fn finish(self) -> Sha256 {
        let digest = self.0.finish();
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Sha256(hash)
    }
}

/// An algorithm that bodies are hashed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// Returns the name in records and lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the number of hexadecimal digits of a hash.
    #[must_use]
    pub const fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Returns the algorithm with this name, in any case and with or without hyphen: `SHA-256`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is_same = |algorithm: &Self| {
            let known = algorithm.as_str().bytes();
            let given = name.bytes().filter(|byte| *byte != b'-');
            given.map(|byte| byte.to_ascii_lowercase()).eq(known)
        };
        Self::ALL.into_iter().find(is_same)
    }

    /// Returns the algorithm whose hashes have this number of hexadecimal digits.
    #[must_use]
    pub fn with_digits(digits: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.digits() == digits)
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HashAlgorithm {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name.trim()).ok_or("expected md5, sha1, sha256 or sha512")
    }
}

/// The hashes of one body, by algorithm, as far as known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyHashes {
    /// MD5.
    pub md5: Option<Md5>,
    /// SHA-1.
    pub sha1: Option<Sha1>,
    /// SHA-256.
    pub sha256: Option<Sha256>,
    /// SHA-512.
    pub sha512: Option<Sha512>,
}

impl BodyHashes {
    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the hashes in a box, unless there are none. Most bodies are not hashed, and there
    /// are places for thousands.
    #[must_use]
    pub fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Returns the bytes of one hash.
    #[must_use]
    pub fn get(&self, algorithm: HashAlgorithm) -> Option<&[u8]> {
        Some(match algorithm {
            HashAlgorithm::Md5 => &self.md5.as_ref()?.0,
            HashAlgorithm::Sha1 => &self.sha1.as_ref()?.0,
            HashAlgorithm::Sha256 => &self.sha256.as_ref()?.0,
            HashAlgorithm::Sha512 => &self.sha512.as_ref()?.0,
        })
    }

    /// Sets one hash; returns whether the number of bytes is right.
    pub fn set(&mut self, algorithm: HashAlgorithm, bytes: &[u8]) -> bool {
        match algorithm {
            HashAlgorithm::Md5 => replace(&mut self.md5, Md5::from_slice(bytes)),
            HashAlgorithm::Sha1 => replace(&mut self.sha1, Sha1::from_slice(bytes)),
            HashAlgorithm::Sha256 => replace(&mut self.sha256, Sha256::from_slice(bytes)),
            HashAlgorithm::Sha512 => replace(&mut self.sha512, Sha512::from_slice(bytes)),
        }
    }

    /// Returns the algorithms whose hash is known.
    pub fn algorithms(&self) -> impl Iterator<Item = HashAlgorithm> {
        HashAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| self.get(*algorithm).is_some())
    }

    /// Returns the first algorithm whose hash is not the expected one, or is not known although one
    /// is expected.
    #[must_use]
    pub fn mismatch(&self, expected: &Self) -> Option<HashAlgorithm> {
        expected
            .algorithms()
            .find(|algorithm| self.get(*algorithm) != expected.get(*algorithm))
    }

    /// Returns these hashes, and those of `other` that are not among them.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            md5: self.md5.or(other.md5),
            sha1: self.sha1.or(other.sha1),
            sha256: self.sha256.or(other.sha256),
            sha512: self.sha512.or(other.sha512),
        }
    }

    /// Returns one hash as hexadecimal digits; empty if it is not known.
    #[must_use]
    pub fn text(&self, algorithm: HashAlgorithm) -> String {
        HEXLOWER.encode(self.get(algorithm).unwrap_or_default())
    }
}

fn replace<T>(hash: &mut Option<T>, new: Option<T>) -> bool {
    if new.is_some() {
        *hash = new;
        return true;
    }
    false
}

/// Hashes one body with several algorithms.
#[derive(Clone, Default)]
pub(crate) struct BodyHasher(Vec<(HashAlgorithm, HashContext)>);

/// The context of one algorithm. aws-lc-rs has no MD5.
#[derive(Clone)]
enum HashContext {
    Md5(md5::Md5),
    Sha(Context),
}

impl BodyHasher {
    /// Also computes this hash. Only before the first byte.
    pub(crate) fn add(&mut self, algorithm: HashAlgorithm) {
        if self.0.iter().any(|(known, _)| *known == algorithm) {
            return;
        }
        let context = match algorithm {
            HashAlgorithm::Md5 => HashContext::Md5(md5::Md5::new()),
            HashAlgorithm::Sha1 => HashContext::Sha(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            HashAlgorithm::Sha256 => HashContext::Sha(Context::new(&SHA256)),
            HashAlgorithm::Sha512 => HashContext::Sha(Context::new(&SHA512)),
        };
        self.0.push((algorithm, context));
    }

    /// Whether no hash is computed.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hashes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for (_, context) in &mut self.0 {
            match context {
                HashContext::Md5(context) => context.update(bytes),
                HashContext::Sha(context) => context.update(bytes),
            }
        }
    }

    /// Returns the hashes of all bytes passed to [`update`](Self::update).
    #[must_use]
    pub(crate) fn finish(self) -> BodyHashes {
        let mut hashes = BodyHashes::default();
        for (algorithm, context) in self.0 {
            match context {
                HashContext::Md5(context) => hashes.set(algorithm, &context.finalize()),
                HashContext::Sha(context) => hashes.set(algorithm, context.finish().as_ref()),
            };
        }
        hashes
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
    /// The hashes of `abc` as published with the algorithms.
    #[test]
    fn a_body_is_hashed_with_all_algorithms_asked_for() {
        let mut hasher = BodyHasher::default();
        assert!(hasher.is_empty() && hasher.clone().finish().is_empty());
        for algorithm in HashAlgorithm::ALL {
            hasher.add(algorithm);
            hasher.add(algorithm);
        }
        hasher.update(b"a");
        hasher.update(b"bc");
        let hashes = hasher.finish();
        for (algorithm, expected) in [
            (HashAlgorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (
                HashAlgorithm::Sha1,
                "a9993e364706816aba3e25717850c26c9cd0d89d",
            ),
            (
                HashAlgorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                HashAlgorithm::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            assert_eq!(hashes.text(algorithm), expected);
            assert_eq!(HashAlgorithm::with_digits(expected.len()), Some(algorithm));
        }
        let mut other = BodyHashes {
            sha1: hashes.sha1,
            ..BodyHashes::default()
        };
        assert_eq!(hashes.mismatch(&other), None);
        assert_eq!(other.mismatch(&hashes), Some(HashAlgorithm::Md5));
        assert!(!other.set(HashAlgorithm::Sha1, &[0; 19]) && other.sha1 == hashes.sha1);
        assert!(other.set(HashAlgorithm::Sha1, &[0; 20]));
        assert_eq!(hashes.mismatch(&other), Some(HashAlgorithm::Sha1));
    }

    #[test]
    fn an_algorithm_is_named_in_any_case_with_or_without_a_hyphen() {
        for algorithm in HashAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        assert_eq!("SHA-256".parse(), Ok(HashAlgorithm::Sha256));
        assert!("sha384".parse::<HashAlgorithm>().is_err());
        assert!("sha2567".parse::<HashAlgorithm>().is_err());
    }
}
