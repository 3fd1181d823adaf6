//! Archives responses that bring their job no body: redirects and final failures. Their bodies are
//! kept as they came on the wire, bounded in bytes, in time, and in memory for all of them together.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::within;
use super::finished_attempt::FinishedAttempt;
use super::{Engine, coding};
use crate::fetch::ResponseBody;
use crate::model::{ArchiveOnlyBody, FetchError, MAX_ARCHIVE_ONLY_BYTES, Truncation};
use crate::schedule::BodyPace;
use crate::store::{BodyStore, BodyWriter, SaveCallback, commit_and_wait};

/// Maximum time spent reading a body for the archive.
const ARCHIVE_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Unit of the memory that these bodies share, in bytes.
const ROOM_UNIT_BYTES: usize = 1024;

/// Reads the start of a body on the wire.
pub(super) async fn read<B: ResponseBody>(
    body: &mut B,
    pace: &mut BodyPace<'_>,
    room: &Arc<Semaphore>,
) -> ArchiveOnlyBody {
    let mut kept = KeptBytes::new(room);
    let mut left = ARCHIVE_READ_TIMEOUT;
    let truncated = loop {
        let (chunk, waited) = within(left, pin!(body.chunk())).await;
        left = left.saturating_sub(waited);
        match chunk {
            None => break Some(Truncation::Time),
            Some(Ok(None)) => break None,
            Some(Err(error)) => break Some(Truncation::by(&error)),
            Some(Ok(Some(chunk))) => {
                pace.take_all(chunk.len()).await;
                if !kept.push(&chunk) {
                    break Some(Truncation::Length);
                }
            }
        }
    };
    ArchiveOnlyBody {
        truncated,
        ..kept.finish()
    }
}

/// Keeps the start of a body that was decoded before its response turned out to be a failure.
pub(super) fn decoded(
    start: &[u8],
    room: &Arc<Semaphore>,
    truncated: Option<Truncation>,
) -> ArchiveOnlyBody {
    let mut kept = KeptBytes::new(room);
    let fits = kept.push(start);
    ArchiveOnlyBody {
        truncated: truncated.or((!fits).then_some(Truncation::Length)),
        is_decoded: true,
        ..kept.finish()
    }
}

/// The bytes kept so far, with the memory they take.
struct KeptBytes<'a> {
    room: &'a Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    bytes: Vec<u8>,
}

impl<'a> KeptBytes<'a> {
    fn new(room: &'a Arc<Semaphore>) -> Self {
        Self {
            room,
            permit: None,
            bytes: Vec::new(),
        }
    }

    /// Copies a chunk, because it may be a small part of a large read buffer. Returns whether all
    /// of it was kept.
    fn push(&mut self, chunk: &[u8]) -> bool {
        let fitting = chunk.len().min(MAX_ARCHIVE_ONLY_BYTES - self.bytes.len());
        let Some(start) = chunk.get(..fitting).filter(|_| self.reserve(fitting)) else {
            return false;
        };
        self.bytes.extend_from_slice(start);
        fitting == chunk.len()
    }

    /// Reserves memory for more bytes, without waiting: others may hold theirs for seconds.
    fn reserve(&mut self, more: usize) -> bool {
        let held = self.permit.as_ref().map_or(0, |held| held.num_permits());
        let needed = (self.bytes.len() + more).div_ceil(ROOM_UNIT_BYTES);
        let Ok(missing @ 1..) = u32::try_from(needed.saturating_sub(held)) else {
            return true;
        };
        let Ok(permit) = Arc::clone(self.room).try_acquire_many_owned(missing) else {
            return false;
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        true
    }

    fn finish(self) -> ArchiveOnlyBody {
        ArchiveOnlyBody {
            bytes: self.bytes.into(),
            room: self.permit,
            ..ArchiveOnlyBody::nothing(None)
        }
    }
}

/// A response to be archived.
pub(super) struct ArchiveOnlyResponse<F> {
    file: F,
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

/// Prepares the response of an attempt for the archive; `None` if it has none, if it was made up
/// for a rehearsal, or if the store does not keep it. `error` is why the job fails.
pub(super) fn prepare<T, S: BodyStore>(
    engine: &Engine<T, S>,
    ended: &mut FinishedAttempt,
    error: Option<&FetchError>,
) -> Option<ArchiveOnlyResponse<S::File>> {
    if !is_archived(ended, error) {
        return None;
    }
    let mut head = ended.head.clone()?;
    head.asked.as_ref()?;
    let body = ended.archive_only.take();
    let body = body.unwrap_or_else(|| ArchiveOnlyBody::nothing(error.map(Truncation::by)));
    if !body.is_decoded {
        head.kept_coding = coding::kept(&ended.attempt, &head, true);
    }
    let file = engine
        .store
        .create_archive_only(&ended.attempt, &head, body.truncated)?;
    Some(ArchiveOnlyResponse {
        file,
        bytes: body.bytes,
        room: body.room,
    })
}

/// Whether a response may be archived: not if that is what fails, not if the site does not want it
/// kept, and not if it has no record, from which an archive is continued.
fn is_archived(ended: &FinishedAttempt, error: Option<&FetchError>) -> bool {
    let is_kept_out = matches!(
        error,
        Some(FetchError::Save { .. } | FetchError::Robots { .. })
    );
    !is_kept_out && ended.attempt.job.robots().is_none()
}

impl<F: BodyWriter> ArchiveOnlyResponse<F> {
    /// Saves the response, then calls `done`.
    pub(super) async fn commit(mut self, done: SaveCallback) {
        match self.file.write(self.bytes).await {
            Ok(()) => self.file.commit(done).await,
            Err(error) => done(Err(error)),
        }
        // By now the store accounts for the bytes.
        drop(self.room);
    }
}

/// Archives a redirect, or the last response of a URL that has a mirror, before the job's next
/// request is queued, so that an archive never has the last response of a job without those before
/// it. `error` is why the URL has failed.
///
/// # Errors
/// Kind `save` if it cannot be stored.
pub(super) async fn archive_before_next<T, S: BodyStore>(
    engine: &Engine<T, S>,
    ended: &mut FinishedAttempt,
    error: Option<&FetchError>,
) -> Result<(), FetchError> {
    let Some(response) = prepare(engine, ended, error) else {
        return Ok(());
    };
    let saved = commit_and_wait(|done| response.commit(done)).await?;
    let start = ended.wire.started();
    let history = ended.attempt.history_mut(start);
    history.packed_to = history.packed_to.max(saved.end_in_pack());
    Ok(())
}
