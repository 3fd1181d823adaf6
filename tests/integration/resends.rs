//! Resends, which do not count as attempts: over closed connections, and to servers that require
//! HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use fetchall::ErrorKind;
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Authority, Run, Server, path, response};

/// A server that closes each connection after one response and this pause, without announcing it.
fn closing(pause: Duration) -> Server {
    Server::start(move |connection| {
        connection.request()?;
        connection.send(&response("200 OK", &[], b"hello"))?;
        std::thread::sleep(pause);
        Ok(())
    })
}

#[test]
fn a_server_that_closes_after_each_answer_costs_no_url() {
    for pause in [0, 20] {
        for retries in ["--retries=3", "--retries=0"] {
            let server = closing(Duration::from_millis(pause));
            let urls = (0..600).map(|n| server.url(&format!("/{n}")));
            let done = Run::new().arg(retries).urls(urls).expect_exit(0);
            let attempts: u32 = done.records.iter().map(|record| record.attempts).sum();
            assert!(attempts <= 690, "{attempts} attempts, {pause} ms");
            let requests = server.requests().len();
            assert!(requests <= 690, "{requests} requests, {pause} ms");
        }
    }
}

/// A server that ends idle connections with a 408: each one after its first response, at the latest
/// when the next request arrives.
fn ending_with_408() -> Server {
    Server::start(|connection| {
        if connection.request()?.is_some() {
            connection.send(&response("200 OK", &[], b"hello"))?;
        }
        if connection.request()?.is_some() {
            let close = ["Connection: close"];
            connection.send(&response("408 Request Time-out", &close, b""))?;
        }
        Ok(())
    })
}

#[test]
fn a_408_that_ends_an_idle_connection_costs_no_url() {
    let server = ending_with_408();
    let urls = (0..20).map(|n| server.url(&format!("/{n}")));
    let done = Run::new()
        .args(["-j1", "--retries=0"])
        .urls(urls)
        .expect_exit(0);
    let attempts: u32 = done.records.iter().map(|record| record.attempts).sum();
    assert_eq!(attempts, 20);
    assert!(done.records.iter().any(|record| record.resends == 1));
    assert!(done.records.iter().all(|record| record.resends <= 1));
}

#[test]
fn a_408_to_a_first_request_fails_for_real() {
    let server = Server::http(|_| response("408 Request Timeout", &["Connection: close"], b""));
    let done = Run::new()
        .args(["--retries=0", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
    assert_eq!(server.requests().len(), 1, "none of them was free");
}

#[test]
fn a_post_is_not_resent_after_a_408() {
    let server = ending_with_408();
    let list = ["/first", "/second"].map(|path| {
        let method = if path == "/first" { "GET" } else { "POST" };
        format!(
            "{{\"url\":\"{}\",\"method\":\"{method}\"}}\n",
            server.url(path)
        )
    });
    let done = Run::new()
        .args(["-j1", "--retries=0", "--input-format=jsonl"])
        .stdin(list.concat())
        .expect_exit(1);
    assert_eq!(done.of("/second").resends, 0);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_fails_for_real() {
    let server = Server::start(|connection| connection.request().map(drop));
    let done = Run::new()
        .args(["--retries=2", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Reset, 3));
    assert_eq!(server.requests().len(), 3, "none of them was free");
}

#[test]
fn each_attempt_has_its_own_free_resend() {
    // Each connection serves two requests. The second response is a 503, and the request after it
    // finds the connection closed.
    let server = Server::start(|connection| {
        let Some(first) = connection.request()? else {
            return Ok(());
        };
        let status = if path(&first) == "/warm" {
            "200 OK"
        } else {
            "503 Busy"
        };
        connection.send(&response(status, &[], b"x"))?;
        connection.request().map(drop)
    });
    let urls = ["/warm", "/page"].map(|path| server.url(path));
    let done = Run::new()
        .args(["-j1", "--retries=3"])
        .urls(urls)
        .expect_exit(1);
    let page = done.of("/page");
    let kind = page.error.as_ref().unwrap().kind;
    assert_eq!((kind, page.attempts), (ErrorKind::Status, 4));
}

/// A TLS server that offers HTTP/2 but accepts requests only over HTTP/1.1.
async fn http1_behind_http2() -> (String, Authority, Arc<[AtomicU32; 2]>) {
    let authority = Authority::new();
    let mut config = authority.config("localhost", |_| {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let seen = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    return;
                };
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let mut connection = h2::server::handshake(tls).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let _: &mut h2::server::SendResponse<Bytes> = &mut respond;
                        seen[0].fetch_add(1, SeqCst);
                        respond.send_reset(Reason::HTTP_1_1_REQUIRED);
                    }
                    return;
                }
                let mut buffer = [0; 4096];
                while let Ok(1..) = tls.read(&mut buffer).await {
                    seen[1].fetch_add(1, SeqCst);
                    let answer = response("200 OK", &[], b"hello");
                    tls.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (url, authority, counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_requires_http1_gets_it_and_keeps_it() {
    let (url, authority, counts) = http1_behind_http2().await;
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let urls = (0..20).map(|n| format!("{url}/{n}"));
    let run = Run::new().args([&cacert, "-j1", "--retries=0"]).urls(urls);
    let done = tokio::task::block_in_place(|| run.expect_exit(0));
    for record in &done.records {
        let seen = (record.attempts, record.http.as_deref());
        assert_eq!(seen, (1, Some("1.1")));
    }
    assert_eq!(
        counts[0].load(SeqCst),
        1,
        "only the first one went over HTTP/2"
    );
    assert_eq!(counts[1].load(SeqCst), 20);

    let run = Run::new().args([&cacert, "--http2-prior-knowledge", &url]);
    let done = tokio::task::block_in_place(|| run.expect_exit(1));
    assert_eq!(done.failure(), (ErrorKind::Protocol, 1));
    insta::assert_snapshot!("only_http_1_1_is_accepted", done.message());
}

#[test]
fn a_post_goes_over_a_new_connection_where_the_host_closes_them() {
    let server = closing(Duration::from_millis(20));
    let warm = (0..3).map(|n| server.url(&format!("/{n}")));
    let posts = (0..40).map(|n| server.url(&format!("/post/{n}")));
    let lines: String = warm
        .map(|url| format!("{{\"url\":\"{url}\"}}\n"))
        .chain(posts.map(|url| format!("{{\"url\":\"{url}\",\"body\":\"x\"}}\n")))
        .collect();
    let done = Run::new()
        .args(["-j1", "--retries=0", "--input-format=jsonl"])
        .stdin(lines)
        .go();
    // At most one: the request that detected it.
    let lost = done.records.iter().filter(|record| !record.ok).count();
    assert!(lost <= 1, "{}", done.stdout);
}
