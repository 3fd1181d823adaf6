//! What follows an attempt that ended: the body is made final, or it goes on elsewhere, later, or
//! not at all.

use std::future::Future;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use siphasher::sip::SipHasher13;

use super::attempt::{self, Step};
use super::request::request_of;
use super::{Engine, EngineOptions, RunClock, settle, verdict};
use crate::fetch::Transport;
use crate::model::{
    Attempt, Before, Feedback, FetchError, RedirectProblem, ResponseHead, Route, Saved, Sha256,
    Try, TryOutcome, Unheard, Wire, add_try, after, human_duration, now,
};
use crate::schedule::{Decision, Lease, Situation};
use crate::store::{BodyFile, BodyStore, Done};

/// How often a request is sent again at most without being charged as an attempt: a busy
/// HTTP/2 server may end one connection after another (nginx after `keepalive_requests`).
const FREE_RESENDS: u32 = 10;

/// An attempt that ended, with what was seen of it.
pub struct Ended {
    /// The attempt.
    pub attempt: Box<Attempt>,
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

    /// There will be another attempt, at once: nothing has failed.
    fn goes_on<T, S>(&mut self, engine: &Engine<T, S>) -> &mut Before {
        self.goes_on_as(engine, TryOutcome::GoesOn)
    }

    fn goes_on_as<T, S>(&mut self, engine: &Engine<T, S>, outcome: TryOutcome) -> &mut Before {
        let now = now();
        self.goes_back(engine, outcome, now, now)
    }

    /// The same request will be sent again, free of charge.
    fn is_resent<T, S>(&mut self, engine: &Engine<T, S>) -> &mut Before {
        self.attempt.number -= 1;
        let before = self.goes_on_as(engine, TryOutcome::Resent);
        before.total_resends += 1;
        before
    }

    /// There will be another attempt, which may start at `again`.
    fn goes_back<T, S>(
        &mut self,
        engine: &Engine<T, S>,
        outcome: TryOutcome,
        end: Instant,
        again: Instant,
    ) -> &mut Before {
        if engine.options.keep_tries {
            self.add_try(outcome, end, &engine.clock);
            self.attempt.is_ready(engine.clock.since_start(again));
        }
        self.attempt.goes_back(self.wire.started())
    }

    /// Keeps when this attempt did what.
    pub fn add_try(&mut self, outcome: TryOutcome, end: Instant, clock: &RunClock) {
        let wire = &self.wire;
        let began = clock.since_start(wire.started());
        let end = clock.since_start(end);
        let connected = wire
            .is_fresh()
            .then(|| wire.connect_time().map_or(end, |took| began + took));
        let one = Try {
            ready: self.attempt.before().ready,
            start: began,
            connected,
            head: wire.head_time().map(|took| began + took),
            end,
            status: self.head.as_ref().map(|head| head.status.as_u16()),
            outcome,
        };
        let before = self.attempt.goes_back(wire.started());
        add_try(&mut before.tries, one);
    }

    /// How it may be sent again without being charged, if it may.
    fn free_resend(&self, error: &FetchError) -> Option<Route> {
        if self.attempt.before().resends >= FREE_RESENDS {
            return None;
        }
        let (route, idempotent) = (self.attempt.route, self.attempt.method.is_idempotent());
        match self.wire.unheard() {
            Some(Unheard::Stale) if idempotent => Some(Route::Fresh),
            // One that is dead is not in the pool any more.
            Some(Unheard::StaleShared) if idempotent && self.attempt.before().resends == 0 => {
                Some(Route::Usual)
            }
            Some(Unheard::BrokenHead) if idempotent => Some(Route::Lenient),
            Some(Unheard::Unframed) if idempotent => Some(Route::Strict),
            Some(Unheard::TurnedAway | Unheard::Http1Required) => Some(Route::Usual),
            Some(_) => None,
            // Any method: the server says that it did nothing but look at where it came in
            // (RFC 9110 §15.5.20).
            None if error.status() == Some(StatusCode::MISDIRECTED_REQUEST) => {
                (route != Route::Fresh).then_some(Route::Fresh)
            }
            None => None,
        }
    }
}

