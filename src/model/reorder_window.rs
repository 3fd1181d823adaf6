//! A credit between the feed and a reporter that holds records back.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// How many jobs may be read before the oldest of them has been written. `--ordered`
/// holds finished records back until their turn comes; the window keeps what is held
/// back finite: the feed takes a credit for each job, the reporter gives it back.
#[derive(Debug, Clone)]
pub struct ReorderWindow(Arc<Semaphore>);

impl ReorderWindow {
    /// A window of `size` jobs.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self(Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes one credit; waits while there is none.
    pub async fn acquire(&self) {
        // The semaphore is never closed, so this can't fail.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }

    /// Gives one credit back.
    pub fn release(&self) {
        self.0.add_permits(1);
    }
}
