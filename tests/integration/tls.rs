use std::sync::Arc;

use fetchall::ErrorKind;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tempfile::NamedTempFile;

use crate::support::{
    Authority, Done, Run, Server, Texts, TlsServer, VERSIONS, pages, same_everywhere,
    self_signed_pem, showing,
};

/// Fetches one https URL, trusting `authority`.
fn fetch(server: &TlsServer, authority: &Authority, args: &[&str]) -> Done {
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    Run::new()
        .args([&cacert, &server.url()])
        .args(args.iter().copied())
        .go()
}

#[test]
fn a_good_certificate_is_accepted() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.config("localhost", |_| {}));
    let done = fetch(&server, &authority, &[]);
    assert_eq!(
        (done.code, done.record().bytes),
        (Some(0), Some(6)),
        "{}",
        done.stdout
    );
}

#[test]
fn cacert_replaces_the_systems_authorities_and_must_hold_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nothing").unwrap();
    let done = Run::new()
        .text()
        .args([
            &format!("--cacert={}", file.path().display()),
            "https://a.test/",
        ])
        .expect_exit(2);
    insta::assert_snapshot!("cacert_with_nothing", same_everywhere(&done.stderr));
    let whole = std::fs::read_to_string(Authority::new().file().path()).unwrap();
    std::fs::write(file.path(), &whole[..whole.len() - 10]).unwrap();
    let done = Run::new()
        .text()
        .args(["--cacert", file.path().to_str().unwrap()])
        .arg("https://a.test/")
        .expect_exit(2);
    insta::assert_snapshot!("cacert_cut_off", same_everywhere(&done.stderr));
}

#[test]
fn without_any_authority_http_works_and_https_says_why_not() {
    let plain = Server::http(|_| crate::support::response("200 OK", &[], b"ok"));
    let secure = TlsServer::start(Authority::new().config("localhost", |_| {}));
    let done = Run::new()
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nowhere")
        .urls([plain.url("/http"), secure.url()])
        .expect_exit(1);
    assert!(done.of("/http").ok, "{}", done.stdout);
    let error = done
        .records
        .iter()
        .find_map(|record| record.error.as_ref())
        .unwrap();
    assert_eq!(error.kind, ErrorKind::Tls);
    insta::assert_snapshot!("no_authority", same_everywhere(&error.message));
}

/// Returns the certificate of a fixture, and its PEM file.
fn fixture(name: &str) -> (Vec<u8>, String) {
    let pem = std::fs::read_to_string(format!("fixtures/certificates/{name}")).unwrap();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    (certificate.to_vec(), pem)
}

/// Fetches one https URL, trusting the certificates in this PEM.
fn trusting(url: &str, pem: &str, args: &[&str]) -> Done {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    Run::new()
        .args([&format!("--cacert={}", file.path().display()), url])
        .args(args.iter().copied())
        .go()
}

fn fetched(done: &Done, what: &str) {
    assert_eq!(done.record().bytes, Some(6), "{what}: {}", done.stdout);
}

/// Checks that it failed once, and that the message does not suggest what was already done.
fn refused(done: &Done, what: &str, texts: &mut Texts) {
    let message = done.message();
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{what}: {message}");
    texts.add(what, message);
    assert!(!message.contains("--cacert FILE"), "{what}: {message}");
}

#[test]
fn k_accepts_whatever_a_server_shows() {
    let rubbish = b"this is no certificate".to_vec();
    for (what, certificate) in [
        ("version 1 of X.509", fixture("v1.pem").0),
        ("1024 bits and SHA-1", fixture("weak.pem").0),
        ("no certificate", rubbish),
        ("nothing", Vec::new()),
    ] {
        for version in VERSIONS {
            // The key does not belong to the certificate: the key in an unreadable certificate
            // cannot verify a signature.
            let server = TlsServer::start(showing(certificate.clone(), None, version));
            let done = Run::new().args(["-k", &server.url()]).go();
            fetched(&done, what);
        }
    }
}

fn localhost() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

#[test]
fn cacert_with_the_servers_own_certificate_trusts_exactly_that_one() {
    let mut authority = localhost();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut common_name = CertificateParams::new(Vec::new()).unwrap();
    common_name
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    let mut texts = Texts::new();
    for (what, params) in [
        ("plain", localhost()),
        ("as an authority", authority),
        ("with a common name alone", common_name),
    ] {
        let (pem, config) = self_signed_pem(&params);
        let server = TlsServer::start(config);
        fetched(&trusting(&server.url(), &pem, &[]), what);
        // A certificate that differs only in its key.
        let (other, _) = self_signed_pem(&params);
        let done = trusting(&server.url(), &other, &[]);
        refused(&done, &format!("{what}, another key"), &mut texts);
        let rule = format!("--resolve=other.test:{}:127.0.0.1", server.addr.port());
        let url = server.url().replace("localhost", "other.test");
        let done = trusting(&url, &pem, &[&rule]);
        refused(&done, &format!("{what}, another host"), &mut texts);
    }
    for (what, from, to) in [("expired", 2001, 2002), ("too early", 4001, 4002)] {
        let mut params = localhost();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let (pem, config) = self_signed_pem(&params);
        let server = TlsServer::start(config);
        refused(&trusting(&server.url(), &pem, &[]), what, &mut texts);
    }
    insta::assert_snapshot!("certificates_of_servers", texts);
}

