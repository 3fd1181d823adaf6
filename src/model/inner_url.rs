//! Masks passwords in URLs nested in the path or query of a URL, as proxies and archives use
//! them. Only the outer URL is parsed, so the password of an inner one would end up in output and
//! in file names.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::{Position, Url};

/// Maximum layers of percent-encoding that are decoded: one for each URL that another is nested
/// in. More do not occur in practice.
const MAX_LAYERS: usize = 4;

/// Schemes that are easily written twice: in `http://ftp://me:word@host/` the host is `ftp`.
const SCHEMES: [&str; 8] = ["http", "https", "ftp", "ftps", "sftp", "ws", "wss", "git"];

/// Schemes that browsers accept with any number of slashes, including none.
const SPECIAL: [&str; 5] = ["http", "https", "ftp", "ws", "wss"];

/// Returns the URL with `***` for a path, or a value in the query or fragment, that contains another
/// URL with a password, percent-encoded or not. Borrowed if nothing is masked.
///
/// Two slashes without a scheme start a URL only where a value of the query does (`?next=//host/`):
/// paths have them, too, followed by names such as `a:b@2x.png`.
#[must_use]
pub(crate) fn mask_inner_passwords(url: &Url) -> Cow<'_, str> {
    if !may_hold_userinfo(&url[Position::BeforePath..]) {
        return Cow::Borrowed(url.as_str());
    }
    let follows_scheme = url.host_str().is_some_and(|host| SCHEMES.contains(&host));
    let has_two_schemes = follows_scheme && url.path().starts_with("//");
    let path = url.path();
    let (authority, behind) = split_authority(path.trim_start_matches('/'));
    let masks_path = holds_password(path, false)
        || (has_two_schemes && holds_userinfo(authority, behind))
        || (url.cannot_be_a_base() && address_holds_password(url.scheme(), path));
    let values = [('?', url.query()), ('#', url.fragment())];
    let mut parts = values
        .iter()
        .flat_map(|(_, text)| text)
        .flat_map(|text| text.split('&'));
    if !masks_path && !parts.any(|part| holds_password(part, true)) {
        return Cow::Borrowed(url.as_str());
    }
    let mut shown = url[..Position::BeforePath].to_owned();
    shown.push_str(match masks_path {
        true if url.cannot_be_a_base() => "***",
        true => "/***",
        false => path,
    });
    for (mut separator, text) in values {
        for part in text.into_iter().flat_map(|text| text.split('&')) {
            shown.push(separator);
            separator = '&';
            push_masked(&mut shown, part);
        }
    }
    Cow::Owned(shown)
}

/// Appends a value of a query or fragment, masked if it holds a password.
fn push_masked(shown: &mut String, part: &str) {
    let name = part.split_once('=').map_or("", |(name, _)| name);
    match (
        holds_password(part, true),
        holds_password(name, true) || name.is_empty(),
    ) {
        (false, _) => shown.push_str(part),
        (true, true) => shown.push_str("***"),
        (true, false) => shown.extend([name, "=***"]),
    }
}

/// Schemes of URLs without slashes that are followed by an address.
const ADDRESSES: [&str; 8] = [
    "mailto", "sip", "sips", "xmpp", "acct", "news", "mid", "cid",
];

/// Whether a URL without slashes has a password. Before an `@`, any scheme but that of an address
/// is taken for a user name: `me:word@host`.
fn address_holds_password(scheme: &str, path: &str) -> bool {
    let address = percent_decode_str(path).decode_utf8_lossy();
    address.contains('@') && (!ADDRESSES.contains(&scheme) || holds_userinfo(&address, ""))
}

/// Whether the text may contain an `@` in any layer of encoding. A quick check: most URLs have
/// none.
#[must_use]
pub(crate) fn may_hold_userinfo(text: &str) -> bool {
    let may_hold = memchr::memchr2(b'@', b'%', text.as_bytes()).is_some();
    may_hold && (text.contains('@') || text.contains("40"))
}

/// Whether a word of some text is or contains a URL with a password, in any layer of encoding.
#[must_use]
pub(crate) fn word_holds_password(word: &str) -> bool {
    may_hold_userinfo(word) && holds_password(word, true)
}

/// Returns a text, such as the value of a header, in which the passwords of URLs are masked; `None`
/// if it has none. A password with a blank, bracket or quote in it hides the whole text.
#[must_use]
pub(crate) fn mask_urls(text: &str) -> Option<String> {
    if !word_holds_password(text) {
        return None;
    }
    let ends_word = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"');
    let words = text.split_inclusive(ends_word);
    let shown: String = words.map(masked_word).collect();
    Some(match word_holds_password(&shown) {
        true => "***".to_owned(),
        false => shown,
    })
}

