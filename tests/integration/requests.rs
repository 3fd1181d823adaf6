use fetchall::ErrorKind;
use wiremock::matchers::{self, body_bytes, body_string, header, headers, method};
use wiremock::{Mock, MockBuilder, MockServer, Request, ResponseTemplate};

use crate::support::mock::{HeaderLine, Without, get, go, page, site, status};
use crate::support::{Run, Server, Texts, response, same_everywhere};

#[tokio::test(flavor = "multi_thread")]
async fn method_headers_agent_credentials_and_body_are_sent() {
    let server = MockServer::start().await;
    Mock::given(method("PUT"))
        .and(matchers::path("/x"))
        .and(header("x-one", "1"))
        .and(header("user-agent", "tester"))
        .and(header("authorization", "Basic bWU6c2VjcmV0"))
        .and(header("content-type", "text/plain"))
        .and(body_string("hello"))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    let url = format!("{}/x", server.uri());
    let run = Run::new().args([
        "-XPUT",
        "-HX-One: 1",
        "-Atester",
        "-ume:secret",
        "-HContent-Type: text/plain",
        "-dhello",
        &url,
    ]);
    assert_eq!(go(run, 0).record().status, Some(201));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_makes_a_post_of_a_form_and_can_come_from_a_file() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string("a=1\n"))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .mount(&server)
        .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("form");
    std::fs::write(&file, "a=1\n").unwrap();
    let from_file = format!("-d@{}", file.display());
    go(Run::new().args([&from_file, &server.uri()]), 0);
    go(Run::new().args(["-d@-", &server.uri()]).stdin("a=1\n"), 0);
    let done = go(Run::new().text().args(["-d@/nowhere", &server.uri()]), 2);
    assert!(done.stderr.contains("@/nowhere"), "{}", done.stderr);
    let text = same_everywhere(&done.stderr);
    insta::assert_snapshot!("body_that_cannot_be_read", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_reads_no_body() {
    let server = MockServer::start().await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(200).insert_header("content-type", "text/x"))
        .expect(1)
        .mount(&server)
        .await;
    let done = go(Run::new().args(["-I", &server.uri()]), 0);
    assert_eq!(
        (done.record().bytes, done.record().content_type.as_deref()),
        (Some(0), Some("text/x"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_asked_for_unless_told_not_to() {
    for (arg, asked) in [
        ("-XGET", "gzip, br, zstd, deflate"),
        ("--no-compression", "identity"),
        ("-HAccept-Encoding: br", "br"),
    ] {
        let server = MockServer::start().await;
        get("/")
            .and(HeaderLine("accept-encoding", asked))
            .respond_with(page("x"))
            .expect(1)
            .mount(&server)
            .await;
        go(Run::new().args([arg, &server.uri()]), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_coding_is_decoded() {
    let plain = "fetchall ".repeat(1000);
    let names = ["gzip", "br", "zstd", "deflate"];
    let server = MockServer::start().await;
    for name in names {
        let packed = std::fs::read(format!("fixtures/bodies/fetchall.{name}")).unwrap();
        get(&format!("/{name}"))
            .respond_with(page(packed).insert_header("content-encoding", name))
            .expect(1)
            .mount(&server)
            .await;
    }
    let urls = names.map(|name| format!("{}/{name}", server.uri()));
    let done = go(Run::new().arg("--body").urls(urls), 0);
    for record in &done.records {
        assert!(record.body.as_deref() == Some(&plain), "{}", record.url);
        assert_eq!(record.bytes, Some(9000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_counted() {
    let server = MockServer::start().await;
    let url = |path: &str| format!("{}{path}", server.uri());
    get("/start")
        .respond_with(status(301).insert_header("location", "/middle"))
        .expect(2)
        .mount(&server)
        .await;
    get("/middle")
        .respond_with(status(302).insert_header("location", "end#top"))
        .expect(1)
        .mount(&server)
        .await;
    get("/end")
        .respond_with(page("end"))
        .expect(1)
        .mount(&server)
        .await;
    let done = go(Run::new().arg(url("/start")), 0);
    let record = done.record();
    assert_eq!(
        (record.attempts, record.redirects, record.status),
        (3, 2, Some(200))
    );
    assert_eq!(record.final_url, Some(url("/end")));
    let run = Run::new().args(["--max-redirects=0", &url("/start")]);
    assert_eq!(go(run, 1).failure(), (ErrorKind::Redirect, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_beats_the_name_system() {
    let server = MockServer::start().await;
    let port = server.address().port();
    for (rule, name) in [
        ("no-such-name.invalid", "no-such-name.invalid"),
        ("*", "any.invalid"),
    ] {
        get("/")
            .and(header("host", format!("{name}:{port}")))
            .respond_with(status(200))
            .expect(1)
            .mount(&server)
            .await;
        let rule = format!("--resolve={rule}:{port}:127.0.0.1");
        let url = format!("http://{name}:{port}/");
        go(Run::new().args([rule, url]), 0);
    }
}

#[test]
fn connections_are_used_again_also_after_errors_and_redirects() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            let answer = match request.split(' ').nth(1).unwrap() {
                "/404" => response("404 Not Found", &[], &[b'x'; 5000]),
                "/302" => response("302 Found", &["Location: /ok"], b"see there"),
                _ => response("200 OK", &[], b"ok"),
            };
            // The body arrives later than the head, so the client has to wait before it can reuse
            // the connection.
            let (head, body) = answer.split_at(
                answer
                    .windows(4)
                    .position(|end| end == b"\r\n\r\n")
                    .unwrap()
                    + 4,
            );
            connection.send(head)?;
            std::thread::sleep(std::time::Duration::from_millis(10));
            connection.send(body)?;
        }
        Ok(())
    });
    for path in ["/404", "/302", "/ok"] {
        let connections = server.connections();
        Run::new().arg("-j1").urls(vec![server.url(path); 40]).go();
        // A connection returns to the pool in a task of its own (hyper#4134). Requests that look for
        // it before that wait, but not very many of them.
        assert_eq!(server.connections() - connections, 1, "{path}");
    }
}

#[test]
fn no_more_than_per_host_requests_are_on_their_way() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n, m) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::http(move |_| {
        m.fetch_max(n.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        n.fetch_sub(1, SeqCst);
        response("200 OK", &[], b"")
    });
    for (args, limit) in [(["-j64", "--per-host=3"], 3), (["-j2", "--per-host=50"], 2)] {
        most.store(0, SeqCst);
        Run::new()
            .args(args)
            .urls(vec![server.url("/"); 40])
            .expect_exit(0);
        assert_eq!(most.load(SeqCst), limit);
    }
}

/// Prepares a run with a list of JSON lines on stdin.
fn lines<const N: usize>(lines: [String; N]) -> Run {
    Run::new()
        .arg("--input-format=jsonl")
        .stdin(lines.join("\n"))
}

/// Expects exactly one such request. Every other request fails.
async fn expect_one(server: &MockServer, request: MockBuilder) {
    let request = request.respond_with(page("x")).expect(1);
    request.mount(server).await;
}

fn sent(verb: &str, path: &str) -> MockBuilder {
    Mock::given(method(verb)).and(matchers::path(path))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_can_have_a_request_of_its_own() {
    let server = MockServer::start().await;
    let uri = server.uri();
    let line = |path: &str, more: &str| format!("{{\"url\":\"{uri}{path}\"{more}}}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let own = ("authorization", "Basic bWU6c2VjcmV0");
    for request in [
        sent("GET", "/plain")
            .and(HeaderLine("x-one", "run"))
            .and(HeaderLine("x-two", "run"))
            .and(HeaderLine(own.0, own.1)),
        sent("DELETE", "/method"),
        sent("POST", "/body")
            .and(HeaderLine(form.0, form.1))
            .and(HeaderLine("x-one", "run"))
            .and(body_string("a=ü")),
        sent("PUT", "/typed")
            .and(HeaderLine("content-type", "application/json"))
            .and(body_string("{}")),
        sent("GET", "/headers")
            .and(headers("x-one", vec!["a", "b"]))
            .and(HeaderLine("x-two", "run"))
            .and(HeaderLine("authorization", "Bearer t"))
            .and(HeaderLine("user-agent", "me")),
        sent("POST", "/bytes")
            .and(HeaderLine("content-length", "2"))
            .and(body_bytes(b"\0\x01")),
    ] {
        expect_one(&server, request).await;
    }
    let run = lines([
        line("/plain", ""),
        line("/method", r#","method":"delete""#),
        line("/body", r#","body":"a=ü""#),
        line(
            "/typed",
            r#","method":"PUT","headers":{"Content-Type":"application/json"},"body":"{}""#,
        ),
        line(
            "/headers",
            r#","headers":{"X-One":["a","b"],"Authorization":"Bearer t","user-agent":"me"}"#,
        ),
        line("/bytes", r#","body_base64":"AAE=""#),
    ])
    .args(["-HX-One: run", "-HX-Two: run", "-ume:secret"]);
    let done = go(run, 0);

    assert_eq!(done.of("/plain").request, None);
    let digests: std::collections::BTreeSet<_> = done
        .records
        .iter()
        .filter_map(|record| record.request.as_ref())
        .collect();
    assert_eq!(digests.len(), 5, "each told apart: {}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_line_replaces_that_of_the_run() {
    let server = MockServer::start().await;
    let uri = server.uri();
    let line = |path: &str, more: &str| format!("{{\"url\":\"{uri}{path}\"{more}}}");
    let typed = |request: MockBuilder| request.and(HeaderLine("content-type", "text/x"));
    for request in [
        typed(sent("PUT", "/run")).and(body_string("run")),
        typed(sent("PUT", "/own")).and(body_string("own")),
        sent("GET", "/get")
            .and(Without("content-type"))
            .and(body_string("")),
        typed(sent("PATCH", "/patch")).and(body_string("run")),
    ] {
        expect_one(&server, request).await;
    }
    let run = lines([
        line("/run", ""),
        line("/own", r#","body":"own""#),
        line("/get", r#","method":"GET""#),
        line("/patch", r#","method":"PATCH""#),
    ]);
    go(run.args(["-XPUT", "-drun", "-HContent-Type: text/x"]), 0);
}

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_checked_against_what_its_line_expects() {
    // Without a length, which a mock server always sends.
    let chunked = Server::http(|_| {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        wire.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
        wire
    });
    let server = MockServer::start().await;
    let packed = std::fs::read("fixtures/bodies/fetchall.gzip").unwrap();
    get("/packed")
        .respond_with(page(packed).insert_header("content-encoding", "gzip"))
        .mount(&server)
        .await;
    for verb in ["GET", "HEAD"] {
        let hello = sent(verb, "/").respond_with(page("hello"));
        hello.mount(&server).await;
    }
    let check = |path: &str, more: &str, code: i32| {
        let url = match path {
            "/chunked" => chunked.url(path),
            _ => format!("{}{path}", server.uri()),
        };
        let line = format!("{{\"url\":\"{url}\",{more}}}");
        go(lines([line]).arg("--retry-delay=1ms"), code)
    };
    let right = format!(r#""size":5,"sha256":"{HELLO}""#);
    let record = check("/", &right, 0).record().clone();
    assert_eq!(record.sha256.unwrap().to_string(), HELLO);
    // The decoded size counts; without a body there is no check.
    check("/packed", r#""size":9000"#, 0);
    check("/chunked", &right, 0);
    check("/", r#""size":7,"method":"HEAD""#, 0);

    let mut texts = Texts::new();
    let other = HELLO.replace('2', "3");
    texts.hide(HELLO, "SHA256 of hello");
    texts.hide(&other, "another SHA256");
    for (path, more) in [
        ("/", r#""size":7"#.to_owned()),
        ("/chunked", r#""size":7"#.to_owned()),
        ("/chunked", r#""size":4"#.to_owned()),
        ("/", format!(r#""sha256":"{other}""#)),
    ] {
        let done = check(path, &more, 1);
        assert_eq!(done.failure(), (ErrorKind::Checksum, 2), "tried once more");
        assert_eq!(done.record().sha256, None);
        texts.add(format!("{path} {more}"), done.message());
    }
    insta::assert_snapshot!("bodies_that_are_not_as_expected", texts);
}

#[test]
fn a_length_that_is_wrong_from_the_start_is_not_waited_for() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
        connection.hang()
    });
    let line = format!("{{\"url\":\"{}\",\"size\":5}}", server.url("/"));
    let done = lines([line]).arg("--retries=0").expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Checksum, 1));
    insta::assert_snapshot!("length_that_is_wrong_from_the_start", done.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_is_hashed_when_asked_to() {
    let server = site(vec![], page("hello")).await;
    let done = go(Run::new().args(["--sha256", &server.uri()]), 0);
    assert_eq!(done.record().sha256.unwrap().to_string(), HELLO);
    let done = go(Run::new().arg(server.uri()), 0);
    assert_eq!(done.record().sha256, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_may_ask_for_a_part() {
    let server = MockServer::start().await;
    let part = status(206).insert_header("content-range", "bytes 0-4/9");
    get("/")
        .and(header("range", "bytes=0-4"))
        .respond_with(part.set_body_string("hello"))
        .expect(1)
        .mount(&server)
        .await;
    let line = format!(
        "{{\"url\":\"{}\",\"headers\":{{\"Range\":\"bytes=0-4\"}}}}",
        server.uri()
    );
    assert_eq!(go(lines([line]), 0).record().status, Some(206));
}

/// As in a list. The case of any other method is significant.
#[tokio::test(flavor = "multi_thread")]
async fn a_common_method_is_the_same_in_any_case() {
    for (verb, sent) in [
        ("get", "GET"),
        ("Post", "POST"),
        ("delete", "DELETE"),
        ("purge", "purge"),
    ] {
        let server = MockServer::start().await;
        // wiremock's own method matcher ignores case.
        Mock::given(move |request: &Request| request.method.as_str() == sent)
            .respond_with(status(200))
            .expect(3)
            .mount(&server)
            .await;
        let run = || Run::new().arg(server.uri());
        for run in [
            run().args(["-X", verb]),
            run().env("FETCHALL_REQUEST", verb),
            run().settings(&format!("request = '{verb}'")),
        ] {
            go(run, 0);
        }
    }
}

/// Such a header would change the framing of the request, or start another header.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_run_neither_frame_the_request_nor_hold_a_line_break() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(HeaderLine("content-length", "5"))
        .and(body_string("12345"))
        .respond_with(page("ok"))
        .expect(12)
        .mount(&server)
        .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("headers");
    let run = || Run::new().args(["-d12345", &server.uri()]);
    let mut texts = Texts::new();
    for header in [
        "Content-Length: 3",
        "content-length:5",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING: identity",
        "X-A: 1\rX-B: 2",
        "X-A: 1\r\rX-B: 2",
    ] {
        std::fs::write(&file, format!("X-First: 1\n{header}\n")).unwrap();
        let setting = format!("header = [{}]", serde_json::json!(header));
        for (from, run) in [
            ("-H", run().args(["-H", header])),
            ("-H@", run().arg(format!("-H@{}", file.display()))),
            (
                "FETCHALL_HEADER",
                run().env("FETCHALL_HEADER", format!("X-First: 1\n{header}")),
            ),
            ("settings", run().settings(&setting)),
        ] {
            let done = go(run, 2);
            texts.add(format!("{from} {header:?}"), &done.stderr);
        }
    }
    // In a file and in a variable, a line break ends a header.
    for header in [
        "X-A: 1\nX-B: 2",
        "X-A: 1\r\nX-B: 2",
        "X-A: 1\r\n",
        "X-A: 1\n",
        "\nX-A: 1",
        "X-A: 1\r",
    ] {
        let setting = format!("header = {}", serde_json::json!(header));
        for (from, run) in [
            ("-H", run().args(["-H", header])),
            ("settings", run().settings(&setting)),
        ] {
            let done = go(run, 2);
            texts.add(format!("{from} {header:?}"), &done.stderr);
        }
        std::fs::write(&file, header).unwrap();
        go(run().arg(format!("-H@{}", file.display())), 0);
        go(run().env("FETCHALL_HEADER", header), 0);
    }
    let agent = "a\r\nX-B: 2";
    let done = go(run().args(["-A", agent]), 2);
    texts.add(format!("-A {agent:?}"), &done.stderr);
    insta::assert_snapshot!("headers_that_cannot_be_sent", texts);
}
