//! Checks a body against the size, hash and media type that are expected, hashing while it streams.

use std::io::{self, Read, Seek, SeekFrom};

use super::content_type::{PageGuard, START_BYTES};
use crate::model::{
    Attempt, BodyHasher, BodyHashes, Cause, ExpectedTypes, FetchError, HashAlgorithm, LineOptions,
    spawn_blocking,
};
use crate::store::BodyWriter;

/// Size of one read of a partial body on disk, in bytes.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// Checks one body while it is received.
pub(crate) struct BodyVerifier {
    size: Option<u64>,
    /// What the line expects, or an earlier run has recorded.
    expected: Option<Box<BodyHashes>>,
    /// What the response says of its own body.
    announced: Option<Box<BodyHashes>>,
    received: u64,
    hasher: BodyHasher,
    guard: Option<PageGuard>,
}

impl BodyVerifier {
    /// Creates the checks for the input line of an attempt. `hashes`: compute these, whatever the
    /// line expects.
    pub(crate) fn new(attempt: &Attempt, hashes: &[HashAlgorithm]) -> Self {
        let own_options: Option<&LineOptions> = attempt.job.options.as_deref();
        let size = own_options.and_then(|own_options| own_options.size);
        let expected = own_options.and_then(|own_options| own_options.hashes.clone());
        let mut checks = Self::of_saved(size, expected);
        for algorithm in hashes {
            checks.hasher.add(*algorithm);
        }
        checks
    }

    /// Creates the checks of a body that an earlier run saved.
    pub(crate) fn of_saved(size: Option<u64>, expected: Option<Box<BodyHashes>>) -> Self {
        Self {
            size,
            hasher: hasher_for(expected.as_deref()),
            expected,
            announced: None,
            received: 0,
            guard: None,
        }
    }

    /// Also checks the body against what its response says of it.
    pub(crate) fn with_announced(mut self, announced: Option<Box<BodyHashes>>) -> Self {
        for algorithm in announced.iter().flat_map(|hashes| hashes.algorithms()) {
            self.hasher.add(algorithm);
        }
        self.announced = announced;
        self
    }

    /// Also fails an HTML page, if a body with these types cannot be one.
    pub(crate) fn with_types(self, types: Option<&ExpectedTypes>) -> Self {
        Self {
            guard: PageGuard::new(types),
            ..self
        }
    }

    /// Checks the announced length of a body that has no content coding.
    ///
    /// # Errors
    /// `checksum` when the line expects another size.
    pub(crate) fn check_announced(&self, length: Option<u64>) -> Result<(), FetchError> {
        match (self.size, length) {
            (Some(size), Some(length)) if size != length => {
                Err(wrong_size(&length.to_string(), size))
            }
            _ => Ok(()),
        }
    }

    /// Checks what an earlier run recorded of a body that is not there to be read. A hash that it did
    /// not record contradicts nothing.
    ///
    /// # Errors
    /// `checksum` when another size or hash is expected.
    #[cfg(feature = "cli")]
    pub(crate) fn check_recorded(
        &self,
        size: Option<u64>,
        hashes: BodyHashes,
    ) -> Result<(), FetchError> {
        self.check_announced(size)?;
        let expected = self.expected.as_deref();
        let found = hashes.or(expected.copied().unwrap_or_default());
        check(&found, expected, "expected")
    }

    /// Returns how many of `length` bytes already on disk have to be read: all to hash them, the
    /// first to know a page, or none.
    pub(crate) fn needed_of(&self, length: u64) -> u64 {
        match &self.guard {
            _ if !self.hasher.is_empty() => length,
            Some(_) => length.min(START_BYTES as u64),
            None => 0,
        }
    }

    /// Counts bytes that are already on disk, without reading them.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// Takes in what is on disk, up to `end`.
    ///
    /// # Errors
    /// `save` when it cannot be read.
    pub(crate) async fn with_existing(
        mut self,
        file: &impl BodyWriter,
        end: u64,
    ) -> Result<Self, FetchError> {
        let start = self.received;
        let length = end.saturating_sub(start);
        let needed = self.needed_of(length);
        if needed == 0 {
            self.skip(length);
            return Ok(self);
        }
        let mut file = file.read_back().await?;
        // Hashing gigabytes takes seconds, so not on the thread that serves sockets. If the disk
        // hangs, an abort ends this wait.
        let hashed = spawn_blocking(move || {
            file.seek(SeekFrom::Start(start))?;
            self.read_existing(file.take(needed))?;
            self.skip(length - needed);
            Ok(self)
        });
        match hashed.await {
            Ok(Ok(verifier)) => Ok(verifier),
            Ok(Err(error)) => Err(unreadable_part(&error)),
            Err(error) => Err(unreadable_part(&io::Error::other(error))),
        }
    }

