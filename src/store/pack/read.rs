//! Reads one record alone, given its place, as any range reader would. For packs of our
//! own making: a record is read into memory as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::GzDecoder;
use memchr::memmem;

use super::coding::Coding;
use crate::model::PackPlace;

/// What stands behind every head.
const BLANK: &[u8] = b"\r\n\r\n";

/// The decoded bytes of the record at `place`.
///
/// # Errors
/// The file can't be read, is too short, or holds no gzip member there.
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

/// The body in a request or response record; `None` when that is no whole record.
#[must_use]
pub fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK)? + BLANK.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK)? + BLANK.len();
    record.get(body_at..)?.strip_suffix(BLANK)
}
