//! One input line, and where it stood.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::{Position, Url};

use super::{FetchError, RawLine, RelPath, Sha256, Sha256Context};

/// What a header takes beyond its name and value, in bytes: its place in a map that may be half
/// empty, and two allocations.
const HEADER_BYTES: usize = 256;

/// Where an input line stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPosition {
    /// Dense number over all inputs of the run, from 0: the order of `--ordered`.
    pub number: u64,
    /// Name of the input: a path, `-` for stdin, `argument` for a URL on the command line.
    pub input: Arc<str>,
    /// Line in that input, from 1, blank lines and comments included.
    pub line: u64,
}

/// User name and password that stood in a URL. They are used for that origin only,
/// and `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Percent-decoded user name.
    pub user: String,
    /// Percent-decoded password, empty when there was none.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// One input line that is to be fetched.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where the line stood.
    pub place: InputPosition,
    /// What to fetch, without userinfo and without fragment.
    pub url: Url,
    /// The userinfo of the URL.
    pub credentials: Option<Box<Credentials>>,
    /// The line for `--failed FILE`, kept only where it differs from `url`.
    pub raw: Option<Box<RawLine>>,
    /// What else the line asks for.
    pub wish: Option<Box<LineOptions>>,
}

impl Job {
    /// Bytes that it keeps of its line, which may be as long as it likes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.url.as_str().len()
            + self.raw.as_ref().map_or(0, |raw| raw.len())
            + self.wish.as_ref().map_or(0, |wish| wish.weight())
    }
}

/// What a line asks for beyond its URL: in lists that can say more than that. Its `Debug`
/// shows no body; the values of its headers are sensitive.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LineOptions {
    /// Where the body is saved, below the output folder.
    pub file: Option<RelPath>,
    /// The method, instead of that of the run.
    pub method: Option<Method>,
    /// Headers; each takes the place of those of the run with its name.
    pub headers: HeaderMap,
    /// The body of the request, instead of that of the run.
    pub body: Option<Bytes>,
    /// Length of the decoded body that is expected, in bytes.
    pub size: Option<u64>,
    /// Hash of the decoded body that is expected.
    pub sha256: Option<Sha256>,
}

impl fmt::Debug for LineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish")
            .field("file", &self.file)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("body", &self.body.as_ref().map(Bytes::len))
            .field("size", &self.size)
            .field("sha256", &self.sha256)
            .finish()
    }
}

impl LineOptions {
    /// Whether the request is another one than the URL and the options of the run make.
    #[must_use]
    pub fn overrides_request(&self) -> bool {
        self.method.is_some() || self.body.is_some() || !self.headers.is_empty()
    }

    /// Bytes of its body and headers.
    #[must_use]
    pub fn weight(&self) -> usize {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            HEADER_BYTES + name.as_str().len() + value.len()
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let method = self
            .method
            .as_ref()
            .map_or(0, |method| method.as_str().len());
        headers + method + self.body.as_ref().map_or(0, Bytes::len)
    }
}

impl Job {
    /// Where the line says that its body goes.
    #[must_use]
    pub fn file_override(&self) -> Option<&RelPath> {
        self.wish.as_ref()?.file.as_ref()
    }

    /// The user name that its URL says, if it says one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let credentials = self.credentials.as_deref()?;
        Some(credentials.user.as_str()).filter(|user| !user.is_empty())
    }

    /// What tells its request apart from others to the same URL: the same for the same user name,
    /// method, headers of the line and body in every run, and it gives none of them away that
    /// can't be guessed. `None` for a plain GET. `method` and `body` are those that are sent,
    /// whether the line or the run says so.
    #[must_use]
    pub fn request_digest(&self, method: &Method, body: Option<Sha256>) -> Option<String> {
        let none = HeaderMap::new();
        let headers = self.wish.as_ref().map_or(&none, |wish| &wish.headers);
        if *method == Method::GET && body.is_none() && headers.is_empty() && self.user().is_none() {
            return None;
        }
        let mut hash = Sha256Context::default();
        // With its length in front, no part can pass for the end of another.
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        let method = Some(method).filter(|method| **method != Method::GET);
        add(method.map_or("", Method::as_str).as_bytes());
        // A map of headers has no order of its own; several values of one name have.
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        // No header has such a name.
        if let Some(Sha256(body)) = body {
            add(b"");
            add(&body);
        }
        if let Some(user) = self.user() {
            add(b"@");
            add(user.as_bytes());
        }
        let mut digits = hash.finish().to_string();
        digits.truncate(16);
        Some(digits)
    }
}

