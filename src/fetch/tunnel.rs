//! A layer around the connector that explains failed proxy connections: it tells a proxy that
//! rejects the tunnel from a proxy or host that is unreachable.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::classify::is_broken_head;
use super::connection_info::BoxError;
use crate::model::Hint;

/// These error types have no public path, but are associated types of public services.
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;
type SocksError = <SocksV5<HttpConnector> as Service<Uri>>::Error;

tokio::task_local! {
    /// The route of the connection that this task is making, once it is known.
    static ROUTE: Arc<OnceLock<ProxyRoute>>;
}

/// The route of a connection through a proxy.
#[derive(Debug)]
struct ProxyRoute {
    target: Url,
    proxy: Url,
    /// The status of the proxy's response to CONNECT, if the connector could read it.
    status: OnceLock<StatusCode>,
}

/// Records that the connection of this task uses `proxy`.
pub(super) fn note_route(target: &Url, proxy: &Url) {
    let _ = ROUTE.try_with(|route| {
        route.get_or_init(|| ProxyRoute {
            target: target.clone(),
            proxy: proxy.clone(),
            status: OnceLock::new(),
        });
    });
}

/// Records the status of the proxy's response to the CONNECT of this task.
pub(super) fn note_status(status: StatusCode) {
    let _ = ROUTE.try_with(|route| route.get().map(|route| route.status.set(status)));
}

/// Returns the proxy that the connection of this task uses.
pub(super) fn proxy_of_route() -> Option<Arc<str>> {
    let proxy = ROUTE.try_with(|route| route.get().map(|route| shown(&route.proxy)));
    proxy.ok().flatten().map(Arc::from)
}

/// A connection through a proxy failed.
#[derive(Debug)]
pub(super) struct ProxyError {
    proxy: String,
    refusal: Option<TunnelRefusal>,
    may_be_repaired: bool,
    is_at_proxy: bool,
    error: BoxError,
}

/// A proxy that was reached did not connect to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TunnelRefusal {
    /// The status of its response, if any.
    pub status: Option<StatusCode>,
    /// Whether another attempt would get the same response.
    pub is_final: bool,
    /// The message.
    pub text: String,
    /// What may help.
    pub hint: Option<Hint>,
}

impl ProxyError {
    /// Returns the error of a proxy that is temporarily out of order.
    pub(super) fn simulated() -> Self {
        let proxy = "simulated proxy";
        let refusal = TunnelRefusal::of_status(StatusCode::SERVICE_UNAVAILABLE, proxy, false);
        Self {
            proxy: proxy.to_owned(),
            refusal: Some(refusal),
            may_be_repaired: false,
            is_at_proxy: false,
            error: Box::from("simulated"),
        }
    }

    /// Returns how the proxy rejected the tunnel, if it did.
    pub(super) fn refusal(&self) -> Option<&TunnelRefusal> {
        self.refusal.as_ref()
    }

    /// Whether the proxy may have opened the tunnel nevertheless: its response to CONNECT was
    /// invalid, or had a 2xx status other than 200.
    pub(super) fn may_be_repaired(&self) -> bool {
        self.may_be_repaired
    }

    /// Returns the part of a message that says where the connection failed; `None` if the message
    /// names the proxy already.
    pub(super) fn place(&self) -> Option<String> {
        let proxy = &self.proxy;
        match (&self.refusal, self.is_at_proxy) {
            (Some(_), _) => None,
            (None, true) => Some(format!("proxy {proxy}")),
            (None, false) => Some(through(proxy)),
        }
    }
}

/// Returns the part of a message that says that a connection went through a proxy.
pub(super) fn through(proxy: &str) -> String {
    format!("through proxy {proxy}")
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Some(refusal) => f.write_str(&refusal.text),
            None => write!(f, "cannot connect through proxy {}", self.proxy),
        }
    }
}

impl Error for ProxyError {
    /// Returns no source for a rejected tunnel, whose message is complete. Unwraps SOCKS errors,
    /// because they do not expose their own source.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if self.refusal.is_some() {
            return None;
        }
        match find::<SocksError>(&*self.error) {
            Some(SocksError::Inner(connecting)) => Some(connecting),
            _ => Some(&*self.error),
        }
    }
}

