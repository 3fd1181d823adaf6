//! A layer below reqwest's connection pool. It waits for a file descriptor, applies the connect
//! timeout and records that a connection was made.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::Connection;
use rustls::sign::CertifiedKey;
use tower_layer::Layer;
use tower_service::Service;

use super::classify::is_out_of_time;
use super::clock::{self, ConnectTimedOut};
use super::connection_info::{BoxError, http_info};
use super::dns::{AddressOffers, OFFERS, Resolver};
use super::fd_budget::{FdBudget, FdPermit};
use super::tunnel::proxy_of_route;
use crate::model::WireState;

/// Rounds of the runtime, of up to 61 tasks each, in which a pooled connection may become free
/// before another one is made. Without them 2,048 requests at once made 3,600 connections on
/// loopback, with two 2,600, with eight 2,000; more make no difference.
const ROUNDS_FOR_POOLED: u32 = 8;
/// Requests that got a pooled connection only after waiting for it, before another one is made. If
/// there is one connection fewer than requests at once, each request waits for the one before it,
/// which takes a tenth of what it takes to make a connection.
const WAITS_PER_CONNECTION: usize = 16;

tokio::task_local! {
    /// The request that this task is sending, for the layers below the pool.
    pub static CALL: RequestContext;
}

/// What the layers below the pool need to know about a request. They see neither its URL nor its
/// attempt.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub wire: Arc<WireState>,
    pub port: Option<u16>,
    /// The client certificate for its host.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// Whether the job has failed before and waited since.
    pub is_retry: bool,
    /// Whether 1xx responses are limited.
    pub is_bounded: bool,
}

/// Returns the port in the URL of the request for which this task is connecting.
pub(super) fn current_port() -> Option<u16> {
    CALL.try_with(|call| call.port).ok().flatten()
}

/// Returns the client certificate for the host to which this task is connecting.
pub(super) fn current_certificate() -> Option<Arc<CertifiedKey>> {
    CALL.try_with(|call| call.certificate.clone())
        .ok()
        .flatten()
}

/// Whether the request for which this task is connecting is a retry.
pub(super) fn current_is_retry() -> bool {
    CALL.try_with(|call| call.is_retry).unwrap_or(false)
}

/// Whether 1xx responses to the request for which this task is connecting are limited.
pub(super) fn current_is_bounded() -> bool {
    CALL.try_with(|call| call.is_bounded).unwrap_or(false)
}

/// A tower layer around the client's connector.
#[derive(Clone)]
pub(super) struct ConnectLayer {
    /// Timeout for DNS, TCP and TLS together.
    pub limit: Duration,
    /// Limits connections to the available file descriptors.
    pub descriptors: FdBudget,
    /// Learns which addresses could be connected to.
    pub resolver: Arc<Resolver>,
    /// Counts the connections.
    pub made: ConnectionCount,
    /// Counts the requests that waited for a pooled connection.
    pub waits: ConnectionWaits,
}

/// Number of requests that got a pooled connection after waiting for it, since the last connection
/// that was made for that.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionWaits(Arc<AtomicUsize>);

impl ConnectionWaits {
    fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Whether there have been so many that another connection is worth its cost.
    fn take_enough(&self) -> bool {
        let is_enough = self.0.load(Relaxed) >= WAITS_PER_CONNECTION;
        if is_enough {
            self.0.store(0, Relaxed);
        }
        is_enough
    }
}

/// Number of connections made, including failed attempts.
pub(super) type ConnectionCount = Arc<AtomicUsize>;

impl<S> Layer<S> for ConnectLayer {
    type Service = ConnectService<S>;

    fn layer(&self, inner: S) -> ConnectService<S> {
        ConnectService {
            under: Arc::new(ConnectInner {
                inner,
                watch: self.clone(),
            }),
            call: None,
            waiting: None,
            permit: None,
        }
    }
}

/// A connector wrapped by [`ConnectLayer`]. Most of it is shared, because the client clones its
/// connector several times per request, and few requests connect.
pub(super) struct ConnectService<S> {
    under: Arc<ConnectInner<S>>,
    /// The request for which this clone connects.
    call: Option<RequestContext>,
    /// The wait for another connection, and for the file descriptor of this one.
    waiting: Option<ConnectWait>,
    permit: Option<FdPermit>,
}

struct ConnectInner<S> {
    inner: S,
    watch: ConnectLayer,
}

type ConnectWait = Pin<Box<dyn Future<Output = Result<FdPermit, BoxError>> + Send + Sync>>;

/// The request got another connection before this one was begun.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("another connection became free")]
struct NotNeeded;

impl<S> Clone for ConnectService<S> {
    fn clone(&self) -> Self {
        Self {
            under: Arc::clone(&self.under),
            call: None,
            waiting: None,
            permit: None,
        }
    }
}

