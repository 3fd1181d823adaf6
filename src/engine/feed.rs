//! Feeds input lines into the scheduler, and settles those that need no request: invalid lines,
//! and URLs that an earlier run has completed.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::adopt;
use super::content_type;
use super::file_claims::{ClaimHolder, Claims};
use super::request::{digest_of, request_for};
use super::{Engine, EngineOptions, record};
use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{
    Attempt, Cause, EngineEvent, FetchError, Job, ListEntry, PriorFetch, Record, ReorderWindow,
    Revalidation, SavedBody, now, spawn_blocking,
};
use crate::report::PastRecord;
use crate::store::BodyStore;

/// Feeds the scheduler until the input ends or the run stops, no faster than the look-ahead
/// allows. Returns the error that ended the input early, if any.
pub(super) async fn run<T: Transport, S: BodyStore>(
    engine: Arc<Engine<T, S>>,
    batches: mpsc::Receiver<Batch>,
    window: Option<ReorderWindow>,
) -> Option<InputError> {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.abort_on_panic();
    let feed = JobFeed {
        engine: &engine,
        window,
        claims: Claims::default(),
        seen: 0,
        skipped: 0,
        checks: JoinSet::new(),
        is_announced: false,
    };
    let fed = shutdown
        .stop_token()
        .run_until_cancelled(feed.run(batches))
        .await;
    engine.scheduler.input_ended();
    fed.and_then(Result::err)
}

/// A job, and its file if that has the size and hash of the line.
type CheckedFile = (Job, Option<SavedBody>);

/// The scheduler has stopped: no more jobs are taken.
struct FeedStopped;

struct JobFeed<'a, T, S> {
    engine: &'a Arc<Engine<T, S>>,
    window: Option<ReorderWindow>,
    claims: Claims,
    seen: u64,
    skipped: u64,
    /// Files on disk that are compared with their lines; at most [`adopt::MAX_CHECKS`].
    checks: JoinSet<CheckedFile>,
    /// Whether the number of URLs done by earlier runs was announced.
    is_announced: bool,
}