    /// Takes bytes that are already on disk. What they fail is found at the end of the body.
    pub(crate) fn read_existing(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; HASH_CHUNK_BYTES];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.received += read as u64;
            let piece = buffer.get(..read).unwrap_or_default();
            self.hasher.update(piece);
            if let Some(guard) = &mut self.guard {
                // It keeps the bytes that it has found to be a page, so `finish` fails, too.
                let _ = guard.update(piece);
            }
        }
    }

    /// Takes the next decoded bytes.
    ///
    /// # Errors
    /// `checksum` as soon as the body is longer than expected, `content_type` if it is a page.
    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.received += piece.len() as u64;
        if let Some(size) = self.size.filter(|size| self.received > *size) {
            return Err(wrong_size(&format!("at least {}", self.received), size));
        }
        self.hasher.update(piece);
        self.guard
            .as_mut()
            .map_or(Ok(()), |guard| guard.update(piece))
    }

    /// Checks the complete body and returns its hashes, if any were computed.
    ///
    /// # Errors
    /// `checksum` when the size or a hash is not the expected one, `content_type` if it is a page.
    pub(crate) fn finish(mut self) -> Result<Option<Box<BodyHashes>>, FetchError> {
        // First: of a page in place of an image, the size and hash are wrong as well.
        if let Some(guard) = &mut self.guard {
            guard.finish()?;
        }
        if let Some(size) = self.size.filter(|size| self.received != *size) {
            return Err(wrong_size(&self.received.to_string(), size));
        }
        let found = self.hasher.finish();
        check(&found, self.expected.as_deref(), "expected")?;
        check(&found, self.announced.as_deref(), "but the server says")?;
        Ok(found.boxed())
    }
}

fn unreadable_part(error: &io::Error) -> FetchError {
    FetchError::Save {
        cause: Cause::from_text(format!("cannot read the partial file: {error}")),
        ends_run: false,
    }
}

fn hasher_for(expected: Option<&BodyHashes>) -> BodyHasher {
    let mut hasher = BodyHasher::default();
    for algorithm in expected.into_iter().flat_map(BodyHashes::algorithms) {
        hasher.add(algorithm);
    }
    hasher
}

/// Compares the hashes of a body with those that someone gives for it.
fn check(found: &BodyHashes, wanted: Option<&BodyHashes>, whose: &str) -> Result<(), FetchError> {
    let mismatch = wanted.and_then(|wanted| Some((wanted, found.mismatch(wanted)?)));
    let Some((wanted, algorithm)) = mismatch else {
        return Ok(());
    };
    let (found, wanted) = (found.text(algorithm), wanted.text(algorithm));
    let text = format!("{algorithm} is {found}, {whose} {wanted}");
    Err(FetchError::Checksum(Cause::from_text(text)))
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
        let hashes_of_line = BodyHashes {
            sha256,
            ..BodyHashes::default()
        };
        let mut checks = BodyVerifier::of_saved(size, hashes_of_line.boxed());
        if hashes {
            checks.hasher.add(HashAlgorithm::Sha256);
        }
        checks
    }

    fn outcome(mut verifier: BodyVerifier, body: &str) -> Result<Option<String>, String> {
        for piece in body.as_bytes().chunks(2) {
            verifier.update(piece).map_err(cause)?;
        }
        let hash = verifier.finish().map_err(cause)?;
        Ok(hash.map(|hashes| hashes.sha256.unwrap().to_string()))
    }

    fn cause(error: FetchError) -> String {
        match error {
            FetchError::Checksum(cause) => cause.to_string(),
            other => panic!("{other}"),
        }
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_body_is_checked_for_its_expected_size_and_hash() {
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
            Err("3 bytes, expected 5".into())
        );
        assert_eq!(
            outcome(expecting(Some(3), None, false), "abcdefg"),
            Err("at least 4 bytes, expected 3".into()),
            "fails before the body ends"
        );
        let error = outcome(expecting(None, Some(ABC), false), "abd").unwrap_err();
        assert!(error.starts_with("sha256 is a52d159f"), "{error}");
        assert!(error.ends_with(&format!(", expected {ABC}")), "{error}");
    }

    #[test]
    fn a_wrong_announced_length_fails_before_the_body() {
        let verifier = expecting(Some(3), None, false);
        assert!(
            verifier.check_announced(Some(3)).is_ok() && verifier.check_announced(Some(4)).is_err()
        );
        assert!(expecting(None, None, true).check_announced(Some(4)).is_ok());
        assert!(verifier.check_announced(None).is_ok());
    }

    #[test]
    fn every_hash_that_is_given_is_checked() {
        let mut hashes = BodyHashes {
            sha256: Some(ABC.parse().unwrap()),
            md5: Some("900150983cd24fb0d6963f7d28e17f72".parse().unwrap()),
            ..BodyHashes::default()
        };
        let checks = |hashes: BodyHashes| BodyVerifier::of_saved(None, hashes.boxed());
        assert!(outcome(checks(hashes), "abc").is_ok());
        hashes.md5 = Some("900150983cd24fb0d6963f7d28e17f73".parse().unwrap());
        let error = outcome(checks(hashes), "abc").unwrap_err();
        assert_eq!(
            error,
            "md5 is 900150983cd24fb0d6963f7d28e17f72, expected 900150983cd24fb0d6963f7d28e17f73"
        );
        let announced = expecting(None, Some(ABC), false).with_announced(hashes.boxed());
        let error = outcome(announced, "abc").unwrap_err();
        assert!(error.contains(", but the server says 9001"), "{error}");
    }
}
