//! The threads that run workers, each with a runtime of its own: a connection is served by the
//! thread that made it, and no thread takes tasks of another.

use std::io;
use std::sync::Arc;
use std::thread;

use futures::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::{Engine, worker};
use crate::fetch::Transport;
use crate::store::BodyStore;

/// Starts the workers of all threads, the first of which is the caller's. Returns a future that
/// waits for their end, with the message of a panic or of a thread that could not be started.
pub(super) fn start<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
) -> impl Future<Output = Result<(), String>> + use<T, S> {
    let others = 1..engine.options.threads.get();
    let others: Vec<_> = others.map(|number| start_thread(engine, number)).collect();
    let own = spawn_workers(engine, 0);
    async move {
        let mut ended = first_panic(join_all(own).await);
        for thread in others {
            let end = match thread {
                // Only a panic outside of the workers drops the sender.
                Ok(end) => end.await.unwrap_or(Err("a thread panicked".to_owned())),
                Err(error) => Err(format!("cannot start a thread: {error}")),
            };
            ended = ended.and(end);
        }
        ended
    }
}

/// Starts a thread with its workers. The receiver gets their end.
fn start_thread<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    number: usize,
) -> io::Result<oneshot::Receiver<Result<(), String>>> {
    let (end, receiver) = oneshot::channel();
    let started = Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            let engine = Arc::clone(engine);
            let name = format!("fetch-{number}");
            thread::Builder::new().name(name).spawn(move || {
                let workers = async {
                    let workers = spawn_workers(&engine, number);
                    // The workers have the engine, and it has to end with them.
                    drop(engine);
                    join_all(workers).await
                };
                let ended = first_panic(runtime.block_on(workers));
                // Blocking work that still runs must not hold up the end of the run.
                runtime.shutdown_background();
                let _ = end.send(ended);
            })
        });
    if started.is_err() {
        engine.shutdown.abort();
    }
    started.map(|_| receiver)
}

fn spawn_workers<T: Transport, S: BodyStore>(
    engine: &Arc<Engine<T, S>>,
    thread: usize,
) -> Vec<tokio::task::JoinHandle<()>> {
    (0..engine.options.worker_threads().most_per_thread)
        .map(|_| tokio::spawn(worker::run(Arc::clone(engine), thread)))
        .collect()
}

fn first_panic(ends: Vec<Result<(), JoinError>>) -> Result<(), String> {
    let mut errors = ends.into_iter().filter_map(Result::err);
    errors.find_map(panic_of).map_or(Ok(()), Err)
}

/// Returns the message of a task that panicked.
pub(super) fn panic_of(error: JoinError) -> Option<String> {
    let payload = error.try_into_panic().ok()?;
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Some(text.unwrap_or_else(|| "a task panicked".to_owned()))
}
