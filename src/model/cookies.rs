//! Cookies within the redirect chain of one URL (RFC 6265). They are dropped at the end of the
//! chain and never sent for another URL of the list, unless the run has a
//! [`CookieJar`](super::CookieJar).

use std::fmt;

use cookie_store::{CookieError, CookieStore, RawCookie, StoreAction};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

/// Longest accepted `Set-Cookie` value, in bytes (RFC 6265 §6.1 asks for at least 4096).
pub(super) const MAX_COOKIE_BYTES: usize = 4096;
/// Maximum number of cookies in one chain, or of one site in a jar (RFC 6265 §6.1 asks for at least
/// 50 per domain).
pub(super) const MAX_COOKIES: usize = 50;

/// The cookies that a redirect chain has set so far. `Debug` does not show them.
#[derive(Clone, Default)]
pub(crate) struct ChainCookies {
    /// `None` until the first cookie: few redirects set any.
    store: Option<Box<CookieStore>>,
    /// The `Cookie` header for the next URL.
    header: Option<Box<[u8]>>,
    /// Names of cookies that a server expired, possibly the user's own.
    removed: Vec<Box<[u8]>>,
    /// Total bytes of the accepted `Set-Cookie` values.
    bytes: usize,
}

impl fmt::Debug for ChainCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainCookies(…)")
    }
}

impl ChainCookies {
    /// Returns the cookies after a response from `from` that redirects to `to`.
    #[must_use]
    pub(crate) fn after(&self, from: &Url, headers: &HeaderMap, to: &Url) -> Self {
        let mut cookies = self.clone();
        for line in headers.get_all(header::SET_COOKIE) {
            if line.len() <= MAX_COOKIE_BYTES {
                cookies.set(text_of(line.as_bytes()), from);
            }
        }
        let header = cookies
            .store
            .as_ref()
            .and_then(|store| header_for(store, to));
        cookies.header = header.map(|header| bytes_of(&header));
        cookies
    }

    /// Returns the `Cookie` header for the next URL, where the user's `own` headers would be sent
    /// without a redirect, and `jar` are the cookies of the run. A cookie that the chain has set
    /// replaces those of that name, and one of the jar replaces the user's; one that the chain has
    /// expired is not sent.
    #[must_use]
    pub(crate) fn header_with<'a>(
        &self,
        own: impl IntoIterator<Item = &'a HeaderValue>,
        jar: Option<&[u8]>,
    ) -> Option<HeaderValue> {
        let own = own.into_iter().flat_map(|own| cookie_pairs(own.as_bytes()));
        let mut all = replaced_by(own.collect(), jar.unwrap_or_default());
        let is_removed = |name: &[u8]| self.removed.iter().any(|removed| **removed == *name);
        all.retain(|pair| !is_removed(cookie_name(pair)));
        let all = replaced_by(all, self.header.as_deref().unwrap_or_default());
        // Never fails: the cookies were received in header values.
        let mut value = HeaderValue::from_bytes(&all.join(&b"; "[..])).ok()?;
        value.set_sensitive(true);
        (!all.is_empty()).then_some(value)
    }

    /// Returns the bytes held by the cookies that servers have set.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.bytes + self.header.as_ref().map_or(0, |header| header.len())
    }

    fn set(&mut self, line: String, from: &Url) {
        let length = line.len();
        let Ok(mut cookie) = RawCookie::parse(line) else {
            return;
        };
        if is_for_public_suffix(&cookie) {
            if cookie.domain() != from.host_str() {
                return;
            }
            // RFC 6265 §5.3, step 5: the cookie becomes host-only.
            cookie.unset_domain();
        }
        let store = self.store.get_or_insert_default();
        let is_full = store.iter_any().count() >= MAX_COOKIES;
        let is_known = store.iter_any().any(|known| known.name() == cookie.name());
        if (is_full && !is_known) || self.removed.len() >= MAX_COOKIES {
            return;
        }
        let name = bytes_of(cookie.name());
        self.removed.retain(|removed| *removed != name);
        match store.insert_raw(&cookie, from) {
            Ok(StoreAction::ExpiredExisting) | Err(CookieError::Expired) => {
                self.bytes += name.len();
                self.removed.push(name);
            }
            Ok(_) => self.bytes += length,
            // Not acceptable, for example because it is for another domain.
            Err(_) => {}
        }
    }
}

