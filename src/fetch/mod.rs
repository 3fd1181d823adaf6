//! One request, one raw response. No redirects, no decoding, no length check, no stall
//! clock: those stand above, so that a simulated fault meets the real ones.

mod classify;
mod client_rotation;
mod clock;
mod coding_window;
mod connect;
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
mod options;
mod proxy;
mod public_address;
mod received;
mod repair;
mod tls;
mod trust;
mod tunnel;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Attempt, FetchError, ResponseHead, WireState};

pub use decode::{ContentCoding, Decoder, codings, transfer_codings};
pub use dns::ResolveRule;
pub use fault::FaultyTransport;
pub use fault_plan::FaultPlan;
pub use fd_budget::max_requests;
pub use http::HttpTransport;
pub use options::{HttpOptions, HttpVersion, Proxy, ProxyUrl, TransportError, is_framing_header};
pub use tls::config as tls_config;

/// The raw body of a response, as it comes over the wire.
pub trait ResponseBody: Send {
    /// The next bytes, or `None` at the end. May be dropped while it waits and called
    /// again: nothing is lost by that.
    ///
    /// # Errors
    /// When the connection fails or what comes is no HTTP.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, FetchError>> + Send;
}

/// A response whose head has come.
#[derive(Debug)]
pub struct RawResponse<B> {
    /// The head as sent.
    pub head: ResponseHead,
    /// The body, to be read.
    pub body: B,
}

/// Sends one request and gives its raw response.
pub trait Transport: Send + Sync + 'static {
    /// The body of its responses.
    type Body: ResponseBody;

    /// Sends the request of `attempt`; what is noticed under way goes into `wire`.
    ///
    /// # Errors
    /// When no head comes back.
    fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> impl Future<Output = Result<RawResponse<Self::Body>, FetchError>> + Send;
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
}
