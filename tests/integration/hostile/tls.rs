use std::io::{Read, Write};
use std::time::Duration;

use fetchall::ErrorKind;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::server::ServerConfig;

use super::{MEMORY, RETRIES, SLACK, STALL, tight};
use crate::support::{Authority, Connection, Done, Server, Texts, TlsServer, self_signed};

/// Fetches one https URL, trusting `authority`.
fn fetch(url: &str, authority: &Authority, args: &[&str]) -> Done {
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let done = tight().args(args.iter().copied()).args([&cacert, url]).go();
    assert!(
        done.took < SLACK + 2 * STALL * (RETRIES + 1),
        "{:?}",
        done.took
    );
    assert!(done.peak < MEMORY, "{} KiB", done.peak);
    done
}

/// Checks that it failed once, with a reason.
fn no_tls(done: &Done, what: &str, texts: &mut Texts) {
    let message = done.message();
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{what}: {message}");
    texts.add(what, message);
}

#[test]
fn bad_certificates_are_tls_errors_with_the_reason_and_never_retried() {
    let authority = Authority::new();
    let dated = |from, to| {
        move |params: &mut CertificateParams| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        }
    };
    let other_host = authority.config("other.test", |_| {});
    let stranger = Authority::new().config("localhost", |_| {});
    let mut texts = Texts::new();
    for (what, config) in [
        ("expired", authority.config("localhost", dated(2001, 2002))),
        (
            "too early",
            authority.config("localhost", dated(4001, 4002)),
        ),
        ("wrong host", other_host),
        ("unknown authority", stranger),
        ("self-signed", self_signed(false)),
        ("self-signed, as an authority", self_signed(true)),
    ] {
        let server = TlsServer::start(config);
        let done = fetch(&server.url(), &authority, &[]);
        no_tls(&done, what, &mut texts);
        assert!(server.requests().is_empty(), "{what}: a request was sent");

        let done = fetch(&server.url(), &authority, &["-k"]);
        assert_eq!(done.code, Some(0), "{what}, -k accepts it: {}", done.stdout);
    }
    insta::assert_snapshot!("bad_certificates", texts);
}

/// Receives the first message of the client, or a part of it.
fn hello(connection: &mut Connection) -> std::io::Result<()> {
    connection.stream.read(&mut [0; 4000]).map(drop)
}

/// Runs against a server that sends these bytes instead of a handshake, after the ClientHello.
fn says(bytes: &'static [u8]) -> Done {
    let server = Server::start(move |connection| {
        hello(connection)?;
        connection.send(bytes)?;
        connection.hang()
    });
    fetch(
        &server.url("/").replace("http:", "https:"),
        &Authority::new(),
        &[],
    )
}

/// A ServerHello (RFC 4346 §7.4.1.3) of TLS 1.1, with TLS_RSA_WITH_AES_128_CBC_SHA.
const HELLO_1_1: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

/// The same for TLS 1.2.
const HELLO_1_2_CBC: &[u8] = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

#[test]
fn what_is_no_handshake_is_a_tls_error_with_the_reason_and_never_retried() {
    let mut texts = Texts::new();
    for (what, bytes) in [
        (
            "text",
            b"this is no TLS record at all, just text\r\n".as_slice(),
        ),
        ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("TLS 1.1 only", HELLO_1_1),
        (
            "an alert: protocol version",
            b"\x15\x03\x01\x00\x02\x02\x46",
        ),
        (
            "an alert: handshake failure",
            b"\x15\x03\x03\x00\x02\x02\x28",
        ),
        (
            "an alert: a certificate of the client",
            b"\x15\x03\x03\x00\x02\x02\x74",
        ),
        ("an alert without a name", b"\x15\x03\x03\x00\x02\x02\xfe"),
        ("a cipher suite that was not offered", HELLO_1_2_CBC),
        ("a record that is too large", b"\x16\x03\x03\xff\xff"),
        ("an empty hello", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
    ] {
        let done = says(bytes);
        no_tls(&done, what, &mut texts);
        // Neither option would change anything.
        let message = done.message();
        assert!(
            !message.contains("-k") && !message.contains("--cacert"),
            "{message}"
        );
    }
    insta::assert_snapshot!("no_handshakes", texts);
}

#[test]
fn a_handshake_that_ends_is_a_reset_and_one_that_hangs_a_connect_timeout() {
    type Serve = fn(&mut Connection) -> std::io::Result<()>;
    let ends: [(&str, Serve); 3] = [
        ("at once", |_| Ok(())),
        ("after the hello", |connection| hello(connection)),
        ("in the answer", |connection| {
            hello(connection)?;
            connection.send(&HELLO_1_1[..9])
        }),
    ];
    for (when, serve) in ends {
        let server = Server::start(serve);
        let url = server.url("/").replace("http:", "https:");
        let done = fetch(&url, &Authority::new(), &[]);
        assert_eq!(
            done.failure(),
            (ErrorKind::Reset, RETRIES + 1),
            "{when}: {}",
            done.message()
        );
    }
    let silent = Server::start(Connection::hang);
    let url = silent.url("/").replace("http:", "https:");
    let done = fetch(&url, &Authority::new(), &["--connect-timeout=300ms"]);
    assert_eq!(done.failure(), (ErrorKind::ConnectTimeout, RETRIES + 1));
    let endless = Server::start(|connection| {
        loop {
            // Empty handshake messages: HelloRequests, each in its own record.
            connection.send(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00")?;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let url = endless.url("/").replace("http:", "https:");
    let done = fetch(&url, &Authority::new(), &["--connect-timeout=300ms"]);
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{}", done.message());
}

/// A server that closes the connection after these bytes without close_notify.
fn unclean(config: ServerConfig, wire: &'static [u8]) -> TlsServer {
    TlsServer::serving(config, move |tls, _| {
        tls.write_all(wire)?;
        tls.flush()
    })
}

#[test]
fn an_unclean_end_is_fine_when_all_that_was_announced_came_else_it_is_truncated() {
    let authority = Authority::new();
    for (wire, end) in [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".as_slice(),
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            Some(ErrorKind::Truncated),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Some(ErrorKind::Truncated),
        ),
        // Only TLS shows that the end of the connection is not the end of the body.
        (b"HTTP/1.1 200 OK\r\n\r\nhello", Some(ErrorKind::Truncated)),
        (b"HTTP/1.1 200 OK\r\nX-", Some(ErrorKind::Reset)),
    ] {
        let server = unclean(authority.config("localhost", |_| {}), wire);
        let done = fetch(&server.url(), &authority, &[]);
        let what = String::from_utf8_lossy(wire);
        match end {
            None => assert_eq!(done.record().bytes, Some(5), "{what}: {}", done.stdout),
            Some(kind) => {
                assert_eq!(done.failure(), (kind, RETRIES + 1), "{what}");
                assert!(!done.message().contains("rustls"), "{}", done.message());
            }
        }
    }
    let config = authority.config("localhost", |_| {});
    let clean = TlsServer::answering(config, |_| b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec());
    let done = fetch(&clean.url(), &authority, &[]);
    assert_eq!(done.record().bytes, Some(5), "{}", done.stdout);
}

#[test]
fn a_body_that_is_no_tls_any_more_is_not_taken() {
    let authority = Authority::new();
    let server = TlsServer::serving(authority.config("localhost", |_| {}), |tls, _| {
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        tls.flush()?;
        tls.sock.write_all(b"world")?;
        tls.sock.read(&mut [0]).map(drop)
    });
    let done = fetch(&server.url(), &authority, &[]);
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{}", done.message());
}
