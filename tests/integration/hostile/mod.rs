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
    let expected = end.expected(RETRIES);
    let (kind, attempts) = expected;
    if done.records.len() != 1 {
        let (took, stderr) = (done.took, &done.stderr);
        return Err(format!("no record after {took:?}: {stderr}"));
    }
    let record = done.record();
    let got = (
        record.error.as_ref().map(|error| error.kind),
        record.attempts,
    );
    if got != expected || done.code != Some(i32::from(kind.is_some())) {
        return Err(format!("{got:?}, expected {expected:?}: {}", done.stdout));
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
