//! Decides which request runs next. [`FairQueue`] is pure; [`Scheduler`] adds locking and waiting.
//!
//! What is known about a host is in its [`HostControl`](host_control::HostControl): its concurrency
//! limit ([`limit`]), its pace in requests per second ([`pace`]), until when it is on hold, and
//! whether it is reachable ([`circuit_breaker`]). The numbers behind these decisions are in
//! [`tuning`].

mod backoff;
mod bandwidth;
pub(crate) mod bench_api;
mod circuit_breaker;
#[cfg(test)]
mod fuzz;
mod host_change;
mod host_control;
#[cfg(test)]
#[cfg(interleaved)]
mod interleavings;
mod lease;
mod limit;
mod pace;
mod queue;
mod ratelimit;
mod retry;
mod retry_after;
mod retry_on;
mod robots;
mod segments;
mod spacing;
mod tally;
mod throttle_trial;
mod timers;
mod tuning;

use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::{mpsc, watch};
use url::Url;

use crate::model::sync::{Mutex, MutexGuard, Notify, sleep_until};
use crate::model::{
    Attempt, Feedback, FetchError, HostKey, HostVerdict, Job, LiveStats, ROBOTS_PATH, RobotsBody,
    SettledJob, Straggler, deadline_after, is_robots_txt, now,
};

use circuit_breaker::ProbePolicy;
use host_change::HostChange;
use host_control::HostPolicy;
pub use host_control::{HostLimit, HostLimits};
use queue::{FairQueue, GatedItem, QueueLimits, Ticket, Turn};
use robots::{Denial, Permission, RobotsRegistry, SiteRules};

pub(crate) use bandwidth::{Bandwidth, BodyPace};
pub(crate) use host_control::StartSnapshot;
pub(crate) use lease::{Lease, SegmentSlots};
pub use limit::PerHostLimit;
pub(crate) use ratelimit::exhausted_for;
pub use retry::RetryPolicy;
pub(crate) use retry::{FailureContext, RetryDecision};
pub(crate) use retry_after::retry_after;
pub use retry_on::RetryRules;
pub use robots::RobotsOptions;
pub use segments::SegmentRules;
pub(crate) use segments::{SegmentPlan, SegmentRequest};

/// Limits of the scheduler.
#[derive(Debug, Clone)]
pub struct ScheduleOptions {
    /// Concurrent requests per host.
    pub per_host: PerHostLimit,
    /// Minimum time between request starts per host. Zero by default.
    pub host_interval: Duration,
    /// Limits of single hosts, by name as in a URL.
    pub hosts: Arc<HostLimits>,
    /// Overall request rate, in requests per second, above 0. `None`: no limit.
    pub rate: Option<f64>,
    /// Bytes of bodies per second, over all hosts, as they come on the wire. `None`: no limit.
    pub limit_rate: Option<u64>,
    /// The same for each host.
    pub host_limit_rate: Option<u64>,
    /// Whether and how robots.txt is obeyed; `None`: it is not read.
    pub robots: Option<RobotsOptions>,
    /// Maximum jobs in memory, running and parked ones included. 32,768 by default. A large
    /// look-ahead finds work on other hosts when one is slow. A job takes 0.3 KiB, or 1.3 KiB if
    /// each is for another host.
    pub look_ahead: NonZeroUsize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            per_host: PerHostLimit::default(),
            host_interval: Duration::ZERO,
            hosts: Arc::default(),
            rate: None,
            limit_rate: None,
            host_limit_rate: None,
            robots: None,
            look_ahead: NonZeroUsize::MIN.saturating_add(32_767),
        }
    }
}

/// Maximum bytes of URLs, bodies and headers in the look-ahead. Only lists with long lines reach
/// it.
const MAX_AHEAD_BYTES: usize = 32 << 20;

/// Number of attempts that are compared with new rules at a time.
const MAX_REVIEWED: usize = 256;

