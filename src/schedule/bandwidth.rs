//! Limits the bytes of bodies per second, over all hosts and per host. [`ByteAccount`] is the rule,
//! and pure; [`ByteMeter`] waits.
//!
//! Only the reading of bodies is delayed: then the flow control of TCP and HTTP/2 slows down the
//! server. Bodies take small grants in the order in which they ask, so that all get the same share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{HostLimits, ScheduleOptions};
use crate::model::{HostKey, deadline_after, now};

/// A grant takes at most this part of a second at the limit.
const MIN_GRANTS_PER_SECOND: u64 = 50;
/// Grants are small so that bodies in large chunks get no more than others: at most 16 KiB, the size
/// of TLS records and HTTP/2 frames.
const GRANT_BYTES: u64 = 16 << 10;
/// They are larger at high limits, because each takes a switch between tasks.
const MAX_GRANTS_PER_SECOND: u64 = 8192;
/// Time of which the bytes are made up for: timers are accurate to a millisecond, and a thread may be
/// busy. With a grant of twice the usual size, it bounds a burst to 100 ms.
const MAX_CATCH_UP: Duration = Duration::from_millis(50);
/// Number of hosts from which on those are forgotten that are not in use.
const MIN_HOSTS_TO_SWEEP: usize = 64;

/// The bytes taken at a limit, as the time until which they are paid for. It has no drift: nothing is
/// rounded away.
#[derive(Debug, Default)]
struct ByteAccount {
    paid_until: Option<Instant>,
    /// What does not fill a nanosecond yet, in bytes per `rate` nanoseconds.
    carry: u64,
}

impl ByteAccount {
    /// Returns when the next bytes may be taken, if that is later than now.
    fn next_grant(&self, now: Instant) -> Option<Instant> {
        self.paid_until.filter(|at| *at > now)
    }

    /// Records that `bytes` are taken at `rate` bytes per second.
    fn charge(&mut self, bytes: u64, rate: u64, now: Instant) {
        let earliest = now.checked_sub(MAX_CATCH_UP).unwrap_or(now);
        let from = self.paid_until.map_or(now, |at| at.max(earliest));
        let rate = u128::from(rate.max(1));
        let cost = u128::from(bytes) * 1_000_000_000 + u128::from(self.carry);
        let time = u64::try_from(cost / rate).unwrap_or(u64::MAX);
        self.carry = u64::try_from(cost % rate).unwrap_or_default();
        self.paid_until = Some(deadline_after(from, Duration::from_nanos(time)));
    }
}

/// Returns the usual size of a grant at `rate` bytes per second.
fn largest_grant(rate: u64) -> u64 {
    let small = GRANT_BYTES.max(rate / MAX_GRANTS_PER_SECOND);
    small.min(rate / MIN_GRANTS_PER_SECOND).max(1)
}

/// A limit that bodies share, in bytes per second. Those that wait are served in the order in which
/// they came: the first one waits for the account, the others for its lock.
#[derive(Debug)]
struct ByteMeter {
    /// [`u64::MAX`]: no limit.
    rate: AtomicU64,
    account: Mutex<ByteAccount>,
    waiting: AtomicUsize,
}

impl ByteMeter {
    fn new(rate: Option<u64>) -> Self {
        Self {
            rate: AtomicU64::new(rate.unwrap_or(u64::MAX)),
            account: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    fn set_rate(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns the limit, if there is one.
    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Relaxed)).filter(|rate| *rate != u64::MAX)
    }

    /// Returns the usual size of a grant.
    fn grant(&self) -> u64 {
        self.rate().map_or(u64::MAX, largest_grant)
    }

    /// Waits until it is the turn of these bytes, and charges them.
    async fn pay(&self, bytes: u64) {
        if self.rate().is_none() {
            return;
        }
        let _waiting = CountedWait::new(&self.waiting);
        let mut account = self.account.lock().await;
        if let Some(at) = account.next_grant(now()) {
            tokio::time::sleep_until(at.into()).await;
        }
        // The limit may have changed meanwhile.
        if let Some(rate) = self.rate() {
            account.charge(bytes, rate, now());
        }
    }