/// A line that is no http(s) URL: settled as failed before anything is sent.
#[derive(Debug, Clone)]
pub struct InvalidLine {
    /// Where the line stood.
    pub place: InputPosition,
    /// The line as it may be shown: no password, no invalid UTF-8.
    pub shown: String,
    /// The line for `--failed FILE`.
    pub raw: Box<RawLine>,
    /// Always of kind `invalid_url`.
    pub error: FetchError,
}

/// What one line of a list turned out to be.
#[derive(Debug, Clone)]
pub enum ListEntry {
    /// Something to fetch.
    Job(Job),
    /// Something that can't be fetched.
    Invalid(InvalidLine),
}

/// Scheme, host and port: what limits, holds and connections are kept by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey(Box<str>);

impl HostKey {
    /// The key as it stands at the front of a URL without userinfo, so that finding a
    /// known host allocates nothing.
    #[must_use]
    pub fn key_str(url: &Url) -> &str {
        &url[..Position::BeforePath]
    }
}

impl From<&str> for HostKey {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

impl Borrow<str> for HostKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn job(user: Option<&str>, wish: LineOptions) -> Job {
        Job {
            place: InputPosition {
                number: 0,
                input: "-".into(),
                line: 1,
            },
            url: Url::parse("http://a.test/").unwrap(),
            credentials: user.map(|user| {
                let (user, password) = (user.to_owned(), "p".to_owned());
                Box::new(Credentials { user, password })
            }),
            raw: None,
            wish: Some(Box::new(wish)),
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> LineOptions {
        let mut wish = LineOptions::default();
        wish.headers.append(name, HeaderValue::from_static(value));
        wish
    }

    #[test]
    fn requests_are_told_apart_by_method_headers_body_and_user() {
        let (get, post) = (&Method::GET, &Method::POST);
        let body = |text: &str| Some(Sha256::of(text.as_bytes()));
        let plain = || job(None, LineOptions::default());
        let all = [
            (job(None, LineOptions::default()), post, None),
            (plain(), &Method::HEAD, None),
            (plain(), post, body("a")),
            (plain(), post, body("b")),
            (plain(), post, body("")),
            (plain(), get, body("a")),
            (job(None, with_header("a", "b")), get, None),
            (job(None, with_header("ab", "")), get, None),
            (job(Some("a"), LineOptions::default()), get, None),
            (job(Some("b"), LineOptions::default()), get, None),
            (job(Some("a"), LineOptions::default()), post, None),
        ];
        let digests: std::collections::BTreeSet<_> = all
            .iter()
            .map(|(job, method, body)| job.request_digest(method, *body).unwrap())
            .collect();
        assert_eq!(digests.len(), all.len());
        assert!(digests.iter().all(|digest| digest.len() == 16));
    }

    /// Where the body goes and what it should be is no part of the request, nor is a password.
    #[test]
    fn a_plain_get_needs_no_digest() {
        let wish = LineOptions {
            size: Some(1),
            method: Some(Method::GET),
            ..LineOptions::default()
        };
        for user in [None, Some("")] {
            let job = job(user, wish.clone());
            assert_eq!(job.request_digest(&Method::GET, None), None);
        }
    }

    #[test]
    fn the_digest_is_the_same_in_every_run_and_whatever_the_order_of_headers() {
        let names = ["accept", "x-a", "cookie", "x-b"];
        let digest = |names: &mut dyn Iterator<Item = &'static str>| {
            let mut wish = LineOptions::default();
            for name in names {
                wish.headers.append(name, HeaderValue::from_static(name));
            }
            job(None, wish).request_digest(&Method::GET, None).unwrap()
        };
        let forwards = digest(&mut names.into_iter());
        assert_eq!(forwards, digest(&mut names.into_iter().rev()));
        assert_eq!(forwards, "0c167186d6a32541");
    }
}
