//! Reads a journal: completely at the start, then single records on demand.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
#[cfg(feature = "cli")]
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use super::appender::{JournalAppender, lock};
use super::{MAX_LINE_BYTES, lost_record};
use crate::model::{JournalIndex, PackNote, PackPosition, Record, RelPath};

/// Bytes read at first for a record; most are shorter.
const TYPICAL_LINE_BYTES: usize = 1024;

/// Looks up what earlier runs did. Memory holds only offsets; records are read from disk.
#[derive(Debug, Default)]
pub(crate) struct JournalReader {
    appender: Option<Arc<Mutex<JournalAppender>>>,
    file: Option<Arc<File>>,
    index: JournalIndex,
}

/// What the journal says about a job.
#[derive(Debug)]
pub(crate) enum PastRecord {
    /// No success is recorded.
    None,
    /// The record of another job, which has since written the same file.
    OfAnother(Box<Record>),
    /// The job was fetched, with this record.
    Fetched(Box<Record>),
}

impl JournalReader {
    pub(super) fn new(appender: &Arc<Mutex<JournalAppender>>, index: JournalIndex) -> Self {
        let file = Arc::clone(&lock(appender).file);
        Self {
            appender: Some(Arc::clone(appender)),
            file: Some(file),
            index,
        }
    }

    /// Reads a journal that no one writes.
    #[cfg(feature = "cli")]
    pub(super) fn without_writer(file: File, index: JournalIndex) -> Self {
        Self {
            appender: None,
            file: Some(Arc::new(file)),
            index,
        }
    }

    /// Calls `visit` with each record that counts for a body or is that of a failure archived in
    /// the pack, and its position in the journal, until it breaks.
    ///
    /// # Errors
    /// If the journal cannot be read.
    #[cfg(feature = "cli")]
    pub(crate) fn for_each_saved(
        &self,
        mut visit: impl FnMut(Record, Range<u64>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut lines = JournalLines::of(file);
        while let Some(line) = lines.next_line()? {
            let Some(record) = line.record() else {
                continue;
            };
            let counts = match is_body(&record) {
                true => self.counts(&record, line.offset),
                false => self.index.is_archived_failure(&record, line.offset),
            };
            if counts && visit(record, line.offset..line.offset + line.length).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Calls `visit` with the end in the pack of each response there, also of those that count no
    /// longer, and the position of its record in the journal.
    ///
    /// # Errors
    /// If the journal cannot be read.
    #[cfg(feature = "cli")]
    pub(crate) fn for_each_packed(
        &self,
        mut visit: impl FnMut(PackPosition, u64),
    ) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut lines = JournalLines::of(file);
        while let Some(line) = lines.next_line()? {
            if let Some(record) = line.record()
                && let Some(end) = record.end_in_pack()
                && self.index.is_packed(&record, line.offset)
            {
                visit(end, line.offset);
            }
        }
        Ok(())
    }

    /// Reads the record at this position.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn record_at(&self, offset: u64) -> Option<Record> {
        let line = line_at(self.file.as_ref()?, offset).ok()?;
        serde_json::from_slice(&line).ok()
    }

    /// Whether no later record of the same file or page has taken the place of this one.
    #[cfg(feature = "cli")]
    fn counts(&self, record: &Record, offset: u64) -> bool {
        let (url, request) = (record.url.as_str(), record.request.as_deref());
        let place = self.index.find(url, record.file.as_deref(), request);
        place.is_some_and(|place| place.offset == offset)
    }

    /// Returns the length of the journal in bytes.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn length(&self) -> u64 {
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        meta.map_or(0, |meta| meta.len())
    }

