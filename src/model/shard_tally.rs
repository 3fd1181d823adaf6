//! How large shards and hosts are, in memory that does not depend on the list.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroU32;

/// Hosts that are counted at the same time. With no more of them, all counts are exact; else a host
/// may be counted up to one line in so many too low.
const COUNTED_HOSTS: usize = if cfg!(test) { 8 } else { 1 << 14 };

/// The number of lines of each shard, and the largest hosts.
#[derive(Debug)]
pub(crate) struct ShardTally {
    lines: Vec<u64>,
    hosts: HostCounts,
}

impl ShardTally {
    /// Counts nothing yet.
    #[must_use]
    pub(crate) fn new(of: NonZeroU32) -> Self {
        Self {
            lines: vec![0; of.get() as usize],
            hosts: HostCounts::default(),
        }
    }

    /// Counts a line of a shard; `host` is that of its URL.
    pub(crate) fn add(&mut self, shard: u32, host: Option<&str>) {
        if let Some(lines) = self.lines.get_mut(shard as usize) {
            *lines += 1;
        }
        if let Some(host) = host {
            self.hosts.add(host);
        }
    }

    /// Returns the number of lines of each shard.
    #[must_use]
    pub(crate) fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// Returns the hosts with the most lines, the largest first.
    #[must_use]
    pub(crate) fn largest(&mut self, most: usize) -> Vec<(String, u64)> {
        self.hosts.largest(most)
    }

    /// Returns how many lines of any host may be missing in its count; 0 if all are exact.
    #[must_use]
    pub(crate) fn uncertainty(&self) -> u64 {
        self.hosts.missed
    }
}

/// Counts of the most frequent hosts (Misra and Gries 1982, with many counters reduced at once).
#[derive(Debug, Default)]
struct HostCounts {
    counts: HashMap<Box<str>, u64>,
    missed: u64,
    /// The host of the last lines, which are not in `counts` yet.
    run: String,
    run_length: u64,
}

impl HostCounts {
    fn add(&mut self, host: &str) {
        if self.run != host {
            self.end_run();
            self.run.push_str(host);
        }
        self.run_length += 1;
    }

    fn end_run(&mut self) {
        let length = std::mem::take(&mut self.run_length);
        match self.counts.get_mut(self.run.as_str()) {
            Some(count) => *count += length,
            None if length > 0 => {
                self.counts.insert(self.run.as_str().into(), length);
            }
            None => {}
        }
        self.run.clear();
        if self.counts.len() > 2 * COUNTED_HOSTS {
            self.reduce();
        }
    }

    /// Forgets the smaller half of the hosts: subtracts from all what the largest of these has.
    fn reduce(&mut self) {
        let mut counts: Vec<_> = self.counts.values().copied().collect();
        let (_, limit, _) = counts.select_nth_unstable_by_key(COUNTED_HOSTS, |n| Reverse(*n));
        let limit = *limit;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(limit);
            *count > 0
        });
        self.missed += limit;
    }

    fn largest(&mut self, most: usize) -> Vec<(String, u64)> {
        self.end_run();
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by_key(|(host, count)| (Reverse(**count), &**host));
        let largest = all.into_iter().take(most);
        largest
            .map(|(host, count)| (host.to_string(), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_hosts_are_counted_exactly() {
        let mut hosts = HostCounts::default();
        for n in 0..100 {
            hosts.add(["a", "b", "a", "c"][n % 4]);
        }
        assert_eq!(hosts.missed, 0);
        let expected = [("a", 50), ("b", 25)].map(|(host, n)| (host.to_owned(), n));
        assert_eq!(hosts.largest(2), expected);
    }

    proptest! {
        #[test]
        fn a_count_is_too_low_by_what_may_be_missed_at_most(lines in prop::collection::vec(0..60u32, 0..2000)) {
            let mut hosts = HostCounts::default();
            let mut exact = HashMap::new();
            for n in &lines {
                // Low numbers are frequent.
                let host = (n * n / 60).to_string();
                hosts.add(&host);
                *exact.entry(host).or_insert(0) += 1;
            }
            let found: HashMap<_, _> = hosts.largest(usize::MAX).into_iter().collect();
            prop_assert!(found.len() <= 2 * COUNTED_HOSTS);
            prop_assert!(hosts.missed <= lines.len() as u64 / COUNTED_HOSTS as u64);
            for (host, n) in exact {
                let counted = found.get(&host).copied().unwrap_or(0);
                prop_assert!(counted <= n && n <= counted + hosts.missed, "{host}: {counted} of {n}");
            }
        }
    }
}
