//! From the list into the scheduler. What is settled before anything is sent (invalid
//! lines) is settled here.

use std::sync::Arc;

use http::Method;
use tokio::sync::mpsc;

use super::{Engine, EngineOptions, settle};
use crate::fetch::Transport;
use crate::input::{Batch, InputError};
use crate::model::{Attempt, Entry, Job, Window};
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
                    let (method, with_body) = request_of(&job, &engine.options);
                    let attempt = Attempt::first(job, method, with_body);
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

/// The method of a job, and whether a body goes along: what its line says, before what
/// holds for the run. A line that has only a body is a POST, as with `-d`; one that asks
/// for a GET or HEAD wants none of the run's body.
fn request_of(job: &Job, options: &EngineOptions) -> (Method, bool) {
    let is_bodiless = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
    let wish = job.wish.as_ref();
    let own_body = wish.is_some_and(|wish| wish.body.is_some());
    match wish.and_then(|wish| wish.method.as_ref()) {
        Some(own) => {
            let with_body = own_body || (options.with_body && !is_bodiless(own));
            (own.clone(), with_body)
        }
        None if own_body && is_bodiless(&options.method) => (Method::POST, true),
        None => (options.method.clone(), own_body || options.with_body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Place, Wish};

    #[test]
    fn what_a_line_says_beats_what_holds_for_the_run() {
        let request = |own: Option<Method>, own_body: bool, run: Method, run_body: bool| {
            let wish = Wish {
                method: own,
                body: own_body.then(|| "x".into()),
                ..Wish::default()
            };
            let job = Job {
                place: Place {
                    number: 0,
                    input: "-".into(),
                    line: 1,
                },
                url: url::Url::parse("http://a.test/").unwrap(),
                credentials: None,
                raw: None,
                wish: Some(Box::new(wish)),
            };
            let options = EngineOptions {
                method: run,
                with_body: run_body,
                ..EngineOptions::default()
            };
            request_of(&job, &options)
        };
        let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
        for (own, own_body, run, run_body, expected) in [
            (None, false, get.clone(), false, (get.clone(), false)),
            (None, false, post.clone(), true, (post.clone(), true)),
            (None, true, get.clone(), false, (post.clone(), true)),
            (None, true, put.clone(), true, (put.clone(), true)),
            (Some(&put), false, get.clone(), false, (put.clone(), false)),
            (Some(&put), false, post.clone(), true, (put.clone(), true)),
            (Some(&get), false, post.clone(), true, (get.clone(), false)),
            (Some(&get), true, post.clone(), true, (get.clone(), true)),
        ] {
            assert_eq!(request(own.cloned(), own_body, run, run_body), expected);
        }
    }
}
