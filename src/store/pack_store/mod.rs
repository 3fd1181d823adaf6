//! `--pack FILE`: saves all bodies in one WARC or tar, or a series of them, since appending costs a
//! fraction of creating a file. Partial bodies are not kept; a body that is cut off starts over.

mod body;
mod exchange;
mod finisher;
mod known_bodies;
mod series;
mod spool;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::pack_files::PackFiles;
use super::pack_format::PackFormat;
use super::warc::{CDXJ_EXTENSION, KnownEnd, OpenedFile, Pack, PackError, write_index};
use super::worker_pool::WorkerPool;
use super::{BodyStore, save_error};
use crate::model::{
    Attempt, BodyVersion, FetchError, JournaledEnd, Record, RelPath, ResponseHead, Truncation,
    add_extension, allowed_descriptors, dir_of, start_thread,
};
use body::{PackBodyWriter, SampleRules};
use exchange::OwnedExchange;
use finisher::{ClosedPack, PackFinisher};
pub(crate) use finisher::{FinishCallback, FinishStage};
use series::PackSeries;
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
pub(crate) struct PackOptions {
    /// The files. Their names must end in `.warc`, `.warc.gz` or `.tar`.
    pub files: PackFiles,
    /// Length from which a pack of a series is full, in bytes.
    pub size: u64,
    /// Whether a body is synced to disk before it counts as saved.
    pub sync: bool,
    /// The request body of the run, used by all jobs without one of their own.
    pub request_body: Option<Bytes>,
    /// Whether only fetched bodies are packed, without redirects and failures; a tar has no others.
    pub only_fetched: bool,
    /// The column whose values are beside the bodies of a tar.
    pub caption_column: Option<String>,
    /// Whether a CDXJ index is written beside each pack.
    pub cdxj: bool,
    /// How far the packs are journaled.
    pub journaled: JournaledEnd,
    /// Told of the packs of a series as they are finished.
    pub finished: FinishCallback,
}

/// What the journal knows of a pack that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownPack {
    /// The number of the pack, in a series.
    pub n: Option<u32>,
    /// How far it is known.
    pub end: KnownEnd,
}

/// A pack that cannot be used.
#[derive(Debug)]
pub(crate) struct UnusablePack {
    /// The number of the pack, in a series.
    pub n: Option<u32>,
    /// Its file.
    pub path: PathBuf,
    /// The cause.
    pub cause: PackError,
}

/// Saves all bodies in one WARC or tar, or a series of them.
pub(crate) struct PackStore {
    pack: Arc<Mutex<PackSeries>>,
    workers: Arc<WorkerPool<PackOrder>>,
    dir: PathBuf,
    files: PackFiles,
    finishing: Option<Finishing>,
    /// Whether an index is written beside the pack.
    cdxj: bool,
    request_body: Option<Bytes>,
    spools: Arc<Semaphore>,
    /// Memory for the bodies of redirects and failures, in KiB; `None`: they are not packed.
    archive_room: Option<Arc<Semaphore>>,
    /// What is beside each body, in a tar.
    samples: Option<Arc<SampleRules>>,
}

/// The thread that finishes packs.
struct Finishing {
    /// Its end.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    abort: CancellationToken,
    /// Ends it also if the store is dropped before it is closed.
    _abort_on_drop: DropGuard,
    broken: Arc<OnceLock<FetchError>>,
}

/// A newly opened pack.
pub(crate) struct OpenedPack {
    /// The pack.
    pub packed: PackStore,
    /// Packs that were truncated after the last record that the journal knows, and by how many
    /// bytes.
    pub cut: Vec<(PathBuf, u64)>,
}

impl PackStore {
    /// Opens the packs that are not finished, the last of which is to be filled, and starts the
    /// threads. A missing one is created.
    ///
    /// # Errors
    /// See [`PackError`].
    pub(crate) fn open(
        options: PackOptions,
        known: &[KnownPack],
    ) -> Result<OpenedPack, UnusablePack> {
        let OpenedPacks { packs, cut } = open_all(&options.files, known)?;
        let name = options.files.name().to_owned();
        let failed = |error: io::Error| UnusablePack {
            n: None,
            path: name,
            cause: error.into(),
        };
        Self::start(options, packs)
            .map_err(failed)
            .map(|packed| OpenedPack { packed, cut })
    }

    /// Starts the threads that fill and finish these packs.
    fn start(mut options: PackOptions, mut packs: Vec<(Option<u32>, Pack)>) -> io::Result<Self> {
        let files = std::mem::take(&mut options.files);
        let last = packs.pop();
        let (n, last) = last.ok_or(io::ErrorKind::NotFound)?;
        let format = PackFormat::of_name(files.name()).map_err(io::Error::other)?;
        let is_tar = format == PackFormat::Tar;
        let caption_column = options.caption_column.take();
        let samples = is_tar.then(|| Arc::new(SampleRules { caption_column }));
        let (size, sync, cdxj) = (options.size, options.sync, options.cdxj);
        let request_body = options.request_body.take();
        let archive_room =
            (!options.only_fetched && !is_tar).then(|| Arc::new(Semaphore::new(ARCHIVE_ROOM_KIB)));
        let (closed, finishing) = match files.are_series() {
            true => {
                let (closed, finishing) = start_finisher(&files, options, packs)?;
                (Some(closed), Some(finishing))
            }
            false => (None, None),
        };
        let series = PackSeries::new(last, n, files.clone(), size, closed);
        let pack = Arc::new(Mutex::new(series));
        let workers = writer::start(&pack, &files, format, sync)?;
        Ok(Self {
            pack,
            workers: Arc::new(workers),
            dir: dir_of(files.name()).to_owned(),
            files,
            finishing,
            cdxj,
            request_body,
            spools: Arc::new(Semaphore::new(max_spools())),
            archive_room,
            samples,
        })
    }

