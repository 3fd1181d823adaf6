//! The pack on disk: one writer at a time, whole groups or nothing, and never a byte of a
//! file that is not known to be ours. What the journal knows is told by the caller.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use super::coding::{MEMBER_HEAD, RecordCompression};
use super::id::RecordId;
use super::records::{OPENING, SOFTWARE, warcinfo};
use super::render::{RecordGroup, Renderer};
use crate::model::PackPlace;

/// More than a warcinfo record of ours ever takes, compressed or not. The name of the
/// file is the only part that varies, and takes at most some hundred bytes.
const MAX_WARCINFO_BYTES: u64 = 4096;

/// What may be cut from a pack of which the journal knows nothing. A run that was killed
/// before its first record was journaled leaves what was under way, not more; a larger
/// pack has rather lost its journal.
const MAX_UNKNOWN_BYTES: u64 = 256 << 20;

/// What the journal knows of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownEnd {
    /// There is no journal.
    NoJournal,
    /// There is one, without a word about this pack. The journal is made after the pack
    /// was opened and before the first group is appended; so this is what a run leaves
    /// that was killed early.
    Nothing,
    /// The largest end (offset + length) of a response it knows.
    UpTo(u64),
}

/// Why a pack can't be opened. Messages leave out the path, which the caller has.
#[derive(Debug, Error)]
pub enum PackError {
    /// The name does not say how records are to stand in it.
    #[error("the name of a pack ends in .warc or .warc.gz")]
    Name,
    /// It is a folder, a pipe, a device.
    #[error("it is no regular file; name another file")]
    NotAFile,
    /// Another run has it open.
    #[error("another run is writing to it")]
    InUse,
    /// It holds what the journal does not account for.
    #[error("it exists, and its journal does not know it; name another file")]
    Unknown,
    /// It ends before the last record that the journal knows. Nothing was changed. To go
    /// on, forget what reaches beyond `length`, and open it again.
    #[error("it has {length} bytes, but its journal knows of {known}: it was cut or replaced")]
    Short {
        /// Its length in bytes.
        length: u64,
        /// Where the last known record ends.
        known: u64,
    },
    /// It can't be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<TryLockError> for PackError {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::InUse,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}

/// A file that nobody else writes to, as long as they ask.
#[derive(Debug)]
struct LockedFile(File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing is not enough: a child process that was just begun holds the file, too,
        // until its own program runs.
        let _ = self.0.unlock();
    }
}

/// A pack that is open for writing. The lock goes with it.
#[derive(Debug)]
pub struct Pack {
    file: LockedFile,
    coding: RecordCompression,
    info: RecordId,
    /// The warcinfo record of this run, until the first group takes it along: a run that
    /// has nothing to fetch leaves the file as it was.
    pending: Vec<u8>,
    /// Where the last whole group ends.
    end: u64,
    /// Whether there may be bytes behind that.
    is_torn: bool,
}

/// A pack just opened.
#[derive(Debug)]
pub struct OpenedFile {
    /// The pack.
    pub pack: Pack,
    /// How many bytes behind the last known record were cut off; worth a warning.
    pub cut: u64,
}

impl Pack {
    /// Opens or creates a pack, and cuts off whatever stands behind the last record that
    /// the journal knows. `date` is that of the warcinfo record of this run.
    ///
    /// # Errors
    /// See [`PackError`]. A file that was there is then as it was.
    pub fn open(path: &Path, known: KnownEnd, date: &str) -> Result<OpenedFile, PackError> {
        let coding = RecordCompression::of_name(path).ok_or(PackError::Name)?;
        let mut file = open_locked(path)?;
        let length = file.0.metadata()?.len();
        let end = end_of_known(&mut file.0, length, known, coding)?;
        file.0.set_len(end)?;
        file.0.seek(SeekFrom::Start(end))?;
        let [info] = RecordId::random()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pack = Self {
            file,
            coding,
            info,
            pending: warcinfo(coding, info, date, &name)?,
            end,
            is_torn: false,
        };
        let cut = length - end;
        Ok(OpenedFile { pack, cut })
    }

    /// A renderer for this pack; each thread can have its own.
    #[must_use]
    pub fn renderer(&self) -> Renderer {
        Renderer::new(self.coding, self.info)
    }

    /// Appends a group. Returns where the response stands.
    ///
    /// # Errors
    /// It can't be written whole, and then not at all.
    pub fn append(&mut self, group: &RecordGroup) -> io::Result<PackPlace> {
        self.append_with(|file| {
            file.write_all(group.bytes())?;
            Ok(group.response())
        })
    }

