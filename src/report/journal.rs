//! The journal: a file to which each settled job's record is appended, and which the next run
//! reads to resume.

mod appender;
mod read;

use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Arc, Mutex};

use self::appender::{JournalAppender, JournalLock, lock};
pub(super) use self::read::{JournalLine, JournalLines};
use super::Reporter;
use crate::model::{
    EngineEvent, ErrorKind, FetchError, InputPosition, JournalIndex, JournaledEnd, Outcome,
    PackHistory, PackLimits, PackPosition, Record, RecordError, Shard, ShardMark, Summary,
};

pub(crate) use self::appender::JournalNotes;
pub(crate) use self::read::{JournalReader, PastRecord};

/// How every record begins.
const LINE_PREFIX: &[u8] = b"{\"line\":";

/// How a line begins that says which shard of a list the journal is of. Tools that look for records
/// pass it over, as it has no `url`.
const SHARD_PREFIX: &[u8] = b"{\"shard\":";

/// Written where a run of a pack begins; its first record follows on the same line. Without it, an
/// emptied journal could not be told from that of a run killed before its first record, whose bodies
/// are to be discarded. A blank, so that the line remains JSON.
const PACK_MARK: &[u8] = b" ";

/// Buffered bytes from which [`Journal::mark_lost_beyond`] writes.
const FLUSH_BYTES: usize = 1 << 20;

