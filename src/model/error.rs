//! Why a URL was not fetched: one closed enum, with a stable name for every kind.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use http::StatusCode;

use super::kind::ErrorKind;
use super::text::format_duration;
use super::tls_text::tls_text;

/// What lies under a [`FetchError`]: the text of the causes that matter, down to the
/// last, and the error itself. Shared, so that one probe can fail many jobs.
#[derive(Debug, Clone)]
pub struct Cause {
    text: Arc<str>,
    error: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// A cause told in words only.
    #[must_use]
    pub fn from_text(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            error: None,
        }
    }

    /// A cause with the error it was read from; `text` is what people see.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>, error: Arc<dyn Error + Send + Sync>) -> Self {
        Self {
            text: text.into(),
            error: Some(error),
        }
    }

    /// The cause of an error as it stands, with everything under it.
    #[must_use]
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(chain_text(&error), Arc::new(error))
    }
}

/// An error and its sources in one line, outermost first; a source that only repeats
/// what was said is left out.
pub(crate) fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = said(error);
    let mut next = error.source();
    while let Some(source) = next {
        let said = said(source);
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}

/// What one error says. One of TLS comes inside of an `io::Error`, and says it as Rust code; of a
/// connection that ended without a word of TLS, rustls says which page programmers should read.
fn said(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    loop {
        if let Some(tls) = inner.downcast_ref() {
            return tls_text(tls);
        }
        let io = inner.downcast_ref::<io::Error>();
        if let Some(io) = io.filter(|io| io.kind() == io::ErrorKind::UnexpectedEof)
            && io.to_string().contains("://")
        {
            return "the other side closed the connection".to_owned();
        }
        match io.and_then(io::Error::get_ref) {
            Some(below) => inner = below,
            None => return lower_first(&error.to_string()),
        }
    }
}

/// Operating systems write `Connection refused`; inside a sentence it is lower case.
/// An acronym (`TLS`, `HTTP`) is left alone.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.as_deref().map(|error| error as _)
    }
}

/// Which time limit ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// No response head within `--stall-timeout`.
    Head(Duration),
    /// The attempt as a whole took longer than `-m/--max-time`.
    Attempt(Duration),
    /// The decoders of other bodies held all the memory there is for windows.
    Decoder(Duration),
    /// Other large bodies had all the files there are for gathering one.
    Gathering(Duration),
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(limit) => write!(
                f,
                "no response head within {} (--stall-timeout)",
                format_duration(*limit)
            ),
            Self::Attempt(limit) => {
                write!(
                    f,
                    "not done within {} (--max-time)",
                    format_duration(*limit)
                )
            }
            Self::Gathering(limit) => write!(
                f,
                "no file to gather the body in within {}: other large bodies have them",
                format_duration(*limit)
            ),
            Self::Decoder(limit) => write!(
                f,
                "no memory to decode the body within {}: other coded bodies hold it",
                format_duration(*limit)
            ),
        }
    }
}

/// What is wrong with a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectProblem {
    /// The server sends the client round in a circle.
    #[error("redirected in a loop: {0} was asked three times, with the same cookies")]
    Loop(String),
    /// More hops than `--max-redirects`.
    #[error("redirected more often than {0} times (--max-redirects)")]
    TooMany(u32),
    /// No `Location`, or one that is no URL.
    #[error("{status} without a usable Location")]
    NoLocation {
        /// The status that asked for the redirect.
        status: StatusCode,
    },
    /// Following it would hand the body of the request to somebody else.
    #[error("{status} to another host would send the body of the request there")]
    BodyAbroad {
        /// The status that asked for it.
        status: StatusCode,
    },
    /// One of so many bytes, while those that wait are long enough already.
    #[error("redirected to a URL of {0} bytes, while those that wait have 64 MiB already")]
    TooLong(usize),
    /// A `Location` that is neither http nor https.
    #[error("redirected to a {0}: URL; only http and https are fetched")]
    Scheme(String),
}