impl<T: Transport, S: BodyStore> JobFeed<'_, T, S> {
    /// Waits without a timeout for input, for room in the look-ahead and for the reorder window;
    /// a stop ends each of these waits.
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<(), InputError> {
        loop {
            let fed = tokio::select! {
                biased;
                Some(checked) = next_check(&mut self.checks) => self.finish_check(checked).await,
                batch = batches.recv() => match batch {
                    Some(batch) => self.process_batch(batch?).await,
                    None => break,
                },
            };
            if fed.is_err() {
                return Ok(());
            }
        }
        while let Some(checked) = next_check(&mut self.checks).await {
            if self.finish_check(checked).await.is_err() {
                return Ok(());
            }
        }
        self.announce_resume(true).await;
        Ok(())
    }

    async fn process_batch(&mut self, batch: Vec<ListEntry>) -> Result<(), FeedStopped> {
        for (entry, past) in self.recall(batch).await {
            if !matches!(entry, ListEntry::Sitemap(_)) {
                if let Some(window) = &self.window {
                    window.acquire().await;
                }
                self.seen += 1;
            }
            self.process_entry(entry, past).await?;
        }
        Ok(())
    }

    /// Looks up what earlier runs did with a batch. That checks every file on disk, so it runs on
    /// a blocking thread, not on the one that serves sockets.
    async fn recall(&self, batch: Vec<ListEntry>) -> Vec<(ListEntry, PriorResult)> {
        let nothing =
            |batch: Vec<ListEntry>| batch.into_iter().map(|entry| (entry, PriorResult::Nothing));
        let may_adopt = |entry: &ListEntry| match entry {
            ListEntry::Job(job) => adopt::is_adoptable(&self.engine.options, job),
            ListEntry::Invalid(_) | ListEntry::Sitemap(_) | ListEntry::Failed(_) => false,
        };
        if self.engine.past.is_empty() && !batch.iter().any(may_adopt) {
            return nothing(batch).collect();
        }
        let engine = Arc::clone(self.engine);
        let recalled = spawn_blocking(move || {
            let recall = |entry: ListEntry| match &entry {
                ListEntry::Job(job) => {
                    let recalled = recall(&engine, job);
                    (entry, recalled)
                }
                ListEntry::Invalid(_) | ListEntry::Sitemap(_) | ListEntry::Failed(_) => {
                    (entry, PriorResult::Nothing)
                }
            };
            batch.into_iter().map(recall).collect()
        });
        match recalled.await {
            Ok(recalled) => recalled,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled: the runtime is shutting down, and the run with it.
                Err(_) => Vec::new(),
            },
        }
    }

    async fn process_entry(
        &mut self,
        entry: ListEntry,
        recalled: PriorResult,
    ) -> Result<(), FeedStopped> {
        let engine = self.engine;
        match (entry, recalled) {
            (ListEntry::Invalid(line), _) => {
                let settled = record::invalid(line, &engine.options, &engine.clock);
                engine.settle_unsent(settled).await;
            }
            (ListEntry::Failed(settled), _) => {
                let settled = record::unreadable(*settled, &engine.options);
                engine.settle_unsent(settled).await;
            }
            (ListEntry::Sitemap(job), _) => {
                let pushed = engine.scheduler.push(first_attempt(job, engine)).await;
                pushed.map_err(|_| FeedStopped)?;
            }
            (ListEntry::Job(job), PriorResult::Done(past)) => match self.claim(&job) {
                Ok(()) => {
                    self.skipped += 1;
                    let settled = record::skipped(job, *past, &engine.clock);
                    engine.settle_unsent(settled).await;
                }
                // An earlier line of this run has claimed the file for another body.
                Err(error) => self.deny(first_attempt(job, engine), error).await,
            },
            (ListEntry::Job(job), PriorResult::Adoptable) => match self.claim(&job) {
                Ok(()) => self.begin_check(job).await?,
                Err(error) => self.deny(first_attempt(job, engine), error).await,
            },
            (ListEntry::Job(job), recalled) => {
                self.push(job, recalled).await?;
            }
        }
        Ok(())
    }

    /// Begins to compare a file with its line, as soon as few enough others are compared.
    async fn begin_check(&mut self, job: Job) -> Result<(), FeedStopped> {
        if self.checks.len() >= adopt::MAX_CHECKS
            && let Some(checked) = next_check(&mut self.checks).await
        {
            self.finish_check(checked).await?;
        }
        let check = adopt::check(Arc::clone(self.engine), job);
        self.checks.spawn(check);
        Ok(())
    }

    /// Settles a job whose file is the right one, and queues any other.
    async fn finish_check(&mut self, (job, found): CheckedFile) -> Result<(), FeedStopped> {
        let engine = self.engine;
        let Some(file) = found else {
            return self.push(job, PriorResult::Nothing).await;
        };
        self.skipped += 1;
        let settled = record::adopted(job, file, &engine.options, &engine.clock);
        engine.settle_unsent(settled).await;
        Ok(())
    }

    async fn push(&mut self, job: Job, recalled: PriorResult) -> Result<(), FeedStopped> {
        let engine = self.engine;
        let claimed = self.claim(&job);
        let mut attempt = first_attempt(job, engine);
        if engine.options.trace_attempts {
            attempt.set_ready_at(engine.clock.since_start(now()));
        }
        if let Err(error) = claimed {
            self.deny(attempt, error).await;
            return Ok(());
        }
        if let PriorResult::Known(known) = recalled {
            attempt.known = Some(known);
        }
        if engine.scheduler.is_full() {
            self.announce_resume(false).await;
        }
        engine
            .scheduler
            .push(attempt)
            .await
            .map_err(|_| FeedStopped)
    }

    /// Fails a job whose file belongs to another input line.
    async fn deny(&self, attempt: Box<Attempt>, error: FetchError) {
        let engine = self.engine;
        let settled = record::failed_unsent(engine, attempt, error);
        engine.settle_unsent(settled).await;
    }

    fn claim(&mut self, job: &Job) -> Result<(), FetchError> {
        if !Claims::applies_to(job) {
            return Ok(());
        }
        let Some(file) = self.engine.store.file_of(job) else {
            return Ok(());
        };
        let request = digest_of(job, &self.engine.options);
        let claimed = self.claims.claim(job, &file, request.as_deref());
        claimed.map_err(|holder| {
            let ClaimHolder {
                input,
                line,
                is_same_file,
            } = holder;
            FetchError::Conflict(Cause::from_text(match is_same_file {
                true => format!(
                    "{file} is already used by line {line} of {input} (names that differ only in \
                     case are the same)"
                ),
                false => format!(
                    "{file} and the file of line {line} of {input} cannot both exist: one needs a \
                     directory where the other is a file"
                ),
            }))
        })
    }

    /// Announces once how many URLs earlier runs have completed: at the end of the input, or
    /// earlier if the look-ahead is full and reading has to wait.
    async fn announce_resume(&mut self, is_all: bool) {
        if std::mem::replace(&mut self.is_announced, true) || self.skipped == 0 {
            return;
        }
        let event = EngineEvent::Continuing {
            done: self.skipped,
            of: self.seen,
            is_all,
        };
        let _ = self.engine.events.send(event).await;
    }
}

