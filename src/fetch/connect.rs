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
use super::connection_info::{BoxError, http_info, local_port};
use super::dns::{AddressOffers, OFFERS, Resolver};
use super::fd_budget::{FdBudget, FdPermit, FdWaitError};
use super::tunnel::proxy_of_route;
use crate::model::WireState;

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
    /// The wait for the file descriptor of the connection.
    waiting: Option<FdWait>,
    permit: Option<FdPermit>,
}

struct ConnectInner<S> {
    inner: S,
    watch: ConnectLayer,
}

type FdWait = Pin<Box<dyn Future<Output = Result<FdPermit, FdWaitError>> + Send + Sync>>;

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
    /// Starts a connection, which first waits for a file descriptor.
    fn begin(&mut self) -> FdWait {
        self.call = CALL.try_with(RequestContext::clone).ok();
        if let Some(call) = &self.call {
            call.wire.mark_connecting();
        }
        let wire = self.call.as_ref().map(|call| Arc::clone(&call.wire));
        let descriptors = self.under.watch.descriptors.clone();
        Box::pin(async move { descriptors.acquire(wire.as_deref()).await })
    }
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
            Poll::Ready(Err(error)) => {
                connect_ended(self.call.take(), false);
                Poll::Ready(Err(error.into()))
            }
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
                && let Some(port) = local_port(&connection.connected())
            {
                call.wire.mark_made(port);
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
            Ok(Err(error)) if !is_out_of_time(&*error) => Err(error),
            // Either the whole timeout has passed, or the shares of all addresses of the name.
            Ok(Err(_)) | Err(_) => {
                resolver.timed_out(&offers);
                let (limit, proxy) = (*limit, proxy_of_route());
                Err(ConnectTimedOut { limit, proxy }.into())
            }
        }
    }
}