    /// Whether a body is recorded for this file. Reads the disk.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn owns(&self, file: &RelPath) -> bool {
        let record = self.index.get("", Some(file), None).and_then(|place| {
            let line = line_at(self.file.as_ref()?, place.offset).ok()?;
            serde_json::from_slice::<Record>(&line).ok()
        });
        record
            .is_some_and(|record| is_body(&record) && record.file.as_deref() == Some(file.as_str()))
    }

    /// Returns whether no job is recorded as fetched.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the end of the last body in the packs; `None` without any.
    #[must_use]
    pub(crate) fn pack_end(&self) -> Option<PackPosition> {
        self.index.pack_end()
    }

    /// Returns the end of the last response in one of the packs.
    #[must_use]
    pub(crate) fn end_in_pack(&self, n: Option<u32>) -> Option<u64> {
        self.index.end_in_pack(n)
    }

    /// Returns the number of bodies ignored because they lie beyond the end of the pack.
    #[must_use]
    pub(crate) fn beyond_limit(&self) -> usize {
        self.index.beyond_limit()
    }

    /// Whether there may be a record of a job, or of another one in its file. Reads no disk.
    #[must_use]
    pub(crate) fn may_find(&self, url: &str, file: &RelPath, request: Option<&str>) -> bool {
        self.index.get(url, Some(file), request).is_some()
    }

    /// Finds the record of a job by its URL, its file (if bodies are saved to files) and its
    /// request (if it is not a plain GET). Reads the disk. A record that can no longer be read
    /// counts as [`PastRecord::None`].
    #[must_use]
    pub(crate) fn find(
        &self,
        url: &str,
        file: Option<&RelPath>,
        request: Option<&str>,
    ) -> PastRecord {
        let place = self.index.get(url, file, request);
        let found = place.and_then(|place| {
            let line = line_at(self.file.as_ref()?, place.offset).ok()?;
            let record: Box<Record> = serde_json::from_slice(&line).ok()?;
            is_body(&record).then_some(record)
        });
        let Some(record) = found else {
            return PastRecord::None;
        };
        // Only the job that wrote a file last owns it. Also, the journal may have been modified
        // since its offsets were read.
        if record.url == url
            && record.request.as_deref() == request
            && record.file.as_deref() == file.map(RelPath::as_str)
        {
            return PastRecord::Fetched(record);
        }
        match record.file {
            Some(_) => PastRecord::OfAnother(record),
            None => PastRecord::None,
        }
    }

    /// Appends to the journal that the file of `record` is about to be replaced. Otherwise, if the run
    /// is killed between the replacement and the next record, the journal would still list the old
    /// content, with its hashes and the validators that `--refresh` sends.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) fn journal_replacement(&self, record: Record) -> io::Result<()> {
        let Some(appender) = &self.appender else {
            return Ok(());
        };
        let file = record.file.clone();
        let lost = lost_record(record, "file replaced by another body");
        let mut line = Vec::new();
        Record { file, ..lost }.write_json(&mut line)?;
        line.push(b'\n');
        lock(appender).append(&line)
    }
}

/// Whether a record is that of a body.
fn is_body(record: &Record) -> bool {
    record.ok && record.bytes.is_some()
}

/// Reads the line that begins at `offset`.
fn line_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let (mut line, mut step) = (Vec::new(), TYPICAL_LINE_BYTES);
    while line.len() <= MAX_LINE_BYTES {
        let start = line.len();
        line.resize(start + step, 0);
        let piece = line.get_mut(start..).unwrap_or_default();
        let read = read_at(file, piece, offset.saturating_add(start as u64))?;
        let piece = piece.get(..read).unwrap_or_default();
        let end = memchr::memchr(b'\n', piece);
        line.truncate(start + end.unwrap_or(read));
        if end.is_some() || read == 0 {
            break;
        }
        step = 64 * TYPICAL_LINE_BYTES;
    }
    Ok(line)
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

/// Reads a file from a position of its own: appending moves the one that all handles of the file
/// share, and so does reading elsewhere on Windows.
struct PositionedReader<'a> {
    file: &'a File,
    position: u64,
}

impl Read for PositionedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = read_at(self.file, into, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// Reads the lines of a journal. Lines longer than [`MAX_LINE_BYTES`] are skipped without buffering
/// them.
pub(in crate::report) struct JournalLines<'a> {
    reader: BufReader<PositionedReader<'a>>,
    line: Vec<u8>,
    offset: u64,
}

/// A line of a journal.
pub(in crate::report) struct JournalLine<'a> {
    /// Offset of its first byte.
    pub offset: u64,
    /// Its bytes; `None` if it is too long.
    pub bytes: Option<&'a [u8]>,
    /// Its length in bytes, including the line feed.
    pub length: u64,
    /// Whether it ends with a line feed.
    pub is_ended: bool,
}

impl JournalLine<'_> {
    /// Parses the line as a record.
    pub(in crate::report) fn record(&self) -> Option<Record> {
        serde_json::from_slice(self.bytes?).ok()
    }

    /// Parses the line as a note about a pack.
    pub(in crate::report) fn note(&self) -> Option<PackNote> {
        serde_json::from_slice(self.bytes?).ok()
    }
}

impl<'a> JournalLines<'a> {
    /// Starts at the first line.
    pub(in crate::report) fn of(file: &'a File) -> Self {
        let reader = PositionedReader { file, position: 0 };
        Self {
            reader: BufReader::with_capacity(1 << 16, reader),
            line: Vec::new(),
            offset: 0,
        }
    }

    /// Reads the next line; `None` at the end.
    pub(in crate::report) fn next_line(&mut self) -> io::Result<Option<JournalLine<'_>>> {
        self.line.clear();
        let (offset, mut length, mut is_ended) = (self.offset, 0, false);
        while !is_ended {
            let piece = self.reader.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', piece);
            let taken = end.map_or(piece.len(), |end| end + 1);
            if length <= MAX_LINE_BYTES as u64 {
                self.line
                    .extend_from_slice(piece.get(..taken).unwrap_or_default());
            }
            self.reader.consume(taken);
            length += taken as u64;
            is_ended = end.is_some();
        }
        self.offset += length;
        let is_short = length <= MAX_LINE_BYTES as u64 + u64::from(is_ended);
        Ok((length > 0).then_some(JournalLine {
            offset,
            bytes: is_short.then_some(self.line.as_slice()),
            length,
            is_ended,
        }))
    }
}
