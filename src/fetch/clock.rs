//! The clock over connecting. One for the real connection and for the simulated one
//! that never comes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// DNS, TCP and TLS together took too long.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not connected within {limit:?}")]
pub struct ConnectTimedOut {
    pub limit: Duration,
    /// The proxy on the way: it may be what is silent.
    pub proxy: Option<Arc<str>>,
}

/// Waits for `connecting`, but no longer than `limit`.
pub async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = T>,
) -> Result<T, ConnectTimedOut> {
    tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| ConnectTimedOut { limit, proxy: None })
}
