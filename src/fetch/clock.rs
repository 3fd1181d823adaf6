//! The connect timeout, shared by real connections and simulated ones that hang.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// DNS, TCP and TLS together exceeded the connect timeout.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no connection within {limit:?}")]
pub(super) struct ConnectTimedOut {
    pub limit: Duration,
    /// The proxy that was used, if any: it may be the one that does not respond.
    pub proxy: Option<Arc<str>>,
}

/// Runs `connecting` for at most `limit`.
///
/// # Errors
/// When it takes longer.
pub(super) async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = T>,
) -> Result<T, ConnectTimedOut> {
    tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| ConnectTimedOut { limit, proxy: None })
}
