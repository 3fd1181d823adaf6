//! One host that allows 100 requests per second and answers 429 or 503 above that.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{ms, ours};
use crate::list::Group;
use crate::program::{Program, Settings};
use crate::run::Task;
use crate::server::{Answer, Host, Server, Status};
use crate::table::Row;

const URLS: u32 = 2000;
const PER_SECOND: u32 = 100;
const BURST: f64 = 20.0;
/// A peer that obeys `Retry-After` requests everything again each second.
const RETRIES_OF_PEERS: u32 = 30;
const RETRIES: u32 = 10;
const LATENCY: Duration = ms(5);
const IDEAL: Duration = Duration::from_secs((URLS / PER_SECOND) as u64);

/// Returns whether a request that arrives now is allowed.
type Limiter = Box<dyn FnMut(Instant) -> bool + Send>;

/// A fixed window, with `Retry-After`.
pub fn window(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| told(scenario, program, fixed_window());
    programs.iter().map(row).collect()
}

/// A fixed window, without `Retry-After`.
pub fn window_bare(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| bare(scenario, program, fixed_window(), Status::TooMany);
    ours(programs).map(row).collect()
}

/// A fixed window, with 503 and without `Retry-After`: it looks like a host that is broken.
pub fn window_503(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| bare(scenario, program, fixed_window(), Status::Unavailable);
    ours(programs).map(row).collect()
}

/// A token bucket, with `Retry-After`.
pub fn bucket(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| told(scenario, program, token_bucket());
    ours(programs).map(row).collect()
}

/// A token bucket, without `Retry-After`.
pub fn bucket_bare(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| bare(scenario, program, token_bucket(), Status::TooMany);
    ours(programs).map(row).collect()
}

/// A token bucket, with 503 and without `Retry-After`.
pub fn bucket_503(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| bare(scenario, program, token_bucket(), Status::Unavailable);
    ours(programs).map(row).collect()
}

fn told(scenario: &'static str, program: &Program, limiter: Limiter) -> Row {
    let (row, share) = row(scenario, program, host(limiter, Status::TooManyRetryAfter1));
    row.at_most(1.25)
        .require(share <= 0.05, format!("{:.1} % are 429", share * 100.0))
}

fn bare(scenario: &'static str, program: &Program, limiter: Limiter, refusal: Status) -> Row {
    let (row, share) = row(scenario, program, host(limiter, refusal));
    row.at_most(1.5)
        .note(format!("{:.1} % are rejected", share * 100.0))
}

/// Returns the row, and the share of responses that were rejections.
fn row(scenario: &'static str, program: &Program, host: Host) -> (Row, f64) {
    let server = Server::start([host]);
    let urls = server.urls(Group::Healthy, URLS);
    let retries = if program.is_ours() {
        RETRIES
    } else {
        RETRIES_OF_PEERS
    };
    let settings = Settings {
        retries: Some(retries),
        ..Settings::default()
    };
    let task = Task::new(server, urls).settings(settings).ideal(IDEAL);
    let ran = task.run(program);
    let row = Row::of(scenario, program, &ran).ideal(IDEAL);
    (row, ran.tally.refused as f64 / ran.tally.requests as f64)
}

fn host(limiter: Limiter, refusal: Status) -> Host {
    let limiter = Mutex::new(limiter);
    Host::new(Group::Healthy, move |arrival| {
        let mut allows = limiter.lock().expect("nothing panics while it counts");
        let status = if allows(arrival.at) {
            Status::Ok
        } else {
            refusal
        };
        Answer {
            after: LATENCY,
            status,
        }
    })
}

/// Allows this number of requests in each second, starting with the first request.
fn fixed_window() -> Limiter {
    let mut first = None;
    let mut window = 0;
    let mut used = 0;
    Box::new(move |now| {
        let current = (now - *first.get_or_insert(now)).as_secs();
        if current != window {
            (window, used) = (current, 0);
        }
        let allowed = used < PER_SECOND;
        used += u32::from(allowed);
        allowed
    })
}

/// Allows the rate, and a burst after a pause.
fn token_bucket() -> Limiter {
    let mut level = BURST;
    let mut last = None;
    Box::new(move |now| {
        let passed = now - last.replace(now).unwrap_or(now);
        level = BURST.min(level + passed.as_secs_f64() * f64::from(PER_SECOND));
        let allowed = level >= 1.0;
        level -= f64::from(u8::from(allowed));
        allowed
    })
}
