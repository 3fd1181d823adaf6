//! Owns the reqwest clients and replaces them to drop idle connections.
//!
//! A client keeps its idle connections for [`IDLE_TIMEOUT`], and their total can't be limited: on
//! a list of many hosts thousands pile up, at 32 to 60 KiB each. Dropping the client closes them.
//! It is replaced when far more connections are open than useful ones, that is, than there are
//! requests in flight and hosts with URLs left to fetch.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use url::{Host, Url};

use super::connect::{
    ConnectLayer, ConnectionCount, ConnectionWaits, current_is_retry, current_port,
};
use super::dns::{ResolveError, Resolver};
use super::fd_budget::FdBudget;
use super::habits::HostHabits;
use super::lenient::{LenientClient, RepairConnector};
use super::local_end::{self, AddressFamily, LocalEnd};
use super::options::{HttpOptions, HttpVersion, TransportError};
use super::proxy::ProxySet;
use super::tls;
use super::tls_version::TlsVersions;
use super::tunnel::{ProxyLayer, TunnelProbe};
use crate::model::TlsVersion;

/// How long an idle connection is kept. Common servers close theirs after 5 s; staying below that
/// means that few requests are sent on a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Limit for the head of a response over HTTP/2, decompressed. Some sites send more than hyper's
/// default of 16 KiB; over HTTP/1.1 hyper accepts 400 KiB.
const MAX_HTTP2_HEAD_BYTES: u32 = 128 * 1024;
/// How much later the client's own connect timeout fires than ours, which has to be first.
const CLOCK_SLACK: Duration = Duration::from_millis(50);
/// Idle connections that may be open beyond [`MAX_OPEN_PER_USEFUL`]: few enough for any machine's
/// memory.
const SPARE_CONNECTIONS: usize = 128;
/// Connections that may be open per useful one.
const MAX_OPEN_PER_USEFUL: usize = 2;

/// Deviations from the usual way to send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ClientVariant {
    /// Use HTTP/1.1, whatever else the server offers.
    pub http1: bool,
    /// Use the client that repairs responses; it speaks HTTP/1.1, on a new connection each.
    pub lenient: bool,
    /// Make that client limit 1xx responses.
    pub bounded: bool,
    /// Use a connection on which nothing has been sent before.
    pub fresh: bool,
}

impl ClientVariant {
    /// Number of reqwest clients: one per combination of `http1` and `fresh`.
    const COUNT: usize = 4;

    fn index(self) -> usize {
        usize::from(self.http1) | usize::from(self.fresh) << 1
    }
}

/// The current clients, each replaced when too many of its connections are idle.
#[derive(Debug)]
pub(super) struct RotatingClient {
    factory: ClientFactory,
    /// For each thread: a connection is served by the thread that made it. The default variant of
    /// the first is built at the start, the others when they are first needed.
    now: Vec<[Mutex<Option<ClientGeneration>>; ClientVariant::COUNT]>,
    lenient: OnceLock<LenientClient>,
    tls_versions: Option<Arc<TlsVersions>>,
}

#[derive(Debug)]
struct ClientGeneration {
    client: reqwest::Client,
    made: ConnectionCount,
}

/// Builds clients. They share the DNS cache and the TLS sessions.
struct ClientFactory {
    options: HttpOptions,
    idle_per_host: usize,
    descriptors: FdBudget,
    resolver: Arc<Resolver>,
    tls: ClientConfig,
    proxies: Option<Arc<ProxySet>>,
    probe: Arc<TunnelProbe>,
    habits: Arc<HostHabits>,
    /// The only IP version to connect over.
    family: Option<AddressFamily>,
}

