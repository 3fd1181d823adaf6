//! Reads single records by location, without the rest of the file. Only for packs written by
//! fetchall: a record is read into memory completely.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::GzDecoder;
use memchr::memmem;

use super::coding::RecordCompression;
use crate::model::PackPlace;

/// Maximum length of a record head that is read; only extreme URLs exceed it.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// Ends every head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Returns the decoded bytes of the record at `place`.
///
/// # Errors
/// If the file cannot be read, is too short, or has no gzip member there.
#[cfg(test)]
pub fn read_record(
    mut file: &File,
    place: PackPlace,
    coding: RecordCompression,
) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let mut member = Vec::new();
    file.take(place.length).read_to_end(&mut member)?;
    if (member.len() as u64) < place.length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match coding {
        RecordCompression::Plain => Ok(member),
        RecordCompression::Gzip => {
            let mut record = Vec::new();
            GzDecoder::new(&member[..]).read_to_end(&mut record)?;
            Ok(record)
        }
    }
}

/// The head of a response record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseRecordHead(Vec<u8>);

impl ResponseRecordHead {
    /// Reads the head of the response at `place`.
    ///
    /// # Errors
    /// If the file cannot be read or decoded there.
    pub fn read(mut file: &File, place: PackPlace, coding: RecordCompression) -> io::Result<Self> {
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
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let begin = format!("\r\n{name}: ");
        let at = memmem::find(&self.0, begin.as_bytes())? + begin.len();
        let rest = self.0.get(at..)?;
        rest.get(..memmem::find(rest, b"\r\n")?)
    }

    /// Returns the payload digest in base32.
    #[must_use]
    pub fn payload_digest(&self) -> Option<[u8; 32]> {
        let digest = self.field("WARC-Payload-Digest")?.strip_prefix(b"sha1:")?;
        digest.try_into().ok()
    }
}

/// Returns the body in a request or response record; `None` if the record is incomplete.
#[cfg(test)]
#[must_use]
pub fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK_LINE)? + BLANK_LINE.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK_LINE)? + BLANK_LINE.len();
    record.get(body_at..)?.strip_suffix(BLANK_LINE)
}
