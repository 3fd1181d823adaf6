use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use fetchall::ErrorKind;

use crate::support::{
    Authority, Connection, Done, Run, Server, Texts, TlsServer, closed_port, header, response,
};

fn origin() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

/// A proxy that responds itself and records its requests.
fn proxy() -> Server {
    Server::http(|_| response("200 OK", &["Via: 1.1 test"], b"from the proxy"))
}

#[test]
fn http_goes_to_the_proxy_as_a_whole_url_with_its_credentials() {
    let proxy = proxy();
    let with_password = proxy.url("").replace("http://", "http://me:s3cret@");
    let done = Run::new()
        .args(["-vv", "-x", &with_password, "http://far.invalid/x"])
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(14));
    let request = &proxy.requests()[0];
    assert!(
        request.starts_with("GET http://far.invalid/x HTTP/1.1"),
        "{request}"
    );
    assert!(
        request.contains("proxy-authorization: Basic bWU6czNjcmV0"),
        "{request}"
    );
    assert!(!done.stderr.contains("s3cret") && !done.stdout.contains("s3cret"));
}

#[test]
fn the_environment_names_proxies_and_exceptions() {
    let (proxy, origin) = (proxy(), origin());
    let done = Run::new()
        .env("http_proxy", proxy.url(""))
        .arg("http://far.invalid/")
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(14));
    let done = Run::new()
        .env("http_proxy", proxy.url(""))
        .env("no_proxy", "127.0.0.1")
        .arg(origin.url("/"))
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(2));
}

/// Forwards bytes both ways until one side closes.
pub fn tunnel(client: &mut Connection, mut server: TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (client.stream.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut server, &mut client.stream).map(drop)
}

#[test]
fn https_goes_through_a_tunnel() {
    let authority = Authority::new();
    let secure = TlsServer::start(authority.config("localhost", |_| {}));
    let to = secure.addr;
    let proxy = Server::start(move |connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        tunnel(connection, TcpStream::connect(to)?)
    });
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let done = Run::new()
        .args([&cacert, "-x", &proxy.url(""), &secure.url()])
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(6));
    let asked = format!("CONNECT localhost:{} HTTP/1.1", to.port());
    assert!(
        proxy.requests()[0].starts_with(&asked),
        "{:?}",
        proxy.requests()
    );
}

/// RFC 9110 §9.3.6: any 2xx opens the tunnel.
#[test]
fn a_tunnel_is_open_however_the_proxy_says_so() {
    let authority = Authority::new();
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    for answer in [
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connected\r\n\r\n",
        "HTTP/1.1 200 Connected\r\nX A: 1\r\nWarning\r\n\r\n",
        "http/1.0  200\nX-A: 1\n\n",
    ] {
        let secure = TlsServer::start(authority.config("localhost", |_| {}));
        let to = secure.addr;
        let proxy = Server::start(move |connection| {
            connection.request()?;
            connection.send(answer.as_bytes())?;
            tunnel(connection, TcpStream::connect(to)?)
        });
        for method in ["GET", "POST"] {
            let run = Run::new().args(["--retries=0", "-X", method, &cacert]);
            let done = run.args(["-x", &proxy.url(""), &secure.url()]);
            let done = done.expect_exit(0);
            let record = done.record();
            assert_eq!(record.bytes, Some(6), "{answer:?}");
            // A CONNECT is no request to the server.
            assert_eq!((record.attempts, record.resends), (1, 0), "{answer:?}");
        }
    }
}

#[test]
fn a_proxy_that_refuses_in_a_head_that_breaks_the_rules_is_told_with_its_status() {
    let proxy = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 403 Forbidden\r\nX A: 1\r\n\r\n")
    });
    let done = through(&proxy.url(""), &[]);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 1));
    assert_eq!(done.record().status, Some(403));
}

