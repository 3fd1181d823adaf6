//! Parsing of URLs, and of lines that are not URLs for display.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::flaw::ListFlaw;
use crate::model::{
    Credentials, Hint, RecentEntry, RecentMap, escape_control, holds_at_sign, mask_inner_passwords,
    mask_userinfo, may_hold_userinfo,
};

const NO_SCHEME: &str = "missing scheme; URLs start with http:// or https://";
/// Maximum characters of an invalid line in output.
const MAX_SHOWN_CHARS: usize = 2048;
/// Maximum bytes of a URL in a request, a limit of the HTTP library.
const MAX_URI_BYTES: usize = u16::MAX as usize - 1;
/// Maximum bytes of a text that is parsed as a URL: parsed, it may take three times as many.
const MAX_PARSED_BYTES: usize = 1 << 20;
/// Bytes of an invalid line that are looked at for output. It may have megabytes.
const MAX_DISPLAYED_BYTES: usize = 64 * 1024;
/// Origins that are known at the same time.
const KNOWN_ORIGINS: usize = 1 << 10;
/// The same where only origins are needed, and nothing else takes memory.
const MANY_KNOWN_ORIGINS: usize = 1 << 14;
/// Maximum bytes of a path for which each known origin keeps memory.
const MAX_KEPT_PATH: usize = 256;
/// Maximum bytes of a scheme in a message.
const MAX_SCHEME_BYTES: usize = 40;
/// Beginnings of JSON fields with possibly secret values: an invalid line is shown only up to the
/// first of them.
const SECRET_FIELDS: [&str; 7] = [
    "\"headers\"",
    "\"body",
    "\"auth",
    "\"cookie",
    "\"pass",
    "\"secret",
    "\"token",
];

/// The scheme of URLs that are written without one: `example.com/a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultScheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

impl DefaultScheme {
    /// Prepends the scheme to a URL that has none.
    pub fn complete(self, text: &str) -> Cow<'_, str> {
        if !lacks_scheme(text) {
            return Cow::Borrowed(text);
        }
        let scheme = match self {
            Self::Http => "http",
            Self::Https => "https",
        };
        let rest = text.strip_prefix("//").unwrap_or(text);
        Cow::Owned(format!("{scheme}://{rest}"))
    }
}

/// Whether the text is a URL without its scheme: a host, with or without a port, and what follows
/// it. Not a path alone, nor text with an `@`, which is more likely an address for mail, nor
/// something like `javascript:void(0)`.
fn lacks_scheme(text: &str) -> bool {
    let rest = text.strip_prefix("//");
    let authority = rest
        .unwrap_or(text)
        .split(['/', '\\', '?', '#'])
        .next()
        .unwrap_or_default();
    // `./a` and `../a` are paths; no host begins with a dot.
    if authority.is_empty() || authority.starts_with('.') || authority.contains('@') {
        return false;
    }
    if scheme_without_colon(text).is_some() {
        return false;
    }
    let Some((name, port)) = authority.split_once(':') else {
        return true;
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_http = ["http", "https"]
        .iter()
        .any(|it| name.eq_ignore_ascii_case(it));
    rest.is_some() || name.starts_with('[') || (is_port && !is_http)
}

/// Returns the scheme of `https//example.com/`.
fn scheme_without_colon(text: &str) -> Option<&'static str> {
    let (name, rest) = text.split_once('/')?;
    let mut schemes = ["http", "https"].into_iter();
    let scheme = schemes.find(|scheme| name.eq_ignore_ascii_case(scheme));
    scheme.filter(|_| rest.starts_with('/'))
}

/// A URL without userinfo and fragment, and the userinfo separately.
pub(super) type ParsedUrl = (Url, Option<Box<Credentials>>);

/// Parses URLs, caching origins: in most lists many URLs have the same one, and parsing it is most
/// of the work.
pub(super) struct UrlParser {
    /// Origins as written, and parsed once they have occurred twice.
    known: RecentMap<Option<Url>>,
    /// Whether only the origin of a URL is needed.
    is_origin_enough: bool,
}

impl Default for UrlParser {
    fn default() -> Self {
        Self {
            known: RecentMap::with_places(KNOWN_ORIGINS),
            is_origin_enough: false,
        }
    }
}

