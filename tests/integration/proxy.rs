use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use fetchall::ErrorKind;

use crate::support::{Authority, Connection, Run, Server, TlsServer, response};

fn origin() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

/// A proxy that answers itself and keeps what it was asked.
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

/// Passes bytes both ways until one side is done.
fn tunnel(client: &mut Connection, mut server: TcpStream) -> std::io::Result<()> {
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

#[test]
fn a_proxy_that_refuses_the_tunnel_fails_the_job_with_a_reason() {
    let proxy = Server::http(|_| response("403 Forbidden", &[], b""));
    let done = Run::new()
        .args(["--retries=0", "-x", &proxy.url(""), "https://far.invalid/"])
        .expect_exit(1);
    assert_eq!(
        done.failure(),
        (ErrorKind::Unreachable, 1),
        "{}",
        done.message()
    );
    assert!(done.message().contains("tunnel"), "{}", done.message());
}

/// RFC 1928, just enough of it: no authentication, CONNECT, any address.
fn socks5(connection: &mut Connection, to: std::net::SocketAddr) -> std::io::Result<()> {
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
