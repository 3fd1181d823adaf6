//! Options of the HTTP transport.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::dns::ResolveRule;
use super::local_end::{AddressFamily, LocalEnd};
use super::netrc::Netrc;
use crate::model::Credentials;

/// Headers that say where the request ends. The client sets them itself: a wrong one would break
/// the connection, or smuggle a second request after the first.
const FRAMING_HEADERS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Whether only the client may set this header.
#[must_use]
pub fn is_framing_header(name: &HeaderName) -> bool {
    FRAMING_HEADERS.contains(name)
}

/// Which HTTP versions are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/2 if TLS negotiates it (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, without negotiation, even without TLS.
    Http2PriorKnowledge,
}

/// Default port of a SOCKS proxy (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// The URL of a proxy. `Debug` hides its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(pub(super) url::Url);

/// A text is not the URL of a proxy. The message does not repeat the URL, which may contain a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// The URL parser would silently remove it.
    #[error("contains a tab or line end")]
    LineBreak,
    /// It is not a URL.
    #[error("{0}")]
    Url(#[from] url::ParseError),
    /// It is a URL that no proxy has.
    #[error("unsupported proxy scheme {0}; use http, https, socks4, socks4a, socks5 or socks5h")]
    Scheme(String),
}

impl std::str::FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    /// Parses `[scheme://][user:password@]host[:port]`. The default scheme is `http`, as in curl.
    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        if text.trim().contains(['\t', '\r', '\n']) {
            return Err(ProxyUrlError::LineBreak);
        }
        let mut url = url::Url::parse(&with_scheme)?;
        if url.scheme().starts_with("socks") && url.port().is_none() {
            // Fails only for URLs without a host.
            let _ = url.set_port(Some(SOCKS_PORT));
        }
        match url.scheme() {
            "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" if url.has_host() => {
                Ok(Self(url))
            }
            scheme => Err(ProxyUrlError::Scheme(scheme.to_owned())),
        }
    }
}

impl ProxyUrl {
    /// Replaces the credentials of the URL.
    #[must_use]
    pub fn with_credentials(mut self, user: &Credentials) -> Self {
        // `set_username` leaves a % as it is, as the start of an encoded byte.
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

/// Which proxy to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// As set by `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower or upper case.
    /// `NO_PROXY` lists names, which include their subdomains, addresses, networks
    /// (`10.0.0.0/8`), and `*` for all hosts. An entry with a port applies to that port only.
    #[default]
    Environment,
    /// No proxy.
    Direct,
    /// This proxy for all requests.
    Url(ProxyUrl),
}

/// The files of a client certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by those that lead to its authority.
    pub cert: PathBuf,
    /// Its key, not encrypted. Default: in the same file.
    pub key: Option<PathBuf>,
}

/// What is sent to one host, at every hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRequestOptions {
    /// Headers; each replaces those of the run with the same name.
    pub headers: HeaderMap,
    /// Basic credentials; they replace those of the run.
    pub user: Option<Credentials>,
    /// Certificate to present; it replaces that of the run.
    pub certificate: Option<ClientCertificate>,
}

