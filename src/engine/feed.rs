//! From the list into the scheduler. What is settled before anything is sent (invalid
//! lines) is settled here.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Engine, settle};
use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{Attempt, Entry, Window};
use crate::store::BodyStore;

/// Reads on only as fast as the work goes; ends with the list or at a stop.
pub async fn run<T: Transport, S: BodyStore>(
    engine: Arc<Engine<T, S>>,
    batches: mpsc::Receiver<Batch>,
    window: Option<Window>,
) -> Option<InputError> {
    let shutdown = engine.shutdown.clone();
    let _alarm = shutdown.alarm();
    let fed = shutdown
        .stop_token()
        .run_until_cancelled(feed(&engine, batches, window))
        .await;
    engine.scheduler.input_ended();
    fed.and_then(Result::err)
}

async fn feed<T: Transport, S: BodyStore>(
    engine: &Engine<T, S>,
    mut batches: mpsc::Receiver<Batch>,
    window: Option<Window>,
) -> Result<(), InputError> {
    while let Some(batch) = batches.recv().await {
        for entry in batch? {
            if let Some(window) = &window {
                window.take().await;
            }
            match entry {
                Entry::Job(job) => {
                    let method = engine.options.method.clone();
                    let attempt = Attempt::first(job, method, engine.options.with_body);
                    if engine.scheduler.push(attempt).await.is_err() {
                        return Ok(());
                    }
                }
                Entry::Invalid(line) => {
                    let settled = settle::invalid(line, &engine.clock);
                    engine.settle_unsent(settled).await;
                }
            }
        }
    }
    Ok(())
}
