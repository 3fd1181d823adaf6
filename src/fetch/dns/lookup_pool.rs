//! Look-ups on threads of their own, one at a time for each name, whoever asks; what came
//! of them is told to those who ask soon after. Not on the runtime's blocking pool: a
//! runtime that is dropped waits for what runs there, and a resolver may hang.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cache::DnsCache;
use super::types::{HostName, LookupResult, ResolveError};

/// Look-ups at the same time, without the slow ones: each takes a thread while the
/// system's resolver works. With 20 ms for each that makes 1,500 names a second.
const MAX_LOOKUPS: usize = 32;
/// From when on a look-up is slow. It only waits, so another may run beside it: glibc
/// waits 10 s for a silent name server (5 s, twice), the default of `--connect-timeout`,
/// and 32 such names are not to cost the other hosts that. Who answers does so sooner.
const SLOW_LOOKUP: Duration = Duration::from_secs(1);
/// Most threads, whatever they wait for; each takes some 20 KiB. Silent names, with 10 s
/// for each, hold up the others when there are more than 25 of them a second.
const MAX_THREADS: usize = 256;
/// How long a thread stays without work: over the gaps between the new names of a list.
/// Starting another costs little, and who uses the library is to be left with none.
const THREAD_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers for one name. May block, and may panic.
pub type LookupFn = Box<dyn Fn(&str) -> LookupResult + Send + Sync>;

/// Which of the remembered answers are good enough for who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachePolicy {
    /// All of them, also that nobody could tell a moment ago.
    All,
    /// Only what the name system said. For a retry: with full jitter its wait may be
    /// shorter than the time for which a failure is remembered, and the retry would be
    /// used up on the very failure that it is to get over.
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

/// Everybody's look-ups. When it is dropped its threads end as soon as they can.
pub struct LookupPool {
    shared: Arc<PoolShared>,
}

