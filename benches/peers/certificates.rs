//! Certificates for addresses, and an authority that clients trust beside those of the system.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Where Debian and its like keep the authorities of the system.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The authority alone. curl 7 reads the file for each connection: with those of the system it
/// takes 22 ms of them each, and nobody would wait for it.
pub const ALONE: &str = "alone.pem";
/// The file for clients as a user has it: some 150 authorities, and one more.
pub const WITH_SYSTEM: &str = "with-system.pem";

/// Writes a certificate and its key for each address to the folder, [`ALONE`] and
/// [`WITH_SYSTEM`].
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
