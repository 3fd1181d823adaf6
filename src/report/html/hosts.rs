//! Statistics per host, in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::{ErrorKind, Outcome, SettledJob, TraceOutcome};

use crate::report::fields::origin;

use super::latency::LatencyHistogram;

/// Maximum number of hosts with statistics of their own; later ones are counted together.
const MAX_HOSTS: usize = 2_000;

/// Statistics of one host.
#[derive(Debug)]
pub(super) struct HostStats {
    /// URLs fetched.
    pub fetched: u64,
    /// URLs failed.
    pub failed: u64,
    /// Requests, including redirects, retries and resends.
    pub requests: u64,
    /// Failures by kind.
    pub kinds: BTreeMap<ErrorKind, u64>,
    /// Attempts that failed with status 429 or 503.
    pub throttles: u64,
    /// Total time its URLs waited between attempts.
    pub waited: Duration,
    /// Decoded bytes.
    pub bytes: u64,
    /// Durations of the final attempts.
    pub latency: LatencyHistogram,
}

impl Default for HostStats {
    fn default() -> Self {
        Self {
            fetched: 0,
            failed: 0,
            requests: 0,
            kinds: BTreeMap::new(),
            throttles: 0,
            waited: Duration::ZERO,
            bytes: 0,
            // One digit: there may be 2,000 of these, and each takes some KiB.
            latency: LatencyHistogram::with_digits(1),
        }
    }
}

impl HostStats {
    fn add(&mut self, settled: &SettledJob) {
        match &settled.outcome {
            Outcome::Fetched(fetched) => {
                self.fetched += 1;
                self.bytes += fetched.saved.bytes;
            }
            Outcome::Failed(error) => {
                self.failed += 1;
                *self.kinds.entry(error.kind()).or_default() += 1;
            }
            Outcome::Skipped => {}
        }
        // The requests of a skipped URL are those of an earlier run.
        if !matches!(settled.outcome, Outcome::Skipped) {
            let record = &settled.record;
            self.requests += u64::from(record.attempts) + u64::from(record.resends);
        }
        for one in &settled.traces {
            let is_throttle = matches!(one.status, Some(429 | 503));
            let failed = matches!(one.outcome, TraceOutcome::Failed(_));
            self.throttles += u64::from(is_throttle && failed);
        }
        let pairs = settled.traces.iter().zip(settled.traces.iter().skip(1));
        for (one, next) in pairs {
            self.waited += next.ready.saturating_sub(one.end);
        }
        if let Some(last) = settled.traces.last() {
            self.latency.add(last.took());
        }
    }
}

/// Statistics of all hosts.
#[derive(Debug, Default)]
pub(super) struct HostStatsMap {
    known: HashMap<Box<str>, HostStats>,
    /// All hosts beyond [`MAX_HOSTS`].
    others: HostStats,
}

impl HostStatsMap {
    /// Adds a job to its host.
    pub(super) fn add(&mut self, settled: &SettledJob) {
        let origin = origin(&settled.record.url);
        if let Some(host) = self.known.get_mut(origin) {
            return host.add(settled);
        }
        if self.known.len() >= MAX_HOSTS {
            return self.others.add(settled);
        }
        let mut host = HostStats::default();
        host.add(settled);
        self.known.insert(origin.into(), host);
    }

    /// Returns the hosts, those with most failures first, and last the other hosts together, if
    /// any.
    pub(super) fn sorted(&self) -> Vec<(&str, &HostStats)> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .map(|(name, host)| (&**name, host))
            .collect();
        all.sort_by_key(|(name, host)| {
            let counts = (host.failed, host.requests);
            (std::cmp::Reverse(counts), *name)
        });
        if self.others.fetched + self.others.failed > 0 {
            all.push(("all other hosts", &self.others));
        }
        all
    }
}
