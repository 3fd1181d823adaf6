//! Sends one request and returns one raw response. The engine follows redirects and applies the
//! decoder, the length check and the stall clock, which stand here, to whatever transport it has:
//! so simulated faults face the real checks.

mod chunk_repair;
mod classify;
mod client_certificate;
mod client_rotation;
mod clock;
mod coding_names;
mod coding_window;
mod connect;
mod connection_info;
mod decode;
mod dns;
mod fault;
mod fault_plan;
mod fd_budget;
#[cfg(test)]
mod fuzz;
mod habits;
mod http;
mod lenient;
mod local_end;
mod netrc;
mod options;
mod pem;
mod proxy;
mod public_address;
mod received;
mod repair;
mod tls;
mod tls_version;
mod trust;
mod tunnel;
mod upload;
mod wire_lines;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Attempt, FetchError, ResponseHead, WireState};

pub(crate) use coding_names::extension;
pub(crate) use coding_window::ContentCoding;
pub(crate) use decode::{Decoder, codings, transfer_codings};
pub use dns::ResolveRule;
pub(crate) use fault::FaultyTransport;
pub use fault_plan::FaultPlan;
pub use fd_budget::max_requests;
pub(crate) use http::HttpTransport;
pub use local_end::{AddressFamily, LocalEnd};
pub use netrc::Netrc;
pub use options::{
    ClientCertificate, HostRequestOptions, HttpOptions, HttpVersion, Proxy, ProxyUrl,
    ProxyUrlError, TransportError, is_framing_header,
};
pub(crate) use tls::config as tls_config;

/// The raw body of a response, as received from the wire.
pub(crate) trait ResponseBody: Send {
    /// Returns the next bytes, or `None` at the end. Cancel-safe: dropping the future loses no
    /// data.
    ///
    /// # Errors
    /// When the connection fails or the server sends invalid HTTP.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, FetchError>> + Send;
}

/// A response whose head has been received.
#[derive(Debug)]
pub(crate) struct RawResponse<B> {
    /// The head as sent.
    pub head: ResponseHead,
    /// The unread body.
    pub body: B,
}

/// Sends one request and returns its raw response.
pub(crate) trait Transport: Send + Sync + 'static {
    /// The type of response bodies.
    type Body: ResponseBody;

    /// Sends the request of `attempt` and records the state of its connection in `wire`.
    ///
    /// # Errors
    /// When no response head is received.
    fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> impl Future<Output = Result<RawResponse<Self::Body>, FetchError>> + Send;

    /// Tries the address that the attempt was sent to last from now on: it was silent, or cut the
    /// response off.
    fn avoid_address(&self, _attempt: &Attempt, _wire: &WireState) {}
}

impl<T: Transport> Transport for Arc<T> {
    type Body = T::Body;

    fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> impl Future<Output = Result<RawResponse<Self::Body>, FetchError>> + Send {
        T::open(self, attempt, wire)
    }

    fn avoid_address(&self, attempt: &Attempt, wire: &WireState) {
        T::avoid_address(self, attempt, wire);
    }
}
