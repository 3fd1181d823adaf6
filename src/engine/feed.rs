//! From the list into the scheduler. What is settled before anything is sent (invalid lines,
//! what an earlier run has done) is settled here.

use std::sync::Arc;

use http::{HeaderValue, Method};
use tokio::sync::mpsc;

use super::claims::{Claims, Holder};
use super::{Engine, EngineOptions, settle};
use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{
    Attempt, Cause, Entry, Event, FetchError, Job, Known, Past, RelPath, Window, now,
};
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
        claims: Claims::default(),
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
    claims: Claims,
    seen: u64,
    skipped: u64,
    /// Whether people were told what was done already.
    told: bool,
}

impl<T: Transport, S: BodyStore> Feed<'_, T, S> {
    /// It waits for its input, for room in the look-ahead and for its window as long as the work
    /// takes; a stop ends each of these waits.
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
        match recalled.await {
            Ok(recalled) => recalled,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and the run with it.
                Err(_) => Vec::new(),
            },
        }
    }

    async fn take(&mut self, entry: Entry, recalled: Recalled) -> Result<(), Ended> {
        let engine = self.engine;
        match (entry, recalled) {
            (Entry::Invalid(line), _) => {
                let settled = settle::invalid(line, &engine.clock);
                engine.settle_unsent(settled).await;
            }
            (Entry::Job(job), Recalled::Done(past, file)) => {
                // It has its file, whoever else names it.
                let _ = self.claim(&job);
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
        let claimed = self.claim(&job);
        let (method, with_body) = request_of(&job, &engine.options);
        let mut attempt = Box::new(Attempt::first(job, method, with_body));
        attempt.known = known;
        if engine.options.keep_tries {
            attempt.is_ready(engine.clock.since_start(now()));
        }
        if let Err(error) = claimed {
            let settled = settle::given_up(attempt, error, &engine.clock);
            engine.settle_unsent(settled).await;
            return Ok(());
        }
        if engine.scheduler.is_full() {
            self.tell(false).await;
        }
        engine.scheduler.push(attempt).await.map_err(|_| Ended)
    }

    fn claim(&mut self, job: &Job) -> Result<(), FetchError> {
        if !Claims::concern(job) {
            return Ok(());
        }
        let Some(file) = self.engine.store.file_of(job) else {
            return Ok(());
        };
        self.claims.claim(job, &file).map_err(|holder| {
            let Holder { input, line } = holder;
            FetchError::Denied(Cause::words(format!(
                "{file} is the file of another line already (line {line} of {input})"
            )))
        })
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
    let request = job.wish.as_ref().and_then(|wish| wish.request_digest());
    let url = job.url.as_str();
    let Some(past) = engine.history.get(url, file.as_ref(), request.as_deref()) else {
        return Recalled::Nothing;
    };
    if !is_as_expected(&past, job) || !engine.store.still_has(file.as_ref(), past.bytes) {
        return Recalled::Nothing;
    }
    if engine.options.refresh {
        return known(past).map_or(Recalled::Nothing, Recalled::Known);
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

fn known(past: Past) -> Option<Box<Known>> {
    let detail = past.detail.as_deref()?;
    let value = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
    Some(Box::new(Known {
        etag: value(&detail.etag),
        last_modified: value(&detail.last_modified),
        past,
    }))
}

/// The method of a job, and whether a body goes along: what its line says, before what
/// holds for the run. A line that has only a body is a POST, as with `-d`; one that asks
/// for a GET or HEAD wants none of the run's body.
pub(super) fn request_of(job: &Job, options: &EngineOptions) -> (Method, bool) {
    let is_bodiless = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
    let wish = job.wish.as_ref();
    let own_body = wish.is_some_and(|wish| wish.body.is_some());
    match wish.and_then(|wish| wish.method.as_ref()) {
        Some(own) => {
            let with_body = own_body || (options.with_body && !is_bodiless(own));
            (own.clone(), with_body)
        }
        None if own_body && is_bodiless(&options.method) => (Method::POST, true),
        None => (options.method.clone(), own_body || options.with_body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Place, Wish};

    #[test]
    fn what_a_line_says_beats_what_holds_for_the_run() {
        let request = |own: Option<Method>, own_body: bool, run: Method, run_body: bool| {
            let wish = Wish {
                method: own,
                body: own_body.then(|| "x".into()),
                ..Wish::default()
            };
            let job = Job {
                place: Place {
                    number: 0,
                    input: "-".into(),
                    line: 1,
                },
                url: url::Url::parse("http://a.test/").unwrap(),
                credentials: None,
                raw: None,
                wish: Some(Box::new(wish)),
            };
            let options = EngineOptions {
                method: run,
                with_body: run_body,
                ..EngineOptions::default()
            };
            request_of(&job, &options)
        };
        let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
        for (own, own_body, run, run_body, expected) in [
            (None, false, get.clone(), false, (get.clone(), false)),
            (None, false, post.clone(), true, (post.clone(), true)),
            (None, true, get.clone(), false, (post.clone(), true)),
            (None, true, put.clone(), true, (put.clone(), true)),
            (Some(&put), false, get.clone(), false, (put.clone(), false)),
            (Some(&put), false, post.clone(), true, (put.clone(), true)),
            (Some(&get), false, post.clone(), true, (get.clone(), false)),
            (Some(&get), true, post.clone(), true, (get.clone(), true)),
        ] {
            assert_eq!(request(own.cloned(), own_body, run, run_body), expected);
        }
    }
}
