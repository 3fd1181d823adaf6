//! Options of a [`Fetcher`](super::Fetcher) for single hosts.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use crate::fetch::{HostRequestOptions, is_framing_header};
use crate::model::Credentials;
use crate::schedule::{HostLimit, PerHostLimit};

/// Options for one host, which replace those for all hosts:
/// [`FetcherBuilder::host`](super::FetcherBuilder::host).
///
/// ```
/// # fn main() -> Result<(), fetchall::BuildError> {
/// use fetchall::HostOptions;
///
/// let archive = HostOptions::new().basic_auth("me", "secret").per_host(2);
/// let fetcher = fetchall::Fetcher::builder()
///     .host("archive.example.org", archive)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct HostOptions {
    headers: Vec<(String, String)>,
    user: Option<Credentials>,
    per_host: Option<usize>,
    host_interval: Option<Duration>,
    limit_rate: Option<u64>,
    retries: Option<u32>,
}

impl fmt::Debug for HostOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostOptions").finish_non_exhaustive()
    }
}

impl HostOptions {
    /// No options: all are those for every host.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header. It is sent to the host at every hop, also where only a redirect leads, and
    /// replaces those for every host of that name. `Cookie` and `Range` are not possible.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Basic credentials, sent to the host at every hop.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.user = Some(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        });
        self
    }

    /// Requests at the same time, always this many.
    pub fn per_host(mut self, requests: usize) -> Self {
        self.per_host = Some(requests);
        self
    }

    /// Shortest time between the starts of two requests.
    pub fn host_interval(mut self, interval: Duration) -> Self {
        self.host_interval = Some(interval);
        self
    }

    /// Bytes of bodies per second, as they come on the wire: at least 1; [`u64::MAX`] is no limit.
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.limit_rate = Some(bytes_per_second);
        self
    }

    /// Retries of each of its URLs.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// # Errors
    /// A message about the first invalid value, which it does not repeat.
    pub(super) fn into_parts(self) -> Result<(HostRequestOptions, HostLimit), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = parse_header(name, value)?;
            if [header::COOKIE, header::RANGE].contains(&name) {
                return Err(format!("{name} is not possible for one host"));
            }
            headers.append(name, value);
        }
        let fixed = |requests| {
            let requests = NonZeroUsize::new(requests).ok_or("expected at least 1 request")?;
            Ok::<_, String>(PerHostLimit::Fixed(requests))
        };
        if self.limit_rate == Some(0) {
            return Err("expected at least 1 byte per second".to_owned());
        }
        let request = HostRequestOptions {
            headers,
            user: self.user,
            certificate: None,
        };
        let limit = HostLimit {
            per_host: self.per_host.map(fixed).transpose()?,
            host_interval: self.host_interval,
            limit_rate: self.limit_rate,
            retries: self.retries,
        };
        Ok((request, limit))
    }
}

/// Parses a header, whose value is treated as a secret.
///
/// # Errors
/// A message that does not repeat the value.
pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Ok(name) = name.parse::<HeaderName>() else {
        return Err("the name is not a header name".to_owned());
    };
    if is_framing_header(&name) {
        return Err(format!("{name} follows from the body"));
    }
    let Ok(mut value) = value.parse::<HeaderValue>() else {
        return Err(format!("the value of {name} is not a header value"));
    };
    value.set_sensitive(true);
    Ok((name, value))
}

/// Returns a host as URLs have it: in lower case, ASCII, and an IPv6 address in brackets.
///
/// # Errors
/// A message if it is not one host.
pub fn host_name(text: &str) -> Result<String, String> {
    let bracketed = match text.parse::<std::net::Ipv6Addr>() {
        Ok(addr) => format!("[{addr}]"),
        Err(_) => text.to_owned(),
    };
    let has_more = text.contains(['/', '@', '?', '#', '\\', '*']) || text.trim() != text;
    let has_more = has_more || text.ends_with('.');
    let url = Url::parse(&format!("http://{bracketed}/")).ok();
    let url = url.filter(|url| !has_more && url.port().is_none() && !bracketed.ends_with(":80"));
    url.and_then(|url| url.host_str().map(str::to_owned))
        .ok_or_else(|| {
            "expected one host name or address: no scheme, port, path, * or dot at the end"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_in_a_url() {
        for (text, host) in [
            ("Data.Example.org", "data.example.org"),
            ("b\u{fc}cher.test", "xn--bcher-kva.test"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_name(text).as_deref(), Ok(host), "{text}");
        }
        for text in [
            "", "a:81", "a:80", "http://a", "a/b", "me@a", " a", "*.a", "a.", "[::1]:81",
        ] {
            assert!(host_name(text).is_err(), "{text}");
        }
    }
}
