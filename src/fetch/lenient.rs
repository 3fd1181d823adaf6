//! A client that repairs invalid response heads and chunks before they are parsed.
//!
//! reqwest does not allow changing the bytes between its connections and the parser, so this client
//! uses the libraries below it. A connection is used for one response only, so it always starts
//! with a head.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Uri, header};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, ResolveServerName as _};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use reqwest::dns::{Addrs, Resolve as _, Resolving};
use rustls::ClientConfig;
use tower_layer::Layer as _;
use tower_service::Service;
use url::Url;

use super::connect::{ConnectLayer, ConnectService, current_is_bounded};
use super::connection_info::BoxError;
use super::dns::Resolver;
use super::habits::{HostHabit, HostHabits};
use super::local_end::LocalEnd;
use super::proxy::{ProxySet, basic_auth, credentials};
use super::repair::{BeyondRepair, ResponseRepairer};
use super::tunnel::{ProxyConnect, ProxyLayer, note_status};

/// Maximum number of header lines in a head; the parser's default is 100.
const MAX_HEADER_LINES: usize = 1000;
/// Size of a read of what is repaired, in bytes.
const READ_BYTES: usize = 8192;

/// A client for hosts with invalid responses.
#[derive(Debug)]
pub(super) struct LenientClient {
    client: legacy::Client<ProxyConnect<ConnectService<RepairConnector>>, reqwest::Body>,
    proxies: Option<Arc<ProxySet>>,
}

impl LenientClient {
    pub(super) fn new(
        connector: RepairConnector,
        watch: &ConnectLayer,
        proxy: &ProxyLayer,
    ) -> Self {
        let proxies = connector.proxies.clone();
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_headers(MAX_HEADER_LINES)
            .build(proxy.layer(watch.layer(connector)));
        Self { client, proxies }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When no response head is received.
    pub(super) async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, BoxError> {
        let forwarding = self.proxies.as_deref();
        let forwarding = forwarding.and_then(|proxies| proxies.forwarding(request.url()));
        let authorization = forwarding.and_then(credentials);
        let mut request = http::Request::<reqwest::Body>::try_from(request)?;
        if let Some(value) = authorization.as_ref().and_then(basic_auth) {
            request
                .headers_mut()
                .insert(header::PROXY_AUTHORIZATION, value);
        }
        let response = self.client.request(request).await?;
        Ok(response.map(reqwest::Body::wrap).into())
    }
}

/// An invalid header line of a response that was meant to say where the body ends.
#[derive(Debug, Clone, Default)]
pub(super) struct FlawedLength(Arc<OnceLock<String>>);

impl FlawedLength {
    /// Returns the line of this response, if it has one.
    pub(super) fn in_response(response: &reqwest::Response) -> Option<&str> {
        let flaw = response.extensions().get::<Self>()?;
        flaw.0.get().map(String::as_str)
    }
}

/// Makes HTTP/1.1 connections that repair responses.
#[derive(Clone)]
pub(super) struct RepairConnector {
    http: HttpConnector<NameService>,
    tls: Arc<ClientConfig>,
    resolver: Arc<Resolver>,
    proxies: Option<Arc<ProxySet>>,
    /// Learns which hosts need repair.
    habits: Arc<HostHabits>,
}

impl RepairConnector {
    /// Creates a connector. `limit` is the timeout that the addresses of a name share.
    pub(super) fn new(
        resolver: Arc<Resolver>,
        limit: Duration,
        mut tls: ClientConfig,
        proxies: Option<Arc<ProxySet>>,
        local_end: Option<&LocalEnd>,
        habits: Arc<HostHabits>,
    ) -> Self {
        let names = NameService(Arc::clone(&resolver));
        let mut http = HttpConnector::new_with_resolver(names);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(limit));
        LocalEnd::apply_to_connector(local_end, &mut http);
        tls.alpn_protocols = vec!["http/1.1".into()];
        Self {
            http,
            tls: Arc::new(tls),
            resolver,
            proxies,
            habits,
        }
    }

