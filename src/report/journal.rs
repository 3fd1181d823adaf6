//! The journal: a record for each settled job, appended as it comes, and read again by the next
//! run.

use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};

use super::Reporter;
use crate::model::{ErrorKind, Event, History, OutcomeName, Place, Record, RecordError};

/// A record begins so.
const BEGINNING: &[u8] = b"{\"line\":";

/// Bytes of records that are written at once.
const FULL: usize = 1 << 20;

/// A journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error("another fetchall is writing it; wait for its end, or name another journal")]
    InUse,
    /// Somebody else's file.
    #[error("it holds something else than records of fetchall; name another file")]
    Foreign,
    /// It can't be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Appends the records.
#[derive(Debug)]
pub struct Journal {
    file: File,
    buffer: Vec<u8>,
    /// Where the last whole record ends.
    length: u64,
    sync: bool,
}

/// What was found in a journal.
#[derive(Debug, Default)]
pub struct Found {
    /// What the runs before did.
    pub history: History,
    /// Lines that are no records, and the number of the first one.
    pub garbage: u64,
    /// The number of the first such line, from 1.
    pub first_garbage: u64,
    /// Whether the last line was torn; it was cut off.
    pub torn: bool,
}

impl Journal {
    /// Reads a journal, opened for reading and appending. With `sync` the records survive a power cut before they count.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn open(file: File, sync: bool, history: History) -> Result<(Self, Found), JournalError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(TryLockError::Error(cause)) => return Err(cause.into()),
        }
        let (found, length) = read(&file, history)?;
        let mut journal = Self {
            file,
            buffer: Vec::new(),
            length,
            sync,
        };
        journal.end_last_line(found.torn)?;
        Ok((journal, found))
    }

    /// A torn line is cut off; one that only lacks its end gets it.
    fn end_last_line(&mut self, torn: bool) -> io::Result<()> {
        if torn {
            return self.file.set_len(self.length);
        }
        if self.file.metadata()?.len() < self.length {
            self.file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Notes as failed whatever is known to reach beyond this length of a pack, which was cut
    /// there: otherwise a later run would take for it what came to stand in its place.
    ///
    /// # Errors
    /// When it can't be read again, or written.
    pub fn write_off(&mut self, pack_length: u64) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, self.file.try_clone()?);
        let (mut line, mut at, end) = (Vec::new(), 0, self.length);
        reader.seek(SeekFrom::Start(at))?;
        while at < end {
            line.clear();
            at += reader.read_until(b'\n', &mut line)?.max(1) as u64;
            if let Ok(record) = serde_json::from_slice::<Record>(&line)
                && record.ok
                && record.pack.is_some_and(|place| place.end() > pack_length)
            {
                serde_json::to_writer(&mut self.buffer, &lost(record))?;
                self.buffer.push(b'\n');
            }
            if self.buffer.len() >= FULL {
                self.flush()?;
                // Writing has moved the position, which both share.
                reader.seek(SeekFrom::Start(at))?;
            }
        }
        self.flush()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        if self.sync {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// Reads the records; gives where the last whole one ends.
fn read(file: &File, history: History) -> Result<(Found, u64), JournalError> {
    let mut found = Found {
        history,
        ..Found::default()
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut number, mut length, mut records) = (Vec::new(), 0, 0, 0u64);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            break;
        }
        number += 1;
        let is_ended = line.last() == Some(&b'\n');
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) => {
                records += 1;
                found.history.add(record);
                // A line end that is missing is put there.
                length += read + u64::from(!is_ended);
            }
            Err(_) if !is_ended && (records > 0 || is_beginning(&line)) => found.torn = true,
            // Where a power cut has taken what was not on the disk yet.
            Err(_) if !is_ended && line.iter().all(|byte| *byte == 0) => found.torn = true,
            // With its end, too: not all that is blank may stand in front of a record.
            Err(_) if line.trim_ascii().is_empty() => length += read + u64::from(!is_ended),
            Err(_) => {
                found.garbage += 1;
                if found.garbage == 1 {
                    found.first_garbage = number;
                }
                length += read;
            }
        }
    }
    found.history.complete();
    if records == 0 && found.garbage > 0 {
        return Err(JournalError::Foreign);
    }
    Ok((found, length))
}

