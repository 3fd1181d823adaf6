//! Selects the proxy for a request: that of the options, or those of the environment.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::options::{HttpOptions, Proxy, ProxyUrl, TransportError};
use super::tunnel;
use crate::model::Credentials;

/// The proxies of a run.
#[derive(Debug, Default)]
pub(super) struct ProxySet {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    exceptions: NoProxyList,
}

impl ProxySet {
    /// Returns the proxies that the options select, or `None` if requests are sent directly.
    ///
    /// # Errors
    /// When a proxy conflicts with other options, or is invalid. An invalid one in the environment
    /// is not ignored, because requests would then be sent directly.
    pub(super) fn new(options: &HttpOptions) -> Result<Option<Arc<Self>>, TransportError> {
        let proxies = match &options.proxy {
            Proxy::Direct => return Ok(None),
            // A proxy resolves names itself, and its own address may be private: nothing could be
            // checked.
            Proxy::Url(_) if options.deny_private => return Err(TransportError::UnguardedProxy),
            Proxy::Environment if options.deny_private => return Ok(None),
            Proxy::Url(url) => Self {
                http: Some(url.clone()),
                https: Some(url.clone()),
                exceptions: NoProxyList::default(),
            },
            Proxy::Environment => Self::from_variables(|name| {
                let value = std::env::var_os(name)?;
                Some(value.to_string_lossy().into_owned())
            })?,
        };
        let is_named = proxies.http.is_some() || proxies.https.is_some();
        Ok(is_named.then(|| Arc::new(proxies)))
    }

    /// Returns the proxies of an environment.
    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TransportError> {
        let first = |name: &str| {
            [name.to_owned(), name.to_lowercase()]
                .into_iter()
                // In a CGI program HTTP_PROXY contains the request header `Proxy`, which any
                // client can set.
                .filter(|name| name != "HTTP_PROXY" || variable("REQUEST_METHOD").is_none())
                .find_map(|name| {
                    let value = variable(&name).filter(|value| !value.is_empty())?;
                    Some((name, value))
                })
        };
        let proxy = |name: &str| match first(name) {
            None => Ok(None),
            Some((name, value)) => value
                .parse::<ProxyUrl>()
                .map(Some)
                .map_err(|cause| TransportError::EnvironmentProxy { name, cause }),
        };
        let all = proxy("ALL_PROXY")?;
        Ok(Self {
            http: proxy("HTTP_PROXY")?.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY")?.or(all),
            exceptions: first("NO_PROXY")
                .map(|(_, list)| NoProxyList::parse(&list))
                .unwrap_or_default(),
        })
    }

    /// Returns the proxy for a URL.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        let proxy = proxy.as_ref().filter(|_| !self.exceptions.cover(url))?;
        Some(&proxy.0)
    }

    /// Converts to the client's type. The client calls the closure when it makes a connection,
    /// which is when its route becomes known.
    pub(super) fn for_client(self: &Arc<Self>) -> reqwest::Proxy {
        let proxies = Arc::clone(self);
        reqwest::Proxy::custom(move |url| proxies.route(url).cloned())
    }

    /// Returns the proxy for the connection that this task makes, and notes the route.
    pub(super) fn route(&self, url: &Url) -> Option<&Url> {
        let proxy = self.of(url)?;
        tunnel::note_route(url, proxy);
        Some(proxy)
    }

    /// Whether requests for a URL go through a proxy.
    pub(super) fn covers(&self, url: &Url) -> bool {
        self.of(url).is_some()
    }

    /// Returns the proxy that forwards the request for a URL, instead of opening a tunnel.
    pub(super) fn forwarding(&self, url: &Url) -> Option<&Url> {
        let proxy = self.of(url).filter(|_| url.scheme() == "http")?;
        proxy.scheme().starts_with("http").then_some(proxy)
    }
}

/// Returns the credentials in the URL of a proxy.
pub(super) fn credentials(proxy: &Url) -> Option<Credentials> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = proxy.password();
    (!proxy.username().is_empty() || password.is_some()).then(|| Credentials {
        user: decoded(proxy.username()),
        password: decoded(password.unwrap_or_default()),
    })
}

/// Returns the value of an `Authorization` header (RFC 7617).
pub(super) fn basic_auth(credentials: &Credentials) -> Option<HeaderValue> {
    let plain = format!("{}:{}", credentials.user, credentials.password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The hosts listed in `NO_PROXY`, by curl's rules: a name includes its subdomains, with or without
/// a leading dot; an address may be a network; `*` alone matches all. In addition, as in other
/// clients, an entry with a port applies to that port only.
#[derive(Debug, Default)]
struct NoProxyList(Vec<NoProxyEntry>);

#[derive(Debug)]
struct NoProxyEntry {
    hosts: NoProxyHosts,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum NoProxyHosts {
    All,
    Network(IpNet),
    Below(String),
}

impl NoProxyList {
    fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        Self(entries.filter_map(NoProxyEntry::parse).collect())
    }

    fn cover(&self, url: &Url) -> bool {
        let Some(host) = url.host() else {
            return false;
        };
        let port = url.port_or_known_default();
        self.0
            .iter()
            .any(|entry| (entry.port.is_none() || entry.port == port) && entry.hosts.cover(&host))
    }
}

impl NoProxyEntry {
    fn parse(entry: &str) -> Option<Self> {
        // Checked first, so that an IPv6 address is not split into a name and a port.
        if let Some(network) = network(entry) {
            let hosts = NoProxyHosts::Network(network);
            return Some(Self { hosts, port: None });
        }
        let with_port = entry
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, Some(port.parse().ok()?))));
        let (host, port) = with_port.unwrap_or((entry, None));
        let hosts = NoProxyHosts::parse(host)?;
        Some(Self { hosts, port })
    }
}

