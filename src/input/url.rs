//! From text to a URL that can be fetched.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::model::{
    Credentials, escape_control, mask_inner_passwords, mask_userinfo, may_hold_userinfo,
};

const NO_SCHEME: &str = "no scheme; URLs start with http:// or https://";
/// As much of a bad line as is shown.
const MAX_SHOWN_CHARS: usize = 2048;
/// As much of a scheme.
const MAX_SCHEME_BYTES: usize = 40;
/// How fields begin whose values may be secret: a bad line of JSON is shown only up to them.
const SECRET_FIELDS: [&str; 7] = [
    "\"headers\"",
    "\"body",
    "\"auth",
    "\"cookie",
    "\"pass",
    "\"secret",
    "\"token",
];

/// A URL without userinfo and fragment, and the userinfo.
pub type ParsedUrl = (Url, Option<Box<Credentials>>);

/// Parses one URL after another. In most lists many of one origin follow each other: what was
/// found out of it is kept, for that is most of the work.
#[derive(Default)]
pub struct UrlParser {
    /// The origin of the URL before, as it was written there; empty if it was not plain.
    written: String,
    /// And as a URL, once it came twice.
    origin: Option<Url>,
}

impl UrlParser {
    /// The same as [`parse_url`].
    pub fn parse(&mut self, text: &str) -> Result<ParsedUrl, String> {
        let Some((origin, path)) = split_origin(text) else {
            return parse_url(text);
        };
        // What must not be there is found by the other way.
        if path.bytes().any(|byte| byte <= b' ') || may_hold_userinfo(path) {
            return parse_url(text);
        }
        if origin != self.written {
            self.written.clear();
            self.written.push_str(origin);
            self.origin = None;
            return parse_url(text);
        }
        if self.origin.is_none() {
            self.origin = Url::parse(origin).ok();
        }
        match self.origin.as_ref().map(|origin| origin.join(path)) {
            Some(Ok(url)) => Ok((without_fragment(url)?, None)),
            _ => parse_url(text),
        }
    }
}

/// Takes a URL apart into its origin and what follows, when both are so plain that they mean
/// the same apart: no userinfo, nothing that a parser removes or takes for a slash, and no
/// second slash, which would begin another host.
fn split_origin(text: &str) -> Option<(&str, &str)> {
    let scheme = ["http://", "https://"];
    let host = scheme.iter().find_map(|scheme| text.strip_prefix(scheme))?;
    let (host, path) = host.split_at(host.find('/')?);
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':');
    let second = path.as_bytes().get(1);
    let starts_plainly = second.is_none_or(u8::is_ascii_alphanumeric);
    (host.bytes().all(is_plain) && starts_plainly).then(|| text.split_at(text.len() - path.len()))
}

/// Parses by the WHATWG rules, takes out userinfo and fragment. What these rules delete without a
/// word makes it no URL: what stood on both sides of it would become one.
pub fn parse_url(text: &str) -> Result<ParsedUrl, String> {
    check_deleted(text)?;
    let mut url = Url::parse(text).map_err(|error| describe_error(text, error))?;
    if !matches!(url.scheme(), "http" | "https") {
        if text.contains('@') && !text.contains("://") {
            return Err(NO_SCHEME.to_owned());
        }
        return Err(match with_scheme(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => format!(
                "the scheme is {}; only http and https are fetched",
                url.scheme().get(..MAX_SCHEME_BYTES).unwrap_or(url.scheme())
            ),
        });
    }
    let credentials = take_credentials(&mut url);
    let url = without_fragment(url)?;
    let is_doubled = matches!(url.host_str(), Some("http" | "https"));
    if is_doubled && url.path().starts_with("//") {
        return Err("it has two schemes, and one is enough".to_owned());
    }
    // A URL is shown, and names a file; a password must not.
    if matches!(mask_inner_passwords(&url), Cow::Owned(_)) {
        return Err("it holds a second URL, with a password; write one URL a line".to_owned());
    }
    Ok((url, credentials))
}

fn check_deleted(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    if let Some(byte) = bytes
        .iter()
        .find(|byte| matches!(byte, b'\t' | b'\n' | b'\r'))
    {
        let what = if *byte == b'\t' {
            "a tab"
        } else {
            "a line end"
        };
        return Err(format!("it has {what} inside, and a URL has none"));
    }
    let ends = [bytes.first(), bytes.last()];
    if ends.iter().flatten().any(|byte| **byte < b' ') {
        return Err("it begins or ends with a control character".to_owned());
    }
    Ok(())
}

