//! The pack on disk. Only one process writes at a time, groups are complete or absent, and a file
//! that is not known to be ours is never modified. The caller passes what the journal knows.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::coding::{MEMBER_HEAD, RecordCompression};
use super::id::{PackId, RecordId};
use super::pack_error::PackError;
use super::records::{OPENING, SOFTWARE, warcinfo};
use super::render::{RecordGroup, Renderer};
use super::tail::{is_left_by_killed_run, value_of};
use crate::model::PackPlace;
use crate::store::pack_format::PackFormat;
use crate::store::tar;

/// Upper bound for our warcinfo record, compressed or not. Only the file name in it varies, by at
/// most some hundred bytes.
const MAX_WARCINFO_BYTES: u64 = 4096;

/// Extension of a pack of a series until it is finished.
pub(crate) const PART_EXTENSION: &str = "part";

/// What the journal knows about a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownEnd {
    /// There is no journal, or one that says nothing of a pack.
    NoJournal,
    /// There is a journal in which a run of the pack has begun, but without any record of it. A run
    /// that is killed early leaves this state.
    Nothing,
    /// The largest end (offset + length) of a response in the journal.
    UpTo(u64),
}

/// A file with an advisory lock.
#[derive(Debug)]
struct LockedFile(File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing is not enough: between fork and exec, a child process still has the file open.
        let _ = self.0.unlock();
    }
}

/// A pack that is open for writing and locked.
#[derive(Debug)]
pub(crate) struct Pack {
    file: LockedFile,
    format: PackFormat,
    info: RecordId,
    /// The warcinfo record of this run. Written with the first group, so that a run that fetches
    /// nothing does not change the file.
    pending: Vec<u8>,
    /// End of the last complete group, in bytes.
    end: u64,
    /// Whether there may be bytes after it.
    is_torn: bool,
    /// Whether these are what ends a tar.
    is_ended: bool,
}

/// A newly opened pack.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    /// The pack.
    pub pack: Pack,
    /// Number of bytes truncated after the last known record; worth a warning.
    pub cut: u64,
}

impl Pack {
    /// Opens or creates a pack, and truncates everything after the last record that the journal
    /// knows. `date` is for the warcinfo record of this run.
    ///
    /// # Errors
    /// See [`PackError`]. An existing file is then unchanged.
    pub(crate) fn open(path: &Path, known: KnownEnd, date: &str) -> Result<OpenedFile, PackError> {
        Self::open_in(path, known, date, None)
    }

    /// Creates the pack that follows this one, in place of what a killed run may have left there.
    ///
    /// # Errors
    /// See [`PackError`].
    pub(crate) fn open_next(&self, path: &Path, date: &str) -> Result<Self, PackError> {
        let opened = Self::open_in(path, KnownEnd::Nothing, date, Some(self.info))?;
        Ok(opened.pack)
    }

    /// Opens a pack. The ids of its runs resemble that of `before`: a response that was rendered
    /// for that pack may be appended to this one.
    fn open_in(
        path: &Path,
        known: KnownEnd,
        date: &str,
        before: Option<RecordId>,
    ) -> Result<OpenedFile, PackError> {
        let name = final_name(path);
        let format = PackFormat::of_name(&name)?;
        let mut file = open_locked(path)?;
        let length = file.0.metadata()?.len();
        let end = end_to_keep(&mut file.0, length, known, format)?;
        let is_ended = has_end(&mut file.0, end, format)?;
        let [mut info] = RecordId::random()?;
        if let Some(before) = before {
            info = info.in_pack(before.text());
        }
        if let (1.., Some(first)) = (end, id_of(&mut file.0, format)?) {
            info = info.in_pack(&first);
        }
        if !is_ended {
            file.0.set_len(end)?;
        }
        file.0.seek(SeekFrom::Start(end))?;
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        let pack = Self {
            file,
            format,
            info,
            pending: match format {
                PackFormat::Warc(coding) => warcinfo(coding, info, date, &name)?,
                PackFormat::Tar => Vec::new(),
            },
            end,
            is_torn: is_ended,
            is_ended,
        };
        let cut = length - pack.length();
        Ok(OpenedFile { pack, cut })
    }

    /// Returns the end of the last complete group.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Returns the length of the file, with what ends it.
    pub(crate) fn length(&self) -> u64 {
        match self.is_ended {
            true => self.end + tar::END.len() as u64,
            false => self.end,
        }
    }