impl RotatingClient {
    /// Creates clients for this many threads that keep `idle_per_host` idle connections per host.
    ///
    /// # Errors
    /// When certificates can't be read or options conflict.
    pub(super) fn new(
        options: &HttpOptions,
        idle_per_host: usize,
        threads: usize,
        descriptors: &FdBudget,
        habits: &Arc<HostHabits>,
    ) -> Result<Self, TransportError> {
        if let Some(end) = &options.local_end {
            end.check()?;
        }
        let family = local_end::family(options)?;
        let resolver = Resolver::new(options.resolve.clone(), current_port)
            .bypass_cache_when(current_is_retry)
            .within(options.connect_timeout)
            .only_public(options.deny_private)
            .only_family(family);
        // Only for archives, as the requests are.
        let tls_versions = options.keep_requests.then(Arc::<TlsVersions>::default);
        let factory = ClientFactory {
            options: options.clone(),
            idle_per_host,
            descriptors: descriptors.clone(),
            resolver: Arc::new(resolver),
            tls: tls::config_recording(options, tls_versions.as_ref())?,
            proxies: ProxySet::new(options)?,
            probe: Arc::new(TunnelProbe::new(options.connect_timeout)),
            habits: Arc::clone(habits),
            family,
        };
        let clients = Self {
            factory,
            now: (0..threads).map(|_| Default::default()).collect(),
            lenient: OnceLock::new(),
            tls_versions,
        };
        // Reports conflicting options now, not at the first request.
        clients.client(ClientVariant::default(), 0, 0)?;
        Ok(clients)
    }

    /// Returns the proxies of the run.
    pub(super) fn proxies(&self) -> Option<&ProxySet> {
        self.factory.proxies.as_deref()
    }

    /// Whether requests for a URL go through a proxy.
    pub(super) fn is_proxied(&self, url: &Url) -> bool {
        self.proxies().is_some_and(|proxies| proxies.covers(url))
    }

    /// Returns the version of TLS of the connections for a URL, if that is certain and recorded.
    pub(super) fn tls_version(&self, url: &Url) -> Option<TlsVersion> {
        self.tls_versions.as_ref()?.of(url)
    }

    /// Checks that a request for `url` connects over an allowed IP version, as far as that can be
    /// told without a lookup. Through a proxy, only the proxy is connected to.
    ///
    /// # Errors
    /// When an address in the URL is of the other version.
    pub(super) fn check_family(&self, url: &Url) -> Result<(), ResolveError> {
        let Some(family) = self.factory.family else {
            return Ok(());
        };
        let proxy = self.factory.proxies.as_ref();
        family.check_literal(proxy.and_then(|it| it.of(url)).unwrap_or(url))
    }

    /// Tries this address of the host last from now on: a request failed there.
    pub(super) fn avoid(&self, url: &Url, addr: IpAddr) {
        if let Some(Host::Domain(host)) = url.host() {
            self.factory.resolver.failed(host, addr);
        }
    }

    /// Returns the client that repairs responses.
    pub(super) fn lenient(&self) -> &LenientClient {
        self.lenient.get_or_init(|| self.factory.make_lenient())
    }

    /// Returns the client for a request of a thread. `useful` is the number of connections that are in use or
    /// will be used again.
    ///
    /// # Errors
    /// When it is needed for the first time and can't be built.
    pub(super) fn client(
        &self,
        variant: ClientVariant,
        thread: usize,
        useful: usize,
    ) -> Result<reqwest::Client, TransportError> {
        let clients = self.now.get(thread);
        let Some(now) = clients.and_then(|now| now.get(variant.index())) else {
            return Ok(self.factory.build(variant)?.client);
        };
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match &mut *now {
            Some(now) => now,
            none => none.insert(self.factory.build(variant)?),
        };
        let most = SPARE_CONNECTIONS + useful.saturating_mul(MAX_OPEN_PER_USEFUL);
        if now.made.load(Relaxed) > most {
            self.rotate_if_crowded(variant, now, most);
        }
        Ok(now.client.clone())
    }

    /// Replaces the client if more than `most` connections are open, or if their number is
    /// unknown.
    fn rotate_if_crowded(&self, variant: ClientVariant, now: &mut ClientGeneration, most: usize) {
        let open = self.factory.descriptors.open_connections();
        if let Some(open) = open.filter(|open| *open <= most) {
            now.made.store(open, Relaxed);
            return;
        }
        match self.factory.build(variant) {
            Ok(next) => {
                tracing::debug!(open, most, "client replaced to drop idle connections");
                *now = next;
            }
            // Unlikely, since one was built before. The old one keeps working.
            Err(error) => {
                tracing::debug!("cannot replace the client: {error}");
                now.made.store(0, Relaxed);
            }
        }
    }
}

