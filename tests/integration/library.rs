use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fetchall::demo::PracticeServer;
use fetchall::{Config, ErrorKind, FetchError, ResultFormat, Source, fetch_all_with, run};

use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request};

use crate::support::mock::{get, page, redirect, status};
use crate::support::{Server, response};

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
    let results = fetch_all_with(server.config(), urls).await;
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
    let pages = fetchall::fetch_all(urls).await;
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
    let mut config = Config::default();
    config.retry.retries = 2;
    config.retry.delay = Duration::from_millis(1);
    let paths = ["/fine", "/gone", "/busy", "/loop", "/packed"];
    let pages = fetch_all_with(config, paths.map(url)).await;
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
    config.input.sources = vec![Source::Url(server.url("/")); 2000];
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

/// A stream that takes nothing and never comes back.
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
        // 0.2 s, 0.2 s of grace, 0.5 s of patience; the rest is room for a busy machine.
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
    // What it had sent by then may still be read, on a busy machine.
    let mut before = None;
    while before != Some(server.requests().len()) {
        before = Some(server.requests().len());
        tokio::time::sleep(time).await;
    }
    assert!(before < Some(5000), "it went on to its end");
}