/// What a record becomes when its body is no longer in the pack.
fn lost(record: Record) -> Record {
    let place = Place {
        number: 0,
        input: record.input,
        line: record.line,
    };
    Record {
        error: Some(RecordError {
            kind: ErrorKind::Save,
            message: "its body is no longer in the pack, which was cut".to_owned(),
            transient: true,
        }),
        pack: record.pack,
        request: record.request,
        at: format!("{:.3}", jiff::Timestamp::now()),
        ..Record::of_line(&place, record.url)
    }
}

/// Whether a line may be the beginning of a record.
fn is_beginning(line: &[u8]) -> bool {
    line.starts_with(BEGINNING) || BEGINNING.starts_with(line)
}

impl Reporter for Journal {
    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        let Event::Settled(settled) = event else {
            return Ok(());
        };
        // What was skipped stands there already.
        if settled.record.outcome != OutcomeName::Skipped {
            self.buffer.extend_from_slice(settled.json()?);
            self.buffer.push(b'\n');
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write().inspect_err(|_| {
            // A full disk takes a part of a record. What it does not take is not there.
            let _ = self.file.set_len(self.length);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, PackPlace, Settled};
    use std::path::Path;

    fn place() -> Place {
        Place {
            number: 0,
            input: "-".into(),
            line: 1,
        }
    }

    fn event(url: &str, ok: bool) -> Event {
        let record = Record {
            ok,
            outcome: OutcomeName::Fetched,
            bytes: Some(1),
            ..Record::of_line(&place(), url.into())
        };
        Event::Settled(Box::new(Settled::new(
            place(),
            record,
            Outcome::Skipped,
            None,
        )))
    }

    fn open(path: &Path) -> Result<(Journal, Found), JournalError> {
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(path)?;
        Journal::open(file, false, History::new(false))
    }

    fn write(path: &Path, urls: &[&str]) {
        let (mut journal, _) = open(path).unwrap();
        for url in urls {
            journal.on_event(&event(url, true)).unwrap();
        }
        journal.flush().unwrap();
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
            let knows = |url| found.history.get(url, None, None).is_some();
            assert_eq!(knows("http://a/"), cut >= first - 1, "cut at {cut}");
            assert_eq!(knows("http://b/"), cut >= whole.len() - 1, "cut at {cut}");
            assert_eq!(found.garbage, 0);
            journal.on_event(&event("http://c/", true)).unwrap();
            journal.flush().unwrap();
            drop(journal);
            let (_, found) = open(&path).unwrap();
            assert!(!found.torn && found.garbage == 0, "cut at {cut}");
            assert!(found.history.get("http://c/", None, None).is_some());
        }
    }

    #[test]
    fn what_a_pack_has_lost_is_written_off_however_much_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path).unwrap();
        for number in 0..10_000 {
            let mut event = event(&format!("http://a/{number}"), true);
            if let Event::Settled(settled) = &mut event {
                let (offset, length) = (number * 10, 10);
                settled.record.pack = Some(PackPlace { offset, length });
            }
            journal.on_event(&event).unwrap();
        }
        journal.flush().unwrap();
        journal.write_off(1005).unwrap();
        drop(journal);
        let (_, found) = open(&path).unwrap();
        assert_eq!((found.garbage, found.torn), (0, false));
        assert_eq!(found.history.pack_end(), Some(1000));
        let knows = |url| found.history.get(url, None, None).is_some();
        assert!(knows("http://a/99") && !knows("http://a/100") && !knows("http://a/9999"));
    }

    #[test]
    fn garbage_is_ignored_and_told_and_a_foreign_file_is_left_alone() {
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
        assert!(found.history.get("http://b/", None, None).is_some());

        let foreign = dir.path().join("notes");
        std::fs::write(&foreign, "my notes\nare mine").unwrap();
        assert!(matches!(open(&foreign), Err(JournalError::Foreign)));
        assert_eq!(std::fs::read(&foreign).unwrap(), b"my notes\nare mine");
    }

    /// A form feed is blank, but none that may stand in front of a record.
    #[test]
    fn a_blank_line_without_end_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for blank in ["\x0c", " ", "\t"] {
            std::fs::write(&path, blank).unwrap();
            write(&path, &["http://a/"]);
            let (_, found) = open(&path).unwrap();
            assert_eq!((found.garbage, found.torn), (0, false), "{blank:?}");
            assert!(found.history.get("http://a/", None, None).is_some());
        }
    }

    #[test]
    fn two_at_the_same_time_do_not_write_one_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(JournalError::InUse)));
        drop(first);
        open(&path).unwrap();
    }
}
