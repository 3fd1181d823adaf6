//! TLS configuration: trusted certificates, cipher suites and ALPN protocols.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CipherSuite, ClientConfig};

use super::client_certificate::RequestCertificate;
use super::options::{HttpOptions, HttpVersion, TransportError};
use super::pem::missing_end;
use super::tls_version::{TlsVersions, VersionRecorder};
use super::trust::{AnyCertificate, FileCertificates, SourceVerifier};

/// Builds the TLS configuration for these options. Clients that share it can resume each other's
/// sessions.
///
/// # Errors
/// When the file of `cacert` can't be read or contains no usable certificate.
pub(crate) fn config(options: &HttpOptions) -> Result<ClientConfig, TransportError> {
    config_recording(options, None)
}

/// Builds the TLS configuration as [`config`] does, with a record of the versions of TLS.
///
/// # Errors
/// As [`config`].
pub(super) fn config_recording(
    options: &HttpOptions,
    versions: Option<&Arc<TlsVersions>>,
) -> Result<ClientConfig, TransportError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // Prefers AES-128, as browsers do: it is as safe as AES-256 and takes a third less CPU time.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Client(error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match &options.cacert {
        _ if options.insecure => Arc::new(AnyCertificate),
        Some(path) => {
            let file = certificates(path, &provider)?;
            Arc::new(SourceVerifier::by_file(provider, file))
        }
        None => Arc::new(SourceVerifier::by_system(provider)),
    };
    let verifier = match versions {
        Some(versions) => Arc::new(VersionRecorder {
            inner: verifier,
            versions: Arc::clone(versions),
        }),
        None => verifier,
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match options.has_certificates() {
        true => builder.with_client_cert_resolver(Arc::new(RequestCertificate)),
        false => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(options.version);
    Ok(config)
}

/// Returns the protocols to offer to servers (ALPN), in order of preference.
pub(super) fn protocols(version: HttpVersion) -> Vec<Vec<u8>> {
    match version {
        HttpVersion::Auto => vec!["h2".into(), "http/1.1".into()],
        HttpVersion::Http1 => vec!["http/1.1".into()],
        HttpVersion::Http2PriorKnowledge => vec!["h2".into()],
    }
}

/// Maximum size of a file of certificates. A system's bundle takes about 256 KiB.
const MAX_ROOTS_BYTES: u64 = 16 << 20;

/// Reads the certificates of a file. Invalid ones are skipped with a warning.
fn certificates(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<FileCertificates, TransportError> {
    let failed = |cause: String| TransportError::CaCert {
        path: path.to_owned(),
        cause,
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_ROOTS_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| failed(error.to_string()))?;
    if pem.len() as u64 > MAX_ROOTS_BYTES {
        return Err(failed("larger than 16 MiB".to_owned()));
    }
    let read = CertificateDer::pem_slice_iter(&pem).filter_map(|certificate| {
        certificate
            .inspect_err(|error| {
                let why = missing_end(&pem).unwrap_or_else(|| error.to_string());
                tracing::warn!("invalid certificate in {}, skipped: {why}", path.display());
            })
            .ok()
    });
    FileCertificates::new(read, provider)
        .map_err(|cause| failed(missing_end(&pem).unwrap_or_else(|| cause.to_owned())))
}
