//! Verifies server certificates against the system's authorities or those of a file.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

use crate::model::Hint;

/// Every scheme with which a server may sign. Old servers still use SHA-1. rustls has no names for
/// RSA-PSS with an RSA-PSS key (RFC 8446 §4.2.3) and ECDSA over Brainpool curves (RFC 8734).
const EVERY_SCHEME: [SignatureScheme; 19] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
    SignatureScheme::Unknown(0x081a),
    SignatureScheme::Unknown(0x081b),
    SignatureScheme::Unknown(0x081c),
];

/// Accepts any certificate (`--insecure`). Signatures are not checked either, because that requires
/// parsing the certificate and a key that rustls considers safe. So a server need not even own the
/// key of the certificate it presents.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        EVERY_SCHEME.to_vec()
    }
}

/// Accepts certificates that a trust source vouches for.
#[derive(Debug)]
pub(super) struct SourceVerifier {
    provider: Arc<CryptoProvider>,
    source: TrustSource,
}

#[derive(Debug)]
enum TrustSource {
    /// The authorities of the system; `None` if it has none. They are loaded when the first server
    /// presents its certificate: that takes milliseconds, and many lists never need them.
    System(OnceLock<Option<Verifier>>),
    File(FileCertificates),
}

/// The certificates of a file. Each is trusted when a server presents exactly that certificate;
/// those of authorities also vouch for the certificates they have signed.
#[derive(Debug)]
pub(super) struct FileCertificates {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    certificates: Vec<CertificateDer<'static>>,
}

impl FileCertificates {
    /// Collects the usable certificates.
    ///
    /// # Errors
    /// When none is usable.
    pub(super) fn new(
        certificates: impl Iterator<Item = CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, &'static str> {
        let mut roots = RootCertStore::empty();
        let mut usable = Vec::new();
        for certificate in certificates {
            let parsed = X509Certificate::from_der(&certificate).ok();
            // Otherwise the owner of one server's key could sign for every other host.
            let may_sign = parsed.as_ref().is_none_or(|(_, parsed)| may_sign(parsed));
            let is_root = may_sign && roots.add(certificate.clone()).is_ok();
            if is_root || parsed.is_some() {
                usable.push(certificate);
            } else {
                tracing::warn!("invalid certificate in the CA file, skipped");
            }
        }
        if usable.is_empty() {
            return Err("contains no usable PEM certificate");
        }
        // Building it fails without any root.
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .ok();
        Ok(Self {
            authorities,
            certificates: usable,
        })
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|own| own == certificate)
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.holds(certificate) {
            check_pinned(certificate, name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let authorities = self.authorities.as_ref().ok_or_else(not_in_file)?;
        authorities
            .verify_server_cert(certificate, intermediates, name, &[], now)
            .map_err(|error| match &error {
                // A bad signature means that the issuer has the name of an authority in the
                // file, but another key.
                Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ) => not_in_file(),
                Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))
                    if inner.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
                {
                    not_in_file()
                }
                _ => error,
            })
    }
}

/// Whether a certificate names itself as its authority.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
}

/// Whether a certificate may sign others. Before version 3 of X.509, certificates do not say.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match (certificate.basic_constraints(), certificate.key_usage()) {
        _ if certificate.version() != X509Version::V3 => true,
        (Ok(Some(constraints)), _) => constraints.value.ca,
        (_, Ok(Some(usage))) => usage.value.key_cert_sign(),
        _ => false,
    }
}

/// No certificate of the file vouches for the server's. A type of its own, because the hint for an
/// unknown authority would suggest what is already set.
#[derive(Debug, thiserror::Error)]
#[error("certificate is neither in the file of trusted ones nor signed by a CA in it")]
pub(super) struct NotInFileError;

/// Returns what may help if no certificate of the file vouches for the server's.
pub(super) fn hint_at_file(error: &Error) -> Option<Hint> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.is::<NotInFileError>().then_some(Hint::ExtendTrusted)
        }
        _ => None,
    }
}

