//! Names with several addresses.

use std::net::SocketAddr;

use fetchall::ErrorKind;

use crate::support::{Run, Server, black_hole_at, response};

/// Drops packets at the same port of another address.
fn hole(host: [u8; 4], port: u16) -> impl Drop {
    black_hole_at(SocketAddr::from((host, port))).1
}

fn rule(port: u16, addrs: &str) -> [String; 2] {
    ["--resolve".to_owned(), format!("two.test:{port}:{addrs}")]
}

#[test]
fn behind_two_dead_addresses_the_third_is_connected_to_and_comes_first_next_time() {
    let closes = |_: &str| response("200 OK", &["Connection: close"], b"here");
    let server = Server::http(closes);
    let port = server.addr.port();
    let _holes = [hole([127, 0, 0, 3], port), hole([127, 0, 0, 4], port)];
    let done = Run::new()
        .args(rule(port, "127.0.0.3,127.0.0.4,127.0.0.1"))
        .args(["--connect-timeout=6s", "--retries=0", "-j1", "--ordered"])
        .urls((0..3).map(|n| format!("http://two.test:{port}/{n}")))
        .expect_exit(0);
    assert!(done.records.iter().all(|record| record.attempts == 1));
    let took: Vec<_> = done
        .records
        .iter()
        .map(|record| record.elapsed_ms.unwrap())
        .collect();
    assert!(took[0] >= 3900, "each of the dead has its share: {took:?}");
    assert!(
        took[1].max(took[2]) < 2000,
        "what worked is tried first: {took:?}"
    );
}

#[test]
fn where_no_address_answers_the_whole_time_has_passed() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let port = server.addr.port();
    let _holes = [hole([127, 0, 0, 3], port), hole([127, 0, 0, 4], port)];
    for addrs in ["127.0.0.3", "127.0.0.3,127.0.0.4", "127.0.0.3,127.0.0.9"] {
        let done = Run::new()
            .args(rule(port, addrs))
            .args(["--connect-timeout=600ms", "--retries=0"])
            .arg(format!("http://two.test:{port}/"))
            .expect_exit(1);
        let error = done.record().error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::ConnectTimeout, "{addrs}");
        assert_eq!(
            error.message,
            "no connection within 600ms (--connect-timeout)"
        );
    }
}