    fn has_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Whether it would limit the next body of its host.
    fn is_in_use(self: &Arc<Self>, now: Instant) -> bool {
        let account = self.account.try_lock();
        Arc::strong_count(self) > 1 || account.map_or(true, |it| it.next_grant(now).is_some())
    }
}

/// Counts a body that waits until dropped.
struct CountedWait<'a>(&'a AtomicUsize);

impl<'a> CountedWait<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for CountedWait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The limits on bytes of a run, shared by all its threads.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    total: ByteMeter,
    hosts: StdMutex<HostMeters>,
    /// Increases when the limits change; 0 as long as no host has one.
    version: AtomicU64,
}

/// The meters of the hosts that have a limit.
#[derive(Debug, Default)]
struct HostMeters {
    rate: Option<u64>,
    limits: Arc<HostLimits>,
    meters: HashMap<HostKey, Arc<ByteMeter>>,
    sweep_at: usize,
}

impl HostMeters {
    fn rate_of(&self, host: &HostKey) -> Option<u64> {
        let limit = self.limits.get(host.host_name());
        limit.and_then(|limit| limit.limit_rate).or(self.rate)
    }

    fn meter_of(&mut self, host: &str) -> Option<Arc<ByteMeter>> {
        if let Some(meter) = self.meters.get(host) {
            return Some(Arc::clone(meter));
        }
        let host = HostKey::from(host);
        let rate = self.rate_of(&host)?;
        if self.meters.len() >= self.sweep_at.max(MIN_HOSTS_TO_SWEEP) {
            let now = now();
            self.meters.retain(|_, meter| meter.is_in_use(now));
            self.sweep_at = self.meters.len() * 2;
        }
        let meter = Arc::new(ByteMeter::new(Some(rate)));
        self.meters.insert(host, Arc::clone(&meter));
        Some(meter)
    }
}

impl Bandwidth {
    /// Creates the limits of a run.
    #[must_use]
    pub(crate) fn new(options: &ScheduleOptions) -> Self {
        let bandwidth = Self {
            total: ByteMeter::new(None),
            hosts: StdMutex::default(),
            version: AtomicU64::new(0),
        };
        bandwidth.set_limits(options);
        bandwidth
    }

    /// Changes the limits, also of the bodies that are being received.
    pub(crate) fn set_limits(&self, options: &ScheduleOptions) {
        self.total.set_rate(options.limit_rate);
        let mut hosts = self.lock();
        hosts.rate = options.host_limit_rate;
        hosts.limits = Arc::clone(&options.hosts);
        for (host, meter) in &hosts.meters {
            meter.set_rate(hosts.rate_of(host));
        }
        let mut single = hosts.limits.values();
        let is_limited = hosts.rate.is_some() || single.any(|limit| limit.limit_rate.is_some());
        if is_limited || !hosts.meters.is_empty() {
            self.version.fetch_add(1, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HostMeters> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pace of a body from the host with this key.
    #[must_use]
    pub(crate) fn body_pace<'a>(&'a self, host: &'a str) -> BodyPace<'a> {
        BodyPace {
            bandwidth: self,
            host,
            meter: None,
            version: 0,
            unused: 0,
        }
    }
}

/// The pace at which the bytes of one body are taken.
#[derive(Debug)]
pub(crate) struct BodyPace<'a> {
    bandwidth: &'a Bandwidth,
    host: &'a str,
    /// The meter of the host as of `version`.
    meter: Option<Arc<ByteMeter>>,
    version: u64,
    /// What its last chunks were too short for: the next grant is larger by as much. Else a body would
    /// get less for each end of a chunk.
    unused: u64,
}

impl BodyPace<'_> {
    /// Waits until some of `bytes` may be taken, and returns how many: at least 1.
    pub(crate) async fn take(&mut self, bytes: usize) -> usize {
        let version = self.bandwidth.version.load(Relaxed);
        if version != self.version {
            self.meter = self.bandwidth.lock().meter_of(self.host);
            self.version = version;
        }
        let (total, host) = (&self.bandwidth.total, self.meter.as_deref());
        if bytes == 0 || (total.rate().is_none() && host.is_none()) {
            return bytes;
        }
        let usual = host.map_or(u64::MAX, ByteMeter::grant).min(total.grant());
        let most = usual.saturating_add(self.unused.min(usual));
        let granted = most.min(bytes as u64);
        self.unused = most - granted;
        // Boxed, because the state of a wait would enlarge that of every worker.
        Box::pin(async {
            if let Some(host) = host {
                host.pay(granted).await;
            }
            total.pay(granted).await;
        })
        .await;
        usize::try_from(granted).unwrap_or(bytes)
    }

    /// Waits until all of `bytes`, which were received already, are paid for.
    pub(crate) async fn take_all(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            left = left.saturating_sub(self.take(left).await);
        }
    }

