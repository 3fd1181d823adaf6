//! One request, one raw response. No redirects, no decoding, no length check, no stall
//! clock: those stand above, so that a simulated fault meets the real ones.

mod classify;
mod clients;
mod clock;
mod connect;
mod decode;
mod descriptors;
mod dns;
mod fault;
#[cfg(test)]
mod fuzz;
mod guard;
mod habits;
mod http;
mod lenient;
mod options;
mod proxy;
mod received;
mod repair;
mod spec;
mod tls;
mod trust;
mod tunnel;
mod window;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Attempt, FetchError, ResponseHead, Wire};

pub use decode::{Coding, Decoder, codings, transfer_codings};
pub use descriptors::most_requests;
pub use dns::ResolveRule;
pub use fault::Faulty;
pub use http::HttpTransport;
pub use options::{HttpOptions, HttpVersion, Proxy, ProxyUrl, TransportError};
pub use spec::FaultPlan;
pub use tls::config as tls_config;

/// The raw body of a response, as it comes over the wire.
pub trait Body: Send {
    /// The next bytes, or `None` at the end. May be dropped while it waits and called
    /// again: nothing is lost by that.
    ///
    /// # Errors
    /// When the connection fails or what comes is no HTTP.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, FetchError>> + Send;
}

/// A response whose head has come.
#[derive(Debug)]
pub struct Response<B> {
    /// The head as sent.
    pub head: ResponseHead,
    /// The body, to be read.
    pub body: B,
}

/// Sends one request and gives its raw response.
pub trait Transport: Send + Sync + 'static {
    /// The body of its responses.
    type Body: Body;

    /// Sends the request of `attempt`; what is noticed under way goes into `wire`.
    ///
    /// # Errors
    /// When no head comes back.
    fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<Wire>,
    ) -> impl Future<Output = Result<Response<Self::Body>, FetchError>> + Send;
}
