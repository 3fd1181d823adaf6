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

use super::clock;
use super::descriptors::Descriptors;
use crate::model::Wire;

tokio::task_local! {
    /// The request being sent by this task, for the layers under the pool.
    pub static CALL: Call;
}

/// What the layers under the pool need to know of a request: they see neither its URL
/// nor its attempt.
#[derive(Clone)]
pub struct Call {
    pub wire: Arc<Wire>,
    pub port: Option<u16>,
    /// Whether the job has failed before, and waited since.
    pub is_retry: bool,
}

/// The port of this machine that a connection goes out from: which of those of the pool it is.
pub fn local_port(connected: &Connected) -> Option<u16> {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras
        .get::<HttpInfo>()
        .map(|info| info.local_addr().port())
}

/// The port of the request that this task is connecting for.
pub fn port_of_call() -> Option<u16> {
    CALL.try_with(|call| call.port).ok().flatten()
}

/// Whether the request that this task is connecting for is a retry.
pub fn is_retry() -> bool {
    CALL.try_with(|call| call.is_retry).unwrap_or(false)
}

/// The layer.
#[derive(Debug, Clone)]
pub struct Watch {
    /// For DNS, TCP and TLS together.
    pub limit: Duration,
    /// Where connections wait for room among the open files.
    pub descriptors: Descriptors,
    /// Where connections are counted.
    pub made: Made,
}

/// Connections that were made, or tried.
pub type Made = Arc<AtomicUsize>;

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched(Arc::new(Under {
            inner,
            limit: self.limit,
            descriptors: self.descriptors.clone(),
            made: Arc::clone(&self.made),
        }))
    }
}

/// A connector under [`Watch`]. Shared, because the client clones its connector several times
/// for each request, and few requests connect.
#[derive(Debug)]
pub struct Watched<S>(Arc<Under<S>>);

#[derive(Debug)]
struct Under<S> {
    inner: S,
    limit: Duration,
    descriptors: Descriptors,
    made: Made,
}

impl<S> Clone for Watched<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Response: Connection + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    /// Always: whether the connector is, is asked when it connects.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let call = CALL.try_with(Call::clone).ok();
        if let Some(call) = &call {
            call.wire.connecting();
        }
        let under = Arc::clone(&self.0);
        under.made.fetch_add(1, Relaxed);
        let wire = call.as_ref().map(|call| Arc::clone(&call.wire));
        let connecting = async move {
            // Its time runs only from here: waiting for room is not the host's fault.
            let _room = under.descriptors.room(wire.as_deref()).await;
            let mut inner = under.inner.clone();
            let connecting = async {
                poll_fn(|cx| inner.poll_ready(cx)).await?;
                inner.call(request).await
            };
            clock::within(under.limit, connecting).await
        };
        Box::pin(async move {
            // The pool may finish a connection in a task of its own when another one
            // came free first: the future takes what it needs along.
            let connected = match &call {
                Some(this) => CALL.scope(this.clone(), connecting).await,
                None => connecting.await,
            };
            if let Some(call) = call {
                // Also when it failed: the request may be under way on another connection
                // that came free, and then its own clock has to run.
                let well = matches!(connected, Ok(Ok(_)));
                call.wire.connect_ended(Instant::now(), well);
                if let Ok(Ok(connection)) = &connected {
                    let port = local_port(&connection.connected());
                    port.into_iter().for_each(|port| call.wire.mark_made(port));
                }
            }
            connected?
        })
    }
}