/// Returns the first error of this type in a chain.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error reveals about the proxy.
#[derive(Debug)]
enum ProbeFinding {
    /// It rejected the tunnel for a known reason.
    Rejected(TunnelRefusal),
    /// It rejected the tunnel with a status that the error does not expose.
    HiddenStatus,
    /// It could not be reached.
    NotReached,
    /// Nothing: the connection failed after the proxy.
    Nothing,
}

impl ProbeFinding {
    fn of(error: &(dyn Error + 'static), route: &ProxyRoute) -> Self {
        let has_credentials = !route.proxy.username().is_empty();
        let proxy = shown(&route.proxy);
        if let Some(tunnel) = find::<TunnelError>(error) {
            return match tunnel {
                TunnelError::ProxyAuthRequired => {
                    let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
                    Self::Rejected(TunnelRefusal::of_status(status, &proxy, has_credentials))
                }
                // The connector reads 8 KiB of a head, the probe and the lenient client more.
                TunnelError::TunnelUnsuccessful | TunnelError::ProxyHeadersTooLong => {
                    Self::HiddenStatus
                }
                TunnelError::ConnectFailed(_) => Self::NotReached,
                _ => Self::Rejected(TunnelRefusal::transient(format!(
                    "{proxy} closed the connection without a response"
                ))),
            };
        }
        if let Some(socks) = find::<SocksError>(error) {
            return match socks {
                SocksError::Inner(_) => Self::NotReached,
                SocksError::V5(message) => Self::Rejected(TunnelRefusal::of_socks(
                    &message.to_string(),
                    &proxy,
                    has_credentials,
                )),
                SocksError::V4(message) => Self::Rejected(TunnelRefusal::of_socks(
                    &message.to_string(),
                    &proxy,
                    has_credentials,
                )),
                SocksError::Io(_) => Self::Rejected(TunnelRefusal::transient(format!(
                    "{proxy} closed the connection without a response"
                ))),
                _ => Self::Rejected(TunnelRefusal::transient(format!(
                    "{proxy} sent a response that is invalid in this version of SOCKS"
                ))),
            };
        }
        // Requests for http are sent to the HTTP proxy itself, without a tunnel.
        let is_forwarded =
            route.target.scheme() == "http" && route.proxy.scheme().starts_with("http");
        if is_forwarded {
            Self::NotReached
        } else {
            Self::Nothing
        }
    }
}

impl TunnelRefusal {
    /// The proxy itself responded with this status.
    pub(super) fn of_status(status: StatusCode, proxy: &str, has_credentials: bool) -> Self {
        let is_transient = matches!(status.as_u16(), 408 | 425 | 429);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut text = format!("{proxy} responded {} {reason}", status.as_u16());
        text.truncate(text.trim_end().len());
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            text.push_str(if has_credentials {
                "; user and password not accepted"
            } else {
                "; user and password required"
            });
        }
        let hint = match has_credentials {
            _ if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED => None,
            true => Some(Hint::CheckProxyUser),
            false => Some(Hint::GiveProxyUser),
        };
        Self {
            status: Some(status),
            is_final: status.is_client_error() && !is_transient,
            text,
            hint,
        }
    }

    /// A failure that is worth another attempt.
    fn transient(text: String) -> Self {
        Self {
            status: None,
            is_final: false,
            text,
            hint: None,
        }
    }

    /// A SOCKS proxy reported an error. The types of its codes are private, so their text is
    /// matched.
    fn of_socks(message: &str, proxy: &str, has_credentials: bool) -> Self {
        let check = Some(Hint::CheckProxyUser);
        let (is_final, message, hint) = match (message, has_credentials) {
            ("server does not support user/pass authentication", true) => {
                (true, "user and password not supported", check)
            }
            ("server does not support user/pass authentication", false) => {
                let give = Some(Hint::GiveProxyUser);
                (true, "user and password required", give)
            }
            ("server implements authentication incorrectly", true) => {
                let other = "authentication other than user and password required";
                (true, other, check)
            }
            ("server implements authentication incorrectly", false) => {
                (true, "required authentication was not offered", None)
            }
            ("credentials not accepted", _) => (true, "user and password not accepted", check),
            ("connection not allowed", _) => (true, message, None),
            ("server ident service did not recognise client identifier", _) => {
                (true, "identd on this machine reports another user", None)
            }
            _ => (false, message, None),
        };
        Self {
            status: None,
            is_final,
            text: format!("{proxy} reported: {message}"),
            hint,
        }
    }
}

