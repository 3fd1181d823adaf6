//! Resolves names on dedicated threads, with one lookup per name at a time and a cache of the
//! results. Not on tokio's blocking pool: runtime shutdown waits for that, and getaddrinfo may
//! hang.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cache::DnsCache;
use super::types::{HostName, LookupResult, ResolveError};

/// Maximum number of concurrent lookups, slow ones excluded. Each blocks a thread while the
/// system's resolver works. At 20 ms per lookup this allows 1,500 names per second.
const MAX_LOOKUPS: usize = 32;
/// Time after which a lookup counts as slow and no longer counts against [`MAX_LOOKUPS`]. glibc
/// waits 10 s for a name server that does not respond (twice 5 s), as long as the default of
/// `--connect-timeout`; 32 such names must not delay the other hosts. Servers that do respond are
/// faster than this.
const SLOW_LOOKUP: Duration = Duration::from_secs(1);
/// Maximum number of threads, some 20 KiB each. Names without a response, at 10 s each, delay
/// others only if there are more than 25 of them per second.
const MAX_THREADS: usize = 256;
/// How long an idle thread is kept: long enough for the gaps between the new names of a list.
/// Starting a thread is cheap, and users of the library should not be left with idle ones.
const THREAD_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Resolves one name. May block, and may panic.
pub(super) type LookupFn = Box<dyn Fn(&str) -> LookupResult + Send + Sync>;

/// Which cached results a request accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CachePolicy {
    /// All of them, including failures.
    All,
    /// Only answers, including "no such name". For retries: with full jitter the backoff may be
    /// shorter than the time for which a failure is cached, and the retry would be spent on the
    /// failure that it is meant to overcome.
    Answers,
}

impl CachePolicy {
    fn accepts(self, answer: &LookupResult) -> bool {
        match (self, answer) {
            (Self::All, _) | (Self::Answers, Ok(_)) => true,
            (Self::Answers, Err(failed)) => failed.not_found,
        }
    }
}

/// The lookups of all requests. Dropping it ends its threads once their lookups return.
pub(super) struct LookupPool {
    shared: Arc<PoolShared>,
}

impl LookupPool {
    pub(super) fn new(look_up: LookupFn) -> Self {
        Self::with_times(
            look_up,
            Box::new(start_thread),
            SLOW_LOOKUP,
            THREAD_IDLE_TIMEOUT,
        )
    }

    fn with_times(
        look_up: LookupFn,
        start_thread: ThreadSpawner,
        slow: Duration,
        idle: Duration,
    ) -> Self {
        let shared = PoolShared {
            look_up,
            start_thread,
            slow,
            idle,
            state: Mutex::new(PoolState::default()),
            work: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Resolves a name. The lookup is queued by this call, before the future is polled, and
    /// removed from the queue if the future is dropped.
    pub(super) fn lookup(
        &self,
        host: &str,
        policy: CachePolicy,
    ) -> impl Future<Output = LookupResult> + Send + use<> {
        self.lookup_at(host, policy, Instant::now())
    }

    fn lookup_at(
        &self,
        host: &str,
        policy: CachePolicy,
        now: Instant,
    ) -> impl Future<Output = LookupResult> + Send + use<> {
        let start = self.shared.start(HostName::new(host), policy, now);
        async move {
            match start {
                LookupStart::Known(answer) => answer,
                LookupStart::Waits(waiter) => waiter.answer().await,
            }
        }
    }
}

impl Drop for LookupPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

/// Starts a thread that runs lookups.
type ThreadSpawner = Box<dyn Fn(Arc<PoolShared>) -> io::Result<()> + Send + Sync>;

fn start_thread(shared: Arc<PoolShared>) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("dns".into());
    builder.spawn(move || shared.worker_loop()).map(drop)
}

/// The state shared by waiters and threads.
struct PoolShared {
    look_up: LookupFn,
    start_thread: ThreadSpawner,
    /// See [`SLOW_LOOKUP`].
    slow: Duration,
    /// See [`THREAD_IDLE_TIMEOUT`].
    idle: Duration,
    state: Mutex<PoolState>,
    /// Notified when a name is queued for a waiting thread.
    work: Condvar,
}

#[derive(Default)]
struct PoolState {
    cache: DnsCache,
    /// The names that are queued or being resolved.
    pending: HashMap<HostName, PendingLookup>,
    /// The names that no thread has taken yet, in the order of their requests.
    queue: VecDeque<HostName>,
    /// When the lookups that are not slow yet began, oldest first. Lookups that began at the same
    /// moment are interchangeable.
    counted: VecDeque<Instant>,
    /// Number of threads. If it is 0, the queue is empty.
    threads: usize,
    /// Number of threads that run no lookup: they wait or are about to take one.
    idle: usize,
    /// Whether an idle thread will wake up when the oldest of `counted` becomes slow, or earlier.
    watched: bool,
    /// Whether the pool has been dropped.
    closed: bool,
}

/// The channel for the result of a queued or running lookup. Each waiter has a receiver.
type PendingLookup = watch::Sender<Option<LookupResult>>;

impl PoolState {
    /// Takes the next queued name, if another lookup may begin at `now`.
    fn pop_ready(&mut self, now: Instant, slow: Duration) -> Option<HostName> {
        while let Some(began) = self.counted.front()
            && now.duration_since(*began) >= slow
        {
            self.counted.pop_front();
        }
        if self.counted.len() >= MAX_LOOKUPS {
            return None;
        }
        let host = self.queue.pop_front()?;
        self.counted.push_back(now);
        self.idle -= 1;
        Some(host)
    }

