use fetchall::ErrorKind;

use crate::support::{Authority, Run, Server, TlsServer};

/// One https URL, trusting `authority`.
fn fetch(server: &TlsServer, authority: &Authority, args: &[&str]) -> crate::support::Done {
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
    assert!(
        done.stderr.contains("cannot use the certificates in"),
        "{}",
        done.stderr
    );
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
    assert!(
        error.message.contains("ca-certificates"),
        "{}",
        error.message
    );
}