impl UrlParser {
    /// Creates a parser for origins only: what it returns may lack the path, or have another one.
    pub(super) fn of_origins() -> Self {
        Self {
            known: RecentMap::with_places(MANY_KNOWN_ORIGINS),
            is_origin_enough: true,
        }
    }

    /// Like [`parse_url`], with the same results.
    pub(super) fn parse(&mut self, text: &str) -> Result<ParsedUrl, ListFlaw> {
        let Some((origin, path)) = split_origin(text) else {
            return parse_url(text);
        };
        let is_origin_enough = self.is_origin_enough;
        let Some(known) = self.known.place_of(origin) else {
            return parse_url(text);
        };
        if origin != known.text {
            if is_plain_origin(origin) {
                known.set(origin, None);
            }
            return parse_url(text);
        }
        // The full parser rejects what is not allowed.
        if path.bytes().any(|byte| byte <= b' ') || may_hold_userinfo(path) {
            return parse_url(text);
        }
        let Some(origin) = parsed_origin(known) else {
            return parse_url(text);
        };
        if is_origin_enough && text.len() <= MAX_URI_BYTES && path.bytes().all(is_plain_in_path) {
            return Ok((origin.clone(), None));
        }
        let Ok(mut url) = join(origin, path) else {
            return parse_url(text);
        };
        url.set_fragment(None);
        // The parser encodes all that a request must not contain behind a valid origin, so only the
        // length is left to check.
        if url.as_str().len() > MAX_URI_BYTES {
            check_sendable(&url)?;
        }
        Ok((url, None))
    }
}

/// Whether an origin can be parsed separately: without userinfo and anything that the parser
/// removes.
fn is_plain_origin(origin: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':');
    let (_, host) = origin.rsplit_once('/').unwrap_or_default();
    host.bytes().all(is_plain)
}

/// Parses a known origin, once. Its path may be that of another URL since then.
fn parsed_origin(known: &mut RecentEntry<Option<Url>>) -> Option<&mut Url> {
    if known.value.is_none() {
        let origin = Url::parse(&known.text).ok();
        known.value = origin.filter(|origin| check_sendable(origin).is_ok());
    }
    known.value.as_mut()
}

/// Whether a character in a path or query is neither changed by the parser nor a reason to look
/// closer.
fn is_plain_in_path(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' | b'?' | b'=' | b'&' | b'+'
    )
}

/// Returns the URL of an absolute path, with or without a query and a fragment. A path alone takes
/// a third less than what `Url::join` has to consider. It is set in the memory of the ones before it,
/// so that the URL is allocated once, in the size that it needs: a list is read far ahead.
fn join(origin: &mut Url, path: &str) -> Result<Url, url::ParseError> {
    if path.len() > MAX_KEPT_PATH || memchr::memchr3(b'?', b'#', b'\\', path.as_bytes()).is_some() {
        return origin.join(path);
    }
    origin.set_path(path);
    Ok(origin.clone())
}

/// Splits a URL into its origin and the rest, if the rest can be parsed separately: no second
/// slash, which would start another host, and nothing that the parser treats as one.
fn split_origin(text: &str) -> Option<(&str, &str)> {
    let scheme = ["http://", "https://"];
    let host = scheme.iter().find_map(|scheme| text.strip_prefix(scheme))?;
    let path = text.len() - host.len() + memchr::memchr(b'/', host.as_bytes())?;
    let second = text.as_bytes().get(path + 1);
    let starts_plainly = second.is_none_or(u8::is_ascii_alphanumeric);
    starts_plainly.then(|| text.split_at(path))
}

