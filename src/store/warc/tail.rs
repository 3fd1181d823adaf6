//! Tells what a killed run leaves behind the last journaled record from what another program has
//! added there, which must not be cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::GzDecoder;
use memchr::memmem;

use super::coding::{MEMBER_HEAD, RecordCompression};
use super::id::{PackId, is_of_pack};
use super::records::{OPENING, RecordKind};

/// Maximum length of a record head, in bytes; more than any of ours has.
const MAX_HEAD_BYTES: u64 = 4 << 20;
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Returns whether everything from `start` on is what killed runs leave: whole records of runs of
/// this pack, the last one possibly torn. `pack` is unknown if its first record is torn.
pub(super) fn is_left_by_killed_run(
    file: &mut File,
    start: u64,
    coding: RecordCompression,
    pack: Option<&PackId>,
) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = BufReader::new(file);
    let mut tail = RecordTail {
        pack,
        is_whole_pack: start == 0,
        is_first: true,
    };
    while !bytes.fill_buf()?.is_empty() {
        if !tail.read_next(&mut bytes, coding)? {
            return Ok(false);
        }
        tail.is_first = false;
    }
    Ok(true)
}

/// The records behind the last journaled one.
struct RecordTail<'a> {
    pack: Option<&'a PackId>,
    is_whole_pack: bool,
    is_first: bool,
}

impl RecordTail<'_> {
    /// Reads a record to its end, or that of the file. Returns whether it may be ours.
    fn read_next(&self, bytes: &mut impl BufRead, coding: RecordCompression) -> io::Result<bool> {
        let read = match coding {
            RecordCompression::Plain => self.read_record(bytes),
            RecordCompression::Gzip => self.read_member(bytes),
        };
        match read {
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(true),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Ok(false),
                _ => Err(error),
            },
            read => read,
        }
    }

    fn read_member(&self, bytes: &mut impl BufRead) -> io::Result<bool> {
        let mut begin = Vec::new();
        bytes
            .take(MEMBER_HEAD.len() as u64)
            .read_to_end(&mut begin)?;
        if !MEMBER_HEAD.starts_with(&begin) {
            return Ok(false);
        }
        let mut member = BufReader::new(GzDecoder::new(begin.chain(bytes)));
        Ok(self.read_record(&mut member)? && member.fill_buf()?.is_empty())
    }

    fn read_record(&self, record: &mut impl BufRead) -> io::Result<bool> {
        let head = read_head(record)?;
        if !self.may_be_ours(&head) {
            return Ok(false);
        }
        if !head.ends_with(BLANK_LINE) {
            return Ok(true);
        }
        let length = value_of(&head, b"\r\nContent-Length: ");
        let Some(length) = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
        else {
            return Ok(false);
        };
        io::copy(&mut record.take(length), &mut io::sink())?;
        let mut end = Vec::new();
        record.take(BLANK_LINE.len() as u64).read_to_end(&mut end)?;
        Ok(BLANK_LINE.starts_with(&end))
    }

    /// Whether a head, or the beginning of one, is that of a record by a run of this pack. A run
    /// begins with its own warcinfo record, or goes on with the metadata of another response.
    fn may_be_ours(&self, head: &[u8]) -> bool {
        let begins = |begin: &[u8]| head.iter().zip(begin).all(|(one, other)| one == other);
        let is_torn = !head.ends_with(BLANK_LINE);
        if self.is_first && begins(OPENING) && (is_torn || head.starts_with(OPENING)) {
            let id = value_of(head, b"\r\nWARC-Record-ID: <urn:uuid:");
            return self.is_ours(id, is_torn, self.is_whole_pack);
        }
        let metadata: &[_] = &[RecordKind::Metadata];
        let kinds = if self.is_first {
            metadata
        } else {
            &RecordKind::ALL
        };
        let id = value_of(head, b"\r\nWARC-Warcinfo-ID: <urn:uuid:");
        kinds.iter().any(|kind| begins(kind.lines().as_bytes())) && self.is_ours(id, is_torn, true)
    }

    /// The id of the pack itself at the beginning of a later run is that of a copy.
    fn is_ours(&self, id: Option<&[u8]>, is_torn: bool, may_be_first: bool) -> bool {
        match (id, self.pack) {
            (Some(id), Some(pack)) => is_of_pack(id, pack) && (may_be_first || id != pack),
            (None, _) => is_torn,
            (Some(_), None) => true,
        }
    }
}

/// Reads up to and including the next blank line, or to the end.
fn read_head(record: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(BLANK_LINE) {
        let room = MAX_HEAD_BYTES.saturating_sub(head.len() as u64);
        match record.take(room).read_until(b'\n', &mut head) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        };
    }
    Ok(head)
}

/// Returns the rest of the line behind this text, without the bracket around an id.
pub(super) fn value_of<'a>(head: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = head.get(memmem::find(head, field)? + field.len()..)?;
    let value = value.get(..memchr::memchr(b'\r', value)?)?;
    Some(value.strip_suffix(b">").unwrap_or(value))
}
