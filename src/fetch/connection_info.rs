//! What the client's connector returns: the addresses of a connection, or an error.

use hyper_util::client::legacy::connect::{Connected, HttpInfo};

/// The error of a connector.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the local port of a connection, which identifies it within the pool.
pub(super) fn local_port(connected: &Connected) -> Option<u16> {
    http_info(connected).map(|info| info.local_addr().port())
}

/// Returns the local and the remote address of a connection; the latter may be a proxy's.
pub(super) fn http_info(connected: &Connected) -> Option<HttpInfo> {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras.remove::<HttpInfo>()
}
