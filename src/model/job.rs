//! Input lines: jobs, invalid lines, and their positions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::{Position, Url};

use super::{
    BodyHashes, Columns, ExpectedTypes, FetchError, InputPosition, ROBOTS_PATH, RawLine, RelPath,
    RobotsBody, SettledJob, Sha256, Sha256Context, SitemapReply,
};

/// Estimated memory of a header beyond its name and value, in bytes: its slot in a map that may
/// be half empty, and two allocations.
const HEADER_BYTES: usize = 256;

/// User name and password from a URL. They are sent to that origin only, and `Debug` does not
/// show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Percent-decoded user name.
    pub user: String,
    /// Percent-decoded password, empty if there was none.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Another URL of the same body, tried when those before it have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The URL, without userinfo and fragment.
    pub url: Url,
    /// The userinfo of the URL.
    pub credentials: Option<Box<Credentials>>,
}

impl Mirror {
    /// Returns its estimated memory, in bytes.
    fn weight(&self) -> usize {
        let credentials = self.credentials.as_ref().map_or(0, |credentials| {
            size_of::<Credentials>() + credentials.user.len() + credentials.password.len()
        });
        size_of::<Self>() + self.url.as_str().len() + credentials
    }
}

/// An input line to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The position of the line.
    pub position: InputPosition,
    /// The URL to fetch, without userinfo and fragment.
    pub url: Url,
    /// The userinfo of the URL.
    pub credentials: Option<Box<Credentials>>,
    /// The line for `--failed FILE`, kept only if it differs from `url`.
    pub raw: Option<Box<RawLine>>,
    /// The options set by the line itself.
    pub options: Option<Box<LineOptions>>,
}

impl Job {
    /// Whether a server chose the origin of its URL.
    #[must_use]
    pub(crate) fn is_foreign(&self) -> bool {
        self.options
            .as_ref()
            .is_some_and(|own_options| own_options.is_foreign)
    }

    /// Returns the bytes held in strings and buffers whose length the line determines.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.url.as_str().len()
            + self.raw.as_ref().map_or(0, |raw| raw.len())
            + self
                .options
                .as_ref()
                .map_or(0, |own_options| own_options.weight())
    }
}

/// Options that a line sets beyond its URL, in formats with more than one field. `Debug` does not
/// show the body; header values are marked as sensitive.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct LineOptions {
    /// The file for the body, below the output directory.
    pub file: Option<RelPath>,
    /// The method; overrides that of the run.
    pub method: Option<Method>,
    /// Headers; each replaces the run's headers of the same name.
    pub headers: HeaderMap,
    /// The request body; overrides that of the run.
    pub body: Option<Bytes>,
    /// Expected length of the decoded body, in bytes.
    pub size: Option<u64>,
    /// Expected hashes of the decoded body.
    pub hashes: Option<Box<BodyHashes>>,
    /// Expected media types of the body; override those of the run.
    pub types: Option<ExpectedTypes>,
    /// Other URLs of the body, in the order in which they are tried.
    pub mirrors: Box<[Mirror]>,
    /// Columns that the record of the line repeats.
    pub columns: Option<Columns>,
    /// The reader that fetches this URL as a sitemap, to read the list from it.
    pub sitemap: Option<SitemapReply>,
    /// Whether a fetched sitemap named the URL of another origin. What the user set for requests is
    /// not meant for it.
    pub is_foreign: bool,
    /// Where the body goes if this is no line, but the robots.txt of an origin.
    pub robots: Option<RobotsBody>,
}

impl fmt::Debug for LineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineOptions")
            .field("file", &self.file)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("body", &self.body.as_ref().map(Bytes::len))
            .field("size", &self.size)
            .field("hashes", &self.hashes)
            .field("types", &self.types)
            .field("mirrors", &self.mirrors.len())
            .finish_non_exhaustive()
    }
}

impl LineOptions {
    /// Whether the line changes the request: method, headers or body.
    #[must_use]
    pub(crate) fn overrides_request(&self) -> bool {
        self.method.is_some() || self.body.is_some() || !self.headers.is_empty()
    }

