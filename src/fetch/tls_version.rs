//! Which version of TLS servers speak. The client does not tell, but rustls asks a different method
//! of its verifier for each version.
//!
//! A resumed session asks none. It has the version of an earlier handshake with the same name, so a
//! name that was seen with one version only has that version on all of its connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use url::{Host, Url};

use crate::model::TlsVersion;

/// Maximum number of names whose version is known; later ones are not added. The table takes at
/// most 4 MiB.
const MAX_NAMES: usize = 100_000;

thread_local! {
    /// The server whose certificate was just verified on this thread. rustls verifies certificate
    /// and signature in one go.
    static VERIFIED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The versions of TLS that servers were seen with.
#[derive(Debug, Default)]
pub(super) struct TlsVersions {
    keys: RandomState,
    /// By a hash of the name; `None` after different versions.
    names: Mutex<HashMap<u64, Option<TlsVersion>>>,
}

impl TlsVersions {
    /// Returns the version of all connections to the host of a URL, if that is certain.
    pub(super) fn of(&self, url: &Url) -> Option<TlsVersion> {
        if url.scheme() != "https" {
            return None;
        }
        let key = match url.host()? {
            Host::Domain(name) => self.keys.hash_one(name),
            Host::Ipv4(address) => self.keys.hash_one(address.to_string().as_str()),
            Host::Ipv6(address) => self.keys.hash_one(address.to_string().as_str()),
        };
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&key).copied().flatten()
    }

    fn add(&self, name: &str, version: TlsVersion) {
        let key = self.keys.hash_one(name);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get_mut(&key) {
            *known = known.filter(|known| *known == version);
        } else if names.len() < MAX_NAMES {
            names.insert(key, Some(version));
        }
    }
}

/// Records the version of each handshake, and otherwise leaves everything to another verifier.
#[derive(Debug)]
pub(super) struct VersionRecorder {
    pub inner: Arc<dyn ServerCertVerifier>,
    pub versions: Arc<TlsVersions>,
}

impl VersionRecorder {
    fn add(&self, version: TlsVersion) {
        if let Some(name) = VERIFIED.take() {
            self.versions.add(&name, version);
        }
    }
}

impl ServerCertVerifier for VersionRecorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        VERIFIED.set(Some(server_name.to_str().to_ascii_lowercase()));
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self.inner.verify_tls12_signature(message, cert, dss)?;
        self.add(TlsVersion::V12);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self.inner.verify_tls13_signature(message, cert, dss)?;
        self.add(TlsVersion::V13);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(versions: &TlsVersions, url: &str) -> Option<TlsVersion> {
        versions.of(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_version_is_known_only_if_it_is_certain() {
        let versions = TlsVersions::default();
        versions.add("a.example", TlsVersion::V13);
        versions.add("b.example", TlsVersion::V12);
        versions.add("b.example", TlsVersion::V13);
        versions.add("b.example", TlsVersion::V13);
        versions.add("::1", TlsVersion::V12);
        assert_eq!(
            of(&versions, "https://A.example:8443/x"),
            Some(TlsVersion::V13)
        );
        assert_eq!(of(&versions, "https://b.example/"), None, "several");
        assert_eq!(of(&versions, "https://[::1]/"), Some(TlsVersion::V12));
        assert_eq!(of(&versions, "http://a.example/"), None, "no TLS");
        assert_eq!(of(&versions, "https://c.example/"), None);
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let versions = TlsVersions::default();
        for number in 0..=MAX_NAMES {
            versions.add(&format!("{number}.example"), TlsVersion::V13);
        }
        assert_eq!(of(&versions, "https://0.example/"), Some(TlsVersion::V13));
        assert_eq!(
            of(&versions, &format!("https://{MAX_NAMES}.example/")),
            None
        );
        versions.add("0.example", TlsVersion::V12);
        assert_eq!(of(&versions, "https://0.example/"), None, "still corrected");
    }
}
