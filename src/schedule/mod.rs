//! Whose turn it is. [`HostQueue`] decides, purely; this shell waits.

mod queue;
mod retry;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::model::{Attempt, Feedback, HostKey, Live};

pub use queue::{HostId, HostQueue, Turn};
pub use retry::{Decision, RetryPolicy, Situation, parse_retry_after};

/// Limits of the scheduler.
#[derive(Debug, Clone)]
pub struct ScheduleOptions {
    /// Requests to one host at the same time.
    pub per_host: NonZeroUsize,
    /// Jobs held in memory so that idle capacity finds work on other hosts, parked ones
    /// included; about 250 bytes each.
    pub look_ahead: NonZeroUsize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            per_host: NonZeroUsize::MIN.saturating_add(9),
            look_ahead: NonZeroUsize::MIN.saturating_add(32_767),
        }
    }
}

/// The scheduler was stopped; the attempt was not taken.
#[derive(Debug)]
pub struct Stopped;

/// Hands out leases, one for each attempt that may run now.
#[derive(Debug)]
pub struct Scheduler {
    state: Mutex<State>,
    live: Arc<Live>,
    look_ahead: usize,
    /// Something became runnable, or the end came.
    work: Notify,
    /// The feed may push again.
    room: Notify,
    /// The earliest timer changed.
    timer: Notify,
}

#[derive(Debug)]
struct State {
    queue: HostQueue<Attempt>,
    stopped: bool,
    feed_waits: bool,
}

impl Scheduler {
    /// A scheduler with nothing in it.
    #[must_use]
    pub fn new(options: &ScheduleOptions, live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: HostQueue::new(options.per_host),
                stopped: false,
                feed_waits: false,
            }),
            live,
            look_ahead: options.look_ahead.get(),
            work: Notify::new(),
            room: Notify::new(),
            timer: Notify::new(),
        })
    }

    /// A panic while the lock was held can't leave the queue half changed (its methods
    /// don't call out), so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an attempt; waits while the look-ahead is full.
    ///
    /// # Errors
    /// [`Stopped`] after [`stop`](Self::stop).
    pub async fn push(&self, attempt: Attempt) -> Result<(), Stopped> {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if state.stopped {
                    return Err(Stopped);
                }
                state.feed_waits = state.queue.len() >= self.look_ahead;
                if !state.feed_waits {
                    let host = state.queue.host(HostKey::str_of(attempt.url()));
                    let runnable = state.queue.push(host, attempt);
                    drop(state);
                    if runnable {
                        self.work.notify_one();
                    }
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// No attempt will be pushed any more.
    pub fn input_ended(&self) {
        self.lock().queue.input_ended();
        self.work.notify_one();
    }

    /// No lease is handed out any more. What runs may end.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.work.notify_waiters();
        self.room.notify_one();
    }

    /// The right to run the next attempt; waits for one. `None` when there will be none.
    pub async fn next(self: &Arc<Self>) -> Option<Lease> {
        loop {
            // Made before the look, so that a notification in between is not lost.
            let work = self.work.notified();
            {
                let mut state = self.lock();
                if state.stopped {
                    return None;
                }
                match state.queue.next(now()) {
                    Turn::Run(host, attempt) => {
                        let more = state.queue.has_runnable();
                        drop(state);
                        if more {
                            self.work.notify_one();
                        }
                        return Some(Lease {
                            scheduler: Arc::clone(self),
                            host: Some(host),
                            attempt: Some(attempt),
                        });
                    }
                    Turn::Done => {
                        drop(state);
                        self.work.notify_waiters();
                        return None;
                    }
                    Turn::WaitUntil(_) | Turn::WaitForSlot | Turn::WaitForInput => {}
                }
            }
            work.await;
        }
    }

    /// Brings parked attempts and held hosts back when their time has come. Runs beside
    /// the workers and never ends: one sleeper for all of them, so that a timer does not
    /// wake every idle worker.
    pub async fn keep_time(&self) {
        loop {
            let changed = self.timer.notified();
            let due = self.lock().queue.next_timer();
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due.into()) => {
                        let mut state = self.lock();
                        state.queue.release_due(now());
                        self.live.parked(state.queue.parked());
                        let runnable = state.queue.has_runnable();
                        drop(state);
                        if runnable {
                            self.work.notify_one();
                        }
                    }
                },
            }
        }
    }

    /// Gives a slot back after `change` has put the attempt where it goes next.
    fn give_back(&self, host: HostId, change: impl FnOnce(&mut HostQueue<Attempt>)) {
        let mut state = self.lock();
        let timer_before = state.queue.next_timer();
        change(&mut state.queue);
        state.queue.release(host);
        let timer_changed = state.queue.next_timer() != timer_before;
        let has_room = state.feed_waits && state.queue.len() < self.look_ahead;
        self.live.parked(state.queue.parked());
        drop(state);
        if timer_changed {
            self.timer.notify_one();
        }
        if has_room {
            self.room.notify_one();
        }
    }
}

