use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fetchall::demo::PracticeServer;
use fetchall::program::{Config, ResultFormat, Source, run};
use fetchall::{BuildError, ErrorKind, FetchError, Fetcher, HostOptions, List, Problem, Sink};

use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request};

use crate::support::mock::{get, page, redirect, status};
use crate::support::{Server, header, response};

#[tokio::test]
async fn fetch_all_answers_in_input_order_whatever_the_lines_are() {
    let server = PracticeServer::start().await.unwrap();
    let slow = server.url("slow", "/1");
    let urls = [
        slow.as_str(),
        "",
        "# not a comment here",
        &server.url("quick", "/2"),
        "a\nb",
    ];
    let fetcher = server.fetcher().build().unwrap();
    let results = fetcher.fetch_all(urls).await.unwrap();
    assert_eq!(results.len(), urls.len());
    assert_eq!(results[0].as_ref().unwrap().url, slow);
    assert_eq!(results[3].as_ref().unwrap().body, "<p>quick /2</p>\n");
    for bad in [1, 2, 4] {
        assert_eq!(
            results[bad].as_ref().unwrap_err().kind(),
            ErrorKind::InvalidUrl,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn many_more_urls_than_workers() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(|request: &Request| page(request.url.path()))
        .expect(1000)
        .mount(&server)
        .await;
    let urls: Vec<_> = (0..1000).map(|n| format!("{}/{n}", server.uri())).collect();
    let pages = fetchall::fetch_all(urls).await.unwrap();
    for (n, page) in pages.iter().enumerate() {
        assert_eq!(page.as_ref().unwrap().body, format!("/{n}"));
    }
}

#[tokio::test]
async fn errors_are_typed_and_say_what_the_server_said() {
    let server = MockServer::start().await;
    let url = |path: &str| format!("{}{path}", server.uri());
    for (path, answer, sent) in [
        ("/fine", page("fine"), 1),
        ("/gone", status(410), 1),
        ("/busy", status(503), 3),
        ("/loop", redirect("/loop"), 3),
        (
            "/packed",
            page("x").insert_header("content-encoding", "gzip"),
            1,
        ),
    ] {
        get(path)
            .respond_with(answer)
            .expect(sent)
            .mount(&server)
            .await;
    }
    let builder = Fetcher::builder().retries(2);
    let fetcher = builder.retry_delay(Duration::from_millis(1)).build();
    let paths = ["/fine", "/gone", "/busy", "/loop", "/packed"];
    let pages = fetcher.unwrap().fetch_all(paths.map(url)).await.unwrap();
    let kinds: Vec<_> = pages
        .iter()
        .map(|page| {
            page.as_ref()
                .err()
                .map(|error| (error.kind(), error.is_transient()))
        })
        .collect();
    assert_eq!(
        kinds,
        [
            None,
            Some((ErrorKind::Status, false)),
            Some((ErrorKind::Status, true)),
            Some((ErrorKind::Redirect, false)),
            Some((ErrorKind::Decode, false)),
        ]
    );
    assert!(matches!(pages[1], Err(FetchError::Status { status, .. }) if status == 410));
}

#[tokio::test]
async fn run_writes_where_it_is_told_and_stops_when_it_is_told() {
    let server = Server::http(|_| {
        std::thread::sleep(Duration::from_millis(50));
        response("200 OK", &[], b"ok")
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut config = Config::default();
    config.input.sources = (0..2000).map(|_| Source::Url(server.url("/"))).collect();
    config.report.results = Some((ResultFormat::Json, Box::new(file.reopen().unwrap())));
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    config.report.on_record = Some(Box::new(move |record| {
        assert!(record.ok && record.attempts == 1);
        count.fetch_add(1, SeqCst);
    }));
    let summary = run(config, tokio::time::sleep(Duration::from_millis(400)))
        .await
        .unwrap();
    let lines = std::fs::read_to_string(file.path())
        .unwrap()
        .lines()
        .count() as u64;
    assert_eq!(summary.input, 2000);
    assert_eq!(summary.fetched, lines);
    assert_eq!(seen.load(SeqCst), lines);
    assert_eq!(summary.ended_by, Some(fetchall::EndReason::Shutdown));
    assert!(summary.left > 0 && summary.fetched > 0);
    assert_eq!(
        summary.fetched + summary.failed + summary.skipped + summary.left,
        summary.input
    );
}

/// A stream whose writes never return.
struct Stuck;

impl std::io::Write for Stuck {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_shutdown_is_enough_even_when_a_request_hangs_or_a_writer_is_stuck() {
    let hung = Server::start(|connection| {
        connection.request()?;
        connection.hang()
    });
    let quick = Server::http(|_| response("200 OK", &[], b"ok"));
    for (url, stuck) in [(hung.url("/"), false), (quick.url("/"), true)] {
        let mut config = Config::default();
        config.input.sources = vec![Source::Url(url)];
        config.engine.grace = Duration::from_millis(200);
        if stuck {
            config.report.results = Some((ResultFormat::Json, Box::new(Stuck)));
        }
        let start = std::time::Instant::now();
        let end = run(config, tokio::time::sleep(Duration::from_millis(200))).await;
        // 0.2 s until the shutdown, 0.2 s of grace, 0.5 s for the writer; the rest allows for a
        // busy machine.
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
        let summary = end.unwrap_or_else(|error| *error.summary);
        assert_eq!((summary.input, summary.left), (1, 1), "stuck: {stuck}");
    }
}

#[tokio::test]
async fn dropping_a_run_ends_it() {
    let server = Server::http(|_| {
        std::thread::sleep(Duration::from_millis(20));
        response("200 OK", &[], b"ok")
    });
    let urls = vec![server.url("/"); 5000];
    let time = Duration::from_millis(500);
    assert!(
        tokio::time::timeout(time, fetchall::fetch_all(urls))
            .await
            .is_err()
    );
    // On a busy machine, the server may still read requests sent before the drop.
    let mut before = None;
    while before != Some(server.requests().len()) {
        before = Some(server.requests().len());
        tokio::time::sleep(time).await;
    }
    assert!(before < Some(5000), "it went on to its end");
}

#[tokio::test]
async fn a_stream_gives_results_as_they_settle_and_asks_for_urls_as_they_are_taken() {
    let server = MockServer::start().await;
    get("/slow")
        .respond_with(page("slow").set_delay(Duration::from_millis(500)))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(|request: &Request| page(request.url.path()))
        .mount(&server)
        .await;
    let taken = Arc::new(AtomicU64::new(0));
    let urls = std::iter::once(format!("{}/slow", server.uri())).chain({
        let (base, taken) = (server.uri(), Arc::clone(&taken));
        (1..1_000_000).map(move |n| {
            taken.fetch_add(1, SeqCst);
            format!("{base}/{n}")
        })
    });
    let fetcher = Fetcher::builder().concurrency(8).build().unwrap();
    let mut stream = fetcher.stream(urls);
    let mut order = Vec::new();
    while !order.contains(&0) {
        let settled = stream.next().await.unwrap();
        assert!(settled.url.starts_with(&server.uri()));
        let path = settled.url.rsplit('/').next().unwrap();
        let body = settled.result.unwrap().body;
        assert!(path == "slow" || body == format!("/{}", settled.index));
        order.push(settled.index);
    }
    assert!(order.len() > 8, "{order:?}");
    // While no results are taken, no more URLs are requested.
    let mut before = None;
    while before != Some(taken.load(SeqCst)) {
        before = Some(taken.load(SeqCst));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(before < Some(100_000), "{before:?}");
    drop(stream);
}

#[tokio::test]
async fn a_stream_ends_with_its_last_result_and_has_counts() {
    let server = MockServer::start().await;
    get("/fine").respond_with(page("fine")).mount(&server).await;
    let fetcher = Fetcher::builder().retries(0).build().unwrap();
    let urls = ["/fine", "/gone"].map(|path| format!("{}{path}", server.uri()));
    let mut stream = fetcher.stream(urls);
    while stream.next().await.is_some() {}
    let summary = stream.finish().await.unwrap();
    assert_eq!((summary.fetched, summary.failed), (1, 1));
}

#[tokio::test]
async fn a_run_reads_lists_saves_bodies_and_goes_on_where_it_was() {
    let server = MockServer::start().await;
    get("/a")
        .respond_with(page("a"))
        .expect(1)
        .mount(&server)
        .await;
    get("/b")
        .respond_with(page("b"))
        .expect(1)
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("urls.txt");
    std::fs::write(&list, format!("{}/a\n", server.uri())).unwrap();
    let fetcher = Fetcher::builder().build().unwrap();
    let run = |list: List| {
        let sink = Sink::records(|record| assert!(record.error.is_none()));
        let sink = sink.save_to(folder.path().join("pages"));
        fetcher.run(list, sink, std::future::pending())
    };
    let summary = run(List::file(&list)).await.unwrap();
    assert_eq!((summary.fetched, summary.skipped), (1, 0));
    let more = List::urls([format!("{}/b", server.uri())]);
    let summary = run(List::file(&list).chain(more)).await.unwrap();
    assert_eq!((summary.fetched, summary.skipped), (1, 1));
}

#[tokio::test]
async fn a_pack_of_the_library_holds_requests_too() {
    let server = MockServer::start().await;
    get("/a").respond_with(page("a")).mount(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("x.warc");
    let fetcher = Fetcher::builder().build().unwrap();
    let list = List::urls([format!("{}/a", server.uri())]);
    let sink = Sink::default().pack(&pack);
    let summary = fetcher.run(list, sink, std::future::pending()).await;
    assert_eq!(summary.unwrap().fetched, 1);
    let pack = std::fs::read(&pack).unwrap();
    let pack = String::from_utf8_lossy(&pack);
    assert!(
        pack.contains("WARC-Type: request") && pack.contains("GET /a HTTP/1.1"),
        "{pack}"
    );
}

#[tokio::test]
async fn what_breaks_a_run_is_no_failure_of_its_urls() {
    let server = MockServer::start().await;
    let fetcher = Fetcher::builder().retries(0).concurrency(1);
    let fetcher = fetcher
        .max_failures(fetchall::MaxFailures::Number(1))
        .build();
    let urls = vec![server.uri(); 50];
    let error = fetcher.unwrap().fetch_all(urls).await.unwrap_err();
    assert!(matches!(error.problem, Problem::EndedEarly(_)), "{error}");
    assert!(error.summary.left > 0);

    let fetcher = Fetcher::builder().build().unwrap();
    let list = List::file("/nowhere/urls.txt");
    let error = fetcher.run(list, Sink::default(), std::future::pending());
    let error = error.await.unwrap_err();
    assert!(matches!(error.problem, Problem::Input(_)), "{error}");
}

#[tokio::test]
async fn a_fetcher_keeps_its_connections_from_one_fetch_to_the_next() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let fetcher = Fetcher::builder().concurrency(1).build().unwrap();
    for _ in 0..3 {
        let pages = fetcher.fetch_all([server.url("/")]).await.unwrap();
        assert!(pages[0].is_ok());
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn options_that_are_wrong_are_told_by_the_builder() {
    let builder = Fetcher::builder;
    for (builder, name) in [
        (builder().concurrency(0), "concurrency"),
        (builder().per_host(0), "per_host"),
        (builder().rate(0.0), "rate"),
        (builder().rate(f64::NAN), "rate"),
        (builder().header("a b", "c"), "header"),
        (builder().header("a", "c\nd"), "header"),
        (builder().header("content-length", "3"), "header"),
        (builder().user_agent("a\nb"), "user_agent"),
    ] {
        match builder.build() {
            Err(BuildError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let missing = builder().ca_certificates("/nowhere/ca.pem").build();
    assert!(matches!(missing, Err(BuildError::Transport(_))));
}

#[tokio::test]
async fn a_builder_sends_what_it_was_told() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let fetcher = Fetcher::builder()
        .header("x-a", "1")
        .user_agent("mine")
        .basic_auth("me", "pw")
        .body("k=v")
        .build()
        .unwrap();
    assert!(!format!("{fetcher:?}").contains("pw"));
    fetcher.fetch_all([server.url("/")]).await.unwrap();
    let request = &server.requests()[0];
    for line in [
        "POST / HTTP/1.1",
        "x-a: 1",
        "user-agent: mine",
        "authorization: Basic bWU6cHc=",
        "content-type: application/x-www-form-urlencoded",
    ] {
        assert!(request.contains(line), "{request}");
    }
}

#[tokio::test]
async fn credentials_and_options_of_hosts_are_given_as_they_are() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let url = server.url("/");
    let host = HostOptions::new().header("X-Key", "1").retries(0);
    let fetcher = Fetcher::builder()
        .netrc("machine 127.0.0.1 login me password pw")
        .cookies("127.0.0.1\tFALSE\t/\tFALSE\t0\tk\tv\n")
        .share_cookies(true)
        .header("x-key", "0")
        .host("127.0.0.1", host);
    let pages = fetcher.build().unwrap().fetch_all([url]).await.unwrap();
    assert!(pages[0].is_ok());
    let request = &server.requests()[0];
    assert_eq!(header(request, "x-key"), Some("1"));
    assert_eq!(header(request, "cookie"), Some("k=v"));
    assert_eq!(header(request, "authorization"), Some("Basic bWU6cHc="));
    for (builder, message) in [
        (
            Fetcher::builder().host("*.test", HostOptions::new()),
            "host",
        ),
        (
            Fetcher::builder().host("a.test", HostOptions::new().per_host(0)),
            "host",
        ),
        (
            Fetcher::builder().host("a.test", HostOptions::new().header("cookie", "s3cret")),
            "host",
        ),
        (Fetcher::builder().netrc("machine"), "netrc"),
        (Fetcher::builder().cookies("s3cret"), "cookies"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid {message}: ")),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    let secret = HostOptions::new()
        .header("x-key", "s3cret")
        .basic_auth("me", "s3cret");
    assert!(!format!("{secret:?}").contains("s3cret"));
}