/// The scheduler has stopped and did not take the attempt.
#[derive(Debug)]
pub(crate) struct SchedulerStopped;

/// The threads that run attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerThreads {
    /// Their number, at least 1.
    pub count: usize,
    /// Maximum attempts that each can run at once.
    pub most_per_thread: usize,
    /// Maximum pending connections that do not count against the limit on concurrent requests.
    pub spare: usize,
}

/// Limits that replace those of a run while it goes on.
#[derive(Debug, Clone)]
pub struct LimitUpdate {
    /// Maximum concurrent requests.
    pub concurrency: NonZeroUsize,
    /// The other limits. The look-ahead stays as it was.
    pub schedule: ScheduleOptions,
}

/// Where a run gets new limits from.
pub(crate) type LimitUpdates = mpsc::UnboundedReceiver<LimitUpdate>;

/// What the scheduler gives a worker to do.
#[derive(Debug)]
pub(crate) enum Dispatch {
    /// Run an attempt.
    Run(Lease),
    /// Fail the job of this attempt: its host was given up.
    Fail(Box<Attempt>, FetchError),
}

/// Hands out leases, one per attempt that may run now.
#[derive(Debug)]
pub(crate) struct Scheduler {
    state: Mutex<SchedulerState>,
    live: Arc<LiveStats>,
    /// What the origins allow, if the run obeys that.
    robots: Option<RobotsRegistry>,
    look_ahead: usize,
    /// For each thread: notified when something becomes runnable there, or nothing more will.
    work: Vec<Notify>,
    /// Notified when the feed may push again.
    room: Notify,
    /// Notified when the earliest timer changes.
    timer: Notify,
    /// How many workers each thread has.
    workers: watch::Sender<usize>,
}

#[derive(Debug)]
struct SchedulerState {
    queue: FairQueue<Box<Attempt>>,
    /// Heap bytes of all attempts, running ones included.
    weight: usize,
    stopped: bool,
    feed_waits: bool,
    /// For each thread: whether a worker was woken and has not yet asked for its next action.
    woken: Vec<bool>,
    /// The time until which `run_timers` sleeps.
    timer: Option<Instant>,
}

impl Scheduler {
    /// Creates an empty scheduler for `total` concurrent requests. A host that is down gets as many
    /// probes, and with the same backoff, as a job gets retries.
    #[must_use]
    pub(crate) fn new(
        options: &ScheduleOptions,
        retry: &RetryPolicy,
        total: NonZeroUsize,
        threads: WorkerThreads,
        live: Arc<LiveStats>,
    ) -> Arc<Self> {
        let rules = rules(options, retry, total);
        Arc::new(Self {
            state: Mutex::new(SchedulerState {
                queue: FairQueue::new(rules, start_interval(options.rate))
                    .with_limits(Arc::clone(&options.hosts))
                    .with_threads(threads.count, threads.most_per_thread)
                    .with_spare(threads.spare)
                    .with_exempt(|attempt| is_exempt(attempt)),
                weight: 0,
                stopped: false,
                feed_waits: false,
                woken: vec![false; threads.count],
                timer: None,
            }),
            live,
            robots: options.robots.clone().map(RobotsRegistry::new),
            look_ahead: options.look_ahead.get(),
            work: (0..threads.count).map(|_| Notify::new()).collect(),
            room: Notify::new(),
            timer: Notify::new(),
            workers: watch::channel(threads.most_per_thread).0,
        })
    }

    /// Changes the limits during the run. Running attempts may finish.
    pub(crate) fn set_limits(&self, update: &LimitUpdate, threads: WorkerThreads) {
        let options = &update.schedule;
        // First the workers, so that one finds work as soon as there is any.
        self.workers.send_replace(threads.most_per_thread);
        self.update(|state, now| {
            let limits = QueueLimits {
                rules: HostPolicy {
                    per_host: options.per_host,
                    total: update.concurrency,
                    host_interval: options.host_interval,
                    ..state.queue.rules()
                },
                hosts: Arc::clone(&options.hosts),
                rate: start_interval(options.rate),
                most_per_thread: threads.most_per_thread,
                spare: threads.spare,
            };
            state.queue.set_limits(limits, now);
        });
        // Each thread may have work now, and only one was woken.
        self.wake_all();
        self.timer.notify_one();
    }