    async fn connect(self, target: Uri) -> Result<RepairedStream, BoxError> {
        let url = Url::parse(&target.to_string())?;
        let stream = self.route(&url, target).await?;
        Ok(RepairedStream {
            repairer: ResponseRepairer::bounding_interim(current_is_bounded()),
            learner: Some((self.habits, url)),
            ..stream
        })
    }

    /// Connects directly or through the proxy of the URL.
    async fn route(&self, url: &Url, target: Uri) -> Result<RepairedStream, BoxError> {
        let http = self.http.clone();
        let Some(proxy) = self.proxies.as_deref().and_then(|it| it.route(url)) else {
            return self.secure(http, target.clone(), target).await;
        };
        let at: Uri = proxy.as_str().parse()?;
        let auth = credentials(proxy);
        match proxy.scheme() {
            "http" | "https" if url.scheme() == "http" => {
                let stream = self.secure(http, at.clone(), at).await?;
                Ok(RepairedStream {
                    is_forwarded: true,
                    ..stream
                })
            }
            "http" | "https" => {
                let mut tunnel = Tunnel::new(at, TunnelConnector(self.clone()));
                if let Some(value) = auth.as_ref().and_then(basic_auth) {
                    tunnel = tunnel.with_auth(value);
                }
                self.secure(tunnel, target.clone(), target).await
            }
            "socks4" | "socks4a" => {
                let to = self.socks_target(url, proxy).await?;
                self.secure(SocksV4::new(at, http), to, target).await
            }
            _ => {
                let to = self.socks_target(url, proxy).await?;
                let mut socks = SocksV5::new(at, http);
                if let Some(auth) = auth {
                    socks = socks.with_auth(auth.user, auth.password);
                }
                self.secure(socks, to, target).await
            }
        }
    }

    /// Returns the target for a SOCKS proxy. With `socks4` and `socks5`, its name is resolved here
    /// and not by the proxy.
    async fn socks_target(&self, url: &Url, proxy: &Url) -> Result<Uri, BoxError> {
        let mut to = url.clone();
        if let Some(name) = url
            .domain()
            .filter(|_| matches!(proxy.scheme(), "socks4" | "socks5"))
            && let Some(addr) = self.resolver.resolve(name.parse()?).await?.next()
        {
            to.set_ip_host(addr.ip()).map_err(|()| "no host")?;
        }
        let (scheme, host) = (to.scheme(), to.host_str().unwrap_or_default());
        let port = to.port_or_known_default().unwrap_or_default();
        Ok(format!("{scheme}://{host}:{port}/").parse()?)
    }

    /// Connects to `to` with the connector `under`. If its scheme is https, adds TLS with the host
    /// of `named`.
    async fn secure<T>(&self, under: T, to: Uri, named: Uri) -> Result<RepairedStream, BoxError>
    where
        T: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
        T::Response: Connection + Read + Write + Send + Unpin + 'static,
    {
        let name = move |_: &Uri| DefaultServerNameResolver::default().resolve(&named);
        let tls = Arc::clone(&self.tls);
        let mut secure = HttpsConnector::new(under, tls, false, Arc::new(name));
        Ok(RepairedStream {
            under: Box::new(secure.call(to).await?),
            is_forwarded: false,
            repairer: ResponseRepairer::default(),
            ready: Bytes::new(),
            flaw: FlawedLength::default(),
            learner: None,
        })
    }
}

impl Service<Uri> for RepairConnector {
    type Response = RepairedStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<RepairedStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().connect(target))
    }
}

/// Connects to a proxy and repairs its response to CONNECT.
#[derive(Clone)]
struct TunnelConnector(RepairConnector);

impl Service<Uri> for TunnelConnector {
    type Response = RepairedStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<RepairedStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let Self(connector) = self.clone();
        Box::pin(async move {
            let http = connector.http.clone();
            let stream = connector.secure(http, proxy.clone(), proxy).await?;
            Ok(RepairedStream {
                repairer: ResponseRepairer::for_tunnel(),
                ..stream
            })
        })
    }
}

