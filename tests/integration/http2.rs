use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use bytes::Bytes;
use fetchall::ErrorKind;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use crate::support::{Authority, Connection, Done, Run, Server};

/// What the server does with a request.
type Answer = fn(&Request<h2::RecvStream>, SendResponse<Bytes>);

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answer(&request, respond);
    }
}

/// A server over plain TCP. It ends with the test's runtime.
async fn plain(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer));
        }
    });
    addr
}

fn hello(_: &Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

fn go(run: Run) -> Done {
    tokio::task::block_in_place(|| run.go())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_prior_knowledge_over_plain_tcp() {
    let addr = plain(hello).await;
    let urls = (0..20).map(|n| format!("http://{addr}/{n}"));
    let done = go(Run::new().arg("--http2-prior-knowledge").urls(urls));
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    let is_h2 =
        |record: &fetchall::Record| record.http.as_deref() == Some("2") && record.bytes == Some(5);
    assert!(done.records.iter().all(is_h2), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_when_both_want_it_and_not_with_http1_1() {
    let authority = Authority::new();
    let mut config = authority.config("localhost", |_| {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(stream).await {
                    serve(tls, hello).await;
                }
            });
        }
    });
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let done = go(Run::new().args([&cacert, &url]));
    assert_eq!(done.record().http.as_deref(), Some("2"), "{}", done.stdout);
    // The server speaks nothing else, so the handshake itself fails.
    let done = go(Run::new().args([&cacert, &url, "--http1.1"]));
    assert_eq!(done.failure(), (ErrorKind::Tls, 1), "{}", done.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_host_is_opened_with_one_connection() {
    let authority = Authority::new();
    let mut config = authority.config("localhost", |_| {});
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    for tls in [false, true] {
        let connections = Arc::new(AtomicU32::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (count, acceptor) = (Arc::clone(&connections), acceptor.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if tls {
                        serve(acceptor.accept(stream).await.unwrap(), hello).await;
                    } else {
                        serve(stream, hello).await;
                    }
                });
            }
        });
        let (scheme, host) = if tls {
            ("https", "localhost")
        } else {
            ("http", "127.0.0.1")
        };
        let file = authority.file();
        let cacert = format!("--cacert={}", file.path().display());
        let urls = (0..60).map(|n| format!("{scheme}://{host}:{port}/{n}"));
        let mut run = Run::new().args([&cacert, "--per-host=20"]).urls(urls);
        if !tls {
            run = run.arg("--http2-prior-knowledge");
        }
        let done = go(run);
        assert_eq!(done.code, Some(0), "{}", done.stdout);
        assert_eq!(connections.load(SeqCst), 1, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_a_reset_and_each_try_counts() {
    static REQUESTS: AtomicU32 = AtomicU32::new(0);
    let addr = plain(|_, mut respond| {
        REQUESTS.fetch_add(1, SeqCst);
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let done = go(Run::new().args([
        "--http2-prior-knowledge",
        "--retries=2",
        &format!("http://{addr}/"),
    ]));
    assert_eq!(done.failure(), (ErrorKind::Reset, 3), "{}", done.message());
    assert_eq!(REQUESTS.load(SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_the_protocol_is_final() {
    let addr = plain(|_, mut respond| respond.send_reset(Reason::PROTOCOL_ERROR)).await;
    let done = go(Run::new().args([
        "--http2-prior-knowledge",
        "--retries=2",
        &format!("http://{addr}/"),
    ]));
    assert_eq!(
        done.failure(),
        (ErrorKind::Protocol, 1),
        "{}",
        done.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_shorter_than_announced_is_truncated_or_a_protocol_error() {
    // RFC 9113 §8.1.1: a mismatch of length is malformed; h2 says PROTOCOL_ERROR.
    let addr = plain(|_, mut respond| {
        let head = Response::builder()
            .header("content-length", "100")
            .body(())
            .unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"half"), true).unwrap();
    })
    .await;
    let done = go(Run::new().args([
        "--http2-prior-knowledge",
        "--retries=0",
        &format!("http://{addr}/"),
    ]));
    assert_eq!(
        done.failure(),
        (ErrorKind::Protocol, 1),
        "{}",
        done.message()
    );
}

/// A frame of RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// Speaks just enough HTTP/2 to turn a request away, or to answer it with 200.
fn by_hand(connection: &mut Connection, turn_away: bool) -> std::io::Result<()> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let mut preface = [0; 24];
    connection.stream.read_exact(&mut preface)?;
    connection.send(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        connection.stream.read_exact(&mut head)?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        connection.stream.read_exact(&mut vec![0; length])?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => connection.send(&frame(SETTINGS, 1, 0, &[]))?,
            // Last stream 0: nothing was processed. Error code 0: an orderly end.
            (HEADERS, _) if turn_away => {
                connection.send(&frame(GOAWAY, 0, 0, &[0; 8]))?;
                return connection.hang();
            }
            // 0x88 is `:status: 200` (RFC 7541, appendix A); flags: whole, and the end.
            (HEADERS, _) => connection.send(&frame(HEADERS, 5, head[8], &[0x88]))?,
            _ => {}
        }
    }
}

#[test]
fn a_server_that_winds_connections_down_costs_no_attempt_not_even_a_post() {
    let seen = AtomicU32::new(0);
    let server = Server::start(move |connection| {
        let number = seen.fetch_add(1, SeqCst);
        by_hand(connection, number < 3)
    });
    let done = Run::new()
        .args([
            "--http2-prior-knowledge",
            "--retries=0",
            "-dx",
            &server.url("/"),
        ])
        .expect_exit(0);
    assert_eq!(
        (done.record().status, done.record().attempts),
        (Some(200), 1)
    );
    assert_eq!(server.connections(), 4);

    // One that never stops doing so is given up.
    let server = Server::start(|connection| by_hand(connection, true));
    let done = Run::new()
        .args(["--http2-prior-knowledge", "--retries=0", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Reset, 1), "{}", done.message());
    assert_eq!(server.connections(), 11);
}