    /// Returns how many workers each thread has to have, as that changes.
    pub(crate) fn worker_count(&self) -> watch::Receiver<usize> {
        self.workers.subscribe()
    }

    /// Locks the state, ignoring poisoning: the queue's methods do not call out, so a panic cannot
    /// leave it half changed.
    fn lock(&self) -> MutexGuard<'_, SchedulerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and notifies everything that waits for the change.
    fn update<R>(&self, change: impl FnOnce(&mut SchedulerState, Instant) -> R) -> R {
        let (result, thread) = self.update_state(change, SchedulerState::thread_to_wake);
        if let Some(thread) = thread {
            self.wake(thread);
        }
        result
    }

    /// Like [`update`](Self::update), but wakes no worker, because the caller is about to call
    /// `next`.
    fn update_no_wake<R>(&self, change: impl FnOnce(&mut SchedulerState, Instant) -> R) -> R {
        self.update_state(change, |_, _| ()).0
    }

    fn update_state<R, W>(
        &self,
        change: impl FnOnce(&mut SchedulerState, Instant) -> R,
        to_wake: impl FnOnce(&mut SchedulerState, Instant) -> W,
    ) -> (R, W) {
        let now = now();
        let mut state = self.lock();
        let result = change(&mut state, now);
        let to_wake = to_wake(&mut state, now);
        let has_room = state.feed_waits && !self.is_full_of(&state);
        let timer_changed = state.timer_changed(now);
        let changes = state.queue.take_changes();
        self.live.set_parked(state.queue.parked());
        self.live.set_active_hosts(state.queue.active_hosts());
        self.live.set_running(state.queue.running());
        if state.queue.is_tail() {
            self.live.set_waiting(|| stragglers(&state.queue, now));
        }
        drop(state);
        publish_holds(&self.live, &changes, now);
        if timer_changed {
            self.timer.notify_one();
        }
        if has_room {
            self.room.notify_one();
        }
        log(&changes);
        (result, to_wake)
    }

    /// Wakes a worker of a thread: the last one that ran, because its memory is in the cache, and a
    /// worker that has not run yet would need more.
    fn wake(&self, thread: usize) {
        if let Some(work) = self.work.get(thread) {
            work.notify_last();
        }
    }

    /// Wakes all workers.
    fn wake_all(&self) {
        self.work.iter().for_each(Notify::notify_waiters);
    }