/// Tokio's clock, so that tests can stop it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The right to run one attempt. Dropped without a word (panic, abort) it gives its
/// slot back, and the job counts as left.
#[derive(Debug)]
pub struct Lease {
    scheduler: Arc<Scheduler>,
    /// Where the slot is; gone once it was given back.
    host: Option<HostId>,
    attempt: Option<Attempt>,
}

impl Lease {
    /// Takes the attempt out, to run it. It is put back by [`park`](Self::park) or
    /// [`hand_over`](Self::hand_over).
    pub fn take(&mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    /// The attempt waits until `until` and then goes to the front of its host.
    pub fn park(mut self, attempt: Attempt, until: Instant, feedback: Feedback) {
        self.give_back(|queue, host| {
            queue.park(host, attempt, until);
            if let Some(hold) = feedback.hold {
                queue.hold(host, hold);
            }
        });
    }

    /// The attempt goes on at another host (or the same), at the front of its queue.
    pub fn hand_over(mut self, attempt: Attempt) {
        self.give_back(|queue, _| {
            let host = queue.host(HostKey::str_of(attempt.url()));
            queue.push_front(host, attempt);
        });
    }

    /// The job is settled.
    pub fn settle(mut self, feedback: Feedback) {
        self.give_back(|queue, host| {
            if let Some(hold) = feedback.hold {
                queue.hold(host, hold);
            }
        });
    }

    /// Nobody else is woken for the freed slot: the worker that frees it asks for its
    /// next lease at once, and `next` wakes another one while more can run.
    fn give_back(&mut self, change: impl FnOnce(&mut HostQueue<Attempt>, HostId)) {
        if let Some(host) = self.host.take() {
            self.scheduler.give_back(host, |queue| change(queue, host));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.host.is_some() {
            self.give_back(|_, _| {});
            // This worker may never come back.
            self.scheduler.work.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Job, Place};
    use std::time::Duration;

    fn attempt(url: &str) -> Attempt {
        Attempt::first(
            Job {
                place: Place {
                    number: 0,
                    input: "-".into(),
                    line: 1,
                },
                url: url::Url::parse(url).unwrap(),
                credentials: None,
                raw: None,
            },
            http::Method::GET,
            false,
        )
    }

    fn scheduler(per_host: usize, look_ahead: usize) -> Arc<Scheduler> {
        let options = ScheduleOptions {
            per_host: NonZeroUsize::new(per_host).unwrap(),
            look_ahead: NonZeroUsize::new(look_ahead).unwrap(),
        };
        Scheduler::new(&options, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_attempt_holds_no_slot_and_comes_back_in_time() {
        let scheduler = scheduler(1, 10);
        let clock = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.keep_time().await }
        });
        scheduler.push(attempt("http://a/1")).await.unwrap();
        scheduler.push(attempt("http://a/2")).await.unwrap();
        scheduler.input_ended();
        let start = now();

        let mut first = scheduler.next().await.unwrap();
        let parked = first.take().unwrap();
        first.park(parked, start + Duration::from_secs(5), Feedback::default());

        let mut second = scheduler.next().await.unwrap();
        assert_eq!(second.take().unwrap().url().path(), "/2");
        assert_eq!(now(), start);
        second.settle(Feedback::default());

        let mut again = scheduler.next().await.unwrap();
        assert_eq!(again.take().unwrap().url().path(), "/1");
        assert!(now() >= start + Duration::from_secs(5));
        again.settle(Feedback::default());
        assert!(scheduler.next().await.is_none());
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
        scheduler.next().await.unwrap().settle(Feedback::default());
        assert!(push.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_lease_frees_its_slot_and_stop_ends_every_wait() {
        let scheduler = scheduler(1, 10);
        scheduler.push(attempt("http://a/1")).await.unwrap();
        scheduler.push(attempt("http://a/2")).await.unwrap();
        drop(scheduler.next().await.unwrap());
        let held = scheduler.next().await.unwrap();
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.next().await.is_none() }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        scheduler.stop();
        assert!(waiting.await.unwrap());
        assert!(scheduler.push(attempt("http://a/3")).await.is_err());
        drop(held);
    }
}
