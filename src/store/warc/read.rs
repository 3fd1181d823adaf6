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
const DIGEST_FIELD: &[u8] = b"WARC-Payload-Digest: sha1:";
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

/// Returns the payload digest in the head of the response at `place`, in base32.
///
/// # Errors
/// If the file cannot be read or decoded there.
pub fn payload_digest(
    mut file: &File,
    place: PackPlace,
    coding: RecordCompression,
) -> io::Result<Option<[u8; 32]>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let member = file.take(place.length);
    let mut head = Vec::new();
    match coding {
        RecordCompression::Plain => member.take(MAX_HEAD_BYTES).read_to_end(&mut head)?,
        RecordCompression::Gzip => GzDecoder::new(member)
            .take(MAX_HEAD_BYTES)
            .read_to_end(&mut head)?,
    };
    let end = memmem::find(&head, BLANK_LINE).unwrap_or_default();
    let head = head.get(..end).unwrap_or_default();
    let digest =
        memmem::find(head, DIGEST_FIELD).and_then(|at| head.get(at + DIGEST_FIELD.len()..));
    Ok(digest.and_then(|digest| digest.first_chunk()).copied())
}

/// Returns the body in a request or response record; `None` if the record is incomplete.
#[cfg(test)]
#[must_use]
pub fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK_LINE)? + BLANK_LINE.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK_LINE)? + BLANK_LINE.len();
    record.get(body_at..)?.strip_suffix(BLANK_LINE)
}
