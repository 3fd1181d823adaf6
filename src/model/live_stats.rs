//! Shared counters with the current state of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{ErrorKind, HostKey, MAX_STRAGGLERS, Outcome, Straggler, StragglerPhase, WireState};

/// The current state of a run. Workers update the counters and the progress display reads them,
/// so that progress costs one relaxed atomic addition per event instead of a message.
#[derive(Debug, Default)]
pub(crate) struct LiveStats {
    listed: AtomicU64,
    other_lines: AtomicU64,
    list_ended: AtomicBool,
    list_bytes_read: AtomicU64,
    list_bytes_total: AtomicU64,
    fetched: AtomicU64,
    skipped: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
    in_flight: AtomicU64,
    parked: AtomicU64,
    hosts: AtomicUsize,
    running: AtomicUsize,
    retries: AtomicU64,
    robots_files: AtomicU64,
    bytes: AtomicU64,
    /// 0: none.
    limit_rate: AtomicU64,
    busy_us: AtomicU64,
    /// Set only if a display needs it: it costs a lock for every attempt.
    watched: OnceLock<Mutex<WatchState>>,
}

/// Requests in flight and waiting jobs, by URL, and hosts on hold.
#[derive(Debug, Default)]
struct WatchState {
    running: RequestSlots,
    waiting: Vec<Straggler>,
    /// Hosts on hold, with the end of the hold.
    held: BTreeMap<HostKey, Instant>,
}

/// The requests in flight. Slots are reused with the memory of their URLs, because every attempt
/// takes one.
#[derive(Debug, Default)]
struct RequestSlots {
    slots: Vec<RequestSlot>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct RequestSlot {
    url: String,
    /// `None` while the slot is free.
    wire: Option<Arc<WireState>>,
}

/// Maximum bytes that a free slot keeps for the next URL.
const MAX_FREE_URL_BYTES: usize = 256;

impl RequestSlots {
    fn add(&mut self, url: &str, wire: &Arc<WireState>) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(RequestSlot::default());
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(number) {
            slot.url.push_str(url);
            slot.wire = Some(Arc::clone(wire));
        }
        number
    }

    fn remove(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.url.clear();
            slot.url.shrink_to(MAX_FREE_URL_BYTES);
            slot.wire = None;
            self.free.push(number);
        }
    }

    /// Returns the requests that started at `start` or earlier, the oldest first.
    fn started_until(&self, start: Option<Instant>) -> Vec<(&str, &WireState)> {
        let used = self.slots.iter().filter_map(|slot| {
            let wire = slot.wire.as_deref()?;
            (Some(wire.started()) <= start).then_some((slot.url.as_str(), wire))
        });
        let mut found: Vec<_> = used.collect();
        found.sort_by_key(|(_, wire)| wire.started());
        found
    }
}

/// The hosts currently on hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeldHosts {
    /// The hosts whose holds end last, the latest first.
    pub longest: Vec<(HostKey, Instant)>,
    /// Number of all hosts on hold.
    pub count: usize,
}

/// Minimum age of a request in flight before it is listed as slow.
const MIN_NOTABLE_AGE: Duration = Duration::from_secs(1);
/// Maximum number of slow requests listed before the end of the run.
const MAX_SLOW_REQUESTS: usize = 3;
/// Maximum number of hosts on hold that are remembered; further ones are not shown.
const MAX_HELD_HOSTS: usize = 10_000;

impl LiveStats {
    /// Counts an origin whose robots.txt was read, or cannot be.
    pub(crate) fn count_robots_file(&self) {
        self.robots_files.fetch_add(1, Relaxed);
    }

    /// Returns the number of origins whose robots.txt was asked for.
    #[must_use]
    pub(crate) fn robots_files(&self) -> u64 {
        self.robots_files.load(Relaxed)
    }

    /// Adds `jobs` entries read from the list.
    pub(crate) fn add_listed(&self, jobs: u64) {
        self.listed.fetch_add(jobs, Relaxed);
    }

    /// Adds a line of the list that is not input of this run, but of another shard.
    pub(crate) fn add_other_line(&self) {
        self.other_lines.fetch_add(1, Relaxed);
    }

