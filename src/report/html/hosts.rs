//! What became of each host.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::{ErrorKind, Outcome, SettledJob, TraceOutcome};

use crate::report::fields::origin;

use super::latency::LatencyHistogram;

/// Hosts that are told apart; those that come later are counted together.
const MAX_HOSTS: usize = 2_000;

/// What became of one host.
#[derive(Debug)]
pub struct HostStats {
    /// URLs fetched.
    pub fetched: u64,
    /// URLs failed.
    pub failed: u64,
    /// Requests, redirects, tries after a failed one and what was sent again included.
    pub requests: u64,
    /// Failures by kind.
    pub kinds: BTreeMap<ErrorKind, u64>,
    /// Answers that said "later": 429 and 503.
    pub refusals: u64,
    /// Time its URLs waited between their attempts, all together.
    pub waited: Duration,
    /// Decoded bytes.
    pub bytes: u64,
    /// How long the deciding attempts took.
    pub latency: LatencyHistogram,
}

impl Default for HostStats {
    fn default() -> Self {
        Self {
            fetched: 0,
            failed: 0,
            requests: 0,
            kinds: BTreeMap::new(),
            refusals: 0,
            waited: Duration::ZERO,
            bytes: 0,
            // Two thousand of them: some KiB each.
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
        let record = &settled.record;
        self.requests += u64::from(record.attempts) + u64::from(record.resends);
        for one in &settled.tries {
            let is_refusal = matches!(one.status, Some(429 | 503));
            let failed = matches!(one.outcome, TraceOutcome::Failed(_));
            self.refusals += u64::from(is_refusal && failed);
        }
        let pairs = settled.tries.iter().zip(settled.tries.iter().skip(1));
        for (one, next) in pairs {
            self.waited += next.ready.saturating_sub(one.end);
        }
        if let Some(last) = settled.tries.last() {
            self.latency.add(last.took());
        }
    }
}

/// What became of each host.
#[derive(Debug, Default)]
pub struct HostStatsMap {
    known: HashMap<Box<str>, HostStats>,
    /// Those for which there was no room.
    others: HostStats,
}

impl HostStatsMap {
    /// Counts a job for the host of its URL.
    pub fn add(&mut self, settled: &SettledJob) {
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

    /// Each host, those with most failures first; and the rest together, if there is one.
    pub fn sorted(&self) -> Vec<(&str, &HostStats)> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .map(|(name, host)| (&**name, host))
            .collect();
        all.sort_by_key(|(name, host)| {
            let more = (host.failed, host.requests);
            (std::cmp::Reverse(more), *name)
        });
        if self.others.fetched + self.others.failed > 0 {
            all.push(("all other hosts", &self.others));
        }
        all
    }
}
