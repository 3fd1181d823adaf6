//! Runs feed, workers and timers of several threads in random order; a lost wake-up shows as a
//! deadlock.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::future::{self, yield_now};
use shuttle::rand::{Rng, thread_rng};

use super::*;
use crate::model::Cause;
use crate::model::sync::start_clock;

/// Runs for each of two search strategies; `FETCHALL_INTERLEAVINGS` overrides it.
const RUNS: usize = 3_000;

/// Maximum attempts of a job that another attempt may follow.
const MAX_FOLLOWED: u32 = 3;

#[derive(Debug, Clone)]
struct ScheduleCase {
    threads: usize,
    workers: usize,
    jobs: usize,
    hosts: usize,
    per_host: usize,
    total: usize,
    stops: bool,
    changes_limits: bool,
    options: ScheduleOptions,
}

impl ScheduleCase {
    fn any() -> Self {
        let mut rng = thread_rng();
        let threads = rng.gen_range(1..4);
        let per_host = rng.gen_range(1..4);
        let some = |n| NonZeroUsize::new(n).unwrap();
        let per_host_limit = match rng.gen_bool(0.3) {
            true => PerHostLimit::Auto {
                max: Some(some(per_host)),
            },
            false => PerHostLimit::Fixed(some(per_host)),
        };
        let options = ScheduleOptions {
            per_host: per_host_limit,
            host_interval: Duration::from_millis([0, 0, 20][rng.gen_range(0..3)]),
            rate: [None, None, Some(200.0)][rng.gen_range(0..3)],
            look_ahead: some(rng.gen_range(1..6)),
            ..ScheduleOptions::default()
        };
        Self {
            threads,
            workers: rng.gen_range(1..3),
            jobs: rng.gen_range(1..9),
            hosts: rng.gen_range(1..4),
            per_host,
            total: rng.gen_range(1..5),
            stops: rng.gen_bool(0.2),
            changes_limits: rng.gen_bool(0.2),
            options,
        }
    }

    fn worker_threads(&self) -> WorkerThreads {
        WorkerThreads {
            count: self.threads,
            most_per_thread: self.workers,
            spare: 1,
        }
    }
}

/// What the workers saw.
#[derive(Debug, Default)]
struct WorkerLog {
    running: HashMap<String, usize>,
    attempts: HashMap<String, u32>,
    settled: HashMap<String, u32>,
}

impl WorkerLog {
    fn start(&mut self, run: &ScheduleCase, attempt: &Attempt) -> u32 {
        let running = self.running.entry(host(attempt)).or_default();
        *running += 1;
        assert!(*running <= run.per_host, "too many at one host: {run:?}");
        let all: usize = self.running.values().sum();
        // A connection that is not counted may take the place of one that is.
        assert!(all <= run.total + 1, "too many at once: {run:?}");
        let attempts = self.attempts.entry(attempt.url().to_string()).or_default();
        *attempts += 1;
        *attempts
    }

    fn end(&mut self, attempt: &Attempt) {
        *self.running.get_mut(&host(attempt)).unwrap() -= 1;
    }

    fn settle(&mut self, attempt: &Attempt) {
        *self.settled.entry(attempt.url().to_string()).or_default() += 1;
    }
}

fn host(attempt: &Attempt) -> String {
    attempt.url().host_str().unwrap().to_owned()
}

async fn yield_to_others() {
    for _ in 0..thread_rng().gen_range(0..3) {
        yield_now().await;
    }
}

fn feedback() -> Feedback {
    let failed = || FetchError::Reset {
        cause: Cause::from_text("reset"),
    };
    Feedback::from_verdict(match thread_rng().gen_range(0..8) {
        0 => HostVerdict::Throttled {
            error: failed(),
            is_rate_limit: true,
        },
        1 => HostVerdict::ConnectFailed(failed()),
        2 => HostVerdict::Failed,
        3 => HostVerdict::Inconclusive,
        _ => HostVerdict::Answered,
    })
}

