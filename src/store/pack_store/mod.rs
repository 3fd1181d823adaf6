//! `--pack FILE`: all bodies go into one WARC file, because appending bytes costs a fraction of
//! what creating a file does. What is cut off starts over: nothing is kept of it.

mod body;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::warc::{KnownEnd, OpenedFile, Pack, PackError, RecordCompression};
use super::worker_pool::WorkerPool;
use super::{BodyStore, save_error};
use crate::model::{
    Attempt, BodyVersion, FetchError, PartialBody, Record, RelPath, ResponseHead,
    allowed_descriptors, open_when_free,
};
use body::{OwnedExchange, PackBodyWriter};
use writer::PackOrder;

/// Large bodies that may be on their way at the same time where descriptors abound: each has a file
/// open, and another one while it is compressed.
const MAX_SPOOLS: usize = 32;
/// Of the descriptors allowed, connections need most.
const SPOOL_SHARE: usize = 32;
/// How long an aborted run waits for what is being appended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where and how bodies are packed.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// The file; its name ends in `.warc` or `.warc.gz`.
    pub path: PathBuf,
    /// A body survives a power cut before it counts as saved.
    pub sync: bool,
    /// The body of every request, but those that have their own.
    pub request_body: Option<Bytes>,
}

/// One file for all bodies.
pub struct PackStore {
    pack: Arc<Mutex<Pack>>,
    crew: Arc<WorkerPool<PackOrder>>,
    folder: PathBuf,
    path: PathBuf,
    request_body: Option<Bytes>,
    spools: Arc<Semaphore>,
}

/// A pack that was opened, and what was amiss.
pub struct OpenedPack {
    /// The pack.
    pub packed: PackStore,
    /// Bytes at its end that the journal does not know; they were cut off.
    pub cut: u64,
}

impl PackStore {
    /// Opens a pack, creates it where it is missing.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn open(options: PackOptions, known: KnownEnd) -> Result<OpenedPack, PackError> {
        let now = jiff::Timestamp::now();
        let OpenedFile { pack, cut } = Pack::open(&options.path, known, &format!("{now:.3}"))?;
        let is_packed = RecordCompression::of_name(&options.path) == Some(RecordCompression::Gzip);
        let pack = Arc::new(Mutex::new(pack));
        let crew = writer::start(&pack, &options.path, is_packed, options.sync)?;
        let packed = Self {
            pack,
            crew: Arc::new(crew),
            folder: folder_of(&options.path).to_owned(),
            path: options.path,
            request_body: options.request_body,
            spools: Arc::new(Semaphore::new(most_spools())),
        };
        Ok(OpenedPack { packed, cut })
    }

    /// The path of the journal that belongs to a pack, unless another one is named.
    #[must_use]
    pub fn journal_path(pack: &Path) -> PathBuf {
        let mut name = pack.as_os_str().to_owned();
        name.push(".jsonl");
        name.into()
    }
}

impl BodyStore for PackStore {
    type File = PackBodyWriter;

    fn create(
        &self,
        attempt: &Attempt,
        head: &ResponseHead,
        _: Option<BodyVersion>,
        _: Option<&PartialBody>,
    ) -> Result<PackBodyWriter, FetchError> {
        let exchanged = OwnedExchange::new(attempt, head, self.request_body.as_ref());
        let crew = Arc::clone(&self.crew);
        Ok(PackBodyWriter::new(
            crew,
            exchanged,
            self.folder.clone(),
            self.path.clone(),
            Arc::clone(&self.spools),
        ))
    }

    /// What has no place in it was fetched by a run that wrote the same journal and no pack.
    fn contains(&self, _: Option<&RelPath>, past: &Record) -> bool {
        past.pack.is_some()
    }

    async fn close(&self, abort: CancellationToken) -> Result<(), FetchError> {
        let stopping = async {
            abort.cancelled().await;
            self.crew.stop();
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            () = self.crew.flush() => {
                self.pack.lock().unwrap_or_else(PoisonError::into_inner).unlock();
                Ok(())
            }
            () = stopping => Err(save_error::save_timeout(&self.path.display().to_string())),
        }
    }
}

fn folder_of(pack: &Path) -> &Path {
    match pack.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn most_spools() -> usize {
    let share = allowed_descriptors().map(|allowed| allowed / SPOOL_SHARE);
    share.unwrap_or(MAX_SPOOLS).clamp(1, MAX_SPOOLS)
}

/// A file that is gone when it is closed, whatever happens to this process.
fn spool_file(folder: &Path) -> io::Result<File> {
    open_when_free(|| tempfile::tempfile_in(folder))
}
