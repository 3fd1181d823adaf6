//! Formats rustls errors for users. Their own `Display` often shows the Rust name of the variant,
//! sometimes with raw bytes.

use std::fmt::Debug;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
    PeerMisbehaved,
};

use super::error::chain_text;
use super::hint::Hint;
use super::text::escape_control;

const NO_VERSION: &str = "server supports no safe TLS version (1.2 or 1.3)";
const SUITES: &str = "AES-GCM and ChaCha20 with ECDHE (no CBC, no RSA key exchange)";
const GROUPS: &str = "X25519, P-256 and P-384";
const SIGNATURES: &str = "RSA, ECDSA and Ed25519 keys";
const NO_SIGNATURE: &str = "server and client have no signature algorithm in common";
const NO_ALPN: &str = "server supports none of the offered HTTP versions";

/// Maximum number of a certificate's names in a message.
const SHOWN_NAMES: usize = 3;

/// Returns the message for a TLS error.
pub(super) fn tls_text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => of_certificate(certificate),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => of_incompatible(why),
        Error::PeerMisbehaved(why) => of_misbehaved(why),
        Error::InvalidMessage(why) => of_message(why),
        Error::PeerSentOversizedRecord => {
            "server did not speak TLS: a record is too large".to_owned()
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "server sent an unexpected handshake message".to_owned()
        }
        Error::NoCertificatesPresented => "server sent no certificate".to_owned(),
        Error::UnsupportedNameType => "no certificate can match such a host name".to_owned(),
        Error::DecryptError => {
            "cannot decrypt the server's data: damaged in transit, or not TLS".to_owned()
        }
        Error::NoApplicationProtocol => NO_ALPN.to_owned(),
        Error::FailedToGetCurrentTime => "cannot read the local clock".to_owned(),
        Error::FailedToGetRandomBytes => "cannot get random numbers from the system".to_owned(),
        Error::General(text) => escape_control(text).into_owned(),
        Error::Other(OtherError(inner)) => chain_text(&**inner),
        other => spelled_out(other),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "self-signed certificate or unknown CA".to_owned(),
        CertificateError::Expired => "certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("certificate expired{}", day(" on ", *not_after))
        }
        CertificateError::NotValidYet => not_yet(""),
        CertificateError::NotValidYetContext { not_before, .. } => {
            not_yet(&day(" before ", *not_before))
        }
        CertificateError::NotValidForName => "certificate is for a different host name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => of_name(presented),
        CertificateError::Revoked => "certificate has been revoked".to_owned(),
        CertificateError::BadEncoding => "cannot parse the certificate".to_owned(),
        CertificateError::BadSignature => {
            "a signature does not match its key, or the key is too short to be safe".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "certificate has an unknown critical extension".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a certificate has an unknown or unsafe signature (SHA-1, MD5, a short key)".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "not a server certificate".to_owned()
        }
        CertificateError::Other(OtherError(inner)) => of_other(&**inner),
        other => format!("certificate rejected: {}", spelled_out(other)),
    }
}

/// Formats the webpki errors that rustls has no variant for.
fn of_other(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "self-signed certificate, marked as a CA's".to_owned()
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "certificate is not X.509 version 3".to_owned()
        }
        Some(other) => format!("certificate rejected: {}", spelled_out(other)),
        None => chain_text(error),
    }
}

/// Returns what may help.
///
/// It is never something that the run does already: without verification no certificate is
/// rejected, and with certificates to trust the verifier returns its own errors instead of those
/// that would hint at them.
pub(crate) fn tls_hint(error: &Error) -> Option<Hint> {
    use AlertDescription as Alert;
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::AlertReceived(Alert::CertificateRequired | Alert::NoCertificate) => {
            return Some(Hint::PresentCertificate);
        }
        _ => return None,
    };
    match certificate {
        CertificateError::UnknownIssuer => Some(Hint::TrustCa),
        CertificateError::Other(OtherError(inner)) => match inner.downcast_ref()? {
            webpki::Error::CaUsedAsEndEntity => Some(Hint::TrustCertificate),
            _ => Some(Hint::SkipVerification),
        },
        CertificateError::BadEncoding
        | CertificateError::BadSignature
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. } => Some(Hint::SkipVerification),
        _ => None,
    }
}

