//! Parsers of option values.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use super::ThreadCount;
use bytesize::ByteSize;
use fetchall::program::{
    PerHostLimit, SegmentRules, is_framing_header, parse_duration, parse_method,
};
use fetchall::{MaxFailures, Proxy, ProxyUrlError, ResolveRule};
use http::{HeaderName, HeaderValue, Method};
use url::{ParseError, Url};

pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "expected a positive integer".to_owned())
}

pub(super) fn parse_integer<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| "expected a non-negative integer".to_owned())
}

/// Parses the name of a column.
pub(super) fn column(text: &str) -> Result<String, String> {
    match text.trim_ascii() {
        "" => Err("expected the name of a column".to_owned()),
        name => Ok(name.to_owned()),
    }
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    parse_method(text)
}

pub(super) fn user_agent(text: &str) -> Result<HeaderValue, String> {
    text.parse()
        .map_err(|_| "contains characters not allowed in a header, such as a line break".to_owned())
}

/// Maximum of `-j`. Each worker takes a few kilobytes and each request a descriptor, so that a
/// larger number is most likely a typo.
const MAX_CONCURRENCY: usize = 10_000;

pub(super) fn concurrency(text: &str) -> Result<NonZeroUsize, String> {
    match at_least_one(text)? {
        n if n.get() <= MAX_CONCURRENCY => Ok(n),
        _ => Err(format!("the maximum is {MAX_CONCURRENCY}")),
    }
}

/// Maximum of `--threads`: more than the cores of any machine.
const MAX_THREADS: usize = 1024;

/// Parses `N` or `auto`.
pub(super) fn threads(text: &str) -> Result<ThreadCount, String> {
    if text == "auto" {
        return Ok(ThreadCount::Auto);
    }
    match at_least_one(text) {
        Ok(number) if number.get() <= MAX_THREADS => Ok(ThreadCount::Fixed(number)),
        Ok(_) => Err(format!("the maximum is {MAX_THREADS}")),
        Err(_) => Err("expected a positive integer or auto".to_owned()),
    }
}

/// Parses `N` or `auto`.
pub(super) fn segments(text: &str) -> Result<NonZeroUsize, String> {
    match text {
        "auto" => Ok(SegmentRules::AUTO),
        number => {
            at_least_one(number).map_err(|_| "expected a positive integer or auto".to_owned())
        }
    }
}

/// Parses `N`, `auto` or `auto:MAX`.
pub(super) fn per_host(text: &str) -> Result<PerHostLimit, String> {
    let form = |_| "expected a positive integer, auto or auto:MAX".to_owned();
    match text.strip_prefix("auto") {
        Some("") => Ok(PerHostLimit::Auto { max: None }),
        Some(max) => max
            .strip_prefix(':')
            .ok_or_else(String::new)
            .and_then(at_least_one)
            .map(|max| PerHostLimit::Auto { max: Some(max) })
            .map_err(form),
        None => at_least_one(text).map(PerHostLimit::Fixed).map_err(form),
    }
}

/// Parses `N/s`, `N/m` or `N/h` into requests per second; a bare number is per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m" | "min")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => ("", 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate / seconds),
        _ => Err("invalid rate; use 50/s, 0.5/s, 100/m or 1000/h".to_owned()),
    }
}

/// Parses `N` or `N%`.
pub(super) fn max_failures(text: &str) -> Result<MaxFailures, String> {
    let form = || "expected a non-negative integer or a percentage from 0% to 100%".to_owned();
    match text.strip_suffix('%') {
        None => text.parse().map(MaxFailures::Number).map_err(|_| form()),
        Some(percent) => match percent.trim().parse() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(MaxFailures::Percent(percent)),
            _ => Err(form()),
        },
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be greater than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a size into bytes; 0 means no limit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| "invalid size; use 500KB, 10MiB or 1GiB".to_owned())?;
    match size.as_u64() {
        0 => Ok(u64::MAX),
        u64::MAX => Err("size too large; 0 means no limit".to_owned()),
        size => Ok(size),
    }
}

/// Parses `SIZE/s` or `SIZE` into bytes per second; 0 means no limit.
pub(super) fn byte_rate(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    size(text).map_err(|_| "invalid rate; use 500KB/s, 10MiB/s or 1GB/s".to_owned())
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    if text.contains(['\r', '\n']) {
        return Err(
            "a header cannot contain a line break; give several headers one by one".to_owned(),
        );
    }
    let (name, value) = text
        .split_once(':')
        .ok_or("invalid header: missing colon; use NAME: VALUE")?;
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| "invalid header name before the colon".to_owned())?;
    if is_framing_header(&name) {
        return Err(format!(
            "{name} cannot be set: it follows from the body (--data)"
        ));
    }
    let mut value: HeaderValue = value
        .trim()
        .parse()
        .map_err(|_| format!("header {name} contains characters not allowed in a header"))?;
    // Any header may hold a token.
    value.set_sensitive(true);
    Ok((name, value))
}

pub(super) fn proxy(text: &str) -> Result<Proxy, String> {
    match text {
        // As in curl: no proxy, whatever the environment says.
        "" => Ok(Proxy::Direct),
        // A number would be the host 0.0.0.16; aria2c's -x is a number of connections.
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => Err(format!(
            "expected SCHEME://HOST:PORT, not a number; --per-host {text} limits the requests to \
             one host"
        )),
        text => match text.parse() {
            Ok(url) => Ok(Proxy::Url(url)),
            Err(error @ ProxyUrlError::Scheme(_)) => Err(error.to_string()),
            Err(error) => Err(format!("{error}; use SCHEME://HOST:PORT")),
        },
    }
}

