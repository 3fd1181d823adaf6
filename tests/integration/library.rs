use std::time::Duration;

use fetchall::demo::PracticeServer;
use fetchall::{Config, ErrorKind, Format, Source, fetch_all_with, run};

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
    let server = Server::http(|request| {
        response("200 OK", &[], request.split(' ').nth(1).unwrap().as_bytes())
    });
    let urls: Vec<_> = (0..1000).map(|n| server.url(&format!("/{n}"))).collect();
    let pages = fetchall::fetch_all(urls).await;
    for (n, page) in pages.iter().enumerate() {
        assert_eq!(page.as_ref().unwrap().body, format!("/{n}"));
    }
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
    config.report.results = Some((Format::Json, Box::new(file.reopen().unwrap())));
    let summary = run(config, tokio::time::sleep(Duration::from_millis(400)))
        .await
        .unwrap();
    let lines = std::fs::read_to_string(file.path())
        .unwrap()
        .lines()
        .count() as u64;
    assert_eq!(summary.input, 2000);
    assert_eq!(summary.fetched, lines);
    assert!(summary.interrupted && summary.left > 0 && summary.fetched > 0);
    assert_eq!(
        summary.fetched + summary.failed + summary.skipped + summary.left,
        summary.input
    );
}
