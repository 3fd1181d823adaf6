//! A worker: one lease after another, one attempt at a time.

use std::future::Future;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use siphasher::sip::SipHasher13;

use super::attempt::{self, Step};
use super::{Engine, settle, verdict};
use crate::fetch::Transport;
use crate::model::{
    Attempt, Feedback, FetchError, Live, Part, ResponseHead, Saved, Sha256, Unheard, Wire, after,
    human_duration, now,
};
use crate::schedule::{Decision, Lease, Next, Situation};
use crate::store::{BodyFile, BodyStore, Done};

/// A connection that does not stand after so long lost its first packet, or is not wanted:
/// the first retransmission comes then (RFC 6298 §2).
const SLOW_CONNECT: Duration = Duration::from_secs(1);
/// After the TLS handshake an HTTP/2 connection takes a moment until others can use it.
const SETTLING: Duration = Duration::from_millis(20);
/// How often a request is sent again at most without being charged as an attempt: a busy
/// HTTP/2 server may end one connection after another (nginx after `keepalive_requests`).
const FREE_RESENDS: u32 = 10;

/// Works until there is nothing left, or the shutdown comes.
pub async fn run<T: Transport, S: BodyStore>(engine: Arc<Engine<T, S>>) {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.alarm();
    let work = async {
        while let Some(next) = engine.scheduler.next().await {
            match next {
                Next::Run(lease) => work_off(&engine, lease).await,
                Next::Fail(attempt, error) => {
                    let settled = settle::given_up(attempt, error, &engine.clock);
                    engine.settle_unsent(settled).await;
                }
            }
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
    number: u64,
}

impl<'a> InFlight<'a> {
    fn new(live: &'a Live, url: &str, wire: &Arc<Wire>) -> Self {
        Self {
            live,
            start: wire.started(),
            number: live.start(url, wire),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let busy = now().saturating_duration_since(self.start);
        self.live.end(self.number, busy);
    }
}

async fn work_off<T: Transport, S: BodyStore>(engine: &Arc<Engine<T, S>>, mut lease: Lease) {
    let Some(mut attempt) = lease.take() else {
        return;
    };
    attempt.part = part_to_continue(engine, &attempt);
    let start = now();
    attempt.number += 1;
    attempt.first_start.get_or_insert(start);
    if std::mem::take(&mut attempt.again) {
        engine.live.retrying();
    }
    let wire = Arc::new(Wire::new(start));
    let mut head = None;
    let in_flight = InFlight::new(&engine.live, attempt.url().as_str(), &wire);
    let running = attempt::run(engine, &attempt, &wire, &mut head);
    let result = if lease.is_cold() {
        let has_spare = engine.options.spare() > 0;
        let is_tls = attempt.url().scheme() == "https";
        first_at_host(running, &wire, &mut lease, has_spare, is_tls).await
    } else {
        running.await
    };
    drop(in_flight);
    attempt.simulated |= wire.is_simulated();
    tracing::debug!(
        url = attempt.url().as_str(),
        attempt = attempt.number,
        ms = now().saturating_duration_since(start).as_millis() as u64,
        status = head.as_ref().map(|head| head.status.as_u16()),
        "attempt ended",
    );
    let mut ended = Ended {
        attempt,
        head,
        wire,
    };
    let mut feedback = verdict::feedback(
        &ended.wire,
        ended.head.as_ref(),
        &result,
        engine.retry.retry_after_max,
    );
    match result {
        Ok(Step::Whole(file, sha256)) => {
            ended.forget_unused_part();
            let commit = |done| file.commit(with_hash(sha256, done));
            make_final(engine, lease, ended, &feedback, commit).await;
        }
        Ok(Step::Complete(sha256)) => {
            if let Some(part) = ended.attempt.part.clone() {
                let attempt = ended.attempt.clone();
                let commit = |done| async move {
                    let done = with_hash(sha256, done);
                    engine.store.commit_part(&attempt, &part, done).await;
                };
                make_final(engine, lease, ended, &feedback, commit).await;
            }
        }
        Ok(Step::Unchanged) => {
            let saved = unchanged(engine, &ended.attempt);
            let commit = |done: Done| async { done(Ok(saved)) };
            make_final(engine, lease, ended, &feedback, commit).await;
        }
        Ok(Step::StartOver) => {
            ended.drop_part(engine, false);
            lease.hand_over(ended.attempt, &feedback);
        }
        Ok(Step::Redirected(redirect)) => {
            ended.drop_part(engine, true);
            redirect.apply(&mut ended.attempt);
            ended.attempt.resends = 0;
            lease.hand_over(ended.attempt, &feedback);
        }
        Err(error) => {
            ended.drop_part(engine, !attempt::spoils(&error));
            if ended.was_unheard() {
                ended.attempt.number -= 1;
                ended.attempt.resends += 1;
                lease.hand_over(ended.attempt, &feedback);
            } else {
                failed(engine, lease, ended, error, &mut feedback).await;
            }
        }
    }
}

/// What is here already of the body. A request that asks for something else than the page
/// gets something else.
fn part_to_continue<T, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
) -> Option<Box<Part>> {
    if !attempt.asks_plainly() || attempt::is_partial_fine(attempt, &engine.options) {
        return None;
    }
    engine.store.take_part(attempt).map(Box::new)
}

/// What was computed while the body came goes along with where it went.
fn with_hash(sha256: Option<Sha256>, done: Done) -> Done {
    if sha256.is_none() {
        return done;
    }
    Box::new(move |result| done(result.map(|saved| Saved { sha256, ..saved })))
}

/// Where the body is that the server has not sent again.
fn unchanged<T, S: BodyStore>(engine: &Engine<T, S>, attempt: &Attempt) -> Saved {
    let past = attempt.known.as_ref().map(|known| &known.past);
    Saved {
        bytes: past.map_or(0, |past| past.bytes),
        file: engine.store.file_of(&attempt.job),
        pack: past.and_then(|past| past.pack),
        is_same: true,
        ..Saved::default()
    }
}

/// The network has done its part: the slot is free for the next one, while the body is made
/// final and then reported.
async fn make_final<T: Transport, S: BodyStore, C: Future<Output = ()>>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    ended: Ended,
    feedback: &Feedback,
    commit: impl FnOnce(Done) -> C,
) {
    let Some(room) = engine.room_for_event().await else {
        return;
    };
    let end = now();
    let done = Box::new({
        let engine = Arc::clone(engine);
        move |result| {
            let settled =
                settle::settled(ended, result, end, engine.options.refresh, &engine.clock);
            engine.settle_now(settled, room);
        }
    });
    commit(done).await;
    lease.settle(feedback);
}

/// Runs an attempt that goes to its host alone, and tells the scheduler when others may
/// follow: when its connection stands, or the head of the response is there.
async fn first_at_host<R>(
    running: impl Future<Output = R>,
    wire: &Wire,
    lease: &mut Lease,
    has_spare: bool,
    is_tls: bool,
) -> R {
    let stands = async {
        wire.stands().await;
        if is_tls {
            // The head comes only over a connection that can be used; or in time.
            let _ = tokio::time::timeout(SETTLING, wire.head()).await;
        }
    };
    tokio::pin!(running, stands);
    if has_spare {
        tokio::select! {
            biased;
            result = &mut running => return result,
            () = &mut stands => {
                lease.connected();
                return running.await;
            }
            () = tokio::time::sleep(SLOW_CONNECT) => {
                if wire.is_connecting() {
                    lease.set_aside();
                }
            }
        }
    }
    tokio::select! {
        biased;
        result = &mut running => result,
        () = &mut stands => {
            lease.connected();
            running.await
        }
    }
}

/// An attempt that ended, with what was seen of it.
pub struct Ended {
    /// The attempt.
    pub attempt: Attempt,
    /// The head of its response, when one came.
    pub head: Option<ResponseHead>,
    /// What was noticed on the wire.
    pub wire: Arc<Wire>,
}

impl Ended {
    /// A whole body came although a part was there.
    fn forget_unused_part(&mut self) {
        let status = self.head.as_ref().map(|head| head.status);
        if status != Some(StatusCode::PARTIAL_CONTENT) {
            self.attempt.part = None;
        }
    }

    /// The attempt has done with the part it was given.
    fn drop_part<T, S: BodyStore>(&mut self, engine: &Engine<T, S>, is_of_use: bool) {
        match self.attempt.part.take() {
            Some(part) if is_of_use => engine.store.give_back(&self.attempt, &part),
            Some(part) => engine.store.remove_part(&self.attempt, &part),
            None => {}
        }
    }

    /// Whether it may be sent again without being charged: nobody heard it.
    fn was_unheard(&self) -> bool {
        match self.wire.unheard() {
            Some(Unheard::Stale) => {
                self.attempt.resends == 0 && self.attempt.method.is_idempotent()
            }
            Some(Unheard::TurnedAway) => self.attempt.resends < FREE_RESENDS,
            None => false,
        }
    }
}

async fn failed<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: Ended,
    error: FetchError,
    feedback: &mut Feedback,
) {
    let attempt = &mut ended.attempt;
    // What is simulated must not hang on what others met before.
    let host = lease.start().filter(|_| !attempt.simulated);
    let decision = engine.retry.decide(&Situation {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: attempt.retries_used,
        holds: attempt.holds,
        refusals: host.map_or(0, |host| host.refusals),
        limits_by_503: host.is_some_and(|host| host.limits_by_503),
        waited: attempt.waited,
        jitter: jitter(engine.options.seed, attempt),
    });
    let (wait, uses_retry, holds_host) = match decision {
        Decision::GiveUp { note } => {
            let error = with_note(error, note);
            return give_up(engine, lease, ended, error, feedback).await;
        }
        Decision::Retry(wait) => (wait, true, false),
        Decision::Hold(wait) => (wait, false, true),
        Decision::BackOff(wait) => (wait, true, true),
    };
    attempt.retries_used += u32::from(uses_retry);
    attempt.holds += u32::from(!uses_retry);
    attempt.resends = 0;
    attempt.waited = attempt.waited.saturating_add(wait);
    attempt.again = true;
    tracing::info!(
        url = attempt.url().as_str(),
        "{error}; {} in {}",
        if holds_host {
            "its host again"
        } else {
            "again"
        },
        human_duration(wait)
    );
    let until = after(now(), wait);
    if holds_host {
        feedback.hold = Some(until);
    }
    lease.park(ended.attempt, until, feedback);
}

/// The job has failed for good.
async fn give_up<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    lease: Lease,
    ended: Ended,
    error: FetchError,
    feedback: &Feedback,
) {
    let settled = settle::settled(
        ended,
        Err(error),
        now(),
        engine.options.refresh,
        &engine.clock,
    );
    // First the record, then the slot: what is cut off between the two was reported.
    engine.settle(settled).await;
    lease.settle(feedback);
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
