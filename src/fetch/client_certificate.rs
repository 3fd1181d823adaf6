//! Certificates that identify the user to servers which ask for one.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureScheme};

use super::connect::current_certificate;
use super::options::{ClientCertificate, TransportError};
use super::pem::missing_end;

/// Maximum size of a file with certificates or a key.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Presents the certificate of the request for which this task is connecting.
#[derive(Debug)]
pub(super) struct RequestCertificate;

impl ResolvesClientCert for RequestCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        current_certificate()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Reads a certificate, those that follow it in the file, and its key.
///
/// # Errors
/// When a file can't be read or is not in PEM, when the key is encrypted, or when it is not the key
/// of the certificate.
pub(super) fn read(files: &ClientCertificate) -> Result<Arc<CertifiedKey>, TransportError> {
    let failed = |path: &Path, cause: String| TransportError::ClientCert {
        path: path.to_owned(),
        cause,
    };
    let (cert, key) = (&files.cert, files.key.as_ref().unwrap_or(&files.cert));
    let pem = pem(cert).map_err(|cause| failed(cert, cause))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| failed(cert, error.to_string()))?;
    if chain.is_empty() {
        let cause = "contains no PEM certificate; for a PKCS#12 file: openssl pkcs12 -in FILE \
                     -noenc -out client.pem";
        return Err(failed(cert, cause.to_owned()));
    }
    let read_key = || {
        let pem = self::pem(key)?;
        if is_encrypted(&pem) {
            return Err(
                "the key is encrypted; decrypt it into a file that only you can read: openssl pkey \
                 -in FILE -out KEY.pem"
                    .to_owned(),
            );
        }
        PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| "contains no usable PEM key, which may be in a file of its own".to_owned())
    };
    let der = read_key().map_err(|cause| failed(key, cause))?;
    CertifiedKey::from_der(chain, der, &provider())
        .map(Arc::new)
        .map_err(|error| failed(key, key_problem(&error)))
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn key_problem(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        _ => "the key is of an unsupported kind".to_owned(),
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| error.to_string())?;
    if pem.len() as u64 > MAX_FILE_BYTES {
        return Err("larger than 1 MiB".to_owned());
    }
    match missing_end(&pem) {
        // What to do about an encrypted key is the better hint.
        Some(why) if !is_encrypted(&pem) => Err(why),
        _ => Ok(pem),
    }
}

/// Whether the key in a PEM file is encrypted: in PKCS#8, or in OpenSSL's older way.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}