async fn feed(run: ScheduleCase, scheduler: Arc<Scheduler>) {
    for number in 0..run.jobs {
        let host = thread_rng().gen_range(0..run.hosts);
        let url = format!("http://h{host}/{number}");
        let attempt = Attempt::new(Job::plain(&url), Method::GET, false);
        if scheduler.push(Box::new(attempt)).await.is_err() {
            return;
        }
    }
    scheduler.input_ended();
}

async fn work(
    run: ScheduleCase,
    scheduler: Arc<Scheduler>,
    (thread, may_end): (usize, bool),
    seen: Arc<Mutex<WorkerLog>>,
) {
    while let Some(dispatch) = scheduler.next(thread).await {
        let mut lease = match dispatch {
            Dispatch::Run(lease) => lease,
            Dispatch::Fail(attempt, _) => {
                seen.lock().unwrap().settle(&attempt);
                continue;
            }
        };
        let attempt = lease.take().unwrap();
        let attempts = seen.lock().unwrap().start(&run, &attempt);
        if thread_rng().gen_bool(0.3) {
            lease.stop_counting();
        }
        yield_to_others().await;
        if thread_rng().gen_bool(0.7) {
            lease.mark_connected();
        }
        yield_to_others().await;
        seen.lock().unwrap().end(&attempt);
        match thread_rng().gen_range(0..6) {
            0 if attempts <= MAX_FOLLOWED => {
                let until = now() + Duration::from_millis(thread_rng().gen_range(0..200));
                lease.park(attempt, until, &feedback());
            }
            1 if attempts <= MAX_FOLLOWED => lease.requeue(attempt, &feedback()),
            // As in a panic, which ends the worker.
            2 => {
                seen.lock().unwrap().settle(&attempt);
                drop(lease);
                if may_end {
                    return;
                }
            }
            _ => {
                seen.lock().unwrap().settle(&attempt);
                lease.release(&feedback());
            }
        }
    }
}

fn run_once() {
    start_clock();
    let run = ScheduleCase::any();
    let total = NonZeroUsize::new(run.total).unwrap();
    let retry = RetryPolicy::default();
    let threads = run.worker_threads();
    let scheduler = Scheduler::new(&run.options, &retry, total, threads, Arc::default());
    let seen = Arc::new(Mutex::new(WorkerLog::default()));
    let timers = future::spawn({
        let scheduler = Arc::clone(&scheduler);
        async move { scheduler.run_timers().await }
    });
    let mut tasks = vec![future::spawn(feed(run.clone(), Arc::clone(&scheduler)))];
    for thread in 0..run.threads {
        for number in 0..run.workers {
            let (scheduler, seen) = (Arc::clone(&scheduler), Arc::clone(&seen));
            let which = (thread, number > 0);
            tasks.push(future::spawn(work(run.clone(), scheduler, which, seen)));
        }
    }
    future::block_on(async {
        if run.changes_limits {
            yield_to_others().await;
            let update = LimitUpdate {
                concurrency: total,
                schedule: run.options.clone(),
            };
            scheduler.set_limits(&update, threads);
        }
        if run.stops {
            yield_to_others().await;
            scheduler.stop();
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    timers.abort();
    let seen = seen.lock().unwrap();
    assert!(seen.settled.values().all(|times| *times == 1), "{seen:?}");
    let is_all = seen.settled.len() == run.jobs;
    assert!(
        run.stops || is_all,
        "{} settled: {run:?}",
        seen.settled.len()
    );
}

#[test]
fn whatever_order_threads_run_in_no_wake_up_is_lost() {
    let runs = std::env::var("FETCHALL_INTERLEAVINGS");
    let runs = runs.map_or(RUNS, |runs| runs.parse().unwrap());
    shuttle::check_random(run_once, runs);
    shuttle::check_pct(run_once, runs, 3);
}