/// Without its fragment, which is not sent.
fn without_fragment(mut url: Url) -> Result<Url, String> {
    url.set_fragment(None);
    // The URL standard allows hosts such as `{host}` that no request can be sent to.
    if let Err(error) = url.as_str().parse::<http::Uri>() {
        return Err(error.to_string());
    }
    Ok(url)
}

fn take_credentials(url: &mut Url) -> Option<Box<Credentials>> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credentials = Credentials {
        user: decode(url.username()),
        password: decode(url.password().unwrap_or_default()),
    };
    // Both fail only for URLs without a host, and http(s) URLs have one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(Box::new(credentials))
}

fn describe_error(text: &str, error: url::ParseError) -> String {
    if error == url::ParseError::RelativeUrlWithoutBase {
        return match with_scheme(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => NO_SCHEME.to_owned(),
        };
    }
    error.to_string()
}

/// The line with a scheme in front, where that makes a likely URL: a name with a dot, an address,
/// or localhost. (`example.com:8080/x` parses, as a URL of scheme `example.com`.)
pub fn with_scheme(text: &str) -> Option<String> {
    let rest = text.strip_prefix("//").unwrap_or(text);
    let name = rest.split(['/', ':', '?', '#']).next()?;
    let near = near_port(rest);
    let likely = (name.contains('.') && !name.starts_with('.')) || near.is_some();
    let scheme = match near {
        None | Some("443" | "8443") => "https",
        Some(_) => "http",
    };
    let url = format!("{scheme}://{rest}");
    // A line with userinfo is not repeated in a message, nor a piece of JSON, which may hold more.
    let likely = likely && text.len() <= MAX_SHOWN_CHARS;
    (likely && !rest.contains(['@', '"']) && Url::parse(&url).is_ok()).then_some(url)
}

/// The port, or nothing for it, where this machine or an address is named: there TLS is the
/// exception.
fn near_port(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = address.parse::<IpAddr>().is_ok();
    let is_near = is_address || host == "localhost" || host.ends_with(".localhost");
    is_near.then_some(port)
}

/// A bad line as it may be shown: no password, no control characters, not endless.
pub fn display_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.trim_ascii());
    // Wherever it stands: JSON that goes over several lines has it at the front of one.
    let folded = text.to_ascii_lowercase();
    let cut = SECRET_FIELDS
        .iter()
        .filter_map(|field| folded.find(field))
        .min();
    let text = cut.and_then(|at| text.get(..at)).unwrap_or(&text);
    let masked = mask_userinfo(text);
    let mut shown = shortened(&masked);
    if cut.is_some() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}

/// The beginning of it, made harmless.
fn shortened(text: &str) -> String {
    let mut shown: String = escape_control(text).chars().take(MAX_SHOWN_CHARS).collect();
    if shown.len() < text.len() && text.len() > MAX_SHOWN_CHARS {
        shown.push('…');
    }
    shown
}

/// The beginning of a bad line as it may be shown: the end of a password that begins in it may
/// be missing.
pub fn shown_cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('@') {
        return display_line(bytes);
    }
    let authority = text.find("://").map(|at| at + 3);
    let secret = authority.and_then(|start| {
        let rest = text.get(start..)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (_, port) = rest.get(..end)?.split_once(':')?;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        (!is_port).then_some(start + end - port.len())
    });
    match secret.and_then(|at| text.get(..at)) {
        Some(before) => format!("{}…", display_line(before.as_bytes())),
        None => display_line(bytes),
    }
}

/// The URL of a line that is bad for another reason, as it may be shown.
pub fn shown_url(text: &str) -> String {
    match parse_url(text.trim_ascii()) {
        Ok((url, _)) => shortened(url.as_str()),
        Err(_) => shown_among(text),
    }
}