    /// Whether the look-ahead is full, so that the next push waits.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.is_full_of(&self.lock())
    }

    fn is_full_of(&self, state: &SchedulerState) -> bool {
        state.queue.len() >= self.look_ahead || state.weight >= MAX_AHEAD_BYTES
    }

    /// Whether long redirects have grown the look-ahead to twice its byte limit, so that no further
    /// ones may be followed.
    #[must_use]
    pub(crate) fn is_overweight(&self) -> bool {
        self.lock().weight >= MAX_AHEAD_BYTES * 2
    }

    /// Queues an attempt; waits while the look-ahead is full.
    ///
    /// # Errors
    /// [`SchedulerStopped`] after [`stop`](Self::stop).
    pub(crate) async fn push(&self, attempt: Box<Attempt>) -> Result<(), SchedulerStopped> {
        let mut permission = Some(self.permission(&attempt));
        let mut attempt = Some(attempt);
        loop {
            let room = self.room.notified();
            let is_stopped = self.update(|state, now| {
                state.feed_waits = self.is_full_of(state);
                let is_pushed = !state.feed_waits && !state.stopped;
                if let Some(attempt) = attempt.take_if(|_| is_pushed) {
                    state.weight += attempt.heap_bytes();
                    let permission = permission.take().unwrap_or(Permission::Unknown);
                    self.admit(state, attempt, false, permission, now);
                }
                state.stopped
            });
            match (&attempt, is_stopped) {
                (None, _) => return Ok(()),
                (Some(_), true) => return Err(SchedulerStopped),
                (Some(_), false) => room.await,
            }
        }
    }

    /// Queues an attempt that was handed out as [`Dispatch::Fail`], ahead of the new attempts at its
    /// host, which is another one now.
    pub(crate) fn requeue(&self, attempt: Box<Attempt>) {
        let permission = self.permission(&attempt);
        self.update(|state, now| {
            state.weight += attempt.heap_bytes();
            self.admit(state, attempt, true, permission, now);
        });
    }

    /// Decides whether the origin of an attempt allows it.
    fn permission(&self, attempt: &Attempt) -> Permission {
        match &self.robots {
            Some(robots) if !is_exempt(attempt) => robots.permission(attempt.url()),
            _ => Permission::Granted(None),
        }
    }

    /// Puts an attempt where it belongs: into the queue of its host, or among those that fail. If the
    /// rules of its origin are not known, the gate of its host is closed until they are, and a job that
    /// fetches them is queued.
    fn admit(
        &self,
        state: &mut SchedulerState,
        mut attempt: Box<Attempt>,
        is_returned: bool,
        permission: Permission,
        now: Instant,
    ) {
        // They may have become known since.
        let permission = match permission {
            Permission::Unknown => self.permission(&attempt),
            decided => decided,
        };
        let robots = match permission {
            Permission::Denied(denial) => {
                let error = apply(denial, &mut attempt);
                return state.queue.deny(attempt, error);
            }
            Permission::Unknown => Job::for_robots(attempt.url()),
            Permission::Granted(_) => None,
        };
        let queue = &mut state.queue;
        let host = queue.intern_host(HostKey::key_str(attempt.url()));
        if let Permission::Granted(Some(rules)) = permission {
            queue.set_host_rules(host, rules);
        }
        if let Some(robots) = robots
            && queue.close_gate(host)
        {
            let robots = Box::new(Attempt::new(robots, Method::GET, false));
            state.weight += robots.heap_bytes();
            queue.push(host, robots, now);
        }
        match is_returned {
            true => queue.push_returned(host, attempt, now),
            false => queue.push(host, attempt, now),
        }
    }

    /// Takes in the robots.txt of an origin, and lets those of its URLs run that it allows.
    pub(crate) fn learn_rules(&self, settled: &SettledJob, body: &RobotsBody) {
        let Some(robots) = &self.robots else {
            return;
        };
        let url = settled.record.url.as_str();
        let origin = url.strip_suffix(ROBOTS_PATH).unwrap_or(url);
        let rules = SiteRules::read(
            body,
            &settled.outcome,
            (settled.record.redirects > 0, settled.record.simulated),
            robots.agent(),
        );
        let mut allowed = Vec::new();
        loop {
            let gated = self.update(|state, now| {
                let gated = state.queue.take_gated(origin, MAX_REVIEWED);
                if gated.is_empty() {
                    let host = robots.insert(origin, rules.clone());
                    let allowed = std::mem::take(&mut allowed);
                    state.queue.open_gate(origin, host, allowed, now);
                }
                gated
            });
            if gated.is_empty() || self.lock().stopped {
                return;
            }
            // Matched without the lock: there may be many URLs, and hostile patterns.
            let judge = |mut gated: GatedItem<Box<Attempt>>| match rules.denial(gated.item.url()) {
                Some(denial) => {
                    let error = apply(denial, &mut gated.item);
                    Err((gated, error))
                }
                None => Ok(gated),
            };
            let mut denied = Vec::new();
            for judged in gated.into_iter().map(judge) {
                match judged {
                    Ok(gated) => allowed.push(gated),
                    Err(gated) => denied.push(gated),
                }
            }
            self.update(|state, _| {
                for (gated, error) in denied {
                    state.queue.deny_gated(gated, error);
                }
            });
        }
    }

    /// Returns what the robots.txt of its origin says about the use of a URL, as far as known.
    #[must_use]
    pub(crate) fn content_usage(&self, url: &Url) -> Option<String> {
        self.robots.as_ref()?.content_usage(url)
    }

    /// Parks an attempt that was handed out as [`Dispatch::Fail`] until `until`. It is then
    /// queued ahead of the new attempts at its host. Its URL was let through before.
    pub(crate) fn park(&self, attempt: Box<Attempt>, until: Instant) {
        self.update(|state, _| {
            state.weight += attempt.heap_bytes();
            let host = state.queue.intern_host(HostKey::key_str(attempt.url()));
            state.queue.park(host, attempt, until);
        });
    }

    /// Marks the input as ended: nothing will be pushed any more.
    pub(crate) fn input_ended(&self) {
        self.lock().queue.input_ended();
        // Only if all is done has a waiting worker to notice it, whichever that is.
        self.wake(0);
    }

    /// Stops handing out leases. Running attempts may finish.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake_all();
        self.room.notify_one();
    }

    /// Waits for the next action of a thread; `None` when there will be no more.
    pub(crate) async fn next(self: &Arc<Self>, thread: usize) -> Option<Dispatch> {
        let work = self.work.get(thread)?;
        loop {
            // Created before the check, so that a notification in between is not lost.
            let work = work.notified();
            match self.update(|state, now| state.next(thread, now))? {
                Turn::Run(ticket, attempt) if self.has_expired_rules(&ticket, &attempt) => {
                    self.ask_again(&ticket, attempt);
                    continue;
                }
                Turn::Run(ticket, attempt) => {
                    return Some(Dispatch::Run(Lease::new(self, ticket, attempt)));
                }
                Turn::Fail(attempt, error) => return Some(Dispatch::Fail(attempt, error)),
                Turn::Done => {
                    self.wake_all();
                    return None;
                }
                Turn::WaitUntil(_) | Turn::WaitForSlot | Turn::WaitForInput => {}
            }
            work.await;
        }
    }

    /// Whether the rules that let an attempt through no longer count.
    fn has_expired_rules(&self, ticket: &Ticket, attempt: &Attempt) -> bool {
        let is_obeyed = self.robots.is_some() && !is_exempt(attempt);
        is_obeyed && self.lock().queue.has_expired_rules(ticket.host, now())
    }

    /// Gives a turn back, and decides anew about the attempt.
    fn ask_again(&self, ticket: &Ticket, attempt: Box<Attempt>) {
        self.update(|state, now| {
            let feedback = Feedback::from_verdict(HostVerdict::Inconclusive);
            self.admit(state, attempt, true, Permission::Unknown, now);
            state.queue.release(ticket, &feedback, now);
        });
    }

    /// Returns parked attempts and waiting hosts to the queue when they are due. Never ends. One
    /// task does this for all workers, so that a timer does not wake every idle worker.
    pub(crate) async fn run_timers(&self) {
        loop {
            let changed = self.timer.notified();
            // At one moment: what is to be waited for, and whether a worker has to be woken. A wait for
            // the rate that is over is in neither if the one is asked before and the other after.
            let due = self.update(|state, now| {
                state.queue.unpark_due(now);
                state.timer = state.queue.next_timer(now);
                state.timer
            });
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    biased;
                    () = sleep_until(due.into()) => {}
                    () = changed => {}
                },
            }
        }
    }
}

