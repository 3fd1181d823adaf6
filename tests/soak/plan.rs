//! A list of every fault, repeated, and the expected outcomes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fetchall::{ErrorKind, Record};
use tempfile::{NamedTempFile, TempPath};

use crate::CONCURRENCY;
use crate::neighbour::Neighbour;
use crate::support::faults::{self, End, Fault};

pub const RETRIES: u32 = 1;
/// How long a server may be silent.
pub const STALL: Duration = Duration::from_secs(5);
/// Processor time per URL, including its server, in an unoptimized build: endless responses send
/// megabytes.
const WORK: Duration = Duration::from_millis(20);
/// Allows for the start and the end of a run.
const SLACK: Duration = Duration::from_secs(30);

/// A list and its server.
#[derive(Clone)]
pub struct Plan {
    list: Arc<TempPath>,
    server: String,
    pub urls: usize,
}

/// Floods are in only one of this number of rounds, because an unoptimized build takes most of a
/// second for some of them.
const FLOODS: usize = 16;

/// Returns the fault in this line of a list; between two faults there is a good page.
fn behaviour(line: usize) -> Option<&'static Fault> {
    if line.is_multiple_of(2) {
        return None;
    }
    let (turn, which) = (
        line / 2 / faults::all().count(),
        line / 2 % faults::all().count(),
    );
    let fault = faults::all().nth(which)?;
    let is_flood = fault.name.starts_with("endless") || fault.name.contains("bomb");
    (!is_flood || turn.is_multiple_of(FLOODS)).then_some(fault)
}

impl Plan {
    pub fn new(server: &Neighbour, urls: usize) -> Self {
        let mut list = NamedTempFile::new().unwrap();
        let mut lines = std::io::BufWriter::new(&mut list);
        for line in 0..urls {
            let name = behaviour(line).map_or("good", |fault| fault.name);
            writeln!(lines, "{}/{name}/{line}", server.origin()).unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        Self {
            list: Arc::new(list.into_temp_path()),
            server: server.origin().to_owned(),
            urls,
        }
    }

    pub fn path(&self) -> &Path {
        &self.list
    }

    /// Returns the expected number of fetched URLs.
    pub fn good(&self) -> u64 {
        let is_good = |line: &usize| {
            behaviour(*line)
                .is_none_or(|fault| matches!(fault.end, End::Fetched(_) | End::Elsewhere))
        };
        (0..self.urls).filter(is_good).count() as u64
    }

    /// Returns what is wrong with a record.
    pub fn problem(&self, record: &Record) -> Option<String> {
        let path = record.url.strip_prefix(&self.server)?;
        let kind = record.error.as_ref().map(|error| error.kind);
        let end = faults::named(path).map_or(End::Fetched(0), |fault| fault.end);
        // Bytes left on a connection may break the next request on it, whichever that is.
        let died = matches!(end, End::Transient(_)) && kind == Some(ErrorKind::Reset);
        // Endless responses are sent at a limited rate, which is lower on busy processors.
        let starved = path.starts_with("/endless")
            && matches!(kind, Some(ErrorKind::Timeout | ErrorKind::Stalled));
        // A timeout that fires late is followed by a resend with the lenient client, which gives an
        // endless response up.
        let given_up = path.starts_with("/endless") && kind == Some(ErrorKind::Protocol);
        let ends_as_expected = end.fits(kind) || died || starved;
        let fits = given_up || (ends_as_expected && record.attempts >= end.attempts(RETRIES));
        (!fits).then(|| format!("{path}: {kind:?} after {} attempts", record.attempts))
    }

    /// Returns the maximum duration: an attempt at a silent server waits up to twice the stall
    /// timeout, for its head and for its body, while the other slots wait as well.
    pub fn longest(&self) -> Duration {
        let waits = |line: usize| {
            let end = behaviour(line).map(|fault| fault.end);
            let silent = matches!(
                end,
                Some(End::Transient(ErrorKind::Timeout | ErrorKind::Stalled))
            );
            if silent { 2 * (RETRIES + 1) } else { 0 }
        };
        let waits: u32 = (0..self.urls).map(waits).sum();
        let work = WORK * u32::try_from(self.urls).unwrap();
        STALL * waits / u32::try_from(CONCURRENCY).unwrap() + work + SLACK
    }
}