/// Waits for the next finished comparison; `None` if no file is being compared. A panic is passed on.
async fn next_check(checks: &mut JoinSet<CheckedFile>) -> Option<CheckedFile> {
    match checks.join_next().await?.map_err(JoinError::try_into_panic) {
        Ok(checked) => Some(checked),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Cancelled: the runtime is shutting down, and the run with it.
        Err(Err(_)) => None,
    }
}

/// What an earlier run did with a job.
enum PriorResult {
    /// Nothing usable: fetch it.
    Nothing,
    /// It was fetched and its file is still there: skip it.
    Done(Box<Record>),
    /// There is a file of the right size: hash it.
    Adoptable,
    /// It was fetched and its file is still there: send a conditional request (`--refresh`).
    Known(Box<Revalidation>),
}

fn first_attempt<T, S>(job: Job, engine: &Engine<T, S>) -> Box<Attempt> {
    let (method, with_body) = request_for(&job, &engine.options);
    Box::new(Attempt::new(job, method, with_body))
}

fn recall<T, S: BodyStore>(engine: &Engine<T, S>, job: &Job) -> PriorResult {
    match recall_record(engine, job) {
        PriorResult::Nothing if adopt::has_candidate(engine, job) => PriorResult::Adoptable,
        recalled => recalled,
    }
}

fn recall_record<T, S: BodyStore>(engine: &Engine<T, S>, job: &Job) -> PriorResult {
    let file = engine.store.file_of(job);
    let request = digest_of(job, &engine.options);
    let url = job.url.as_str();
    let PastRecord::Fetched(record) = engine.past.find(url, file.as_ref(), request.as_deref())
    else {
        return PriorResult::Nothing;
    };
    if !is_as_expected(&record, job, &engine.options)
        || !engine.store.contains(file.as_ref(), &record)
    {
        return PriorResult::Nothing;
    }
    if engine.options.refresh {
        return revalidation_of(*record).map_or(PriorResult::Nothing, PriorResult::Known);
    }
    PriorResult::Done(record)
}

/// Whether an earlier body has the media type, size and hashes that are expected now. A body that was
/// never hashed does not match an expected hash.
fn is_as_expected(past: &Record, job: &Job, options: &EngineOptions) -> bool {
    let types = content_type::expected(job, options);
    if let (Some(types), Some(found)) = (types, &past.content_type)
        && !types.accepts(found)
    {
        return false;
    }
    let Some(own_options) = &job.options else {
        return true;
    };
    own_options.size.is_none_or(|size| Some(size) == past.bytes)
        && own_options
            .hashes
            .as_ref()
            .is_none_or(|expected| past.hashes().mismatch(expected).is_none())
}

/// Maximum bytes of validators and media type kept per queued job. Typical validators have less
/// than 100.
const MAX_KNOWN_BYTES: usize = 300;

/// Whether a server sent an entity tag that names one version (RFC 9110 §8.8.3). With `*`, any body
/// would be the same one.
fn is_entity_tag(text: &str) -> bool {
    let tag = text.strip_prefix("W/").unwrap_or(text);
    !tag.is_empty() && tag != "*"
}

/// Returns what a conditional request needs, and the fields that a 304 may omit, within
/// [`MAX_KNOWN_BYTES`].
fn revalidation_of(past: Record) -> Option<Box<Revalidation>> {
    let hashes = past.hashes().boxed();
    let mut room = MAX_KNOWN_BYTES;
    let mut short = |text: Option<String>| {
        let text = text.filter(|text| text.len() <= room)?;
        room -= text.len();
        Some(text)
    };
    let mut value = |text| HeaderValue::from_str(&short(text)?).ok();
    let (etag, last_modified) = match past.mirror {
        None => (
            value(past.etag.filter(|etag| is_entity_tag(etag))),
            value(past.last_modified),
        ),
        // Validators are not unique across servers (RFC 9110 §8.8.1).
        Some(_) => (None, None),
    };
    Some(Box::new(Revalidation {
        etag,
        last_modified,
        past: PriorFetch {
            bytes: past.bytes?,
            pack: past.pack,
            content_type: short(past.content_type),
            filename: short(past.filename),
            hashes,
        },
    }))
}
