//! What is written, and how it becomes final.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::folder::Folder;
use super::same::is_same;
use crate::model::{Cause, FetchError, RelPath, Saved};
use crate::store::Done;
use crate::store::crew::{Crew, Hand};
use crate::store::trouble;

/// Threads that write: more than one only helps where files are far away (a network file
/// system).
const WRITERS: usize = 4;
/// So many orders may wait for a thread before the next one helps.
const BUSY: usize = 64;

/// A file that is not final yet.
#[derive(Debug)]
pub struct Temp {
    id: u64,
    failed: OnceLock<FetchError>,
}

impl Temp {
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
pub enum Order {
    /// A whole body, not too large.
    Body {
        /// Its number, for the time until it is final.
        temp: Temp,
        /// Its bytes.
        chunks: Vec<Bytes>,
        /// What it becomes.
        file: RelPath,
        /// Who wants to know.
        done: Done,
    },
    /// More of a body.
    Append(Arc<Temp>, Vec<Bytes>),
    /// All of a body was written.
    Finish {
        /// The file.
        temp: Arc<Temp>,
        /// Its length.
        length: u64,
        /// What it becomes.
        file: RelPath,
        /// Who wants to know.
        done: Done,
    },
    /// A body that nobody wants.
    Remove(Arc<Temp>),
    /// To be read, as far as it was written.
    Read(Arc<Temp>, Reader),
}

/// Takes a part that was opened.
pub type Reader = Box<dyn FnOnce(io::Result<File>) + Send>;

/// How bodies are made final.
#[derive(Debug, Clone, Copy, Default)]
pub struct Care {
    /// They survive a power cut before they count.
    pub sync: bool,
    /// They are compared with what was there before.
    pub compare: bool,
}

/// The threads that write.
pub type Writers = Crew<Order>;

/// Starts them.
///
/// # Errors
/// When the system gives no threads.
pub fn start(folder: &Arc<Folder>, care: Care) -> io::Result<Writers> {
    let writer = || Writer {
        folder: Arc::clone(folder),
        care,
        open: None,
        buffer: Vec::new(),
        ready: Vec::new(),
    };
    Crew::start("save", BUSY, std::iter::repeat_with(writer).take(WRITERS))
}

/// A body that is to become final.
struct Ready {
    name: String,
    file: RelPath,
    length: u64,
    done: Done,
}

/// One thread.
struct Writer {
    folder: Arc<Folder>,
    care: Care,
    /// The file written to last: a large body comes in many pieces.
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
    /// With `sync`: whole, but not final yet.
    ready: Vec<Ready>,
}

impl Hand for Writer {
    type Order = Order;

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Body {
                temp,
                chunks,
                file,
                done,
            } => {
                // Its descriptor may be the one that the new file waits for.
                self.open = None;
                let name = temp.name();
                match self.create(&name, &chunks) {
                    Ok(length) => self.finish(Ready {
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
            Order::Append(temp, chunks) => {
                if let Err(error) = self.append(&temp, &chunks) {
                    let _ = temp.failed.set(self.failed_temp(&temp.name(), &error));
                }
            }
            Order::Finish {
                temp,
                length,
                file,
                done,
            } => {
                self.open = None;
                self.finish_large(&temp, length, file, done);
            }
            Order::Remove(temp) => {
                self.open = None;
                let _ = self.folder.remove(&temp.name());
            }
            Order::Read(temp, reader) => {
                self.open = None;
                reader(self.folder.read(&temp.name()));
            }
        }
    }

    fn end_of_batch(&mut self) {
        self.open = None;
        self.make_ready_final();
    }
}

impl Writer {
    fn create(&mut self, name: &str, chunks: &[Bytes]) -> io::Result<u64> {
        let mut file = self.folder.create(name)?;
        let length = self.write(&mut file, chunks)?;
        self.sync_one(&file)?;
        Ok(length)
    }

    fn append(&mut self, temp: &Temp, chunks: &[Bytes]) -> io::Result<()> {
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

    fn finish_large(&mut self, temp: &Temp, length: u64, file: RelPath, done: Done) {
        let name = temp.name();
        let problem = temp.failure().or_else(|| {
            let found = self.folder.read(&name).and_then(|file| {
                self.sync_one(&file)?;
                file.metadata()
            });
            match found {
                Ok(meta) if meta.len() == length => None,
                Ok(meta) => Some(FetchError::Save {
                    cause: Cause::words(format!(
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
            None => self.finish(Ready {
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

    fn finish(&mut self, ready: Ready) {
        self.ready.push(ready);
        if !self.care.sync {
            self.make_ready_final();
        }
    }

    /// What is whole becomes final: with `sync` all of a batch at once, because the disk is
    /// waited for as long for one as for many.
    fn make_ready_final(&mut self) {
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

    fn place(&self, ready: &Ready) -> Result<Saved, FetchError> {
        let Ready {
            name, file, length, ..
        } = ready;
        let is_same = self.care.compare && is_same(&self.folder, name, file, *length);
        let placed = if is_same {
            self.folder.remove(name)
        } else {
            self.folder.place(name, file)
        };
        match placed {
            Ok(()) => Ok(Saved {
                bytes: *length,
                file: Some(file.clone()),
                is_same,
                ..Saved::default()
            }),
            Err(error) => {
                let _ = self.folder.remove(name);
                let error = super::folder::explained(error);
                Err(trouble::failed(&self.folder.shown(file), &error, false))
            }
        }
    }

    /// Where not even an unfinished file can be written, nothing can.
    fn failed_temp(&self, name: &str, error: &io::Error) -> FetchError {
        trouble::failed(&self.folder.shown_temp(name), error, true)
    }
}
