//! What rustls says, in words. It shows most of its errors as they stand in its source, and some
//! with the bytes of what they are about.

use std::fmt::Debug;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
    PeerMisbehaved,
};

use super::error::chain_text;
use super::text::escape_control;

const NO_VERSION: &str = "the server speaks no version of TLS that is safe: 1.2 and 1.3 are";
const SUITES: &str = "AES-GCM and ChaCha20 with ECDHE (no CBC, no RSA key exchange)";
const GROUPS: &str = "X25519, P-256 and P-384";
const NO_SIGNATURE: &str = "the server has no signature algorithm in common with this client";
const NO_ALPN: &str = "the server speaks no HTTP version that it was offered";

/// Names of a certificate that are told.
const SHOWN_NAMES: usize = 3;

/// What it says.
pub fn tls_text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => of_certificate(certificate),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => of_incompatible(why),
        Error::PeerMisbehaved(why) => of_misbehaved(why),
        Error::InvalidMessage(why) => of_message(why),
        Error::PeerSentOversizedRecord => {
            "what the server sent is not TLS: a record is too large".to_owned()
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server sent a message that has no place in the handshake".to_owned()
        }
        Error::NoCertificatesPresented => "the server showed no certificate".to_owned(),
        Error::UnsupportedNameType => "no certificate can be for such a host name".to_owned(),
        Error::DecryptError => {
            "what the server sent can't be decrypted: it was damaged on the way, or is not TLS"
                .to_owned()
        }
        Error::NoApplicationProtocol => NO_ALPN.to_owned(),
        Error::FailedToGetCurrentTime => "the clock of this machine can't be read".to_owned(),
        Error::FailedToGetRandomBytes => "this machine gives no random numbers".to_owned(),
        Error::General(text) => escape_control(text).into_owned(),
        Error::Other(OtherError(inner)) => chain_text(&**inner),
        other => spelled_out(other),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the certificate has signed itself, or its authority is not known here".to_owned()
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate has expired{}", day(", on ", *not_after))
        }
        CertificateError::NotValidYet => not_yet(String::new()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            not_yet(day(", but from ", *not_before))
        }
        CertificateError::NotValidForName => "the certificate is for another host".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => of_name(presented),
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        CertificateError::BadEncoding => "the certificate can't be read".to_owned(),
        CertificateError::BadSignature => {
            "a signature does not fit the key that it should be made with, or the key is too short \
             to be safe"
                .to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not known here".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "a certificate is signed in a way that is no longer safe (SHA-1, MD5, a short key), or \
             not known here"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one for servers".to_owned()
        }
        CertificateError::Other(OtherError(inner)) => of_other(&**inner),
        other => format!("the certificate is refused: {}", spelled_out(other)),
    }
}

/// What webpki says, and rustls has no error of its own for.
fn of_other(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "the certificate has signed itself, as that of an authority".to_owned()
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the certificate is not of version 3 of X.509".to_owned()
        }
        Some(other) => format!("the certificate is refused: {}", spelled_out(other)),
        None => chain_text(error),
    }
}

/// The flag that helps. With `--insecure` no certificate is refused, and with `--cacert` a verifier
/// has errors of its own where that would be the hint: none names a flag that was given.
pub fn tls_hint(error: &Error) -> Option<&'static str> {
    let Error::InvalidCertificate(certificate) = error else {
        return None;
    };
    match certificate {
        CertificateError::UnknownIssuer => Some(
            "--cacert FILE trusts it, or the authority that signed it; without the package \
             ca-certificates none is known",
        ),
        CertificateError::Other(OtherError(inner)) => match inner.downcast_ref()? {
            webpki::Error::CaUsedAsEndEntity => {
                Some("--cacert FILE trusts exactly the one in the file, and -k accepts any")
            }
            _ => Some("-k accepts any"),
        },
        CertificateError::BadEncoding
        | CertificateError::BadSignature
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. } => Some("-k accepts any"),
        _ => None,
    }
}

fn not_yet(from: String) -> String {
    format!("the certificate is not valid yet, if the clock of this machine is right{from}")
}

/// The day of a point in time, as far as it has one.
fn day(before: &str, time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .map(|time| format!("{before}{}", time.strftime("%Y-%m-%d")))
        .unwrap_or_default()
}

fn of_name(presented: &[String]) -> String {
    let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
    if names.is_empty() {
        return "the certificate is for no host: it has no alternative name, which is where \
                clients look"
            .to_owned();
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
        "the certificate is for another host: {}{more}",
        shown.join(", ")
    )
}

/// A name as people write it; webpki has `DnsName("a.test")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::ProtocolVersion => NO_VERSION.to_owned(),
        // Servers say no more when there is no cipher suite they like.
        Alert::HandshakeFailure | Alert::InsufficientSecurity => format!(
            "the server ended the handshake ({}): most often it has no cipher suite or key-exchange \
             group in common with this client, which has {SUITES}, over {GROUPS}; or it wants a \
             certificate of the client",
            named(alert)
        ),
        Alert::NoApplicationProtocol => NO_ALPN.to_owned(),
        Alert::UnrecognisedName => "the server does not know this host name".to_owned(),
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the server wants to see a certificate of the client".to_owned()
        }
        Alert::AccessDenied => "the server denies access".to_owned(),
        Alert::InternalError => "the server has failed (alert internal error)".to_owned(),
        _ => format!("the server ended the connection ({})", named(alert)),
    }
}

fn no_suite() -> String {
    format!("the server has no cipher suite in common with this client, which has {SUITES}")
}

fn no_group() -> String {
    format!("the server has no key-exchange group in common with this client, which has {GROUPS}")
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
            "the server wants a kind of TLS that is not had here: {}",
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
        other => format!("the server broke the rules of TLS: {}", spelled_out(other)),
    }
}

fn of_message(why: &InvalidMessage) -> String {
    match why {
        InvalidMessage::UnsupportedCurveType => no_group(),
        other => format!("what the server sent is not TLS: {}", spelled_out(other)),
    }
}

/// The name of a variant as words: `NoKxGroupsInCommon` is "no kx groups in common". What it
/// holds is left out.
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

    /// What no message may hold: it is how Rust shows a value.
    fn shows_no_value(text: &str) {
        for mark in ["(", "{", "Error", "::"] {
            let is_plain = |found: &str| {
                found.starts_with("(no CBC")
                    || found.starts_with("(SHA-1")
                    || found.starts_with("(alert ")
            };
            if let Some(at) = text.find(mark) {
                assert!(is_plain(&text[at..]), "{mark} in {text}");
            }
        }
        assert!(text.starts_with(char::is_lowercase), "{text}");
    }

    #[test]
    fn every_error_is_told_tls_text() {
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
    fn what_the_server_lacks_is_named() {
        use PeerIncompatible as Peer;
        for (error, named) in [
            (Peer::ServerDoesNotSupportTls12Or13.into(), "version of TLS"),
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
                "version of TLS",
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
    fn dates_and_names_are_those_of_the_certificate() {
        let not_after = UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000));
        let expired = CertificateError::ExpiredContext {
            time: not_after,
            not_after,
        };
        assert_eq!(
            of_certificate(&expired),
            "the certificate has expired, on 2001-09-09"
        );
        let names = ["a.test", "b.test", "c.test", "d.test", "e.test"];
        let names = names.map(|name| format!("DnsName(\"{name}\")"));
        assert_eq!(
            of_name(&names),
            "the certificate is for another host: a.test, b.test, c.test and 2 more"
        );
    }
}