impl<S> ConnectService<S> {
    /// Starts a connection, which first waits for one that becomes free, and for a file descriptor.
    fn begin(&mut self) -> ConnectWait {
        self.call = CALL.try_with(RequestContext::clone).ok();
        let wire = self.call.as_ref().map(|call| Arc::clone(&call.wire));
        let descriptors = self.under.watch.descriptors.clone();
        let waits = self.under.watch.waits.clone();
        Box::pin(async move {
            let Some(wire) = wire else {
                return Ok(descriptors.acquire(None).await?);
            };
            if !waits.take_enough() {
                wait_for_pooled(&waits).await?;
            }
            wire.mark_connecting();
            let permit = descriptors.acquire(Some(&*wire)).await;
            if permit.is_err() {
                wire.mark_connect_ended(Instant::now(), false);
            }
            Ok(permit?)
        })
    }
}

/// Gives a connection that another request is done with the time to return to the pool. It does so
/// in a task of its own, and a request that comes before it would open one connection more
/// (hyper#4134).
async fn wait_for_pooled(waits: &ConnectionWaits) -> Result<(), NotNeeded> {
    for _ in 0..ROUNDS_FOR_POOLED {
        tokio::task::yield_now().await;
        // The pool lets the connecting go on in a separate task when the request has a connection.
        if CALL.try_with(|_| ()).is_err() {
            waits.count();
            return Err(NotNeeded);
        }
    }
    Ok(())
}

impl<S, R> Service<R> for ConnectService<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Response: Connection + Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    /// Ready once a file descriptor is available. Both connect timeouts, ours and the client's,
    /// start later, with `call`: the host is not to blame for this wait.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.permit.is_some() {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => self.begin(),
        };
        match waiting.as_mut().poll(cx) {
            Poll::Pending => {
                self.waiting = Some(waiting);
                Poll::Pending
            }
            Poll::Ready(Ok(permit)) => {
                self.permit = Some(permit);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let permit = self.permit.take();
        let call = self.call.take();
        let under = Arc::clone(&self.under);
        under.watch.made.fetch_add(1, Relaxed);
        let connecting = async move {
            let _permit = permit;
            under.connect(request).await
        };
        Box::pin(async move {
            // If another connection becomes free first, the pool finishes this one in a
            // separate task, so the future must carry its own context.
            let connected = match &call {
                Some(this) => CALL.scope(this.clone(), connecting).await,
                None => connecting.await,
            };
            // `connect_ended` is called after a failure, too: the request may be in flight on
            // another connection that became free, and its response timeout has to run then.
            if let (Some(call), Ok(connection)) = (&call, &connected)
                && let Some(info) = http_info(&connection.connected())
            {
                call.wire.mark_made(info.local_addr(), info.remote_addr());
            }
            connect_ended(call, connected.is_ok());
            connected
        })
    }
}

fn connect_ended(call: Option<RequestContext>, succeeded: bool) {
    if let Some(call) = call {
        call.wire.mark_connect_ended(Instant::now(), succeeded);
    }
}

impl<S> ConnectInner<S> {
    /// Connects within the connect timeout.
    async fn connect<R>(&self, request: R) -> Result<S::Response, BoxError>
    where
        S: Service<R, Error = BoxError> + Clone,
        S::Response: Connection,
    {
        let ConnectLayer {
            limit, resolver, ..
        } = &self.watch;
        let mut inner = self.inner.clone();
        let connecting = async {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        };
        let offers = AddressOffers::default();
        let connecting = OFFERS.scope(Arc::clone(&offers), connecting);
        match clock::within(*limit, connecting).await {
            Ok(Ok(connection)) => {
                if let Some(info) = http_info(&connection.connected()) {
                    resolver.connected(&offers, info.remote_addr().ip());
                }
                Ok(connection)
            }
            Ok(Err(error)) if !is_out_of_time(&*error) => {
                resolver.not_connected(&offers);
                Err(error)
            }
            // Either the whole timeout has passed, or the shares of all addresses of the name.
            Ok(Err(_)) | Err(_) => {
                resolver.not_connected(&offers);
                let (limit, proxy) = (*limit, proxy_of_route());
                Err(ConnectTimedOut { limit, proxy }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_some_waits_for_a_pooled_connection_another_one_is_made() {
        let waits = ConnectionWaits::default();
        for _ in 0..2 {
            for _ in 0..WAITS_PER_CONNECTION {
                assert!(!waits.take_enough());
                // Without a request, as in the task to which the pool moves what it does not need.
                assert!(wait_for_pooled(&waits).await.is_err());
            }
            assert!(waits.take_enough());
        }
    }
}
