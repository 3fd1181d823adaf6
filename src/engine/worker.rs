//! A worker: takes leases from the scheduler and runs one attempt at a time.

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::attempt::AttemptState;
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

/// Runs leases until none are left. If the task is aborted, its lease is returned; the job counts
/// as left.
pub(super) async fn run<T: Transport, S: BodyStore>(engine: Arc<Engine<T, S>>, thread: usize) {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.abort_on_panic();
    if let Some(first) = engine.scheduler.next(thread).await {
        // The state of an attempt is nearly all memory of a worker, and some never get a lease.
        Box::pin(run_from(&engine, thread, first)).await;
    }
}

async fn run_from<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    thread: usize,
    first: Dispatch,
) {
    let mut next = Some(first);
    while let Some(dispatch) = next {
        match dispatch {
            Dispatch::Run(lease) => {
                if run_lease(engine, lease).await {
                    give_way().await;
                }
            }
            // Boxed, because it is rare and its state would enlarge that of every worker.
            Dispatch::Fail(attempt, error) => {
                Box::pin(finish::reject(engine, attempt, error)).await;
            }
        }
        next = engine.scheduler.next(thread).await;
    }
}

/// Lets the tasks that are ready run first. After a body that came later than its head, one of them
/// returns the connection to the pool, and before that the next request would find none and begin
/// to connect. Not `yield_now`, which also waits for the sockets to be polled; and not after each
/// request, because what the worker uses would be out of the processor's cache.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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

/// Runs the attempt of a lease. Returns whether its body came later than its head.
async fn run_lease<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    mut lease: Lease,
) -> bool {
    let Some(mut attempt) = lease.take() else {
        return false;
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
    let has_awaited_body = ended.wire.has_awaited_body();
    finish::finish(engine, lease, ended, part_file, result).await;
    has_awaited_body
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
    let mut state = AttemptState::new(part_file);
    if engine.options.segments.most > NonZeroUsize::MIN {
        state.segments.slots = lease.segment_slots().map(Box::new);
    }
    let in_flight = InFlight::new(&engine.live, &attempt.shown_url(), &wire);
    let result = {
        // Pinned on the stack: the future is large, and each call would move it.
        let running = pin!(attempt::run(engine, &attempt, &wire, &mut state));
        if lease.is_first_connection() {
            let is_tls = attempt.url().scheme() == "https";
            run_first_at_host(running, &wire, lease, is_tls).await
        } else {
            running.await
        }
    };
    drop(in_flight);
    attempt.simulated |= wire.is_simulated();
    if engine.options.segments.most > NonZeroUsize::MIN && state.segments.used > 0 {
        let history = attempt.history_mut(start);
        history.segments += state.segments.used;
        history.has_whole_range |= state.segments.has_whole_range;
    }
    tracing::debug!(
        url = &*attempt.shown_url(),
        attempt = attempt.number,
        ms = now().saturating_duration_since(start).as_millis() as u64,
        status = state.head.as_ref().map(|head| head.status.as_u16()),
        "attempt ended",
    );
    let ended = FinishedAttempt {
        attempt,
        head: state.head,
        archive_only: state.archive_only,
        wire,
    };
    (ended, state.part_file, result)
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
    tokio::select! {
        biased;
        result = &mut running => result,
        () = &mut ready => {
            lease.mark_connected();
            running.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::HttpTransport;
    use crate::store::{DiscardStore, FileStore};

    /// Returns the size of the future that a function returns.
    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    fn waiting<S: BodyStore>() -> usize {
        size(|engine: Arc<Engine<HttpTransport, S>>| run(engine, 0))
    }

    fn working<S: BodyStore>() -> usize {
        type WithLease<S> = (&'static Arc<Engine<HttpTransport, S>>, Dispatch);
        size(|(engine, first): WithLease<S>| run_from(engine, 0, first))
    }

    /// With 2,048 requests at once there are 3,216 workers, and up to 2,112 of them have a lease: 1 KiB
    /// more of each is 2 MiB more in all.
    #[test]
    fn a_worker_is_small_and_one_without_a_lease_is_smaller() {
        let sizes = [waiting::<DiscardStore>(), waiting::<FileStore>()];
        assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
        let sizes = [working::<DiscardStore>(), working::<FileStore>()];
        assert!(sizes[0] <= 6 << 10 && sizes[1] <= 8 << 10, "{sizes:?}");
    }
}
