//! Request and response heads in HTTP/1.1 syntax, which WARC requires (§6.3.2, §6.5.2). Also used
//! for HTTP/2, which has no text form of its own; `WARC-Protocol` gives the actual protocol.

use std::borrow::Cow;
use std::io::Write as _;

use http::{HeaderName, HeaderValue, Version, header};
use url::{Position, Url};

use super::exchange::RequestHead;
use crate::model::{
    ResponseHead, TlsVersion, escape_control, mask_inner_passwords, mask_urls, mask_userinfo,
    may_hold_userinfo,
};

/// Replaces values that may be secret.
const MASK: &[u8] = b"***";

/// Appends the head of a request as sent, but with secrets masked, because archives are shared.
pub(super) fn request_head(out: &mut Vec<u8>, request: &RequestHead<'_>) {
    let url = request.url;
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(shown_target(url).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !request.headers.contains_key(header::HOST) {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        field(out, b"host", host.as_bytes());
    }
    for (name, value) in request.headers {
        let masked = masked_value(url, name, value);
        let shown = match &masked {
            _ if is_secret(name, value) => MASK,
            Some(masked) => masked.as_bytes(),
            None => value.as_bytes(),
        };
        field(out, name.as_str().as_bytes(), shown);
    }
    if !request.body.is_empty() && !request.headers.contains_key(header::CONTENT_LENGTH) {
        number_field(out, "content-length", request.body.len() as u64);
    }
    out.extend_from_slice(b"\r\n");
}

fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    let names = [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ];
    value.is_sensitive() || names.contains(name)
}