    /// Marks the thread of a finished lookup as idle.
    fn release(&mut self, began: Instant) {
        if let Ok(place) = self.counted.binary_search(&began) {
            self.counted.remove(place);
        }
        self.idle += 1;
    }

    /// Whether the queue needs another thread. One more is wanted than lookups may begin now: it
    /// waits for a lookup to become slow, because no other event may happen for long.
    fn needs_thread(&self) -> bool {
        let wanted = self.queue.len().min(MAX_LOOKUPS - self.counted.len() + 1);
        self.idle < wanted && self.threads < MAX_THREADS
    }

    /// Returns when an idle thread has to check the queue again: when the oldest lookup becomes
    /// slow. `None` if no thread is needed for that.
    fn end_of_watch(&self, slow: Duration) -> Option<Instant> {
        let needed = !self.queue.is_empty() && !self.watched;
        let oldest = self.counted.front().filter(|_| needed)?;
        Some(*oldest + slow)
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        // No foreign code runs under this lock, so a panic can't leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>, host: HostName, policy: CachePolicy, now: Instant) -> LookupStart {
        let mut state = self.lock();
        if let Some(answer) = state.cache.get(&host, now)
            && policy.accepts(answer)
        {
            return LookupStart::Known(answer.clone());
        }
        let waiting = match state.pending.get(&host) {
            Some(pending) => Ok(pending.subscribe()),
            None => self.enqueue(&mut state, host.clone()),
        };
        match waiting {
            Ok(answer) => LookupStart::Waits(LookupWaiter {
                answer,
                leave: WaiterGuard {
                    shared: Arc::clone(self),
                    host,
                },
            }),
            Err(failed) => LookupStart::Known(Err(failed)),
        }
    }

    /// Queues a name and makes sure that a thread will take it.
    fn enqueue(
        self: &Arc<Self>,
        state: &mut PoolState,
        host: HostName,
    ) -> Result<watch::Receiver<Option<LookupResult>>, ResolveError> {
        state.queue.push_back(host.clone());
        if let Err(error) = self.ensure_thread(state)
            && state.threads == 0
        {
            state.queue.pop_back();
            let error = crate::model::chain_text(&error);
            let reason = format!("cannot start a resolver thread: {error}");
            return Err(ResolveError::without_answer(host.as_str(), reason));
        }
        let (pending, answer) = watch::channel(None);
        state.pending.insert(host, pending);
        Ok(answer)
    }