impl fmt::Debug for ClientFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientFactory");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ClientFactory {
    fn build(&self, variant: ClientVariant) -> Result<ClientGeneration, TransportError> {
        let made = ConnectionCount::new(AtomicUsize::new(0));
        let mut builder = self.builder(&made, variant.http1);
        if variant.fresh {
            // A pool that keeps no idle connections never reuses one.
            builder = builder.pool_max_idle_per_host(0);
        }
        let client = builder.build().map_err(client_error)?;
        Ok(ClientGeneration { client, made })
    }

    fn make_lenient(&self) -> LenientClient {
        let connector = RepairConnector::new(
            Arc::clone(&self.resolver),
            self.connector_limit(),
            self.tls.clone(),
            self.proxies.clone(),
            self.options.local_end.as_ref(),
            Arc::clone(&self.habits),
        );
        LenientClient::new(
            connector,
            &self.watch(&ConnectionCount::default()),
            &self.proxy_layer(),
        )
    }

    /// The timeout that the client's connector divides among the addresses of a name. The client
    /// also applies it around our layer, whose own timeout has to fire first.
    fn connector_limit(&self) -> Duration {
        self.options.connect_timeout.saturating_add(CLOCK_SLACK)
    }

    fn watch(&self, made: &ConnectionCount) -> ConnectLayer {
        ConnectLayer {
            limit: self.options.connect_timeout,
            descriptors: self.descriptors.clone(),
            resolver: Arc::clone(&self.resolver),
            made: Arc::clone(made),
            waits: ConnectionWaits::default(),
        }
    }

    fn builder(&self, made: &ConnectionCount, http1: bool) -> reqwest::ClientBuilder {
        let options = &self.options;
        let version = if http1 {
            HttpVersion::Http1
        } else {
            options.version
        };
        let mut tls = self.tls.clone();
        tls.alpn_protocols = tls::protocols(version);
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // With no retries to send, the client keeps no copy of the request for one.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(self.idle_per_host)
            .http2_keep_alive_interval(options.ping)
            .http2_keep_alive_timeout(options.ping)
            .http2_max_header_list_size(MAX_HTTP2_HEAD_BYTES)
            .dns_resolver(Arc::clone(&self.resolver))
            .tls_backend_preconfigured(tls)
            .connect_timeout(self.connector_limit())
            .connector_layer(self.watch(made));
        let builder = LocalEnd::apply_to_client(options.local_end.as_ref(), builder);
        let builder = match version {
            HttpVersion::Auto => builder,
            HttpVersion::Http1 => builder.http1_only(),
            HttpVersion::Http2PriorKnowledge => builder.http2_prior_knowledge(),
        };
        match &self.proxies {
            Some(proxies) => builder
                .proxy(proxies.for_client())
                .connector_layer(self.proxy_layer()),
            None => builder.no_proxy(),
        }
    }

    fn proxy_layer(&self) -> ProxyLayer {
        let (resolver, mut tls) = (Arc::clone(&self.resolver), self.tls.clone());
        let local_end = self.options.local_end.clone();
        // CONNECT over HTTP/2 works differently (RFC 9113 §8.5) and is not supported.
        tls.alpn_protocols = vec!["http/1.1".into()];
        ProxyLayer {
            probe: Arc::clone(&self.probe),
            builder: Arc::new(move || {
                let builder = reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::none())
                    .retry(reqwest::retry::never())
                    .pool_max_idle_per_host(0)
                    .http1_only()
                    .dns_resolver(Arc::clone(&resolver))
                    .tls_backend_preconfigured(tls.clone());
                LocalEnd::apply_to_client(local_end.as_ref(), builder)
            }),
        }
    }
}

fn client_error(error: reqwest::Error) -> TransportError {
    TransportError::Client(crate::model::chain_text(&error))
}
