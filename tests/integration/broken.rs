use std::io::Write;
use std::time::{Duration, Instant};

use fetchall::ErrorKind;

use crate::support::{Connection, Done, Run, Server, black_hole, closed_port, response};

/// One URL of a server that misbehaves, with two retries.
fn fetch(serve: impl Fn(&mut Connection) -> std::io::Result<()> + Send + Sync + 'static) -> Done {
    let server = Server::start(serve);
    Run::new()
        .args(["--retries=2", "--stall-timeout=300ms", &server.url("/")])
        .go()
}

/// A server that answers every request with these bytes and closes.
fn wire(bytes: &'static [u8]) -> Done {
    fetch(move |connection| {
        connection.request()?;
        connection.send(bytes)
    })
}

#[test]
fn nothing_listens() {
    let done = Run::new()
        .args(["--retries=2", &format!("http://{}/", closed_port())])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Refused, 3));
}

#[test]
fn a_black_hole_is_a_connect_timeout() {
    let (addr, _guard) = black_hole();
    let start = Instant::now();
    let done = Run::new()
        .args([
            "--retries=1",
            "--connect-timeout=200ms",
            "--stall-timeout=100ms",
            &format!("http://{addr}/"),
        ])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::ConnectTimeout, 2));
    assert_eq!(
        done.message(),
        "not connected within 200ms (--connect-timeout)"
    );
    // Two tries of 200 ms; the rest is room for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_name_that_does_not_exist_is_final() {
    // RFC 6761: .invalid never exists. Without a network the name system may not be able
    // to tell; that is a failure that may pass.
    let done = Run::new()
        .args(["--retries=1", "http://no-such-name.invalid/"])
        .expect_exit(1);
    let (kind, attempts) = done.failure();
    assert_eq!(kind, ErrorKind::Dns);
    let transient = done.record().error.as_ref().unwrap().transient;
    assert_eq!(attempts, if transient { 2 } else { 1 });
    assert!(
        done.message()
            .starts_with("could not resolve no-such-name.invalid: "),
        "{}",
        done.message()
    );
}

#[test]
fn accept_and_close_is_a_reset() {
    let done = fetch(|_| Ok(()));
    assert_eq!(done.failure(), (ErrorKind::Reset, 3));
}

#[test]
fn a_reset_before_the_head_and_in_the_body() {
    let done = fetch(|connection| {
        connection.request()?;
        connection.reset()
    });
    assert_eq!(done.failure(), (ErrorKind::Reset, 3));
    let done = fetch(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        connection.reset()
    });
    assert_eq!(done.failure(), (ErrorKind::Reset, 3));
    assert_eq!(done.record().status, Some(200));
}

#[test]
fn a_body_that_ends_early_is_truncated_in_every_framing() {
    let done = wire(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    assert_eq!(done.failure(), (ErrorKind::Truncated, 3));
    assert_eq!(done.message(), "the body was cut off: 4 of 100 bytes came");
    let done = wire(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert_eq!(done.failure(), (ErrorKind::Truncated, 3));
    assert!(
        done.message().contains("without the end of the body"),
        "{}",
        done.message()
    );
}

#[test]
fn a_body_whose_end_is_the_end_of_the_connection_is_whole() {
    let done = wire(b"HTTP/1.1 200 OK\r\n\r\nall of it");
    assert_eq!((done.code, done.record().bytes), (Some(0), Some(9)));
    let done = wire(b"HTTP/1.0 200 OK\r\n\r\nold");
    assert_eq!(
        (done.record().bytes, done.record().http.as_deref()),
        (Some(3), Some("1.0"))
    );
}

#[test]
fn what_is_no_http_is_a_protocol_error_and_final() {
    for bytes in [
        b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(),
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let done = wire(bytes);
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(
            done.failure(),
            (ErrorKind::Protocol, 1),
            "{text}: {}",
            done.message()
        );
    }
}

#[test]
fn too_many_headers_are_a_protocol_error() {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..101 {
        write!(head, "X-{n}: 1\r\n").unwrap();
    }
    head.extend_from_slice(b"\r\n");
    let done = fetch(move |connection| {
        connection.request()?;
        connection.send(&head)
    });
    assert_eq!(done.failure(), (ErrorKind::Protocol, 1));
}

#[test]
fn a_head_that_does_not_come_is_a_timeout_and_a_body_that_stops_is_stalled() {
    let done = fetch(|connection| {
        connection.request()?;
        connection.hang()
    });
    assert_eq!(done.failure(), (ErrorKind::Timeout, 3));
    assert_eq!(
        done.message(),
        "no response head within 300ms (--stall-timeout)"
    );
    let done = fetch(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")?;
        connection.hang()
    });
    assert_eq!(done.failure(), (ErrorKind::Stalled, 3));
    assert_eq!(
        done.message(),
        "the body stalled: 4 bytes in 300ms (--stall-timeout)"
    );
}

#[test]
fn max_time_ends_what_trickles() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        loop {
            connection.send(&[b'x'; 2000])?;
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let done = Run::new()
        .args(["--retries=0", "-m500ms", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Timeout, 1));
    assert_eq!(done.message(), "not done within 500ms (--max-time)");
}

#[test]
fn a_connection_that_dies_just_as_it_is_used_again_costs_no_attempt() {
    // Every connection answers one request and closes when the second one arrives.
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(&response("200 OK", &[], b"ok"))?;
        connection.request().map(drop)
    });
    let urls: Vec<_> = (0..6).map(|n| server.url(&format!("/{n}"))).collect();
    let done = Run::new()
        .args(["-j1", "--retries=0"])
        .urls(urls)
        .expect_exit(0);
    assert!(done.records.iter().all(|record| record.attempts == 1));
    assert_eq!(
        server.requests().len(),
        11,
        "five of them met a dying connection"
    );
}

#[test]
fn a_post_is_not_sent_twice_when_a_used_connection_dies() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(&response("200 OK", &[], b"ok"))?;
        connection.request().map(drop)
    });
    let urls: Vec<_> = (0..2).map(|n| server.url(&format!("/{n}"))).collect();
    let done = Run::new().args(["-j1", "-dx"]).urls(urls).expect_exit(1);
    let failed = done.records.iter().find(|record| !record.ok).unwrap();
    assert_eq!(
        (failed.attempts, failed.error.as_ref().unwrap().kind),
        (1, ErrorKind::Reset)
    );
    assert_eq!(server.requests().len(), 2);
}
