use std::time::Duration;

use fetchall::ErrorKind;
use wiremock::matchers::{any, body_string, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, http2, literal};
use crate::support::mock::{go, site, status};
use crate::support::{Out, Run, Server, Texts, response, said};

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_what_is_final_is_not() {
    for (code, attempts) in [(503, 3), (500, 3), (408, 3), (404, 1), (501, 1), (999, 1)] {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(status(code))
            .expect(u64::from(attempts))
            .mount(&server)
            .await;
        let done = go(Run::new().args(["--retries=2", &server.uri()]), 1);
        assert_eq!(done.failure(), (ErrorKind::Status, attempts), "{code}");
    }
    let server = site(vec![status(503); 2], status(200)).await;
    let done = go(Run::new().arg(server.uri()), 0);
    assert_eq!(done.record().attempts, 3);
    assert!(done.record().total_ms.is_some());
    insta::assert_snapshot!("summary_with_retries", said(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_tried_again_only_when_it_is_safe() {
    for (busy, code, attempts) in [(status(503), 1, 1), (later(503, "0"), 0, 2)] {
        let server = MockServer::start().await;
        let post = || Mock::given(method("POST")).and(body_string("x"));
        post()
            .respond_with(busy)
            .up_to_n_times(1)
            .expect(1)
            .mount(&server)
            .await;
        post()
            .respond_with(status(200))
            .expect(u64::from(attempts - 1))
            .mount(&server)
            .await;
        let done = go(Run::new().args(["-dx", &server.uri()]), code);
        assert_eq!(done.record().attempts, attempts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_waited_for_and_uses_up_no_retry() {
    for (wait, least) in [("1", 3), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)] {
        let server = site(vec![later(429, wait); 3], status(200)).await;
        let done = go(Run::new().args(["--retries=1", &server.uri()]), 0);
        assert_eq!(done.record().attempts, 4);
        assert!(done.took >= Duration::from_secs(least), "each wait is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_beyond_its_bounds_fails_at_once_and_says_so() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(later(503, "100"))
        .expect(2)
        .mount(&server)
        .await;
    let mut texts = Texts::new();
    for bound in ["--retry-after-max=30s", "--max-wait=30s"] {
        let done = go(Run::new().args([bound, &server.uri()]), 1);
        assert_eq!(done.failure(), (ErrorKind::Status, 1));
        let (flag, _) = bound.split_once('=').unwrap();
        assert!(done.message().contains(flag), "{}", done.message());
        texts.add(bound, done.message());
    }
    insta::assert_snapshot!("waits_beyond_their_bounds", texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_waits_costs_the_others_nothing() {
    let limited = site(vec![later(429, "2")], status(200)).await;
    let quick = site(vec![], status(200)).await;
    let mut urls = vec![
        format!("{}/0", limited.uri()),
        format!("{}/1", limited.uri()),
    ];
    urls.extend((0..50).map(|n| format!("{}/{n}", quick.uri())));
    let run = Run::new().args(["-j1", "--per-host=1"]).urls(&urls);
    let done = go(run, 0);
    let last: Vec<_> = done
        .records
        .iter()
        .rev()
        .take(2)
        .map(|record| record.url.clone())
        .collect();
    assert!(
        last.contains(&urls[0]) && last.contains(&urls[1]),
        "the held host comes last"
    );
}

fn later(code: u16, wait: &str) -> ResponseTemplate {
    status(code).insert_header("retry-after", wait)
}

async fn methods(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().map(|one| one.method.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_403_that_says_when_is_waited_for_and_a_bare_one_is_final() {
    for (first, attempts) in [
        (later(403, "0"), 2),
        (
            status(403)
                .insert_header("x-ratelimit-remaining", "0")
                .insert_header("x-ratelimit-reset-after", "0.1"),
            2,
        ),
        (status(403), 1),
        (later(403, "soon"), 1),
    ] {
        let server = site(vec![first], status(200)).await;
        let done = go(
            Run::new().args(["--retries=1", &server.uri()]),
            i32::from(attempts == 1),
        );
        assert_eq!(done.record().attempts, attempts, "{}", done.stdout);
    }
    // A request that changes something is sent again only after 429 and 503.
    let server = site(vec![later(403, "0")], status(200)).await;
    let done = go(Run::new().args(["-dx", &server.uri()]), 1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_202_that_says_when_is_no_body_to_save() {
    let made = status(200).set_body_string("a,b\n1,2\n");
    let still = later(202, "0.2").set_body_string("{\"status\":\"Processing\"}");
    let server = site(vec![still.clone(), still.clone()], made).await;
    let url = format!("{}/export.csv", server.uri());
    let out = Out::new();
    let done = go(out.run().args(["--retries=1", &url]), 0);
    let record = done.record();
    assert_eq!((record.status, record.attempts), (Some(200), 3));
    assert_eq!(out.body(record), b"a,b\n1,2\n");
    assert_eq!(out.journal().len(), 1);
    insta::assert_snapshot!("summary_without_retries", said(&done.stderr));

    // The file never becomes ready: nothing is saved, and the next run requests it again.
    let server = site(vec![], still).await;
    let out = Out::new();
    let mut texts = Texts::new();
    for args in ["--max-wait=300ms", "--retries=0", "--retry-after-max=100ms"] {
        let done = go(out.run().args([args, &server.uri()]), 1);
        let record = done.record();
        assert_eq!(record.status, Some(202));
        assert!(record.error.as_ref().unwrap().transient);
        texts.add(args, done.message());
        assert_eq!((&record.file, record.bytes), (&None, None));
    }
    insta::assert_snapshot!("accepted_and_still_being_made", texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_202_that_says_nothing_or_is_an_answer_to_a_change_is_fetched() {
    for (answer, args) in [
        (status(202), "-XGET"),
        (later(202, "soon"), "-XGET"),
        (later(202, "0"), "-dx"),
        (later(202, "0"), "-XPUT"),
        (later(202, "0"), "-XDELETE"),
        (later(202, "0"), "--retry-on=!202"),
    ] {
        let server = site(vec![answer], status(200)).await;
        let done = go(Run::new().args([args, &server.uri()]), 0);
        let record = done.record();
        assert_eq!((record.status, record.attempts), (Some(202), 1), "{args}");
    }
    // The user knows that this server means "not yet".
    let server = site(vec![status(202)], status(200)).await;
    let done = go(Run::new().args(["--retry-on=202", &server.uri()]), 0);
    assert_eq!(done.record().status, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_lines_of_retry_after_the_longest_counts() {
    let answer = later(503, "0.1").append_header("retry-after", "1.5, 0.5");
    let server = site(vec![answer], status(200)).await;
    let done = go(Run::new().arg(server.uri()), 0);
    assert_eq!(done.record().attempts, 2);
    assert!(done.took >= Duration::from_millis(1500), "{:?}", done.took);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_is_asked_once_more_with_get() {
    for (first, code) in [(405, 0), (501, 0), (404, 1)] {
        let server = site(vec![status(first)], status(200).set_body_string("body")).await;
        let run = Run::new().args(["-I", "--retries=0", &server.uri()]);
        let done = go(run, code);
        let record = done.record();
        let (resends, sent): (_, &[_]) = match code {
            0 => (1, &["HEAD", "GET"]),
            _ => (0, &["HEAD"]),
        };
        assert_eq!((record.attempts, record.resends), (1, resends), "{first}");
        assert_eq!(methods(&server).await, sent);
        if code == 0 {
            assert_eq!((record.status, record.bytes), (Some(200), Some(0)));
        }
    }
    // Also for the method of a line. A failure after that is retried as GET.
    let server = site(vec![status(405), status(503)], status(200)).await;
    let line = format!(r#"{{"url":"{}","method":"HEAD"}}"#, server.uri());
    let run = Run::new().args(["--input-format=jsonl"]).urls([line]);
    let done = go(run, 0);
    assert_eq!((done.record().attempts, done.record().resends), (2, 1));
    assert_eq!(methods(&server).await, ["HEAD", "GET", "GET"]);
    // Only once.
    let server = site(vec![], status(405)).await;
    let done = go(Run::new().args(["-I", &server.uri()]), 1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
    assert_eq!(methods(&server).await, ["HEAD", "GET"]);
}

/// The server announces a gigabyte and keeps the connection open.
#[test]
fn the_body_of_the_get_that_stands_for_a_head_is_not_read() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            if request.starts_with("HEAD") {
                connection.send(b"HTTP/1.1 405 No\r\nContent-Length: 7\r\n\r\n")?;
            } else {
                connection.send(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\nContent-Encoding: gzip\r\n\r\n",
                )?;
                connection.send(&[0; 100_000])?;
                return connection.hang();
            }
        }
        Ok(())
    });
    let urls = [server.url("/1"), server.url("/2")];
    let done = Run::new()
        .args([
            "-I",
            "-j1",
            "--sha256",
            "--max-size=1KiB",
            "--stall-timeout=30s",
        ])
        .urls(&urls)
        .expect_exit(0);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    for record in &done.records {
        assert_eq!((record.bytes, record.sha256), (Some(0), None));
    }
}

/// Over HTTP/2, only the stream ends; the connection stays open.
#[test]
fn over_http2_the_stream_of_such_a_get_is_reset() {
    let server = http2(|peer, stream, number| match number % 2 {
        0 => {
            let no = literal(":status", "405");
            peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &no)
        }
        _ => {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, &[b'x'; 5000])
        }
    });
    let urls = (0..3).map(|n| server.url(&format!("/{n}")));
    let done = Run::new()
        .args(["-I", "-j1", "--http2-prior-knowledge"])
        .urls(urls)
        .expect_exit(0);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    for record in &done.records {
        assert_eq!((record.bytes, record.resends), (Some(0), 1));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_is_retried_and_what_is_taken_out_is_not() {
    let server = site(vec![status(404)], status(200)).await;
    let done = go(Run::new().args(["--retry-on=4xx,!410", &server.uri()]), 0);
    assert_eq!(done.record().attempts, 2);
    for (list, code, attempts, transient) in [
        ("404", 404, 3, true),
        ("5xx,!503", 503, 1, false),
        ("!503,5xx", 503, 3, true),
        ("!status", 503, 1, false),
        ("404", 503, 3, true),
    ] {
        let server = site(vec![], status(code)).await;
        let run = Run::new().args(["--retries=2", "--retry-on", list, &server.uri()]);
        let done = go(run, 1);
        let error = done.record().error.as_ref().unwrap();
        assert_eq!(
            (done.record().attempts, error.transient),
            (attempts, transient),
            "{list} {code}"
        );
    }
    let done = go(
        Run::new().args(["--retries=2", "--retry-on=!refused", "http://127.0.0.1:1/"]),
        1,
    );
    assert_eq!(done.failure(), (ErrorKind::Refused, 1));
    assert!(!done.record().error.as_ref().unwrap().transient);
    // A POST is not sent twice for that.
    let server = site(vec![status(404)], status(200)).await;
    let done = go(Run::new().args(["--retry-on=404", "-dx", &server.uri()]), 1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_an_option_like_any_other_and_shows_where_it_is_wrong() {
    let server = site(vec![], status(404)).await;
    let run = || Run::new().args(["--retries=1", &server.uri()]);
    let by_variable = go(run().env("FETCHALL_RETRY_ON", "404"), 1);
    let by_file = go(run().settings("retry-on = \"404\"\n"), 1);
    assert_eq!(by_variable.record().attempts, 2);
    assert_eq!(by_file.record().attempts, 2);
    let lists = go(run().args(["--retry-on=404", "--retry-on=tls,!500"]), 1);
    assert_eq!(lists.record().attempts, 2, "several lists are one");

    let mut texts = Texts::new();
    for (run, named) in [
        (run().arg("--retry-on=404,tsl,!500"), "--retry-on"),
        (run().env("FETCHALL_RETRY_ON", "save"), "FETCHALL_RETRY_ON"),
        (
            run().settings("json = true\nretry-on = '2xx'\n"),
            "settings.toml:2",
        ),
    ] {
        let done = go(run.text(), 2);
        assert!(done.stderr.contains(named), "{}", done.stderr);
        texts.add(named, &done.stderr);
    }
    insta::assert_snapshot!("lists_that_are_wrong", texts);
}

/// The connection may be what is stuck, and then the request would be stuck there again.
#[test]
fn after_a_timeout_the_request_goes_over_a_connection_of_its_own() {
    let server = Server::start(|connection| {
        if connection.request()?.is_some() {
            connection.send(&response("200 OK", &[], b"ok"))?;
        }
        // A second request stays without an answer.
        while connection.request()?.is_some() {}
        Ok(())
    });
    let urls: Vec<_> = (0..4).map(|n| server.url(&format!("/{n}"))).collect();
    for option in ["--stall-timeout=400ms", "--max-time=400ms"] {
        let done = Run::new()
            .args([option, "-j1", "--retries=1", "--retry-delay=1ms"])
            .urls(&urls)
            .expect_exit(0);
        assert_eq!(done.records.len(), 4);
        // Such a connection is left in the pool, and the next URL fails over it.
        assert!(done.records.iter().any(|record| record.attempts == 2));
    }
}