/// The connector reads 8 KiB of a head, which may be a page of cookies and policies.
#[test]
fn the_head_of_a_proxy_may_be_long() {
    let lines: String = (0..40)
        .map(|n| format!("X-{n}: {}\r\n", "y".repeat(1000)))
        .collect();
    let authority = Authority::new();
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let secure = TlsServer::start(authority.config("localhost", |_| {}));
    let (to, head) = (secure.addr, format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    let proxy = Server::start(move |connection| {
        connection.request()?;
        connection.send(head.as_bytes())?;
        tunnel(connection, TcpStream::connect(to)?)
    });
    let run = Run::new().args(["--retries=0", &cacert, "-x", &proxy.url("")]);
    let done = run.arg(secure.url()).expect_exit(0);
    assert_eq!(done.record().bytes, Some(6));

    let head = format!("HTTP/1.1 407 Proxy Authentication Required\r\n{lines}\r\n");
    let proxy = Server::http(move |_| head.clone().into_bytes());
    let done = through(&proxy.url(""), &[]);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 1), "{}", done.message());
    assert_eq!(done.record().status, Some(407));
}

/// A proxy that responds with this status to every CONNECT.
fn refusing(status: &'static str) -> Server {
    Server::http(move |_| response(status, &["Proxy-Authenticate: Basic realm=\"x\""], b""))
}

/// Fetches one https URL through this proxy.
fn through(proxy: &str, args: &[&str]) -> Done {
    Run::new()
        .args(["--retries=2", "-x", proxy, "https://far.invalid/"])
        .args(args.iter().copied())
        .expect_exit(1)
}

#[test]
fn a_proxy_that_refuses_the_tunnel_is_told_with_its_status_and_whether_it_may_pass() {
    let mut texts = Texts::new();
    for (status, attempts) in [
        ("403 Forbidden", 1),
        ("404 Not Found", 1),
        ("408 Request Timeout", 3),
        ("429 Too Many Requests", 3),
        ("502 Bad Gateway", 3),
        ("503 Service Unavailable", 3),
        ("302 Found", 3),
    ] {
        let proxy = refusing(status);
        let done = through(&proxy.url(""), &[]);
        let message = done.message();
        assert_eq!(done.failure(), (ErrorKind::Proxy, attempts), "{message}");
        assert!(message.contains(&proxy.addr.to_string()), "{message}");
        texts.add(status, message);
        let code = status[..3].parse().unwrap();
        assert_eq!(done.record().status, Some(code), "{}", done.stdout);
        let asked = proxy.requests();
        assert!(
            asked
                .iter()
                .all(|head| head.starts_with("CONNECT far.invalid:443 HTTP/1.1\r\n")),
            "{asked:?}"
        );
    }
    insta::assert_snapshot!("tunnels_that_are_refused", texts);
}

#[test]
fn a_407_is_final_and_names_the_flag() {
    let proxy = refusing("407 Proxy Authentication Required");
    let done = through(&proxy.url(""), &[]);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 1));
    let mut texts = Texts::new();
    texts.add("https://", done.message());
    assert_eq!(done.record().status, Some(407));
    assert_eq!(proxy.requests().len(), 1);

    let done = through(&proxy.url(""), &["-U", "me:wrong"]);
    texts.add("https:// and -U me:wrong", done.message());

    // The same for a request that the proxy forwards.
    let user = proxy.url("").replace("http://", "http://me:s3cret@");
    for at in [proxy.url(""), user] {
        let run = Run::new().args(["-x", &at, "http://far.invalid/"]);
        let done = run.expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Proxy, 1));
        assert_eq!(done.record().status, Some(407));
        texts.add(at.replace(&proxy.addr.to_string(), "proxy"), done.message());
    }
    // Without a proxy it is a status like any other.
    let done = Run::new().arg(proxy.url("/")).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
    insta::assert_snapshot!("proxies_that_want_a_user", texts);
}

#[test]
fn the_refusal_of_one_url_is_not_that_of_the_next() {
    let proxy = refusing("407 Proxy Authentication Required");
    let urls = (0..8).map(|n| format!("https://far.invalid/{n}"));
    let done = Run::new()
        .args(["-x", &proxy.url("")])
        .urls(urls)
        .expect_exit(1);
    for record in &done.records {
        assert_eq!(record.attempts, 1, "{}", done.stdout);
        assert!(!done.stdout.contains("host down"), "{}", done.stdout);
    }
}