impl SchedulerState {
    /// Decides what a thread does next; `None` after a stop.
    fn next(&mut self, thread: usize, now: Instant) -> Option<Turn<Box<Attempt>>> {
        if let Some(woken) = self.woken.get_mut(thread) {
            *woken = false;
        }
        if self.stopped {
            return None;
        }
        let turn = self.queue.next(thread, now);
        if let Turn::Fail(attempt, _) = &turn {
            self.change_weight(attempt.heap_bytes(), 0);
        }
        Some(turn)
    }

    /// Returns the thread of which a worker has to be woken. One that was woken already wakes
    /// the next one if there is still work then.
    fn thread_to_wake(&mut self, now: Instant) -> Option<usize> {
        let thread = self.queue.next_thread(now)?;
        let woken = self.woken.get_mut(thread)?;
        (!std::mem::replace(woken, true)).then_some(thread)
    }

    /// Replaces the heap bytes of an attempt.
    fn change_weight(&mut self, before: usize, after: usize) {
        self.weight = (self.weight + after).saturating_sub(before);
    }

    /// Updates the next timer and returns whether `run_timers` has to wake up earlier for it.
    fn timer_changed(&mut self, now: Instant) -> bool {
        let next = self.queue.next_timer(now);
        let sooner = match (next, self.timer) {
            (Some(next), Some(timer)) => next < timer,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner {
            self.timer = next;
        }
        sooner
    }
}

/// Reports what a simulated run has left over.
#[cfg(test)]
impl Drop for Scheduler {
    fn drop(&mut self) {
        let state = self.lock();
        let (running, queued, weight) = (state.queue.running(), state.queue.len(), state.weight);
        let is_left = !state.stopped && (queued > 0 || weight > 0);
        drop(state);
        if running > 0 || is_left {
            let text = format!("{running} running, {queued} queued of {weight} bytes");
            crate::model::report_leak(text);
        }
    }
}

/// Returns the time between two starts at this rate per second.
fn start_interval(rate: Option<f64>) -> Option<Duration> {
    rate.map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX))
}

