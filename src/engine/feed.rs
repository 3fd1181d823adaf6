//! From the list into the scheduler. What is settled before anything is sent (invalid lines,
//! what an earlier run has done) is settled here.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::mpsc;
use url::Url;

use super::{Engine, settle};
use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{Attempt, Entry, Event, Job, Known, Past, RelPath, Window};
use crate::store::BodyStore;

/// Reads on only as fast as the work goes; ends with the list or at a stop.
pub async fn run<T: Transport, S: BodyStore>(
    engine: Arc<Engine<T, S>>,
    batches: mpsc::Receiver<Batch>,
    window: Option<Window>,
) -> Option<InputError> {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.alarm();
    let feed = Feed {
        engine: &engine,
        window,
        seen: 0,
        skipped: 0,
        told: engine.history.is_empty(),
    };
    let fed = shutdown
        .stop_token()
        .run_until_cancelled(feed.run(batches))
        .await;
    engine.scheduler.input_ended();
    fed.and_then(Result::err)
}

/// The run is being ended.
struct Ended;

struct Feed<'a, T, S> {
    engine: &'a Arc<Engine<T, S>>,
    window: Option<Window>,
    seen: u64,
    skipped: u64,
    /// Whether people were told what was done already.
    told: bool,
}

impl<T: Transport, S: BodyStore> Feed<'_, T, S> {
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<(), InputError> {
        while let Some(batch) = batches.recv().await {
            for (entry, past) in self.recall(batch?).await {
                if let Some(window) = &self.window {
                    window.take().await;
                }
                self.seen += 1;
                if self.take(entry, past).await.is_err() {
                    return Ok(());
                }
            }
        }
        self.tell(true).await;
        Ok(())
    }

    /// What was done already. That asks the disk for every file: not here, where sockets are
    /// served.
    async fn recall(&self, batch: Vec<Entry>) -> Vec<(Entry, Recalled)> {
        let nothing = |batch: Vec<Entry>| batch.into_iter().map(|entry| (entry, Recalled::Nothing));
        if self.engine.history.is_empty() {
            return nothing(batch).collect();
        }
        let engine = Arc::clone(self.engine);
        let recalled = tokio::task::spawn_blocking(move || {
            let recall = |entry: Entry| match &entry {
                Entry::Job(job) => {
                    let recalled = recall(&engine, job);
                    (entry, recalled)
                }
                Entry::Invalid(_) => (entry, Recalled::Nothing),
            };
            batch.into_iter().map(recall).collect()
        });
        // It fails only when the run is over anyway.
        recalled.await.unwrap_or_default()
    }

    async fn take(&mut self, entry: Entry, recalled: Recalled) -> Result<(), Ended> {
        let engine = self.engine;
        match (entry, recalled) {
            (Entry::Invalid(line), _) => {
                let settled = settle::invalid(line, &engine.clock);
                engine.settle_unsent(settled).await;
            }
            (Entry::Job(job), Recalled::Done(past, file)) => {
                self.skipped += 1;
                let settled = settle::skipped(job, &past, file, &engine.clock);
                engine.settle_unsent(settled).await;
            }
            (Entry::Job(job), recalled) => {
                let known = match recalled {
                    Recalled::Known(known) => Some(known),
                    _ => None,
                };
                self.push(job, known).await?;
            }
        }
        Ok(())
    }

    async fn push(&mut self, job: Job, known: Option<Box<Known>>) -> Result<(), Ended> {
        let engine = self.engine;
        let method = engine.options.method.clone();
        let mut attempt = Attempt::first(job, method, engine.options.with_body);
        attempt.known = known;
        if engine.scheduler.is_full() {
            self.tell(false).await;
        }
        engine.scheduler.push(attempt).await.map_err(|_| Ended)
    }

    /// Tells people once how much is done already: when the list was read, or when reading
    /// has to wait for the work.
    async fn tell(&mut self, is_all: bool) {
        if std::mem::replace(&mut self.told, true) || self.skipped == 0 {
            return;
        }
        let event = Event::Continuing {
            done: self.skipped,
            of: self.seen,
            is_all,
        };
        let _ = self.engine.events.send(event).await;
    }
}

/// What an earlier run did with a job.
enum Recalled {
    /// It is to be fetched.
    Nothing,
    /// It is done, and still there.
    Done(Box<Past>, Option<RelPath>),
    /// It is there, and is to be asked for if it changed.
    Known(Box<Known>),
}

fn recall<T, S: BodyStore>(engine: &Engine<T, S>, job: &Job) -> Recalled {
    let file = engine.store.file_of(job);
    let Some(past) = engine.history.get(job.url.as_str(), file.as_ref(), None) else {
        return Recalled::Nothing;
    };
    if !is_as_expected(&past, job) || !engine.store.still_has(file.as_ref(), past.bytes) {
        return Recalled::Nothing;
    }
    if engine.options.refresh {
        return known(past, job).map_or(Recalled::Nothing, Recalled::Known);
    }
    if past.failed_since {
        return Recalled::Nothing;
    }
    Recalled::Done(Box::new(past), file)
}

/// Whether what was fetched is what the line expects now. A hash that was never taken is not
/// the expected one.
fn is_as_expected(past: &Past, job: &Job) -> bool {
    let Some(wish) = &job.wish else {
        return true;
    };
    let hash = past.detail.as_ref().and_then(|detail| detail.sha256);
    wish.size.is_none_or(|size| size == past.bytes)
        && wish.sha256.is_none_or(|expected| hash == Some(expected))
}

fn known(past: Past, job: &Job) -> Option<Box<Known>> {
    let detail = past.detail.as_deref()?;
    let url = match &detail.final_url {
        Some(url) => Url::parse(url).ok()?,
        None => job.url.clone(),
    };
    let value = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
    Some(Box::new(Known {
        url,
        etag: value(&detail.etag),
        last_modified: value(&detail.last_modified),
        past,
    }))
}
