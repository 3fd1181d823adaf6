//! One input line, and where it stood.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::{Position, Url};

use super::{FetchError, RelPath, Sha256};

/// Where an input line stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
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
    pub place: Place,
    /// What to fetch, without userinfo and without fragment.
    pub url: Url,
    /// The userinfo of the URL.
    pub credentials: Option<Box<Credentials>>,
    /// The line as it was, kept only where it differs from `url`; may hold a password,
    /// so it goes nowhere but into `--failed FILE`.
    pub raw: Option<Box<[u8]>>,
    /// What else the line asks for.
    pub wish: Option<Box<Wish>>,
}

/// What a line asks for beyond its URL: in lists that can say more than that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
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

impl Wish {
    /// Whether the request is another one than the URL and the options of the run make.
    #[must_use]
    pub fn changes_request(&self) -> bool {
        self.method.is_some() || self.body.is_some() || !self.headers.is_empty()
    }
}

impl Job {
    /// Where the line says that its body goes.
    #[must_use]
    pub fn named_file(&self) -> Option<&RelPath> {
        self.wish.as_ref()?.file.as_ref()
    }
}

/// A line that is no http(s) URL: settled as failed before anything is sent.
#[derive(Debug, Clone)]
pub struct InvalidLine {
    /// Where the line stood.
    pub place: Place,
    /// The line as it may be shown: no password, no invalid UTF-8.
    pub shown: String,
    /// The line as it was, for `--failed FILE`.
    pub raw: Box<[u8]>,
    /// Always of kind `invalid_url`.
    pub error: FetchError,
}

/// What one line of a list turned out to be.
#[derive(Debug, Clone)]
pub enum Entry {
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
    pub fn str_of(url: &Url) -> &str {
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
