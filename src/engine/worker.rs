//! A worker: one lease after another, one attempt at a time.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Instant;

use siphasher::sip::SipHasher13;

use super::attempt::{self, Seen, Step};
use super::clock::{after, now};
use super::{Engine, Shutdown, settle};
use crate::fetch::Transport;
use crate::model::{Attempt, Event, Feedback, FetchError, Live, Saved, Wire, human_duration};
use crate::schedule::{Decision, Lease, Situation};
use crate::store::BodyStore;

/// Works until there is nothing left, or the shutdown comes.
pub async fn run<T: Transport, S: BodyStore>(engine: Arc<Engine<T, S>>, shutdown: Shutdown) {
    let _alarm = shutdown.alarm();
    let work = async {
        while let Some(lease) = engine.scheduler.next().await {
            work_off(&engine, lease).await;
        }
    };
    // Dropping the work gives its lease back; its job counts as left. The abort is looked
    // at first: another worker that ends may just have freed a slot for this one.
    tokio::select! {
        biased;
        () = shutdown.aborted() => {}
        () = work => {}
    }
}

/// Counts an attempt as in flight while it runs, however it ends.
struct InFlight<'a> {
    live: &'a Live,
    start: Instant,
}

impl<'a> InFlight<'a> {
    fn new(live: &'a Live, start: Instant) -> Self {
        live.start();
        Self { live, start }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.live.end(now().saturating_duration_since(self.start));
    }
}

async fn work_off<T: Transport, S: BodyStore>(engine: &Engine<T, S>, mut lease: Lease) {
    let Some(mut attempt) = lease.take() else {
        return;
    };
    let start = now();
    attempt.number += 1;
    attempt.first_start.get_or_insert(start);
    let wire = Arc::new(Wire::new(start));
    let mut seen = Seen::default();
    let in_flight = InFlight::new(&engine.live, start);
    let result = attempt::run(engine, &attempt, &wire, start, &mut seen).await;
    drop(in_flight);
    attempt.simulated |= wire.is_simulated();
    tracing::debug!(
        url = attempt.url().as_str(),
        attempt = attempt.number,
        ms = now().saturating_duration_since(start).as_millis() as u64,
        status = seen.head.as_ref().map(|head| head.status.as_u16()),
        "attempt ended",
    );
    let mut ended = Ended {
        attempt,
        seen,
        start,
    };
    match result {
        Ok(Step::Redirected(redirect)) => {
            redirect.apply(&mut ended.attempt);
            lease.hand_over(ended.attempt);
        }
        Ok(Step::Fetched(saved)) => finish(engine, lease, ended, Ok(saved)).await,
        Err(error) => failed(engine, lease, ended, error).await,
    }
}

/// An attempt that ended, with what was seen of it.
struct Ended {
    attempt: Attempt,
    seen: Seen,
    start: Instant,
}

async fn failed<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: Ended,
    error: FetchError,
) {
    let attempt = &mut ended.attempt;
    let decision = engine.retry.decide(&Situation {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: attempt.retries_used,
        holds: attempt.holds,
        waited: attempt.waited,
        jitter: jitter(engine.options.seed, attempt),
    });
    let (wait, hold) = match decision {
        Decision::GiveUp { note } => {
            return finish(engine, lease, ended, Err(with_note(error, note))).await;
        }
        Decision::Retry(wait) => {
            attempt.retries_used += 1;
            (wait, false)
        }
        Decision::Hold(wait) => {
            attempt.holds += 1;
            (wait, true)
        }
    };
    attempt.waited = attempt.waited.saturating_add(wait);
    engine.live.retrying();
    tracing::info!(
        url = attempt.url().as_str(),
        holds_host = hold,
        "{error}; again in {}",
        human_duration(wait)
    );
    let until = after(now(), wait);
    let feedback = Feedback {
        hold: hold.then_some(until),
    };
    lease.park(ended.attempt, until, feedback);
}

async fn finish<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    ended: Ended,
    result: Result<Saved, FetchError>,
) {
    match &result {
        Ok(_) => engine.live.fetched(),
        Err(error) => engine.live.failed(error),
    }
    let settled = settle::settled(
        ended.attempt,
        result,
        ended.seen,
        ended.start,
        &engine.clock,
    );
    // The reporters go only after the workers; when one of them fails, the run is
    // already being wound down. First the record, then the slot: what is cut off between
    // the two was reported.
    let _ = engine.events.send(Event::Settled(Box::new(settled))).await;
    lease.settle(Feedback::default());
}

fn with_note(error: FetchError, note: Option<String>) -> FetchError {
    match (error, note) {
        (
            FetchError::Status {
                status,
                retry_after,
                ..
            },
            Some(note),
        ) => FetchError::Status {
            status,
            retry_after,
            note: Some(note.into()),
        },
        (error, _) => error,
    }
}

/// In 0..1. From the seed, when there is one, so that a rehearsal repeats to the wait.
fn jitter(seed: Option<u64>, attempt: &Attempt) -> f64 {
    let Some(seed) = seed else {
        return fastrand::f64();
    };
    let mut hash = SipHasher13::new_with_keys(seed, 1);
    hash.write(attempt.url().as_str().as_bytes());
    hash.write_u32(attempt.number);
    // 53 bits are what an f64 holds exactly.
    (hash.finish() >> 11) as f64 / (1u64 << 53) as f64
}