/// Maximum length of a record line; longer lines are ignored. Small in tests, to keep them fast.
pub(super) const MAX_LINE_BYTES: usize = if cfg!(test) { 4096 } else { 1 << 20 };

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it open.
    #[error("in use by another fetchall; wait for it, or name another journal")]
    InUse,
    /// It has content, but no record: not a journal of fetchall.
    #[error("contains no fetchall records; name another file")]
    Foreign,
    /// It is a pipe or a device, which the next run could not read again.
    #[error("not a regular file; name another file")]
    NotAFile,
    /// It has the results of another shard of the list, or of the whole list.
    #[error("{}", other_shard(*.journal, *.run))]
    OtherShard {
        /// The shard that it has the results of; `None`: the whole list.
        journal: Option<Shard>,
        /// The shard of this run.
        run: Option<Shard>,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn other_shard(journal: Option<Shard>, run: Option<Shard>) -> String {
    let name = |shard: Option<Shard>| {
        shard.map_or("the whole list".to_owned(), |shard| {
            format!("shard {shard}")
        })
    };
    let (journal, run) = (name(journal), name(run));
    format!("it has results of {journal}, and this run is of {run}; save them elsewhere")
}

/// Appends a record for each settled job.
#[derive(Debug)]
pub(crate) struct Journal {
    appender: Arc<Mutex<JournalAppender>>,
    lock: Arc<JournalLock>,
    buffer: Vec<u8>,
    /// The shard of the list whose results it has.
    shard: Option<Shard>,
    /// How far the packs are known once `buffer` is written.
    packed: Option<PackPosition>,
    journaled: JournaledEnd,
}

/// The content of a journal.
#[derive(Debug, Default)]
pub(crate) struct JournalContents {
    /// What earlier runs did.
    pub past: JournalReader,
    /// Number of lines that are not records.
    pub garbage: u64,
    /// Line number of the first foreign line, from 1; 0 without foreign lines.
    pub first_garbage: u64,
    /// Whether the last line was incomplete; a run removes it.
    pub torn: bool,
    /// Whether a run of a pack has begun.
    pub has_begun_pack: bool,
    /// The packs that are finished.
    pub packs: PackHistory,
}

impl Journal {
    /// Locks and reads a journal that is open for reading and appending. With `sync`, each batch of
    /// records is synced to disk before it is reported. `shard` is the part of the list whose
    /// results go into it; one with other results is not changed.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub(crate) fn open(
        file: File,
        sync: bool,
        shard: Option<Shard>,
    ) -> Result<(Self, JournalContents), JournalError> {
        let (index, seen) = read_locked(&file, File::try_lock)?;
        let is_empty = seen.shard.is_none() && seen.records == 0;
        if !is_empty {
            same_shard(seen.shard, shard)?;
        }
        let file = Arc::new(file);
        let unlocked_at_end = Arc::new(JournalLock(Arc::clone(&file)));
        let mut appender = JournalAppender {
            file,
            length: seen.length,
            sync,
        };
        appender.repair_last_line(seen.torn)?;
        if let Some(shard) = shard.filter(|_| is_empty) {
            appender.append(&mark_line(shard, None)?)?;
        }
        let appender = Arc::new(Mutex::new(appender));
        let found = seen.contents(JournalReader::new(&appender, index));
        let journal = Self {
            appender,
            lock: unlocked_at_end,
            buffer: Vec::new(),
            shard,
            packed: None,
            journaled: JournaledEnd::default(),
        };
        Ok((journal, found))
    }

    /// Reads a journal that is open for reading, and changes nothing: a torn line stays. It stays
    /// locked against runs while its records are read.
    ///
    /// # Errors
    /// See [`JournalError`].
    #[cfg(feature = "cli")]
    pub(crate) fn read_only(file: File) -> Result<JournalContents, JournalError> {
        let (index, seen) = read_locked(&file, File::try_lock_shared)?;
        Ok(seen.contents(JournalReader::without_writer(file, index)))
    }

    /// Checks that a journal that is open for reading is not one of another shard than that of a
    /// run. What its first record or mark says holds for all of it.
    ///
    /// # Errors
    /// See [`JournalError`].
    #[cfg(feature = "cli")]
    pub(crate) fn check_shard(file: &File, run: Option<Shard>) -> Result<(), JournalError> {
        if !file.metadata()?.is_file() {
            return Err(JournalError::NotAFile);
        }
        let mut lines = JournalLines::of(file);
        while let Some(line) = lines.next_line()? {
            if let Some(mark) = line.bytes.and_then(shard_mark) {
                return same_shard(Some(mark.shard), run);
            }
            if line.record().is_some() {
                return same_shard(None, run);
            }
        }
        Ok(())
    }

    /// Reads the journal again, ignoring bodies beyond the ends of these packs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) fn read_up_to(&self, limits: PackLimits) -> io::Result<JournalReader> {
        let index = JournalIndex::up_to(limits);
        let file = Arc::clone(&lock(&self.appender).file);
        let index = read(&file, index, |_, _| ())?;
        Ok(JournalReader::new(&self.appender, index))
    }

    /// Tells `end` how far the packs are journaled.
    pub(crate) fn report_end_to(&mut self, end: JournaledEnd) {
        self.journaled = end;
    }

    /// Returns what appends notes about packs.
    pub(crate) fn notes(&self) -> JournalNotes {
        JournalNotes::new(&self.appender, &self.lock)
    }

    /// Notes that a run begins to fill a pack, before it appends to that.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) fn mark_pack_begun(&mut self) -> io::Result<()> {
        lock(&self.appender).append(PACK_MARK)
    }

    /// Records as failed all responses beyond the ends of these packs, which were truncated.
    /// Otherwise a later run would mistake new records at the same offsets for them.
    ///
    /// # Errors
    /// If the journal cannot be read or written.
    pub(crate) fn mark_lost_beyond(&mut self, limits: &PackLimits) -> io::Result<()> {
        let (file, end) = {
            let appender = lock(&self.appender);
            (Arc::clone(&appender.file), appender.length)
        };
        let mut lines = JournalLines::of(&file);
        while let Some(line) = lines.next_line()?.filter(|line| line.offset < end) {
            if let Some(record) = line.record()
                && !record.reports_loss()
                && record.is_beyond(limits)
            {
                let (pack, end) = (record.pack, record.end_in_pack());
                let mut lost = lost_record(record, "body lost: the pack was truncated");
                lost.set_place(pack, end);
                lost.write_json(&mut self.buffer)?;
                self.buffer.push(b'\n');
            }
            if self.buffer.len() >= FLUSH_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }
}

/// Fails if a journal is not one of the shard of a run.
fn same_shard(journal: Option<Shard>, run: Option<Shard>) -> Result<(), JournalError> {
    match journal == run {
        true => Ok(()),
        false => Err(JournalError::OtherShard { journal, run }),
    }
}

/// Locks a journal with `try_lock` and reads it.
fn read_locked(
    file: &File,
    try_lock: impl FnOnce(&File) -> Result<(), TryLockError>,
) -> Result<(JournalIndex, JournalLineCounts), JournalError> {
    if !file.metadata()?.is_file() {
        return Err(JournalError::NotAFile);
    }
    lock_with(file, try_lock)?;
    let mut seen = JournalLineCounts::default();
    let index = read(file, JournalIndex::default(), |line, record| {
        let note = match record {
            Some(_) => None,
            None => line.note(),
        };
        seen.take(line, record.is_some(), note.is_some());
        if let Some(note) = note {
            seen.packs.add(note);
        }
    })?;
    if seen.records == 0 && seen.garbage > seen.holes {
        return Err(JournalError::Foreign);
    }
    Ok((index, seen))
}

