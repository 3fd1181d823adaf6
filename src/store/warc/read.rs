//! Reads one record alone, given its place, as any range reader would. For packs of our
//! own making: a record is read into memory as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::GzDecoder;
use memchr::memmem;

use super::coding::RecordCompression;
use crate::model::PackPlace;

/// The head of a record is shorter, but for URLs that nobody has.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
const DIGEST_FIELD: &[u8] = b"WARC-Payload-Digest: sha1:";
/// What stands behind every head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// The decoded bytes of the record at `place`.
///
/// # Errors
/// The file can't be read, is too short, or holds no gzip member there.
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

/// The digest that the response at `place` says its payload has, as it stands there.
///
/// # Errors
/// As [`read_record`].
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

/// The body in a request or response record; `None` when that is no whole record.
#[cfg(test)]
#[must_use]
pub fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK_LINE)? + BLANK_LINE.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK_LINE)? + BLANK_LINE.len();
    record.get(body_at..)?.strip_suffix(BLANK_LINE)
}
