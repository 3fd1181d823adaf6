//! Credits that bound how many records `--ordered` holds back.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Limits how many jobs may be read before the oldest of them is written.
///
/// `--ordered` holds finished records back until their turn. To bound their number, the feed takes
/// a credit for each job and the reporter returns it.
#[derive(Debug, Clone)]
pub(crate) struct ReorderWindow(Arc<Semaphore>);

impl ReorderWindow {
    /// Creates a window of `size` jobs.
    #[must_use]
    pub(crate) fn new(size: usize) -> Self {
        Self(Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes one credit; waits until one is available.
    pub(crate) async fn acquire(&self) {
        // The semaphore is never closed, so this can't fail.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }

    /// Returns one credit.
    pub(crate) fn release(&self) {
        self.0.add_permits(1);
    }
}