impl LookupPool {
    pub fn new(look_up: LookupFn) -> Self {
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

    /// Asks for a name. The wish counts from this call on, and until the future is dropped.
    pub fn lookup(
        &self,
        host: &str,
        trust: CachePolicy,
    ) -> impl Future<Output = LookupResult> + Send + use<> {
        self.ask_at(host, trust, Instant::now())
    }

    fn ask_at(
        &self,
        host: &str,
        trust: CachePolicy,
        now: Instant,
    ) -> impl Future<Output = LookupResult> + Send + use<> {
        let asked = self.shared.ask(HostName::new(host), trust, now);
        async move {
            match asked {
                LookupStart::Known(answer) => answer,
                LookupStart::Waits(asker) => asker.answer().await,
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

/// Starts a thread that works for these look-ups.
type ThreadSpawner = Box<dyn Fn(Arc<PoolShared>) -> io::Result<()> + Send + Sync>;

fn start_thread(shared: Arc<PoolShared>) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("dns".into());
    builder.spawn(move || shared.worker_loop()).map(drop)
}

/// What the askers and the threads share.
struct PoolShared {
    look_up: LookupFn,
    start_thread: ThreadSpawner,
    /// How long a look-up counts as one of the `MAX_LOOKUPS`.
    slow: Duration,
    /// How long a thread stays without work.
    idle: Duration,
    state: Mutex<PoolState>,
    /// Told when a name is queued for a thread that waits.
    work: Condvar,
}

#[derive(Default)]
struct PoolState {
    cache: DnsCache,
    /// The names that are looked up or queued.
    flights: HashMap<HostName, PendingLookup>,
    /// The names that no thread has taken yet, in the order in which they were asked for.
    queue: VecDeque<HostName>,
    /// When the look-ups began that are not slow yet, the oldest first. Two of the same
    /// moment are as good as each other.
    counted: VecDeque<Instant>,
    /// Threads there are. Without any the queue is empty.
    threads: usize,
    /// Those of them that are in no look-up: they wait, or are on their way to the queue.
    idle: usize,
    /// One of these wakes up when the oldest of `counted` turns slow, or earlier.
    watched: bool,
    /// Nobody can ask any more.
    closed: bool,
}

/// A name on its way: whoever wants it holds a receiver.
type PendingLookup = watch::Sender<Option<LookupResult>>;

impl PoolState {
    /// The next name, if one is queued and may be looked up from `now` on.
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

    /// A look-up is over.
    fn give_back(&mut self, began: Instant) {
        if let Ok(place) = self.counted.binary_search(&began) {
            self.counted.remove(place);
        }
        self.idle += 1;
    }

    /// Whether too few are idle for what is queued. One more is wanted than may look names
    /// up now: it waits for a look-up to turn slow, when nothing else may happen for long.
    fn needs_thread(&self) -> bool {
        let wanted = self.queue.len().min(MAX_LOOKUPS - self.counted.len() + 1);
        self.idle < wanted && self.threads < MAX_THREADS
    }

    /// Until when an idle thread has to watch the queue; `None` when no watch is needed.
    fn end_of_watch(&self, slow: Duration) -> Option<Instant> {
        let needed = !self.queue.is_empty() && !self.watched;
        let oldest = self.counted.front().filter(|_| needed)?;
        Some(*oldest + slow)
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        // No code of others runs under this lock, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(self: &Arc<Self>, host: HostName, trust: CachePolicy, now: Instant) -> LookupStart {
        let mut state = self.lock();
        if let Some(answer) = state.cache.get(&host, now)
            && trust.accepts(answer)
        {
            return LookupStart::Known(answer.clone());
        }
        let waiting = match state.flights.get(&host) {
            Some(flight) => Ok(flight.subscribe()),
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

    /// Queues a name, with a thread that is going to take it.
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
            let reason = format!("no thread to look it up: {error}");
            return Err(ResolveError::without_answer(host.as_str(), reason));
        }
        let (flight, answer) = watch::channel(None);
        state.flights.insert(host, flight);
        Ok(answer)
    }

    /// Gets a thread to see to the queue. Without a new one, those that run come to it.
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

    /// The life of a thread.
    fn worker_loop(self: &Arc<Self>) {
        while let Some((host, began)) = self.next() {
            let look_up = || (self.look_up)(host.as_str());
            // Nothing that a panic could leave half done is seen by anybody afterwards.
            let answer = catch_unwind(AssertUnwindSafe(look_up)).unwrap_or_else(|_| {
                let reason = "the look-up broke down".to_owned();
                Err(ResolveError::without_answer(host.as_str(), reason))
            });
            self.finish_lookup(host, began, answer);
        }
    }

    /// The next name for this thread, and the moment at which its look-up begins; `None`
    /// when the thread is to end.
    fn next(self: &Arc<Self>) -> Option<(HostName, Instant)> {
        let mut state = self.lock();
        let mut now = Instant::now();
        let leave_at = now + self.idle;
        loop {
            if let Some(host) = state.pop_ready(now, self.slow) {
                // Who watches sees to the rest of the queue.
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
        state.give_back(began);
        let flight = state.flights.remove(&host);
        state.cache.put(host, answer.clone(), Instant::now());
        drop(state);
        if let Some(flight) = flight {
            // Nobody may be left to hear it.
            let _ = flight.send(Some(answer));
        }
    }
}

/// What asking for a name comes to.
enum LookupStart {
    Known(LookupResult),
    Waits(LookupWaiter),
}

/// Somebody who waits for a name.
struct LookupWaiter {
    // Dropped before `leave`, which then sees whether anybody else listens.
    answer: watch::Receiver<Option<LookupResult>>,
    leave: WaiterGuard,
}

impl LookupWaiter {
    /// The clock over connecting ends the wait for a look-up that never comes back.
    async fn answer(mut self) -> LookupResult {
        let told = match self.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        // A flight always lands; should one be lost, that is no reason to panic.
        told.unwrap_or_else(|| Err(ResolveError::temporary(self.leave.host.as_str())))
    }
}

/// On drop: takes a name that nobody wants any more out of the queue. A look-up that
/// runs goes on.
struct WaiterGuard {
    shared: Arc<PoolShared>,
    host: HostName,
}

impl Drop for WaiterGuard {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if !state
            .flights
            .get(&self.host)
            .is_some_and(PendingLookup::is_closed)
        {
            return;
        }
        let queued = state.queue.iter().position(|host| *host == self.host);
        if let Some(place) = queued {
            state.queue.remove(place);
            state.flights.remove(&self.host);
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
    /// Longest wait for another thread, whatever else the machine does.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A resolver that answers when it is told to.
    #[derive(Default)]
    struct ResolverScript {
        inner: Mutex<ScriptInner>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct ScriptInner {
        asked: Vec<String>,
        running: usize,
        most_running: usize,
        /// Look-ups that may still return.
        permits: usize,
        /// Whether those of `silent` names may.
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

        /// For look-ups that never return: slow ones soon stop to count.
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
            inner.asked.push(host.to_owned());
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
                    panic!("a resolver that breaks down")
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

        /// Waits until so many look-ups have begun.
        fn begun(&self, count: usize) {
            let inner = self.inner.lock().unwrap();
            let fewer = |inner: &mut ScriptInner| inner.asked.len() < count;
            let (inner, waited) = self
                .changed
                .wait_timeout_while(inner, PATIENCE, fewer)
                .unwrap();
            assert!(!waited.timed_out(), "only {:?} were asked", inner.asked);
        }

        fn asked(&self) -> Vec<String> {
            self.inner.lock().unwrap().asked.clone()
        }
    }

    impl LookupPool {
        /// Asks as a first attempt does.
        fn ask_first(&self, host: &str) -> impl Future<Output = LookupResult> + use<> {
            self.lookup(host, CachePolicy::All)
        }

        fn ask_silent(&self, count: usize) -> Vec<impl Future<Output = LookupResult> + use<>> {
            let names = (0..count).map(|n| format!("silent-{n}.test"));
            names.map(|name| self.ask_first(&name)).collect()
        }
    }

    /// What a future ends with; one that never ends fails the test instead of holding it up.
    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await })
            .unwrap()
    }

    /// Waits until the state is as wanted; not for anything that a look-up brings about.
    fn until(lookups: &LookupPool, what: &str, wanted: fn(&PoolState) -> bool) {
        let start = Instant::now();
        while !wanted(&lookups.shared.lock()) {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::yield_now();
        }
    }

    /// Waits until no thread is left after the last who could ask has gone.
    fn no_thread_stays(script: &Arc<ResolverScript>, lookups: LookupPool) {
        drop(lookups);
        // The look-up function goes with the last thread that has a share in it.
        let start = Instant::now();
        while Arc::strong_count(script) > 1 {
            assert!(start.elapsed() < PATIENCE, "a thread stays");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_hundred_askers_share_one_look_up() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let askers: Vec<_> = (0..100).map(|_| lookups.ask_first("a.test")).collect();
        script.allow(1);
        for answer in block_on(join_all(askers)) {
            assert_eq!(answer, Ok(vec![ADDR]));
        }
        assert_eq!(script.asked(), ["a.test"]);
    }

    #[test]
    fn a_failure_is_the_same_for_all_who_waited() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let askers: Vec<_> = (0..3)
            .map(|_| lookups.ask_first("no-such-name.test"))
            .collect();
        script.allow(1);
        for answer in block_on(join_all(askers)) {
            let failed = answer.unwrap_err();
            assert!(failed.not_found);
            assert_eq!(failed.host, "no-such-name.test");
        }
    }

    #[test]
    fn case_makes_no_difference() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let askers = ["A.test", "a.TEST"].map(|host| lookups.ask_first(host));
        script.allow(1);
        block_on(join_all(askers));
        assert_eq!(script.asked(), ["a.test"]);
    }

    #[test]
    fn no_more_than_the_limit_run_at_once() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let names: Vec<_> = (0..3 * MAX_LOOKUPS).map(|n| format!("{n}.test")).collect();
        let askers: Vec<_> = names.iter().map(|name| lookups.ask_first(name)).collect();
        // All the threads are in a look-up, and none may return.
        script.begun(MAX_LOOKUPS);
        assert_eq!(lookups.shared.lock().queue.len(), 2 * MAX_LOOKUPS);
        script.allow(names.len());
        assert!(block_on(join_all(askers)).iter().all(Result::is_ok));
        assert_eq!(script.inner.lock().unwrap().most_running, MAX_LOOKUPS);
        assert_eq!(script.asked().len(), names.len());
    }

    #[test]
    fn a_look_up_counts_until_it_is_slow_or_over() {
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
        // The first is slow.
        assert!(state.pop_ready(start + slow, slow).is_some());
        assert_eq!(state.pop_ready(start + slow, slow), None);
        // It makes no more room when it is over; another does.
        state.give_back(start);
        assert_eq!(state.pop_ready(start + slow, slow), None);
        state.give_back(start + moment);
        assert!(state.pop_ready(start + slow, slow).is_some());
        assert_eq!(state.pop_ready(start + slow, slow), None);
    }

    #[test]
    fn silent_names_hold_up_no_other() {
        for slow in [Duration::ZERO, Duration::from_millis(10)] {
            let script = Arc::new(ResolverScript::default());
            let lookups = script.with_slow(slow);
            // They fill all the places twice before its turn comes, and nothing new does.
            let silent = lookups.ask_silent(2 * MAX_LOOKUPS);
            let other = lookups.ask_first("a.test");
            script.allow(1);
            assert_eq!(block_on(other), Ok(vec![ADDR]));
            script.begun(silent.len() + 1);
            assert_eq!(script.inner.lock().unwrap().running, silent.len());
            script.end_silence();
            assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
            no_thread_stays(&script, lookups);
        }
    }

    #[test]
    fn one_thread_watches_for_a_look_up_that_turns_slow() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let silent = lookups.ask_silent(MAX_LOOKUPS + 8);
        script.begun(MAX_LOOKUPS);
        until(&lookups, "nobody watches", |state| state.watched);
        let state = lookups.shared.lock();
        assert_eq!((state.threads, state.idle), (MAX_LOOKUPS + 1, 1));
        drop(state);
        script.end_silence();
        assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
    }

    #[test]
    fn the_threads_have_a_bound_whatever_they_wait_for() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_slow(Duration::ZERO);
        let silent = lookups.ask_silent(MAX_THREADS + 8);
        script.begun(MAX_THREADS);
        let state = lookups.shared.lock();
        assert_eq!((state.threads, state.queue.len()), (MAX_THREADS, 8));
        drop(state);
        script.end_silence();
        assert!(block_on(join_all(silent)).iter().all(Result::is_ok));
        assert_eq!(script.inner.lock().unwrap().most_running, MAX_THREADS);
        no_thread_stays(&script, lookups);
    }

    #[test]
    fn a_thread_that_waits_is_taken_before_a_new_one() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        block_on(lookups.ask_first("a.test")).unwrap();
        until(&lookups, "the thread does not wait for work", |state| {
            state.idle == 1
        });
        let second = lookups.ask_first("b.test");
        assert_eq!(lookups.shared.lock().threads, 1);
        block_on(second).unwrap();
    }