#[test]
fn a_request_that_must_not_be_sent_twice_may_be_after_a_refused_tunnel() {
    let proxy = refusing("503 Service Unavailable");
    let done = through(&proxy.url(""), &["-d", "once"]);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 3), "{}", done.message());
}

#[test]
fn a_proxy_that_closes_instead_of_an_answer_is_tried_again() {
    let proxy = Server::start(|connection| connection.request().map(drop));
    let done = through(&proxy.url(""), &[]);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 3), "{}", done.message());
    let mut texts = Texts::new();
    texts.add("closes", done.message());
    insta::assert_snapshot!("proxy_that_closes", texts);
    assert_eq!(done.record().status, None);
}

#[test]
fn a_proxy_that_says_nothing_to_connect_is_named() {
    let proxy = Server::start(Connection::hang);
    let url = proxy.url("").replace("http://", "http://me:s3cret@");
    for (at, addr) in [
        (url.clone(), proxy.addr),
        (url.replace("http:", "socks5h:"), proxy.addr),
    ] {
        let done = through(&at, &["--connect-timeout=200ms", "--retries=0"]);
        let message = done.message();
        assert_eq!(done.failure(), (ErrorKind::ConnectTimeout, 1), "{message}");
        let expected =
            format!("no connection through the proxy {addr} within 200ms (--connect-timeout)");
        assert_eq!(message, expected);
    }
}

/// Once the tunnel is open, either side may be the cause, so the message names the proxy.
#[test]
fn a_tunnel_that_breaks_during_the_handshake_names_the_proxy() {
    let mut texts = Texts::new();
    let speaking = |bytes: &'static [u8]| {
        Server::start(move |connection| {
            connection.request()?;
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")?;
            if !bytes.is_empty() {
                // Not in the packet of the head, with which the client drops it.
                std::thread::sleep(std::time::Duration::from_millis(50));
                connection.send(bytes)?;
                connection.hang()?;
            }
            Ok(())
        })
    };
    for (what, bytes, kind) in [
        ("closes", &b""[..], ErrorKind::Reset),
        ("speaks first", b"Welcome to the proxy\r\n", ErrorKind::Tls),
    ] {
        let proxy = speaking(bytes);
        let url = proxy.url("").replace("http://", "http://me:s3cret@");
        let done = through(&url, &["--retries=0"]);
        assert_eq!(done.failure(), (kind, 1), "{}", done.message());
        texts.add(what, done.message());
    }
    insta::assert_snapshot!("tunnels_that_break", texts);
}

/// No server may speak before the client's part of the handshake, so these bytes are none of the
/// host's.
#[test]
fn bytes_in_the_packet_of_an_open_tunnel_are_dropped() {
    let authority = Authority::new();
    let file = authority.file();
    let secure = TlsServer::start(authority.config("localhost", |_| {}));
    let to = secure.addr;
    let proxy = Server::start(move |connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
        tunnel(connection, TcpStream::connect(to)?)
    });
    let cacert = format!("--cacert={}", file.path().display());
    let run = Run::new().args([&cacert, "-x", &proxy.url(""), &secure.url()]);
    assert_eq!(run.expect_exit(0).record().bytes, Some(6));
}

#[test]
fn a_proxy_that_forwards_nothing_is_named() {
    let mut texts = Texts::new();
    let silent = Server::start(Connection::hang);
    let closing = Server::start(|connection| connection.request().map(drop));
    for (what, proxy, kind) in [
        ("silent", &silent, ErrorKind::Timeout),
        ("closes", &closing, ErrorKind::Reset),
    ] {
        let url = proxy.url("").replace("http://", "http://me:s3cret@");
        let run = Run::new().args(["--retries=0", "--stall-timeout=300ms", "-x", &url]);
        let done = run.arg("http://far.invalid/").expect_exit(1);
        assert_eq!(done.failure(), (kind, 1), "{}", done.message());
        texts.add(what, done.message());
    }
    insta::assert_snapshot!("proxies_that_forward_nothing", texts);
}