    /// Returns the estimated memory of its method, headers, body, types, mirrors and columns, in
    /// bytes.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            HEADER_BYTES + name.as_str().len() + value.len()
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let method = self
            .method
            .as_ref()
            .map_or(0, |method| method.as_str().len());
        let types = self.types.as_ref().map_or(0, ExpectedTypes::weight);
        let columns = self.columns.as_ref().map_or(0, Columns::weight);
        let mirrors: usize = self.mirrors.iter().map(Mirror::weight).sum();
        headers + method + types + columns + mirrors + self.body.as_ref().map_or(0, Bytes::len)
    }
}

impl Job {
    /// Returns the file for the body, if the line names one.
    #[must_use]
    pub(crate) fn file_override(&self) -> Option<&RelPath> {
        self.options.as_ref()?.file.as_ref()
    }

    /// Returns the other URLs of the body.
    #[must_use]
    pub(crate) fn mirrors(&self) -> &[Mirror] {
        self.options
            .as_ref()
            .map_or(&[], |own_options| &own_options.mirrors)
    }

    /// Takes the columns that the record of the line repeats.
    #[must_use]
    pub(crate) fn take_columns(&mut self) -> Option<Columns> {
        self.options.as_mut()?.columns.take()
    }

    /// Returns where the body goes if this is not a line but a sitemap to read lines from.
    #[must_use]
    pub(crate) fn sitemap(&self) -> Option<&SitemapReply> {
        self.options.as_ref()?.sitemap.as_ref()
    }

    /// Returns where the body goes if this is not a line but the robots.txt of an origin.
    #[must_use]
    pub(crate) fn robots(&self) -> Option<&RobotsBody> {
        self.options.as_ref()?.robots.as_ref()
    }

    /// Whether it is no line of the list, but a file that the run itself needs.
    #[must_use]
    pub(crate) fn is_auxiliary(&self) -> bool {
        self.sitemap().is_some() || self.robots().is_some()
    }

    /// Creates the job that fetches the robots.txt of an origin, to decide about a URL there; `None`
    /// for a URL that has none.
    #[must_use]
    pub(crate) fn for_robots(url: &Url) -> Option<Self> {
        let url = url.join(ROBOTS_PATH).ok()?;
        Some(Self {
            position: InputPosition {
                number: 0,
                input: Arc::from("robots.txt"),
                line: 0,
            },
            url,
            credentials: None,
            raw: None,
            options: Some(Box::new(LineOptions {
                robots: Some(RobotsBody::default()),
                ..LineOptions::default()
            })),
        })
    }

    /// Returns the user name in the URL, if there is one.
    #[must_use]
    pub(crate) fn user(&self) -> Option<&str> {
        let credentials = self.credentials.as_deref()?;
        Some(credentials.user.as_str()).filter(|user| !user.is_empty())
    }