#[test]
fn the_key_of_a_server_signs_for_no_other() {
    let issued = |params: CertificateParams| {
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = localhost().signed_by(&key, &issuer).unwrap();
        let key = key.serialize_pem();
        let config = showing(certificate.der().to_vec(), Some(&key), VERSIONS[1]);
        (issuer.pem(), TlsServer::start(config))
    };
    let (pem, server) = issued(CertificateParams::new(vec!["pinned.test".to_owned()]).unwrap());
    let done = trusting(&server.url(), &pem, &[]);
    let mut texts = Texts::new();
    refused(&done, "signed by a server", &mut texts);
    insta::assert_snapshot!("certificate_signed_by_a_server", texts);
    let mut authority = CertificateParams::new(vec!["pinned.test".to_owned()]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (pem, server) = issued(authority);
    fetched(
        &trusting(&server.url(), &pem, &[]),
        "signed by an authority",
    );
}

#[test]
fn cacert_takes_a_certificate_of_version_1_but_only_from_who_has_its_key() {
    let (certificate, pem) = fixture("v1.pem");
    let key = std::fs::read_to_string("fixtures/certificates/v1.key").unwrap();
    let mut texts = Texts::new();
    for version in VERSIONS {
        let server = TlsServer::start(showing(certificate.clone(), Some(&key), version));
        fetched(&trusting(&server.url(), &pem, &[]), "its own key");
        let thief = TlsServer::start(showing(certificate.clone(), None, version));
        let done = trusting(&thief.url(), &pem, &[]);
        refused(&done, "another key", &mut texts);
        assert!(thief.requests().is_empty());
    }
    insta::assert_snapshot!("certificate_of_version_1", texts);
}

#[test]
fn a_file_may_hold_authorities_servers_and_what_can_not_be_read() {
    let authority = Authority::new();
    let signed = TlsServer::start(authority.config("localhost", |_| {}));
    let (own, config) = self_signed_pem(&localhost());
    let pinned = TlsServer::start(config);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\
                  -----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let authority = std::fs::read_to_string(authority.file().path()).unwrap();
    let all = format!("{broken}{authority}{broken}{own}");
    fetched(&trusting(&signed.url(), &all, &[]), "signed");
    fetched(&trusting(&pinned.url(), &all, &[]), "pinned");
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), broken).unwrap();
    let cacert = format!("--cacert={}", file.path().display());
    let done = Run::new()
        .text()
        .args([&cacert, &signed.url()])
        .expect_exit(2);
    insta::assert_snapshot!("cacert_that_cannot_be_read", same_everywhere(&done.stderr));
}

#[test]
fn without_flags_the_flag_that_helps_is_named() {
    let (_, config) = self_signed_pem(&localhost());
    let server = TlsServer::start(config);
    let done = Run::new().arg(server.url()).expect_exit(1);
    assert!(
        done.message().contains("--cacert FILE"),
        "{}",
        done.message()
    );
    let mut texts = Texts::new();
    texts.add("self-signed", done.message());
    let old = TlsServer::start(showing(fixture("v1.pem").0, None, VERSIONS[1]));
    let done = Run::new().arg(old.url()).expect_exit(1);
    assert!(done.message().contains("-k"), "{}", done.message());
    texts.add("version 1", done.message());
    insta::assert_snapshot!("certificates_without_flags", texts);
}

#[test]
fn the_server_of_a_notification_is_refused_in_words_too() {
    let (_, config) = self_signed_pem(&localhost());
    let (stranger, page) = (TlsServer::start(config), pages());
    let file = Authority::new().file();
    let done = Run::new()
        .args([
            &format!("--cacert={}", file.path().display()),
            &format!("--notify-url={}", stranger.url()),
            &page.url("/a"),
        ])
        .go();
    let mut lines = done.stderr.lines();
    let told = lines.find(|line| line.contains("--notify-url"));
    let told = told.unwrap_or(&done.stderr);
    insta::assert_snapshot!("server_of_a_notification", same_everywhere(told));
    assert!(!done.stderr.contains("OtherError"), "{}", done.stderr);
}

/// A key that signs with this scheme only. With `-k` it does not matter what.
#[derive(Debug, Clone)]
struct OneScheme(SignatureScheme);

impl SigningKey for OneScheme {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&self.0);
        is_offered.then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Unknown(9)
    }
}

impl Signer for OneScheme {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[test]
fn with_insecure_a_server_may_sign_with_any_scheme() {
    // RSA-PSS with an RSA-PSS key, Ed448, and ECDSA over a Brainpool curve.
    for scheme in [0x0809, 0x080a, 0x080b, 0x0808, 0x081a] {
        let mut config = showing(fixture("v1.pem").0, None, VERSIONS[1]);
        let key = Arc::new(OneScheme(SignatureScheme::from(scheme)));
        let shown = CertifiedKey::new(vec![fixture("v1.pem").0.into()], key);
        config.cert_resolver = Arc::new(SingleCertAndKey::from(shown));
        let server = TlsServer::start(config);
        Run::new().args(["-k", &server.url()]).expect_exit(0);
    }
}
