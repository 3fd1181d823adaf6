use std::time::Duration;

use fetchall::ErrorKind;
use fetchall::program::{Config, EngineOptions, HttpOptions, RetryPolicy};

use crate::support::{Run, Server, path, placeholders, response};

#[test]
fn an_announced_size_beyond_the_limit_is_refused_at_the_head() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741825\r\n\r\n")?;
        connection.hang()
    });
    let done = Run::new().urls([server.url("/")]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::TooLarge, 1));
    insta::assert_snapshot!("announced_size", done.message());
}

/// Bodies in records are held in memory, so their limit is lower.
#[test]
fn with_bodies_in_records_the_limit_is_lower_and_holds_after_decoding() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let chunk = [
            b"100000\r\n".to_vec(),
            vec![b'x'; 1 << 20],
            b"\r\n".to_vec(),
        ]
        .concat();
        // The body never ends.
        loop {
            connection.send(&chunk)?;
        }
    });
    let done = Run::new()
        .arg("--body")
        .urls([server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::TooLarge, 1));
    insta::assert_snapshot!("size_after_decoding", done.message());
}

#[test]
fn redirects_end_after_ten() {
    let server = Server::http(|request| {
        let n: u32 = path(request).trim_start_matches('/').parse().unwrap();
        response("302 Found", &[&format!("Location: /{}", n + 1)], b"")
    });
    let done = Run::new().urls([server.url("/0")]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Redirect, 11));
    insta::assert_snapshot!("redirects", placeholders(done.message(), &[]));
}

#[test]
fn heads_are_limited_in_number_and_size() {
    let many = |n: usize| {
        let fields: Vec<_> = (0..n).map(|n| format!("X-{n}: y")).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        response("200 OK", &fields, b"")
    };
    let large = response("200 OK", &[&format!("X: {}", "y".repeat(1 << 20))], b"");
    // The length is also a header.
    for (reply, fails) in [(many(999), false), (many(1000), true), (large, true)] {
        let server = Server::http(move |_| reply.clone());
        let done = Run::new().urls([server.url("/")]).go();
        match fails {
            true => assert_eq!(done.failure(), (ErrorKind::Protocol, 1)),
            false => assert_eq!(done.code, Some(0), "{}", done.stdout),
        }
    }
}

/// A test that reached these limits would take as long as they are.
#[test]
fn every_wait_has_a_limit_by_default() {
    let Config {
        engine,
        retry,
        http,
        ..
    } = Config::default();
    let EngineOptions {
        stall_timeout,
        grace,
        max_size,
        max_redirects,
        ..
    } = engine;
    assert_eq!(stall_timeout, Some(Duration::from_secs(30)));
    assert_eq!(grace, Duration::from_secs(10));
    assert_eq!((max_size, max_redirects), (1 << 30, 10));
    let HttpOptions {
        connect_timeout, ..
    } = http;
    assert_eq!(connect_timeout, Duration::from_secs(10));
    let RetryPolicy {
        retries,
        max_delay,
        retry_after_max,
        max_wait,
        ..
    } = retry;
    assert_eq!((retries, max_delay), (3, Duration::from_secs(30)));
    assert_eq!(retry_after_max, Duration::from_secs(300));
    assert_eq!(max_wait, Duration::from_secs(900));
}
