//! Maps errors of the HTTP libraries to [`FetchError`], by type.
//!
//! The deepest error of a known type decides: a hyper error wraps an `io::Error`, which wraps a
//! rustls error. Only `get_ref` reaches the latter, because `io::Error::source` skips the error
//! it wraps. Message text is never matched.

use std::error::Error;
use std::io;
use std::sync::Arc;

use hyper_util::client::legacy::Error as ClientError;
use hyper_util::client::legacy::connect::{Connected, HttpInfo};

use super::clock::ConnectTimedOut;
use super::connection_info::http_info;
use super::dns::ResolveError;
use super::fd_budget::FdWaitError;
use super::public_address::NonPublicAddress;
use super::repair::BeyondRepair;
use super::trust::hint_at_file;
use super::tunnel::{ProxyError, TunnelRefusal, through};
use crate::model::{Cause, FetchError, Hint, chain_text, is_out_of_descriptors, tls_hint};

/// The phase of a request in which an error occurred.
#[derive(Debug, Clone, Copy)]
pub(super) enum FailurePhase {
    /// While connecting: no byte of the request has been sent.
    Connect,
    /// Before the head of the response was complete.
    Head,
    /// In the body, after `received` of the `expected` announced bytes.
    Body {
        received: u64,
        expected: Option<u64>,
    },
}

/// Classifies an error by the errors it wraps.
pub(super) fn classify(
    error: impl Error + Send + Sync + 'static,
    phase: FailurePhase,
) -> FetchError {
    classify_shared(Arc::new(error), phase, None)
}

/// Like [`classify`], for an error that is already shared. `proxy` is the one of the request, if it
/// has one.
pub(super) fn classify_shared(
    error: Arc<dyn Error + Send + Sync>,
    phase: FailurePhase,
    proxy: Option<&str>,
) -> FetchError {
    let mut found = None;
    let mut place = proxy.map(through);
    for link in ErrorChain::of(&*error) {
        if let Some(proxy) = link.downcast_ref::<ProxyError>() {
            place = proxy.place();
        }
        if let Some(class) = ErrorClass::of(link, phase) {
            found = Some((class, error_text(link)));
        }
    }
    match found {
        Some((class, text)) => {
            let text = match place {
                Some(place) => format!("{place}: {text}"),
                None => text,
            };
            class.into_error(text, &error, phase)
        }
        None => unknown(error, phase),
    }
}