/// Returns host and port of a proxy, without its credentials.
pub(super) fn shown(proxy: &Url) -> String {
    let host = proxy.host_str().unwrap_or_default();
    match proxy.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Sends a separate CONNECT to a proxy, to learn the status that the connector's error hides.
#[derive(Debug)]
pub(super) struct TunnelProbe {
    client: OnceLock<Option<reqwest::Client>>,
    limit: Duration,
}

impl TunnelProbe {
    /// Creates a probe that waits for at most `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            client: OnceLock::new(),
            limit,
        }
    }

    /// Returns the proxy's response to a CONNECT for this target; `None`: none came in time.
    /// `builder` builds the client when it is first needed.
    async fn answer(
        &self,
        route: &ProxyRoute,
        builder: &(dyn Fn() -> reqwest::ClientBuilder + Send + Sync),
    ) -> Option<ProbeAnswer> {
        let client = self.client.get_or_init(|| {
            let proxy = reqwest::Proxy::all(route.proxy.clone()).ok()?;
            builder().proxy(proxy).build().ok()
        });
        let port = route.target.port_or_known_default()?;
        let host = route.target.host_str()?;
        let url = Url::parse(&format!("http://{host}:{port}/")).ok()?;
        // `None` for port 80: the URL drops the default port, which CONNECT needs.
        url.port()?;
        let request = client.as_ref()?.request(Method::CONNECT, url).send();
        match tokio::time::timeout(self.limit, request).await.ok()? {
            Ok(response) => Some(ProbeAnswer::Status(response.status())),
            Err(error) => is_broken_head(&error).then_some(ProbeAnswer::Malformed),
        }
    }
}

/// The response of a proxy to the CONNECT of a [`TunnelProbe`].
enum ProbeAnswer {
    Status(StatusCode),
    /// Its head breaks the rules.
    Malformed,
}

/// A tower layer around the client's connector.
#[derive(Clone)]
pub(super) struct ProxyLayer {
    pub probe: Arc<TunnelProbe>,
    /// Returns a builder for the client of the probe, without its proxy.
    pub builder: Arc<dyn Fn() -> reqwest::ClientBuilder + Send + Sync>,
}

impl ProxyLayer {
    async fn explain(&self, route: &ProxyRoute, error: BoxError) -> ProxyError {
        let proxy = shown(&route.proxy);
        let finding = ProbeFinding::of(&*error, route);
        let mut may_be_repaired = false;
        let refusal = match &finding {
            ProbeFinding::Rejected(refusal) => Some(refusal.clone()),
            ProbeFinding::HiddenStatus => {
                let answer = match route.status.get() {
                    Some(status) => Some(ProbeAnswer::Status(*status)),
                    None => self.probe.answer(route, &*self.builder).await,
                };
                let has_credentials = !route.proxy.username().is_empty();
                Some(match answer {
                    Some(ProbeAnswer::Status(status)) if !status.is_success() => {
                        TunnelRefusal::of_status(status, &proxy, has_credentials)
                    }
                    answer => {
                        may_be_repaired = answer.is_some();
                        TunnelRefusal::transient(format!("{proxy} opened no tunnel"))
                    }
                })
            }
            ProbeFinding::NotReached | ProbeFinding::Nothing => None,
        };
        ProxyError {
            proxy,
            refusal,
            may_be_repaired,
            is_at_proxy: matches!(finding, ProbeFinding::NotReached),
            error,
        }
    }
}

impl<S> Layer<S> for ProxyLayer {
    type Service = ProxyConnect<S>;

    fn layer(&self, inner: S) -> ProxyConnect<S> {
        ProxyConnect {
            inner,
            layer: self.clone(),
        }
    }
}

/// A connector wrapped by [`ProxyLayer`].
#[derive(Clone)]
pub(super) struct ProxyConnect<S> {
    inner: S,
    layer: ProxyLayer,
}

impl<S, R> Service<R> for ProxyConnect<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let route = Arc::new(OnceLock::new());
        // The route is recorded during the call, or by the future it returns.
        let connecting = ROUTE.sync_scope(Arc::clone(&route), || self.inner.call(request));
        let layer = self.layer.clone();
        Box::pin(async move {
            let connected = ROUTE.scope(Arc::clone(&route), connecting).await;
            match (connected, route.get()) {
                (Err(error), Some(route)) => Err(layer.explain(route, error).await.into()),
                (connected, _) => connected,
            }
        })
    }
}
