//! Whether a body is the one its line expects. Its hash is computed while it passes.

use std::io::{self, Read};

use crate::model::{Attempt, Cause, FetchError, LineOptions, Sha256, Sha256Context};

/// Read at a time of what is here already, in bytes.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// The checks on one body.
pub struct BodyVerifier {
    size: Option<u64>,
    sha256: Option<Sha256>,
    received: u64,
    hash: Option<Sha256Context>,
}

impl BodyVerifier {
    /// What the line of this attempt expects; `hashes`: the hash is wanted anyway.
    pub fn new(attempt: &Attempt, hashes: bool) -> Self {
        let wish: Option<&LineOptions> = attempt.job.wish.as_deref();
        let sha256 = wish.and_then(|wish| wish.sha256);
        Self {
            size: wish.and_then(|wish| wish.size),
            sha256,
            received: 0,
            hash: (hashes || sha256.is_some()).then(Sha256Context::default),
        }
    }

    /// Looks at a length that was announced for the body as it is, uncoded.
    pub fn check_announced(&self, length: Option<u64>) -> Result<(), FetchError> {
        match (self.size, length) {
            (Some(size), Some(length)) if size != length => {
                Err(wrong_size(&length.to_string(), size))
            }
            _ => Ok(()),
        }
    }

    /// Whether every byte is looked at.
    pub fn computes_hash(&self) -> bool {
        self.hash.is_some()
    }

    /// So many bytes are here already, and need not be looked at.
    pub fn skip(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// Takes what is here already.
    pub fn hash_existing(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; HASH_CHUNK_BYTES];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.received += read as u64;
            if let (Some(hash), Some(piece)) = (&mut self.hash, buffer.get(..read)) {
                hash.update(piece);
            }
        }
    }

    /// Takes the next decoded bytes. A body that is too long is told at once.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.received += piece.len() as u64;
        if let Some(size) = self.size.filter(|size| self.received > *size) {
            return Err(wrong_size(&format!("at least {}", self.received), size));
        }
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
        Ok(())
    }

    /// The body has ended. Gives its hash, if it was computed.
    pub fn finish(self) -> Result<Option<Sha256>, FetchError> {
        if let Some(size) = self.size.filter(|size| self.received != *size) {
            return Err(wrong_size(&self.received.to_string(), size));
        }
        let hash = self.hash.map(Sha256Context::finish);
        match (hash, self.sha256) {
            (Some(got), Some(expected)) if got != expected => {
                let text = format!("sha256 is {got}, expected {expected}");
                Err(FetchError::Checksum(Cause::from_text(text)))
            }
            (hash, _) => Ok(hash),
        }
    }
}

fn wrong_size(got: &str, expected: u64) -> FetchError {
    FetchError::Checksum(Cause::from_text(format!(
        "{got} bytes, expected {expected}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expecting(size: Option<u64>, sha256: Option<&str>, hashes: bool) -> BodyVerifier {
        let sha256 = sha256.map(|text| text.parse().unwrap());
        BodyVerifier {
            size,
            sha256,
            received: 0,
            hash: (hashes || sha256.is_some()).then(Sha256Context::default),
        }
    }

    fn outcome(mut expectation: BodyVerifier, body: &str) -> Result<Option<String>, String> {
        for piece in body.as_bytes().chunks(2) {
            expectation
                .update(piece)
                .map_err(|error| error.to_string())?;
        }
        let hash = expectation.finish().map_err(|error| error.to_string())?;
        Ok(hash.map(|hash| hash.to_string()))
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_body_is_checked_for_what_is_expected_of_it() {
        assert_eq!(outcome(expecting(None, None, false), "abc"), Ok(None));
        assert_eq!(
            outcome(expecting(None, None, true), "abc"),
            Ok(Some(ABC.into()))
        );
        assert_eq!(
            outcome(expecting(Some(3), Some(ABC), false), "abc"),
            Ok(Some(ABC.into()))
        );
        assert_eq!(
            outcome(expecting(Some(5), None, false), "abc"),
            Err("content mismatch: 3 bytes, expected 5".into())
        );
        assert_eq!(
            outcome(expecting(Some(3), None, false), "abcdefg"),
            Err("content mismatch: at least 4 bytes, expected 3".into()),
            "told before its end"
        );
        let error = outcome(expecting(None, Some(ABC), false), "abd").unwrap_err();
        assert!(
            error.starts_with("content mismatch: sha256 is a52d159f"),
            "{error}"
        );
        assert!(error.ends_with(&format!(", expected {ABC}")), "{error}");
    }

    #[test]
    fn an_announced_length_is_enough_to_refuse() {
        let expectation = expecting(Some(3), None, false);
        assert!(
            expectation.check_announced(Some(3)).is_ok()
                && expectation.check_announced(Some(4)).is_err()
        );
        assert!(expecting(None, None, true).check_announced(Some(4)).is_ok());
        assert!(expectation.check_announced(None).is_ok());
    }
}