    /// Returns the number of lines of the list that belong to other shards.
    #[must_use]
    pub(crate) fn other_lines(&self) -> u64 {
        self.other_lines.load(Relaxed)
    }

    /// Adds `bytes` read from the list.
    pub(crate) fn add_list_bytes(&self, bytes: u64) {
        self.list_bytes_read.fetch_add(bytes, Relaxed);
    }

    /// Sets the length of the list in bytes. Not called for a pipe, whose length is unknown.
    pub(crate) fn set_list_length(&self, bytes: u64) {
        self.list_bytes_total.store(bytes, Relaxed);
    }

    /// Marks that the list was read to its end.
    pub(crate) fn mark_list_ended(&self) {
        self.list_ended.store(true, Relaxed);
    }

    /// Whether the length of the list in bytes is known.
    #[must_use]
    pub(crate) fn is_list_length_known(&self) -> bool {
        self.list_bytes_total.load(Relaxed) > 0
    }

    /// Whether the list was read to its end.
    #[must_use]
    pub(crate) fn has_list_ended(&self) -> bool {
        self.list_ended.load(Relaxed)
    }

    /// Returns the number of jobs read so far.
    #[must_use]
    pub(crate) fn listed(&self) -> u64 {
        self.listed.load(Relaxed)
    }

