//! What is written, and how it becomes final.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::folder::Folder;
use super::same::is_same;
use crate::model::{Cause, FetchError, RelPath, SavedBody};
use crate::store::SaveCallback;
use crate::store::save_error;
use crate::store::worker_pool::{OrderHandler, WorkerPool};

/// Threads that write: more than one only helps where files are far away (a network file
/// system).
const MAX_WRITERS: usize = 4;
/// So many orders may wait for a thread before the next one helps.
const ORDERS_PER_WRITER: usize = 64;

/// A file that is not final yet.
#[derive(Debug)]
pub struct TempFile {
    id: u64,
    failed: OnceLock<FetchError>,
}

impl TempFile {
    /// The file with this number.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            failed: OnceLock::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("{}.part", self.id)
    }

    /// Why it can't be written, if so.
    pub fn failure(&self) -> Option<FetchError> {
        self.failed.get().cloned()
    }
}

/// Something to be written.
pub enum WriteOrder {
    /// A whole body, not too large.
    Body {
        /// Its number, for the time until it is final.
        temp: TempFile,
        /// Its bytes.
        chunks: Vec<Bytes>,
        /// What it becomes.
        file: RelPath,
        /// Who wants to know.
        done: SaveCallback,
    },
    /// More of a body.
    Append(Arc<TempFile>, Vec<Bytes>),
    /// All of a body was written.
    Finish {
        /// The file.
        temp: Arc<TempFile>,
        /// Its length.
        length: u64,
        /// What it becomes.
        file: RelPath,
        /// Who wants to know.
        done: SaveCallback,
    },
    /// A body that nobody wants.
    Remove(Arc<TempFile>),
    /// To be read, as far as it was written.
    Read(Arc<TempFile>, PartCallback),
}

/// Takes a part that was opened.
pub type PartCallback = Box<dyn FnOnce(io::Result<File>) + Send>;

/// How bodies are made final.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitOptions {
    /// They survive a power cut before they count.
    pub sync: bool,
    /// They are compared with what was there before.
    pub compare: bool,
}

/// The threads that write.
pub type DiskWriterPool = WorkerPool<WriteOrder>;

/// Starts them.
///
/// # Errors
/// When the system gives no threads.
pub fn start(folder: &Arc<Folder>, care: CommitOptions) -> io::Result<DiskWriterPool> {
    let writer = || DiskWriter {
        folder: Arc::clone(folder),
        care,
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

/// A body that is to become final.
struct ReadyFile {
    name: String,
    file: RelPath,
    length: u64,
    done: SaveCallback,
}

/// One thread.
struct DiskWriter {
    folder: Arc<Folder>,
    care: CommitOptions,
    /// The file written to last: a large body comes in many pieces.
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
    /// With `sync`: whole, but not final yet.
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
                // Its descriptor may be the one that the new file waits for.
                self.open = None;
                let name = temp.name();
                match self.create(&name, &chunks) {
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
        }
    }

    fn end_of_batch(&mut self) {
        self.open = None;
        self.commit_ready();
    }
}

impl DiskWriter {
    fn create(&mut self, name: &str, chunks: &[Bytes]) -> io::Result<u64> {
        let mut file = self.folder.create(name)?;
        let length = self.write(&mut file, chunks)?;
        self.sync_one(&file)?;
        Ok(length)
    }

    fn append(&mut self, temp: &TempFile, chunks: &[Bytes]) -> io::Result<()> {
        if temp.failed.get().is_some() {
            return Ok(());
        }
        // Another file is closed first: its descriptor may be the last one.
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

    /// Where a whole file system can't be synced at once, each file is.
    fn sync_one(&self, file: &File) -> io::Result<()> {
        if self.care.sync && !cfg!(target_os = "linux") {
            file.sync_all()?;
        }
        Ok(())
    }

    /// In as few calls as it takes: small pieces are put together.
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

    fn finish_large(&mut self, temp: &TempFile, length: u64, file: RelPath, done: SaveCallback) {
        let name = temp.name();
        let problem = temp.failure().or_else(|| {
            let found = self.folder.read(&name).and_then(|file| {
                self.sync_one(&file)?;
                file.metadata()
            });
            match found {
                Ok(meta) if meta.len() == length => None,
                Ok(meta) => Some(FetchError::Save {
                    cause: Cause::from_text(format!(
                        "{}: {} bytes are there, {length} were written",
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
        if !self.care.sync {
            self.commit_ready();
        }
    }

    /// What is whole becomes final: with `sync` all of a batch at once, because the disk is
    /// waited for as long for one as for many.
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
        if !self.care.sync {
            return Ok(());
        }
        let synced = self.folder.sync();
        synced.map_err(|error| self.failed_temp("", &error))
    }

    fn place(&self, ready: &ReadyFile) -> Result<SavedBody, FetchError> {
        let ReadyFile {
            name, file, length, ..
        } = ready;
        let is_same = self.care.compare && is_same(&self.folder, name, file, *length);
        let placed = if is_same {
            self.folder.remove(name)
        } else {
            self.folder.rename_into_place(name, file)
        };
        match placed {
            Ok(()) => Ok(SavedBody {
                bytes: *length,
                file: Some(file.clone()),
                is_same,
                ..SavedBody::default()
            }),
            Err(error) => {
                let _ = self.folder.remove(name);
                let error = super::folder::explained(error);
                Err(save_error::save_error(
                    &self.folder.display_path(file),
                    &error,
                    false,
                ))
            }
        }
    }

    /// Where not even an unfinished file can be written, nothing can.
    fn failed_temp(&self, name: &str, error: &io::Error) -> FetchError {
        save_error::save_error(&self.folder.shown_temp(name), error, true)
    }
}