fn not_yet(before: &str) -> String {
    let when = if before.is_empty() { " yet" } else { before };
    format!("certificate is not valid{when} (or the local clock is wrong)")
}

/// Formats the date of `time` after `before`; empty if it is out of range.
fn day(before: &str, time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .map(|time| format!("{before}{}", time.strftime("%Y-%m-%d")))
        .unwrap_or_default()
}

fn of_name(presented: &[String]) -> String {
    let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
    if names.is_empty() {
        return "certificate names no host: it has no subject alternative name".to_owned();
    }
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| escape_control(name))
        .collect();
    let more = match names.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "certificate is for a different host name: {}{more}",
        shown.join(", ")
    )
}

/// Strips the Rust syntax from a name: webpki writes `DnsName("a.test")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::ProtocolVersion => NO_VERSION.to_owned(),
        // Servers send nothing more specific if they accept none of the cipher suites.
        Alert::HandshakeFailure | Alert::InsufficientSecurity => format!(
            "server aborted the handshake ({}): usually no cipher suite, key-exchange group or \
             signature scheme in common with this client, which supports {SUITES}, over {GROUPS}, \
             with {SIGNATURES}; or the server requires a client certificate",
            named(alert)
        ),
        Alert::NoApplicationProtocol => NO_ALPN.to_owned(),
        Alert::UnrecognisedName => "server does not recognize this host name".to_owned(),
        Alert::CertificateRequired | Alert::NoCertificate => {
            "server requires a client certificate".to_owned()
        }
        Alert::AccessDenied => "server denied access".to_owned(),
        Alert::InternalError => "server failed (alert internal error)".to_owned(),
        _ => format!("server closed the connection ({})", named(alert)),
    }
}

fn no_suite() -> String {
    format!("no cipher suite in common with the server; this client supports {SUITES}")
}

fn no_group() -> String {
    format!("no key-exchange group in common with the server; this client supports {GROUPS}")
}

fn named(alert: AlertDescription) -> String {
    format!("alert {}", spelled_out(&alert))
}

fn of_incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => NO_VERSION.to_owned(),
        PeerIncompatible::NoCipherSuitesInCommon => no_suite(),
        PeerIncompatible::NoKxGroupsInCommon => no_group(),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => NO_SIGNATURE.to_owned(),
        other => format!(
            "server requires an unsupported TLS feature: {}",
            spelled_out(other)
        ),
    }
}

fn of_misbehaved(why: &PeerMisbehaved) -> String {
    match why {
        PeerMisbehaved::SelectedUnofferedCipherSuite
        | PeerMisbehaved::SelectedUnusableCipherSuiteForVersion => no_suite(),
        PeerMisbehaved::SelectedUnofferedKxGroup
        | PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup => no_group(),
        PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme => NO_SIGNATURE.to_owned(),
        PeerMisbehaved::SelectedUnofferedApplicationProtocol => NO_ALPN.to_owned(),
        other => format!("server violated the TLS protocol: {}", spelled_out(other)),
    }
}

fn of_message(why: &InvalidMessage) -> String {
    match why {
        InvalidMessage::UnsupportedCurveType => no_group(),
        other => format!("server did not speak TLS: {}", spelled_out(other)),
    }
}

