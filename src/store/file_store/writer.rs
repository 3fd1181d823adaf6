//! The threads that write temporary files and rename them into place.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::folder::Folder;
use super::same::is_same;
use crate::model::{Cause, FetchError, RelPath, SavedBody};
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
}

impl TempFile {
    /// Returns the file with this id, without creating it.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            failed: OnceLock::new(),
        }
    }

    /// Returns its id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> String {
        format!("{}.part", self.id)
    }

    /// Returns the error if writing to it has failed.
    pub(crate) fn failure(&self) -> Option<FetchError> {
        self.failed.get().cloned()
    }
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
        /// The temporary file to write.
        temp: TempFile,
        /// Its bytes.
        chunks: Vec<Bytes>,
        /// What becomes of it.
        file: FinalFile,
        /// Called with the result.
        done: SaveCallback,
    },
    /// Append bytes to a temporary file.
    Append(Arc<TempFile>, Vec<Bytes>),
    /// Save a body that has been appended completely.
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
                temp,
                chunks,
                file,
                done,
            } => {
                // Frees its descriptor, which may be the last one.
                self.open = None;
                let name = temp.name();
                match self.create(&name, &chunks, file.time) {
                    Ok(length) => self.finish(ReadyFile {
                        name,
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
            WriteOrder::Append(temp, chunks) => {
                if let Err(error) = self.append(&temp, &chunks) {
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

    fn append(&mut self, temp: &TempFile, chunks: &[Bytes]) -> io::Result<()> {
        if temp.failed.get().is_some() {
            return Ok(());
        }
        // Close another file first: its descriptor may be the last one.
        let same = self.open.take().filter(|(id, _)| *id == temp.id);
        let mut file = match same {
            Some((_, file)) => file,
            None => match self.folder.append(&temp.name()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.folder.create(&temp.name())?
                }
                opened => opened?,
            },
        };
        self.write(&mut file, chunks)?;
        self.open = Some((temp.id, file));
        Ok(())
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
                Ok(meta) if meta.len() == length => None,
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
                file,
                length,
                done,
            }),
            Some(error) => {
                let _ = self.folder.remove(&name);
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
