//! A worker: takes leases from the scheduler and runs one attempt at a time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::AttemptProgress;
use super::attempt_outcome::{AttemptOutcome, ReceivedBody};
use super::body_target::BodyTarget;
use super::finished_attempt::FinishedAttempt;
use super::{Engine, attempt, finish};
use crate::fetch::Transport;
use crate::model::{Attempt, FetchError, LiveStats, PartialBody, WireState, now};
use crate::schedule::{Dispatch, Lease};
use crate::store::{BodyStore, BodyWriter};

/// A connection still pending after this time has lost its first packet or is being ignored: the
/// first retransmission is sent after 1 s (RFC 6298 §2).
const SLOW_CONNECT: Duration = Duration::from_secs(1);
/// Time after the TLS handshake until other requests can share an HTTP/2 connection.
const HTTP2_SETTLE_TIME: Duration = Duration::from_millis(20);

/// Runs leases until none are left or the run ends early.
pub(super) async fn run<T: Transport, S: BodyStore>(engine: Arc<Engine<T, S>>, thread: usize) {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.abort_on_panic();
    let work = async {
        while let Some(next) = engine.scheduler.next(thread).await {
            match next {
                Dispatch::Run(lease) => run_lease(&engine, lease).await,
                // Boxed, because it is rare and its state would enlarge that of every worker.
                Dispatch::Fail(attempt, error) => {
                    Box::pin(finish::reject(&engine, attempt, error)).await;
                }
            }
        }
    };
    // Dropping the work returns its lease; the job counts as left. The abort is polled first:
    // another aborted worker may have just freed a slot, which this one must not take.
    let work = pin!(work);
    tokio::select! {
        biased;
        () = shutdown.aborted() => {}
        () = work => {}
    }
}

/// Counts an attempt as in flight until dropped.
struct InFlight<'a> {
    live: &'a LiveStats,
    start: Instant,
    number: Option<usize>,
}

impl<'a> InFlight<'a> {
    fn new(live: &'a LiveStats, url: &str, wire: &Arc<WireState>) -> Self {
        Self {
            live,
            start: wire.started(),
            number: live.begin_request(url, wire),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let busy = now().saturating_duration_since(self.start);
        self.live.end_request(self.number, busy);
    }
}

async fn run_lease<T: Transport, S: BodyStore>(engine: &Arc<Engine<T, S>>, mut lease: Lease) {
    let Some(mut attempt) = lease.take() else {
        return;
    };
    attempt.replace_refused_head();
    let (part, part_file) = part_to_continue(engine, &attempt).unzip();
    attempt.part = part.map(Box::new);
    if let Some(jar) = engine
        .options
        .jar
        .as_ref()
        .filter(|_| attempt.hop.is_none())
    {
        attempt.set_jar_cookies(jar.header_for(attempt.url()));
    }
    attempt.number += 1;
    if std::mem::take(&mut attempt.again) {
        engine.live.count_retry();
    }
    let part_file = part_file.map(Box::new);
    let (ended, part_file, result) = run_attempt(engine, attempt, part_file, &mut lease).await;
    finish::finish(engine, lease, ended, part_file, result).await;
}

/// Runs an attempt to its end. A function of its own, so that nothing of it takes memory after that.
async fn run_attempt<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut attempt: Box<Attempt>,
    part_file: Option<Box<S::File>>,
    lease: &mut Lease,
) -> (
    FinishedAttempt,
    Option<Box<S::File>>,
    Result<AttemptOutcome<ReceivedBody<BodyTarget<S::File>>>, FetchError>,
) {
    let start = now();
    let wire = WireState::new(start)
        .with_thread(lease.thread())
        .with_useful_connections(engine.live.useful_connections());
    let wire = Arc::new(wire);
    let mut progress = AttemptProgress::new(part_file);
    let in_flight = InFlight::new(&engine.live, &attempt.shown_url(), &wire);
    let result = {
        // Pinned on the stack: the future is large, and each call would move it.
        let running = pin!(attempt::run(engine, &attempt, &wire, &mut progress));
        if lease.is_first_connection() {
            let has_spare = engine.options.spare_connections() > 0;
            let is_tls = attempt.url().scheme() == "https";
            run_first_at_host(running, &wire, lease, has_spare, is_tls).await
        } else {
            running.await
        }
    };
    drop(in_flight);
    attempt.simulated |= wire.is_simulated();
    tracing::debug!(
        url = &*attempt.shown_url(),
        attempt = attempt.number,
        ms = now().saturating_duration_since(start).as_millis() as u64,
        status = progress.head.as_ref().map(|head| head.status.as_u16()),
        "attempt ended",
    );
    let ended = FinishedAttempt {
        attempt,
        head: progress.head,
        archive_only: progress.archive_only,
        wire,
    };
    (ended, progress.part, result)
}

/// Returns the partial body that this attempt resumes, if there is one. Only a plain GET without
/// its own `Range` resumes: other requests fetch something else.
fn part_to_continue<T, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
) -> Option<(PartialBody, S::File)> {
    if !attempt.is_plain_get()
        || attempt::accepts_partial(attempt, &engine.options)
        || attempt.job.is_auxiliary()
    {
        return None;
    }
    let (part, file) = engine.store.take_part(attempt)?;
    if part.version.job_url != attempt.job.url {
        // The file was taken over by another input line.
        file.discard();
        return None;
    }
    Some((part, file))
}

/// Runs the first attempt at a host, which goes alone, and tells the scheduler when others may
/// follow: once it is connected. With TLS it waits a little longer for the head, so that an HTTP/2
/// connection can be shared. With spare connections, one that is still pending after
/// [`SLOW_CONNECT`] stops counting against the limit.
async fn run_first_at_host<R>(
    mut running: Pin<&mut impl Future<Output = R>>,
    wire: &WireState,
    lease: &mut Lease,
    has_spare: bool,
    is_tls: bool,
) -> R {
    let ready = async {
        wire.wait_connected().await;
        if is_tls {
            // A head proves that the connection is usable; without one, give it time to settle.
            let _ = tokio::time::timeout(HTTP2_SETTLE_TIME, wire.wait_head()).await;
        }
    };
    tokio::pin!(ready);
    if has_spare {
        tokio::select! {
            biased;
            result = &mut running => return result,
            () = &mut ready => {
                lease.mark_connected();
                return running.await;
            }
            () = tokio::time::sleep(SLOW_CONNECT) => {
                if wire.is_connecting() {
                    lease.stop_counting();
                }
            }
        }
    }
    tokio::select! {
        biased;
        result = &mut running => result,
        () = &mut ready => {
            lease.mark_connected();
            running.await
        }
    }
}
