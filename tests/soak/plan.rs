//! A list of every behaviour, again and again, and what has to come of it.

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
/// Time of a processor that a URL may cost, its server and an unoptimised program included: the
/// endless ones send megabytes.
const WORK: Duration = Duration::from_millis(20);
/// For the start and the end.
const SLACK: Duration = Duration::from_secs(30);

/// A list and its server.
#[derive(Clone)]
pub struct Plan {
    list: Arc<TempPath>,
    server: String,
    pub urls: usize,
}

/// Floods come only every so many turns: an unoptimised program takes most of a second for some.
const FLOODS: usize = 16;

/// What stands in this line of a list; between two behaviours there is a good page.
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

    /// How many are fetched in the end.
    pub fn good(&self) -> u64 {
        let is_good = |line: &usize| {
            behaviour(*line)
                .is_none_or(|fault| matches!(fault.end, End::Fetched(_) | End::Elsewhere))
        };
        (0..self.urls).filter(is_good).count() as u64
    }

    /// What is wrong with a record.
    pub fn problem(&self, record: &Record) -> Option<String> {
        let path = record.url.strip_prefix(&self.server)?;
        let kind = record.error.as_ref().map(|error| error.kind);
        let end = faults::named(path).map_or(End::Fetched(0), |fault| fault.end);
        // A connection that was left to the next request may die under any of them.
        let died = matches!(end, End::Transient(_)) && kind == Some(ErrorKind::Reset);
        // What never ends comes at a pace, and on busy processors at a slower one.
        let starved = path.starts_with("/endless")
            && matches!(kind, Some(ErrorKind::Timeout | ErrorKind::Stalled));
        let fits = (end.fits(kind) || died || starved) && record.attempts >= end.attempts(RETRIES);
        (!fits).then(|| format!("{path}: {kind:?} after {} attempts", record.attempts))
    }

    /// The longest that it may take: every attempt that waits for a silent server waits twice as
    /// long as it may, for its head and its body, and so many wait at the same time.
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