/// Appends the head of a response that is followed by its decoded body. Fields that described the
/// body on the wire are renamed, as Common Crawl does; otherwise a reader would decode it again, or
/// stop at the wrong length. A content coding that was not decoded keeps its name. Passwords in
/// URLs are masked. `url` is that of the request.
pub(super) fn response_head(out: &mut Vec<u8>, url: &Url, head: &ResponseHead, body_len: u64) {
    status_line(out, head);
    let true_length = body_len.to_string();
    let mut has_length = false;
    let mut kept = head.kept_coding.as_ref().map(|kept| &kept.value);
    for (name, value) in &*head.headers {
        if *name == header::CONTENT_LENGTH && value.as_bytes() == true_length.as_bytes() {
            has_length = true;
        } else if *name == header::CONTENT_ENCODING && kept == Some(value) {
            kept = None;
        } else if let Some(renamed) = renamed(name) {
            field(out, renamed, value.as_bytes());
            continue;
        }
        let masked = masked_value(url, name, value);
        let value = masked.as_deref().map_or(value.as_bytes(), str::as_bytes);
        field(out, name.as_str().as_bytes(), value);
    }
    if !has_length {
        field(out, b"Content-Length", true_length.as_bytes());
    }
    if let Some(kept) = kept {
        field(out, b"Content-Encoding", kept.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns path and query, in which passwords of inner URLs are masked as in results.
pub(super) fn shown_target(url: &Url) -> Cow<'_, str> {
    match mask_inner_passwords(url) {
        Cow::Borrowed(_) => Cow::Borrowed(&url[Position::BeforePath..Position::AfterQuery]),
        Cow::Owned(shown) => {
            let target = shown
                .strip_prefix(&url[..Position::BeforePath])
                .unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            Cow::Owned(target.to_owned())
        }
    }
}

/// Returns the value of a header without the passwords of URLs; `None` if it has none.
fn masked_value(url: &Url, name: &HeaderName, value: &HeaderValue) -> Option<String> {
    match *name {
        header::LOCATION | header::CONTENT_LOCATION | header::REFERER => {
            masked_target(url, value.as_bytes())
        }
        _ => mask_urls(&String::from_utf8_lossy(value.as_bytes())),
    }
}

/// Returns a URL without its password; `None` if it has none.
fn masked_target(url: &Url, target: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(target);
    if !may_hold_userinfo(&text) {
        return None;
    }
    let Ok(mut target) = url.join(&text) else {
        return Some(escape_control(&mask_userinfo(&text)).into_owned());
    };
    let has_password = target.password().is_some();
    if has_password {
        // These fail only for URLs without a host, which have no password either.
        let _ = target.set_username("***").and(target.set_password(None));
    }
    match mask_inner_passwords(&target) {
        Cow::Borrowed(shown) => has_password.then(|| shown.to_owned()),
        Cow::Owned(shown) => Some(shown),
    }
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    let version: &[u8] = match head.version {
        Version::HTTP_09 | Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    };
    out.extend_from_slice(version);
    out.extend_from_slice(head.status.as_str().as_bytes());
    // The space is required even without a reason phrase (RFC 9112 §4).
    out.push(b' ');
    out.extend_from_slice(
        head.status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
}

fn renamed(name: &HeaderName) -> Option<&'static [u8]> {
    match *name {
        header::CONTENT_ENCODING => Some(b"X-Crawl-Content-Encoding"),
        header::CONTENT_LENGTH => Some(b"X-Crawl-Content-Length"),
        header::TRANSFER_ENCODING => Some(b"X-Crawl-Transfer-Encoding"),
        _ => None,
    }
}

/// Appends a header line. The value must not contain CR or LF, which the types of `http` guarantee.
pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header line with a number.
pub(super) fn number_field(out: &mut Vec<u8>, name: &str, value: u64) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

/// Returns the names of the HTTP and TLS versions in `WARC-Protocol`, of which a record has one for
/// each layer (IIPC proposal, iipc/warc-specifications#42).
pub(super) fn protocols(head: &ResponseHead, is_tls: bool) -> [Option<&'static [u8]>; 2] {
    let tls = head.asked.as_ref().and_then(|asked| asked.tls);
    let tls = tls.filter(|_| is_tls).map(|version| match version {
        TlsVersion::V12 => &b"tls/1.2"[..],
        TlsVersion::V13 => &b"tls/1.3"[..],
    });
    [protocol(head.version, is_tls), tls]
}

fn protocol(version: Version, is_tls: bool) -> Option<&'static [u8]> {
    match version {
        Version::HTTP_09 => Some(b"http/0.9"),
        Version::HTTP_10 => Some(b"http/1.0"),
        Version::HTTP_11 => Some(b"http/1.1"),
        Version::HTTP_2 if is_tls => Some(b"h2"),
        Version::HTTP_2 => Some(b"h2c"),
        Version::HTTP_3 => Some(b"h3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_any_header_are_masked() {
        let url = Url::parse("http://a/x").unwrap();
        let headers = [
            ("location", "http://me:word@b/"),
            ("content-location", "//me:word@b/"),
            ("refresh", "0; url=http://me:word@b/"),
            ("link", "<http://me:word@b/>; rel=next"),
            ("set-cookie", "to=http%3A%2F%2Fme%3Aword%40b; Path=/"),
            ("x-original-url", "http://me:word@b/"),
            ("etag", "\"a@b\""),
        ];
        let headers = headers.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let head = ResponseHead::http11(http::StatusCode::OK, headers.into_iter().collect());
        let mut shown = Vec::new();
        response_head(&mut shown, &url, &head, 0);
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("word"), "{shown}");
        assert!(
            shown.contains("refresh: 0; url=http://***@b/\r\n"),
            "{shown}"
        );
        assert!(shown.contains("etag: \"a@b\"\r\n"), "{shown}");
    }

    #[test]
    fn passwords_in_targets_are_masked() {
        let url = Url::parse("http://a/x").unwrap();
        for (target, shown) in [
            ("/next?mail=me@example.com", None),
            ("http://me@b/", None),
            ("http://me:word@b/c?d", Some("http://***@b/c?d")),
            ("//me:word@b/", Some("http://***@b/")),
            (
                "/to?u=http%3A%2F%2Fme%3Aword%40b",
                Some("http://a/to?u=***"),
            ),
            ("http://me:word@[b/", Some("http://***@[b/")),
            (
                "/to#u=http%3A%2F%2Fme%3Aword%40b",
                Some("http://a/to#u=***"),
            ),
            ("mailto:me:word@b", Some("mailto:***")),
            ("me:word@b:1/c", Some("me:***")),
        ] {
            assert_eq!(masked_target(&url, target.as_bytes()).as_deref(), shown);
        }
    }
}