/// Why a URL was not fetched.
///
/// The `Display` text is the whole message: what failed and why, down to the last
/// cause, lower case, with the flag to turn where there is one. [`kind`](Self::kind) is
/// the stable name in records and summaries.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The line is no http(s) URL.
    #[error("not a URL to fetch: {reason}")]
    InvalidUrl {
        /// What is wrong with it, with a hint where one can be given.
        reason: String,
    },
    /// The host name could not be resolved.
    #[error("could not resolve {host}: {cause}")]
    Dns {
        /// The name.
        host: String,
        /// True when the name system said that there is no such name (final); false
        /// when it could not tell now (worth a retry).
        not_found: bool,
        /// What the resolver said.
        #[source]
        cause: Cause,
    },
    /// The host answered that nothing listens there.
    #[error("could not connect: {cause}")]
    Refused {
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// No route, network down, or no permission to connect.
    #[error("could not connect: {cause}")]
    Unreachable {
        /// Whether it was this machine that had nothing left to connect with: no open
        /// file, no port. That says nothing about the host.
        exhausted: bool,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// DNS, TCP and TLS together took longer than `--connect-timeout`.
    #[error(
        "not connected within {} (--connect-timeout){}",
        format_duration(*limit),
        proxy.as_deref().map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default()
    )]
    ConnectTimeout {
        /// The limit that passed.
        limit: Duration,
        /// The proxy on the way, by host and port: it may be what is silent.
        proxy: Option<Arc<str>>,
    },
    /// The TLS handshake failed: certificate, host name, protocol version.
    #[error("no secure connection: {cause}")]
    Tls {
        /// What the TLS library said.
        #[source]
        cause: Cause,
    },
    /// A proxy was reached, and made no connection to the host.
    #[error("the proxy refused: {cause}")]
    Proxy {
        /// The status it said to CONNECT, where it said one.
        status: Option<StatusCode>,
        /// Whether it would say the same again: it wants other credentials, or has a rule.
        is_final: bool,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// No head in time, or the attempt took too long.
    #[error("{limit}")]
    Timeout {
        /// Which limit passed.
        limit: TimeLimit,
    },
    /// The body came too slowly.
    #[error(
        "the body stalled: {received} bytes in {} (--stall-timeout)",
        format_duration(*window)
    )]
    Stalled {
        /// Length of the window that was too quiet.
        window: Duration,
        /// Bytes that came in it.
        received: u64,
    },
    /// The connection was closed or reset before the response was complete.
    #[error("connection lost: {cause}")]
    Reset {
        /// What the system or the HTTP library said.
        #[source]
        cause: Cause,
    },
    /// The body ended before its announced end.
    #[error("the body was cut off: {}", cut_text(*received, *expected))]
    Truncated {
        /// Bytes that came.
        received: u64,
        /// Bytes announced, when a length was.
        expected: Option<u64>,
    },
    /// What the server sent is not HTTP as it should be.
    #[error("broken response: {cause}")]
    Protocol {
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// A redirect that can't be followed.
    #[error("{problem}")]
    Redirect {
        /// What is wrong with it.
        problem: RedirectProblem,
    },
    /// A final status other than 2xx.
    #[error("{}{}", status_text(*status), note.as_deref().map(|note| format!("; {note}")).unwrap_or_default())]
    Status {
        /// The status.
        status: StatusCode,
        /// The wait the server asked for.
        retry_after: Option<Duration>,
        /// Why the server's wish to be asked later was not met.
        note: Option<Arc<str>>,
    },
    /// The body does not decode as its `Content-Encoding` says.
    #[error("could not decode the {coding} body: {cause}")]
    Decode {
        /// The content coding.
        coding: String,
        /// What the decoder said.
        #[source]
        cause: Cause,
    },
    /// The body is larger than `--max-size`.
    #[error(
        "the body is larger than {} (--max-size){}",
        ByteSize(*limit),
        announced.map(|size| format!(": {size} bytes were announced")).unwrap_or_default()
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// The announced size, when it was refused at the head.
        announced: Option<u64>,
    },
    /// The body is not the one the list expects.
    #[error("wrong content: {0}")]
    Checksum(Cause),
    /// A guard forbids this address.
    #[error("refused by a guard: {0}")]
    Denied(Cause),
    /// The body could not be saved.
    #[error("could not save: {cause}")]
    Save {
        /// What the system said, of which file.
        #[source]
        cause: Cause,
        /// Whether nothing else can be saved either: the disk is full, or broken.
        ends_run: bool,
    },
    /// Given up without another try, because of what its host did to others. Of the kind
    /// of the error that decided it.
    #[error("{error}; {why}")]
    HostGivenUp {
        /// What the last try at the host failed with.
        #[source]
        error: Arc<FetchError>,
        /// Why the host was given up.
        why: Arc<str>,
    },
}

fn cut_text(received: u64, expected: Option<u64>) -> String {
    match expected {
        Some(expected) => format!("{received} of {expected} bytes came"),
        None => format!("{received} bytes came, without the end of the body"),
    }
}

fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        // Only a proxy says it, to a request that it would pass on.
        Some(reason) if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("407 {reason}; the proxy got no user and password, or wrong ones (-U)")
        }
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

