//! The errors of a URL: one closed enum, with a stable name for every kind.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use http::StatusCode;

use super::give_up::GiveUpReason;
use super::hint::Hint;
use super::kind::ErrorKind;
use super::text::format_duration;
use super::tls_text::tls_text;

/// The cause of a [`FetchError`]: the message of the relevant errors down to the root
/// cause, and the error itself. Cheap to clone, so that one failed probe can fail many jobs.
#[derive(Debug, Clone)]
pub struct Cause {
    text: Arc<str>,
    error: Option<Arc<dyn Error + Send + Sync>>,
    hint: Option<Hint>,
}

impl Cause {
    /// A cause that is only text.
    #[must_use]
    pub fn from_text(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            error: None,
            hint: None,
        }
    }

    /// A cause with the underlying error; users see `text`.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>, error: Arc<dyn Error + Send + Sync>) -> Self {
        Self {
            text: text.into(),
            error: Some(error),
            hint: None,
        }
    }

    /// The cause made of an error and all its sources.
    #[must_use]
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(chain_text(&error), Arc::new(error))
    }

    /// Adds what may help, if anything does.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<Option<Hint>>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}

/// Formats an error and its sources in one line, outermost first. A source that only repeats
/// an outer message is left out.
pub(crate) fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = link_text(error);
    let mut next = error.source();
    while let Some(source) = next {
        let inner = link_text(source);
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = source.source();
    }
    text
}

/// The message of a single error, without its sources.
///
/// A TLS error is wrapped in an `io::Error` and displays as Rust code, so [`tls_text`] words it.
/// For a connection closed without a TLS `close_notify`, rustls displays a link to its manual.
fn link_text(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    loop {
        if let Some(tls) = inner.downcast_ref() {
            return tls_text(tls);
        }
        let io = inner.downcast_ref::<io::Error>();
        if let Some(io) = io.filter(|io| io.kind() == io::ErrorKind::UnexpectedEof)
            && io.to_string().contains("://")
        {
            return "the peer closed the connection".to_owned();
        }
        match io.and_then(io::Error::get_ref) {
            Some(below) => inner = below,
            None => return lower_first(&error.to_string()),
        }
    }
}

/// Lowercases the first letter: operating systems write `Connection refused`, but here it
/// continues a sentence. An acronym (`TLS`, `HTTP`) stays as it is.
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeLimit {
    /// No response head within `--stall-timeout`.
    Head(Duration),
    /// The same through a proxy, given by host and port: it may be the cause.
    ProxyHead(Duration, Arc<str>),
    /// The whole attempt took longer than `-m/--max-time`.
    Attempt(Duration),
    /// The decoders of other bodies held all the memory reserved for windows.
    Decoder(Duration),
    /// Other large bodies held all the spool files.
    Gathering(Duration),
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(limit) => write!(f, "no response head within {}", format_duration(*limit)),
            Self::ProxyHead(limit, proxy) => write!(
                f,
                "no response head through the proxy {proxy} within {}",
                format_duration(*limit)
            ),
            Self::Attempt(limit) => {
                write!(f, "attempt exceeded {}", format_duration(*limit))
            }
            Self::Gathering(limit) => write!(
                f,
                "no spool file for the body within {}: other large bodies use them all",
                format_duration(*limit)
            ),
            Self::Decoder(limit) => write!(
                f,
                "no memory to decode the body within {}: other compressed bodies use it all",
                format_duration(*limit)
            ),
        }
    }
}

/// Why a redirect cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectProblem {
    /// The same request, cookies included, would be sent for the fourth time.
    #[error("redirect loop: {0} already requested 3 times with the same cookies")]
    Loop(String),
    /// More redirects than `--max-redirects`.
    #[error("more than {0} redirects")]
    TooMany(u32),
    /// The `Location` header is missing or not a URL.
    #[error("{status} without a valid Location")]
    NoLocation {
        /// The status of the redirect.
        status: StatusCode,
    },
    /// Following it would send the request body to another host.
    #[error("{status} would resend the request body to another host")]
    BodyAbroad {
        /// The status of the redirect.
        status: StatusCode,
    },
    /// The new URL, of this many bytes, does not fit into the memory for queued redirects.
    #[error("redirect URL of {0} bytes rejected: queued URLs already take 64 MiB")]
    TooLong(usize),
    /// The `Location` has a scheme other than http and https.
    #[error("redirect to unsupported scheme {0}; only http and https are fetched")]
    Scheme(String),
}