/// Returns the `Cookie` header for `url`. Longer paths come first (RFC 6265 §5.4), then the order is
/// by path and name, so that the same cookies always make the same header.
pub(super) fn header_for(store: &CookieStore, url: &Url) -> Option<String> {
    let mut cookies = store.matches(url);
    // The store treats loopback as secure even without TLS; `Secure` means TLS here.
    cookies.retain(|cookie| cookie.secure() != Some(true) || url.scheme() == "https");
    cookies.sort_by_key(|cookie| {
        let path = String::from(&cookie.path);
        (std::cmp::Reverse(path.len()), path, cookie.name())
    });
    let pairs: Vec<_> = cookies
        .iter()
        .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// Returns the `name=value` pairs of a `Cookie` header.
fn cookie_pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = header.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty())
}

fn cookie_name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or(pair)
}

/// Returns the cookies with `later` ones added, which replace those of the same name.
fn replaced_by<'a>(mut cookies: Vec<&'a [u8]>, later: &'a [u8]) -> Vec<&'a [u8]> {
    let later: Vec<&[u8]> = cookie_pairs(later).collect();
    cookies.retain(|pair| {
        later
            .iter()
            .all(|set| cookie_name(set) != cookie_name(pair))
    });
    cookies.extend(later);
    cookies
}

/// Converts bytes to text, each to one character: cookies may be in any charset and are returned
/// byte for byte.
pub(super) fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Converts text back to bytes, one for each character.
pub(super) fn bytes_of(text: &str) -> Box<[u8]> {
    // No character is above 255: each was made from a byte.
    text.chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect()
}