/// Does what follows.
pub async fn go_on<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    lease: Lease,
    mut ended: Ended,
    result: Result<Step<S::File>, FetchError>,
) {
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
        Ok(Step::Piece) => {
            ended.drop_part(engine, true);
            ended.goes_on(engine).resends = 0;
            lease.hand_over(ended.attempt, &feedback);
        }
        Ok(Step::StartOver) => {
            ended.drop_part(engine, false);
            ended.goes_on(engine);
            lease.hand_over(ended.attempt, &feedback);
        }
        Ok(Step::Redirected(redirect)) => {
            ended.drop_part(engine, true);
            if engine.is_too_long(&redirect) {
                let problem = RedirectProblem::TooLong(redirect.length());
                let error = FetchError::Redirect { problem };
                return failed(engine, lease, ended, error, &mut feedback).await;
            }
            redirect.apply(&mut ended.attempt);
            ended.attempt.route = Route::Usual;
            ended.goes_on_as(engine, TryOutcome::Redirected).resends = 0;
            lease.hand_over(ended.attempt, &feedback);
        }
        Ok(Step::HeadRefused) => {
            let before = ended.is_resent(engine);
            before.head_refused = true;
            before.resends = 0;
            lease.hand_over(ended.attempt, &feedback);
        }
        Err(error) => {
            ended.drop_part(engine, !attempt::spoils(&error));
            let Some(route) = ended.free_resend(&error) else {
                return failed(engine, lease, ended, error, &mut feedback).await;
            };
            ended.attempt.route = route;
            ended.is_resent(engine).resends += 1;
            lease.hand_over(ended.attempt, &feedback);
        }
    }
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
            let settled = settle::settled(ended, result, end, &engine.options, &engine.clock);
            engine.settle_now(settled, room);
        }
    });
    commit(done).await;
    lease.settle(feedback);
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
        retries_used: attempt.before().retries_used,
        holds: attempt.before().holds,
        refusals: host.map_or(0, |host| host.refusals),
        limits_by_503: host.is_some_and(|host| host.limits_by_503),
        is_throttled: ended.wire.is_throttled(),
        waited: attempt.before().waited,
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
        Decision::Poll(wait) => return poll(engine, lease, ended, wait, feedback),
    };
    let end = now();
    let until = after(end, wait);
    let outcome = TryOutcome::Failed(error.kind());
    let before = ended.goes_back(engine, outcome, end, until);
    before.retries_used += u32::from(uses_retry);
    before.holds += u32::from(!uses_retry);
    before.resends = 0;
    before.waited = before.waited.saturating_add(wait);
    let attempt = &mut ended.attempt;
    attempt.again = true;
    attempt.route = Route::Usual;
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
    if holds_host {
        feedback.hold = Some(until);
    }
    start_over(attempt, &engine.options);
    lease.park(ended.attempt, until, feedback);
}

/// The next attempt asks the URL of the list again, since where its redirects led may be what
/// failed. Not where that would send again what changes something there: it was answered.
/// Tells whether it does.
fn start_over(attempt: &mut Attempt, options: &EngineOptions) -> bool {
    let (method, with_body) = request_of(&attempt.job, options);
    let may_start_over = method.is_idempotent();
    if may_start_over {
        attempt.restart(method, with_body);
    }
    may_start_over
}

/// An attempt that is not sent, since its host was given up. Where a redirect has led there, the
/// URL of the list may lead elsewhere next time.
pub async fn reject<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    error: FetchError,
) {
    let before = attempt.before();
    let decision = engine.retry.decide(&Situation {
        error: &error,
        idempotent: attempt.method.is_idempotent(),
        retries_used: before.retries_used,
        holds: before.holds,
        refusals: 0,
        limits_by_503: false,
        is_throttled: false,
        waited: before.waited,
        jitter: jitter(engine.options.seed, &attempt),
    });
    let wait = match decision {
        Decision::Retry(wait) | Decision::Hold(wait) | Decision::BackOff(wait) => Some(wait),
        Decision::Poll(_) | Decision::GiveUp { .. } => None,
    };
    let wait = wait.filter(|_| attempt.hop.is_some() && start_over(&mut attempt, &engine.options));
    let Some(wait) = wait else {
        let settled = settle::given_up(attempt, error, &engine.options, &engine.clock);
        return engine.settle_unsent(settled).await;
    };
    let now = now();
    let until = after(now, wait);
    if engine.options.keep_tries {
        attempt.is_ready(engine.clock.since_start(until));
    }
    let before = attempt.goes_back(now);
    before.retries_used += 1;
    before.waited = before.waited.saturating_add(wait);
    attempt.again = true;
    attempt.route = Route::Usual;
    engine.scheduler.park(attempt, until);
}

/// What was asked for is still being made: nothing has failed, and the same request goes to the
/// same place again, also after redirects. To begin at their start could order it anew.
fn poll<T, S>(
    engine: &Engine<T, S>,
    lease: Lease,
    mut ended: Ended,
    wait: Duration,
    feedback: &Feedback,
) {
    let end = now();
    let until = after(end, wait);
    let before = ended.goes_back(engine, TryOutcome::GoesOn, end, until);
    before.resends = 0;
    before.waited = before.waited.saturating_add(wait);
    tracing::info!(
        url = ended.attempt.url().as_str(),
        "202: still being made; asked again in {}",
        human_duration(wait)
    );
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
    let settled = settle::settled(ended, Err(error), now(), &engine.options, &engine.clock);
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