/// Options of the HTTP transport.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Body of every request. Default: none.
    pub body: Option<Bytes>,
    /// Headers of every request to the origins of the list. Other origins, reached by a redirect,
    /// get only those that describe what is requested: `accept`, `accept-language`, `if-range`,
    /// `range`, `referer` and `user-agent`.
    pub headers: HeaderMap,
    /// `User-Agent`. Default: `fetchall/VERSION`.
    pub user_agent: HeaderValue,
    /// Basic credentials for the origins of the list. Userinfo in a URL takes precedence.
    pub user: Option<Credentials>,
    /// Credentials by host, for every host that is requested, whoever leads there. Those of the URL
    /// and [`user`](Self::user) take precedence.
    pub netrc: Option<Arc<Netrc>>,
    /// Proxy to use. Default: that of the environment.
    pub proxy: Proxy,
    /// Accept any certificate. Neither the certificate nor signatures made with its key are
    /// checked.
    pub insecure: bool,
    /// PEM file of certificate authorities to trust instead of the system's. It may also contain
    /// a server's own certificate, which is trusted if its name and dates are valid.
    pub cacert: Option<PathBuf>,
    /// Certificate to present to servers that ask for one. Default: none.
    pub certificate: Option<ClientCertificate>,
    /// What is sent to single hosts, by name as in a URL.
    pub hosts: HashMap<String, HostRequestOptions>,
    /// Addresses that override DNS.
    pub resolve: Vec<ResolveRule>,
    /// The only IP version to connect over. Default: both.
    pub family: Option<AddressFamily>,
    /// The local address or network interface of connections. Default: chosen by the system.
    pub local_end: Option<LocalEnd>,
    /// Connect to public addresses only, whatever names, redirects and
    /// [`resolve`](Self::resolve) lead to; everything else fails as `denied`. Proxies of the
    /// environment are ignored, and [`Proxy::Url`] is an error.
    pub deny_private: bool,
    /// Request compressed bodies. Default: true.
    pub compression: bool,
    /// Attach the headers of the request to its response.
    pub keep_requests: bool,
    /// HTTP versions to use.
    pub version: HttpVersion,
    /// Timeout for DNS, TCP and TLS together. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long an HTTP/2 connection with pending requests may be silent before a ping is sent,
    /// and how long to wait for the reply. Without pings, a dead connection would get new requests
    /// for ever. A busy server replies late, so a run sets this to its stall timeout. Default: 1 min.
    pub ping: Duration,
}

impl HttpOptions {
    /// Whether any server may be presented a client certificate.
    pub(super) fn has_certificates(&self) -> bool {
        let mut hosts = self.hosts.values();
        self.certificate.is_some() || hosts.any(|host| host.certificate.is_some())
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            body: None,
            headers: HeaderMap::new(),
            user_agent: HeaderValue::from_static(concat!("fetchall/", env!("CARGO_PKG_VERSION"))),
            user: None,
            netrc: None,
            proxy: Proxy::Environment,
            insecure: false,
            cacert: None,
            certificate: None,
            hosts: HashMap::new(),
            resolve: Vec::new(),
            family: None,
            local_end: None,
            deny_private: false,
            compression: true,
            keep_requests: false,
            version: HttpVersion::Auto,
            connect_timeout: Duration::from_secs(10),
            ping: Duration::from_secs(60),
        }
    }
}

/// The HTTP client can't be built from these options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The file of CA certificates is unusable.
    #[error("cannot use the certificates in {}: {cause}", path.display())]
    CaCert {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// The client certificate or its key is unusable.
    #[error("cannot use the client certificate in {}: {cause}", path.display())]
    ClientCert {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// The machine does not have the local address or network interface, or it cannot be used.
    #[error("cannot connect from {name}: {cause}")]
    LocalEnd {
        /// The address, or the name of the interface.
        name: String,
        /// The reason.
        cause: std::io::Error,
    },
    /// The local address is of the IP version that is not used.
    #[error("cannot connect over {family} from an {local} address")]
    LocalFamily {
        /// The version of the local address.
        local: &'static str,
        /// The version to connect over.
        family: &'static str,
    },
    /// Private addresses are denied, and a proxy, which resolves names itself, is set.
    #[error(
        "denying private addresses does not work through a proxy: the proxy connects, so addresses \
         cannot be checked here"
    )]
    UnguardedProxy,
    /// An environment variable contains an invalid proxy. The message omits the value, which may
    /// contain a password.
    #[error("invalid proxy in {name}: {cause}")]
    EnvironmentProxy {
        /// The variable.
        name: String,
        /// The reason.
        cause: ProxyUrlError,
    },
    /// Any other reason.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_needs_a_supported_scheme_and_its_password_is_hidden() {
        let proxy = "socks5h://me:secret@127.0.0.1:1080"
            .parse::<ProxyUrl>()
            .unwrap();
        assert!(!format!("{proxy:?}").contains("secret"));
        assert!("127.0.0.1:3128".parse::<ProxyUrl>().is_ok());
        assert!("127.0.0.1:3128\n".parse::<ProxyUrl>().is_ok());
        let socks = "socks5://127.0.0.1".parse::<ProxyUrl>().unwrap();
        assert_eq!(socks.0.port(), Some(1080));
        assert!("127.0.0.1\n:3128".parse::<ProxyUrl>().is_err());
        let error = "ftp://me:secret@host".parse::<ProxyUrl>().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("socks5h") && !text.contains("secret"));
    }
}