fn not_in_file() -> Error {
    let error = OtherError(Arc::new(NotInFileError));
    Error::InvalidCertificate(CertificateError::Other(error))
}

impl SourceVerifier {
    /// Trusts the authorities of the system.
    pub(super) fn by_system(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            source: TrustSource::System(OnceLock::new()),
        }
    }

    /// Trusts the certificates of a file.
    pub(super) fn by_file(provider: Arc<CryptoProvider>, file: FileCertificates) -> Self {
        Self {
            provider,
            source: TrustSource::File(file),
        }
    }

    /// Returns the key of a certificate that is pinned in the file, if rustls can't parse it as
    /// X.509 version 3.
    fn pinned_key(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let TrustSource::File(file) = &self.source else {
            return None;
        };
        if !file.holds(certificate) || ParsedCertificate::try_from(certificate).is_ok() {
            return None;
        }
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(parsed.public_key().raw.to_vec().into())
    }
}

impl ServerCertVerifier for SourceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = match &self.source {
            TrustSource::File(file) => {
                return file.verify(end_entity, intermediates, server_name, now);
            }
            TrustSource::System(verifier) => verifier,
        };
        let verifier = verifier.get_or_init(|| Verifier::new(Arc::clone(&self.provider)).ok());
        // Without a verifier, nothing is trusted.
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let verified = verifier
            .as_ref()
            .ok_or(unknown.clone())?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            // It was compared with an authority of the same name, which did not sign it.
            Error::InvalidCertificate(CertificateError::BadSignature)
                if is_self_issued(end_entity) =>
            {
                unknown
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let Some(key) = self.pinned_key(cert) else {
            return verify_tls12_signature(message, cert, dss, algorithms);
        };
        // rustls offers this for TLS 1.3 only. A TLS 1.2 scheme does not name the curve, so all
        // algorithms of the scheme are tried.
        let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let key = RawPublicKeyEntity::try_from(&key).map_err(unreadable)?;
        let fits = algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == dss.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| {
                let checked = key.verify_signature(*algorithm, message, dss.signature());
                checked.is_ok()
            });
        if fits {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.pinned_key(cert) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, algorithms),
            None => verify_tls13_signature(message, cert, dss, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Checks dates and name of a pinned certificate. Its issuer, signature and CA flag do not matter,
/// because it is known byte by byte.
fn check_pinned(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable)?;
    let unix = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    };
    let not_before = unix(parsed.validity().not_before.timestamp());
    let not_after = unix(parsed.validity().not_after.timestamp());
    if now < not_before {
        let error = CertificateError::NotValidYetContext {
            time: now,
            not_before,
        };
        return Err(error.into());
    }
    if now > not_after {
        let error = CertificateError::ExpiredContext {
            time: now,
            not_after,
        };
        return Err(error.into());
    }
    let has_names = matches!(parsed.subject_alternative_name(), Ok(Some(_)));
    match ParsedCertificate::try_from(certificate) {
        Ok(certificate) if has_names => verify_server_name(&certificate, name),
        _ => check_name(&parsed, name),
    }
}

/// Checks the name where rustls can't. Before version 3 of X.509 there was only the common name,
/// and many self-made certificates still have no other.
fn check_name(certificate: &X509Certificate<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let names = names(certificate);
    let expected = name.to_str();
    if names.iter().any(|name| covers(name, &expected)) {
        return Ok(());
    }
    let error = CertificateError::NotValidForNameContext {
        expected: name.to_owned(),
        presented: names,
    };
    Err(error.into())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        let names = names.value.general_names.iter();
        return names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
                _ => None,
            })
            .collect();
    }
    let common = certificate.subject().iter_common_name();
    common
        .filter_map(|name| name.as_str().ok().map(str::to_owned))
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// Whether a certificate for `pattern` is valid for `host`. A `*` matches exactly one label, the
/// first, and never a part of an address.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let is_name = host.parse::<IpAddr>().is_err();
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((_, rest))) if is_name => {
            domain.contains('.') && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}
