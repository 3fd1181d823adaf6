//! Heads of response records in a pack.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::GzDecoder;
use memchr::memmem;

use super::coding::RecordCompression;
use crate::model::PackPlace;

/// Maximum length of a record head that is read; only extreme URLs exceed it.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// Ends every head.
pub(super) const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// The head of a response record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseRecordHead(Vec<u8>);

impl ResponseRecordHead {
    /// Reads the head of the response at `place`.
    ///
    /// # Errors
    /// If the file cannot be read or decoded there.
    pub(crate) fn read(
        mut file: &File,
        place: PackPlace,
        coding: RecordCompression,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(place.offset))?;
        let member = file.take(place.length);
        let mut head = Vec::new();
        match coding {
            RecordCompression::Plain => member.take(MAX_HEAD_BYTES).read_to_end(&mut head)?,
            RecordCompression::Gzip => GzDecoder::new(member)
                .take(MAX_HEAD_BYTES)
                .read_to_end(&mut head)?,
        };
        // Keeps the end of the last line.
        let end = memmem::find(&head, BLANK_LINE).map_or(0, |at| at + 2);
        head.truncate(end);
        Ok(Self(head))
    }

    /// Returns the value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let begin = format!("\r\n{name}: ");
        let at = memmem::find(&self.0, begin.as_bytes())? + begin.len();
        let rest = self.0.get(at..)?;
        rest.get(..memmem::find(rest, b"\r\n")?)
    }

    /// Returns the payload digest in base32.
    #[must_use]
    pub(crate) fn payload_digest(&self) -> Option<[u8; 32]> {
        let digest = self.field("WARC-Payload-Digest")?.strip_prefix(b"sha1:")?;
        digest.try_into().ok()
    }
}
