//! Fuzzes error classification with deeply nested errors that no library produces.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::super::classify::{FailurePhase, classify, connection_died, was_turned_away};
use super::super::clock::ConnectTimedOut;
use super::super::dns::ResolveError;
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::{ErrorKind, FetchError};

type BoxedError = Box<dyn Error + Send + Sync>;

/// An error of an unknown type.
#[derive(Debug)]
struct OpaqueError(Option<BoxedError>);

impl fmt::Display for OpaqueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something went wrong")
    }
}

impl Error for OpaqueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|inner| inner as _)
    }
}

const IO: [io::ErrorKind; 20] = [
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::AddrNotAvailable,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::TimedOut,
    io::ErrorKind::WriteZero,
    io::ErrorKind::Interrupted,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::Other,
];

/// Returns the innermost error, and its expected kind if it has an unambiguous one.
fn leaf(kind: u8, detail: u8, phase: FailurePhase) -> (BoxedError, Option<ErrorKind>) {
    let connecting = matches!(phase, FailurePhase::Connect);
    let host = format!("h{detail}.test");
    match kind % 8 {
        0 => (Box::new(OpaqueError(None)), None),
        1 => {
            let certificate = [
                CertificateError::Expired,
                CertificateError::UnknownIssuer,
                CertificateError::NotValidForName,
                CertificateError::BadSignature,
            ];
            let certificate = certificate[usize::from(detail) % 4].clone();
            let error = rustls::Error::InvalidCertificate(certificate);
            (Box::new(error), Some(ErrorKind::Tls))
        }
        2 => {
            let error = rustls::Error::AlertReceived(AlertDescription::from(detail));
            (Box::new(error), Some(ErrorKind::Tls))
        }
        3 => {
            let error = h2::Error::from(h2::Reason::from(u32::from(detail % 16)));
            // HTTP_1_1_REQUIRED is final: another attempt would get the same response.
            let kind = match (detail % 16, phase) {
                (_, FailurePhase::Body { .. }) => ErrorKind::Truncated,
                (13, _) => ErrorKind::Protocol,
                _ => ErrorKind::Reset,
            };
            (Box::new(error), Some(kind))
        }
        4 if detail & 1 == 0 => (
            Box::new(ResolveError::not_found(&host)),
            Some(ErrorKind::Dns),
        ),
        4 => (
            Box::new(ResolveError::temporary(&host)),
            Some(ErrorKind::Dns),
        ),
        5 => {
            let limit = Duration::from_millis(u64::from(detail));
            (
                Box::new(ConnectTimedOut { limit, proxy: None }),
                Some(ErrorKind::ConnectTimeout),
            )
        }
        6 => {
            let error = io::Error::from_raw_os_error(i32::from(detail));
            let of_code = match detail {
                // ENFILE, EMFILE: in every phase.
                23 | 24 => Some(ErrorKind::Unreachable),
                // ECONNRESET, EPIPE
                104 | 32 => Some(ErrorKind::Reset),
                _ => None,
            };
            (
                Box::new(error),
                of_code.filter(|_| cfg!(target_os = "linux")),
            )
        }
        _ => {
            let kind = IO[usize::from(detail) % IO.len()];
            let known = match kind {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Some(ErrorKind::Reset)
                }
                io::ErrorKind::ConnectionRefused if connecting => Some(ErrorKind::Refused),
                io::ErrorKind::UnexpectedEof if matches!(phase, FailurePhase::Body { .. }) => {
                    Some(ErrorKind::Truncated)
                }
                _ => None,
            };
            (Box::new(io::Error::from(kind)), known)
        }
    }
}

/// Wraps an error in another one.
fn wrapped(inner: BoxedError, how: u8) -> BoxedError {
    match how % 4 {
        0 => Box::new(OpaqueError(Some(inner))),
        1 => Box::new(io::Error::other(inner)),
        _ => Box::new(io::Error::new(IO[usize::from(how) % IO.len()], inner)),
    }
}

/// Builds a chain. Its outermost error is a concrete type, because `classify` takes no box.
fn build(links: &[u8], phase: FailurePhase) -> (OpaqueError, Option<ErrorKind>) {
    let kind = links.first().copied().unwrap_or_default();
    let detail = links.get(1).copied().unwrap_or_default();
    let (mut error, known) = leaf(kind, detail, phase);
    for how in links.iter().skip(2).take(60) {
        error = wrapped(error, *how);
    }
    (OpaqueError(Some(error)), known)
}

fn try_chain(input: &FuzzInput<'_>) -> FuzzVerdict {
    let (Some(first), links) = (
        input.bytes.first(),
        input.bytes.get(1..).unwrap_or_default(),
    ) else {
        return Ok("nothing");
    };
    let body = FailurePhase::Body {
        received: u64::from(*first),
        expected: Some(u64::MAX),
    };
    let phase = [FailurePhase::Connect, FailurePhase::Head, body][usize::from(*first) % 3];
    let (error, known) = build(links, phase);
    // The transport calls these before it classifies the same errors.
    let _ = (connection_died(&error), was_turned_away(&error));
    let with_another_layer = OpaqueError(Some(Box::new(build(links, phase).0)));
    let found = classify(error, phase);
    let other = classify(with_another_layer, phase);
    hold!(
        found.kind() == other.kind() && found.is_transient() == other.is_transient(),
        "another layer turns {} into {}",
        found.kind(),
        other.kind()
    );
    let allowed = match found.kind() {
        ErrorKind::Reset
        | ErrorKind::Protocol
        | ErrorKind::Dns
        | ErrorKind::Tls
        | ErrorKind::ConnectTimeout => true,
        ErrorKind::Refused => matches!(phase, FailurePhase::Connect),
        ErrorKind::Unreachable => {
            let exhausted = matches!(
                found,
                FetchError::Unreachable {
                    exhausted: true,
                    ..
                }
            );
            exhausted || matches!(phase, FailurePhase::Connect)
        }
        ErrorKind::Truncated => matches!(phase, FailurePhase::Body { .. }),
        _ => false,
    };
    hold!(allowed, "{} in {phase:?}", found.kind());
    if let FetchError::Truncated { received, .. } = found {
        hold!(received == u64::from(*first), "{received} of {first}");
    }
    let of_leaf = |kind| known == Some(kind);
    for kind in [ErrorKind::Dns, ErrorKind::Tls, ErrorKind::ConnectTimeout] {
        hold!(
            found.kind() != kind || of_leaf(kind),
            "{kind} without such an error in the chain"
        );
    }
    let message = found.to_string();
    hold!(!message.is_empty() && message.len() < 20_000, "{message:?}");
    let Some(known) = known else {
        return Ok("classified by an outer error, or unknown");
    };
    hold!(
        found.kind() == known,
        "{known} became {}: {message}",
        found.kind()
    );
    Ok("classified by the innermost error")
}

#[test]
fn error_chains() {
    let fuzz = FuzzCampaign {
        corpus: "error-chains",
        tokens: &[b"\x17", b"\x18", b"\x68", b"\x20", b"\x01\x02\x03\x06\x07"],
        inputs: 10_000,
        one_of: 1,
    };
    fuzz.run(try_chain);
}
