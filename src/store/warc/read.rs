//! Reads single records by location, without the rest of the file. Only for packs written by
//! fetchall.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::bufread;
use memchr::memmem;

use super::PayloadHasher;
use super::coding::RecordCompression;
use super::file::{KnownEnd, end_to_keep, final_name, has_end};
use super::pack_error::PackError;
use super::record_head::BLANK_LINE;
use crate::model::{PackPlace, Sha256, Sha256Context, open_when_free};
use crate::store::pack_format::PackFormat;
use crate::store::tar;

/// Maximum length of a record head and of the HTTP head in it, in bytes; more than any response has.
const MAX_HEADS_BYTES: u64 = 4 << 20;
/// Bytes of a pack that are read at once.
const SCAN_BYTES: usize = 1 << 17;
/// How any record begins.
const RECORD: &[u8] = b"WARC/1.1\r\n";
/// How a response record begins.
const RESPONSE: &[u8] = b"WARC/1.1\r\nWARC-Type: response\r\n";
const PAYLOAD_DIGEST_FIELD: &[u8] = b"WARC-Payload-Digest: sha1:";
const BLOCK_DIGEST_FIELD: &[u8] = b"WARC-Block-Digest: sha1:";

/// Returns the decoded bytes of the record at `place`.
///
/// # Errors
/// If the file cannot be read, is too short, or has no gzip member there.
#[cfg(test)]
pub(crate) fn read_record(
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
            flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut record)?;
            Ok(record)
        }
    }
}

/// A pack that is read without changing or locking it.
#[derive(Debug)]
pub(crate) struct SavedPack {
    path: PathBuf,
    format: PackFormat,
}