impl NoProxyHosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let inner = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Some(network) = network(inner.unwrap_or(text)) {
            return Some(Self::Network(network));
        }
        let name = text.trim_start_matches('*').trim_start_matches('.');
        let name = name.trim_end_matches('.');
        // Normalizes the name as in a URL: lower case and ASCII.
        match Host::parse(name) {
            Ok(Host::Domain(name)) => Some(Self::Below(name)),
            Ok(Host::Ipv4(address)) => Some(Self::Network(IpAddr::from(address).into())),
            Ok(Host::Ipv6(address)) => Some(Self::Network(IpAddr::from(address).into())),
            Err(_) => None,
        }
    }

    fn cover(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Ipv4(address)) => {
                network.contains(&IpAddr::from(*address))
            }
            (Self::Network(network), Host::Ipv6(address)) => {
                network.contains(&IpAddr::from(*address))
            }
            (Self::Below(name), Host::Domain(host)) => {
                let rest = host.trim_end_matches('.').strip_suffix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// Parses an address, or a network like `10.0.0.0/8`.
fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or(address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(list: &str, url: &str) -> bool {
        NoProxyList::parse(list).cover(&Url::parse(url).unwrap())
    }

    #[test]
    fn no_proxy_follows_curl_and_accepts_ports() {
        for (list, covered, others) in [
            (
                "*",
                vec!["http://a.test/", "http://127.0.0.1/", "https://[::1]:8/"],
                vec![],
            ),
            (
                "a.test",
                vec!["http://a.test/", "http://b.a.test:8080/", "http://A.TEST./"],
                vec!["http://ba.test/", "http://test/", "http://a.test.b/"],
            ),
            (
                ".a.test",
                vec!["http://a.test/", "https://c.b.a.test/"],
                vec!["http://ba.test/"],
            ),
            (
                "*.a.test",
                vec!["http://b.a.test/"],
                vec!["http://ba.test/"],
            ),
            (
                "a.test:8080, b.test:443",
                vec![
                    "http://a.test:8080/",
                    "http://x.a.test:8080/",
                    "https://b.test/",
                ],
                vec!["http://a.test/", "https://a.test/", "http://b.test/"],
            ),
            (
                "127.0.0.1:81",
                vec!["http://127.0.0.1:81/"],
                vec!["http://127.0.0.1/", "http://127.0.0.2:81/"],
            ),
            (
                "[::1]:81 fe80::/10",
                vec!["http://[::1]:81/", "http://[fe80::2]/"],
                vec!["http://[::1]/", "http://[::2]:81/"],
            ),
            (
                "::1",
                vec!["http://[::1]/", "http://[::1]:81/"],
                vec!["http://[::2]/"],
            ),
            ("[::1]", vec!["http://[::1]:81/"], vec![]),
            (
                "10.0.0.0/8",
                vec!["http://10.1.2.3/", "https://10.255.0.1:4/"],
                vec!["http://11.0.0.1/", "http://a10.test/"],
            ),
            ("bücher.test", vec!["http://www.bücher.test/"], vec![]),
            ("", vec![], vec!["http://a.test/", "http://127.0.0.1/"]),
            (" , ,", vec![], vec!["http://a.test/"]),
            (".", vec![], vec!["http://a.test/"]),
        ] {
            for url in covered {
                assert!(covers(list, url), "{list:?} covers {url}");
            }
            for url in others {
                assert!(!covers(list, url), "{list:?} does not cover {url}");
            }
        }
    }

    #[test]
    fn the_environment_sets_a_proxy_per_scheme() {
        let proxies = |variables: &[(&str, &str)]| {
            let variables = variables.to_vec();
            ProxySet::from_variables(|name| {
                let found = variables.iter().find(|(known, _)| *known == name)?;
                Some(found.1.to_owned())
            })
        };
        let of = |proxies: &ProxySet, url: &str| {
            let url = Url::parse(url).unwrap();
            proxies.of(&url).map(Url::to_string)
        };
        let both = proxies(&[
            ("http_proxy", "one:3128"),
            ("ALL_PROXY", "socks5://two:1080"),
            ("HTTPS_PROXY", ""),
            ("no_proxy", "c.test"),
        ])
        .unwrap();
        assert_eq!(of(&both, "http://a.test/").unwrap(), "http://one:3128/");
        assert_eq!(of(&both, "https://a.test/").unwrap(), "socks5://two:1080");
        assert_eq!(of(&both, "https://c.test/"), None);
        let cgi = [("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(of(&proxies(&cgi).unwrap(), "http://a.test/"), None);
        let error = proxies(&[("https_proxy", "ftp://me:secret@x")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("https_proxy") && !text.contains("secret"),
            "{text}"
        );
    }
}
