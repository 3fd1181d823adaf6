//! The client of reqwest, and when another one takes its place.
//!
//! A client keeps its idle connections for [`IDLE_TIMEOUT`], and nothing can be said about their number:
//! on a list of many hosts thousands pile up, at 32 to 60 KiB each. They go with their client.
//! So a new one takes its place when many more are open than there are requests under way, and
//! hosts that have something left to be fetched.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

use super::connect::{ConnectLayer, ConnectionCount, current_is_retry, current_port};
use super::dns::Resolver;
use super::fd_budget::FdBudget;
use super::lenient::{LenientClient, RepairConnector};
use super::options::{HttpOptions, HttpVersion, TransportError};
use super::proxy::ProxySet;
use super::tls;
use super::tunnel::{ProxyLayer, TunnelProbe};

/// How long an idle connection is kept: under the 5 s after which common servers close
/// theirs, so that a request seldom meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Bytes of a head over HTTP/2, unpacked. hyper's own limit of 16 KiB is less than some sites
/// send; over HTTP/1.1 it takes 400 KiB.
const MAX_HTTP2_HEAD_BYTES: u32 = 128 * 1024;
/// By how much the client's own clock over connecting is later than ours.
const CLOCK_SLACK: Duration = Duration::from_millis(50);
/// Connections that may be open beyond those that are of use: nobody has too little memory for so
/// few.
const SPARE_CONNECTIONS: usize = 128;
/// How many may be open for one that is of use.
const MAX_OPEN_PER_USEFUL: usize = 2;

/// How a request is sent, where that is not as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientVariant {
    /// Over HTTP/1.1, whatever else the server offers.
    pub http1: bool,
    /// By the client that repairs response heads; it speaks HTTP/1.1, over new connections.
    pub lenient: bool,
    /// Over a connection that nothing was sent over before.
    pub fresh: bool,
}

impl ClientVariant {
    /// Clients of reqwest.
    const COUNT: usize = 4;

    fn index(self) -> usize {
        usize::from(self.http1) | usize::from(self.fresh) << 1
    }
}

/// The clients that send what comes now.
#[derive(Debug)]
pub struct RotatingClient {
    maker: ClientFactory,
    /// The usual one is there from the start, the others when they are first needed.
    now: [Mutex<Option<ClientGeneration>>; ClientVariant::COUNT],
    lenient: OnceLock<LenientClient>,
}

#[derive(Debug)]
struct ClientGeneration {
    client: reqwest::Client,
    made: ConnectionCount,
}

/// All that a client is made of. Names that were looked up and TLS sessions outlive it.
struct ClientFactory {
    options: HttpOptions,
    idle_per_host: usize,
    descriptors: FdBudget,
    resolver: Arc<Resolver>,
    tls: ClientConfig,
    proxies: Option<Arc<ProxySet>>,
    inquirer: Arc<TunnelProbe>,
}

impl RotatingClient {
    /// A client that keeps `idle_per_host` idle connections for each host.
    ///
    /// # Errors
    /// When certificates can't be read or options do not go together.
    pub fn new(
        options: &HttpOptions,
        idle_per_host: usize,
        descriptors: &FdBudget,
    ) -> Result<Self, TransportError> {
        let resolver = Resolver::new(options.resolve.clone(), current_port)
            .bypass_cache_when(current_is_retry)
            .within(options.connect_timeout)
            .only_public(options.deny_private);
        let maker = ClientFactory {
            options: options.clone(),
            idle_per_host,
            descriptors: descriptors.clone(),
            resolver: Arc::new(resolver),
            tls: tls::config(options)?,
            proxies: ProxySet::new(options)?,
            inquirer: Arc::new(TunnelProbe::new(options.connect_timeout)),
        };
        let clients = Self {
            maker,
            now: Default::default(),
            lenient: OnceLock::new(),
        };
        // Options that do not go together are an error now, not at the first request.
        clients.client(ClientVariant::default(), 0)?;
        Ok(clients)
    }

    /// The client that repairs response heads.
    pub fn lenient(&self) -> &LenientClient {
        self.lenient.get_or_init(|| self.maker.make_lenient())
    }

    /// The client for a request, while so many connections are of use.
    ///
    /// # Errors
    /// When it is needed for the first time and can't be made.
    pub fn client(
        &self,
        variant: ClientVariant,
        of_use: usize,
    ) -> Result<reqwest::Client, TransportError> {
        let Some(now) = self.now.get(variant.index()) else {
            return Ok(self.maker.build(variant)?.client);
        };
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match &mut *now {
            Some(now) => now,
            none => none.insert(self.maker.build(variant)?),
        };
        let most = SPARE_CONNECTIONS + of_use.saturating_mul(MAX_OPEN_PER_USEFUL);
        if now.made.load(Relaxed) > most {
            self.rotate_if_crowded(variant, now, most);
        }
        Ok(now.client.clone())
    }

    /// So many were made that too many may be open. Where that can't be seen, they are.
    fn rotate_if_crowded(&self, variant: ClientVariant, now: &mut ClientGeneration, most: usize) {
        let open = self.maker.descriptors.open_connections();
        if let Some(open) = open.filter(|open| *open <= most) {
            now.made.store(open, Relaxed);
            return;
        }
        match self.maker.build(variant) {
            Ok(next) => {
                tracing::debug!(open, most, "a new client, so that idle connections go");
                *now = next;
            }
            // It was made once; the old one does as well.
            Err(error) => {
                tracing::debug!("no new client: {error}");
                now.made.store(0, Relaxed);
            }
        }
    }
}

impl fmt::Debug for ClientFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Maker");
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
            // Without room for idle connections the pool is not asked for one either.
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
        );
        LenientClient::new(
            connector,
            &self.watch(&ConnectionCount::default()),
            &self.proxy_layer(),
        )
    }

    /// For one address after another. It is also a clock around our layer, which has its own and
    /// is to be first.
    fn connector_limit(&self) -> Duration {
        self.options.connect_timeout.saturating_add(CLOCK_SLACK)
    }

    fn watch(&self, made: &ConnectionCount) -> ConnectLayer {
        ConnectLayer {
            limit: self.options.connect_timeout,
            descriptors: self.descriptors.clone(),
            resolver: Arc::clone(&self.resolver),
            made: Arc::clone(made),
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
            .retry(reqwest::retry::never())
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
        // CONNECT over HTTP/2 is another thing.
        tls.alpn_protocols = vec!["http/1.1".into()];
        ProxyLayer {
            inquirer: Arc::clone(&self.inquirer),
            builder: Arc::new(move || {
                reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::none())
                    .retry(reqwest::retry::never())
                    .pool_max_idle_per_host(0)
                    .http1_only()
                    .dns_resolver(Arc::clone(&resolver))
                    .tls_backend_preconfigured(tls.clone())
            }),
        }
    }
}

fn client_error(error: reqwest::Error) -> TransportError {
    TransportError::Client(crate::model::chain_text(&error))
}
