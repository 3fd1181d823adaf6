//! From text to a URL that can be fetched.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::model::{Credentials, harmless, mask_userinfo};

const NO_SCHEME: &str = "no scheme; URLs start with http:// or https://";
/// As much of a bad line as is shown.
const MAX_SHOWN: usize = 2048;
/// Fields of JSON lines whose values may be secret: a bad line is shown only up to them.
const SECRET: [&str; 2] = ["\"headers\"", "\"body"];

/// A URL without userinfo and fragment, and the userinfo.
pub type Parsed = (Url, Option<Box<Credentials>>);

/// Parses by the WHATWG rules, takes out userinfo and fragment.
pub fn parse_url(text: &str) -> Result<Parsed, String> {
    let mut url = Url::parse(text).map_err(|error| explain(text, error))?;
    if !matches!(url.scheme(), "http" | "https") {
        if text.contains('@') && !text.contains("://") {
            return Err(NO_SCHEME.to_owned());
        }
        return Err(match with_https(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => format!(
                "the scheme is {}; only http and https are fetched",
                url.scheme()
            ),
        });
    }
    url.set_fragment(None);
    let credentials = take_credentials(&mut url);
    // The URL standard allows hosts such as `{host}` that no request can be sent to.
    if let Err(error) = url.as_str().parse::<http::Uri>() {
        return Err(error.to_string());
    }
    Ok((url, credentials))
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

fn explain(text: &str, error: url::ParseError) -> String {
    if error == url::ParseError::RelativeUrlWithoutBase {
        return match with_https(text) {
            Some(better) => format!("no scheme; did you mean {better}"),
            None => NO_SCHEME.to_owned(),
        };
    }
    error.to_string()
}

/// The line with `https://` in front, where that makes a likely URL: a name with a dot,
/// or localhost. (`example.com:8080/x` parses, as a URL of scheme `example.com`.)
pub fn with_https(text: &str) -> Option<String> {
    let rest = text.strip_prefix("//").unwrap_or(text);
    let name = rest.split(['/', ':', '?', '#']).next()?;
    let likely = (name.contains('.') && !name.starts_with('.')) || name == "localhost";
    let url = format!("https://{rest}");
    // A line with userinfo is not repeated in a message.
    (likely && !rest.contains('@') && Url::parse(&url).is_ok()).then_some(url)
}

/// A bad line as it may be shown: no password, no control characters, not endless.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.trim_ascii());
    let secret = SECRET.iter().filter_map(|field| text.find(field)).min();
    let cut = secret.filter(|_| text.starts_with('{'));
    let text = cut.and_then(|at| text.get(..at)).unwrap_or(&text);
    let masked = mask_userinfo(text);
    let mut shown: String = harmless(&masked).chars().take(MAX_SHOWN).collect();
    if cut.is_some() || (shown.len() < masked.len() && masked.len() > MAX_SHOWN) {
        shown.push('…');
    }
    shown
}

/// The URL of a line that is bad for another reason, as it may be shown.
pub fn shown_url(text: &str) -> String {
    match parse_url(text.trim()) {
        Ok((url, _)) => url.into(),
        Err(_) => shown(text.as_bytes()),
    }
}