/// Parses `HOST:PORT:ADDR[,ADDR]`, with IPv6 addresses bare or in brackets.
pub(super) fn resolve(text: &str) -> Result<ResolveRule, String> {
    let form = "expected HOST:PORT:ADDR[,ADDR]";
    let mut parts = text.splitn(3, ':');
    let (Some(host), Some(port), Some(addrs)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(form.to_owned());
    };
    let port = port
        .parse()
        .map_err(|_| format!("invalid port {port:?}; {form}"))?;
    let addrs = addrs.split(',').map(ip_addr).collect::<Result<_, _>>()?;
    match host {
        "" => Err(form.to_owned()),
        "*" => Ok(ResolveRule {
            host: None,
            port,
            addrs,
        }),
        host => Ok(ResolveRule {
            host: Some(host.to_owned()),
            port,
            addrs,
        }),
    }
}

fn ip_addr(text: &str) -> Result<IpAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map_err(|_| format!("invalid IP address {text:?}"))
}

/// Parses an email address: text before and after the last `@`; the mail server checks the rest.
/// A text with a colon is a URL, or a user with a password.
pub(super) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once('@') {
        Some((user, host))
            if !user.is_empty() && !host.is_empty() && !text.contains(['\r', '\n', ':']) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("invalid email address; use ann@example.com".to_owned()),
    }
}

/// Parses an http or https URL.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    // `Url::parse` would delete it and join the text on both sides.
    if text.trim().contains(['\t', '\r', '\n']) {
        return Err("contains a tab or line break".to_owned());
    }
    let form = "expected a URL that starts with http:// or https://";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        // Without the slashes it may be a user name instead of a scheme.
        Ok(url) if text.contains("://") => Err(format!(
            "unsupported scheme {}; use http or https",
            url.scheme()
        )),
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase) => Err(form.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses the value of `--interface`. An empty one, of a variable that is not set, would be ignored.
pub(super) fn interface(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected an address or the name of an interface".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_contains_no_line_break() {
        assert!(http_url("http://a/x\n").is_ok());
        assert!(http_url("http://a/\nx").is_err() && http_url("http://a/\tx").is_err());
    }

    #[test]
    fn byte_rates_are_sizes_per_second() {
        for (text, bytes) in [
            ("500K/s", 500_000),
            ("10MiB/s", 10 << 20),
            ("1.5 MB/s", 1_500_000),
            ("2048", 2048),
            ("0", u64::MAX),
        ] {
            assert_eq!(byte_rate(text), Ok(bytes), "{text}");
        }
        for text in ["", "/s", "1MB/m", "10Mbit/s", "-1", "fast"] {
            assert!(byte_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("10MB", 10_000_000),
            ("512", 512),
            ("1.5 KiB", 1536),
            ("0", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert!(size("big").is_err() && size("-1").is_err());
    }

    #[test]
    fn limits_per_host_and_rates_are_read_as_people_write_them() {
        let n = |n| NonZeroUsize::new(n).unwrap();
        for (text, per_host) in [
            ("8", PerHostLimit::Fixed(n(8))),
            ("auto", PerHostLimit::Auto { max: None }),
            ("auto:16", PerHostLimit::Auto { max: Some(n(16)) }),
        ] {
            assert_eq!(super::per_host(text), Ok(per_host), "{text}");
        }
        for bad in ["", "0", "auto:", "auto:0", "auto16", "-1", "many"] {
            assert!(super::per_host(bad).is_err(), "{bad}");
        }
        for (text, per_second) in [
            ("50/s", 50.0),
            ("0.5/s", 0.5),
            ("3", 3.0),
            ("120/m", 2.0),
            ("3600/h", 1.0),
        ] {
            assert_eq!(rate(text), Ok(per_second), "{text}");
        }
        for bad in ["", "0/s", "-1/s", "1/day", "/s", "inf/s", "nan", "1/s/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn failures_are_limited_by_number_or_percentage() {
        assert_eq!(max_failures("0"), Ok(MaxFailures::Number(0)));
        assert_eq!(max_failures("5%"), Ok(MaxFailures::Percent(5.0)));
        assert_eq!(max_failures("0.1 %"), Ok(MaxFailures::Percent(0.1)));
        for bad in ["", "%", "-1", "101%", "-1%", "nan%", "1.5"] {
            assert!(max_failures(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resolve_rules_are_read_with_both_kinds_of_addresses() {
        let rule = resolve("example.com:443:127.0.0.1,[::1]").unwrap();
        assert_eq!(
            (rule.host.as_deref(), rule.port, rule.addrs.len()),
            (Some("example.com"), 443, 2)
        );
        assert_eq!(
            resolve("*:80:::1").unwrap().addrs,
            ["::1".parse::<IpAddr>().unwrap()]
        );
        for bad in ["", "a", "a:80", "a:x:1.1.1.1", ":80:1.1.1.1", "a:80:b"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_need_a_colon_and_are_sensitive() {
        let (name, value) = header("X-Token:  abc ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-token", "abc"));
        assert!(value.is_sensitive());
        assert!(
            header("X-Token").is_err() && header("X Y: z").is_err() && header("X: a\nb").is_err()
        );
    }

    #[test]
    fn an_address_has_an_at_and_no_line_breaks() {
        assert!(address("ann@example.com").is_ok());
        for bad in [
            "ann",
            "@example.com",
            "ann@",
            "ann:pw@example.com",
            "ann@example.com\nBcc: x@y",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