/// The URL among the words of a line. What else is there is not shown: it may be another one with
/// a password, or options of another program.
pub fn shown_among(text: &str) -> String {
    let mut words = text.split_ascii_whitespace();
    match words.find_map(|word| parse_url(word).ok()) {
        Some((url, _)) => shortened(url.as_str()),
        None => display_line(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line() -> impl Strategy<Value = String> {
        let origin = prop::sample::select(vec![
            "http://a",
            "http://a:80",
            "https://a",
            "http://127.1:8080",
            "http://A",
            "http://me@a",
            "http://a\\b",
            "http://xn--a",
            "http://http",
            "http://1.2.3.256",
            "http://a:99999",
            "http://",
            "http:/a",
            "ftp://a",
        ]);
        // Whatever a parser could take for something else, and what it must encode.
        let path = "(/[/\\\\a-z.%:@?#\\t\\r \\[\\]{}|<\"^`ü\u{7f}\u{1}-]{0,8})?";
        (origin, path).prop_map(|(origin, path)| format!("{origin}{path}"))
    }

    proptest! {
        #[test]
        fn one_after_another_they_are_what_each_is_alone(
            lines in prop::collection::vec(line(), 1..20)
        ) {
            let mut parser = UrlParser::default();
            for line in lines {
                prop_assert_eq!(parser.parse(&line), parse_url(&line), "{}", line);
            }
        }
    }

    #[test]
    fn what_the_standard_deletes_makes_it_no_url() {
        let mut page = Vec::new();
        for text in [
            "http://a/b\tc",
            "http://a/b\nhttp://c/",
            "http://a/b\rhttp://c/",
            "ht\ntp://a/",
            "http://a/\u{1}",
            "\0http://a/",
        ] {
            let reason = parse_url(text).unwrap_err();
            page.push(format!("{text:?}\n{reason}"));
        }
        insta::assert_snapshot!("what_the_standard_deletes", page.join("\n\n"));
        assert_eq!(
            parse_url("http://a/b c").unwrap().0.as_str(),
            "http://a/b%20c"
        );
    }

    #[test]
    fn a_url_that_holds_a_password_elsewhere_is_none() {
        for text in [
            "http://http://me:s3cret@a/",
            "HTTPS://http://me:s3cret@a/",
            "http://http://me:s3#cret@a/",
            "http://http:/\\me:s3cret@a/",
            "http://http//me:s3cret@a/",
            "http://ftp://me:s3cret@a/",
            "http://a/http://me:s3cret@b/",
            "http://a/ http://me:s3cret@b/",
            "http://a/,https://me:s3cret@b/,http://c/",
            "http://a/x?y,http://me:s3/cret@b/",
            "http://a/?u=ftp://me:s3cret@b/",
            "http://a\\http:\\\\me:s3cret@b/",
            "http://a/?u=http%3A%2F%2Fme%3As3cret%40b%2F",
            "http://a/?x=http:\\\\me:s3cret@b/",
        ] {
            let reason = parse_url(text).unwrap_err();
            assert!(!reason.contains("cret"), "{text}: {reason}");
            assert!(!shown_url(text).contains("s3"), "{}", shown_url(text));
        }
        for text in [
            "http://a/@me:x",
            "http://a//img:foo@2x.png",
            "http://a/web/http://b:8080/@me",
            "http://a/x//y?time=10:30@noon",
            "http://me:s3cret@a/#http://me:s3cret@b/",
        ] {
            assert!(parse_url(text).is_ok(), "{text}: {:?}", parse_url(text));
        }
    }

    #[test]
    fn of_a_line_that_is_cut_no_password_is_shown() {
        for (text, expected) in [
            ("http://me:s3cret", "http://me:…"),
            ("{\"url\":\"http://me:s3/cret", "{\"url\":\"http://me:…"),
            ("http://a:80/x", "http://a:80/x"),
            ("http://me:s3cret@a/x", "http://***@a/x"),
        ] {
            assert_eq!(shown_cut(text.as_bytes()), expected);
        }
    }

    /// Lines of some formats have up to 16 MiB.
    #[test]
    fn what_is_told_of_a_long_line_is_short() {
        let long = "x".repeat(100_000);
        for line in [
            format!("{long}://a/"),
            format!("a.example/{long}"),
            format!("http://a/{long}"),
            long.clone(),
        ] {
            assert!(shown_url(&line).chars().count() <= MAX_SHOWN_CHARS + 1);
            let reason = parse_url(&line).map(drop).err().unwrap_or_default();
            assert!(reason.len() < 200, "{reason}");
        }
    }

    #[test]
    fn an_origin_is_parsed_once() {
        let mut parser = UrlParser::default();
        for path in ["/a", "/b?c#d", "/"] {
            let (url, _) = parser.parse(&format!("http://a:80{path}")).unwrap();
            assert_eq!(
                url.as_str(),
                format!("http://a{}", path.trim_end_matches("#d"))
            );
        }
        assert_eq!(parser.origin.unwrap().as_str(), "http://a/");
    }
}
