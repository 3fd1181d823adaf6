//! Memory budget for the windows of all decoders. A coding may refer back as far as its window:
//! up to 16 MiB per body, a gigabyte for 64 of them. Above the budget, bodies that need more
//! wait, except one at a time, so that there is always progress. If that one is slow because its
//! server is, the others time out and are retried.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::model::{FetchError, TimeLimit};

/// Bytes that all decoders together may hold before they wait for each other.
const SHARED_BYTES: u64 = 16 << 20;
/// Decoders holding less than this are not counted and never wait.
const UNCOUNTED_BYTES: u64 = 256 << 10;

/// Maximum wait for memory. A stalled body hits its own stall timeout (30 s by default) earlier.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(120);

/// The memory budget that all decoders of a run share.
pub(crate) struct DecoderBudget {
    held: AtomicU64,
    /// Notified when a decoder releases memory.
    freed: Notify,
    /// One permit: lets a single body exceed the budget.
    overdraft: Semaphore,
}

impl DecoderBudget {
    pub(crate) fn new() -> Self {
        Self {
            held: AtomicU64::new(0),
            freed: Notify::new(),
            overdraft: Semaphore::new(1),
        }
    }

    /// Creates an empty reservation for one body.
    pub(crate) fn reserve(&self) -> DecoderReservation<'_> {
        DecoderReservation {
            windows: self,
            held: 0,
            overdraft: None,
        }
    }

    fn is_exceeded(&self) -> bool {
        self.held.load(SeqCst) > SHARED_BYTES
    }
}

/// The part of the budget that one body uses. Dropping it releases the memory.
pub(crate) struct DecoderReservation<'a> {
    windows: &'a DecoderBudget,
    held: u64,
    overdraft: Option<SemaphorePermit<'a>>,
}

impl DecoderReservation<'_> {
    /// Waits while the budget is exceeded. Call it before a decoding step that may grow the
    /// window a lot.
    ///
    /// # Errors
    /// `timeout` after 120 s.
    pub(crate) async fn wait_for_room(&mut self) -> Result<(), FetchError> {
        self.wait().await
    }

    /// Sets how many bytes the decoder of this body holds now. If that has grown and the budget is
    /// exceeded, waits.
    ///
    /// # Errors
    /// `timeout` after 120 s.
    pub(crate) async fn set_held(&mut self, window_bytes: u64) -> Result<(), FetchError> {
        let held = if window_bytes < UNCOUNTED_BYTES {
            0
        } else {
            window_bytes
        };
        if held > self.held {
            self.windows.held.fetch_add(held - self.held, SeqCst);
        } else if held < self.held {
            self.windows.held.fetch_sub(self.held - held, SeqCst);
            self.windows.freed.notify_waiters();
        }
        let has_grown = held > self.held;
        self.held = held;
        if held == 0 || !self.windows.is_exceeded() {
            self.overdraft = None;
        } else if has_grown {
            self.wait().await?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), FetchError> {
        if self.overdraft.is_some() || !self.windows.is_exceeded() {
            return Ok(());
        }
        let waited = timeout(WINDOW_TIMEOUT, self.until_free()).await;
        waited.map_err(|_| FetchError::Timeout {
            limit: TimeLimit::Decoder(WINDOW_TIMEOUT),
        })
    }

    /// Waits until the budget is no longer exceeded, or this body gets the overdraft permit.
    async fn until_free(&mut self) {
        while self.overdraft.is_none() && self.windows.is_exceeded() {
            let freed = self.windows.freed.notified();
            tokio::pin!(freed);
            // Register before the check, so that a release in between is not missed.
            freed.as_mut().enable();
            if !self.windows.is_exceeded() {
                return;
            }
            tokio::select! {
                // The semaphore is never closed.
                permit = self.windows.overdraft.acquire() => self.overdraft = permit.ok(),
                () = freed => {}
            }
        }
    }
}

/// Reports what a simulated run has left over.
#[cfg(test)]
impl Drop for DecoderBudget {
    fn drop(&mut self) {
        let held = self.held.load(SeqCst);
        if held > 0 {
            crate::model::report_leak(format!("{held} bytes of decoders"));
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

    /// Whether a step completes without waiting.
    fn at_once(step: impl Future<Output = Result<(), FetchError>>) -> bool {
        step.now_or_never().is_some()
    }

    #[tokio::test]
    async fn small_bodies_never_wait_and_one_large_body_may_exceed_the_budget() {
        let windows = DecoderBudget::new();
        let mut shares: Vec<_> = (0..4).map(|_| windows.reserve()).collect();
        let [large, small, first, second] = &mut shares[..] else {
            panic!()
        };
        assert!(at_once(large.set_held(SHARED_BYTES)));
        assert!(at_once(small.set_held(UNCOUNTED_BYTES - 1)));
        assert!(
            at_once(first.set_held(UNCOUNTED_BYTES)),
            "it gets the overdraft"
        );
        assert!(at_once(first.set_held(SHARED_BYTES)), "and keeps it");
        assert!(at_once(small.set_held(UNCOUNTED_BYTES - 2)));
        assert!(!at_once(second.wait_for_room()));
        let mut waiting = Box::pin(second.set_held(UNCOUNTED_BYTES));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(at_once(first.set_held(0)));
        assert!(waiting.as_mut().now_or_never().is_some(), "the next");
    }

    #[tokio::test]
    async fn a_body_that_shrinks_returns_the_overdraft() {
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
    async fn a_dropped_reservation_wakes_the_others() {
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
            matches!(
                error,
                FetchError::Timeout {
                    limit: TimeLimit::Decoder(WINDOW_TIMEOUT)
                }
            ),
            "{error}"
        );
        assert_eq!(
            windows.overdraft.available_permits(),
            0,
            "the first body holds it"
        );
    }
}
