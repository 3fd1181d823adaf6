//! TLS: whose certificates are trusted, and what is offered to servers.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use super::options::{HttpOptions, HttpVersion, TransportError};

/// The configuration for these options. It is made once: its sessions are resumed by whoever
/// shares it.
///
/// # Errors
/// When the file of `cacert` can't be read, or holds no certificates.
pub fn config(options: &HttpOptions) -> Result<ClientConfig, TransportError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As browsers do: as safe as AES-256, with a third less to compute.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Client(error.to_string()))?;
    let trust = |whom| Arc::new(Trust { provider, whom });
    let mut config = match &options.cacert {
        _ if options.insecure => builder
            .dangerous()
            .with_custom_certificate_verifier(trust(Whom::Anybody)),
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(trust(Whom::System(OnceLock::new()))),
    }
    .with_no_client_auth();
    config.alpn_protocols = protocols(options.version);
    Ok(config)
}

/// The protocols that are offered to servers (ALPN), best first.
pub fn protocols(version: HttpVersion) -> Vec<Vec<u8>> {
    match version {
        HttpVersion::Auto => vec!["h2".into(), "http/1.1".into()],
        HttpVersion::Http1 => vec!["http/1.1".into()],
        HttpVersion::Http2PriorKnowledge => vec!["h2".into()],
    }
}

/// Bytes of a file with authorities: those of a system have a quarter of one MiB.
const MOST_ROOTS: u64 = 16 << 20;

fn roots(path: &Path) -> Result<RootCertStore, TransportError> {
    let failed = |cause: String| TransportError::CaCert {
        path: path.to_owned(),
        cause,
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_ROOTS + 1).read_to_end(&mut pem))
        .map_err(|error| failed(error.to_string()))?;
    if pem.len() as u64 > MOST_ROOTS {
        return Err(failed("larger than 16 MiB".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|one| roots.add(one).map_err(|error| error.to_string()))
            .map_err(failed)?;
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

/// Who looks at what a server shows. That it has the key of its certificate is always checked.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    whom: Whom,
}

#[derive(Debug)]
enum Whom {
    /// `--insecure`: whoever answers is believed.
    Anybody,
    /// Whom the system trusts; `None` where it has no certificates. They are read when the first
    /// server shows its own: that takes milliseconds, and many lists have no use for it.
    System(OnceLock<Option<Verifier>>),
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Whom::System(verifier) = &self.whom else {
            return Ok(ServerCertVerified::assertion());
        };
        let verifier = verifier.get_or_init(|| Verifier::new(Arc::clone(&self.provider)).ok());
        // Without one nobody is trusted.
        let nobody = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        verifier.as_ref().ok_or(nobody)?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
