//! `--pack FILE`: saves all bodies in one WARC file, since appending costs a fraction of creating a
//! file. Partial bodies are not kept; a body that is cut off starts over.

mod body;
mod exchange;
mod known_bodies;
mod spool;
mod writer;

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
    Attempt, BodyVersion, FetchError, Record, RelPath, ResponseHead, Truncation,
    allowed_descriptors,
};
use body::PackBodyWriter;
use exchange::OwnedExchange;
use spool::dir_of;
use writer::PackOrder;

/// Maximum number of concurrent large bodies. Each has a spool file open, and a second one while it
/// is compressed.
const MAX_SPOOLS: usize = 32;
/// Spool files may use this fraction of the allowed descriptors, since connections need most of
/// them.
const SPOOL_FD_FRACTION: usize = 32;
/// Memory that the bodies of redirects and failures may take together, in KiB. What does not fit is
/// left out of them.
const ARCHIVE_ROOM_KIB: usize = 8 * 1024;
/// How long `close` waits for appends in progress once the run is aborted.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where and how bodies are packed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackOptions {
    /// The file. Its name must end in `.warc` or `.warc.gz`.
    pub path: PathBuf,
    /// Whether a body is synced to disk before it counts as saved.
    pub sync: bool,
    /// The request body of the run, used by all jobs without one of their own.
    pub request_body: Option<Bytes>,
    /// Whether only fetched bodies are packed, without redirects and failures.
    pub only_fetched: bool,
}

/// Saves all bodies in one WARC file.
pub(crate) struct PackStore {
    pack: Arc<Mutex<Pack>>,
    workers: Arc<WorkerPool<PackOrder>>,
    dir: PathBuf,
    path: PathBuf,
    request_body: Option<Bytes>,
    spools: Arc<Semaphore>,
    /// Memory for the bodies of redirects and failures, in KiB; `None`: they are not packed.
    archive_room: Option<Arc<Semaphore>>,
}

/// A newly opened pack.
pub(crate) struct OpenedPack {
    /// The pack.
    pub packed: PackStore,
    /// Number of bytes truncated after the last record that the journal knows.
    pub cut: u64,
}

impl PackStore {
    /// Opens a pack, or creates it if it is missing, and starts the writer threads.
    ///
    /// # Errors
    /// See [`PackError`].
    pub(crate) fn open(options: PackOptions, known: KnownEnd) -> Result<OpenedPack, PackError> {
        let now = jiff::Timestamp::now();
        let OpenedFile { pack, cut } = Pack::open(&options.path, known, &format!("{now:.3}"))?;
        let compresses = RecordCompression::of_name(&options.path) == Some(RecordCompression::Gzip);
        let pack = Arc::new(Mutex::new(pack));
        let workers = writer::start(&pack, &options.path, compresses, options.sync)?;
        let packed = Self {
            pack,
            workers: Arc::new(workers),
            dir: dir_of(&options.path).to_owned(),
            path: options.path,
            request_body: options.request_body,
            spools: Arc::new(Semaphore::new(max_spools())),
            archive_room: (!options.only_fetched)
                .then(|| Arc::new(Semaphore::new(ARCHIVE_ROOM_KIB))),
        };
        Ok(OpenedPack { packed, cut })
    }

    fn writer(&self, exchanged: Box<OwnedExchange>) -> PackBodyWriter {
        PackBodyWriter::new(
            Arc::clone(&self.workers),
            exchanged,
            self.dir.clone(),
            self.path.clone(),
            Arc::clone(&self.spools),
        )
    }

    /// Returns the default path of the journal of a pack.
    #[must_use]
    pub(crate) fn journal_path(pack: &Path) -> PathBuf {
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
        _: impl FnOnce() -> Option<BodyVersion>,
        _: Option<PackBodyWriter>,
    ) -> PackBodyWriter {
        let exchanged = OwnedExchange::new(attempt, head, self.request_body.as_ref());
        self.writer(exchanged)
    }

    fn archive_room(&self) -> Option<&Arc<Semaphore>> {
        self.archive_room.as_ref()
    }

    fn create_archive_only(
        &self,
        attempt: &Attempt,
        head: &ResponseHead,
        truncated: Option<Truncation>,
    ) -> Option<PackBodyWriter> {
        self.archive_room.as_ref()?;
        let mut exchanged = OwnedExchange::new(attempt, head, self.request_body.as_ref());
        exchanged.truncated = truncated;
        // Of a failure, the body is kept even if only the head was wanted.
        exchanged.method = attempt.method().clone();
        // What an earlier run fetched was a page, and this response is not one.
        exchanged.before = None;
        Some(self.writer(exchanged))
    }

    /// A record without a location is from a run that used the same journal without a pack.
    fn contains(&self, _: Option<&RelPath>, past: &Record) -> bool {
        past.pack.is_some()
    }

    async fn close(&self, abort: CancellationToken) -> Result<(), FetchError> {
        let stopping = async {
            abort.cancelled().await;
            self.workers.stop();
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            () = self.workers.flush() => {
                self.pack.lock().unwrap_or_else(PoisonError::into_inner).unlock();
                Ok(())
            }
            () = stopping => Err(save_error::save_timeout(&self.path.display().to_string())),
        }
    }
}

fn max_spools() -> usize {
    let share = allowed_descriptors().map(|allowed| allowed / SPOOL_FD_FRACTION);
    share.unwrap_or(MAX_SPOOLS).clamp(1, MAX_SPOOLS)
}
