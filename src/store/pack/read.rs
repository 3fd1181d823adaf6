//! Reads one record alone, given its place, as any range reader would. For packs of our
//! own making: a record is read into memory as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::GzDecoder;
use memchr::memmem;

use super::coding::Coding;
use crate::model::PackPlace;

/// The head of a record is shorter, but for URLs that nobody has.
const MOST_HEAD: u64 = 64 * 1024;
const DIGEST: &[u8] = b"WARC-Payload-Digest: sha1:";
/// What stands behind every head.
const BLANK: &[u8] = b"\r\n\r\n";

/// The decoded bytes of the record at `place`.
///
/// # Errors
/// The file can't be read, is too short, or holds no gzip member there.
#[cfg(test)]
pub fn read_record(mut file: &File, place: PackPlace, coding: Coding) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let mut member = Vec::new();
    file.take(place.length).read_to_end(&mut member)?;
    if (member.len() as u64) < place.length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match coding {
        Coding::Plain => Ok(member),
        Coding::Gzip => {
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
    coding: Coding,
) -> io::Result<Option<[u8; 32]>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let member = file.take(place.length);
    let mut head = Vec::new();
    match coding {
        Coding::Plain => member.take(MOST_HEAD).read_to_end(&mut head)?,
        Coding::Gzip => GzDecoder::new(member)
            .take(MOST_HEAD)
            .read_to_end(&mut head)?,
    };
    let end = memmem::find(&head, BLANK).unwrap_or_default();
    let head = head.get(..end).unwrap_or_default();
    let digest = memmem::find(head, DIGEST).and_then(|at| head.get(at + DIGEST.len()..));
    Ok(digest.and_then(|digest| digest.first_chunk()).copied())
}

/// The body in a request or response record; `None` when that is no whole record.
#[cfg(test)]
#[must_use]
pub fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK)? + BLANK.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK)? + BLANK.len();
    record.get(body_at..)?.strip_suffix(BLANK)
}
