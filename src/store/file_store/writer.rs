//! The threads that write temporary files and rename them into place.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::folder::Folder;
use super::same::is_same;
use super::segment_log::{SegmentLog, log_name};
use crate::model::{ByteRanges, Cause, FetchError, RelPath, SavedBody};
use crate::store::save_error;
use crate::store::worker_pool::{OrderHandler, WorkerPool};
use crate::store::{FileCallback, SaveCallback};

/// Number of writer threads. More than one only helps on network file systems, with their latency.
pub(crate) const MAX_WRITERS: usize = 4;
/// Number of queued orders from which the next thread helps.
const ORDERS_PER_WRITER: usize = 64;

/// A temporary file.
#[derive(Debug)]
pub(crate) struct TempFile {
    id: u64,
    failed: OnceLock<FetchError>,
    content: Mutex<TempContent>,
}

/// What a temporary file has.
#[derive(Debug, Default)]
struct TempContent {
    /// What was sent to its writer thread.
    claimed: ByteRanges,
    /// What that has written.
    written: ByteRanges,
    /// The list on disk of what was written, if the body comes in segments.
    log: Option<SegmentLog>,
}

impl TempFile {
    /// Returns the file with this id, without creating it.
    pub(crate) fn new(id: u64) -> Self {
        Self::with_content(id, ByteRanges::default())
    }

    /// Returns the file with this id, in which these bytes were written.
    pub(crate) fn with_content(id: u64, written: ByteRanges) -> Self {
        Self {
            id,
            failed: OnceLock::new(),
            content: Mutex::new(TempContent {
                claimed: written.clone(),
                written,
                log: None,
            }),
        }
    }

    fn content(&self) -> MutexGuard<'_, TempContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes that are about to be sent to its writer thread.
    pub(crate) fn claim(&self, start: u64, end: u64) {
        self.content().claimed.add(start, end);
    }

    /// Returns what was sent to its writer thread.
    pub(crate) fn claimed(&self) -> ByteRanges {
        self.content().claimed.clone()
    }

    /// Lists from now on what was written, unless that is done already.
    pub(crate) fn begin_log(&self, log: impl FnOnce() -> SegmentLog) {
        self.content().log.get_or_insert_with(log);
    }

    /// Adds bytes that were written. Returns whether those that are not listed yet are to be: if there
    /// are enough, or no more will come from where these came.
    fn record_written(&self, start: u64, end: u64, is_last: bool) -> bool {
        let content = &mut *self.content();
        content.written.add(start, end);
        let log = content.log.as_mut();
        log.is_some_and(|log| log.add(start, end) || is_last)
    }

    /// Returns its id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> String {
        part_name(self.id)
    }

    /// Returns the error if writing to it has failed.
    pub(crate) fn failure(&self) -> Option<FetchError> {
        self.failed.get().cloned()
    }
}

fn part_name(id: u64) -> String {
    format!("{id}.part")
}

/// A file as it is to be after the rename.
#[derive(Debug, Clone)]
pub(crate) struct FinalFile {
    /// Its path.
    pub path: RelPath,
    /// Its modification time; `None`: that of the write.
    pub time: Option<SystemTime>,
}

/// An order for a writer thread.
pub(crate) enum WriteOrder {
    /// Save a complete small body.
    Body {
        /// The id of the temporary file to write.
        id: u64,
        /// Its bytes.
        chunks: Vec<Bytes>,
        /// What becomes of it.
        file: FinalFile,
        /// Called with the result.
        done: SaveCallback,
    },
    /// Write bytes into a temporary file.
    Write {
        /// The file.
        temp: Arc<TempFile>,
        /// Where the first byte belongs.
        start: u64,
        /// The bytes.
        chunks: Vec<Bytes>,
        /// Whether they are the last ones of a segment.
        is_last: bool,
    },
    /// Save a body that has been written completely.
    Finish {
        /// Its temporary file.
        temp: Arc<TempFile>,
        /// Its expected length, in bytes.
        length: u64,
        /// What becomes of it.
        file: FinalFile,
        /// Called with the result.
        done: SaveCallback,
    },
    /// Remove a temporary file.
    Remove(Arc<TempFile>),
    /// Open a temporary file for reading, after all earlier writes.
    Read(Arc<TempFile>, FileCallback),
    /// Open a final file for reading.
    ReadFinal(RelPath, FileCallback),
}

/// How files are renamed into place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommitOptions {
    /// Sync them to disk before they count as saved.
    pub sync: bool,
    /// Compare them with the existing files.
    pub compare: bool,
}

/// The coarsest time that a file system stores (FAT).
const TIME_PRECISION: Duration = Duration::from_secs(2);

/// The writer threads.
pub(super) type DiskWriterPool = WorkerPool<WriteOrder>;