    /// Appends what `write` writes, which says where in that the response stands; it
    /// reaches to the end. For bodies that are streamed.
    ///
    /// # Errors
    /// It can't be written whole, and then not at all.
    pub fn append_with(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<PackPlace>,
    ) -> io::Result<PackPlace> {
        if self.is_torn {
            self.truncate_tail()?;
        }
        self.is_torn = true;
        match self.write_group(write) {
            Ok(place) => {
                self.end = place.offset + place.length;
                self.pending.clear();
                self.is_torn = false;
                Ok(place)
            }
            Err(error) => {
                // The reason is what counts. If cutting fails, too, it is tried once more
                // before the next group, and again when the pack is opened next.
                let _ = self.truncate_tail();
                Err(error)
            }
        }
    }

    /// Makes sure that all groups survive a power failure.
    ///
    /// # Errors
    /// The system can't promise that.
    pub fn sync(&self) -> io::Result<()> {
        self.file.0.sync_data()
    }

    /// Others may write to it again: nothing more comes.
    pub fn unlock(&self) {
        // Closing it does the same, a little later.
        let _ = self.file.0.unlock();
    }

    fn write_group(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<PackPlace>,
    ) -> io::Result<PackPlace> {
        self.file.0.write_all(&self.pending)?;
        let place = write(&mut self.file.0)?;
        Ok(PackPlace {
            offset: self.end + self.pending.len() as u64 + place.offset,
            length: place.length,
        })
    }

    fn truncate_tail(&mut self) -> io::Result<()> {
        self.file.0.set_len(self.end)?;
        self.file.0.seek(SeekFrom::Start(self.end))?;
        self.is_torn = false;
        Ok(())
    }
}

fn open_locked(path: &Path) -> Result<LockedFile, PackError> {
    // Opening some devices does something.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(PackError::NotAFile);
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, crate::store::NO_WAIT);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(PackError::NotAFile);
    }
    file.try_lock()?;
    Ok(LockedFile(file))
}

/// Where what is known ends, when all that stands behind it may go.
fn end_of_known(
    file: &mut File,
    length: u64,
    known: KnownEnd,
    coding: RecordCompression,
) -> Result<u64, PackError> {
    match known {
        KnownEnd::UpTo(known) if length < known => Err(PackError::Short { length, known }),
        _ if length == 0 => Ok(0),
        KnownEnd::NoJournal => Err(PackError::Unknown),
        KnownEnd::Nothing
            if length <= MAX_UNKNOWN_BYTES && has_our_header(file, length, coding)? =>
        {
            Ok(0)
        }
        KnownEnd::UpTo(end)
            if has_our_header(file, length, coding)? && may_begin_record(file, end, coding)? =>
        {
            Ok(end)
        }
        KnownEnd::Nothing | KnownEnd::UpTo(_) => Err(PackError::Unknown),
    }
}

/// Whether a file begins as only our own packs do: with our warcinfo record.
///
/// One that ends before that says whose it is counts, too, as long as it can be a piece
/// of one: it is too short to hold anything else.
fn has_our_header(file: &mut File, length: u64, coding: RecordCompression) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut begin = Vec::new();
    file.take(MAX_WARCINFO_BYTES).read_to_end(&mut begin)?;
    let text = match coding {
        RecordCompression::Plain => begin,
        RecordCompression::Gzip if !is_prefix(&begin, &MEMBER_HEAD) => return Ok(false),
        RecordCompression::Gzip => decoded(&begin),
    };
    let name = format!("software: {SOFTWARE}");
    let says = first_block(&text);
    let is_torn = length.max(text.len() as u64) < MAX_WARCINFO_BYTES && says.len() < name.len();
    Ok(is_prefix(&text, OPENING)
        && is_prefix(says, name.as_bytes())
        && (is_torn || says.len() >= name.len()))
}

/// Whether two texts are the same as far as both go.
fn is_prefix(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// As much as can be decoded.
fn decoded(begin: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // What came before the error, an early end above all, is kept.
    let _ = MultiGzDecoder::new(begin)
        .take(MAX_WARCINFO_BYTES)
        .read_to_end(&mut text);
    text
}

/// What stands behind the first blank line. Later records may hold anything.
fn first_block(text: &[u8]) -> &[u8] {
    let blank = memchr::memmem::find(text, b"\r\n\r\n");
    blank.and_then(|at| text.get(at + 4..)).unwrap_or_default()
}

/// Whether a record may begin at `end`, or the file ends there. If something else stands
/// there, the journal is that of another pack. Zeros are what a power failure leaves
/// where bytes were to be written.
fn may_begin_record(file: &mut File, end: u64, coding: RecordCompression) -> io::Result<bool> {
    let begin: &[u8] = match coding {
        RecordCompression::Plain => b"WARC/1.1\r\n",
        RecordCompression::Gzip => &MEMBER_HEAD,
    };
    file.seek(SeekFrom::Start(end))?;
    let mut found = Vec::new();
    file.take(begin.len() as u64).read_to_end(&mut found)?;
    Ok(begin.starts_with(&found) || found.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests;
