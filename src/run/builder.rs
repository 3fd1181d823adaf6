//! Options of a [`Fetcher`], one method for each.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::Fetcher;
use super::fetcher::FetcherOptions;
use super::host_options::{HostOptions, host_name, parse_header};
use crate::fetch::{
    AddressFamily, ClientCertificate, FaultPlan, HttpVersion, LocalEnd, Netrc, Proxy, ResolveRule,
    TransportError,
};
use crate::model::{Credentials, ExpectedTypes, HashAlgorithm, MaxFailures, UsageSignal};
use crate::schedule::{PerHostLimit, RetryRules, RobotsOptions};

/// A [`Fetcher`] cannot be made of these options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option has a value that it cannot have.
    #[error("invalid {option}: {reason}")]
    Option {
        /// The method of [`FetcherBuilder`] that set it.
        option: &'static str,
        /// What is wrong with the value. It does not repeat the value, which may be a secret.
        reason: String,
    },
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Builds a [`Fetcher`]. Every option has a default; an invalid value is an error of
/// [`build`](Self::build).
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), fetchall::BuildError> {
/// let fetcher = fetchall::Fetcher::builder()
///     .concurrency(32)
///     .per_host(4)
///     .retries(5)
///     .max_time(Duration::from_secs(60))
///     .header("accept-language", "de")
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct FetcherBuilder {
    options: FetcherOptions,
    error: Option<BuildError>,
}

impl FetcherBuilder {
    /// Most requests at the same time. Default: 64.
    pub fn concurrency(mut self, requests: usize) -> Self {
        match NonZeroUsize::new(requests) {
            Some(requests) => self.options.engine.concurrency = requests,
            None => self.reject("concurrency", "expected at least 1"),
        }
        self
    }

    /// Requests to one host at the same time, always this many. By default the limit of each host
    /// is found while the run goes on: it grows while that raises the throughput, and is halved
    /// when the host answers 429 or 503 or connections fail.
    pub fn per_host(mut self, requests: usize) -> Self {
        match NonZeroUsize::new(requests) {
            Some(requests) => self.options.schedule.per_host = PerHostLimit::Fixed(requests),
            None => self.reject("per_host", "expected at least 1"),
        }
        self
    }

    /// Shortest time between the starts of two requests to one host. Default: none.
    pub fn host_interval(mut self, interval: Duration) -> Self {
        self.options.schedule.host_interval = interval;
        self
    }

    /// Obeys the robots.txt of each origin (RFC 9309), with the default product token and bound. What
    /// it disallows fails as [`FetchError::Robots`]. Default: it is not read.
    ///
    /// [`FetchError::Robots`]: crate::FetchError::Robots
    pub fn robots(mut self) -> Self {
        self.options.schedule.robots.get_or_insert_default();
        self
    }

    /// Obeys robots.txt as this crawler: the product token whose groups apply, and that
    /// `X-Robots-Tag` may name. Default: `fetchall`.
    pub fn robots_agent(mut self, name: &str) -> Self {
        match RobotsOptions::parse_agent(name) {
            Ok(agent) => {
                self.options.engine.robots_agent.clone_from(&agent);
                self.options.schedule.robots.get_or_insert_default().agent = agent;
            }
            Err(expected) => self.reject("robots_agent", &expected),
        }
        self
    }

    /// Obeys robots.txt with this longest `Crawl-delay`; a longer one counts as this. Default: 30 s.
    pub fn crawl_delay_max(mut self, delay: Duration) -> Self {
        let robots = self.options.schedule.robots.get_or_insert_default();
        robots.crawl_delay_max = delay;
        self
    }

    /// Fails responses in which the site says one of these things against the use of its content.
    /// Default: none.
    pub fn respect(mut self, signals: impl IntoIterator<Item = UsageSignal>) -> Self {
        self.options.engine.respect.extend(signals);
        self
    }

    /// Most requests per second, to all hosts together. Default: no limit.
    pub fn rate(mut self, per_second: f64) -> Self {
        if per_second.is_finite() && per_second > 0.0 {
            self.options.schedule.rate = Some(per_second);
        } else {
            self.reject("rate", "expected a number above 0");
        }
        self
    }

    /// Bytes of bodies per second, of all URLs together, as they come on the wire: at least 1. Default:
    /// no limit.
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        match bytes_per_second {
            0 => self.reject("limit_rate", "expected at least 1"),
            limit => self.options.schedule.limit_rate = Some(limit),
        }
        self
    }

    /// The same for each host. Default: no limit.
    pub fn host_limit_rate(mut self, bytes_per_second: u64) -> Self {
        match bytes_per_second {
            0 => self.reject("host_limit_rate", "expected at least 1"),
            limit => self.options.schedule.host_limit_rate = Some(limit),
        }
        self
    }

    /// Retries of a URL after the first attempt; with 0 nothing is retried. Default: 3.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retry.retries = retries;
        self
    }

    /// Upper bound of the first backoff, which doubles with every retry; the wait itself is drawn
    /// between 0 and the bound. Default: 500 ms.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.options.retry.delay = delay;
        self
    }

    /// Upper bound of every backoff. Default: 30 s.
    pub fn retry_max_delay(mut self, delay: Duration) -> Self {
        self.options.retry.max_delay = delay;
        self
    }

    /// Longest `Retry-After` that is honoured; a longer one fails the URL. Default: 5 minutes.
    pub fn retry_after_max(mut self, wait: Duration) -> Self {
        self.options.retry.retry_after_max = wait;
        self
    }

    /// Longest time that one URL waits for its retries in all. Default: 15 minutes.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.options.retry.max_wait = wait;
        self
    }

    /// Failures to retry besides the usual ones, or not to retry. Default: none.
    pub fn retry_on(mut self, rules: RetryRules) -> Self {
        self.options.retry.rules = rules;
        self
    }

    /// Limit for DNS, TCP and TLS together. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options.http.connect_timeout = limit;
        self
    }

    /// The response has to begin within this time, and then to bring 1 KiB within each such time;
    /// `None`: no limit. Default: 30 s.
    pub fn stall_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.options.engine.stall_timeout = limit.into();
        self
    }

    /// Limit for one whole attempt, body included; `None`: no limit. Default: none.
    pub fn max_time(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.options.engine.max_time = limit.into();
        self
    }

    /// Largest body in bytes, counted after decoding. Default: 1 GiB.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.options.engine.max_size = bytes;
        self
    }

    /// Most requests at the same time for one large body that [`run`](Fetcher::run) saves as a file, each
    /// for a part of it. They need slots that no other URL could use, a server that takes ranges, and a
    /// gain. Default: 1.
    pub fn segments(mut self, most: usize) -> Self {
        match NonZeroUsize::new(most) {
            Some(most) => self.options.engine.segments.most = most,
            None => self.reject("segments", "expected at least 1"),
        }
        self
    }

    /// Media types that bodies may have; others fail as [`FetchError::ContentType`]. Default: any.
    ///
    /// [`FetchError::ContentType`]: crate::FetchError::ContentType
    pub fn expect_types(mut self, types: ExpectedTypes) -> Self {
        self.options.engine.expected_types = Some(types);
        self
    }

    /// Redirects that are followed for one URL. Default: 10.
    pub fn max_redirects(mut self, redirects: u32) -> Self {
        self.options.engine.max_redirects = redirects;
        self
    }

    /// A run ends early after more failures than this. Default: never. URLs that are then left
    /// have no result, so it is for [`Fetcher::run`].
    pub fn max_failures(mut self, failures: MaxFailures) -> Self {
        self.options.engine.max_failures = Some(failures);
        self
    }

    /// The method of every request. Default: GET, or POST with a [`body`](Self::body).
    pub fn method(mut self, method: Method) -> Self {
        self.options.method = Some(method);
        self
    }

    /// The body of every request, sent as a form unless a `Content-Type` is set. Default: none.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.options.http.body = Some(body.into());
        self
    }

    /// Adds a header to every request to the origins of the list. Another origin that a redirect
    /// leads to gets only `accept`, `accept-language`, `if-range`, `range`, `referer` and
    /// `user-agent`. The value is treated as a secret: no log or record shows it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match parse_header(name, value) {
            Ok((name, value)) => {
                self.options.http.headers.append(name, value);
            }
            Err(reason) => self.reject("header", &reason),
        }
        self
    }

    /// Options for one host: a name or an address as in a URL, on every port. They replace those for
    /// every host, and those that were set for it before. Default: none.
    pub fn host(mut self, name: &str, options: HostOptions) -> Self {
        let parts = host_name(name).and_then(|host| Ok((host, options.into_parts()?)));
        match parts {
            Ok((host, (request, limit))) => {
                self.options.http.hosts.insert(host.clone(), request);
                let limits = &mut self.options.schedule.hosts;
                Arc::make_mut(limits).insert(host, limit);
                self.options.retry.hosts = Arc::clone(limits);
            }
            Err(reason) => self.reject("host", &reason),
        }
        self
    }

    /// `User-Agent`. Default: `fetchall/` and the version.
    pub fn user_agent(mut self, agent: &str) -> Self {
        match agent.parse() {
            Ok(agent) => self.options.http.user_agent = agent,
            Err(_) => self.reject("user_agent", "not a header value"),
        }
        self
    }

    /// Basic credentials for the origins of the list; those in a URL take their place. Default:
    /// none.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.options.http.user = Some(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        });
        self
    }

    /// Cookies that servers set are kept and sent for all URLs, as RFC 6265 allows, while the fetcher
    /// lives: a login is then done once. Default: no, they last for the redirects of one URL.
    pub fn share_cookies(mut self, share: bool) -> Self {
        let jar = self.options.engine.jar.take().filter(|_| share);
        self.options.engine.jar = jar.or_else(|| share.then(Arc::default));
        self
    }

    /// Cookies to begin with, as the content of a cookies.txt (Netscape format): each is sent where
    /// it belongs. Includes [`share_cookies`](Self::share_cookies). Lines that are no cookies are left
    /// out; JSON, or a text without a cookie, is an error. Default: none.
    pub fn cookies(mut self, file: impl AsRef<[u8]>) -> Self {
        let jar = self.options.engine.jar.get_or_insert_default();
        if let Err(error) = jar.read(file.as_ref()) {
            self.reject("cookies", &error.to_string());
        }
        self
    }

    /// Credentials by host, as the content of a `.netrc`, for every host that is requested, whoever
    /// leads there. Those of a URL, of [`host`](Self::host) and of [`basic_auth`](Self::basic_auth)
    /// come first. Default: none; no file is looked up.
    pub fn netrc(mut self, text: &str) -> Self {
        match text.parse::<Netrc>() {
            Ok(netrc) => self.options.http.netrc = Some(Arc::new(netrc)),
            Err(error) => self.reject("netrc", &error.to_string()),
        }
        self
    }

    /// The proxy of all requests. Default: that of the environment (`HTTP_PROXY`, `HTTPS_PROXY`,
    /// `ALL_PROXY`, `NO_PROXY`).
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.options.http.proxy = proxy;
        self
    }

    /// Adds addresses to connect to instead of what the name system says. Default: none.
    pub fn resolve(mut self, rule: ResolveRule) -> Self {
        self.options.http.resolve.push(rule);
        self
    }

    /// The only IP version to connect over. A name or an address in a URL that has none fails as
    /// `dns`. Default: both.
    pub fn address_family(mut self, family: AddressFamily) -> Self {
        self.options.http.family = Some(family);
        self
    }

    /// The local address or network interface of connections. Default: chosen by the system.
    pub fn local_end(mut self, end: LocalEnd) -> Self {
        self.options.http.local_end = Some(end);
        self
    }

    /// HTTP versions. Default: [`HttpVersion::Auto`].
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.options.http.version = version;
        self
    }

    /// Accept any certificate: whoever is on the way can then read and change everything. Default:
    /// no.
    pub fn accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.options.http.insecure = accept;
        self
    }

    /// Certificates to trust instead of the system's, in a PEM file. Default: the system's.
    pub fn ca_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.options.http.cacert = Some(file.into());
        self
    }

    /// The certificate to present to servers that ask for one, and its key: PEM files, of which the
    /// second may be the first. Default: none.
    pub fn client_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.options.http.certificate = Some(ClientCertificate {
            cert: cert.into(),
            key: Some(key.into()),
        });
        self
    }

    /// Connect to addresses of the public internet only, whatever names and redirects lead to. It
    /// excludes a proxy. Default: no.
    pub fn deny_private(mut self, deny: bool) -> Self {
        self.options.http.deny_private = deny;
        self
    }

    /// Bodies keep their content codings. Default: no, they are decoded.
    pub fn raw(mut self, raw: bool) -> Self {
        self.options.engine.raw = raw;
        self
    }

    /// Records have the SHA-256 of every body. Default: no, only where the list expects one.
    pub fn sha256(mut self, hash: bool) -> Self {
        let hashes = &mut self.options.engine.hashes;
        hashes.retain(|algorithm| *algorithm != HashAlgorithm::Sha256);
        if hash {
            hashes.push(HashAlgorithm::Sha256);
        }
        self
    }

    /// Records have these hashes of every body. Default: none, only those that the list expects or
    /// the server announces. Replaces what [`sha256`](Self::sha256) has set.
    pub fn hashes(mut self, algorithms: impl IntoIterator<Item = HashAlgorithm>) -> Self {
        self.options.engine.hashes = algorithms.into_iter().collect();
        self
    }

    /// Faults to simulate. Default: none.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.options.faults = Some(plan);
        self
    }

    /// Seed of the jitter in backoffs, for runs that can be repeated. Default: random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.engine.seed = Some(seed);
        self
    }

    /// The fetcher, with a connection pool of its own. Reads the files of certificates, and those of
    /// the system, which blocks for some milliseconds.
    ///
    /// # Errors
    /// The first option that was invalid, or why the HTTP client cannot be set up.
    pub fn build(self) -> Result<Fetcher, BuildError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Fetcher::new(self.options)?),
        }
    }

    fn reject(&mut self, option: &'static str, reason: &str) {
        let reason = reason.to_owned();
        self.error
            .get_or_insert(BuildError::Option { option, reason });
    }
}
