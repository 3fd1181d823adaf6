//! A bounded cache of lookup results. Pure: the clock is passed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::types::{HostName, LookupResult};

/// Maximum number of cached names: enough to keep 270 new names per second for
/// [`ADDRESS_TTL`]. A full cache with four addresses per name takes 9 MiB.
const MAX_NAMES: usize = 16_384;
/// How long addresses are cached. `getaddrinfo` does not report the TTL; Firefox and Chromium
/// assume one minute then.
const ADDRESS_TTL: Duration = Duration::from_secs(60);
/// How long "no such name" is cached: long enough for adjacent lines of a list, and short enough
/// not to be in the way of a rerun after the name was created.
const NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// How long a failed lookup is cached: long enough for requests made at the same moment, since the
/// failure may be gone in the next.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Lookup results by name.
#[derive(Debug, Default)]
pub(super) struct DnsCache {
    entries: HashMap<HostName, CacheEntry>,
    /// Names by the number of their entry, oldest first.
    by_age: BTreeMap<u64, HostName>,
    /// Numbers of the entries by the time at which they expire.
    by_end: BTreeSet<(Instant, u64)>,
    next_number: u64,
}

#[derive(Debug)]
struct CacheEntry {
    answer: LookupResult,
    /// When the entry expires.
    end: Instant,
    number: u64,
}

impl DnsCache {
    /// Returns the result for a name if it is cached and has not expired at `now`.
    pub(super) fn get(&self, host: &HostName, now: Instant) -> Option<&LookupResult> {
        let entry = self.entries.get(host)?;
        (now < entry.end).then_some(&entry.answer)
    }

    /// Stores a result obtained at `now`. Removes expired entries, and the oldest one if the cache
    /// is still full.
    pub(super) fn put(&mut self, host: HostName, answer: LookupResult, now: Instant) {
        self.remove(&host);
        self.remove_expired(now);
        if self.entries.len() >= MAX_NAMES {
            self.remove_oldest();
        }
        let entry = CacheEntry {
            end: now + time_to_live(&answer),
            number: self.next_number,
            answer,
        };
        self.next_number += 1;
        self.by_age.insert(entry.number, host.clone());
        self.by_end.insert((entry.end, entry.number));
        self.entries.insert(host, entry);
    }

    /// Amortized O(log n) per entry, since each is removed only once.
    fn remove_expired(&mut self, now: Instant) {
        while let Some(&(end, number)) = self.by_end.first()
            && end <= now
        {
            self.by_end.pop_first();
            if let Some(host) = self.by_age.remove(&number) {
                self.entries.remove(&host);
            }
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((number, host)) = self.by_age.pop_first()
            && let Some(entry) = self.entries.remove(&host)
        {
            self.by_end.remove(&(entry.end, number));
        }
    }

    fn remove(&mut self, host: &HostName) {
        if let Some(entry) = self.entries.remove(host) {
            self.by_age.remove(&entry.number);
            self.by_end.remove(&(entry.end, entry.number));
        }
    }
}

fn time_to_live(answer: &LookupResult) -> Duration {
    match answer {
        Ok(_) => ADDRESS_TTL,
        Err(failed) if failed.not_found => NEGATIVE_TTL,
        Err(_) => FAILURE_TTL,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::super::types::ResolveError;
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn host(number: usize) -> HostName {
        HostName::new(&format!("{number}.test"))
    }

    fn addrs() -> LookupResult {
        Ok(vec![
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ])
    }

    fn full(now: Instant) -> DnsCache {
        let mut cache = DnsCache::default();
        for number in 0..MAX_NAMES {
            cache.put(host(number), addrs(), now);
        }
        cache
    }

    fn assert_sound(cache: &DnsCache) {
        assert!(cache.entries.len() <= MAX_NAMES);
        assert_eq!(cache.by_age.len(), cache.entries.len());
        assert_eq!(cache.by_end.len(), cache.entries.len());
        for (number, host) in &cache.by_age {
            let entry = &cache.entries[host];
            assert_eq!(entry.number, *number);
            assert!(cache.by_end.contains(&(entry.end, *number)));
        }
    }

    #[test]
    fn each_kind_of_result_has_its_time_to_live() {
        let start = Instant::now();
        let cases = [
            (addrs(), 60),
            (Err(ResolveError::not_found("0.test")), 10),
            (Err(ResolveError::temporary("0.test")), 1),
        ];
        for (answer, seconds) in cases {
            let mut cache = DnsCache::default();
            cache.put(host(0), answer.clone(), start);
            let end = start + Duration::from_secs(seconds);
            assert_eq!(cache.get(&host(0), start), Some(&answer));
            assert_eq!(cache.get(&host(0), end - MOMENT), Some(&answer));
            assert_eq!(cache.get(&host(0), end), None, "{answer:?}");
        }
    }

    #[test]
    fn the_order_of_the_addresses_is_kept() {
        let now = Instant::now();
        let mut cache = DnsCache::default();
        cache.put(host(0), addrs(), now);
        for _ in 0..3 {
            assert_eq!(cache.get(&host(0), now), Some(&addrs()));
        }
    }

    #[test]
    fn case_makes_no_difference() {
        let now = Instant::now();
        let mut cache = DnsCache::default();
        cache.put(HostName::new("A.Test"), addrs(), now);
        assert!(cache.get(&HostName::new("a.tesT"), now).is_some());
        assert!(cache.get(&HostName::new("b.test"), now).is_none());
    }

    #[test]
    fn a_new_result_replaces_the_old_one() {
        let start = Instant::now();
        let mut cache = DnsCache::default();
        let failed: LookupResult = Err(ResolveError::temporary("0.test"));
        cache.put(host(0), failed, start);
        cache.put(host(0), addrs(), start + MOMENT);
        assert_sound(&cache);
        let later = start + FAILURE_TTL + MOMENT;
        cache.put(host(1), addrs(), later);
        assert_eq!(cache.get(&host(0), later), Some(&addrs()));
    }

    #[test]
    fn the_oldest_entry_is_removed_from_a_full_cache() {
        let now = Instant::now();
        let mut cache = full(now);
        // Storing a name again makes it the newest.
        cache.put(host(0), addrs(), now + MOMENT);
        cache.put(host(MAX_NAMES), addrs(), now + MOMENT);
        assert_sound(&cache);
        assert_eq!(cache.entries.len(), MAX_NAMES);
        assert!(cache.get(&host(0), now).is_some() && cache.get(&host(2), now).is_some());
        assert!(cache.get(&host(1), now).is_none());
    }

    #[test]
    fn expired_entries_are_removed_before_the_oldest() {
        let start = Instant::now();
        let mut cache = full(start);
        let young = host(MAX_NAMES - 1);
        let failed = Err(ResolveError::temporary(young.as_str()));
        cache.put(young.clone(), failed, start);
        let later = start + FAILURE_TTL;
        cache.put(host(MAX_NAMES), addrs(), later);
        assert_sound(&cache);
        assert!(!cache.entries.contains_key(&young));
        assert!(cache.get(&host(0), later).is_some());
    }

    #[test]
    fn storing_a_name_removes_all_expired_entries() {
        let start = Instant::now();
        let mut cache = full(start);
        cache.put(host(MAX_NAMES), addrs(), start + ADDRESS_TTL);
        assert_sound(&cache);
        assert_eq!(cache.entries.len(), 1);
    }
}
