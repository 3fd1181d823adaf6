//! Sends a request and waits for the head of its response.

use std::pin::pin;
use std::sync::Arc;

use super::Engine;
use crate::fetch::{RawResponse, Transport};
use crate::model::{Attempt, FetchError, TimeLimit, WireState, deadline_after, now};

/// Sends the request and waits for the head. Time spent connecting does not count: it has its own
/// timeout. A function of its own, so that nothing of it takes memory while the body arrives.
pub(super) async fn open_in_time<T: Transport, S>(
    engine: &Engine<T, S>,
    attempt: &Attempt,
    wire: &Arc<WireState>,
) -> Result<RawResponse<T::Body>, FetchError> {
    // Pinned on the stack: the future is large, and each call would move it.
    let mut opening = pin!(engine.transport.open(attempt, wire));
    let Some(limit) = engine.options.stall_timeout else {
        return opening.await;
    };
    let start = wire.started();
    let mut deadline = deadline_after(start, limit);
    loop {
        if let Ok(opened) = tokio::time::timeout_at(deadline.into(), &mut opening).await {
            return opened;
        }
        let later = match wire.connect_time() {
            Some(connected) => deadline_after(start + connected, limit),
            None if wire.opened_connection() => deadline_after(now(), limit),
            None => deadline,
        };
        if later <= deadline {
            wire.note_lateness(now().saturating_duration_since(deadline));
            let limit = match wire.proxy() {
                Some(proxy) => TimeLimit::ProxyHead(limit, Arc::clone(proxy)),
                None => TimeLimit::Head(limit),
            };
            return Err(FetchError::Timeout { limit });
        }
        deadline = later;
    }
}
