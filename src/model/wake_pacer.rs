//! Spaces the wakeups of a thread that processes messages in batches.

use std::time::{Duration, Instant};

/// Minimum time between two wakeups. Waking a thread costs as much as writing several records or a
/// small file, so at high rates messages are processed in batches. A delay of 2 ms is not
/// noticeable.
const WAKE_INTERVAL: Duration = Duration::from_millis(2);

/// Lets a thread rest after a batch if the last one was only just before it.
#[derive(Debug, Default)]
pub(crate) struct WakePacer(Option<Instant>);

impl WakePacer {
    /// Rests for what is left of the interval since the last batch, if `is_idle` says that nothing
    /// is waiting. Called after each batch.
    pub(crate) fn rest_if(&mut self, is_idle: impl FnOnce() -> bool) {
        let elapsed = self.0.map_or(WAKE_INTERVAL, |last| last.elapsed());
        if elapsed < WAKE_INTERVAL && is_idle() {
            std::thread::sleep(WAKE_INTERVAL - elapsed);
        }
        self.0 = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_soon_after_another_is_followed_by_a_rest() {
        let mut pacer = WakePacer::default();
        pacer.rest_if(|| unreachable!("the first batch has none before it"));
        let first = pacer.0.unwrap();
        pacer.rest_if(|| true);
        let second = pacer.0.unwrap();
        assert!(second - first >= WAKE_INTERVAL);
        std::thread::sleep(WAKE_INTERVAL);
        pacer.rest_if(|| unreachable!("the last batch was long ago"));
    }
}
