//! What becomes of a connection through a proxy: a layer around the connector that tells a proxy
//! which refuses from a host that can't be reached.

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

use super::connect::BoxError;

/// The types of these errors have no public path, but they are those of public services.
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;
type SocksError = <SocksV5<HttpConnector> as Service<Uri>>::Error;

tokio::task_local! {
    /// Where the connection that is being made goes through, once that is known.
    static ROUTE: Arc<OnceLock<ProxyRoute>>;
}

/// The way of a connection.
#[derive(Debug)]
struct ProxyRoute {
    target: Url,
    proxy: Url,
    /// The status of the proxy's answer to CONNECT, where the connector could read it.
    answer: OnceLock<StatusCode>,
}

/// Notes that the connection which this task makes goes through `proxy`.
pub fn note_route(target: &Url, proxy: &Url) {
    let _ = ROUTE.try_with(|route| {
        route.get_or_init(|| ProxyRoute {
            target: target.clone(),
            proxy: proxy.clone(),
            answer: OnceLock::new(),
        });
    });
}

/// Notes the status of the proxy's answer to the CONNECT of this task.
pub fn note_answer(status: StatusCode) {
    let _ = ROUTE.try_with(|route| route.get().map(|route| route.answer.set(status)));
}

/// The proxy that the connection which this task makes goes through.
pub fn proxy_of_route() -> Option<Arc<str>> {
    let proxy = ROUTE.try_with(|route| route.get().map(|route| shown(&route.proxy)));
    proxy.ok().flatten().map(Arc::from)
}

/// A connection through a proxy failed.
#[derive(Debug)]
pub struct ProxyError {
    proxy: String,
    refusal: Option<TunnelRefusal>,
    may_be_repaired: bool,
    is_at_proxy: bool,
    error: BoxError,
}

/// A proxy made no connection to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelRefusal {
    /// The status it said, where it said one.
    pub status: Option<StatusCode>,
    /// Whether it would say the same again.
    pub is_final: bool,
    /// What it said, in words.
    pub text: String,
}

impl ProxyError {
    /// What a proxy says that is out of order for a while.
    pub fn simulated() -> Self {
        let proxy = "a simulated proxy";
        let refusal = TunnelRefusal::of_status(StatusCode::SERVICE_UNAVAILABLE, proxy, false);
        Self {
            proxy: proxy.to_owned(),
            refusal: Some(refusal),
            may_be_repaired: false,
            is_at_proxy: false,
            error: Box::from("simulated"),
        }
    }

    /// How the proxy refused, if it did.
    pub fn refusal(&self) -> Option<&TunnelRefusal> {
        self.refusal.as_ref()
    }

    /// Whether the proxy's answer to CONNECT may have opened the tunnel all the same: it broke the
    /// rules, or has a 2xx that is not 200.
    pub fn may_be_repaired(&self) -> bool {
        self.may_be_repaired
    }

    /// The proxy, when it was the proxy that could not be connected to.
    pub fn unreached(&self) -> Option<&str> {
        self.is_at_proxy.then_some(&*self.proxy)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Some(refusal) => f.write_str(&refusal.text),
            None => write!(f, "no connection through the proxy {}", self.proxy),
        }
    }
}