/// Adapts the run's resolver to the connector.
#[derive(Clone)]
struct NameService(Arc<Resolver>);

impl Service<Name> for NameService {
    type Response = Addrs;
    type Error = BoxError;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        match name.as_str().parse() {
            Ok(name) => self.0.resolve(name),
            Err(_) => Box::pin(async move { Err(format!("invalid host name {name}").into()) }),
        }
    }
}

trait DuplexStream: Read + Write + Connection + Send + Unpin {}
impl<T: Read + Write + Connection + Send + Unpin> DuplexStream for T {}

/// A connection whose first response is repaired while it is read.
pub(super) struct RepairedStream {
    under: Box<dyn DuplexStream>,
    /// Whether requests are sent to a forwarding proxy, which needs absolute URLs.
    is_forwarded: bool,
    repairer: ResponseRepairer,
    /// Repaired bytes that have not been read yet.
    ready: Bytes,
    flaw: FlawedLength,
    /// What learns that the host of this URL needs repair.
    learner: Option<(Arc<HostHabits>, Url)>,
}

impl RepairedStream {
    /// Reads more of what is repaired. Returns 0 if the connection ends inside of it, which the
    /// parser then reports.
    fn poll_repaired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.under).poll_read(cx, read.unfilled()))?;
        self.ready = self.repairer.push(read.filled()).into();
        if let Some(status) = self.repairer.status() {
            note_status(status);
        }
        if let Some(line) = self.repairer.flawed_length() {
            let _ = self.flaw.0.set(line);
        }
        // Later requests to the host use this client from the start: the usual one would read
        // without end once more.
        let habit = match () {
            () if self.repairer.has_endless_interim() => Some(HostHabit::BOUNDED),
            () if self.repairer.has_bare_trailers() => Some(HostHabit::LENIENT),
            () => None,
        };
        if let Some(habit) = habit
            && let Some((habits, url)) = self.learner.take()
        {
            habits.add(&url, habit);
        }
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl Read for RepairedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ready.is_empty() && !self.repairer.is_transparent() {
            if let Some(text) = self.repairer.failure() {
                let error = BeyondRepair(text);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            if self.repairer.has_ended() || ready!(self.poll_repaired(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if self.ready.is_empty() {
            return Pin::new(&mut self.under).poll_read(cx, buf);
        }
        let length = self.ready.len().min(buf.remaining());
        buf.put_slice(&self.ready.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for RepairedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.under).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.under).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.under).poll_shutdown(cx)
    }
}

impl Connection for RepairedStream {
    fn connected(&self) -> Connected {
        let connected = self.under.connected();
        connected.proxy(self.is_forwarded).extra(self.flaw.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use hyper_util::rt::TokioIo;

    use super::*;

    /// Reads to the end of what is sent, as one that limits 1xx responses.
    async fn habit_after(sent: Vec<u8>) -> HostHabit {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let sending = std::thread::spawn(move || server.write_all(&sent).is_ok());
        let url = Url::parse(&format!("http://{to}/")).unwrap();
        let habits = Arc::new(HostHabits::default());
        let mut stream = RepairedStream {
            repairer: ResponseRepairer::bounding_interim(true),
            learner: Some((Arc::clone(&habits), url.clone())),
            under: Box::new(TokioIo::new(stream)),
            is_forwarded: false,
            ready: Bytes::new(),
            flaw: FlawedLength::default(),
        };
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            let got = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, read.unfilled())).await;
            if got.is_err() || read.filled().is_empty() {
                break;
            }
        }
        drop(stream);
        sending.join().unwrap();
        habits.of(&url)
    }

    #[tokio::test]
    async fn a_host_with_endless_interim_heads_is_remembered() {
        let interim = |count| b"HTTP/1.1 100 E\r\n\r\n".repeat(count);
        assert_eq!(habit_after(interim(30_000)).await, HostHabit::BOUNDED);
        assert_eq!(habit_after(interim(100)).await, HostHabit::default());
    }
}