/// Starts the writer threads.
///
/// # Errors
/// If a thread cannot be started.
pub(super) fn start(folder: &Arc<Folder>, options: CommitOptions) -> io::Result<DiskWriterPool> {
    let writer = || DiskWriter {
        folder: Arc::clone(folder),
        options,
        open: None,
        buffer: Vec::new(),
        ready: Vec::new(),
    };
    WorkerPool::start(
        "save",
        ORDERS_PER_WRITER,
        std::iter::repeat_with(writer).take(MAX_WRITERS),
    )
}

/// Sets the modification time of a file. Not every file system can store every time, and a body
/// with another time is still the body, so a failure is only logged.
pub(super) fn set_time(file: &File, time: Option<SystemTime>) {
    if let Some(Err(error)) = time.map(|time| set_exact_time(file, time)) {
        tracing::warn!("cannot set the time of a file: {error}");
    }
}

/// Some file systems store the nearest time they can, without an error: the file then keeps its own.
fn set_exact_time(file: &File, time: SystemTime) -> io::Result<()> {
    let own = file.metadata()?.modified()?;
    file.set_modified(time)?;
    let stored = file.metadata()?.modified()?;
    let difference = stored
        .duration_since(time)
        .or_else(|_| time.duration_since(stored));
    if difference.unwrap_or_default() <= TIME_PRECISION {
        return Ok(());
    }
    file.set_modified(own)?;
    Err(io::Error::other("its file system cannot store that time"))
}

/// A complete temporary file, to be renamed into place.
struct ReadyFile {
    name: String,
    /// The list of what was written of it, if there may be one, which goes with it.
    log: Option<String>,
    file: FinalFile,
    length: u64,
    done: SaveCallback,
}

/// The state of one writer thread.
struct DiskWriter {
    folder: Arc<Folder>,
    options: CommitOptions,
    /// The file appended to last, since a large body arrives in many pieces.
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
    /// With `sync`: complete files that are not synced and renamed yet.
    ready: Vec<ReadyFile>,
}

impl OrderHandler for DiskWriter {
    type Order = WriteOrder;

    fn carry_out(&mut self, order: WriteOrder) {
        match order {
            WriteOrder::Body {
                id,
                chunks,
                file,
                done,
            } => {
                // Frees its descriptor, which may be the last one.
                self.open = None;
                let name = part_name(id);
                match self.create(&name, &chunks, file.time) {
                    Ok(length) => self.finish(ReadyFile {
                        name,
                        log: None,
                        file,
                        length,
                        done,
                    }),
                    Err(error) => {
                        let _ = self.folder.remove(&name);
                        done(Err(self.failed_temp(&name, &error)));
                    }
                }
            }
            WriteOrder::Write {
                temp,
                start,
                chunks,
                is_last,
            } => {
                if let Err(error) = self.write_at(&temp, start, &chunks, is_last) {
                    let _ = temp.failed.set(self.failed_temp(&temp.name(), &error));
                }
            }
            WriteOrder::Finish {
                temp,
                length,
                file,
                done,
            } => {
                self.open = None;
                self.finish_large(&temp, length, file, done);
            }
            WriteOrder::Remove(temp) => {
                self.open = None;
                let _ = self.folder.remove(&temp.name());
                let _ = self.folder.remove(&log_name(temp.id));
            }
            WriteOrder::Read(temp, reader) => {
                self.open = None;
                reader(self.folder.read(&temp.name()));
            }
            WriteOrder::ReadFinal(file, reader) => {
                self.open = None;
                reader(self.folder.open_final(&file));
            }
        }
    }

    fn end_of_batch(&mut self) {
        self.open = None;
        self.commit_ready();
    }
}

impl DiskWriter {
    fn create(
        &mut self,
        name: &str,
        chunks: &[Bytes],
        time: Option<SystemTime>,
    ) -> io::Result<u64> {
        let mut file = self.folder.create(name)?;
        let length = self.write(&mut file, chunks)?;
        set_time(&file, time);
        self.sync_one(&file)?;
        Ok(length)
    }