    /// Whether a body waits for the limit of this host or of all.
    #[must_use]
    pub(crate) fn has_waiting(&self) -> bool {
        let host = self.meter.as_ref();
        self.bandwidth.total.has_waiting() || host.is_some_and(|host| host.has_waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::HostLimit;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    proptest! {
        /// Whatever the delays and the sizes: the rate is met, and no window has more than the bytes
        /// of the window and of 100 ms.
        #[test]
        fn the_rate_is_met_and_no_burst_exceeds_100_ms(
            rate in 1_u64..2 << 30,
            late in prop::collection::vec((0_u64..5, 1_u64..500_000), 100..300),
        ) {
            let mut account = ByteAccount::default();
            let start = Instant::now();
            let (mut now, mut taken) = (start, Vec::new());
            for (late, bytes) in late {
                now = account.next_grant(now).unwrap_or(now) + MS * u32::try_from(late).unwrap();
                let bytes = bytes.min(largest_grant(rate) * 2);
                account.charge(bytes, rate, now);
                taken.push((now, bytes));
            }
            let all: u64 = taken.iter().map(|(_, bytes)| bytes).sum();
            let ideal = Duration::from_secs_f64(all as f64 / rate as f64);
            // Late as they come, they are made up for: all that remains is the last one.
            let end = account.paid_until.unwrap();
            prop_assert!(end - start >= ideal - Duration::from_nanos(1));
            for (n, (first, _)) in taken.iter().enumerate() {
                let mut bytes = 0;
                for (last, more) in &taken[n..] {
                    bytes += more;
                    let window = (*last - *first).as_secs_f64() + 0.1;
                    prop_assert!(bytes as f64 <= rate as f64 * window + 2.0, "{bytes} in {window}");
                }
            }
        }

        /// What does not fill a nanosecond is not lost.
        #[test]
        fn small_grants_cost_as_much_as_a_large_one(rate in 1_u64..4 << 30, bytes in 1_u64..2000) {
            let now = Instant::now();
            let (mut small, mut large) = (ByteAccount::default(), ByteAccount::default());
            for _ in 0..bytes {
                small.charge(1, rate, now);
            }
            large.charge(bytes, rate, now);
            prop_assert_eq!(small.paid_until, large.paid_until);
        }
    }

    #[test]
    fn time_without_bodies_earns_no_more_than_the_catch_up() {
        let mut account = ByteAccount::default();
        let now = Instant::now();
        account.charge(1000, 1000, now);
        let later = now + MS * 60_000;
        account.charge(1000, 1000, later);
        assert_eq!(account.next_grant(later), Some(later + MS * 950));
    }

    fn options(total: Option<u64>, host: Option<u64>) -> ScheduleOptions {
        ScheduleOptions {
            limit_rate: total,
            host_limit_rate: host,
            ..ScheduleOptions::default()
        }
    }

    /// Reads bodies without end, each from its host and in chunks of its own size, and returns the
    /// bytes of each.
    async fn read(bandwidth: &Bandwidth, bodies: &[(&str, usize)], time: Duration) -> Vec<u64> {
        let taken: Vec<_> = bodies.iter().map(|_| AtomicU64::new(0)).collect();
        let reading = bodies
            .iter()
            .zip(&taken)
            .map(|((host, chunk), taken)| async {
                let mut pace = bandwidth.body_pace(host);
                loop {
                    let mut left = *chunk;
                    while left > 0 {
                        let bytes = pace.take(left).await;
                        left -= bytes;
                        taken.fetch_add(bytes as u64, Relaxed);
                    }
                }
            });
        let reading = futures::future::join_all(reading);
        let ended = tokio::time::timeout(time, reading).await;
        assert!(ended.is_err());
        taken.iter().map(|taken| taken.load(Relaxed)).collect()
    }

    fn assert_near(bytes: u64, expected: u64) {
        let off = bytes.abs_diff(expected) as f64 / expected as f64;
        assert!(off < 0.05, "{bytes} instead of {expected}");
    }

    const SECOND: Duration = Duration::from_secs(1);
    const CHUNKS: [usize; 5] = [400_000, 17_000, 16_384, 33_000, 70_000];

    #[tokio::test(start_paused = true)]
    async fn all_bodies_together_meet_the_limit_and_share_it_evenly() {
        for rate in [10 << 10, 1 << 20, 1 << 30] {
            let bandwidth = Bandwidth::new(&options(Some(rate), None));
            let bodies = CHUNKS.map(|chunk| ("http://a.test", chunk));
            let taken = read(&bandwidth, &bodies, SECOND * 20).await;
            assert_near(taken.iter().sum(), rate * 20);
            // Above, a grant is larger than their chunks.
            for bytes in taken.iter().filter(|_| rate <= 1 << 20) {
                assert_near(*bytes, rate * 4);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_host_meets_its_own_limit() {
        let limits = [("slow.test", 1_000), ("free.test", u64::MAX)].map(|(host, rate)| {
            let limit_rate = Some(rate);
            let limit = HostLimit {
                limit_rate,
                ..HostLimit::default()
            };
            (host.to_owned(), limit)
        });
        let bandwidth = Bandwidth::new(&ScheduleOptions {
            hosts: Arc::new(limits.into()),
            ..options(Some(500_000), Some(20_000))
        });
        let hosts = [
            "http://slow.test",
            "http://free.test",
            "http://a.test",
            "http://a.test",
        ];
        let bodies = hosts.map(|host| (host, 20_000));
        let taken = read(&bandwidth, &bodies, SECOND * 20).await;
        assert_near(taken[0], 20_000);
        assert_near(taken[2] + taken[3], 400_000);
        assert_near(taken.iter().sum(), 10_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_limit_holds_for_bodies_that_are_being_received() {
        let bandwidth = Bandwidth::new(&options(None, None));
        let mut pace = bandwidth.body_pace("http://a.test");
        assert_eq!(pace.take(1 << 20).await, 1 << 20);
        for (total, host) in [(Some(1000), None), (None, Some(1000)), (None, None)] {
            bandwidth.set_limits(&options(total, host));
            let start = tokio::time::Instant::now();
            pace.take_all(10_000).await;
            let took = start.elapsed();
            let is_limited = total.or(host).is_some();
            assert_eq!(took > SECOND * 9, is_limited, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_without_bodies_are_forgotten_once_theirs_are_paid_for() {
        let bandwidth = Bandwidth::new(&options(None, Some(1000)));
        for n in 0..1000 {
            bandwidth
                .body_pace(&format!("http://h{n}.test"))
                .take(1000)
                .await;
            tokio::time::sleep(SECOND).await;
        }
        assert!(bandwidth.lock().meters.len() <= MIN_HOSTS_TO_SWEEP);
        // Not before: else a host would get each body at once.
        let start = tokio::time::Instant::now();
        for _ in 0..500 {
            bandwidth.body_pace("http://a.test").take_all(20).await;
            for n in 0..100 {
                bandwidth.lock().meter_of(&format!("http://{n}.test"));
            }
        }
        assert!(start.elapsed() > SECOND * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_ends_while_it_waits_pays_nothing() {
        let bandwidth = Bandwidth::new(&options(Some(1000), None));
        bandwidth.body_pace("a").take_all(20).await;
        let mut pace = bandwidth.body_pace("a");
        assert!(tokio::time::timeout(MS, pace.take(20)).await.is_err());
        assert!(!pace.has_waiting());
        let start = tokio::time::Instant::now();
        bandwidth.body_pace("a").take_all(20).await;
        assert!(start.elapsed() <= MS * 21);
    }
}