    fn writer(&self, exchanged: Box<OwnedExchange>) -> PackBodyWriter {
        PackBodyWriter::new(
            Arc::clone(&self.workers),
            exchanged,
            self.dir.clone(),
            self.files.name().to_owned(),
            Arc::clone(&self.spools),
            self.samples.clone(),
        )
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

    /// A record without a location is from a run that used the same journal without a pack, or with
    /// a single one.
    fn contains(&self, _: Option<&RelPath>, past: &Record) -> bool {
        past.pack
            .is_some_and(|place| place.n.is_some() == self.files.are_series())
    }

    async fn close(&self, is_complete: bool, abort: CancellationToken) -> Result<(), FetchError> {
        let stopping = async {
            abort.cancelled().await;
            self.workers.stop();
            if let Some(finishing) = &self.finishing {
                finishing.abort.cancel();
            }
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let closing = async {
            self.workers.flush().await;
            let closed = self
                .pack
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .close(is_complete);
            closed.map_err(|error| writer::failed(self.files.name(), &error))?;
            match &self.finishing {
                Some(finishing) => finishing.end().await,
                None if self.cdxj => index(self.files.path(None)).await,
                None => Ok(()),
            }
        };
        tokio::select! {
            closed = closing => closed,
            () = stopping => Err(save_error::save_timeout(&self.files.name().display().to_string())),
        }
    }
}

/// Writes the index of a single pack, unless it is there and newer.
async fn index(path: PathBuf) -> Result<(), FetchError> {
    let index = add_extension(&path, CDXJ_EXTENSION);
    let changed = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let is_current = changed(&index) > changed(&path);
    if is_current || path.metadata().is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    let written = tokio::task::spawn_blocking(move || write_index(&path)).await;
    let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
    let name = index.display().to_string();
    written.map_err(|error| save_error::save_error(&name, &error, true))
}

impl Finishing {
    /// Waits until all packs are finished that can be.
    async fn end(&self) -> Result<(), FetchError> {
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ended) = ended {
            // The sender is dropped at the end of the thread.
            let _ = ended.await;
        }
        self.broken.get().cloned().map_or(Ok(()), Err)
    }
}

/// The packs that are not finished, with their numbers.
#[derive(Default)]
struct OpenedPacks {
    packs: Vec<(Option<u32>, Pack)>,
    cut: Vec<(PathBuf, u64)>,
}

/// Opens the packs that are not finished, except those of which nothing is left.
fn open_all(files: &PackFiles, known: &[KnownPack]) -> Result<OpenedPacks, UnusablePack> {
    let mut opened = OpenedPacks::default();
    let date = format!("{:.3}", jiff::Timestamp::now());
    for (at, KnownPack { n, end }) in known.iter().enumerate() {
        let unusable = |path: PathBuf| {
            let n = *n;
            move |cause| UnusablePack { n, path, cause }
        };
        let (path, part) = (files.path(*n), files.part(*n));
        if files.are_series() && path.exists() {
            return Err(unusable(path)(match end {
                KnownEnd::NoJournal => PackError::NoJournal,
                _ => PackError::Unknown,
            }));
        }
        let OpenedFile { pack, cut } =
            Pack::open(&part, *end, &date).map_err(unusable(part.clone()))?;
        opened.cut.extend((cut > 0).then(|| (part.clone(), cut)));
        let is_last = at + 1 == known.len();
        match pack.end() {
            0 if !is_last => fs::remove_file(&part)
                .map_err(PackError::from)
                .map_err(unusable(part))?,
            _ => opened.packs.push((*n, pack)),
        }
    }
    if let Some(KnownPack { n: Some(n), .. }) = known.last() {
        remove_later(files, *n, &date);
    }
    Ok(opened)
}

/// Removes the packs after this one, which a killed run began before the journal had its records.
fn remove_later(files: &PackFiles, n: u32, date: &str) {
    let parts = (n..).skip(1).map(|later| files.part(Some(later)));
    for part in parts.take_while(|part| part.exists()) {
        // One that is not of fetchall stays, and is in the way once it is needed.
        if Pack::open(&part, KnownEnd::Nothing, date).is_ok() {
            let _ = fs::remove_file(part);
        }
    }
}

/// Starts the thread that finishes packs, the first of which are those that killed runs left.
fn start_finisher(
    files: &PackFiles,
    options: PackOptions,
    left: Vec<(Option<u32>, Pack)>,
) -> io::Result<(mpsc::Sender<ClosedPack>, Finishing)> {
    let (closed, queue) = mpsc::channel();
    for (n, pack) in left {
        // The receiver is below.
        let _ = n.map(|n| closed.send(ClosedPack::new(n, pack)));
    }
    let (end, ended) = oneshot::channel();
    let abort = CancellationToken::new();
    let broken = Arc::default();
    let finisher = PackFinisher {
        files: files.clone(),
        sync: options.sync,
        cdxj: options.cdxj,
        journaled: options.journaled,
        tell: options.finished,
        abort: abort.clone(),
        broken: Arc::clone(&broken),
    };
    start_thread("finish", move || {
        finisher.run(&queue);
        // Nobody waits after an abort.
        let _ = end.send(());
    })?;
    let finishing = Finishing {
        ended: Mutex::new(Some(ended)),
        _abort_on_drop: abort.clone().drop_guard(),
        abort,
        broken,
    };
    Ok((closed, finishing))
}

fn max_spools() -> usize {
    let share = allowed_descriptors().map(|allowed| allowed / SPOOL_FD_FRACTION);
    share.unwrap_or(MAX_SPOOLS).clamp(1, MAX_SPOOLS)
}
