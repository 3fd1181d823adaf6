//! Collects one body for a pack. It must be complete before its record can be written, because the
//! record's head has its length. A small body is kept in memory, a large one in a spool file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::exchange::{BodyContent, OwnedExchange};
use super::spool::spool_file;
use super::writer::{PackOrder, failed};
use crate::model::{FetchError, MAX_ARCHIVE_ONLY_BYTES, Record, TimeLimit};
use crate::store::tar::TarSample;
use crate::store::warc::{PayloadDigest, PayloadHasher};
use crate::store::worker_pool::{DISK_TIMEOUT, WorkerPool};
use crate::store::{BodyWriter, SaveCallback, save_error};

/// Maximum number of bytes of one body kept in memory.
const FLUSH_BYTES: usize = 1024 * 1024;
/// The same for the number of chunks, each of which has some overhead.
const MAX_CHUNKS: usize = 512;
/// Maximum wait for permission to create a spool file.
const SPOOL_TIMEOUT: Duration = Duration::from_secs(120);

/// The spool file of a large body.
struct Spool {
    file: File,
    permit: OwnedSemaphorePermit,
    length: u64,
}

impl Spool {
    fn begin(dir: &Path, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        Ok(Self {
            file: spool_file(dir)?,
            permit,
            length: 0,
        })
    }

    fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.length += chunk.len() as u64;
            self.file.write_all(chunk)?;
        }
        Ok(())
    }

    fn finish(mut self, digest: PayloadDigest) -> io::Result<BodyContent> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(BodyContent::Spooled {
            file: self.file,
            permit: self.permit,
            length: self.length,
            digest,
        })
    }
}

/// Waits for a permit for a spool file, at most [`SPOOL_TIMEOUT`], since slow bodies may hold
/// theirs for hours.
async fn spool_permit(spools: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, FetchError> {
    // The semaphore is never closed.
    let permit = timeout(SPOOL_TIMEOUT, Arc::clone(spools).acquire_owned()).await;
    permit.ok().and_then(Result::ok).ok_or(FetchError::Timeout {
        limit: TimeLimit::Gathering(SPOOL_TIMEOUT),
    })
}

/// What a tar has beside each body.
pub(crate) struct SampleRules {
    /// The column with the caption.
    pub caption_column: Option<String>,
}

/// Collects one body for a pack.
pub(crate) struct PackBodyWriter {
    workers: Arc<WorkerPool<PackOrder>>,
    exchanged: Box<OwnedExchange>,
    dir: PathBuf,
    path: PathBuf,
    spools: Arc<Semaphore>,
    samples: Option<Arc<SampleRules>>,
    chunks: Vec<Bytes>,
    held: usize,
    /// Updated with each chunk while it is in the CPU caches.
    hasher: PayloadHasher,
    spool: Option<Spool>,
    /// The first bytes of a body in a spool file.
    start: Vec<u8>,
}

impl PackBodyWriter {
    pub(crate) fn new(
        workers: Arc<WorkerPool<PackOrder>>,
        exchanged: Box<OwnedExchange>,
        dir: PathBuf,
        path: PathBuf,
        spools: Arc<Semaphore>,
        samples: Option<Arc<SampleRules>>,
    ) -> Self {
        Self {
            workers,
            exchanged,
            dir,
            path,
            spools,
            samples,
            chunks: Vec::new(),
            held: 0,
            hasher: PayloadHasher::default(),
            spool: None,
            start: Vec::new(),
        }
    }

    /// Moves the chunks in memory to the spool file, on a blocking thread. The switch to another
    /// thread pays off for a megabyte at a time.
    async fn spool(&mut self) -> Result<(), FetchError> {
        if self.spool.is_none() {
            self.start = start_of(&self.chunks);
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.held = 0;
        let spool = self.spool.take();
        let permit = match &spool {
            Some(_) => None,
            None => Some(spool_permit(&self.spools).await?),
        };
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut spool = match (spool, permit) {
                (Some(spool), _) => spool,
                (None, Some(permit)) => Spool::begin(&dir, permit)?,
                (None, None) => return Err(io::ErrorKind::Other.into()),
            };
            spool.write(&chunks)?;
            Ok(spool)
        });
        let Ok(written) = timeout(DISK_TIMEOUT, written).await else {
            return Err(save_error::save_timeout(&self.dir.display().to_string()));
        };
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.spool = Some(written.map_err(|error| failed(&self.path, &error))?);
        Ok(())
    }

    async fn content(&mut self) -> Result<BodyContent, FetchError> {
        if self.spool.is_some() {
            self.spool().await?;
        }
        let digest = std::mem::take(&mut self.hasher).finish();
        match self.spool.take() {
            Some(spool) => spool
                .finish(digest)
                .map_err(|error| failed(&self.path, &error)),
            None => Ok(BodyContent::Memory {
                chunks: std::mem::take(&mut self.chunks),
                digest,
            }),
        }
    }
}

impl BodyWriter for PackBodyWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        self.held += chunk.len();
        self.hasher.update(&chunk);
        self.chunks.push(chunk);
        if self.held >= FLUSH_BYTES {
            return self.spool().await;
        }
        if self.chunks.len() >= MAX_CHUNKS {
            self.chunks = vec![Bytes::from(self.chunks.concat())];
        }
        Ok(())
    }

    fn describe(&mut self, record: impl FnOnce(u64) -> Record) {
        let Some(rules) = &self.samples else {
            return;
        };
        let spooled = self.spool.as_ref().map_or(0, |spool| spool.length);
        let record = record(spooled + self.held as u64);
        let caption = rules.caption_column.as_deref();
        self.exchanged.sample = Some(TarSample::new(&record, self.exchanged.at, caption));
    }

    async fn commit(mut self, done: SaveCallback) {
        let sample = self.exchanged.sample.as_ref();
        let held = self.held + sample.map_or(0, TarSample::weight);
        let Some(permit) = self.workers.reserve_bytes(held).await else {
            return done(Err(save_error::save_timeout(
                &self.path.display().to_string(),
            )));
        };
        let content = match self.content().await {
            Ok(content) => content,
            Err(error) => return done(Err(error)),
        };
        self.exchanged.took = self.exchanged.at.elapsed().unwrap_or_default();
        let order = PackOrder {
            exchanged: self.exchanged,
            content,
            done,
        };
        self.workers
            .send_to(self.workers.pick_worker(), order, Some(permit));
    }

    fn discard(self) {}

    fn excerpt(&self) -> (Vec<u8>, bool) {
        match &self.spool {
            Some(_) => (self.start.clone(), false),
            None => (start_of(&self.chunks), self.held <= MAX_ARCHIVE_ONLY_BYTES),
        }
    }
}

/// Returns as much of the first bytes as an archive keeps of a failure.
fn start_of(chunks: &[Bytes]) -> Vec<u8> {
    let bytes = chunks.iter().flatten().take(MAX_ARCHIVE_ONLY_BYTES);
    bytes.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_spool_file_times_out_and_is_retried() {
        let spools = Arc::new(Semaphore::new(1));
        let first = spool_permit(&spools).await.unwrap();
        let error = spool_permit(&spools).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        let limit = TimeLimit::Gathering(SPOOL_TIMEOUT);
        assert!(
            matches!(&error, FetchError::Timeout { limit: found } if *found == limit),
            "{error}"
        );
        drop(first);
        assert!(spool_permit(&spools).await.is_ok());
    }
}