impl SavedPack {
    /// Returns the pack at `path`, which may be missing.
    ///
    /// # Errors
    /// If its name is not that of a pack, it is no file, or it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, PackError> {
        let format = PackFormat::of_name(&final_name(path))?;
        let path = path.to_owned();
        let pack = Self { path, format };
        match pack.path.metadata() {
            Ok(found) if !found.is_file() => Err(PackError::NotAFile),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(pack),
            _ => {
                open_when_free(|| File::open(&pack.path))?;
                Ok(pack)
            }
        }
    }

    /// Returns the pack at `path`, which is known to be one, if it exists.
    pub(crate) fn of(path: PathBuf) -> Self {
        let format = PackFormat::of_name(&final_name(&path));
        Self {
            format: format.unwrap_or(PackFormat::Warc(RecordCompression::Plain)),
            path,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length in bytes; `None` if the pack is missing.
    pub(crate) fn length(&self) -> Option<u64> {
        self.path.metadata().ok().map(|found| found.len())
    }

    /// Whether a pack begins with a record of its own, which belongs to no URL.
    #[cfg(feature = "cli")]
    pub(crate) fn has_own_record(&self) -> bool {
        self.format != PackFormat::Tar
    }

    /// Returns the length that the next run would keep, without changing anything.
    ///
    /// # Errors
    /// Why it would refuse the pack.
    pub(crate) fn end_to_keep(&self, known: KnownEnd) -> Result<u64, PackError> {
        let mut file = open_when_free(|| File::open(&self.path))?;
        let length = file.metadata()?.len();
        let end = end_to_keep(&mut file, length, known, self.format)?;
        match has_end(&mut file, end, self.format)? {
            true => Ok(length),
            false => Ok(end),
        }
    }

    /// Passes the body in the response at `place` to `take` in pieces, and checks the record around
    /// it: its form, its digest, and the checksum of its gzip member.
    ///
    /// # Errors
    /// `NotFound` if there is no pack, `UnexpectedEof` if it ends before the record, `InvalidData`
    /// if that is damaged, others if it cannot be read.
    pub(crate) fn read(&self, place: PackPlace, take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = self.bytes(place.offset..place.end())?;
        let mut heads = RecordHeads::default();
        let read = self.check_record(&mut bytes, RESPONSE, &mut heads, take);
        read.and_then(|is_there| match is_there && bytes.fill_buf()?.is_empty() {
            true => Ok(()),
            false => Err(damaged("wrong end")),
        })
        .map_err(|error| in_context(error, || "the record in the pack is damaged".to_owned()))
    }

    /// Reads the whole pack.
    ///
    /// # Errors
    /// As for [`check_records`](Self::check_records).
    pub(crate) fn scan(
        &self,
        mut visit: impl FnMut(&ScannedRecord<'_>) -> io::Result<()>,
    ) -> io::Result<PackScan> {
        let file = open_when_free(|| File::open(&self.path))?;
        let mut scan = PackScan::default();
        let mut bytes = BufReader::with_capacity(SCAN_BYTES, HashingReader::new(file));
        while !bytes.fill_buf()?.is_empty() {
            let at = bytes.get_ref().length - bytes.buffer().len() as u64;
            let what = || format!("no intact record at byte {at} of the pack");
            let mut heads = RecordHeads::default();
            let is_record = self
                .check_record(&mut bytes, RECORD, &mut heads, |_| ())
                .map_err(|error| in_context(error, what))?;
            scan.records += u64::from(is_record);
            let end = bytes.get_ref().length - bytes.buffer().len() as u64;
            let blank = match self.format.compression() {
                RecordCompression::Plain => BLANK_LINE.len() as u64,
                RecordCompression::Gzip => 0,
            };
            visit(&ScannedRecord {
                heads: &heads,
                offset: at,
                length: end - at - blank,
            })?;
        }
        let read = bytes.into_inner();
        scan.bytes = read.length;
        scan.sha256 = read.hash.finish();
        Ok(scan)
    }

    /// Checks that there is nothing but intact records between two positions.
    ///
    /// # Errors
    /// As for [`read`](Self::read), with the position of the record.
    pub(crate) fn check_records(&self, range: Range<u64>) -> Result<(), (u64, io::Error)> {
        let (mut at, end) = (range.start, range.end);
        let mut bytes = self.bytes(range).map_err(|error| (at, error))?;
        while !bytes.fill_buf().map_err(|error| (at, error))?.is_empty() {
            at = end - bytes.buffer().len() as u64 - bytes.get_ref().limit();
            self.check_record(&mut bytes, RECORD, &mut RecordHeads::default(), |_| ())
                .and_then(|is_record| match is_record {
                    true => Ok(()),
                    false => Err(damaged("the end of the tar")),
                })
                .map_err(|error| {
                    let what = || format!("no intact record at byte {at} of the pack");
                    (at, in_context(error, what))
                })?;
        }
        Ok(())
    }

    /// Returns the URL of the record at this position, as far as damage lets it be read.
    #[cfg(feature = "cli")]
    pub(crate) fn target_at(&self, at: u64) -> Option<String> {
        let bytes = self.bytes(at..self.length()?).ok()?;
        let head = match self.format {
            PackFormat::Warc(RecordCompression::Plain) => readable_head(bytes),
            PackFormat::Warc(RecordCompression::Gzip) => {
                readable_head(bufread::GzDecoder::new(bytes))
            }
            PackFormat::Tar => return None,
        };
        let target = value_of(head.strip_prefix(RECORD)?, b"\r\nWARC-Target-URI: ")?;
        String::from_utf8(target.to_owned()).ok()
    }

    fn bytes(&self, range: Range<u64>) -> io::Result<BufReader<io::Take<File>>> {
        let mut file = open_when_free(|| File::open(&self.path))?;
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end.saturating_sub(range.start);
        Ok(BufReader::new(file.take(length)))
    }

    /// Reads one record, which begins with `begin`, and the gzip member around it; or a file of a tar.
    /// Returns whether there was one, and not the end of a tar.
    fn check_record(
        &self,
        bytes: &mut impl BufRead,
        begin: &[u8],
        heads: &mut RecordHeads,
        take: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        match self.format {
            PackFormat::Warc(RecordCompression::Plain) => {
                check_record(bytes, begin, heads, take).map(|()| true)
            }
            PackFormat::Warc(RecordCompression::Gzip) => {
                let mut member = BufReader::new(bufread::GzDecoder::new(bytes));
                check_record(&mut member, begin, heads, take)?;
                match member.fill_buf()?.is_empty() {
                    true => Ok(true),
                    false => Err(damaged("wrong end")),
                }
            }
            PackFormat::Tar => tar::read_file(bytes, take),
        }
    }
}

/// The head of a record, and that of the response in it.
#[derive(Debug, Default)]
pub(crate) struct RecordHeads {
    pub head: Vec<u8>,
    pub http: Vec<u8>,
}

/// A record of a pack that is read through.
#[derive(Debug)]
pub(crate) struct ScannedRecord<'a> {
    pub heads: &'a RecordHeads,
    pub offset: u64,
    /// As indexes have it: without the blank lines after a record that is not compressed.
    pub length: u64,
}

/// What is in a whole pack.
#[derive(Debug, Clone)]
pub(crate) struct PackScan {
    /// Its length.
    pub bytes: u64,
    /// The number of its records.
    pub records: u64,
    /// The hash of the file.
    pub sha256: Sha256,
}

impl Default for PackScan {
    fn default() -> Self {
        Self {
            bytes: 0,
            records: 0,
            sha256: Sha256::of(b""),
        }
    }
}

/// Hashes and counts what is read.
struct HashingReader<R> {
    from: R,
    hash: Sha256Context,
    length: u64,
}

impl<R> HashingReader<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            hash: Sha256Context::default(),
            length: 0,
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Says what is damaged, unless the disk failed.
fn in_context(error: io::Error, what: impl FnOnce() -> String) -> io::Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        InvalidData | InvalidInput | UnexpectedEof => damaged(&format!("{}: {error}", what())),
        _ => error,
    }
}