fn rules(options: &ScheduleOptions, retry: &RetryPolicy, total: NonZeroUsize) -> HostPolicy {
    HostPolicy {
        per_host: options.per_host,
        total,
        host_interval: options.host_interval,
        probing: ProbePolicy {
            probes: retry.retries,
            delay: retry.delay,
            max_delay: retry.max_delay,
        },
        retry_after_max: retry.retry_after_max,
        max_wait: retry.max_wait,
    }
}

/// Returns the error of an attempt that must not run.
fn apply(denial: Denial, attempt: &mut Attempt) -> FetchError {
    attempt.simulated |= denial.is_simulated;
    denial.error
}

/// Whether an attempt needs no permission: it fetches a robots.txt, for the run or for the list.
fn is_exempt(attempt: &Attempt) -> bool {
    attempt.job.robots().is_some() || is_robots_txt(attempt.url())
}

fn stragglers(queue: &FairQueue<Box<Attempt>>, now: Instant) -> Vec<Straggler> {
    let waiting = queue.waiting(now).map(|(attempt, phase)| Straggler {
        url: attempt.url().as_str().to_owned(),
        phase,
    });
    waiting.collect()
}

/// Publishes which hosts are on hold, for the progress display.
fn publish_holds(live: &LiveStats, changes: &[(HostKey, HostChange)], now: Instant) {
    for (host, change) in changes {
        match change {
            HostChange::Held(wait) | HostChange::CircuitOpen { probe_in: wait, .. } => {
                live.hold_host(host, deadline_after(now, *wait));
            }
            HostChange::CircuitClosed | HostChange::GivenUp => live.release_host(host),
            HostChange::Limit { .. } | HostChange::Pace(_) | HostChange::CrawlDelay(_) => {}
        }
    }
}

fn log(changes: &[(HostKey, HostChange)]) {
    for (host, change) in changes {
        tracing::info!(%host, "{change}");
    }
}