/// Parses a URL by the WHATWG rules and strips userinfo and fragment.
///
/// Characters that these rules silently delete, such as tabs, are an error: deleting them would
/// join the text on both sides.
pub(super) fn parse_url(text: &str) -> Result<ParsedUrl, ListFlaw> {
    if text.len() > MAX_PARSED_BYTES {
        return Err("uri too long".into());
    }
    check_deleted(text)?;
    let mut url = Url::parse(text).map_err(|error| describe_error(text, error))?;
    if !matches!(url.scheme(), "http" | "https") {
        if text.contains('@') && !text.contains("://") {
            return Err(NO_SCHEME.into());
        }
        return Err(match with_scheme(text) {
            Some(better) => missing_scheme(&better),
            None => format!(
                "unsupported scheme {}; use http or https",
                url.scheme().get(..MAX_SCHEME_BYTES).unwrap_or(url.scheme())
            )
            .into(),
        });
    }
    let credentials = take_credentials(&mut url);
    let url = without_fragment(url)?;
    let is_doubled = matches!(url.host_str(), Some("http" | "https"));
    if is_doubled && url.path().starts_with("//") {
        return Err("URL has two schemes; remove one".into());
    }
    // The URL is used in output and in file names, where a password must not appear.
    if matches!(mask_inner_passwords(&url), Cow::Owned(_)) {
        return Err("URL contains a second one with a password; use one URL per line".into());
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
            "a line break"
        };
        return Err(format!("URL contains {what}"));
    }
    let ends = [bytes.first(), bytes.last()];
    if ends.iter().flatten().any(|byte| **byte < b' ') {
        return Err("URL starts or ends with a control character".to_owned());
    }
    Ok(())
}

/// Removes the fragment, which is never sent.
fn without_fragment(mut url: Url) -> Result<Url, String> {
    url.set_fragment(None);
    check_sendable(&url)?;
    Ok(url)
}

/// Checks that a request can be built. The URL standard allows hosts such as `{host}`, for which
/// that is impossible.
fn check_sendable(url: &Url) -> Result<(), String> {
    if is_plainly_sendable(url) {
        return Ok(());
    }
    let uri = url.as_str().parse::<http::Uri>();
    uri.map(|_| ()).map_err(|error| error.to_string())
}

