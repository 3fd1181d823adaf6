//! A journal that is read: all of it at the start, and later the record of one job at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use super::{JournalAppender, MAX_LINE_BYTES, gone, lock};
use crate::model::{History, Record, RelPath, write_json};

/// Bytes that are read for a record at first: most are shorter.
const TYPICAL_LINE_BYTES: usize = 1024;

/// What earlier runs have done, read from their journal when it is asked for.
#[derive(Debug, Default)]
pub struct JournalReader {
    appender: Option<Arc<Mutex<JournalAppender>>>,
    file: Option<Arc<File>>,
    history: History,
}

/// What an earlier run has written down of a job.
#[derive(Debug)]
pub enum PastRecord {
    /// Nothing.
    None,
    /// The record of another job, which has written the file of this one since.
    OfAnother(Box<Record>),
    /// It was fetched.
    Fetched {
        /// The record of the run that fetched it.
        record: Box<Record>,
        /// Whether a later try failed.
        failed_since: bool,
    },
}

impl JournalReader {
    pub(super) fn new(appender: &Arc<Mutex<JournalAppender>>, history: History) -> Self {
        let file = Arc::clone(&lock(appender).file);
        Self {
            appender: Some(Arc::clone(appender)),
            file: Some(file),
            history,
        }
    }

    /// Whether nothing is known to be fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// Where the last record ends that is known to stand in a pack.
    #[must_use]
    pub fn pack_end(&self) -> Option<u64> {
        self.history.pack_end()
    }

    /// How many bodies were passed over because they stand beyond the end of the pack.
    #[must_use]
    pub fn beyond_limit(&self) -> usize {
        self.history.beyond_limit()
    }

    /// The record of the job with this URL, this file (where bodies are saved to files) and this
    /// request (where it is no plain GET), if what it fetched is still its own. It reads the
    /// disk. What the journal does not say any more was not done.
    #[must_use]
    pub fn find(&self, url: &str, file: Option<&RelPath>, request: Option<&str>) -> PastRecord {
        let place = self.history.get(url, file, request);
        let found = place.and_then(|place| {
            let line = line_at(self.file.as_ref()?, place.offset).ok()?;
            let record: Box<Record> = serde_json::from_slice(&line).ok()?;
            let is_done = record.ok && record.bytes.is_some();
            is_done.then_some((record, place.failed_since))
        });
        let Some((record, failed_since)) = found else {
            return PastRecord::None;
        };
        // Of a file, only that of the job counts which wrote it last; and the journal may have
        // been changed meanwhile.
        if record.url == url
            && record.request.as_deref() == request
            && record.file.as_deref() == file.map(RelPath::as_str)
        {
            return PastRecord::Fetched {
                record,
                failed_since,
            };
        }
        match record.file {
            Some(_) => PastRecord::OfAnother(record),
            None => PastRecord::None,
        }
    }

    /// Notes that another job is going to write the file of this record: a run that is killed
    /// between that and the record of the other must not leave a word of what was there before.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn give_away(&self, record: Record) -> io::Result<()> {
        let Some(appender) = &self.appender else {
            return Ok(());
        };
        let file = record.file.clone();
        let gone = gone(record, "its file was given to another line");
        let mut line = Vec::new();
        write_json(&mut line, &Record { file, ..gone })?;
        line.push(b'\n');
        lock(appender).append(&line)
    }
}

/// The line that begins at this place.
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

/// The lines of a journal. One that is longer than any of ours is passed over, so that it takes
/// no memory.
pub struct JournalLines<'a> {
    reader: BufReader<&'a File>,
    line: Vec<u8>,
    offset: u64,
}

/// What is known of a line.
pub struct JournalLine<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes; none when it is too long.
    pub bytes: Option<&'a [u8]>,
    /// Its length, that of its end included.
    pub length: u64,
    /// Whether it has an end.
    pub is_ended: bool,
}

impl JournalLine<'_> {
    /// The record that it is.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(self.bytes?).ok()
    }
}

impl<'a> JournalLines<'a> {
    /// All lines from the first one on.
    pub fn of(mut file: &'a File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 16, file),
            line: Vec::new(),
            offset: 0,
        })
    }

    /// Goes on at the same place after the file was written to, which moves the position that
    /// all who have it open share.
    pub fn seek_back(&mut self) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(self.offset)).map(drop)
    }

    /// The next line.
    pub fn next_line(&mut self) -> io::Result<Option<JournalLine<'_>>> {
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
