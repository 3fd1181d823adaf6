//! The behaviours of the fault servers, each on its own: its kind of error, its attempts, and
//! that it costs neither time nor memory.

/// Connections that end, break or fall silent.
mod connections;
/// Credentials stay with the origin they were meant for.
mod credentials;
/// Tables of behaviours over HTTP/1.
mod tables;
/// Certificates, handshakes and the end of connections over TLS.
mod tls;

use std::time::Duration;

use crate::support::Run;

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
