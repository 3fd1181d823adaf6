//! The client of reqwest, and when another one takes its place.
//!
//! A client keeps its idle connections for [`IDLE`], and nothing can be said about their number:
//! on a list of many hosts thousands pile up, at 32 to 60 KiB each. They go with their client.
//! So a new one takes its place when many more are open than there are requests under way, and
//! hosts that have something left to be fetched.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

use super::connect::{Made, Watch, is_retry, port_of_call};
use super::descriptors::Descriptors;
use super::dns::Resolver;
use super::options::{HttpOptions, HttpVersion, Proxy, ProxyUrl, TransportError};
use super::tls;

/// How long an idle connection is kept: under the 5 s after which common servers close
/// theirs, so that a request seldom meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(4);
/// Bytes of a head over HTTP/2, unpacked. hyper's own limit of 16 KiB is less than some sites
/// send; over HTTP/1.1 it takes 400 KiB.
const MAX_HTTP2_HEAD: u32 = 128 * 1024;
/// By how much the client's own clock over connecting is later than ours.
const CLOCK_SLACK: Duration = Duration::from_millis(50);
/// Connections that may be open beyond those that are of use: nobody has too little memory for so
/// few.
const FEW: usize = 128;
/// How many may be open for one that is of use.
const TIMES: usize = 2;

/// The client that sends what comes now.
#[derive(Debug)]
pub struct Clients {
    maker: Maker,
    now: Mutex<Generation>,
}

#[derive(Debug)]
struct Generation {
    client: reqwest::Client,
    made: Made,
}

/// All that a client is made of. Names that were looked up and TLS sessions outlive it.
struct Maker {
    options: HttpOptions,
    idle_per_host: usize,
    descriptors: Descriptors,
    resolver: Arc<Resolver>,
    tls: ClientConfig,
}

impl Clients {
    /// A client that keeps `idle_per_host` idle connections for each host.
    ///
    /// # Errors
    /// When certificates can't be read or options do not go together.
    pub fn new(
        options: &HttpOptions,
        idle_per_host: usize,
        descriptors: &Descriptors,
    ) -> Result<Self, TransportError> {
        let resolver = Resolver::new(options.resolve.clone(), port_of_call)
            .anew_when(is_retry)
            .within(options.connect_timeout)
            .only_public(options.deny_private);
        let maker = Maker {
            options: options.clone(),
            idle_per_host,
            descriptors: descriptors.clone(),
            resolver: Arc::new(resolver),
            tls: tls::config(options)?,
        };
        let now = Mutex::new(maker.make()?);
        Ok(Self { maker, now })
    }

    /// The client for a request, while so many connections are of use.
    pub fn for_request(&self, of_use: usize) -> reqwest::Client {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let most = FEW + of_use.saturating_mul(TIMES);
        if now.made.load(Relaxed) > most {
            self.look_at_open(&mut now, most);
        }
        now.client.clone()
    }

    /// So many were made that too many may be open. Where that can't be seen, they are.
    fn look_at_open(&self, now: &mut Generation, most: usize) {
        let open = self.maker.descriptors.connections();
        if let Some(open) = open.filter(|open| *open <= most) {
            now.made.store(open, Relaxed);
            return;
        }
        match self.maker.make() {
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

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Maker");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Maker {
    fn make(&self) -> Result<Generation, TransportError> {
        let made = Made::new(AtomicUsize::new(0));
        let client = self.builder(&made)?.build().map_err(client_error)?;
        Ok(Generation { client, made })
    }

    fn builder(&self, made: &Made) -> Result<reqwest::ClientBuilder, TransportError> {
        let options = &self.options;
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(self.idle_per_host)
            .http2_keep_alive_interval(options.ping)
            .http2_keep_alive_timeout(options.ping)
            .http2_max_header_list_size(MAX_HTTP2_HEAD)
            .dns_resolver(Arc::clone(&self.resolver))
            .tls_backend_preconfigured(self.tls.clone())
            // The connector divides it among the addresses of a name. It is also a clock around
            // our layer, which has its own and is to be first.
            .connect_timeout(options.connect_timeout.saturating_add(CLOCK_SLACK))
            .connector_layer(Watch {
                limit: options.connect_timeout,
                descriptors: self.descriptors.clone(),
                resolver: Arc::clone(&self.resolver),
                made: Arc::clone(made),
            });
        let builder = match options.version {
            HttpVersion::Auto => builder,
            HttpVersion::Http1 => builder.http1_only(),
            HttpVersion::Http2PriorKnowledge => builder.http2_prior_knowledge(),
        };
        Ok(match &options.proxy {
            // A proxy resolves the names itself, or is an inner address: nothing could be
            // checked.
            Proxy::Url(_) if options.deny_private => return Err(TransportError::UnguardedProxy),
            Proxy::Environment if options.deny_private => builder.no_proxy(),
            // It would be asked for every request.
            Proxy::Environment if !environment_names_a_proxy()? => builder.no_proxy(),
            Proxy::Environment => builder,
            Proxy::Direct => builder.no_proxy(),
            Proxy::Url(url) => {
                builder.proxy(reqwest::Proxy::all(url.0.clone()).map_err(client_error)?)
            }
        })
    }
}

/// Whether one is named. One that can't be used would be passed over without a word, and the
/// requests would go out directly.
fn environment_names_a_proxy() -> Result<bool, TransportError> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    let mut is_named = false;
    for name in names {
        let Some(value) = std::env::var_os(&name).filter(|value| !value.is_empty()) else {
            continue;
        };
        is_named = true;
        let value = value.to_string_lossy();
        if let Err(cause) = ProxyUrl::parse(&value) {
            return Err(TransportError::EnvironmentProxy { name, cause });
        }
    }
    Ok(is_named)
}

fn client_error(error: reqwest::Error) -> TransportError {
    TransportError::Client(crate::model::chain_text(&error))
}
