//! The output directory of simulated runs, in memory: it can be slow, fail, and lose what a kill
//! loses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::case::SimEnding;
use crate::model::{
    Attempt, BodyVersion, ByteRanges, Cause, FetchError, Job, PartialBody, Record, RelPath,
    ResponseHead, SavedBody,
};
use crate::store::{BodyStore, BodyWriter, SaveCallback, file_of};

/// Commits that can be on their way at once.
const MAX_COMMITS: u32 = 10_000;

/// The longest time that a write takes.
const MAX_WRITE_TIME: Duration = Duration::from_millis(300);

/// The content of the directory.
#[derive(Debug, Default)]
pub(super) struct DiskContent {
    pub files: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<String, (PartialBody, Vec<u8>)>,
    /// Whether the process that writes was killed.
    is_dead: bool,
}

impl DiskContent {
    /// Ends the process that writes. A killed one has not written the list of its parts.
    pub(super) fn end_process(&mut self, is_killed: bool) {
        self.is_dead = true;
        if is_killed {
            self.parts.clear();
        }
    }

    /// Lets the next run write.
    pub(super) fn revive(&mut self) {
        self.is_dead = false;
    }
}

/// The directory as a run has it.
#[derive(Clone)]
pub(super) struct SimDisk {
    content: Arc<Mutex<DiskContent>>,
    faults: Arc<Mutex<DiskFaults>>,
    commits: Arc<Semaphore>,
    compares: bool,
}

struct DiskFaults {
    rng: Rng,
    writes: u32,
    ending: SimEnding,
    is_slow: bool,
}

impl SimDisk {
    pub(super) fn new(
        content: &Arc<Mutex<DiskContent>>,
        mut rng: Rng,
        ending: &SimEnding,
        compares: bool,
    ) -> Self {
        let is_slow = rng.bool();
        Self {
            content: Arc::clone(content),
            faults: Arc::new(Mutex::new(DiskFaults {
                rng,
                writes: 0,
                ending: ending.clone(),
                is_slow,
            })),
            commits: Arc::new(Semaphore::new(MAX_COMMITS as usize)),
            compares,
        }
    }

    /// Counts a write, and returns how long it takes and how it fails.
    fn write(&self) -> (Duration, Result<(), FetchError>) {
        let mut faults = self.faults.lock().unwrap();
        let number = faults.writes;
        faults.writes += 1;
        let time = match faults.is_slow {
            true => MAX_WRITE_TIME.mul_f64(faults.rng.f64()),
            false => Duration::ZERO,
        };
        let failed = faults.ending.disk.and_then(|(first, ends_run)| {
            let fails = if ends_run {
                number >= first
            } else {
                number == first
            };
            fails.then(|| FetchError::Save {
                cause: Cause::from_text("scripted"),
                ends_run,
            })
        });
        (time, failed.map_or(Ok(()), Err))
    }
}

impl BodyStore for SimDisk {
    type File = SimWriter;

    fn create(
        &self,
        attempt: &Attempt,
        _: &ResponseHead,
        version: impl FnOnce() -> Option<BodyVersion>,
        part: Option<SimWriter>,
    ) -> SimWriter {
        let version = version();
        match part {
            Some(mut part) => {
                part.version = version;
                part
            }
            None => SimWriter {
                disk: self.clone(),
                file: file_of(&attempt.job),
                version,
                bytes: Vec::new(),
                is_over: false,
            },
        }
    }

    fn file_of(&self, job: &Job) -> Option<RelPath> {
        Some(file_of(job))
    }

    fn contains(&self, file: Option<&RelPath>, past: &Record) -> bool {
        let content = self.content.lock().unwrap();
        let found = file.and_then(|file| content.files.get(file.as_str()));
        found.map(|bytes| bytes.len() as u64) == past.bytes
    }

    fn take_part(&self, attempt: &Attempt) -> Option<(PartialBody, SimWriter)> {
        let file = file_of(&attempt.job);
        let (part, bytes) = self.content.lock().unwrap().parts.remove(file.as_str())?;
        let writer = SimWriter {
            disk: self.clone(),
            file,
            version: Some(part.version.clone()),
            bytes,
            is_over: false,
        };
        Some((part, writer))
    }

    async fn close(&self, _: bool, abort: CancellationToken) -> Result<(), FetchError> {
        let timeout = async {
            abort.cancelled().await;
            sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            biased;
            _ = self.commits.acquire_many(MAX_COMMITS) => Ok(()),
            () = timeout => Err(FetchError::Save {
                cause: Cause::from_text("closing takes too long"),
                ends_run: true,
            }),
        }
    }
}

/// Writes one body.
pub(super) struct SimWriter {
    disk: SimDisk,
    file: RelPath,
    version: Option<BodyVersion>,
    bytes: Vec<u8>,
    is_over: bool,
}

impl SimWriter {
    fn place(&mut self, compares: bool) -> SavedBody {
        let bytes = std::mem::take(&mut self.bytes);
        let length = bytes.len() as u64;
        let mut content = self.disk.content.lock().unwrap();
        let is_same = compares && content.files.get(self.file.as_str()) == Some(&bytes);
        if !content.is_dead {
            content.files.insert(self.file.to_string(), bytes);
        }
        SavedBody {
            bytes: length,
            file: Some(self.file.clone()),
            is_same,
            ..SavedBody::default()
        }
    }
}

impl BodyWriter for SimWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), FetchError> {
        let (time, written) = self.disk.write();
        if !time.is_zero() {
            sleep(time).await;
        }
        self.bytes.extend_from_slice(&chunk);
        written
    }

    async fn commit(mut self, done: SaveCallback) {
        self.is_over = true;
        let commits = Arc::clone(&self.disk.commits);
        let Ok(permit) = commits.acquire_owned().await else {
            return;
        };
        // In the background, as with the threads of a real store.
        tokio::spawn(async move {
            let (time, written) = self.disk.write();
            sleep(time).await;
            let compares = self.disk.compares;
            done(written.map(|()| self.place(compares)));
            drop(permit);
        });
    }

    fn discard(mut self) {
        self.is_over = true;
    }

    async fn read_back(&self) -> Result<File, FetchError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.bytes).unwrap();
        file.rewind().unwrap();
        Ok(file)
    }
}

impl Drop for SimWriter {
    fn drop(&mut self) {
        let Some(version) = self.version.take().filter(|_| !self.is_over) else {
            return;
        };
        let mut content = self.disk.content.lock().unwrap();
        let length = self.bytes.len() as u64;
        let old = content.parts.get(self.file.as_str());
        if length == 0 || content.is_dead || old.is_some_and(|(old, _)| old.length >= length) {
            return;
        }
        let part = PartialBody {
            version,
            length,
            beyond: ByteRanges::default(),
        };
        let bytes = std::mem::take(&mut self.bytes);
        content.parts.insert(self.file.to_string(), (part, bytes));
    }
}