/// Reads a record up to its end, which begins with `begin`, checks its digest, and passes its block
/// to `take`, or its payload if it is a response.
fn check_record(
    record: &mut impl BufRead,
    begin: &[u8],
    heads: &mut RecordHeads,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    heads.head = read_head(record)?;
    let head = &heads.head;
    if !head.starts_with(begin) {
        return Err(damaged(match begin {
            RESPONSE => "no response at its position",
            _ => "other bytes",
        }));
    }
    let length = value_of(head, b"\r\nContent-Length: ");
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    let length = length.ok_or_else(|| damaged("no length"))?;
    let (http_length, digest_field) = match head.starts_with(RESPONSE) {
        true => {
            heads.http = read_head(record)?;
            (heads.http.len() as u64, PAYLOAD_DIGEST_FIELD)
        }
        false => (0, BLOCK_DIGEST_FIELD),
    };
    let rest = length.checked_sub(http_length);
    let mut left = rest.ok_or_else(|| damaged("wrong length"))?;
    let mut hasher = PayloadHasher::default();
    while left > 0 {
        let piece = record.fill_buf()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let piece = piece.get(..most).unwrap_or(piece);
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(piece);
        take(piece);
        let taken = piece.len();
        record.consume(taken);
        left -= taken as u64;
    }
    let mut end = [0; BLANK_LINE.len()];
    record.read_exact(&mut end)?;
    if end != BLANK_LINE {
        return Err(damaged("wrong end"));
    }
    let found = hasher.finish().base32();
    match value_of(head, digest_field) {
        Some(digest) if digest != found => Err(damaged("wrong digest")),
        _ => Ok(()),
    }
}

/// Reads up to and including the next blank line.
fn read_head(record: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(BLANK_LINE) {
        let room = MAX_HEADS_BYTES - head.len() as u64;
        if Read::by_ref(record)
            .take(room)
            .read_until(b'\n', &mut head)?
            == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Reads a head up to the next blank line, or to the first error.
#[cfg(feature = "cli")]
#[expect(
    clippy::unbuffered_bytes,
    reason = "a decoder loses the bytes of the call that finds damage; below it is a buffer"
)]
fn readable_head(record: impl Read) -> Vec<u8> {
    let mut head = Vec::new();
    for byte in record.take(MAX_HEADS_BYTES).bytes() {
        let Ok(byte) = byte else { break };
        head.push(byte);
        if head.ends_with(BLANK_LINE) {
            break;
        }
    }
    head
}

/// Returns the rest of the line behind this text.
pub(super) fn value_of<'a>(head: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = head.get(memmem::find(head, field)? + field.len()..)?;
    value.get(..memchr::memchr(b'\r', value)?)
}

/// Returns the body in a request or response record; `None` if the record is incomplete.
#[cfg(test)]
#[must_use]
pub(crate) fn payload(record: &[u8]) -> Option<&[u8]> {
    let block_at = memmem::find(record, BLANK_LINE)? + BLANK_LINE.len();
    let body_at = block_at + memmem::find(record.get(block_at..)?, BLANK_LINE)? + BLANK_LINE.len();
    record.get(body_at..)?.strip_suffix(BLANK_LINE)
}
