//! The threads that run workers, each with a runtime of its own: a connection is served by the
//! thread that made it, and no thread takes tasks of another.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Weak};

use futures::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};

use super::{Engine, worker};
use crate::fetch::Transport;
use crate::model::{no_thread, start_thread};
use crate::store::BodyStore;

/// How the panic of tokio begins when it needs a thread and cannot start one.
const TOKIO_NO_THREAD: &str = "OS can't spawn worker thread";

/// Why the workers of a thread ended early.
#[derive(Debug)]
pub(crate) enum ThreadFailure {
    /// The system does not start the thread.
    Start(io::Error),
    /// The message of a panic: a bug in this program.
    Panic(String),
}

/// Starts the workers of all threads, the first of which is the caller's. Returns a future that
/// waits for their end.
pub(super) fn start<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
) -> impl Future<Output = Result<(), ThreadFailure>> + use<T, S> {
    let others = 1..engine.options.threads.get();
    let others: Vec<_> = others.map(|number| start_one(engine, number)).collect();
    let own = join_workers(engine, 0);
    async move {
        let mut ended = own.await;
        for thread in others {
            let end = match thread {
                // Only a panic outside of the workers drops the sender.
                Ok(end) => end
                    .await
                    .unwrap_or_else(|_| Err(ThreadFailure::Panic("a thread panicked".to_owned()))),
                Err(error) => Err(ThreadFailure::Start(error)),
            };
            ended = ended.and(end);
        }
        ended
    }
}

/// Starts a thread with its workers. The receiver gets their end.
fn start_one<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    number: usize,
) -> io::Result<oneshot::Receiver<Result<(), ThreadFailure>>> {
    let (end, receiver) = oneshot::channel();
    let of_thread = Arc::clone(engine);
    let started = start_thread(&format!("fetch-{number}"), move || {
        let _ = end.send(run_thread(of_thread, number));
    });
    if started.is_err() {
        engine.shutdown.abort();
    }
    started.map(|()| receiver)
}

/// Runs the workers of a thread. It makes the runtime itself: one that is dropped on the thread of
/// another runtime panics.
fn run_thread<T: Transport, S: BodyStore>(
    engine: Arc<Engine<T, S>>,
    number: usize,
) -> Result<(), ThreadFailure> {
    let built = Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|error| {
        engine.shutdown.abort();
        ThreadFailure::Start(no_thread(error))
    })?;
    let ended = runtime.block_on(async {
        let workers = join_workers(&engine, number);
        // The workers have the engine, and it has to end with them.
        drop(engine);
        workers.await
    });
    // Blocking work that still runs must not hold up the end of the run.
    runtime.shutdown_background();
    ended
}

/// Starts the workers of a thread, and as many more as a higher limit on requests needs: those stay
/// when it is lowered, since idle ones cost little. Returns a future that waits for their end; an
/// abort, or to drop it, ends them at once.
fn join_workers<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    thread: usize,
) -> impl Future<Output = Result<(), ThreadFailure>> + use<T, S> {
    let mut count = engine.scheduler.worker_count();
    let mut started = *count.borrow_and_update();
    let workers: Vec<_> = (0..started)
        .map(|_| tokio::spawn(worker::run(Arc::clone(engine), thread)))
        .collect();
    let mut added = JoinSet::new();
    let guard = AbortOnDrop(workers.iter().map(JoinHandle::abort_handle).collect());
    let (shutdown, scheduler) = (engine.shutdown.clone(), Arc::clone(&engine.scheduler));
    let engine = Arc::downgrade(engine);
    async move {
        let mut ends = pin!(join_all(workers));
        let mut ends = loop {
            tokio::select! {
                biased;
                ends = &mut ends => break ends,
                () = shutdown.aborted() => {
                    // First, because no other worker must take a slot that these free.
                    scheduler.stop();
                    drop(guard);
                    added.abort_all();
                    break ends.await;
                }
                Ok(()) = count.changed() => {
                    let wanted = *count.borrow_and_update();
                    for engine in (started..wanted).filter_map(|_| Weak::upgrade(&engine)) {
                        added.spawn(worker::run(engine, thread));
                    }
                    started = started.max(wanted);
                }
            }
        };
        while let Some(end) = added.join_next().await {
            ends.push(end);
        }
        let mut errors = ends.into_iter().filter_map(Result::err);
        errors.find_map(panic_of).map_or(Ok(()), Err)
    }
}

/// Aborts tasks when dropped. Looking for an abort in each of them would take two locks whenever
/// one is woken.
struct AbortOnDrop(Vec<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Returns why a task panicked.
pub(super) fn panic_of(error: JoinError) -> Option<ThreadFailure> {
    let payload = error.try_into_panic().ok()?;
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Some(match text {
        Some(text) if text.starts_with(TOKIO_NO_THREAD) => {
            ThreadFailure::Start(no_thread(io::ErrorKind::WouldBlock.into()))
        }
        text => ThreadFailure::Panic(text.unwrap_or_else(|| "a task panicked".to_owned())),
    })
}