    /// Appends what ends a tar, unless it is there. The next group takes its place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.format != PackFormat::Tar || self.is_ended {
            return Ok(());
        }
        if self.is_torn {
            self.truncate_tail()?;
        }
        self.is_torn = true;
        self.file.0.write_all(&tar::END)?;
        self.is_ended = true;
        Ok(())
    }

    /// Makes a renderer name the first record of this run in this pack.
    pub(crate) fn prepare(&self, renderer: &mut Renderer) {
        renderer.set_warcinfo(self.info);
    }

    /// Creates a renderer for this pack; each thread can have its own.
    #[must_use]
    pub(crate) fn renderer(&self) -> Renderer {
        Renderer::new(self.format, self.info)
    }

    /// Appends a group. Returns the location of the response.
    ///
    /// # Errors
    /// If the group cannot be written completely; none of it is then kept.
    pub(crate) fn append(&mut self, group: &RecordGroup) -> io::Result<PackPlace> {
        self.append_with(|file| {
            file.write_all(group.bytes())?;
            Ok(group.response())
        })
    }

    /// Appends the bytes that `write` writes. `write` returns the location of the response within
    /// them, which must extend to their end. For streamed bodies.
    ///
    /// # Errors
    /// If the bytes cannot be written completely; none of them are then kept.
    pub(crate) fn append_with(
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
                // Report the original error. If truncating fails, too, it is retried before the
                // next group and when the pack is opened next.
                let _ = self.truncate_tail();
                Err(error)
            }
        }
    }

    /// Syncs all groups to disk.
    ///
    /// # Errors
    /// If the system cannot sync the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.0.sync_data()
    }

    /// Unlocks the pack for other processes. Nothing may be appended afterwards.
    pub(crate) fn unlock(&self) {
        // An error does not matter: the file is also unlocked on drop.
        let _ = self.file.0.unlock();
    }

    fn write_group(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<PackPlace>,
    ) -> io::Result<PackPlace> {
        self.file.0.write_all(&self.pending)?;
        let place = write(&mut self.file.0)?;
        Ok(PackPlace {
            n: None,
            offset: self.end + self.pending.len() as u64 + place.offset,
            length: place.length,
        })
    }

    fn truncate_tail(&mut self) -> io::Result<()> {
        self.file.0.set_len(self.end)?;
        self.file.0.seek(SeekFrom::Start(self.end))?;
        self.is_torn = false;
        self.is_ended = false;
        Ok(())
    }
}

/// Returns the name of a pack once it is finished.
pub(super) fn final_name(path: &Path) -> Cow<'_, Path> {
    match path.extension() {
        Some(extension) if extension == PART_EXTENSION => Cow::Owned(path.with_extension("")),
        _ => Cow::Borrowed(path),
    }
}

fn open_locked(path: &Path) -> Result<LockedFile, PackError> {
    // Checked before opening, too, because opening some devices has side effects.
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

/// Returns the length to truncate the file to, if that is safe.
pub(super) fn end_to_keep(
    file: &mut File,
    length: u64,
    known: KnownEnd,
    format: PackFormat,
) -> Result<u64, PackError> {
    let end = match known {
        KnownEnd::UpTo(known) if length < known => return Err(PackError::Short { length, known }),
        _ if length == 0 => return Ok(0),
        KnownEnd::NoJournal => return Err(PackError::NoJournal),
        KnownEnd::Nothing => 0,
        KnownEnd::UpTo(end) => end,
    };
    let (is_pack, is_ours) = match format {
        PackFormat::Warc(coding) => {
            let first = first_record(file, coding)?;
            let is_pack = has_our_header(&first, length);
            let is_ours = is_left_by_killed_run(file, end, coding, pack_id(&first));
            (is_pack, is_ours)
        }
        PackFormat::Tar => (tar::begins_as_ours(file)?, tar::ends_as_ours(file, end)),
    };
    match (is_pack, is_ours?) {
        (false, _) => Err(PackError::Unknown),
        (true, true) => Ok(end),
        (true, false) => Err(PackError::Added {
            end,
            more: length - end,
        }),
    }
}

/// Whether all that follows the last group is what ends a tar.
pub(super) fn has_end(file: &mut File, end: u64, format: PackFormat) -> io::Result<bool> {
    match format {
        PackFormat::Warc(_) => Ok(false),
        PackFormat::Tar => tar::is_ended_at(file, end),
    }
}

/// Returns the id of a pack; `None` if that is torn off.
fn id_of(file: &mut File, format: PackFormat) -> io::Result<Option<Vec<u8>>> {
    match format {
        PackFormat::Warc(coding) => {
            let first = first_record(file, coding)?;
            Ok(pack_id(&first).map(<[u8]>::to_owned))
        }
        PackFormat::Tar => tar::pack_id(file),
    }
}

/// Reads the beginning of a pack, decoded as far as possible; other bytes if no gzip member of
/// ours begins there.
fn first_record(file: &mut File, coding: RecordCompression) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut begin = Vec::new();
    file.take(MAX_WARCINFO_BYTES).read_to_end(&mut begin)?;
    Ok(match coding {
        RecordCompression::Plain => begin,
        RecordCompression::Gzip if !is_prefix(&begin, &MEMBER_HEAD) => b"no member".to_vec(),
        RecordCompression::Gzip => decoded(&begin),
    })
}

/// Returns the id in the first record of a pack; `None` if that is torn before it.
fn pack_id(first: &[u8]) -> Option<&PackId> {
    value_of(first, b"\r\nWARC-Record-ID: <urn:uuid:")
}

/// Returns whether a file starts with our warcinfo record, as only our packs do.
///
/// An incomplete warcinfo record counts, too, if it is consistent with ours as far as it goes: the
/// file is then too short to contain anything else.
fn has_our_header(first: &[u8], length: u64) -> bool {
    let software = format!("software: {SOFTWARE}");
    let block = first_block(first);
    let is_torn =
        length.max(first.len() as u64) < MAX_WARCINFO_BYTES && block.len() < software.len();
    is_prefix(first, OPENING)
        && is_prefix(block, software.as_bytes())
        && (is_torn || block.len() >= software.len())
}

/// Returns whether one text is a prefix of the other.
fn is_prefix(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// Decodes as much as possible.
fn decoded(begin: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // Keep what precedes an error, usually the end of the input.
    let _ = MultiGzDecoder::new(begin)
        .take(MAX_WARCINFO_BYTES)
        .read_to_end(&mut text);
    text
}

/// Returns everything after the first blank line. Callers look only at its start, which belongs to
/// the first record.
fn first_block(text: &[u8]) -> &[u8] {
    let blank = memchr::memmem::find(text, b"\r\n\r\n");
    blank.and_then(|at| text.get(at + 4..)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