impl FetchError {
    /// The stable name of this kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidUrl { .. } => ErrorKind::InvalidUrl,
            Self::Dns { .. } => ErrorKind::Dns,
            Self::Refused { .. } => ErrorKind::Refused,
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::ConnectTimeout { .. } => ErrorKind::ConnectTimeout,
            Self::Tls { .. } => ErrorKind::Tls,
            Self::Proxy { .. } => ErrorKind::Proxy,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Stalled { .. } => ErrorKind::Stalled,
            Self::Reset { .. } => ErrorKind::Reset,
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::Protocol { .. } => ErrorKind::Protocol,
            Self::Redirect { .. } => ErrorKind::Redirect,
            Self::Status { .. } => ErrorKind::Status,
            Self::Decode { .. } => ErrorKind::Decode,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Checksum(_) => ErrorKind::Checksum,
            Self::Denied(_) => ErrorKind::Denied,
            Self::Save { .. } => ErrorKind::Save,
            Self::HostGivenUp { error, .. } => error.kind(),
        }
    }

    /// Whether the same request may well succeed later. The statuses are those that
    /// servers and their proxies use for passing trouble (RFC 9110 §15, RFC 6585 §4,
    /// RFC 8470 §5.2; 520–524 are a large CDN's "origin in trouble"). A 403 or 202 that says when
    /// to come back means a rate limit, or a file that is still being made.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dns { not_found, .. } => !not_found,
            Self::Proxy { is_final, .. } => !is_final,
            Self::HostGivenUp { error, .. } => error.is_transient(),
            Self::Status {
                status,
                retry_after,
                ..
            } => match status.as_u16() {
                408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524 => true,
                202 | 403 => retry_after.is_some(),
                _ => false,
            },
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Timeout { .. }
            | Self::Stalled { .. }
            | Self::Reset { .. }
            | Self::Truncated { .. }
            | Self::Checksum(_) => true,
            Self::InvalidUrl { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Redirect { .. }
            | Self::Decode { .. }
            | Self::TooLarge { .. }
            | Self::Denied(_)
            | Self::Save { .. } => false,
        }
    }

    /// The wait the server asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status that failed the job, when one did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::HostGivenUp { error, .. } => error.status(),
            _ => None,
        }
    }

    /// The status that a proxy refused the connection with, when it said one. It is none of the
    /// host's.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        match self {
            Self::Proxy { status, .. } => *status,
            Self::HostGivenUp { error, .. } => error.proxy_status(),
            _ => None,
        }
    }

    /// Whether this error means that no byte of the request left this machine, so that
    /// even a method that is not idempotent may be sent again (RFC 9110 §9.2.2).
    #[must_use]
    pub fn is_before_request(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Dns
                | ErrorKind::Refused
                | ErrorKind::Unreachable
                | ErrorKind::ConnectTimeout
                | ErrorKind::Proxy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_down_to_the_last_cause_and_says_nothing_twice() {
        let io = std::io::Error::from_raw_os_error(111);
        let error = FetchError::Refused {
            cause: Cause::from_error(io),
        };
        insta::assert_snapshot!("last_cause", error);
    }

    #[test]
    fn an_error_of_tls_is_told_in_words_wherever_it_is() {
        let expired = rustls::CertificateError::Expired;
        let inner = io::Error::other(rustls::Error::InvalidCertificate(expired));
        insta::assert_snapshot!("tls_in_words", chain_text(&io::Error::other(inner)));
    }

    #[test]
    fn no_page_for_programmers_is_told() {
        let text = "peer closed connection: https://docs.rs/rustls/latest/rustls/manual/";
        let rustls = io::Error::new(io::ErrorKind::UnexpectedEof, text);
        let closed = chain_text(&io::Error::other(rustls));
        assert_eq!(closed, "the other side closed the connection");
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off");
        assert_eq!(chain_text(&cut), "it is cut off");
    }

    #[test]
    fn every_status_is_transient_or_final_by_the_written_list() {
        let transient = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
        for code in 100..=999 {
            let error = FetchError::Status {
                status: StatusCode::from_u16(code).unwrap(),
                retry_after: None,
                note: None,
            };
            assert_eq!(error.is_transient(), transient.contains(&code), "{code}");
            let error = FetchError::Status {
                status: StatusCode::from_u16(code).unwrap(),
                retry_after: Some(Duration::ZERO),
                note: None,
            };
            let transient = transient.contains(&code) || matches!(code, 202 | 403);
            assert_eq!(error.is_transient(), transient, "{code} that says when");
        }
    }
}
