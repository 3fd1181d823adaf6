//! The fault servers, each alone: error kind, attempts, and bounded time and memory.

/// Connections that close, break or stall.
mod connections;
/// Credentials stay with the origin they were meant for.
mod credentials;
/// Faults that only HTTP/2 allows.
mod http2;
/// Tables of faults over HTTP/1.1.
mod tables;
/// Certificates, handshakes and closed connections over TLS.
mod tls;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::faults::End;
use crate::support::{Done, Run};

/// The `--stall-timeout` of these tests: how long an attempt may wait for a silent server, once
/// connected.
const STALL: Duration = Duration::from_millis(300);
const RETRIES: u32 = 2;
/// Allows for starting the program and connecting, on a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// Maximum resident memory of a run, in KiB: a normal run takes 20 MiB, and decoder windows come on
/// top.
const MEMORY: u64 = 40 * 1024;

/// Prepares a run with low limits.
fn tight() -> Run {
    let stall = format!("--stall-timeout={}ms", STALL.as_millis());
    let retries = format!("--retries={RETRIES}");
    Run::new().args([&stall, &retries, "--max-size=4MiB"])
}

/// Checks that a run of one URL had this outcome, within its limits of time and memory.
fn look_at(end: End, done: &Done, stall: Duration, memory: u64) -> Result<(), String> {
    let attempts = end.attempts(RETRIES);
    if done.records.len() != 1 {
        let (took, stderr) = (done.took, &done.stderr);
        return Err(format!("no record after {took:?}: {stderr}"));
    }
    let record = done.record();
    let kind = record.error.as_ref().map(|error| error.kind);
    let code = Some(i32::from(kind.is_some()));
    if !end.fits(kind) || record.attempts != attempts || done.code != code {
        return Err(format!("not {end:?} of {attempts}: {}", done.stdout));
    }
    if let End::Fetched(bytes) = end
        && record.bytes != Some(bytes)
    {
        return Err(format!("{:?} bytes, expected {bytes}", record.bytes));
    }
    // Twice the stall timeout, because a busy machine may read a response late.
    let most = 2 * stall * attempts + SLACK;
    if done.took > most {
        return Err(format!("it took {:?}, more than {most:?}", done.took));
    }
    if done.peak > memory {
        return Err(format!("it took {} KiB, more than {memory}", done.peak));
    }
    Ok(())
}

/// Checks each case, this number of them concurrently, and reports all failures together.
fn check_all<T: Sync>(
    cases: &[T],
    at_once: usize,
    check: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, SeqCst)) {
                    if let Err(problem) = check(case) {
                        problems.lock().unwrap().push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
