use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use bytes::Bytes;
use fetchall::ErrorKind;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::support::{Authority, Done, Run, response};

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
    // The server supports only HTTP/2, so the handshake fails.
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

/// A server over TLS for these protocols; over HTTP/1.1 it answers `hello`.
async fn secure(protocols: &[&str], answer: Answer) -> (Authority, String) {
    secure_with(protocols, move |tls| serve(tls, answer)).await
}

/// Like [`secure`], with a function that serves a connection over HTTP/2.
async fn secure_with<F: Future<Output = ()> + Send + 'static>(
    protocols: &[&str],
    serve: impl Fn(TlsStream<TcpStream>) -> F + Copy + Send + Sync + 'static,
) -> (Authority, String) {
    let authority = Authority::new();
    let mut config = authority.config("localhost", |_| {});
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    return;
                };
                if tls.get_ref().1.alpn_protocol() == Some(&b"h2"[..]) {
                    return serve(tls).await;
                }
                let mut head = [0; 4096];
                while tls.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let response = response("200 OK", &[], b"hello");
                    tls.write_all(&response).await.unwrap();
                }
            });
        }
    });
    (authority, format!("https://localhost:{port}/"))
}

/// Flushes around the body.
fn flushed(_: &Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    for part in ["", "hello", ""] {
        body.send_data(Bytes::from_static(part.as_bytes()), false)
            .unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_flushes_too_often_is_asked_over_http1_if_it_speaks_it() {
    for (protocols, last) in [(&["h2", "http/1.1"][..], "1.1"), (&["h2"][..], "2")] {
        let (authority, url) = secure(protocols, flushed).await;
        let file = authority.file();
        let cacert = format!("--cacert={}", file.path().display());
        for jobs in ["-j1", "-j32"] {
            let urls = (0..300).map(|n| format!("{url}{n}"));
            let run = Run::new().args([&cacert, "--retries=0", "--ordered", jobs]);
            let done = go(run.urls(urls));
            assert_eq!(done.code, Some(0), "{protocols:?}: {}", done.stdout);
            assert_eq!(done.records.len(), 300);
            let of_last = done.records.last().unwrap().http.as_deref();
            assert_eq!(of_last, Some(last), "{protocols:?} {jobs}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_http1_after_the_head_is_asked_again_over_it() {
    let (authority, url) = secure(&["h2", "http/1.1"], |_, mut respond| {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"hel"), false).unwrap();
        tokio::spawn(async move {
            // Otherwise the reset overtakes the bytes.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            body.send_reset(Reason::HTTP_1_1_REQUIRED);
        });
    })
    .await;
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let done = go(Run::new().args([&cacert, "--retries=0", "--body", &url]));
    let record = done.record();
    assert_eq!(record.body.as_deref(), Some("hello"), "{}", done.stdout);
    assert_eq!((record.attempts, record.resends), (1, 1));
    assert_eq!(record.http.as_deref(), Some("1.1"));
}

/// Takes a request, and begins the answer if `in_body`; then closes the connection because the client
/// should use HTTP/1.1.
async fn turn_away(stream: TlsStream<TcpStream>, in_body: bool) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let Some(Ok((_, mut respond))) = connection.accept().await else {
        return;
    };
    let body = in_body.then(|| {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"hel"), false).unwrap();
        body
    });
    // Otherwise the end overtakes the bytes.
    let wait = std::time::Duration::from_millis(50);
    let _ = tokio::time::timeout(wait, connection.accept()).await;
    connection.abrupt_shutdown(Reason::HTTP_1_1_REQUIRED);
    let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
    drop(body);
}

/// The client library tells only that the connection ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_http2_connections_is_asked_over_http1_in_the_end() {
    for in_body in [false, true] {
        let serve = move |tls| turn_away(tls, in_body);
        let (authority, url) = secure_with(&["h2", "http/1.1"], serve).await;
        let file = authority.file();
        let cacert = format!("--cacert={}", file.path().display());
        let run = Run::new().args([&cacert, "--retries=2", "--retry-delay=1ms", "--body", &url]);
        let done = go(run);
        let record = done.record();
        assert_eq!(record.body.as_deref(), Some("hello"), "{}", done.stdout);
        assert_eq!(record.attempts, 3, "{in_body}");
        assert_eq!(record.http.as_deref(), Some("1.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_sent_again_ten_times_and_then_each_try_counts() {
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
    assert_eq!(REQUESTS.load(SeqCst), 3 * 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_a_hundred_kilobytes_is_taken() {
    let addr = plain(|_, mut respond| {
        let mut response = Response::new(());
        for n in 0..25 {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            let value = http::HeaderValue::try_from("x".repeat(4000)).unwrap();
            response.headers_mut().insert(name, value);
        }
        respond.send_response(response, true).unwrap();
    })
    .await;
    let url = format!("http://{addr}/");
    let done = go(Run::new().args(["--http2-prior-knowledge", "--retries=0", &url]));
    assert_eq!(done.code, Some(0), "{}", done.stdout);
}