#[test]
fn a_proxy_over_tls_is_asked_for_its_status_too() {
    let authority = Authority::new();
    let proxy = TlsServer::answering(authority.config("localhost", |_| {}), |_| {
        response("403 Forbidden", &[], b"")
    });
    let url = proxy.url().replace("https://", "https://me:s3cret@");
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let done = through(&url, &[&cacert]);
    let message = done.message();
    assert_eq!(done.failure(), (ErrorKind::Proxy, 1), "{message}");
    assert_eq!(done.record().status, Some(403));
    let mut texts = Texts::new();
    texts.add("403", message);
    let asked = proxy.requests();
    let knows = |head: &String| header(head, "proxy-authorization") == Some("Basic bWU6czNjcmV0");
    assert!(asked.iter().all(knows), "{asked:?}");
    assert!(!message.contains("s3cret"), "{message}");

    // The message says that the untrusted certificate is that of the proxy.
    let done = through(&proxy.url(), &[]);
    let message = done.message();
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{message}");
    let name = format!("localhost:{}", proxy.addr.port());
    assert!(message.contains(&name), "{message}");
    texts.add("a stranger's certificate", message);
    insta::assert_snapshot!("proxies_over_tls", texts);
}

#[test]
fn a_proxy_that_is_not_there_is_told_from_a_host_that_is_not_there() {
    let nowhere = closed_port();
    let mut texts = Texts::new();
    for scheme in ["http", "socks5h", "socks5", "socks4a"] {
        for url in ["http://127.0.0.2/", "https://127.0.0.2/"] {
            let proxy = format!("{scheme}://{nowhere}");
            let done = Run::new()
                .args(["--retries=0", "-x", &proxy, url])
                .expect_exit(1);
            let message = done.message();
            assert_eq!(
                done.failure(),
                (ErrorKind::Refused, 1),
                "{proxy}: {message}"
            );
            assert!(message.contains(&nowhere.to_string()), "{message}");
            texts.add(format!("{proxy} {url}"), message);
        }
    }
    insta::assert_snapshot!("proxies_that_are_not_there", texts);
}

#[test]
fn a_proxy_that_is_out_of_order_is_rehearsed() {
    let done = Run::new()
        .args([
            "--retries=1",
            "--simulate-failure=proxy=100%",
            "http://far.invalid/",
        ])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Proxy, 2), "{}", done.message());
    insta::assert_snapshot!("proxy_that_is_rehearsed", done.message());
}

/// A SOCKS5 proxy that selects this authentication method, and sends these bytes after the client's
/// next message.
fn socks_saying(method: u8, then: &'static [u8]) -> Server {
    Server::start(move |connection| {
        connection.stream.read_exact(&mut [0; 3])?;
        connection.send(&[5, method])?;
        let _ = connection.stream.read(&mut [0; 512])?;
        connection.send(then)?;
        connection.hang()
    })
}