/// What a site says against fetching a URL.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RobotsProblem {
    /// This pattern in the robots.txt of its origin disallows it.
    #[error("disallowed by robots.txt: {0}")]
    Disallowed(String),
    /// The robots.txt of its origin could not be read, so that nothing there may be requested.
    #[error("not requested, because robots.txt could not be read: {0}")]
    Unread(#[source] Arc<FetchError>),
    /// The response says so, in this header.
    #[error("use reserved by the site: {0}")]
    Reserved(String),
}

/// Why a URL was not fetched.
///
/// The `Display` text is the whole message: what failed and why, down to the root cause, in
/// lower case. [`hint`](Self::hint) names what may help, for a program that has words for it.
/// [`kind`](Self::kind) is the stable name in records and summaries.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The input line is not a valid request: the URL, the row, or the line's own method,
    /// headers, file or checksum.
    #[error("invalid input: {reason}")]
    InvalidUrl {
        /// What is wrong.
        reason: String,
        /// What may help.
        hint: Option<Hint>,
    },
    /// The host name could not be resolved.
    #[error("could not resolve {host}: {cause}")]
    Dns {
        /// The host name.
        host: String,
        /// True if the resolver reported that the name does not exist (final); false if it
        /// could not tell (worth a retry).
        not_found: bool,
        /// The resolver's error.
        #[source]
        cause: Cause,
    },
    /// The host refused the TCP connection: nothing listens on the port.
    #[error("could not connect: {cause}")]
    Refused {
        /// The operating system's error.
        #[source]
        cause: Cause,
    },
    /// No route, network down, or no permission to connect.
    #[error("could not connect: {cause}")]
    Unreachable {
        /// True if this machine ran out of file descriptors or local ports, which does not
        /// count against the host.
        exhausted: bool,
        /// The operating system's error.
        #[source]
        cause: Cause,
    },
    /// DNS, TCP and TLS together took longer than `--connect-timeout`.
    #[error(
        "no connection{} within {}",
        proxy.as_deref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default(),
        format_duration(*limit)
    )]
    ConnectTimeout {
        /// The exceeded limit.
        limit: Duration,
        /// Host and port of the proxy, if one was used: it may be the cause.
        proxy: Option<Arc<str>>,
    },
    /// The TLS handshake failed: certificate, host name, protocol version.
    #[error("TLS failed: {cause}")]
    Tls {
        /// The TLS library's error.
        #[source]
        cause: Cause,
    },
    /// The proxy was reached but did not connect to the host.
    #[error("proxy error: {cause}")]
    Proxy {
        /// The status of its response to CONNECT, if it sent one.
        status: Option<StatusCode>,
        /// True if a retry would fail the same way: it requires other credentials, or a rule
        /// forbids the host.
        is_final: bool,
        /// What the proxy reported.
        #[source]
        cause: Cause,
    },
    /// The response head did not arrive in time, or the attempt took too long.
    #[error("{limit}")]
    Timeout {
        /// The exceeded limit.
        limit: TimeLimit,
    },
    /// The body arrived too slowly.
    #[error(
        "body stalled: {received} bytes in {}",
        format_duration(*window)
    )]
    Stalled {
        /// Length of the measured window.
        window: Duration,
        /// Bytes received within it.
        received: u64,
    },
    /// The connection was closed or reset before the response was complete.
    #[error("connection lost: {cause}")]
    Reset {
        /// The error of the operating system or the HTTP library.
        #[source]
        cause: Cause,
    },
    /// The body ended early.
    #[error("body truncated: {}", truncation_text(*received, *expected))]
    Truncated {
        /// Bytes received.
        received: u64,
        /// The announced length in bytes, if there was one.
        expected: Option<u64>,
    },
    /// The response is not valid HTTP.
    #[error("invalid HTTP response: {cause}")]
    Protocol {
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// The redirect cannot be followed.
    #[error("{problem}")]
    Redirect {
        /// Why.
        problem: RedirectProblem,
    },
    /// The site does not want it fetched or kept.
    #[error("{problem}")]
    Robots {
        /// What it says.
        problem: RobotsProblem,
    },
    /// A final status other than 2xx.
    #[error("{}{}", status_text(*status), note.as_ref().map(|note| format!("; {note}")).unwrap_or_default())]
    Status {
        /// The status.
        status: StatusCode,
        /// The delay that the server requested with `Retry-After` or rate limit headers.
        retry_after: Option<Duration>,
        /// Why the requested delay was not honoured.
        note: Option<GiveUpReason>,
    },
    /// The body is not valid for its `Content-Encoding`.
    #[error("could not decode the {coding} body: {cause}")]
    Decode {
        /// The content coding.
        coding: String,
        /// The decoder's error.
        #[source]
        cause: Cause,
    },
    /// The body is larger than `--max-size`.
    #[error(
        "body exceeds {}{}",
        ByteSize(*limit),
        announced.map(|size| format!("; {size} bytes announced")).unwrap_or_default()
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The announced length in bytes, if the head already exceeded the limit.
        announced: Option<u64>,
    },
    /// The body does not match the size or checksum in the list, or in the headers of its response.
    #[error("content mismatch: {0}")]
    Checksum(Cause),
    /// The body is not of an expected media type: its `Content-Type` is another one, or it is an
    /// HTML page.
    #[error("unexpected content type: {0}")]
    ContentType(Cause),
    /// The address is not allowed.
    #[error("denied: {0}")]
    Denied(Cause),
    /// The file belongs to another input line, which fetches another body.
    #[error("conflict: {0}")]
    Conflict(Cause),
    /// The body could not be saved.
    #[error("could not save: {cause}")]
    Save {
        /// The file and the operating system's error.
        #[source]
        cause: Cause,
        /// True if nothing else can be saved either: the disk is full or broken.
        ends_run: bool,
    },
    /// Failed without another attempt because the whole host was given up. Has the kind of the
    /// error that decided that.
    #[error("{error}; {why}")]
    HostGivenUp {
        /// The error of the last attempt at the host.
        #[source]
        error: Arc<FetchError>,
        /// Why the host was given up.
        why: GiveUpReason,
    },
}