/// Whether the cookie's domain is a public suffix such as `co.uk`, which would send it to
/// unrelated sites.
pub(super) fn is_for_public_suffix(cookie: &RawCookie<'_>) -> bool {
    let Some(domain) = cookie.domain() else {
        return false;
    };
    let domain = domain.to_ascii_lowercase();
    psl::suffix_str(&domain) == Some(domain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// The `Cookie` header for `to` after `from` has sent these `Set-Cookie` values.
    fn sent(from: &str, lines: &[&str], to: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let cookies = ChainCookies::default().after(&url(from), &headers, &url(to));
        let header = cookies.header_with([], None)?;
        Some(String::from_utf8_lossy(header.as_bytes()).into_owned())
    }

    #[test]
    fn a_cookie_is_sent_where_rfc_6265_allows_it() {
        const FROM: &str = "https://www.example.com/a/b";
        for (line, to, is_sent) in [
            ("k=v", "https://www.example.com/a/c", true),
            ("k=v", "https://www.example.com/b", false),
            ("k=v; Path=/", "https://www.example.com/b", true),
            ("k=v; Path=/x", "https://www.example.com/xy", false),
            ("k=v; Path=/", "https://example.com/", false),
            (
                "k=v; Path=/; Domain=example.com",
                "https://example.com/",
                true,
            ),
            (
                "k=v; Path=/; Domain=.Example.com",
                "https://cdn.example.com/",
                true,
            ),
            (
                "k=v; Path=/; Domain=example.com",
                "https://badexample.com/",
                false,
            ),
            ("k=v; Path=/; Domain=other.com", "https://other.com/", false),
            ("k=v; Path=/; Domain=com", "https://example.com/", false),
            (
                "k=v; Path=/; Domain=www.example.com",
                "http://www.example.com/",
                true,
            ),
            ("k=v; Path=/; Secure", "http://www.example.com/", false),
            (
                "k=v; Path=/; Secure; HttpOnly",
                "https://www.example.com/",
                true,
            ),
            ("k=v; Path=/; Max-Age=0", "https://www.example.com/", false),
            ("k=v; Path=/; Max-Age=60", "https://www.example.com/", true),
            (
                "k=v; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
                "https://www.example.com/",
                false,
            ),
        ] {
            let expected = is_sent.then(|| "k=v".to_owned());
            assert_eq!(sent(FROM, &[line], to), expected, "{line} to {to}");
        }
        let (co_uk, loopback) = ("https://shop.co.uk/", "http://127.0.0.1:8080/");
        assert_eq!(
            sent(co_uk, &["k=v; Domain=co.uk"], "https://bank.co.uk/"),
            None
        );
        assert!(sent(loopback, &["k=v"], "http://127.0.0.1:8080/x").is_some());
        assert_eq!(sent(loopback, &["k=v; Secure"], loopback), None);
    }

    #[test]
    fn a_site_that_is_itself_a_public_suffix_may_set_a_cookie_for_itself() {
        let sent = |to| sent("https://github.io/", &["k=v; Domain=github.io"], to);
        assert!(sent("https://github.io/").is_some());
        assert_eq!(sent("https://somebody.github.io/"), None);
    }

    #[test]
    fn later_responses_replace_and_expire_cookies() {
        let set = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(header::SET_COOKIE, HeaderValue::from_static(line));
            headers
        };
        let here = url("http://a.test/");
        let own = HeaderValue::from_static("a=1;k=0; b=");
        let sent = |cookies: &ChainCookies| cookies.header_with([&own], None);
        let value = |text: &'static str| Some(HeaderValue::from_static(text));
        let first = ChainCookies::default().after(&here, &set("k=1"), &here);
        assert_eq!(first.header_with([], None), value("k=1"));
        assert_eq!(sent(&first), value("a=1; b=; k=1"));
        let second = first.after(&here, &set("k=2"), &here);
        assert_eq!(sent(&second), value("a=1; b=; k=2"));
        let third = second.after(&here, &set("k=; Max-Age=0"), &here);
        assert_eq!(third.header_with([], None), None);
        assert_eq!(sent(&third), value("a=1; b="));
        let fourth = third.after(&here, &set("k=4"), &here);
        assert_eq!(sent(&fourth), value("a=1; b=; k=4"));
    }

    #[test]
    fn a_cookie_of_the_chain_replaces_the_users_own_of_that_name() {
        let mut headers = HeaderMap::new();
        for line in ["a=1", "b=2", "gone=; Max-Age=0"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(line));
        }
        let here = url("http://a.test/");
        let cookies = ChainCookies::default().after(&here, &headers, &here);
        for (own, expected) in [
            (&[][..], "a=1; b=2"),
            (&["x=0"], "x=0; a=1; b=2"),
            (&["a=0; x=0;b=9", "y=3; a; gone=1"], "x=0; y=3; a=1; b=2"),
        ] {
            let own: Vec<_> = own.iter().copied().map(HeaderValue::from_static).collect();
            let sent = cookies.header_with(&own, None).unwrap();
            assert_eq!(sent, expected);
            assert!(sent.is_sensitive());
        }
    }

    #[test]
    fn the_same_cookies_make_the_same_header() {
        let lines = ["b=2; Path=/", "a=1; Path=/", "c=3; Path=/x"];
        let header = "c=3; a=1; b=2";
        for lines in [lines, [lines[2], lines[1], lines[0]]] {
            let sent = sent("http://a.test/x", &lines, "http://a.test/x");
            assert_eq!(sent.as_deref(), Some(header));
        }
    }

    #[test]
    fn cookies_of_a_server_take_bounded_memory() {
        let mut headers = HeaderMap::new();
        for n in 0..1000 {
            let line = format!("c{n}={}; Path=/", "x".repeat(4000));
            headers.append(header::SET_COOKIE, HeaderValue::try_from(line).unwrap());
        }
        let long = format!("long={}", "x".repeat(MAX_COOKIE_BYTES));
        headers.append(header::SET_COOKIE, HeaderValue::try_from(long).unwrap());
        let here = url("http://a.test/");
        let cookies = ChainCookies::default().after(&here, &headers, &here);
        let header = cookies.header_with([], None).unwrap();
        let count = header
            .as_bytes()
            .iter()
            .filter(|byte| **byte == b'=')
            .count();
        assert_eq!(count, MAX_COOKIES);
        assert!(cookies.weight() < 2 * MAX_COOKIES * MAX_COOKIE_BYTES);
    }

    #[test]
    fn cookies_in_any_charset_are_returned_byte_for_byte() {
        let mut headers = HeaderMap::new();
        let lines: [&[u8]; 2] = [b"a=caf\xe9; Path=/", "b=caf\u{e9}; Path=/".as_bytes()];
        for line in lines {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let here = url("http://a.test/");
        let cookies = ChainCookies::default().after(&here, &headers, &here);
        let header = cookies.header_with([], None).unwrap();
        assert_eq!(header.as_bytes(), b"a=caf\xe9; b=caf\xc3\xa9");
    }

    #[test]
    fn debug_shows_no_cookie() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("k=secret"));
        let here = url("http://a.test/");
        let cookies = ChainCookies::default().after(&here, &headers, &here);
        assert!(!format!("{cookies:?}").contains("secret"));
    }
}