#[test]
fn a_socks_proxy_that_refuses_says_why() {
    const ANYWHERE: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 0];
    let mut texts = Texts::new();
    for (method, code, user, attempts) in [
        (0, 1, None, 3),
        (0, 2, None, 1),
        (0, 4, None, 3),
        (0, 5, None, 3),
        (0, 9, None, 3),
        (0xff, 0, None, 1),
        (0xff, 0, Some("me:x"), 1),
        (2, 9, Some("me:x"), 1),
    ] {
        let case = format!("method {method}, reply {code}, {user:?}");
        let answer = if method == 2 {
            vec![1, code]
        } else {
            [&[5, code], ANYWHERE].concat()
        };
        let proxy = socks_saying(method, answer.leak());
        let url = proxy.url("").replace("http:", "socks5h:");
        let user = user.map(|user| ["-U", user]).unwrap_or_default();
        let user: Vec<_> = user.into_iter().filter(|arg| !arg.is_empty()).collect();
        for target in ["http://far.invalid/", "https://far.invalid/"] {
            let done = Run::new()
                .args(["--retries=2", "-x", &url, target])
                .args(user.iter().copied())
                .expect_exit(1);
            let message = done.message();
            assert_eq!(
                done.failure(),
                (ErrorKind::Proxy, attempts),
                "{case}: {message}"
            );
            texts.add(&case, message);
        }
    }
    let web = Server::start(|connection| {
        connection.stream.read_exact(&mut [0; 3])?;
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let url = web.url("").replace("http:", "socks5h:");
    let done = through(&url, &[]);
    assert_eq!(done.failure().0, ErrorKind::Proxy, "{}", done.message());
    texts.add("HTTP", done.message());
    insta::assert_snapshot!("socks_proxies_that_refuse", texts);
}

#[test]
fn a_socks4_proxy_that_takes_somebody_for_another_user_is_final() {
    for (code, attempts, reason) in [(91, 3, "failed to execute"), (93, 1, "another user")] {
        let proxy = Server::start(move |connection| {
            let _ = connection.stream.read(&mut [0; 512])?;
            connection.send(&[0, code, 0, 0, 0, 0, 0, 0])
        });
        let done = through(&proxy.url("").replace("http:", "socks4a:"), &[]);
        let message = done.message();
        assert_eq!(done.failure(), (ErrorKind::Proxy, attempts), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn no_proxy_excepts_addresses_and_ports() {
    let (proxy, origin) = (proxy(), origin());
    let port = origin.addr.port();
    for (exceptions, is_direct) in [
        ("*".to_owned(), true),
        (format!("127.0.0.1:{port}"), true),
        ("127.0.0.0/8".to_owned(), true),
        (format!("a.test, 127.0.0.1:{port}"), true),
        ("127.0.0.1:1".to_owned(), false),
        ("127.0.0.2".to_owned(), false),
        ("10.0.0.0/8".to_owned(), false),
    ] {
        for name in ["NO_PROXY", "no_proxy"] {
            let done = Run::new()
                .env("http_proxy", proxy.url(""))
                .env(name, &*exceptions)
                .arg(origin.url("/"))
                .expect_exit(0);
            let bytes = if is_direct { 2 } else { 14 };
            assert_eq!(done.record().bytes, Some(bytes), "{name}={exceptions}");
        }
    }
}

/// A SOCKS5 proxy (RFC 1928) as far as the tests need it: no authentication, CONNECT, any address.
pub fn socks5(connection: &mut Connection, to: std::net::SocketAddr) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    connection.stream.read_exact(&mut greeting)?;
    let mut methods = vec![0; greeting[1] as usize];
    connection.stream.read_exact(&mut methods)?;
    connection.send(&[5, 0])?;
    let mut head = [0; 4];
    connection.stream.read_exact(&mut head)?;
    let length = match head[3] {
        1 => 4,
        3 => {
            let mut length = [0; 1];
            connection.stream.read_exact(&mut length)?;
            length[0] as usize
        }
        _ => 16,
    };
    let mut address = vec![0; length + 2];
    connection.stream.read_exact(&mut address)?;
    connection
        .stream
        .write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    tunnel(connection, TcpStream::connect(to)?)
}

#[test]
fn socks5_resolves_at_the_proxy_with_h() {
    let origin = origin();
    let to = origin.addr;
    let proxy = Server::start(move |connection| socks5(connection, to));
    let socks = proxy.url("").replace("http://", "socks5h://");
    Run::new()
        .args(["-x", &socks, "http://far.invalid/"])
        .expect_exit(0);
    Run::new()
        .env("ALL_PROXY", socks)
        .arg("http://far.invalid/")
        .expect_exit(0);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn an_empty_proxy_means_none_whatever_the_environment_says() {
    let (proxy, origin) = (proxy(), origin());
    let done = Run::new()
        .env("http_proxy", proxy.url(""))
        .args(["-x", "", &origin.url("/")])
        .expect_exit(0);
    assert_eq!(done.record().bytes, Some(2));
}