    /// Wakes or starts a thread for the queue. If none can be started, the running threads take
    /// the name later.
    fn ensure_thread(self: &Arc<Self>, state: &mut PoolState) -> io::Result<()> {
        if state.needs_thread() {
            let started = (self.start_thread)(Arc::clone(self));
            started.inspect_err(|_| self.work.notify_one())?;
            state.threads += 1;
            state.idle += 1;
        } else {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Runs lookups until the thread is to end.
    fn worker_loop(self: &Arc<Self>) {
        while let Some((host, began)) = self.next() {
            let look_up = || (self.look_up)(host.as_str());
            // Unwind safe: no state that a panic could leave inconsistent is used afterwards.
            let answer = catch_unwind(AssertUnwindSafe(look_up)).unwrap_or_else(|_| {
                let reason = "resolver thread panicked".to_owned();
                Err(ResolveError::without_answer(host.as_str(), reason))
            });
            self.finish_lookup(host, began, answer);
        }
    }

    /// Waits for the next name. Returns it with the time at which its lookup begins, or `None` if
    /// the thread is to end.
    fn next(self: &Arc<Self>) -> Option<(HostName, Instant)> {
        let mut state = self.lock();
        let mut now = Instant::now();
        let leave_at = now + self.idle;
        loop {
            if let Some(host) = state.pop_ready(now, self.slow) {
                // If a thread is watching, it takes care of the rest of the queue.
                if !state.queue.is_empty() && !state.watched {
                    let _ = self.ensure_thread(&mut state);
                }
                return Some((host, now));
            }
            let watch = state.end_of_watch(self.slow);
            if watch.is_none() && (state.closed || now >= leave_at) {
                state.threads -= 1;
                state.idle -= 1;
                return None;
            }
            let wait = watch.unwrap_or(leave_at).saturating_duration_since(now);
            state.watched |= watch.is_some();
            let waited = self.work.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if watch.is_some() {
                state.watched = false;
            }
            now = Instant::now();
        }
    }

    fn finish_lookup(&self, host: HostName, began: Instant, answer: LookupResult) {
        let mut state = self.lock();
        state.release(began);
        let pending = state.pending.remove(&host);
        state.cache.put(host, answer.clone(), Instant::now());
        drop(state);
        if let Some(pending) = pending {
            // Fails if all waiters are gone.
            let _ = pending.send(Some(answer));
        }
    }
}

/// The outcome of requesting a lookup.
enum LookupStart {
    Known(LookupResult),
    Waits(LookupWaiter),
}

/// A request waiting for a lookup.
struct LookupWaiter {
    // Declared before `leave`, so that it is dropped first: `leave` checks for other receivers.
    answer: watch::Receiver<Option<LookupResult>>,
    leave: WaiterGuard,
}

impl LookupWaiter {
    /// Waits for the result. The connect timeout ends the wait for a lookup that hangs.
    async fn answer(mut self) -> LookupResult {
        let answer = match self.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        // `None` is unexpected, since every lookup sends its result, but no reason to panic.
        answer.unwrap_or_else(|| Err(ResolveError::temporary(self.leave.host.as_str())))
    }
}

/// On drop, removes a name without other waiters from the queue. A running lookup continues.
struct WaiterGuard {
    shared: Arc<PoolShared>,
    host: HostName,
}

impl Drop for WaiterGuard {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if !state
            .pending
            .get(&self.host)
            .is_some_and(PendingLookup::is_closed)
        {
            return;
        }
        let queued = state.queue.iter().position(|host| *host == self.host);
        if let Some(place) = queued {
            state.queue.remove(place);
            state.pending.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::task::{Context, Waker};
    use std::time::Instant;

    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    const ADDR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    /// Maximum wait for another thread, even on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A resolver that returns when the test allows it.
    #[derive(Default)]
    struct ResolverScript {
        inner: Mutex<ScriptInner>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct ScriptInner {
        requested: Vec<String>,
        running: usize,
        most_running: usize,
        /// Number of lookups that may still return.
        permits: usize,
        /// Whether lookups of `silent` names may return.
        silence_over: bool,
    }

    impl ResolverScript {
        fn lookups(self: &Arc<Self>) -> LookupPool {
            self.with_threads(Box::new(start_thread), PATIENCE)
        }

        fn with_threads(
            self: &Arc<Self>,
            start_thread: ThreadSpawner,
            idle: Duration,
        ) -> LookupPool {
            self.with_times(start_thread, PATIENCE, idle)
        }

        /// For lookups that never return: they soon count as slow.
        fn with_slow(self: &Arc<Self>, slow: Duration) -> LookupPool {
            self.with_times(Box::new(start_thread), slow, PATIENCE)
        }

        fn with_times(
            self: &Arc<Self>,
            start_thread: ThreadSpawner,
            slow: Duration,
            idle: Duration,
        ) -> LookupPool {
            let script = Arc::clone(self);
            let look_up = Box::new(move |host: &str| script.look_up(host));
            LookupPool::with_times(look_up, start_thread, slow, idle)
        }

        fn look_up(&self, host: &str) -> LookupResult {
            let mut inner = self.inner.lock().unwrap();
            inner.requested.push(host.to_owned());
            inner.running += 1;
            inner.most_running = inner.most_running.max(inner.running);
            self.changed.notify_all();
            let silent = host.starts_with("silent");
            let waiting = |inner: &mut ScriptInner| match silent {
                true => !inner.silence_over,
                false => inner.permits == 0,
            };
            let mut inner = self.changed.wait_while(inner, waiting).unwrap();
            if !silent {
                inner.permits -= 1;
            }
            inner.running -= 1;
            match host {
                "no-such-name.test" => Err(ResolveError::not_found(host)),
                "unsure.test" => Err(ResolveError::temporary(host)),
                "panic.test" => {
                    drop(inner);
                    panic!("a resolver that panics")
                }
                _ => Ok(vec![ADDR]),
            }
        }

        fn allow(&self, permits: usize) {
            self.inner.lock().unwrap().permits += permits;
            self.changed.notify_all();
        }

        fn end_silence(&self) {
            self.inner.lock().unwrap().silence_over = true;
            self.changed.notify_all();
        }

        /// Waits until `count` lookups have begun.
        fn wait_begun(&self, count: usize) {
            let inner = self.inner.lock().unwrap();
            let fewer = |inner: &mut ScriptInner| inner.requested.len() < count;
            let (inner, waited) = self
                .changed
                .wait_timeout_while(inner, PATIENCE, fewer)
                .unwrap();
            assert!(!waited.timed_out(), "only {:?} begun", inner.requested);
        }

        fn requested(&self) -> Vec<String> {
            self.inner.lock().unwrap().requested.clone()
        }
    }

    impl LookupPool {
        /// Looks a name up as a first attempt does.
        fn lookup_first(&self, host: &str) -> impl Future<Output = LookupResult> + use<> {
            self.lookup(host, CachePolicy::All)
        }

        fn lookup_silent(&self, count: usize) -> Vec<impl Future<Output = LookupResult> + use<>> {
            let names = (0..count).map(|n| format!("silent-{n}.test"));
            names.map(|name| self.lookup_first(&name)).collect()
        }
    }

    /// Runs a future. One that never completes fails the test instead of blocking it.
    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await })
            .unwrap()
    }

    /// Waits until the state is as wanted. Not for states that only a lookup can cause.
    fn until(lookups: &LookupPool, what: &str, wanted: fn(&PoolState) -> bool) {
        let start = Instant::now();
        while !wanted(&lookups.shared.lock()) {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::yield_now();
        }
    }

    /// Drops the pool and waits until its threads have ended.
    fn assert_threads_end(script: &Arc<ResolverScript>, lookups: LookupPool) {
        drop(lookups);
        // The last thread drops the lookup function, which owns a reference to the script.
        let start = Instant::now();
        while Arc::strong_count(script) > 1 {
            assert!(start.elapsed() < PATIENCE, "a thread does not end");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_hundred_waiters_share_one_lookup() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let waiters: Vec<_> = (0..100).map(|_| lookups.lookup_first("a.test")).collect();
        script.allow(1);
        for answer in block_on(join_all(waiters)) {
            assert_eq!(answer, Ok(vec![ADDR]));
        }
        assert_eq!(script.requested(), ["a.test"]);
    }

    #[test]
    fn all_waiters_get_the_same_failure() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let waiters: Vec<_> = (0..3)
            .map(|_| lookups.lookup_first("no-such-name.test"))
            .collect();
        script.allow(1);
        for answer in block_on(join_all(waiters)) {
            let failed = answer.unwrap_err();
            assert!(failed.not_found);
            assert_eq!(failed.host, "no-such-name.test");
        }
    }

    #[test]
    fn case_makes_no_difference() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let waiters = ["A.test", "a.TEST"].map(|host| lookups.lookup_first(host));
        script.allow(1);
        block_on(join_all(waiters));
        assert_eq!(script.requested(), ["a.test"]);
    }