/// Turns the name of a variant into words: `NoKxGroupsInCommon` becomes "no kx groups in common".
/// The values of its fields are left out.
fn spelled_out(error: &dyn Debug) -> String {
    let name = format!("{error:?}");
    let is_letter = |c: &char| c.is_ascii_alphanumeric();
    let mut text = String::new();
    let mut before = ' ';
    for c in name.chars().take_while(is_letter) {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(Debug, thiserror::Error)]
    #[error("something else")]
    struct PlainError;

    /// Fails if a message contains the syntax of a Rust value.
    fn shows_no_value(text: &str) {
        for mark in ["(", "{", "Error", "::"] {
            let is_plain = |found: &str| {
                found.starts_with("(no CBC")
                    || found.starts_with("(SHA-1")
                    || found.starts_with("(alert ")
                    || found.starts_with("(1.2 or 1.3)")
                    || found.starts_with("(or the local clock")
            };
            if let Some(at) = text.find(mark) {
                assert!(is_plain(&text[at..]), "{mark} in {text}");
            }
        }
        assert!(text.starts_with(char::is_lowercase), "{text}");
    }

    #[test]
    fn no_message_contains_a_rust_value() {
        let date = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let certificates = [
            CertificateError::BadEncoding,
            CertificateError::ExpiredContext {
                time: date(2_000_000_000),
                not_after: date(1_000_000_000),
            },
            CertificateError::NotValidYetContext {
                time: date(0),
                not_before: date(u64::MAX),
            },
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::UnknownRevocationStatus,
            CertificateError::BadSignature,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1, 2],
                supported_algorithms: Vec::new(),
            },
            CertificateError::NotValidForNameContext {
                expected: "a.test".try_into().unwrap(),
                presented: vec!["DnsName(\"b.test\")".to_owned()],
            },
            CertificateError::InvalidPurposeContext {
                required: rustls::ExtendedKeyPurpose::ServerAuth,
                presented: Vec::new(),
            },
            CertificateError::ApplicationVerificationFailure,
            CertificateError::Other(OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity))),
            CertificateError::Other(OtherError(Arc::new(webpki::Error::UnsupportedCertVersion))),
            CertificateError::Other(OtherError(Arc::new(
                webpki::Error::PathLenConstraintViolated,
            ))),
            CertificateError::Other(OtherError(Arc::new(PlainError))),
        ];
        for error in certificates {
            shows_no_value(&tls_text(&Error::InvalidCertificate(error)));
        }
        for code in 0..=255 {
            shows_no_value(&tls_text(&Error::AlertReceived(code.into())));
        }
        for error in [
            Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(None)),
            Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare),
            Error::InvalidMessage(InvalidMessage::MissingData("ServerHello")),
            Error::InvalidMessage(InvalidMessage::DuplicateExtension(7)),
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Handshake,
            },
            Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch),
            Error::Other(OtherError(Arc::new(PlainError))),
            Error::HandshakeNotComplete,
        ] {
            shows_no_value(&tls_text(&error));
        }
    }

    #[test]
    fn the_missing_tls_feature_is_named() {
        use PeerIncompatible as Peer;
        for (error, named) in [
            (Peer::ServerDoesNotSupportTls12Or13.into(), "TLS version"),
            (Peer::NoCipherSuitesInCommon.into(), "cipher suite"),
            (Peer::NoKxGroupsInCommon.into(), "key-exchange group"),
            (
                Peer::NoSignatureSchemesInCommon.into(),
                "signature algorithm",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "cipher suite",
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "TLS version",
            ),
            (
                Error::AlertReceived(AlertDescription::DecodeError),
                "alert decode error",
            ),
        ] {
            let text = tls_text(&error);
            assert!(text.contains(named), "{named} in {text}");
        }
    }

    #[test]
    fn messages_contain_the_dates_and_names_of_the_certificate() {
        let not_after = UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000));
        let expired = CertificateError::ExpiredContext {
            time: not_after,
            not_after,
        };
        assert_eq!(
            of_certificate(&expired),
            "certificate expired on 2001-09-09"
        );
        let names = ["a.test", "b.test", "c.test", "d.test", "e.test"];
        let names = names.map(|name| format!("DnsName(\"{name}\")"));
        assert_eq!(
            of_name(&names),
            "certificate is for a different host name: a.test, b.test, c.test and 2 more"
        );
    }
}