impl Error for ProxyError {
    /// A refusal is the whole cause. What lies under an error of SOCKS is shown here, because it
    /// does not show it itself.
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

/// The first error of this type in a chain.
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

/// What an error says about the proxy.
#[derive(Debug)]
enum ProbeFinding {
    /// It refused, and why is known.
    Refused(TunnelRefusal),
    /// It refused with a status that the error does not tell.
    HiddenStatus,
    /// There was no connection to it.
    NotReached,
    /// Nothing: the trouble is beyond it.
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
                    Self::Refused(TunnelRefusal::of_status(status, &proxy, has_credentials))
                }
                TunnelError::TunnelUnsuccessful => Self::HiddenStatus,
                TunnelError::ConnectFailed(_) => Self::NotReached,
                TunnelError::ProxyHeadersTooLong => Self::Refused(TunnelRefusal::passing(format!(
                    "{proxy} answered with too long a head"
                ))),
                _ => Self::Refused(TunnelRefusal::passing(format!(
                    "{proxy} closed the connection instead of an answer"
                ))),
            };
        }
        if let Some(socks) = find::<SocksError>(error) {
            return match socks {
                SocksError::Inner(_) => Self::NotReached,
                SocksError::V5(said) => Self::Refused(TunnelRefusal::of_socks(
                    &said.to_string(),
                    &proxy,
                    has_credentials,
                )),
                SocksError::V4(said) => Self::Refused(TunnelRefusal::of_socks(
                    &said.to_string(),
                    &proxy,
                    has_credentials,
                )),
                SocksError::Io(_) => Self::Refused(TunnelRefusal::passing(format!(
                    "{proxy} closed the connection instead of an answer"
                ))),
                _ => Self::Refused(TunnelRefusal::passing(format!(
                    "{proxy} gave an answer that this version of SOCKS does not have"
                ))),
            };
        }
        // A request for http goes to an HTTP proxy itself.
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
    /// The proxy said this status to CONNECT.
    fn of_status(status: StatusCode, proxy: &str, has_credentials: bool) -> Self {
        let is_passing = matches!(status.as_u16(), 408 | 425 | 429);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut text = format!("{proxy} says {} {reason}", status.as_u16());
        text.truncate(text.trim_end().len());
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            text.push_str(if has_credentials {
                "; it does not accept the user and password it was given (-U)"
            } else {
                "; give it user and password (-U USER:@FILE)"
            });
        }
        Self {
            status: Some(status),
            is_final: status.is_client_error() && !is_passing,
            text,
        }
    }

    /// Worth another try.
    fn passing(text: String) -> Self {
        Self {
            status: None,
            is_final: false,
            text,
        }
    }

    /// What a SOCKS proxy said. Its codes can't be named here, so they are told by their text.
    fn of_socks(said: &str, proxy: &str, has_credentials: bool) -> Self {
        let (is_final, said) = match (said, has_credentials) {
            ("server does not support user/pass authentication", true) => {
                (true, "it takes no user and password (-U)")
            }
            ("server does not support user/pass authentication", false) => {
                (true, "it wants user and password (-U USER:@FILE)")
            }
            ("server implements authentication incorrectly", true) => (
                true,
                "it wants another authentication than user and password (-U)",
            ),
            ("server implements authentication incorrectly", false) => {
                (true, "it wants an authentication that was not offered")
            }
            ("credentials not accepted", _) => {
                (true, "it does not accept this user and password (-U)")
            }
            ("connection not allowed", _) => (true, said),
            ("server ident service did not recognise client identifier", _) => {
                (true, "identd on this machine names another user")
            }
            _ => (false, said),
        };
        Self {
            status: None,
            is_final,
            text: format!("{proxy} says: {said}"),
        }
    }
}

/// A proxy without its credentials.
fn shown(proxy: &Url) -> String {
    let host = proxy.host_str().unwrap_or_default();
    match proxy.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Asks a proxy for a tunnel by a request of its own, whose response has a status that can be seen.
#[derive(Debug)]
pub struct TunnelProbe {
    client: OnceLock<Option<reqwest::Client>>,
    limit: Duration,
}

impl TunnelProbe {
    /// One that waits no longer than `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            client: OnceLock::new(),
            limit,
        }
    }

    /// The status with which the proxy answers a CONNECT to this target, if it can be read.
    /// `builder` makes the client, at the first question.
    async fn status(
        &self,
        route: &ProxyRoute,
        builder: &(dyn Fn() -> reqwest::ClientBuilder + Send + Sync),
    ) -> Option<StatusCode> {
        let client = self.client.get_or_init(|| {
            let proxy = reqwest::Proxy::all(route.proxy.clone()).ok()?;
            builder().proxy(proxy).build().ok()
        });
        let port = route.target.port_or_known_default()?;
        let host = route.target.host_str()?;
        let url = Url::parse(&format!("http://{host}:{port}/")).ok()?;
        // The port of http would be left out, and has to be there.
        url.port()?;
        let request = client.as_ref()?.request(Method::CONNECT, url).send();
        let response = tokio::time::timeout(self.limit, request).await.ok()?.ok()?;
        Some(response.status())
    }
}

/// The layer.
#[derive(Clone)]
pub struct ProxyLayer {
    pub inquirer: Arc<TunnelProbe>,
    /// Makes the client of the inquirer, without its proxy.
    pub builder: Arc<dyn Fn() -> reqwest::ClientBuilder + Send + Sync>,
}

impl ProxyLayer {
    async fn explain(&self, route: &ProxyRoute, error: BoxError) -> ProxyError {
        let proxy = shown(&route.proxy);
        let finding = ProbeFinding::of(&*error, route);
        let mut may_be_repaired = false;
        let refusal = match &finding {
            ProbeFinding::Refused(refusal) => Some(refusal.clone()),
            ProbeFinding::HiddenStatus => {
                let status = match route.answer.get() {
                    Some(status) => Some(*status),
                    None => self.inquirer.status(route, &*self.builder).await,
                };
                let refused = status.filter(|status| !status.is_success());
                may_be_repaired = refused.is_none();
                let has_credentials = !route.proxy.username().is_empty();
                Some(match refused {
                    Some(status) => TunnelRefusal::of_status(status, &proxy, has_credentials),
                    None => TunnelRefusal::passing(format!("{proxy} made no tunnel")),
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

/// A connector under [`ProxyLayer`].
#[derive(Clone)]
pub struct ProxyConnect<S> {
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
        // The route is noted in the call, or in the future that comes of it.
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