    #[test]
    fn the_number_of_concurrent_lookups_is_limited() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let names: Vec<_> = (0..3 * MAX_LOOKUPS).map(|n| format!("{n}.test")).collect();
        let waiters: Vec<_> = names
            .iter()
            .map(|name| lookups.lookup_first(name))
            .collect();
        // All threads are in a lookup, and none may return.
        script.wait_begun(MAX_LOOKUPS);
        assert_eq!(lookups.shared.lock().queue.len(), 2 * MAX_LOOKUPS);
        script.allow(names.len());
        assert!(block_on(join_all(waiters)).iter().all(Result::is_ok));
        assert_eq!(script.inner.lock().unwrap().most_running, MAX_LOOKUPS);
        assert_eq!(script.requested().len(), names.len());
    }

    #[test]
    fn a_lookup_counts_until_it_is_slow_or_finished() {
        let (start, slow) = (Instant::now(), Duration::from_secs(1));
        let mut state = PoolState {
            queue: (0..MAX_LOOKUPS + 3)
                .map(|n| HostName::new(&n.to_string()))
                .collect(),
            idle: MAX_LOOKUPS + 3,
            ..PoolState::default()
        };
        let moment = Duration::from_millis(1);
        assert!(state.pop_ready(start, slow).is_some());
        for _ in 1..MAX_LOOKUPS {
            assert!(state.pop_ready(start + moment, slow).is_some());
        }
        assert_eq!(state.pop_ready(start + slow - moment, slow), None);
        assert_eq!(state.end_of_watch(slow), Some(start + slow));
        // The first lookup is slow now.
        assert!(state.pop_ready(start + slow, slow).is_some());
        assert_eq!(state.pop_ready(start + slow, slow), None);
        // A slow lookup frees no slot when it finishes; another one does.
        state.release(start);
        assert_eq!(state.pop_ready(start + slow, slow), None);
        state.release(start + moment);
        assert!(state.pop_ready(start + slow, slow).is_some());
        assert_eq!(state.pop_ready(start + slow, slow), None);
    }