    /// Returns a hash that distinguishes requests to the same URL: of the user name, the method,
    /// the line's own headers and the body. `None` for a plain GET.
    ///
    /// It is stable across runs, and reveals nothing that cannot be guessed. `method` and `body`
    /// are the values sent, whether set by the line or by the run.
    #[must_use]
    pub(crate) fn request_digest(&self, method: &Method, body: Option<Sha256>) -> Option<String> {
        let none = HeaderMap::new();
        let headers = self
            .options
            .as_ref()
            .map_or(&none, |own_options| &own_options.headers);
        if *method == Method::GET && body.is_none() && headers.is_empty() && self.user().is_none() {
            return None;
        }
        let mut hash = Sha256Context::default();
        // The length prefix keeps different parts from hashing alike when concatenated.
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        let method = Some(method).filter(|method| **method != Method::GET);
        add(method.map_or("", Method::as_str).as_bytes());
        // A header map has no order across names; the values of one name keep theirs.
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        // "" and "@" cannot be header names.
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

/// An invalid input line: settled as failed before anything is sent.
#[derive(Debug, Clone)]
pub(crate) struct InvalidLine {
    /// The position of the line.
    pub position: InputPosition,
    /// The line for output: without passwords and invalid UTF-8.
    pub shown: String,
    /// The line for `--failed FILE`.
    pub raw: Box<RawLine>,
    /// Always of kind `invalid_url`.
    pub error: FetchError,
    /// Columns that its record repeats, if they could be read.
    pub columns: Option<Columns>,
}

/// An entry of a list.
#[derive(Debug)]
pub(crate) enum ListEntry {
    /// A valid line to fetch.
    Job(Job),
    /// A line that cannot be fetched.
    Invalid(InvalidLine),
    /// A sitemap to read further entries from. It is not counted as input.
    Sitemap(Job),
    /// A sitemap that could not be fetched or read, which is counted as input.
    Failed(Box<SettledJob>),
}

/// Scheme, host and port: the key for limits, holds and connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostKey(Box<str>);

impl HostKey {
    /// Returns the key as a slice of a URL without userinfo, so that looking up a known host does
    /// not allocate.
    #[must_use]
    pub(crate) fn key_str(url: &Url) -> &str {
        &url[..Position::BeforePath]
    }

    /// Returns the key as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether both URLs have the same origin, or the second is an upgrade from `http` to `https` on
/// the default ports.
#[must_use]
pub(crate) fn is_same_origin(from: &Url, to: &Url) -> bool {
    let upgrade = from.scheme() == "http"
        && to.scheme() == "https"
        && from.host() == to.host()
        && from.port().is_none()
        && to.port().is_none();
    upgrade || HostKey::key_str(from) == HostKey::key_str(to)
}

impl HostKey {
    /// Returns the host in the key, without scheme and port.
    #[must_use]
    pub(crate) fn host_name(&self) -> &str {
        let key = &*self.0;
        let host = key.split_once("://").map_or(key, |(_, host)| host);
        match host.find(']') {
            Some(end) => host.get(..=end).unwrap_or(host),
            None => host.split(':').next().unwrap_or(host),
        }
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
impl Job {
    /// Creates the job of a line that has only a URL.
    pub(crate) fn plain(url: &str) -> Self {
        Self {
            position: InputPosition::first(),
            url: Url::parse(url).unwrap(),
            credentials: None,
            raw: None,
            options: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn job(user: Option<&str>, own_options: LineOptions) -> Job {
        Job {
            credentials: user.map(|user| {
                let (user, password) = (user.to_owned(), "p".to_owned());
                Box::new(Credentials { user, password })
            }),
            options: Some(Box::new(own_options)),
            ..Job::plain("http://a.test/")
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> LineOptions {
        let mut own_options = LineOptions::default();
        own_options
            .headers
            .append(name, HeaderValue::from_static(value));
        own_options
    }

    #[test]
    fn a_host_key_names_its_host() {
        for (url, name) in [
            ("http://a.test/", "a.test"),
            ("https://a.test:81/x:y", "a.test"),
            ("http://[::1]:81/", "[::1]"),
            ("http://[::1]/", "[::1]"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(HostKey::from(HostKey::key_str(&url)).host_name(), name);
            assert_eq!(url.host_str(), Some(name));
        }
    }

    #[test]
    fn the_digest_depends_on_method_headers_body_and_user() {
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

    /// The file, the expected size and hash, and the password are not part of the digest.
    #[test]
    fn a_plain_get_needs_no_digest() {
        let own_options = LineOptions {
            size: Some(1),
            method: Some(Method::GET),
            ..LineOptions::default()
        };
        for user in [None, Some("")] {
            let job = job(user, own_options.clone());
            assert_eq!(job.request_digest(&Method::GET, None), None);
        }
    }

    #[test]
    fn the_digest_is_stable_and_ignores_the_order_of_headers() {
        let names = ["accept", "x-a", "cookie", "x-b"];
        let digest = |names: &mut dyn Iterator<Item = &'static str>| {
            let mut own_options = LineOptions::default();
            for name in names {
                own_options
                    .headers
                    .append(name, HeaderValue::from_static(name));
            }
            job(None, own_options)
                .request_digest(&Method::GET, None)
                .unwrap()
        };
        let forwards = digest(&mut names.into_iter());
        assert_eq!(forwards, digest(&mut names.into_iter().rev()));
        assert_eq!(forwards, "0c167186d6a32541");
    }
}
