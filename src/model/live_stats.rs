//! Shared counters: how the run stands right now.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{ErrorKind, HostKey, MAX_STRAGGLERS, Outcome, Straggler, StragglerPhase, WireState};

/// How the run stands right now. Workers count, the progress display reads: drawing
/// costs one relaxed addition per event, not a message.
#[derive(Debug, Default)]
pub struct LiveStats {
    listed: AtomicU64,
    list_ended: AtomicBool,
    list_bytes_read: AtomicU64,
    list_bytes_total: AtomicU64,
    fetched: AtomicU64,
    skipped: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
    in_flight: AtomicU64,
    parked: AtomicU64,
    hosts: AtomicUsize,
    retries: AtomicU64,
    bytes: AtomicU64,
    busy_us: AtomicU64,
    /// There only when somebody looks at it: it costs a lock for every attempt.
    watched: OnceLock<Mutex<WatchState>>,
}

/// What is under way, and what waits, by name.
#[derive(Debug, Default)]
struct WatchState {
    running: BTreeMap<u64, (String, Arc<WireState>)>,
    next: u64,
    waiting: Vec<Straggler>,
    /// Hosts that are asked nothing until then.
    held: BTreeMap<HostKey, Instant>,
}

/// Hosts that are not asked for now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldHosts {
    /// Those that wait longest, the last one first.
    pub longest: Vec<(HostKey, Instant)>,
    /// All of them.
    pub count: usize,
}

/// A request that has been under way for less is not worth naming.
const MIN_NOTABLE_AGE: Duration = Duration::from_secs(1);
/// Requests under way that are named while many are.
const MAX_SLOW_REQUESTS: usize = 3;
/// Hosts kept that are held. Those that come later are not named.
const MAX_HELD_HOSTS: usize = 10_000;

impl LiveStats {
    /// `jobs` lines more were read from the list.
    pub fn add_listed(&self, jobs: u64) {
        self.listed.fetch_add(jobs, Relaxed);
    }

    /// `bytes` more of the list were read.
    pub fn add_list_bytes(&self, bytes: u64) {
        self.list_bytes_read.fetch_add(bytes, Relaxed);
    }

    /// The list is this long in bytes. Not called for a pipe, whose length nobody knows.
    pub fn set_list_length(&self, bytes: u64) {
        self.list_bytes_total.store(bytes, Relaxed);
    }

    /// The list was read to its end.
    pub fn mark_list_ended(&self) {
        self.list_ended.store(true, Relaxed);
    }

    /// Whether the length of the list is known, so that it has an end.
    #[must_use]
    pub fn is_list_length_known(&self) -> bool {
        self.list_bytes_total.load(Relaxed) > 0
    }

    /// Whether the list was read to its end.
    #[must_use]
    pub fn has_list_ended(&self) -> bool {
        self.list_ended.load(Relaxed)
    }

    /// Jobs read so far.
    #[must_use]
    pub fn listed(&self) -> u64 {
        self.listed.load(Relaxed)
    }