fn truncation_text(received: u64, expected: Option<u64>) -> String {
    match expected {
        Some(expected) => format!("received {received} of {expected} bytes"),
        None => format!("received {received} bytes, but no end of body"),
    }
}

fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        // Only a proxy sends it, for a plain http request that it forwards.
        Some(reason) if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("407 {reason}; missing or wrong proxy user and password")
        }
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

impl FetchError {
    /// Returns the kind of this error: its stable name.
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
            Self::Robots { .. } => ErrorKind::Robots,
            Self::Status { .. } => ErrorKind::Status,
            Self::Decode { .. } => ErrorKind::Decode,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Checksum(_) => ErrorKind::Checksum,
            Self::ContentType(_) => ErrorKind::ContentType,
            Self::Denied(_) => ErrorKind::Denied,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Save { .. } => ErrorKind::Save,
            Self::HostGivenUp { error, .. } => error.kind(),
        }
    }

    /// Whether the same request may well succeed later.
    ///
    /// The statuses are those that servers and proxies use for temporary failures (RFC 9110 §15,
    /// RFC 6585 §4, RFC 8470 §5.2; 520–524 are a large CDN's codes for an origin in trouble).
    /// With `Retry-After`, a 403 means a rate limit, and a 202 that the content is not ready yet.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dns { not_found, .. } => !not_found,
            Self::Proxy { is_final, .. } => !is_final,
            Self::HostGivenUp { error, .. } => error.is_transient(),
            Self::Robots { problem } => matches!(problem, RobotsProblem::Unread(_)),
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
            | Self::ContentType(_)
            | Self::Denied(_)
            | Self::Conflict(_)
            | Self::Save { .. } => false,
        }
    }

    /// Whether the site reserves the use of a response.
    #[must_use]
    pub(crate) fn is_reservation(&self) -> bool {
        matches!(
            self,
            Self::Robots {
                problem: RobotsProblem::Reserved(_)
            }
        )
    }

    /// Returns what may help, if the cause tells.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::InvalidUrl { hint, .. } => *hint,
            Self::Dns { cause, .. }
            | Self::Refused { cause }
            | Self::Unreachable { cause, .. }
            | Self::Tls { cause }
            | Self::Proxy { cause, .. }
            | Self::Reset { cause }
            | Self::Protocol { cause }
            | Self::Decode { cause, .. }
            | Self::Checksum(cause)
            | Self::ContentType(cause)
            | Self::Denied(cause)
            | Self::Conflict(cause)
            | Self::Save { cause, .. } => cause.hint,
            Self::Status { status, .. } => (*status == StatusCode::PROXY_AUTHENTICATION_REQUIRED)
                .then_some(Hint::CheckProxyUser),
            Self::HostGivenUp { error, .. } => error.hint(),
            Self::ConnectTimeout { .. }
            | Self::Timeout { .. }
            | Self::Stalled { .. }
            | Self::Truncated { .. }
            | Self::Redirect { .. }
            | Self::Robots { .. }
            | Self::TooLarge { .. } => None,
        }
    }

    /// Returns the delay that the server requested with `Retry-After` or rate limit headers; nothing
    /// for a host that was given up, which asked for it in an earlier response.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the status that failed the job, if one did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::HostGivenUp { error, .. } => error.status(),
            _ => None,
        }
    }

    /// Returns the status of a proxy's response to CONNECT, if it sent one. It is not a status of
    /// the host.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        match self {
            Self::Proxy { status, .. } => *status,
            Self::HostGivenUp { error, .. } => error.proxy_status(),
            _ => None,
        }
    }

    /// Whether another address of the host may do better than the one that was connected to.
    pub(crate) fn may_be_the_address(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Timeout | ErrorKind::Stalled | ErrorKind::Reset | ErrorKind::Truncated
        )
    }

    /// Whether no byte of the request was sent, so that even a non-idempotent method may be
    /// retried (RFC 9110 §9.2.2).
    #[must_use]
    pub fn is_before_request(&self) -> bool {
        match self.kind() {
            ErrorKind::Dns
            | ErrorKind::Refused
            | ErrorKind::Unreachable
            | ErrorKind::ConnectTimeout
            | ErrorKind::Proxy => true,
            ErrorKind::InvalidUrl
            | ErrorKind::Tls
            | ErrorKind::Timeout
            | ErrorKind::Stalled
            | ErrorKind::Reset
            | ErrorKind::Truncated
            | ErrorKind::Protocol
            | ErrorKind::Redirect
            | ErrorKind::Robots
            | ErrorKind::Status
            | ErrorKind::Decode
            | ErrorKind::TooLarge
            | ErrorKind::Checksum
            | ErrorKind::ContentType
            | ErrorKind::Conflict
            | ErrorKind::Denied
            | ErrorKind::Save => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_includes_the_root_cause_and_repeats_nothing() {
        let io = std::io::Error::from_raw_os_error(111);
        let error = FetchError::Refused {
            cause: Cause::from_error(io),
        };
        insta::assert_snapshot!("last_cause", error);
    }

    #[test]
    fn a_wrapped_tls_error_is_worded_for_users() {
        let expired = rustls::CertificateError::Expired;
        let inner = io::Error::other(rustls::Error::InvalidCertificate(expired));
        insta::assert_snapshot!("tls_in_words", chain_text(&io::Error::other(inner)));
    }

    #[test]
    fn the_link_to_the_rustls_manual_is_replaced() {
        let text = "peer closed connection: https://docs.rs/rustls/latest/rustls/manual/";
        let rustls = io::Error::new(io::ErrorKind::UnexpectedEof, text);
        let closed = chain_text(&io::Error::other(rustls));
        assert_eq!(closed, "the peer closed the connection");
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "truncated");
        assert_eq!(chain_text(&cut), "truncated");
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
            assert_eq!(error.is_transient(), transient, "{code} with Retry-After");
        }
    }
}