    /// Returns the number of jobs in the list: exact once the list has ended; before that an
    /// estimate from the bytes read so far, or `None` for a pipe.
    #[must_use]
    pub(crate) fn total(&self) -> Option<u64> {
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

    /// Enables tracking of requests, waiting jobs and held hosts by name. Must be called before the
    /// first attempt.
    pub(crate) fn enable_watch(&self) {
        self.watched.get_or_init(Mutex::default);
    }

    fn watched(&self) -> Option<MutexGuard<'_, WatchState>> {
        let watched = self.watched.get()?;
        Some(watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the waiting jobs. Called once few are left and the list has ended.
    pub(crate) fn set_waiting(&self, waiting: impl FnOnce() -> Vec<Straggler>) {
        if let Some(mut watched) = self.watched() {
            watched.waiting = waiting();
        }
    }

    /// Returns the oldest requests in flight, if they are at least a second old; near the end of
    /// the run, also the jobs that are waiting.
    #[must_use]
    pub(crate) fn stragglers(&self, now: Instant) -> Vec<Straggler> {
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
        let slow = watched
            .running
            .started_until(now.checked_sub(MIN_NOTABLE_AGE));
        let slow = slow.into_iter().map(|(url, wire)| Straggler {
            url: url.to_owned(),
            phase: StragglerPhase::of(wire, now),
        });
        let waiting = watched.waiting.iter().filter(|_| is_tail).cloned();
        slow.chain(waiting).take(most).collect()
    }

    /// Puts a host on hold until `until`.
    pub(crate) fn hold_host(&self, host: &HostKey, until: Instant) {
        if let Some(mut watched) = self.watched() {
            let held = &mut watched.held;
            if held.len() < MAX_HELD_HOSTS || held.contains_key(host) {
                held.insert(host.clone(), until);
            }
        }
    }

    /// Ends the hold of a host.
    pub(crate) fn release_host(&self, host: &HostKey) {
        if let Some(mut watched) = self.watched() {
            watched.held.remove(host);
        }
    }

    /// Returns the hosts on hold, up to `most` of them by name.
    #[must_use]
    pub(crate) fn held_hosts(&self, now: Instant, most: usize) -> HeldHosts {
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

    /// Counts an attempt that starts. Pass the returned number to
    /// [`end_request`](Self::end_request).
    #[must_use]
    pub(crate) fn begin_request(&self, url: &str, wire: &Arc<WireState>) -> Option<usize> {
        self.in_flight.fetch_add(1, Relaxed);
        Some(self.watched()?.running.add(url, wire))
    }

    /// Counts a further request for the body of an attempt, which has no name of its own. End it with
    /// [`end_request`](Self::end_request).
    pub(crate) fn begin_segment(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts the end of an attempt, after `busy`.
    pub(crate) fn end_request(&self, number: Option<usize>, busy: Duration) {
        if let (Some(number), Some(mut watched)) = (number, self.watched()) {
            watched.running.remove(number);
        }
        self.in_flight.fetch_sub(1, Relaxed);
        let us = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Relaxed);
    }

    /// Adds received body bytes, after decoding.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Sets the limit on bytes of bodies per second.
    pub(crate) fn set_limit_rate(&self, limit: Option<u64>) {
        let limit = limit.filter(|limit| *limit != u64::MAX);
        self.limit_rate.store(limit.unwrap_or(0), Relaxed);
    }

    /// Returns the limit on bytes of bodies per second, if there is one.
    #[must_use]
    pub(crate) fn limit_rate(&self) -> Option<u64> {
        Some(self.limit_rate.load(Relaxed)).filter(|limit| *limit > 0)
    }

    /// Counts a settled job.
    pub(crate) fn count_outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Fetched(_) => count_one(&self.fetched),
            Outcome::Skipped => count_one(&self.skipped),
            Outcome::Failed(error) => {
                let of_kind = self.failed.get(error.kind() as usize);
                of_kind.into_iter().for_each(count_one);
            }
        }
    }

    /// Counts a retry: an attempt after a failed one.
    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Sets the number of parked attempts.
    pub(crate) fn set_parked(&self, parked: usize) {
        self.parked.store(parked as u64, Relaxed);
    }

    /// Sets the number of hosts that have been contacted and have jobs left.
    pub(crate) fn set_active_hosts(&self, hosts: usize) {
        self.hosts.store(hosts, Relaxed);
    }

    /// Sets the number of jobs that have a slot.
    pub(crate) fn set_running(&self, jobs: usize) {
        self.running.store(jobs, Relaxed);
    }

    /// Returns roughly how many connections the run can use: the number of jobs that have a slot,
    /// or of active hosts if that is more. (Fewer requests are in flight, because some jobs are
    /// between two requests and need their connections right after that.)
    #[must_use]
    pub(crate) fn useful_connections(&self) -> usize {
        self.hosts.load(Relaxed).max(self.running.load(Relaxed))
    }

    /// Returns the number of parked attempts.
    #[must_use]
    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// Returns the number of requests in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Returns the number of jobs fetched so far.
    #[must_use]
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Relaxed)
    }

    /// Returns the number of jobs failed so far, of all kinds.
    #[must_use]
    pub(crate) fn failed(&self) -> u64 {
        self.failed.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Returns the number of jobs settled so far.
    #[must_use]
    pub(crate) fn settled(&self) -> u64 {
        self.fetched() + self.failed() + self.skipped.load(Relaxed)
    }

    /// Returns the failures by kind, without kinds that did not occur.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (ErrorKind, u64)> + '_ {
        ErrorKind::ALL
            .iter()
            .zip(&self.failed)
            .map(|(kind, count)| (*kind, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    /// Returns the decoded body bytes received so far, including those of failed attempts.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Returns the number of retries; redirect hops do not count.
    #[must_use]
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Returns the total duration of all attempts.
    #[must_use]
    pub(crate) fn busy_time(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Relaxed))
    }
}

fn count_one(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_requests_are_listed_the_oldest_first() {
        let live = LiveStats::default();
        live.enable_watch();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let begin = |url: &str, seconds| {
            let wire = Arc::new(WireState::new(after(seconds)));
            live.begin_request(url, &wire)
        };
        let first = begin("http://a.test/a-long-name", 0);
        let _ = begin("http://b.test/", 1);
        live.end_request(first, Duration::ZERO);
        let reused = begin("http://c.test/", 3);
        assert_eq!(reused, first);
        let _ = begin("http://d.test/", 10);
        let slow = live.stragglers(after(10));
        let urls: Vec<_> = slow.iter().map(|slow| slow.url.as_str()).collect();
        assert_eq!(urls, ["http://b.test/", "http://c.test/"]);
        assert_eq!(live.in_flight(), 3);
    }
}