#[cfg(test)]
mod server_models;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn attempt(url: &str) -> Box<Attempt> {
        let attempt = Attempt::new(Job::plain(url), http::Method::GET, false);
        Box::new(attempt)
    }

    const ONE_THREAD: WorkerThreads = WorkerThreads {
        spare: 0,
        count: 1,
        most_per_thread: usize::MAX,
    };

    fn scheduler(per_host: usize, look_ahead: usize) -> Arc<Scheduler> {
        let options = ScheduleOptions {
            per_host: PerHostLimit::Fixed(NonZeroUsize::new(per_host).unwrap()),
            look_ahead: NonZeroUsize::new(look_ahead).unwrap(),
            ..ScheduleOptions::default()
        };
        let total = NonZeroUsize::new(100).unwrap();
        Scheduler::new(
            &options,
            &RetryPolicy::default(),
            total,
            ONE_THREAD,
            Arc::default(),
        )
    }

    async fn lease(scheduler: &Arc<Scheduler>) -> Lease {
        match scheduler.next(0).await {
            Some(Dispatch::Run(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn answered() -> Feedback {
        Feedback::from_verdict(HostVerdict::Answered)
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_attempt_holds_no_slot_and_comes_back_in_time() {
        let scheduler = scheduler(1, 10);
        let clock = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run_timers().await }
        });
        scheduler.push(attempt("http://a/1")).await.unwrap();
        scheduler.push(attempt("http://a/2")).await.unwrap();
        scheduler.input_ended();
        let start = now();

        let mut first = lease(&scheduler).await;
        let parked = first.take().unwrap();
        first.park(parked, start + Duration::from_secs(5), &answered());

        let mut second = lease(&scheduler).await;
        assert_eq!(second.take().unwrap().url().path(), "/2");
        assert_eq!(now(), start);
        second.release(&answered());

        let mut again = lease(&scheduler).await;
        assert_eq!(again.take().unwrap().url().path(), "/1");
        assert!(now() >= start + Duration::from_secs(5));
        again.release(&answered());
        assert!(scheduler.next(0).await.is_none());
        clock.abort();
    }

    /// On a busy machine, the timers may run only after what they were to wait for.
    #[tokio::test(start_paused = true)]
    async fn a_wait_for_the_rate_that_is_over_before_the_timers_run_wakes_a_worker() {
        let options = ScheduleOptions {
            rate: Some(500.0),
            ..ScheduleOptions::default()
        };
        let total = NonZeroUsize::MIN;
        let retry = RetryPolicy::default();
        let scheduler = Scheduler::new(&options, &retry, total, ONE_THREAD, Arc::default());
        scheduler.push(attempt("http://a/1")).await.unwrap();
        scheduler.push(attempt("http://a/2")).await.unwrap();
        scheduler.input_ended();
        lease(&scheduler).await.release(&answered());
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { lease(&scheduler).await.release(&answered()) }
        });
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        let clock = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run_timers().await }
        });
        let ended = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        ended.expect("no worker was woken").unwrap();
        clock.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_feed_waits_while_the_look_ahead_is_full() {
        let scheduler = scheduler(1, 1);
        scheduler.push(attempt("http://a/1")).await.unwrap();
        let push = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.push(attempt("http://a/2")).await.is_ok() }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!push.is_finished());
        lease(&scheduler).await.release(&answered());
        assert!(push.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_lease_frees_its_slot_and_stop_ends_every_wait() {
        let scheduler = scheduler(1, 10);
        scheduler.push(attempt("http://a/1")).await.unwrap();
        scheduler.push(attempt("http://a/2")).await.unwrap();
        drop(lease(&scheduler).await);
        let held = lease(&scheduler).await;
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.next(0).await.is_none() }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        scheduler.stop();
        assert!(waiting.await.unwrap());
        assert!(scheduler.push(attempt("http://a/3")).await.is_err());
        drop(held);
    }
}