fn masked_word(word: &str) -> Cow<'_, str> {
    if !word_holds_password(word) {
        return Cow::Borrowed(word);
    }
    let start = word.find("//").map_or(0, |at| at + 2);
    let (before, rest) = word.split_at(start);
    let host = rest.rfind('@').and_then(|at| rest.get(at..));
    Cow::Owned(format!("{before}***{}", host.unwrap_or_default()))
}

/// Whether the text contains a URL with a password, in any layer of encoding. `is_query` is whether
/// it is a part of a query, with or without its name.
fn holds_password(text: &str, is_query: bool) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_LAYERS {
        if layer_holds_password(&text) || relative_holds_password(&text, is_query) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        // What reads the inner URL removes tabs and line ends, wherever they are.
        text = Cow::Owned(decoded.replace(['\t', '\n', '\r'], ""));
    }
    false
}

fn layer_holds_password(mut text: &str) -> bool {
    while let Some((before, rest)) = text.split_once(':') {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let start = before.trim_end_matches(is_scheme).len();
        let scheme = before.get(start..).unwrap_or_default();
        let is_special = SPECIAL.iter().any(|name| name.eq_ignore_ascii_case(scheme));
        let after_slashes = rest.trim_start_matches(['/', '\\']);
        let slashes = rest.len() - after_slashes.len();
        if !is_special && (slashes < 2 || scheme.is_empty()) {
            text = rest;
            continue;
        }
        let (authority, behind) = split_authority(after_slashes);
        if holds_userinfo(authority, behind) {
            return true;
        }
        // A URL nested within this authority was covered by the check above.
        text = behind;
    }
    false
}

/// Whether a value in a query, which may be that of an inner URL, is a URL without a scheme:
/// `next=//me:word@host/`. `//tel:0049@sip` is not one.
fn relative_holds_password(text: &str, is_query: bool) -> bool {
    // Nothing after the last `@` matters; without that, the checks would read it again and again.
    let Some(text) = text.rfind('@').and_then(|at| text.get(..=at)) else {
        return false;
    };
    let values = text.match_indices(['=', '?']).map(|(at, _)| at + 1);
    let values = values.chain(is_query.then_some(0));
    let mut values = values.filter_map(|start| text.get(start..));
    values.any(|value| {
        let after_slashes = value.trim_start_matches(['/', '\\']);
        let (authority, behind) = split_authority(after_slashes);
        let is_number = authority
            .rsplit_once('@')
            .and_then(|(userinfo, _)| userinfo.split_once(':'))
            .is_some_and(|(_, word)| word.bytes().all(|byte| byte.is_ascii_digit()));
        let is_relative = value.len() - after_slashes.len() >= 2;
        is_relative && !is_number && holds_userinfo(authority, behind)
    })
}

fn split_authority(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '\\', '?', '#']).unwrap_or(text.len()))
}