    #[test]
    fn names_without_a_response_do_not_delay_others() {
        for slow in [Duration::ZERO, Duration::from_millis(10)] {
            let script = Arc::new(ResolverScript::default());
            let lookups = script.with_slow(slow);
            // They take all slots twice before `other` is next, and no later request wakes a
            // thread.
            let silent = lookups.lookup_silent(2 * MAX_LOOKUPS);
            let other = lookups.lookup_first("a.test");
            script.allow(1);
            assert_eq!(block_on(other), Ok(vec![ADDR]));
            script.wait_begun(silent.len() + 1);
            assert_eq!(script.inner.lock().unwrap().running, silent.len());
            script.end_silence();
            assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
            assert_threads_end(&script, lookups);
        }
    }

    #[test]
    fn one_thread_watches_for_a_lookup_that_becomes_slow() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let silent = lookups.lookup_silent(MAX_LOOKUPS + 8);
        script.wait_begun(MAX_LOOKUPS);
        until(&lookups, "no thread watches", |state| state.watched);
        let state = lookups.shared.lock();
        assert_eq!((state.threads, state.idle), (MAX_LOOKUPS + 1, 1));
        drop(state);
        script.end_silence();
        assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
    }

    #[test]
    fn the_number_of_threads_is_limited() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_slow(Duration::ZERO);
        let silent = lookups.lookup_silent(MAX_THREADS + 8);
        script.wait_begun(MAX_THREADS);
        let state = lookups.shared.lock();
        assert_eq!((state.threads, state.queue.len()), (MAX_THREADS, 8));
        drop(state);
        script.end_silence();
        assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
        assert_eq!(script.inner.lock().unwrap().most_running, MAX_THREADS);
        assert_threads_end(&script, lookups);
    }

    #[test]
    fn an_idle_thread_is_used_before_starting_another() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        block_on(lookups.lookup_first("a.test")).unwrap();
        until(&lookups, "the thread does not wait for work", |state| {
            state.idle == 1
        });
        let second = lookups.lookup_first("b.test");
        assert_eq!(lookups.shared.lock().threads, 1);
        block_on(second).unwrap();
    }

    #[test]
    fn a_name_without_waiters_leaves_the_queue() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let running: Vec<_> = (0..MAX_LOOKUPS)
            .map(|n| lookups.lookup_first(&format!("{n}.test")))
            .collect();
        script.wait_begun(MAX_LOOKUPS);
        let (unwanted, wanted) = (
            lookups.lookup_first("unwanted.test"),
            lookups.lookup_first("wanted.test"),
        );
        let also_wanted = lookups.lookup_first("wanted.test");
        drop((unwanted, wanted));
        {
            let state = lookups.shared.lock();
            assert_eq!(state.queue, [HostName::new("wanted.test")]);
            assert_eq!(state.pending.len(), MAX_LOOKUPS + 1);
        }
        script.allow(MAX_LOOKUPS + 1);
        block_on(join_all(running));
        block_on(also_wanted).unwrap();
        assert!(!script.requested().contains(&"unwanted.test".to_owned()));
    }

    #[test]
    fn a_running_lookup_outlives_its_waiters() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let mut waiter = Box::pin(lookups.lookup_first("a.test"));
        script.wait_begun(1);
        let polled = waiter.poll_unpin(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        drop(waiter);
        script.allow(1);
        until(&lookups, "the lookup did not end", |state| {
            state.pending.is_empty()
        });
        block_on(lookups.lookup_first("a.test")).unwrap();
        assert_eq!(script.requested(), ["a.test"]);
    }

    #[test]
    fn a_result_is_cached_until_it_expires() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        let start = Instant::now();
        for host in ["unsure.test", "UNSURE.test"] {
            block_on(lookups.lookup_at(host, CachePolicy::All, start)).unwrap_err();
        }
        assert_eq!(script.requested().len(), 1);
        let later = Instant::now() + Duration::from_secs(1);
        block_on(lookups.lookup_at("unsure.test", CachePolicy::All, later)).unwrap_err();
        assert_eq!(script.requested().len(), 2);
    }

    #[test]
    fn a_panic_is_a_temporary_failure_and_the_thread_survives() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        let failed = block_on(lookups.lookup_first("panic.test")).unwrap_err();
        assert!(!failed.not_found);
        assert_eq!(failed.to_string(), "resolver thread panicked");
        until(&lookups, "the thread is gone", |state| state.idle == 1);
        block_on(lookups.lookup_first("a.test")).unwrap();
    }

    #[test]
    fn without_any_thread_a_lookup_fails_temporarily() {
        let script = Arc::new(ResolverScript::default());
        let none = Box::new(|_| Err(io::ErrorKind::WouldBlock.into()));
        let lookups = script.with_threads(none, PATIENCE);
        let failed = block_on(lookups.lookup_first("a.test")).unwrap_err();
        assert!(!failed.not_found);
        assert!(failed.to_string().starts_with("cannot start a resolver"));
        let state = lookups.shared.lock();
        assert!(state.queue.is_empty() && state.pending.is_empty() && state.threads == 0);
    }

    #[test]
    fn names_wait_when_no_second_thread_can_be_started() {
        let script = Arc::new(ResolverScript::default());
        let started = AtomicBool::new(false);
        let only_one = Box::new(move |shared| match started.swap(true, Relaxed) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => start_thread(shared),
        });
        let lookups = script.with_threads(only_one, PATIENCE);
        let waiters = ["a.test", "b.test", "c.test"].map(|host| lookups.lookup_first(host));
        assert_eq!(lookups.shared.lock().threads, 1);
        script.allow(3);
        assert!(block_on(join_all(waiters)).iter().all(Result::is_ok));
    }

    #[test]
    fn an_idle_thread_ends_and_another_replaces_it() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_threads(Box::new(start_thread), Duration::ZERO);
        script.allow(2);
        for host in ["a.test", "b.test"] {
            block_on(lookups.lookup_first(host)).unwrap();
            until(&lookups, "the thread does not end", |state| {
                state.threads == 0
            });
        }
    }

    #[test]
    fn threads_end_when_the_pool_is_dropped() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_threads(Box::new(start_thread), 10 * PATIENCE);
        script.allow(1);
        block_on(lookups.lookup_first("a.test")).unwrap();
        until(&lookups, "the thread does not wait for work", |state| {
            state.idle == 1
        });
        assert_threads_end(&script, lookups);
    }

    #[test]
    fn waiters_get_their_results_after_the_pool_is_dropped() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let waiters: Vec<_> = (0..MAX_LOOKUPS + 1)
            .map(|n| lookups.lookup_first(&format!("{n}.test")))
            .collect();
        drop(lookups);
        script.allow(MAX_LOOKUPS + 1);
        assert!(block_on(join_all(waiters)).iter().all(Result::is_ok));
    }
}
