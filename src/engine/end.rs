//! What follows an attempt that ended: the body is made final, or it goes on elsewhere, later, or
//! not at all.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::attempt::{self, Step};
use super::{Engine, RunClock, failure, settle, verdict};
use crate::fetch::Transport;
use crate::model::{
    Attempt, Before, Feedback, FetchError, RedirectProblem, ResponseHead, Route, Saved, Sha256,
    Try, TryOutcome, Unheard, Wire, add_try, now,
};
use crate::schedule::Lease;
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
    pub fn goes_back<T, S>(
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
                return failure::failed(engine, lease, ended, error, &mut feedback).await;
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
                return failure::failed(engine, lease, ended, error, &mut feedback).await;
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