    fn write_at(
        &mut self,
        temp: &TempFile,
        start: u64,
        chunks: &[Bytes],
        is_last: bool,
    ) -> io::Result<()> {
        if temp.failed.get().is_some() {
            return Ok(());
        }
        // Close another file first: its descriptor may be the last one.
        let same = self.open.take().filter(|(id, _)| *id == temp.id);
        let mut file = match same {
            Some((_, file)) => file,
            None => match self.folder.open_for_writing(&temp.name()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.folder.create(&temp.name())?
                }
                opened => opened?,
            },
        };
        file.seek(SeekFrom::Start(start))?;
        let length = self.write(&mut file, chunks)?;
        if temp.record_written(start, start + length, is_last) {
            if self.options.sync {
                file.sync_data()?;
            }
            // First its descriptor, which may be the last one.
            drop(file);
            return self.list_written(temp);
        }
        self.open = Some((temp.id, file));
        Ok(())
    }

    /// Lists what was written of a body in segments.
    fn list_written(&self, temp: &TempFile) -> io::Result<()> {
        let name = log_name(temp.id);
        let content = &mut *temp.content();
        let Some(log) = &mut content.log else {
            return Ok(());
        };
        let (text, is_new) = log.take_text(&content.written);
        if !is_new {
            return self.folder.append(&name)?.write_all(text.as_bytes());
        }
        // One of an earlier run stays until this one says as much.
        let new = format!("{name}.new");
        let _ = self.folder.remove(&new);
        self.folder.create(&new)?.write_all(text.as_bytes())?;
        self.folder.rename(&new, &name)
    }

    /// Syncs a single file on systems without syncfs.
    fn sync_one(&self, file: &File) -> io::Result<()> {
        if self.options.sync && !cfg!(target_os = "linux") {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Writes the chunks in one call; several are copied together first.
    fn write(&mut self, file: &mut File, chunks: &[Bytes]) -> io::Result<u64> {
        if let [one] = chunks {
            file.write_all(one)?;
            return Ok(one.len() as u64);
        }
        self.buffer.clear();
        for chunk in chunks {
            self.buffer.extend_from_slice(chunk);
        }
        file.write_all(&self.buffer)?;
        Ok(self.buffer.len() as u64)
    }

    fn finish_large(&mut self, temp: &TempFile, length: u64, file: FinalFile, done: SaveCallback) {
        let name = temp.name();
        let problem = temp.failure().or_else(|| {
            let found = self.folder.append(&name).and_then(|found| {
                set_time(&found, file.time);
                self.sync_one(&found)?;
                found.metadata()
            });
            match found {
                Ok(meta) if meta.len() == length && temp.content().written.prefix() == length => {
                    None
                }
                Ok(meta) => Some(FetchError::Save {
                    cause: Cause::from_text(format!(
                        "{}: {} bytes on disk, {length} written",
                        self.folder.shown_temp(&name),
                        meta.len()
                    )),
                    ends_run: false,
                }),
                Err(error) => Some(self.failed_temp(&name, &error)),
            }
        });
        match problem {
            None => self.finish(ReadyFile {
                name,
                log: Some(log_name(temp.id)),
                file,
                length,
                done,
            }),
            Some(error) => {
                let _ = self.folder.remove(&name);
                let _ = self.folder.remove(&log_name(temp.id));
                done(Err(error));
            }
        }
    }

    fn finish(&mut self, ready: ReadyFile) {
        self.ready.push(ready);
        if !self.options.sync {
            self.commit_ready();
        }
    }

    /// Renames all complete files into place. With `sync`, that is a whole batch, because syncing
    /// many files takes as long as syncing one.
    fn commit_ready(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        if ready.is_empty() {
            return;
        }
        let written = self.sync();
        let placed: Vec<_> = ready
            .into_iter()
            .map(|one| {
                let result = written.clone().and_then(|()| self.place(&one));
                (one, result)
            })
            .collect();
        let synced = self.sync();
        for (one, result) in placed {
            (one.done)(synced.clone().and(result));
        }
    }

    fn sync(&self) -> Result<(), FetchError> {
        if !self.options.sync {
            return Ok(());
        }
        let synced = self.folder.sync();
        synced.map_err(|error| self.failed_temp("", &error))
    }

    fn place(&self, ready: &ReadyFile) -> Result<SavedBody, FetchError> {
        let ReadyFile {
            name, file, length, ..
        } = ready;
        let is_same = self.options.compare && is_same(&self.folder, name, &file.path, *length);
        // Even a file with the same bytes is replaced if it is to get a time.
        let placed = if is_same && file.time.is_none() {
            self.folder.remove(name)
        } else {
            self.folder.rename_into_place(name, &file.path)
        };
        if let Some(log) = &ready.log {
            let _ = self.folder.remove(log);
        }
        match placed {
            Ok(()) => Ok(SavedBody {
                bytes: *length,
                file: Some(file.path.clone()),
                is_same,
                ..SavedBody::default()
            }),
            Err(error) => {
                let _ = self.folder.remove(name);
                Err(save_error::save_error(
                    &self.folder.display_path(&file.path),
                    &error,
                    false,
                ))
            }
        }
    }

    /// Returns the error for a temporary file. It ends the run: if temporary files cannot be
    /// written, nothing can.
    fn failed_temp(&self, name: &str, error: &io::Error) -> FetchError {
        save_error::save_error(&self.folder.shown_temp(name), error, true)
    }
}
