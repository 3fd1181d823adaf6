//! What decoders remember, all bodies together. A coding may refer back to as much as its window:
//! up to 16 MiB of every body, a gigabyte for 64 of them. So once it is much, bodies that need
//! more of it wait; one at a time may go on, so that there is an end to it. Where that one takes
//! long, because its server does, the others fail after a while, to be tried again.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::model::{FetchError, TimeLimit};

/// Bytes that all decoders together may remember before they have to wait for each other.
const SHARED_BYTES: u64 = 16 << 20;
/// Who remembers less than this is small: not counted, and never held up for what it remembers.
const UNCOUNTED_BYTES: u64 = 256 << 10;

/// Longest wait for memory. A body that stalls is ended by its own clock long before.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(120);

/// What all decoders remember.
pub struct DecoderBudget {
    held: AtomicU64,
    /// Somebody has let go.
    freed: Notify,
    /// The right to remember more when it is too much already.
    beyond: Semaphore,
}

impl DecoderBudget {
    pub fn new() -> Self {
        Self {
            held: AtomicU64::new(0),
            freed: Notify::new(),
            beyond: Semaphore::new(1),
        }
    }

    /// What one body has of it: nothing yet.
    pub fn reserve(&self) -> DecoderReservation<'_> {
        DecoderReservation {
            windows: self,
            held: 0,
            beyond: None,
        }
    }

    fn is_too_much(&self) -> bool {
        self.held.load(SeqCst) > SHARED_BYTES
    }
}

/// What one body has of the memory of all decoders. Let go when dropped.
pub struct DecoderReservation<'a> {
    windows: &'a DecoderBudget,
    held: u64,
    beyond: Option<SemaphorePermit<'a>>,
}

impl DecoderReservation<'_> {
    /// The decoder of this body is about to take a step that may make it remember far more than
    /// before. Waits while there is too much already.
    ///
    /// # Errors
    /// `timeout` when that took too long.
    pub async fn wait_for_room(&mut self) -> Result<(), FetchError> {
        self.wait().await
    }

    /// The decoder of this body remembers so many bytes now. Waits while that is too much for all
    /// of them.
    ///
    /// # Errors
    /// `timeout` when that took too long.
    pub async fn set_held(&mut self, remembered: u64) -> Result<(), FetchError> {
        let held = if remembered < UNCOUNTED_BYTES {
            0
        } else {
            remembered
        };
        if held > self.held {
            self.windows.held.fetch_add(held - self.held, SeqCst);
        } else if held < self.held {
            self.windows.held.fetch_sub(self.held - held, SeqCst);
            self.windows.freed.notify_waiters();
        }
        let has_grown = held > self.held;
        self.held = held;
        if held == 0 || !self.windows.is_too_much() {
            self.beyond = None;
        } else if has_grown {
            self.wait().await?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), FetchError> {
        if self.beyond.is_some() || !self.windows.is_too_much() {
            return Ok(());
        }
        let waited = timeout(WINDOW_TIMEOUT, self.until_free()).await;
        waited.map_err(|_| FetchError::Timeout {
            limit: TimeLimit::Decoder(WINDOW_TIMEOUT),
        })
    }

    /// Waits until there is no longer too much, or until it may go on all the same.
    async fn until_free(&mut self) {
        while self.beyond.is_none() && self.windows.is_too_much() {
            let freed = self.windows.freed.notified();
            tokio::pin!(freed);
            // From here on it is not missed.
            freed.as_mut().enable();
            if !self.windows.is_too_much() {
                return;
            }
            tokio::select! {
                // The semaphore is never closed.
                right = self.windows.beyond.acquire() => self.beyond = right.ok(),
                () = freed => {}
            }
        }
    }
}

impl Drop for DecoderReservation<'_> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.windows.held.fetch_sub(self.held, SeqCst);
            self.windows.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// Whether it can go on at once.
    fn at_once(step: impl Future<Output = Result<(), FetchError>>) -> bool {
        step.now_or_never().is_some()
    }

    #[tokio::test]
    async fn small_bodies_never_wait_and_of_large_ones_one_goes_on() {
        let windows = DecoderBudget::new();
        let mut shares: Vec<_> = (0..4).map(|_| windows.reserve()).collect();
        let [large, small, first, second] = &mut shares[..] else {
            panic!()
        };
        assert!(at_once(large.set_held(SHARED_BYTES)));
        assert!(at_once(small.set_held(UNCOUNTED_BYTES - 1)));
        assert!(at_once(first.set_held(UNCOUNTED_BYTES)), "it has the right");
        assert!(at_once(first.set_held(SHARED_BYTES)), "and keeps it");
        assert!(at_once(small.set_held(UNCOUNTED_BYTES - 2)));
        assert!(!at_once(second.wait_for_room()));
        let mut waiting = Box::pin(second.set_held(UNCOUNTED_BYTES));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(at_once(first.set_held(0)));
        assert!(waiting.as_mut().now_or_never().is_some(), "the next");
    }

    #[tokio::test]
    async fn who_leapt_and_is_small_again_gives_the_right_back() {
        let windows = DecoderBudget::new();
        let mut shares: Vec<_> = (0..3).map(|_| windows.reserve()).collect();
        let [large, first, second] = &mut shares[..] else {
            panic!()
        };
        assert!(at_once(large.set_held(SHARED_BYTES)));
        assert!(at_once(first.wait_for_room()));
        assert!(at_once(first.set_held(4 * UNCOUNTED_BYTES)));
        assert!(!at_once(second.wait_for_room()));
        assert!(at_once(first.set_held(UNCOUNTED_BYTES / 2)));
        assert!(at_once(second.wait_for_room()));
    }

    #[tokio::test]
    async fn who_lets_go_lets_the_others_on() {
        let windows = DecoderBudget::new();
        let mut large = windows.reserve();
        let mut shares: Vec<_> = (0..2).map(|_| windows.reserve()).collect();
        let [first, second] = &mut shares[..] else {
            panic!()
        };
        assert!(at_once(large.set_held(SHARED_BYTES)));
        assert!(at_once(first.set_held(UNCOUNTED_BYTES)));
        let mut waiting = Box::pin(second.set_held(UNCOUNTED_BYTES));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(large);
        assert!(waiting.as_mut().now_or_never().is_some());
        drop(waiting);
        drop(shares);
        assert_eq!(windows.held.load(SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_memory_ends() {
        let windows = DecoderBudget::new();
        let mut shares: Vec<_> = (0..3).map(|_| windows.reserve()).collect();
        let [large, first, second] = &mut shares[..] else {
            panic!()
        };
        assert!(at_once(large.set_held(SHARED_BYTES)));
        assert!(at_once(first.set_held(UNCOUNTED_BYTES)));
        let error = second.wait_for_room().await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(
            error.to_string().starts_with("no memory to decode"),
            "{error}"
        );
        assert_eq!(
            windows.beyond.available_permits(),
            0,
            "the first one has it"
        );
    }
}
