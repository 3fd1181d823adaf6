//! What the client's connector returns: the addresses of a connection, or an error.

use hyper_util::client::legacy::connect::{Connected, HttpInfo};

/// The error of a connector.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the local and the remote address of a connection; the latter may be a proxy's. The local
/// port identifies the connection within the pool.
pub(super) fn http_info(connected: &Connected) -> Option<HttpInfo> {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras.remove::<HttpInfo>()
}