/// Whether the authority starts with `me:word@`. An unencoded slash in the password ends the
/// authority early; then the text after the colon is not a port number.
fn holds_userinfo(authority: &str, behind: &str) -> bool {
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        let password = userinfo.split_once(':').map(|(_, password)| password);
        return password.is_some_and(|password| !password.is_empty());
    }
    let after_address = authority.rsplit(']').next().unwrap_or_default();
    let port = after_address.split_once(':').map_or("", |(_, port)| port);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    !is_port && behind.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_among_other_text_are_masked() {
        for (text, shown) in [
            ("0; url=http://me:word@b/", "0; url=http://***@b/"),
            ("0;URL='http://me:w;o,r'd@b/c'", "0;URL='http://***@b/c'"),
            ("0;url=//me:word@b", "0;url=//***@b"),
            (
                "</x>; rel=a, <ftp://me:word@b/>; rel=\"next\"",
                "</x>; rel=a, <ftp://***@b/>; rel=\"next\"",
            ),
            ("1; url=http://me:wo rd@b/", "***"),
            ("to=http%3A%2F%2Fme%3Aword%40b", "***"),
        ] {
            assert_eq!(mask_urls(text).as_deref(), Some(shown));
        }
        for text in [
            "",
            "5; url=http://b/",
            "<http://me@b/>; rel=\"author\", <mailto:me@b>",
            "a=b; Path=/; Max-Age=40%",
        ] {
            assert_eq!(mask_urls(text), None, "{text}");
        }
    }

    fn shown(url: &str) -> String {
        mask_inner_passwords(&Url::parse(url).unwrap()).into_owned()
    }

    #[test]
    fn the_password_of_an_inner_url_is_masked() {
        for (url, expected) in [
            ("http://a/http://me:s3cret@b/", "http://a/***"),
            ("http://a/HTTP:/me:s3cret@b/c?d", "http://a/***?d"),
            ("http://a/http:me:s3cret@b/", "http://a/***"),
            (
                "http://a/x?y=1&u=ftp://me:s3cret@b/&z",
                "http://a/x?y=1&u=***&z",
            ),
            ("http://a/x?http://me:s3cret@b/?u=1", "http://a/x?***"),
            (
                "http://a/?u=http%3A%2F%2Fme%3As3cret%40b%2F",
                "http://a/?u=***",
            ),
            (
                "http://a/?u=http%253A%252F%252Fme%253As3cret%2540b",
                "http://a/?u=***",
            ),
            ("http://a/?u=http://me:s3cret%40b/", "http://a/?u=***"),
            ("http://a/?x=http:\\\\me:s3cret@b/", "http://a/?x=***"),
            ("http://a/x?y,http://me:s3/cret@b/", "http://a/x?***"),
            ("http://a/jdbc:postgresql://me:s3cret@b/", "http://a/***"),
            ("http://http://me:s3cret@a/", "http://http/***"),
            ("https://a:1/?http%3a//me:s3cret@b=u", "https://a:1/?***"),
            ("http://a/?next=//me:s3cret@b/", "http://a/?next=***"),
            ("http://a/?u=http:%09//me:s3cret@b", "http://a/?u=***"),
            ("http://a/?u=ht%0Atp:/%0D/me:s3cret@b", "http://a/?u=***"),
            ("http://a/x?y&//me:s3cret@b/", "http://a/x?y&***"),
            ("http://a/?u=%2F%2Fme%3As3cret%40b", "http://a/?u=***"),
            ("http://a/?u=\\\\me:s3cret@b", "http://a/?u=***"),
            ("http://a/?u=/\\/me:s3/cret@b", "http://a/?u=***"),
            ("http://a/?u=http://b/?v=//me:s3cret@c/", "http://a/?u=***"),
            (
                "http://a/?u=http%3A%2F%2Fb%2F%3F%2F%2Fme%3As3cret%40c",
                "http://a/?u=***",
            ),
            ("http://a/http%3A//b/%3Fv=//me:s3cret@c", "http://a/***"),
            ("http://a/x#http://me:s3cret@b", "http://a/x#***"),
            (
                "http://a/x?y=1#z&u=http%3A%2F%2Fme%3As3cret%40b",
                "http://a/x?y=1#z&u=***",
            ),
            ("http://a/?u=//me:s3cret@b#top", "http://a/?u=***#top"),
            ("mailto:me:s3cret@b", "mailto:***"),
            ("mailto:me%3As3cret%40b?subject=x", "mailto:***?subject=x"),
            ("me:s3cret@b:1/x", "me:***"),
            ("me:s3cret%40b/?x=1", "me:***?x=1"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn urls_without_an_inner_password_are_unchanged() {
        for url in [
            "http://a/x",
            "http://a/@me:x",
            "http://a//img:foo@2x.png",
            "http://a/thumb/a//12:30@3x.jpg",
            "http://a/?text=see//note:1@home",
            "http://a/x?to=//tel:0049@sip",
            "http://a/x?to=//b:80/&mail=me@c",
            "http://a/x?to=//b/c:d@e",
            "http://a/x?to=//me@b/",
            "http://a/x?to=/c:d@e",
            "http://a/npm/@a/b@1.0//x:y@z",
            "http://a/npm/@scope%2fname@1.0:beta",
            "http://a/web/http://b/@me",
            "http://a/web/http://b:8080/@me",
            "http://a/web/http://[::1]/@me",
            "http://a/web/http://[::1]:8080/@me",
            "http://a/?u=http://me@b/",
            "http://a/?next=http://b:80&mail=me@c",
            "http://a/?u=mailto:me@b&t=10:30@noon",
            "http://a/x//y?time=10:30@noon",
            "http://localhost//img:foo@2x.png",
            "http://a/x#me@b:c",
            "mailto:me@b?cc=you@c",
            "tel:0049",
        ] {
            assert_eq!(shown(url), url);
        }
    }
}
