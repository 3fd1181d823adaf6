//! The behaviours of the fault servers, each on its own: its kind of error, its attempts, and
//! that it costs neither time nor memory.

/// Connections that end, break or fall silent.
mod connections;
/// Credentials stay with the origin they were meant for.
mod credentials;
/// What only HTTP/2 allows.
mod http2;
/// Tables of behaviours over HTTP/1.
mod tables;
/// Certificates, handshakes and the end of connections over TLS.
mod tls;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::faults::End;
use crate::support::{Done, Run};

/// `--stall-timeout` here: the longest that an attempt may take, once connected, whose server
/// says nothing.
const STALL: Duration = Duration::from_millis(300);
const RETRIES: u32 = 2;
/// The program is started and a connection made, on a machine that does other things too.
const SLACK: Duration = Duration::from_secs(10);
/// The most memory a run may have resident, in KiB: a run without any trouble has 20 MiB, and
/// the windows of the codings come on top.
const MEMORY: u64 = 40 * 1024;

/// A run with tight limits.
fn tight() -> Run {
    let stall = format!("--stall-timeout={}ms", STALL.as_millis());
    let retries = format!("--retries={RETRIES}");
    Run::new().args([&stall, &retries, "--max-size=4MiB"])
}

/// Whether a run of one URL came to this end, at no more cost than it may.
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
    // Half of it is for a server that is slow to be read.
    let most = 2 * stall * attempts + SLACK;
    if done.took > most {
        return Err(format!("it took {:?}, more than {most:?}", done.took));
    }
    if done.peak > memory {
        return Err(format!("it took {} KiB, more than {memory}", done.peak));
    }
    Ok(())
}

/// Looks at each of these, so many at the same time; all that is wrong with any is told.
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
