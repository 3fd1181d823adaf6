use std::time::Duration;

use fetchall::ErrorKind;

use super::{SLACK, tight};
use crate::support::{Run, Server, black_hole, closed_port, response};

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
    let done = Run::new()
        .args([
            "--retries=1",
            "--connect-timeout=200ms",
            "--stall-timeout=100ms",
            &format!("http://{addr}/"),
        ])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::ConnectTimeout, 2));
    insta::assert_snapshot!("not_connected", done.message());
    // Two attempts of 200 ms; the rest allows for a busy machine.
    assert!(done.took < SLACK);
}

#[test]
fn a_name_that_does_not_exist_is_final() {
    // RFC 6761: .invalid never exists. Without a network, the resolver may not be able to tell;
    // that failure is transient.
    let done = Run::new()
        .args(["--retries=1", "http://no-such-name.invalid/"])
        .expect_exit(1);
    let (kind, attempts) = done.failure();
    assert_eq!(kind, ErrorKind::Dns);
    let transient = done.record().error.as_ref().unwrap().transient;
    assert_eq!(attempts, if transient { 2 } else { 1 });
    // The cause comes from the resolver of this machine.
    let (text, _cause) = done.message().rsplit_once(": ").unwrap();
    assert!(text.contains("no-such-name.invalid"), "{text}");
    insta::assert_snapshot!("name_that_does_not_exist", text);
}

#[test]
fn accept_and_close_is_a_reset() {
    // Unlike the faults with a path, this server does not even read the request.
    let server = Server::start(|_| Ok(()));
    let done = tight().arg(server.url("/")).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Reset, 3));
    assert!(done.took < SLACK);
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
    insta::assert_snapshot!("not_done_in_time", done.message());
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
    let sent: u32 = done
        .records
        .iter()
        .map(|one| one.attempts + one.resends)
        .sum();
    assert_eq!(sent, 9, "records say what was sent: {}", done.stdout);
    // A resend uses a new connection, which is not reused.
    assert_eq!(
        server.requests().len(),
        9,
        "three of them met a dying connection"
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