    #[test]
    fn a_name_nobody_waits_for_any_more_leaves_the_queue() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let running: Vec<_> = (0..MAX_LOOKUPS)
            .map(|n| lookups.ask_first(&format!("{n}.test")))
            .collect();
        script.begun(MAX_LOOKUPS);
        let (unwanted, wanted) = (
            lookups.ask_first("unwanted.test"),
            lookups.ask_first("wanted.test"),
        );
        let also_wanted = lookups.ask_first("wanted.test");
        drop((unwanted, wanted));
        {
            let state = lookups.shared.lock();
            assert_eq!(state.queue, [HostName::new("wanted.test")]);
            assert_eq!(state.flights.len(), MAX_LOOKUPS + 1);
        }
        script.allow(MAX_LOOKUPS + 1);
        block_on(join_all(running));
        block_on(also_wanted).unwrap();
        assert!(!script.asked().contains(&"unwanted.test".to_owned()));
    }

    #[test]
    fn a_look_up_that_runs_outlives_its_askers() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let mut asker = Box::pin(lookups.ask_first("a.test"));
        script.begun(1);
        let polled = asker.poll_unpin(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        drop(asker);
        script.allow(1);
        until(&lookups, "the look-up did not end", |state| {
            state.flights.is_empty()
        });
        block_on(lookups.ask_first("a.test")).unwrap();
        assert_eq!(script.asked(), ["a.test"]);
    }

    #[test]
    fn an_answer_is_told_again_until_its_time_is_over() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        let start = Instant::now();
        for host in ["unsure.test", "UNSURE.test"] {
            block_on(lookups.ask_at(host, CachePolicy::All, start)).unwrap_err();
        }
        assert_eq!(script.asked().len(), 1);
        let later = Instant::now() + Duration::from_secs(1);
        block_on(lookups.ask_at("unsure.test", CachePolicy::All, later)).unwrap_err();
        assert_eq!(script.asked().len(), 2);
    }

    #[test]
    fn a_panic_is_a_temporary_failure_and_costs_no_thread() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        script.allow(2);
        let failed = block_on(lookups.ask_first("panic.test")).unwrap_err();
        assert!(!failed.not_found);
        assert_eq!(failed.to_string(), "the look-up broke down");
        until(&lookups, "the thread is gone", |state| state.idle == 1);
        block_on(lookups.ask_first("a.test")).unwrap();
    }

    #[test]
    fn without_a_single_thread_the_name_fails_for_now() {
        let script = Arc::new(ResolverScript::default());
        let none = Box::new(|_| Err(io::ErrorKind::WouldBlock.into()));
        let lookups = script.with_threads(none, PATIENCE);
        let failed = block_on(lookups.ask_first("a.test")).unwrap_err();
        assert!(!failed.not_found);
        assert!(failed.to_string().starts_with("no thread to look it up: "));
        let state = lookups.shared.lock();
        assert!(state.queue.is_empty() && state.flights.is_empty() && state.threads == 0);
    }

    #[test]
    fn with_one_thread_and_no_second_the_names_wait() {
        let script = Arc::new(ResolverScript::default());
        let started = AtomicBool::new(false);
        let only_one = Box::new(move |shared| match started.swap(true, Relaxed) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => start_thread(shared),
        });
        let lookups = script.with_threads(only_one, PATIENCE);
        let askers = ["a.test", "b.test", "c.test"].map(|host| lookups.ask_first(host));
        assert_eq!(lookups.shared.lock().threads, 1);
        script.allow(3);
        assert!(block_on(join_all(askers)).iter().all(Result::is_ok));
    }

    #[test]
    fn a_thread_without_work_ends_and_another_takes_its_place() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_threads(Box::new(start_thread), Duration::ZERO);
        script.allow(2);
        for host in ["a.test", "b.test"] {
            block_on(lookups.ask_first(host)).unwrap();
            until(&lookups, "the thread does not end", |state| {
                state.threads == 0
            });
        }
    }

    #[test]
    fn the_threads_go_with_the_last_who_could_ask() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.with_threads(Box::new(start_thread), 10 * PATIENCE);
        script.allow(1);
        block_on(lookups.ask_first("a.test")).unwrap();
        until(&lookups, "the thread does not wait for work", |state| {
            state.idle == 1
        });
        no_thread_stays(&script, lookups);
    }

    #[test]
    fn who_has_asked_is_answered_although_nobody_else_can_ask() {
        let script = Arc::new(ResolverScript::default());
        let lookups = script.lookups();
        let askers: Vec<_> = (0..MAX_LOOKUPS + 1)
            .map(|n| lookups.ask_first(&format!("{n}.test")))
            .collect();
        drop(lookups);
        script.allow(MAX_LOOKUPS + 1);
        assert!(block_on(join_all(askers)).iter().all(Result::is_ok));
    }
}
