//! Around connecting: a layer under reqwest's connection pool that puts the clock over it
//! and notes that it happened.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use tower_layer::Layer;
use tower_service::Service;

use super::classify::is_out_of_time;
use super::clock::{self, ConnectTimedOut};
use super::dns::{AddressOffers, OFFERS, Resolver};
use super::fd_budget::{FdBudget, FdPermit, FdWaitError};
use super::tunnel::proxy_of_route;
use crate::model::WireState;

tokio::task_local! {
    /// The request being sent by this task, for the layers under the pool.
    pub static CALL: RequestContext;
}

/// What the layers under the pool need to know of a request: they see neither its URL
/// nor its attempt.
#[derive(Clone)]
pub struct RequestContext {
    pub wire: Arc<WireState>,
    pub port: Option<u16>,
    /// Whether the job has failed before, and waited since.
    pub is_retry: bool,
}

/// The port of this machine that a connection goes out from: which of those of the pool it is.
pub fn local_port(connected: &Connected) -> Option<u16> {
    http_info(connected).map(|info| info.local_addr().port())
}

/// The port of the request that this task is connecting for.
pub fn current_port() -> Option<u16> {
    CALL.try_with(|call| call.port).ok().flatten()
}

/// Whether the request that this task is connecting for is a retry.
pub fn current_is_retry() -> bool {
    CALL.try_with(|call| call.is_retry).unwrap_or(false)
}

/// The layer.
#[derive(Clone)]
pub struct ConnectLayer {
    /// For DNS, TCP and TLS together.
    pub limit: Duration,
    /// Where connections wait for room among the open files.
    pub descriptors: FdBudget,
    /// What is told which address was connected to.
    pub resolver: Arc<Resolver>,
    /// Where connections are counted.
    pub made: ConnectionCount,
}

/// Connections that were made, or tried.
pub type ConnectionCount = Arc<AtomicUsize>;

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
            room: None,
        }
    }
}

/// A connector under [`ConnectLayer`]. Most of it is shared, because the client clones its connector
/// several times for each request, and few requests connect.
pub struct ConnectService<S> {
    under: Arc<ConnectInner<S>>,
    /// The request that this clone connects for.
    call: Option<RequestContext>,
    /// For the descriptor of its connection.
    waiting: Option<FdWait>,
    room: Option<FdPermit>,
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
            room: None,
        }
    }
}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S> ConnectService<S> {
    /// A connection is begun: it needs room first.
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

    /// Once there is room among the open files. The clocks over connecting, the client's own
    /// included, run only from the call on: waiting for room is not the host's fault.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.room.is_some() {
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
            Poll::Ready(Ok(room)) => {
                self.room = Some(room);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(none)) => {
                connect_ended(self.call.take(), false);
                Poll::Ready(Err(none.into()))
            }
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let room = self.room.take();
        let call = self.call.take();
        let under = Arc::clone(&self.under);
        under.watch.made.fetch_add(1, Relaxed);
        let connecting = async move {
            let _room = room;
            under.connect(request).await
        };
        Box::pin(async move {
            // The pool may finish a connection in a task of its own when another one
            // came free first: the future takes what it needs along.
            let connected = match &call {
                Some(this) => CALL.scope(this.clone(), connecting).await,
                None => connecting.await,
            };
            // Also when it failed: the request may be under way on another connection
            // that came free, and then its own clock has to run.
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

fn connect_ended(call: Option<RequestContext>, well: bool) {
    if let Some(call) = call {
        call.wire.mark_connect_ended(Instant::now(), well);
    }
}

impl<S> ConnectInner<S> {
    /// Connects within the time there is for it.
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
            // The whole time is over, or the shares of all addresses of the name are.
            Ok(Err(_)) | Err(_) => {
                resolver.timed_out(&offers);
                let (limit, proxy) = (*limit, proxy_of_route());
                Err(ConnectTimedOut { limit, proxy }.into())
            }
        }
    }
}

/// The two ends of a connection: this machine's, and that of the host or of the proxy.
fn http_info(connected: &Connected) -> Option<HttpInfo> {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras.remove::<HttpInfo>()
}