/// Whether a URL has only characters that every URI may contain, as nearly all have. Parsing it again
/// takes as long as parsing it once.
fn is_plainly_sendable(url: &Url) -> bool {
    let is_plain = |byte| is_plain_in_path(byte) || matches!(byte, b'%' | b',' | b':');
    url.has_host()
        && url.as_str().len() <= MAX_URI_BYTES
        && is_plain_origin(&url[..Position::BeforePath])
        && url[Position::BeforePath..].bytes().all(is_plain)
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

fn describe_error(text: &str, error: url::ParseError) -> ListFlaw {
    if let Some(scheme) = scheme_without_colon(text) {
        return format!("missing colon; did you mean {scheme}://…?").into();
    }
    if error == url::ParseError::RelativeUrlWithoutBase {
        return match with_scheme(text) {
            Some(better) => missing_scheme(&better),
            None => NO_SCHEME.into(),
        };
    }
    error.to_string().into()
}

fn missing_scheme(better: &str) -> ListFlaw {
    let reason = format!("missing scheme; did you mean {better}?");
    ListFlaw::with_hint(reason, Hint::AddScheme)
}

/// Returns the line with a scheme prepended, if that makes a likely URL: a name with a dot, an IP
/// address, or localhost. (`example.com:8080/x` parses as a URL with scheme `example.com`.)
pub(super) fn with_scheme(text: &str) -> Option<String> {
    let rest = text.strip_prefix("//").unwrap_or(text);
    let name = rest.split(['/', ':', '?', '#']).next()?;
    let near = near_port(rest);
    let likely = (name.contains('.') && !name.starts_with('.')) || near.is_some();
    let scheme = match near {
        None | Some("443" | "8443") => "https",
        Some(_) => "http",
    };
    let url = format!("{scheme}://{rest}");
    // Messages must not repeat lines with userinfo or JSON, which may contain secrets.
    let likely = likely && text.len() <= MAX_SHOWN_CHARS;
    (likely && !rest.contains(['@', '"']) && Url::parse(&url).is_ok()).then_some(url)
}

/// Returns the port (empty without one) if the host is an IP address or this machine, where
/// TLS is the exception.
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

/// Returns an invalid line for output: without passwords and control characters, and shortened.
pub(super) fn display_line(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let (start, rest) = bytes.split_at(bytes.len().min(MAX_DISPLAYED_BYTES));
    let mut text = String::from_utf8_lossy(start);
    if holds_at_sign(rest) {
        // The password that it ends may begin in the part that is shown.
        text.to_mut().push_str("@…");
    }
    // Anywhere in the line: in JSON that spans several lines a field may start one.
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

/// Escapes control characters and shortens the text.
fn shortened(text: &str) -> String {
    // Cut before, too: a line may have megabytes, and an escaped one several times as many.
    let start: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    let mut shown: String = escape_control(&start)
        .chars()
        .take(MAX_SHOWN_CHARS)
        .collect();
    if shown.len() < text.len() && text.len() > MAX_SHOWN_CHARS {
        shown.push('…');
    }
    shown
}

/// Returns the beginning of an invalid line for output. It may be cut within a password, before the
/// `@` that would mark one.
pub(super) fn shown_cut(bytes: &[u8]) -> String {
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

/// Returns the URL of a line that is invalid for another reason, for output.
pub(super) fn shown_url(text: &str) -> String {
    match parse_url(text.trim_ascii()) {
        Ok((url, _)) => shortened(url.as_str()),
        Err(_) => shown_among(text),
    }
}

/// Returns a line with a URL among its words for output: the whole line, so that nobody takes the
/// URL alone for what failed. Words that may hold a secret are left out with all others: they may
/// be options of another program, or a URL with a password.
pub(super) fn shown_among(text: &str) -> String {
    let mut words = text.split_ascii_whitespace();
    let Some((url, _)) = words.find_map(|word| parse_url(word).ok()) else {
        // The end of a password may be in another cell.
        return shown_cut(text.as_bytes());
    };
    if text.trim_ascii().split_ascii_whitespace().all(is_harmless) {
        return shortened(text.trim_ascii());
    }
    let is_alone = text.split_ascii_whitespace().nth(1).is_none();
    let more = if is_alone { "" } else { " …" };
    shortened(url.as_str()) + more
}

/// Whether a word of an invalid line holds no secret, as far as it can be seen.
fn is_harmless(word: &str) -> bool {
    let is_option = word.len() > 1 && word.starts_with('-');
    let is_plain = !is_option
        && !word.contains([':', '=', '"', '\\', '\u{ff20}', '\u{fe6b}'])
        && !may_hold_userinfo(word);
    is_plain || matches!(parse_url(word), Ok((_, None)))
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
        // Characters that a parser may treat specially or must encode.
        let path = "(/[/\\\\a-z.%:@?#\\t\\r \\[\\]{}|<\"^`ü\u{7f}\u{1}!$&'()*+,;=_~-]{0,8})?";
        (origin, path).prop_map(|(origin, path)| format!("{origin}{path}"))
    }

    proptest! {
        #[test]
        fn the_cached_origin_does_not_change_results(
            lines in prop::collection::vec(line(), 1..20)
        ) {
            let mut parser = UrlParser::default();
            for line in lines {
                prop_assert_eq!(parser.parse(&line), parse_url(&line), "{}", line);
            }
        }

        /// What is not looked at closely can be sent.
        #[test]
        fn a_plain_url_is_a_uri(line in line()) {
            if let Ok(url) = Url::parse(&line) && is_plainly_sendable(&url) {
                prop_assert!(url.as_str().parse::<http::Uri>().is_ok(), "{}", url);
            }
        }

        /// Where the origin is enough, the same URLs are valid, and have the same origin.
        #[test]
        fn a_parser_of_origins_finds_the_same(lines in prop::collection::vec(line(), 1..20)) {
            let mut parser = UrlParser::of_origins();
            let origin = |parsed: Result<ParsedUrl, ListFlaw>| {
                parsed.map(|(url, credentials)| (url.origin(), credentials))
            };
            for line in lines {
                let found = origin(parser.parse(&line));
                prop_assert_eq!(found, origin(parse_url(&line)), "{}", line);
            }
        }
    }

    /// 32,768 are read ahead.
    #[test]
    fn a_url_takes_no_more_memory_than_its_text() {
        let mut parser = UrlParser::default();
        for path in ["/", "/a/b/c", "/a", "/a/longer/path/than/those/before"] {
            for _ in 0..3 {
                let (url, _) = parser.parse(&format!("http://a.example{path}")).unwrap();
                let text = String::from(url);
                assert!(text.ends_with(path));
                assert!(text.capacity() <= text.len() + 1, "{}", text.capacity());
            }
        }
    }

    #[test]
    fn the_cached_origin_does_not_change_the_limit_on_the_length() {
        let mut parser = UrlParser::default();
        let url = |length: usize| format!("http://a/{}", "x".repeat(length - "http://a/".len()));
        let (most, above) = (MAX_URI_BYTES, MAX_URI_BYTES + 1);
        for (length, is_valid) in [(10, true), (10, true), (most, true), (above, false)] {
            let url = url(length);
            assert_eq!(parser.parse(&url).is_ok(), is_valid, "{length}");
            assert_eq!(parser.parse(&url), parse_url(&url));
        }
    }

    #[test]
    fn characters_that_the_standard_deletes_are_an_error() {
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
    fn a_url_with_a_nested_password_is_an_error() {
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
            assert!(!reason.reason.contains("cret"), "{text}: {reason}");
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
    fn a_host_without_a_scheme_gets_one() {
        for (text, url) in [
            ("example.com/a?b#c", "https://example.com/a?b"),
            ("//example.com", "https://example.com/"),
            ("localhost:8080", "https://localhost:8080/"),
            ("[::1]:80/x", "https://[::1]:80/x"),
            ("intranet", "https://intranet/"),
            ("a.test?u=http://b/", "https://a.test/?u=http://b/"),
            ("http://a/", "http://a/"),
            ("HTTP:a", "http://a/"),
            ("http:80", "http://0.0.0.80/"),
        ] {
            let text = DefaultScheme::Https.complete(text);
            assert_eq!(parse_url(&text).unwrap().0.as_str(), url, "{text}");
        }
        for text in [
            "/only/a/path",
            "///a",
            "\\\\host\\share",
            "?a",
            "",
            "me@example.com",
            "me:s3cret@example.com/x",
            "//me@example.com",
            "javascript:void(0)",
            "ftp://a/",
            "./a",
            "../b/c.html",
            "https//x",
            "HTTP//a.test/b",
        ] {
            let completed = DefaultScheme::Http.complete(text);
            assert_eq!(completed, text);
            assert!(parse_url(&completed).is_err(), "{text}");
        }
        assert_eq!(
            parse_url("HTTPS//me:s3cret@x").unwrap_err().reason,
            "missing colon; did you mean https://…?"
        );
    }

    #[test]
    fn a_cut_line_shows_no_password() {
        for (text, expected) in [
            ("http://me:s3cret", "http://me:…"),
            ("{\"url\":\"http://me:s3/cret", "{\"url\":\"http://me:…"),
            ("http://a:80/x", "http://a:80/x"),
            ("http://me:s3cret@a/x", "http://***@a/x"),
        ] {
            assert_eq!(shown_cut(text.as_bytes()), expected);
        }
    }

    /// Some formats allow lines of 16 MiB.
    #[test]
    fn of_a_very_long_line_only_the_beginning_is_shown() {
        for (end, shown) in [("", "http://a:xxx"), ("@b", "http://***@…")] {
            let line = format!("http://a:{}{end}", "x".repeat(MAX_DISPLAYED_BYTES));
            assert!(display_line(line.as_bytes()).starts_with(shown), "{end}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_PARSED_BYTES));
        assert_eq!(parse_url(&long).unwrap_err().reason, "uri too long");
    }

    #[test]
    fn messages_about_a_long_line_are_short() {
        let long = "x".repeat(100_000);
        for line in [
            format!("{long}://a/"),
            format!("a.example/{long}"),
            format!("http://a/{long}"),
            long.clone(),
        ] {
            assert!(shown_url(&line).chars().count() <= MAX_SHOWN_CHARS + 1);
            let reason = parse_url(&line).err().map(|flaw| flaw.reason);
            assert!(reason.is_none_or(|reason| reason.len() < 200), "{line}");
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
        let known = parser.known.place_of("http://a:80").unwrap();
        assert_eq!(known.value.as_ref().unwrap().as_str(), "http://a/");
    }
}