/// Locks a journal against runs, to read it.
///
/// # Errors
/// If a run has it open, or it cannot be locked.
#[cfg(feature = "cli")]
pub(super) fn lock_shared(file: &File) -> Result<(), JournalError> {
    lock_with(file, File::try_lock_shared)
}

fn lock_with(
    file: &File,
    try_lock: impl FnOnce(&File) -> Result<(), TryLockError>,
) -> Result<(), JournalError> {
    match try_lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse),
        Err(TryLockError::Error(cause)) => Err(cause.into()),
    }
}

/// Reads all records into `index`, and a second time if there are lost bodies: a record of a loss
/// also applies to the records before it.
fn read(
    file: &File,
    mut index: JournalIndex,
    mut visit: impl FnMut(&JournalLine<'_>, Option<&Record>),
) -> io::Result<JournalIndex> {
    let mut add_all = |index: &mut JournalIndex, is_first: bool| {
        let mut lines = JournalLines::of(file);
        while let Some(line) = lines.next_line()? {
            let record = line.record();
            if is_first {
                visit(&line, record.as_ref());
            }
            if let Some(record) = record {
                index.add(&record, line.offset);
            }
        }
        index.finish_loading();
        io::Result::Ok(())
    };
    add_all(&mut index, true)?;
    if index.has_lost() {
        index = index.anew();
        add_all(&mut index, false)?;
    }
    Ok(index)
}

/// Counts the lines of a journal by what they are.
#[derive(Default)]
struct JournalLineCounts {
    number: u64,
    /// The shard that the last mark of one names.
    shard: Option<Shard>,
    records: u64,
    garbage: u64,
    first_garbage: u64,
    /// Those of the foreign lines that a power failure leaves in a journal.
    holes: u64,
    torn: bool,
    has_begun_pack: bool,
    /// Bytes to keep: all but an incomplete last line.
    length: u64,
    packs: PackHistory,
}

impl JournalLineCounts {
    fn contents(self, past: JournalReader) -> JournalContents {
        JournalContents {
            past,
            garbage: self.garbage,
            first_garbage: self.first_garbage,
            torn: self.torn,
            has_begun_pack: self.has_begun_pack,
            packs: self.packs,
        }
    }

    fn take(&mut self, line: &JournalLine<'_>, is_record: bool, is_note: bool) {
        self.number += 1;
        // A missing line feed will be added (`repair_last_line`).
        let length = line.length + u64::from(!line.is_ended);
        let bytes = line.bytes.unwrap_or(b"too long");
        self.has_begun_pack |= bytes.starts_with(PACK_MARK);
        if bytes == PACK_MARK && !line.is_ended {
            // Nothing is kept of it, and nothing is lost.
        } else if is_record {
            self.records += 1;
            self.length += length;
        } else if let Some(mark) = shard_mark(bytes) {
            self.shard = Some(mark.shard);
            self.length += length;
        } else if is_note {
            self.length += length;
        } else if !line.is_ended && (self.records > 0 || is_torn(bytes)) {
            self.torn = true;
        } else if bytes.trim_ascii().is_empty() {
            // Its line feed counts, too: some blanks, such as a form feed, are not JSON whitespace
            // and would spoil a record on the same line.
            self.length += length;
        } else {
            self.garbage += 1;
            self.holes += u64::from(is_hole(bytes));
            if self.garbage == 1 {
                self.first_garbage = self.number;
            }
            self.length += line.length;
        }
    }
}

/// Returns the line that says of which shard a journal is, and after a run, how many lines there were:
/// of the shard, and of the list.
fn mark_line(shard: Shard, lines: Option<(u64, u64)>) -> io::Result<Vec<u8>> {
    let (lines, list_lines) = lines.unzip();
    let mark = ShardMark {
        shard,
        lines,
        list_lines,
    };
    let mut line = serde_json::to_vec(&mark)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads the line of a shard.
pub(super) fn shard_mark(line: &[u8]) -> Option<ShardMark> {
    let line = line.strip_prefix(PACK_MARK).unwrap_or(line);
    if !line.starts_with(SHARD_PREFIX) {
        return None;
    }
    let mark: ShardMark = serde_json::from_slice(line).ok()?;
    mark.shard.is_valid().then_some(mark)
}

/// Whether `line` may be the remains of a first record: its beginning, or zeros, which a power
/// failure leaves in place of data that had not reached the disk.
fn is_torn(line: &[u8]) -> bool {
    is_beginning(line.strip_prefix(PACK_MARK).unwrap_or(line)) || is_hole(line)
}

/// Whether `line` is zeros with nothing or with a record behind them: the file had already grown when
/// the power failed, and what came later reached the disk before what belongs there. Other files
/// begin with zeros, too, but go on in another way.
fn is_hole(line: &[u8]) -> bool {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    let (zeros, rest) = line.split_at(zeros);
    let rest = rest.strip_prefix(PACK_MARK).unwrap_or(rest);
    !zeros.is_empty() && is_beginning(rest.trim_ascii_end())
}

/// Returns the record that replaces `record` when its body no longer exists.
fn lost_record(record: Record, why: &str) -> Record {
    let place = InputPosition {
        number: 0,
        input: record.input,
        line: record.line,
    };
    Record {
        error: Some(RecordError {
            kind: ErrorKind::Save,
            message: why.to_owned(),
            transient: true,
        }),
        request: record.request,
        at: format!("{:.3}", jiff::Timestamp::now()),
        ..Record::for_line(&place, record.url)
    }
}

/// Whether a line may be the beginning of a record, or of the line of a shard.
fn is_beginning(line: &[u8]) -> bool {
    let mut prefixes = [LINE_PREFIX, SHARD_PREFIX].into_iter();
    prefixes.any(|prefix| line.starts_with(prefix) || prefix.starts_with(line))
}

impl Reporter for Journal {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        // If the disk is full, writing the record would fail too, and that error would replace the
        // reported one.
        let is_disk_full = matches!(
            settled.outcome,
            Outcome::Failed(FetchError::Save { ends_run: true, .. })
        );
        let record = &settled.record;
        // In a shard, each line needs a record of its own: all of them together are the result.
        if let (Some(_), Some(past)) = (self.shard, &settled.past) {
            past.write_json(&mut self.buffer)?;
            self.buffer.push(b'\n');
        }
        self.packed = self.packed.max(record.end_in_pack());
        if settled.is_journaled || is_disk_full {
            return Ok(());
        }
        let json = settled.json()?;
        // A longer line would be ignored when read.
        if json.len() < MAX_LINE_BYTES {
            self.buffer.extend_from_slice(json);
            self.buffer.push(b'\n');
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            lock(&self.appender).append(&self.buffer)?;
            self.buffer.clear();
        }
        if let Some(packed) = self.packed.take() {
            self.journaled.advance(packed);
        }
        Ok(())
    }

    /// Says how many lines there were, so that one without a record is missed when shards are put
    /// together.
    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if let (Some(shard), Some(list_lines)) = (self.shard, summary.list_lines) {
            let line = mark_line(shard, Some((summary.input, list_lines)))?;
            self.buffer.extend_from_slice(&line);
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OutcomeName, PackPlace, SettledJob};
    use std::path::Path;

    fn place() -> InputPosition {
        InputPosition::first()
    }

    fn event(url: &str, ok: bool) -> EngineEvent {
        let record = Record {
            ok,
            outcome: OutcomeName::Fetched,
            bytes: Some(1),
            ..Record::for_line(&place(), url.into())
        };
        EngineEvent::Settled(Box::new(SettledJob::new(
            place(),
            record,
            Outcome::Skipped,
            None,
        )))
    }

    fn open(path: &Path) -> Result<(Journal, JournalContents), JournalError> {
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(path)?;
        Journal::open(file, false, None)
    }

    fn is_known(found: &JournalContents, url: &str) -> bool {
        let past = found.past.find(url, None, None);
        matches!(past, PastRecord::Fetched(_))
    }

    fn write(path: &Path, urls: &[&str]) {
        let (mut journal, _) = open(path).unwrap();
        for url in urls {
            journal.on_event(&event(url, true)).unwrap();
        }
        journal.flush().unwrap();
    }

    fn open_shard(path: &Path, index: u32) -> Result<JournalContents, JournalError> {
        let of = std::num::NonZeroU32::new(4).unwrap();
        let shard = Shard::new(index, of, crate::model::ShardBy::Host);
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(path)?;
        Ok(Journal::open(file, false, shard)?.1)
    }

    #[test]
    fn the_line_of_a_shard_torn_at_any_byte_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        drop(open_shard(&path, 3).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let line = "{\"shard\":{\"version\":1,\"index\":3,\"of\":4,\"by\":\"host\"}}\n";
        assert_eq!(String::from_utf8_lossy(&whole), line);
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let other = open_shard(&path, 2);
            // Without its line feed it is whole.
            let is_known = cut >= whole.len() - 1;
            assert_eq!(other.is_err(), is_known, "cut at {cut}");
            drop(other);
            std::fs::write(&path, &whole[..cut]).unwrap();
            let found = open_shard(&path, 3).unwrap();
            assert_eq!((found.garbage, found.past.is_empty()), (0, true));
            drop(found);
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_journal_torn_at_any_byte_keeps_its_whole_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        write(&path, &["http://a/", "http://b/"]);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, found) = open(&path).unwrap();
            let knows = |url| is_known(&found, url);
            assert_eq!(knows("http://a/"), cut >= first - 1, "cut at {cut}");
            assert_eq!(knows("http://b/"), cut >= whole.len() - 1, "cut at {cut}");
            assert_eq!(found.garbage, 0);
            journal.on_event(&event("http://c/", true)).unwrap();
            journal.flush().unwrap();
            drop(journal);
            let (_, found) = open(&path).unwrap();
            assert!(!found.torn && found.garbage == 0, "cut at {cut}");
            assert!(is_known(&found, "http://c/"));
        }
    }

    #[test]
    fn bodies_lost_from_a_pack_are_recorded_in_several_batches() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path).unwrap();
        for number in 0..10_000 {
            let mut event = event(&format!("http://a/{number}"), true);
            if let EngineEvent::Settled(settled) = &mut event {
                let (offset, length) = (number * 10, 10);
                settled.record.pack = Some(PackPlace {
                    n: None,
                    offset,
                    length,
                });
            }
            journal.on_event(&event).unwrap();
        }
        journal.flush().unwrap();
        let end = |offset| PackPosition { n: None, offset };
        let mut limits = PackLimits::default();
        limits.add(end(1005));
        journal.mark_lost_beyond(&limits).unwrap();
        drop(journal);
        let (_, found) = open(&path).unwrap();
        assert_eq!((found.garbage, found.torn), (0, false));
        assert_eq!(found.past.pack_end(), Some(end(1000)));
        let knows = |url| is_known(&found, url);
        assert!(knows("http://a/99") && !knows("http://a/100") && !knows("http://a/9999"));
    }

    #[test]
    fn garbage_is_counted_and_a_foreign_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        write(&path, &["http://a/"]);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"\xff\x00 no record\n\n{}\n");
        std::fs::write(&path, &text).unwrap();
        write(&path, &["http://b/"]);
        let (_, found) = open(&path).unwrap();
        assert_eq!(
            (found.garbage, found.first_garbage, found.torn),
            (2, 2, false)
        );
        assert!(is_known(&found, "http://b/"));

        let foreign = dir.path().join("notes");
        std::fs::write(&foreign, "my notes\nare mine").unwrap();
        assert!(matches!(open(&foreign), Err(JournalError::Foreign)));
        assert_eq!(std::fs::read(&foreign).unwrap(), b"my notes\nare mine");
    }

    /// A power cut may leave zeros in place of the first records, and a later one behind them.
    #[test]
    fn zeros_before_a_record_make_no_foreign_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        write(&path, &["http://a/"]);
        let record = std::fs::read(&path).unwrap();
        let zeros = [0; 700];
        for behind in [
            &b"\n"[..],
            &record,
            &[PACK_MARK, &record].concat(),
            b"{\"li",
        ] {
            std::fs::write(&path, [&zeros, behind].concat()).unwrap();
            write(&path, &["http://b/"]);
            let (_, found) = open(&path).unwrap();
            assert!(is_known(&found, "http://b/"), "{behind:?}");
        }
        for foreign in [&b"\x18ftypmp42\n"[..], b"text\n"] {
            let bytes = [&zeros, foreign].concat();
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(open(&path), Err(JournalError::Foreign)));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    /// A form feed is ASCII whitespace, but not JSON whitespace.
    #[test]
    fn a_blank_line_without_end_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for blank in ["\x0c", " ", "\t"] {
            std::fs::write(&path, blank).unwrap();
            write(&path, &["http://a/"]);
            let (_, found) = open(&path).unwrap();
            assert_eq!((found.garbage, found.torn), (0, false), "{blank:?}");
            assert!(is_known(&found, "http://a/"));
        }
    }

    #[test]
    fn a_journal_is_used_by_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(JournalError::InUse)));
        drop(first);
        open(&path).unwrap();
    }
}
