//! The end of a journal, to which records and notes about packs are appended.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::PackNote;

/// Appends whole records to the journal file.
#[derive(Debug)]
pub(super) struct JournalAppender {
    pub(super) file: Arc<File>,
    /// End of the last complete record, in bytes.
    pub(super) length: u64,
    pub(super) sync: bool,
}

impl JournalAppender {
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write(lines).inspect_err(|_| {
            // On a full disk, only part of a record may have been written.
            let _ = self.file.set_len(self.length);
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(lines)?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Truncates an incomplete last line; adds the line feed if only that is missing.
    pub(super) fn repair_last_line(&mut self, torn: bool) -> io::Result<()> {
        if torn {
            return self.file.set_len(self.length);
        }
        match self.file.metadata()?.len().cmp(&self.length) {
            Ordering::Less => (&*self.file).write_all(b"\n"),
            Ordering::Equal => Ok(()),
            // A mark, which the next run of the pack renews.
            Ordering::Greater => self.file.set_len(self.length),
        }
    }
}

pub(super) fn lock(appender: &Mutex<JournalAppender>) -> MutexGuard<'_, JournalAppender> {
    appender.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a journal locked.
#[derive(Debug)]
pub(super) struct JournalLock(pub Arc<File>);

impl Drop for JournalLock {
    fn drop(&mut self) {
        // Closing the file also unlocks it, but readers may still have it open.
        let _ = self.0.unlock();
    }
}

/// Appends notes about packs to a journal, also after its last record. The journal stays locked
/// until this is dropped.
#[derive(Debug, Clone)]
pub(crate) struct JournalNotes {
    appender: Arc<Mutex<JournalAppender>>,
    _lock: Arc<JournalLock>,
}

impl JournalNotes {
    pub(super) fn new(appender: &Arc<Mutex<JournalAppender>>, held: &Arc<JournalLock>) -> Self {
        Self {
            appender: Arc::clone(appender),
            _lock: Arc::clone(held),
        }
    }

    /// Appends a note.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) fn append(&self, note: &PackNote) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        lock(&self.appender).append(&line)
    }
}
