//! A worker: one lease after another, one attempt at a time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::finish::{self, FinishedAttempt};
use super::{Engine, attempt, failure};
use crate::fetch::Transport;
use crate::model::{Attempt, LiveStats, PartialBody, WireState, now};
use crate::schedule::{Lease, NextAction};
use crate::store::BodyStore;

/// A connection that does not stand after so long lost its first packet, or is not wanted:
/// the first retransmission comes then (RFC 6298 §2).
const SLOW_CONNECT: Duration = Duration::from_secs(1);
/// After the TLS handshake an HTTP/2 connection takes a moment until others can use it.
const HTTP2_SETTLE_TIME: Duration = Duration::from_millis(20);
/// Works until there is nothing left, or the shutdown comes.
pub async fn run<T: Transport, S: BodyStore>(engine: Arc<Engine<T, S>>) {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.abort_on_panic();
    let work = async {
        while let Some(next) = engine.scheduler.next().await {
            match next {
                NextAction::Run(lease) => run_lease(&engine, lease).await,
                NextAction::Fail(attempt, error) => failure::reject(&engine, attempt, error).await,
            }
        }
    };
    // Dropping the work gives its lease back; its job counts as left. The abort is looked
    // at first: another worker that ends may just have freed a slot for this one.
    let work = pin!(work);
    tokio::select! {
        biased;
        () = shutdown.aborted() => {}
        () = work => {}
    }
}

/// Counts an attempt as in flight while it runs, however it ends.
struct InFlight<'a> {
    live: &'a LiveStats,
    start: Instant,
    number: u64,
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
    attempt.part = part_to_continue(engine, &attempt);
    let start = now();
    attempt.number += 1;
    if std::mem::take(&mut attempt.again) {
        engine.live.count_retry();
    }
    let of_use = engine.live.useful_connections();
    let wire = Arc::new(WireState::new(start).with_useful_connections(of_use));
    let mut head = None;
    let in_flight = InFlight::new(&engine.live, &attempt.shown_url(), &wire);
    let result = {
        // Pinned where it is: it is large, and would be moved at each call.
        let running = pin!(attempt::run(engine, &attempt, &wire, &mut head));
        if lease.is_first_connection() {
            let has_spare = engine.options.spare_connections() > 0;
            let is_tls = attempt.url().scheme() == "https";
            run_first_at_host(running, &wire, &mut lease, has_spare, is_tls).await
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
        status = head.as_ref().map(|head| head.status.as_u16()),
        "attempt ended",
    );
    let ended = FinishedAttempt {
        attempt,
        head,
        wire,
    };
    finish::dispatch(engine, lease, ended, result).await;
}

/// What is here already of the body. A request that asks for something else than the page
/// gets something else.
fn part_to_continue<T, S: BodyStore>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
) -> Option<Box<PartialBody>> {
    if !attempt.is_plain_get() || attempt::accepts_partial(attempt, &engine.options) {
        return None;
    }
    let part = engine.store.take_part(attempt)?;
    if part.version.job_url != attempt.job.url {
        // The file has gone to another line since.
        engine.store.remove_part(attempt, &part);
        return None;
    }
    Some(Box::new(part))
}

/// Runs an attempt that goes to its host alone, and tells the scheduler when others may
/// follow: when its connection stands, or the head of the response is there.
async fn run_first_at_host<R>(
    mut running: Pin<&mut impl Future<Output = R>>,
    wire: &WireState,
    lease: &mut Lease,
    has_spare: bool,
    is_tls: bool,
) -> R {
    let stands = async {
        wire.wait_connected().await;
        if is_tls {
            // The head comes only over a connection that can be used; or in time.
            let _ = tokio::time::timeout(HTTP2_SETTLE_TIME, wire.wait_head()).await;
        }
    };
    tokio::pin!(stands);
    if has_spare {
        tokio::select! {
            biased;
            result = &mut running => return result,
            () = &mut stands => {
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
        () = &mut stands => {
            lease.mark_connected();
            running.await
        }
    }
}