/// Whether the whole connection is gone, as happens when the server closes an idle connection
/// just as it is reused. A stream rejected on a healthy HTTP/2 connection does not count.
pub(super) fn connection_died(error: &(dyn Error + 'static)) -> bool {
    ErrorChain::of(error).any(|link| {
        if let Some(h2) = link.downcast_ref::<h2::Error>() {
            return h2.is_io();
        }
        if let Some(hyper) = link.downcast_ref::<hyper::Error>() {
            return hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed();
        }
        let io = link
            .downcast_ref::<io::Error>()
            .and_then(|io| of_io(io, FailurePhase::Head));
        matches!(io, Some(ErrorClass::Reset | ErrorClass::Cut))
    })
}

/// Returns the addresses of the connection on which a request failed.
pub(super) fn connection_of(error: &(dyn Error + 'static)) -> Option<HttpInfo> {
    client_errors(error).find_map(|client| http_info(client.connect_info()?))
}

/// Whether a request failed on a connection for which HTTP/2 was negotiated. The error itself may be
/// of that connection's socket alone.
pub(super) fn was_over_http2(error: &(dyn Error + 'static)) -> bool {
    let mut connections = client_errors(error).filter_map(ClientError::connect_info);
    connections.any(Connected::is_negotiated_h2)
}

/// Whether a request failed before it had a connection.
pub(super) fn is_connect(error: &(dyn Error + 'static)) -> bool {
    client_errors(error).any(ClientError::is_connect)
}

fn client_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a ClientError> {
    ErrorChain::of(error).filter_map(|link| link.downcast_ref())
}

/// Whether the connector gave up on an address because its share of the timeout had passed.
pub(super) fn is_out_of_time(error: &(dyn Error + 'static)) -> bool {
    ErrorChain::of(error).any(|link| link.is::<tokio::time::error::Elapsed>())
}

/// Whether an HTTP/2 server left the request unprocessed: it shuts the connection down gracefully
/// (GOAWAY with NO_ERROR) or resets the stream with REFUSED_STREAM (RFC 9113 §8.7).
pub(super) fn was_turned_away(error: &(dyn Error + 'static)) -> bool {
    http2_errors(error).any(|h2| match h2.reason() {
        Some(h2::Reason::NO_ERROR) => h2.is_go_away(),
        Some(h2::Reason::REFUSED_STREAM) => h2.is_reset() && h2.is_remote(),
        _ => false,
    })
}

/// Whether an HTTP/2 server requires HTTP/1.1 for the request.
pub(super) fn wants_http1(error: &(dyn Error + 'static)) -> bool {
    sent_reason(error, h2::Reason::HTTP_1_1_REQUIRED)
}

/// Whether an HTTP/2 server throttles the client (ENHANCE_YOUR_CALM).
pub(super) fn was_throttled(error: &(dyn Error + 'static)) -> bool {
    sent_reason(error, h2::Reason::ENHANCE_YOUR_CALM)
}

/// Whether this side closed an HTTP/2 connection to protect itself: the server sent more small
/// frames or headers than the client accepts. Empty DATA frames are legal, and servers that flush
/// often send many, but the client accepts only 100 per connection.
pub(super) fn was_overwhelmed(error: &(dyn Error + 'static)) -> bool {
    http2_errors(error).any(is_own_limit)
}

fn is_own_limit(h2: &h2::Error) -> bool {
    h2.is_library() && h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Whether a server seems not to speak HTTP/1.1: it rejects the protocol during the TLS handshake,
/// or responds with something else, or not at all.
pub(super) fn refuses_http1(error: &(dyn Error + 'static)) -> bool {
    use rustls::{AlertDescription, Error as Tls};
    let is_alert = |tls: &Tls| {
        matches!(
            tls,
            Tls::AlertReceived(AlertDescription::NoApplicationProtocol)
                | Tls::NoApplicationProtocol
        )
    };
    if is_connect(error) {
        let mut errors = ErrorChain::of(error).filter_map(|link| link.downcast_ref::<Tls>());
        return errors.any(is_alert);
    }
    is_broken_head(error) || connection_died(error)
}

fn sent_reason(error: &(dyn Error + 'static), reason: h2::Reason) -> bool {
    http2_errors(error).any(|h2| h2.is_remote() && h2.reason() == Some(reason))
}

/// Whether the error comes from an HTTP/2 connection.
pub(super) fn is_http2(error: &(dyn Error + 'static)) -> bool {
    http2_errors(error).next().is_some()
}

fn http2_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a h2::Error> {
    ErrorChain::of(error).filter_map(|link| link.downcast_ref::<h2::Error>())
}

/// Whether the head of an HTTP/1.1 response could not be parsed.
pub(super) fn is_broken_head(error: &(dyn Error + 'static)) -> bool {
    ErrorChain::of(error)
        .filter_map(|link| link.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}

/// Whether a proxy may have opened a tunnel, but with a response that only the lenient client
/// accepts.
pub(super) fn is_broken_tunnel(error: &(dyn Error + 'static)) -> bool {
    ErrorChain::of(error)
        .filter_map(|link| link.downcast_ref::<ProxyError>())
        .any(ProxyError::may_be_repaired)
}

/// Whether the trailer section of an HTTP/1.1 body could not be parsed. The body is complete then,
/// since its last chunk was received. Within a body, only trailers go through this parser.
pub(super) fn is_broken_trailer(error: &(dyn Error + 'static)) -> bool {
    ErrorChain::of(error).any(|link| link.is::<httparse::Error>())
}

/// Classifies a chain without any error of a known type, by the phase alone.
fn unknown(error: Arc<dyn Error + Send + Sync>, phase: FailurePhase) -> FetchError {
    // The text of the clients' own errors is of no use: "error sending request for url (...)".
    let is_client =
        |link: &&(dyn Error + 'static)| link.is::<reqwest::Error>() || link.is::<ClientError>();
    let below = ErrorChain::of(&*error).find(|link| !is_client(link));
    let text = chain_text(below.unwrap_or(&*error));
    let cause = Cause::new(text, error);
    if matches!(phase, FailurePhase::Connect) {
        FetchError::Unreachable {
            exhausted: false,
            cause,
        }
    } else {
        FetchError::Protocol { cause }
    }
}

/// Iterates over an error and all the errors it wraps, outermost first.
struct ErrorChain<'a>(Option<&'a (dyn Error + 'static)>);

impl<'a> ErrorChain<'a> {
    fn of(error: &'a (dyn Error + 'static)) -> Self {
        Self(Some(error))
    }
}

impl<'a> Iterator for ErrorChain<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let link = self.0?;
        self.0 = match link
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => link.source(),
        };
        Some(link)
    }
}

/// Returns the message of the error that decided the class.
fn error_text(link: &(dyn Error + 'static)) -> String {
    let h2 = link.downcast_ref::<h2::Error>();
    match h2.and_then(|h2| Some((h2, h2.reason()?))) {
        Some((h2, reason)) => http2_text(h2, reason),
        None => chain_text(link),
    }
}

/// Describes an HTTP/2 error with the name of its code (RFC 9113 §7), which is what people search
/// for. h2's own text takes the sender's view: the server's "internal error" would read as ours.
fn http2_text(h2: &h2::Error, reason: h2::Reason) -> String {
    let action = if h2.is_go_away() {
        "closed the connection"
    } else {
        "reset the stream"
    };
    let name = match u32::from(reason) {
        0..=13 => format!("{reason:?}"),
        code => format!("code {code:#x}"),
    };
    match reason {
        h2::Reason::NO_ERROR if h2.is_go_away() => {
            "server closed the connection (GOAWAY)".to_owned()
        }
        h2::Reason::HTTP_1_1_REQUIRED => {
            "server accepts this request over HTTP/1.1 only (HTTP_1_1_REQUIRED)".to_owned()
        }
        _ if is_own_limit(h2) => {
            format!("server sent more small frames or headers than the client accepts ({name})")
        }
        _ if h2.is_library() => format!("server violated HTTP/2 ({name})"),
        _ => format!("server {action} ({name})"),
    }
}

/// The class of one error in the chain.
enum ErrorClass {
    Dns {
        host: String,
        not_found: bool,
    },
    Denied(NonPublicAddress),
    ConnectTimeout(ConnectTimedOut),
    Tls {
        hint: Option<Hint>,
    },
    Proxy(TunnelRefusal),
    Refused,
    Unreachable,
    /// The limit on open files of this machine is reached.
    Exhausted,
    Reset,
    /// The connection or stream ended early: truncated in the body, reset before it.
    Cut,
    Protocol,
}

impl ErrorClass {
    fn of(link: &(dyn Error + 'static), phase: FailurePhase) -> Option<Self> {
        if let Some(lookup) = link.downcast_ref::<ResolveError>() {
            return Some(Self::Dns {
                host: lookup.host.clone(),
                not_found: lookup.not_found,
            });
        }
        if let Some(denied) = link.downcast_ref::<NonPublicAddress>() {
            return Some(Self::Denied(denied.clone()));
        }
        if let Some(timed_out) = link.downcast_ref::<ConnectTimedOut>() {
            return Some(Self::ConnectTimeout(timed_out.clone()));
        }
        if link.is::<BeyondRepair>() {
            return Some(Self::Protocol);
        }
        if link.is::<FdWaitError>() {
            return Some(Self::Exhausted);
        }
        if let Some(tls) = link.downcast_ref::<rustls::Error>() {
            return Some(Self::Tls {
                hint: tls_hint(tls).or_else(|| hint_at_file(tls)),
            });
        }
        if let Some(proxy) = link.downcast_ref::<ProxyError>() {
            return proxy.refusal().cloned().map(Self::Proxy);
        }
        if let Some(h2) = link.downcast_ref::<h2::Error>() {
            // h2 exposes a wrapped I/O error through `get_io` only, not through `source`.
            return match h2.get_io() {
                Some(io) => of_io(io, phase).map(Self::of_connection),
                None => of_http2(h2, phase),
            };
        }
        if let Some(io) = link.downcast_ref::<io::Error>() {
            return of_io(io, phase);
        }
        link.downcast_ref::<hyper::Error>().and_then(of_hyper)
    }

    /// Converts the class of a lost HTTP/2 connection to that of its streams: a body in transfer
    /// is truncated, and its beginning can be kept.
    fn of_connection(self) -> Self {
        match self {
            Self::Reset => Self::Cut,
            other => other,
        }
    }

    fn into_error(
        self,
        text: String,
        error: &Arc<dyn Error + Send + Sync>,
        phase: FailurePhase,
    ) -> FetchError {
        let cause = |text: String| Cause::new(text, Arc::clone(error));
        match self {
            Self::Dns { host, not_found } => FetchError::Dns {
                host,
                not_found,
                cause: cause(text),
            },
            Self::Denied(denied) => denied.into_error(),
            Self::ConnectTimeout(timed_out) => FetchError::ConnectTimeout {
                limit: timed_out.limit,
                proxy: timed_out.proxy,
            },
            Self::Tls { hint } => FetchError::Tls {
                cause: cause(text).with_hint(hint),
            },
            Self::Proxy(refusal) => FetchError::Proxy {
                status: refusal.status,
                is_final: refusal.is_final,
                cause: cause(text).with_hint(refusal.hint),
            },
            Self::Refused => FetchError::Refused { cause: cause(text) },
            Self::Unreachable => FetchError::Unreachable {
                exhausted: false,
                cause: cause(text),
            },
            Self::Exhausted => FetchError::Unreachable {
                exhausted: true,
                cause: cause(text).with_hint(Hint::RaiseOpenFiles),
            },
            Self::Reset => FetchError::Reset { cause: cause(text) },
            Self::Protocol => FetchError::Protocol { cause: cause(text) },
            Self::Cut => match phase {
                FailurePhase::Body { received, expected } => {
                    FetchError::Truncated { received, expected }
                }
                FailurePhase::Connect | FailurePhase::Head => {
                    FetchError::Reset { cause: cause(text) }
                }
            },
        }
    }
}

fn of_io(error: &io::Error, phase: FailurePhase) -> Option<ErrorClass> {
    use io::ErrorKind as Kind;
    if is_out_of_descriptors(error) {
        return Some(ErrorClass::Exhausted);
    }
    let connecting = matches!(phase, FailurePhase::Connect);
    match error.kind() {
        Kind::ConnectionRefused if connecting => Some(ErrorClass::Refused),
        // `TimedOut` is the system's own connect timeout, when it is shorter than ours.
        Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::AddrNotAvailable
        | Kind::PermissionDenied
        | Kind::TimedOut
            if connecting =>
        {
            Some(ErrorClass::Unreachable)
        }
        // On an established connection the same errors mean that it is lost. The server may
        // have received the request.
        Kind::ConnectionRefused
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::TimedOut => Some(ErrorClass::Reset),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            Some(ErrorClass::Reset)
        }
        Kind::UnexpectedEof => Some(ErrorClass::Cut),
        Kind::InvalidData | Kind::InvalidInput => match phase {
            // Invalid framing. Before the body, these kinds wrap TLS errors.
            FailurePhase::Body { .. } => Some(ErrorClass::Protocol),
            FailurePhase::Connect | FailurePhase::Head => None,
        },
        _ => None,
    }
}

fn of_hyper(error: &hyper::Error) -> Option<ErrorClass> {
    if error.is_incomplete_message() {
        return Some(ErrorClass::Cut);
    }
    if error.is_parse() {
        return Some(ErrorClass::Protocol);
    }
    let lost = error.is_canceled() || error.is_closed() || error.is_timeout();
    lost.then_some(ErrorClass::Reset)
}

/// Classifies an HTTP/2 error. A stream or connection that the server ends early is worth another
/// attempt, whatever the code (RFC 9113 §5.4.2, §6.4, §6.8). An error raised by this side means
/// that the server sent an invalid frame, which is final, unless it exceeded a limit of this side.
fn of_http2(error: &h2::Error, phase: FailurePhase) -> Option<ErrorClass> {
    use h2::Reason;
    let in_body = matches!(phase, FailurePhase::Body { .. });
    Some(match error.reason()? {
        // The server never answers this request over HTTP/2.
        Reason::HTTP_1_1_REQUIRED if !in_body => ErrorClass::Protocol,
        Reason::NO_ERROR => ErrorClass::Cut,
        Reason::PROTOCOL_ERROR if ended_early(error, phase) => ErrorClass::Cut,
        _ if error.is_library() && !is_own_limit(error) => ErrorClass::Protocol,
        _ => ErrorClass::Cut,
    })
}

/// Whether a stream ended before its announced length. h2 reports the same error for a stream that
/// exceeds it, so the number of received bytes decides. It does not count the frame with the error,
/// of which h2 tells nothing, so a frame that exceeds the length after shorter ones also appears as
/// early: either way this side resets the stream, and the connection stays open.
fn ended_early(error: &h2::Error, phase: FailurePhase) -> bool {
    let is_short = matches!(
        phase,
        FailurePhase::Body { received, expected: Some(expected) } if received < expected
    );
    is_short && error.is_library() && error.is_reset()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;
    use rustls::CertificateError;

    fn kind(error: impl Error + Send + Sync + 'static, phase: FailurePhase) -> ErrorKind {
        classify(error, phase).kind()
    }

    const BODY: FailurePhase = FailurePhase::Body {
        received: 1,
        expected: Some(2),
    };

    #[test]
    fn io_errors_by_their_kind_and_when_they_come() {
        use ErrorKind as Kind;
        use io::ErrorKind as Io;
        for (io, connect, head, body) in [
            (
                Io::ConnectionRefused,
                Kind::Refused,
                Kind::Reset,
                Kind::Reset,
            ),
            (
                Io::HostUnreachable,
                Kind::Unreachable,
                Kind::Reset,
                Kind::Reset,
            ),
            (
                Io::NetworkUnreachable,
                Kind::Unreachable,
                Kind::Reset,
                Kind::Reset,
            ),
            (Io::ConnectionReset, Kind::Reset, Kind::Reset, Kind::Reset),
            (Io::BrokenPipe, Kind::Reset, Kind::Reset, Kind::Reset),
            (Io::TimedOut, Kind::Unreachable, Kind::Reset, Kind::Reset),
            (Io::UnexpectedEof, Kind::Reset, Kind::Reset, Kind::Truncated),
            (
                Io::InvalidInput,
                Kind::Unreachable,
                Kind::Protocol,
                Kind::Protocol,
            ),
        ] {
            assert_eq!(
                kind(io::Error::from(io), FailurePhase::Connect),
                connect,
                "{io:?}"
            );
            assert_eq!(
                kind(io::Error::from(io), FailurePhase::Head),
                head,
                "{io:?}"
            );
            assert_eq!(kind(io::Error::from(io), BODY), body, "{io:?}");
        }
    }

    #[test]
    fn a_tls_error_is_found_two_layers_deep_and_has_a_hint() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let inner = io::Error::new(io::ErrorKind::InvalidData, tls);
        let error = classify(io::Error::other(inner), FailurePhase::Head);
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert_eq!(error.hint(), Some(Hint::TrustCa));
    }

    #[test]
    fn an_http2_stream_that_ends_early_is_truncated_whatever_its_code() {
        use h2::Reason;
        for code in 0..=13 {
            let error = || h2::Error::from(Reason::from(code));
            let expected = match Reason::from(code) {
                Reason::HTTP_1_1_REQUIRED => ErrorKind::Protocol,
                _ => ErrorKind::Reset,
            };
            assert_eq!(kind(error(), FailurePhase::Head), expected, "{:?}", error());
            assert_eq!(kind(error(), BODY), ErrorKind::Truncated, "{:?}", error());
        }
    }
}
