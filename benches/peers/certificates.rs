//! Certificates for addresses, and a CA that clients trust in addition to those of the system.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Where Debian and similar distributions store the CA certificates.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The CA alone. curl 7 reads the file for each connection, which takes 22 ms if it also contains
/// the CAs of the system.
pub const ALONE: &str = "alone.pem";
/// The file that a typical user has: some 150 CAs, and this one.
pub const WITH_SYSTEM: &str = "with-system.pem";

/// Writes to the directory a certificate and a key for each address, [`ALONE`] and [`WITH_SYSTEM`].
pub fn write(folder: &Path, addresses: impl Iterator<Item = Ipv4Addr>) -> io::Result<()> {
    let authority = authority().map_err(io::Error::other)?;
    let mut all = fs::read(SYSTEM).unwrap_or_default();
    all.extend_from_slice(authority.pem().as_bytes());
    fs::write(folder.join(ALONE), authority.pem())?;
    fs::write(folder.join(WITH_SYSTEM), all)?;
    for address in addresses {
        let name = address.to_string();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(vec![name.clone()]).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &authority);
        let certificate = certificate.map_err(io::Error::other)?;
        fs::write(folder.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of a benchmark");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
