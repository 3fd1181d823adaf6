//! How requests are made: what can be set about the transport.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::dns::ResolveRule;
use crate::model::Credentials;

/// Headers that say where the request ends. The client knows that, and a wrong one would break
/// the connection, or smuggle a second request behind the first.
const FRAMING_HEADERS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Whether this header is the client's alone to set.
#[must_use]
pub fn is_framing_header(name: &HeaderName) -> bool {
    FRAMING_HEADERS.contains(name)
}

/// Which HTTP versions are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, without asking first, over plain TCP too.
    Http2PriorKnowledge,
}

/// Where a SOCKS proxy is that names no port (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// The URL of a proxy. Its `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(pub(super) url::Url);

impl ProxyUrl {
    /// Parses `[scheme://][user:password@]host[:port]`; without a scheme it is http, as
    /// curl has it.
    ///
    /// # Errors
    /// When it is no URL of a known proxy scheme. The message does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        // Parsing would delete it, and join what stands on both sides.
        if text.trim().contains(['\t', '\r', '\n']) {
            return Err("it has a tab or line end inside".to_owned());
        }
        let mut url = url::Url::parse(&with_scheme).map_err(|error| error.to_string())?;
        if url.scheme().starts_with("socks") && url.port().is_none() {
            // It fails only for URLs without a host.
            let _ = url.set_port(Some(SOCKS_PORT));
        }
        match url.scheme() {
            "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" if url.has_host() => {
                Ok(Self(url))
            }
            scheme => Err(format!(
                "{scheme} is no proxy scheme; known are http, https, socks4, socks4a, socks5 and socks5h"
            )),
        }
    }

    /// The same with these credentials, instead of any that stand in it.
    #[must_use]
    pub fn with_credentials(mut self, user: &Credentials) -> Self {
        // A % would be taken for the begin of an encoded byte.
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        // Both fail only for URLs without a host, and every proxy has one.
        let _ = self.0.set_username(&encoded(&user.user));
        let _ = self.0.set_password(Some(&encoded(&user.password)));
        self
    }
}

impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}",
            self.0.scheme(),
            self.0.host_str().unwrap_or_default()
        )
    }
}

/// Through which proxy requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in small letters
    /// or in capitals. `NO_PROXY` has names, which stand for all below them, too, addresses,
    /// networks (`10.0.0.0/8`) and `*` for all; with a port an entry is for that port alone.
    #[default]
    Environment,
    /// Through none.
    Direct,
    /// All through this one.
    Url(ProxyUrl),
}

/// How requests are made.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The body of every request.
    pub body: Option<Bytes>,
    /// Headers of every request to the origins of the list. Other origins, reached by a redirect,
    /// get only those that say what is wanted: `accept`, `accept-language`, `if-range`, `range`,
    /// `referer` and `user-agent`.
    pub headers: HeaderMap,
    /// `User-Agent`.
    pub user_agent: HeaderValue,
    /// Basic credentials for the origins of the list; userinfo in a URL beats them.
    pub user: Option<Credentials>,
    /// Through which proxy requests go.
    pub proxy: Proxy,
    /// Accept any certificate, without a look at it or at the signatures made with its key.
    pub insecure: bool,
    /// Authorities to trust instead of the system's, in PEM. A server's own certificate may be
    /// among them: it is trusted when a server shows exactly it, and name and dates fit.
    pub cacert: Option<PathBuf>,
    /// Addresses that beat the name system.
    pub resolve: Vec<ResolveRule>,
    /// Connect to addresses of the public internet only, whatever names, redirects and
    /// [`resolve`](Self::resolve) lead to; everything else fails as `denied`. It goes with no
    /// proxy: those of the environment are passed over.
    pub deny_private: bool,
    /// Ask for compressed bodies.
    pub compression: bool,
    /// Responses carry the headers they were asked for with.
    pub keep_requests: bool,
    /// HTTP versions.
    pub version: HttpVersion,
    /// Limit for DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an HTTP/2 connection may be silent while a request waits on it, until it is
    /// asked whether it is still there; and then how long until it has to answer. Without
    /// that, every further try would wait on the same dead connection.
    pub ping: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            body: None,
            headers: HeaderMap::new(),
            user_agent: HeaderValue::from_static(concat!("fetchall/", env!("CARGO_PKG_VERSION"))),
            user: None,
            proxy: Proxy::Environment,
            insecure: false,
            cacert: None,
            resolve: Vec::new(),
            deny_private: false,
            compression: true,
            keep_requests: false,
            version: HttpVersion::Auto,
            connect_timeout: Duration::from_secs(10),
            ping: Duration::from_secs(10),
        }
    }
}

/// The client can't be made of these options.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The file of `--cacert`.
    #[error("cannot use the certificates in {}: {cause}", path.display())]
    CaCert {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The names are resolved by the proxy, out of reach of the guard.
    #[error(
        "--deny-private does not go with --proxy: the proxy connects, and to which address can't \
         be checked here"
    )]
    UnguardedProxy,
    /// A variable of the environment names no proxy that could be used. Its value may hold a
    /// password.
    #[error("the proxy in {name} can't be used: {cause}")]
    EnvironmentProxy {
        /// The variable.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Anything else.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_needs_a_known_scheme_and_shows_no_password() {
        let proxy = ProxyUrl::parse("socks5h://me:secret@127.0.0.1:1080").unwrap();
        assert!(!format!("{proxy:?}").contains("secret"));
        assert!(ProxyUrl::parse("127.0.0.1:3128").is_ok());
        assert!(ProxyUrl::parse("127.0.0.1:3128\n").is_ok());
        let socks = ProxyUrl::parse("socks5://127.0.0.1").unwrap();
        assert_eq!(socks.0.port(), Some(1080));
        assert!(ProxyUrl::parse("127.0.0.1\n:3128").is_err());
        let error = ProxyUrl::parse("ftp://me:secret@host").unwrap_err();
        assert!(error.contains("socks5h") && !error.contains("secret"));
    }
}
