use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use fetchall::ErrorKind;

use crate::support::{Run, Server, response};

/// Answers `first` to the first `n` requests, and 200 after that.
fn after(n: usize, first: &'static str, headers: &'static [&'static str]) -> Server {
    let seen = AtomicUsize::new(0);
    Server::http(move |_| {
        if seen.fetch_add(1, SeqCst) < n {
            response(first, headers, b"not now")
        } else {
            response("200 OK", &[], b"ok")
        }
    })
}

#[test]
fn what_passes_is_tried_again_and_what_is_final_is_not() {
    for (status, attempts) in [
        ("503 Busy", 3),
        ("500 Oops", 3),
        ("408 Late", 3),
        ("404 Gone", 1),
        ("501 No", 1),
        ("999 Odd", 1),
    ] {
        let server = after(9, status, &[]);
        let done = Run::new()
            .args(["--retries=2", &server.url("/")])
            .expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Status, attempts), "{status}");
    }
    let server = after(2, "503 Busy", &[]);
    let done = Run::new().arg(server.url("/")).expect_exit(0);
    assert_eq!(done.record().attempts, 3);
    assert!(done.record().total_ms.is_some());
    assert!(done.stderr.contains("2 retries"), "{}", done.stderr);
}

#[test]
fn a_post_is_tried_again_only_when_it_is_safe() {
    let server = after(1, "503 Busy", &[]);
    assert_eq!(
        Run::new()
            .args(["-dx", &server.url("/")])
            .expect_exit(1)
            .failure()
            .1,
        1
    );
    let server = after(1, "503 Busy", &["Retry-After: 0"]);
    assert_eq!(
        Run::new()
            .args(["-dx", &server.url("/")])
            .expect_exit(0)
            .record()
            .attempts,
        2
    );
}

#[test]
fn retry_after_is_waited_for_and_uses_up_no_retry() {
    for header in [
        &["Retry-After: 1"],
        &["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"],
    ] {
        let server = after(3, "429 Slow Down", header);
        let start = Instant::now();
        let done = Run::new()
            .args(["--retries=1", &server.url("/")])
            .expect_exit(0);
        assert_eq!(done.record().attempts, 4);
        if header[0] == "Retry-After: 1" {
            assert!(
                start.elapsed() >= Duration::from_secs(3),
                "each wait is kept"
            );
        }
    }
}

#[test]
fn a_wait_beyond_its_bounds_fails_at_once_and_says_so() {
    let server = after(9, "503 Busy", &["Retry-After: 100"]);
    let done = Run::new()
        .args(["--retry-after-max=30s", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
    assert!(
        done.message().contains("longer than --retry-after-max 30s"),
        "{}",
        done.message()
    );
    let done = Run::new()
        .args(["--max-wait=30s", &server.url("/")])
        .expect_exit(1);
    assert!(
        done.message().contains("longer than --max-wait 30s"),
        "{}",
        done.message()
    );
}

#[test]
fn a_host_that_waits_costs_the_others_nothing() {
    let limited = after(1, "429 Slow Down", &["Retry-After: 2"]);
    let quick = Server::http(|_| response("200 OK", &[], b"ok"));
    let mut urls = vec![limited.url("/0"), limited.url("/1")];
    urls.extend((0..50).map(|n| quick.url(&format!("/{n}"))));
    let done = Run::new()
        .args(["-j1", "--per-host=1"])
        .urls(&urls)
        .expect_exit(0);
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