    /// Jobs in all: exact once the list has ended, before that estimated from the part
    /// of the bytes read so far, `None` for a pipe that still runs.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let listed = self.listed();
        if self.has_list_ended() {
            return Some(listed);
        }
        let total = self.list_bytes_total.load(Relaxed);
        let read = self.list_bytes_read.load(Relaxed);
        if total == 0 || read == 0 {
            return None;
        }
        let estimate = u128::from(listed) * u128::from(total) / u128::from(read);
        Some(u64::try_from(estimate).unwrap_or(u64::MAX).max(listed))
    }

    /// Somebody wants to know the names of what runs and waits. Said before the first attempt.
    pub fn enable_watch(&self) {
        self.watched.get_or_init(Mutex::default);
    }

    fn watched(&self) -> Option<MutexGuard<'_, WatchState>> {
        let watched = self.watched.get()?;
        Some(watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that wait, told when they are few and the list has ended.
    pub fn set_waiting(&self, waiting: impl FnOnce() -> Vec<Straggler>) {
        if let Some(mut watched) = self.watched() {
            watched.waiting = waiting();
        }
    }

    /// The requests that have been under way for longest, if that is a second; and once little
    /// is left, all that keeps the run from ending.
    #[must_use]
    pub fn stragglers(&self, now: Instant) -> Vec<Straggler> {
        let unsettled = self.listed().saturating_sub(self.settled());
        let is_tail = self.has_list_ended() && unsettled <= MAX_STRAGGLERS as u64;
        let Some(watched) = self.watched() else {
            return Vec::new();
        };
        let most = if is_tail {
            MAX_STRAGGLERS
        } else {
            MAX_SLOW_REQUESTS
        };
        let oldest_first = watched.running.values().map_while(|(url, wire)| {
            let lasts = now.saturating_duration_since(wire.started());
            (lasts >= MIN_NOTABLE_AGE).then(|| Straggler {
                url: url.clone(),
                phase: StragglerPhase::of(wire, now),
            })
        });
        let waiting = watched.waiting.iter().filter(|_| is_tail).cloned();
        oldest_first.chain(waiting).take(most).collect()
    }

    /// A host is asked nothing until then.
    pub fn hold_host(&self, host: &HostKey, until: Instant) {
        if let Some(mut watched) = self.watched() {
            let held = &mut watched.held;
            if held.len() < MAX_HELD_HOSTS || held.contains_key(host) {
                held.insert(host.clone(), until);
            }
        }
    }

    /// A host waits no longer.
    pub fn release_host(&self, host: &HostKey) {
        if let Some(mut watched) = self.watched() {
            watched.held.remove(host);
        }
    }

    /// The hosts that are not asked for now, up to `most` of them by name.
    #[must_use]
    pub fn held_hosts(&self, now: Instant, most: usize) -> HeldHosts {
        let Some(mut watched) = self.watched() else {
            return HeldHosts::default();
        };
        watched.held.retain(|_, until| *until > now);
        let count = watched.held.len();
        let mut longest: Vec<_> = watched.held.iter().collect();
        longest.sort_by_key(|(_, until)| std::cmp::Reverse(**until));
        longest.truncate(most);
        let longest = longest
            .into_iter()
            .map(|(host, until)| (host.clone(), *until));
        HeldHosts {
            longest: longest.collect(),
            count,
        }
    }

    /// An attempt starts. Its end wants the number that this gives.
    #[must_use]
    pub fn begin_request(&self, url: &str, wire: &Arc<WireState>) -> u64 {
        self.in_flight.fetch_add(1, Relaxed);
        let Some(mut watched) = self.watched() else {
            return 0;
        };
        watched.next += 1;
        let number = watched.next;
        let running = (url.to_owned(), Arc::clone(wire));
        watched.running.insert(number, running);
        number
    }

    /// The attempt of this number ended after `busy`.
    pub fn end_request(&self, number: u64, busy: Duration) {
        if let Some(mut watched) = self.watched() {
            watched.running.remove(&number);
        }
        self.in_flight.fetch_sub(1, Relaxed);
        let us = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Relaxed);
    }

    /// Bytes of bodies came.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// A job reached its end.
    pub fn count_outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Fetched(_) => count_one(&self.fetched),
            Outcome::Skipped => count_one(&self.skipped),
            Outcome::Failed(error) => {
                let of_kind = self.failed.get(error.kind() as usize);
                of_kind.into_iter().for_each(count_one);
            }
        }
    }

    /// An attempt starts after one that failed.
    pub fn count_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// So many attempts are parked now.
    pub fn set_parked(&self, parked: usize) {
        self.parked.store(parked as u64, Relaxed);
    }

    /// So many hosts have been begun and have something left to be fetched.
    pub fn set_active_hosts(&self, hosts: usize) {
        self.hosts.store(hosts, Relaxed);
    }

    /// Connections that are of use, about: one for each request, and for each host that has been
    /// begun and has something left.
    #[must_use]
    pub fn useful_connections(&self) -> usize {
        let requests = usize::try_from(self.in_flight()).unwrap_or(usize::MAX);
        self.hosts.load(Relaxed).max(requests)
    }

    /// Attempts that wait for their time.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// Requests under way: those that run, not those that wait.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Jobs fetched so far.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Relaxed)
    }

    /// Jobs failed so far, all kinds together.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Jobs that reached their end so far.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.fetched() + self.failed() + self.skipped.load(Relaxed)
    }

    /// Failures by kind, the kinds that did not happen left out.
    pub fn failures(&self) -> impl Iterator<Item = (ErrorKind, u64)> + '_ {
        ErrorKind::ALL
            .iter()
            .zip(&self.failed)
            .map(|(kind, count)| (*kind, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    /// Decoded bytes of bodies so far, those of failed attempts included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Attempts after a failed one; redirect hops are none.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Time all attempts took together.
    #[must_use]
    pub fn busy_time(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Relaxed))
    }
}

fn count_one(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}
