//! Names with several addresses, IP versions, and the local end of connections.

use std::net::SocketAddr;

use fetchall::ErrorKind;

use crate::support::{
    Authority, Connection, Run, Server, Texts, TlsServer, black_hole_at, response, same_everywhere,
};

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

/// The second address is the next to be tried, and stays the first.
fn second_is_tried_next(run: Run, url: &str) {
    let urls = (0..3).map(|n| format!("{url}{n}"));
    let run = run.args(["--retries=1", "-j1", "--ordered"]).urls(urls);
    let done = run.expect_exit(0);
    let attempts: Vec<_> = done.records.iter().map(|record| record.attempts).collect();
    assert_eq!(attempts, [2, 1, 1]);
}

#[test]
fn an_address_that_resets_after_the_request_is_tried_last_next_time() {
    let good = Server::http(|_| response("200 OK", &["Connection: close"], b"here"));
    let port = good.addr.port();
    let _bad = Server::at(&format!("127.0.0.3:{port}"), |connection| {
        connection.request()?;
        connection.reset()
    });
    let run = Run::new().args(rule(port, "127.0.0.3,127.0.0.1"));
    second_is_tried_next(run, &format!("http://two.test:{port}/"));
}

#[test]
fn an_address_that_is_silent_or_cuts_a_response_off_is_tried_last_next_time() {
    type Act = fn(&mut Connection) -> std::io::Result<()>;
    let acts: [Act; 4] = [
        |connection| connection.hang(),
        |connection| {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
            connection.hang()
        },
        |connection| connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        |connection| {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")?;
            connection.reset()
        },
    ];
    for act in acts {
        let good = Server::http(|_| response("200 OK", &["Connection: close"], b"here"));
        let port = good.addr.port();
        let _bad = Server::at(&format!("127.0.0.3:{port}"), move |connection| {
            connection.request()?;
            act(connection)
        });
        let run = Run::new().args(rule(port, "127.0.0.3,127.0.0.1"));
        let run = run.arg("--stall-timeout=500ms");
        second_is_tried_next(run, &format!("http://two.test:{port}/"));
    }
}

#[test]
fn an_address_that_is_silent_in_the_handshake_is_tried_last_next_time() {
    let good = TlsServer::start(Authority::new().config("two.test", |_| {}));
    let port = good.addr.port();
    let _bad = Server::at(&format!("127.0.0.3:{port}"), |connection| connection.hang());
    let run = Run::new().args(rule(port, "127.0.0.3,127.0.0.1"));
    let run = run.args(["-k", "--connect-timeout=1s"]);
    second_is_tried_next(run, &format!("https://two.test:{port}/"));
}

/// A server on one address of the loopback interface, whose body is the peer's address.
fn peer_server(at: &str) -> (u16, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind(at).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let body = peer.ip().to_string();
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut head);
        let answer = response("200 OK", &["Connection: close"], body.as_bytes());
        std::io::Write::write_all(&mut stream, &answer).unwrap();
    });
    (port, serving)
}

#[test]
fn one_ip_version_is_used_for_names_rules_and_addresses_in_urls() {
    let server = Server::http(|_| response("200 OK", &["Connection: close"], b"four"));
    let port = server.addr.port();
    let rules = [
        rule(port, "::1,127.0.0.1"),
        ["--resolve".into(), format!("four.test:{port}:127.0.0.1")],
    ];
    let mut texts = Texts::new();
    for (flag, end, is_fetched) in [
        ("-4", "two.test", true),
        ("-4", "four.test", true),
        ("-4", "x.localhost", true),
        ("-4", "127.0.0.1", true),
        ("-4", "[::1]", false),
        ("-6", "four.test", false),
        ("-6", "127.0.0.1", false),
        ("-6", "0x7f.1", false),
    ] {
        let done = Run::new()
            .args(rules.iter().flatten().cloned())
            .args([flag, &format!("http://{end}:{port}/")])
            .go();
        assert_eq!(
            done.record().ok,
            is_fetched,
            "{flag} {end}: {}",
            done.stdout
        );
        if !is_fetched {
            // Final: another attempt would find the same.
            assert_eq!(done.failure(), (ErrorKind::Dns, 1), "{flag} {end}");
            texts.add(format!("{flag} {end}"), done.message());
        }
    }
    insta::assert_snapshot!("ip_versions", texts);
}

#[test]
fn through_a_proxy_the_ip_version_is_that_of_the_proxy() {
    let proxy = Server::http(|_| response("200 OK", &[], b"through"));
    let via = format!("--proxy=http://{}", proxy.addr);
    let url = "http://[::1]:9/";
    Run::new().args(["-4", &via, url]).expect_exit(0);
    let done = Run::new().args(["-6", &via, url]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Dns, 1), "{}", done.stdout);
}

#[test]
fn a_redirect_to_an_address_of_the_other_ip_version_fails() {
    let server = Server::http(|_| response("302 Found", &["Location: http://[::1]:9/"], b""));
    let done = Run::new().args(["-4", &server.url("/")]).expect_exit(1);
    assert_eq!(done.record().error.as_ref().unwrap().kind, ErrorKind::Dns);
}

#[test]
fn connections_come_from_the_address_or_interface_that_was_chosen() {
    let ends: &[(&str, &str)] = if cfg!(target_os = "linux") {
        &[("127.0.0.77", "127.0.0.77"), ("lo", "127.0.0.1")]
    } else {
        &[("127.0.0.1", "127.0.0.1")]
    };
    for (end, peer) in ends {
        let (port, serving) = peer_server("127.0.0.1:0");
        let done = Run::new()
            .args(["--body", "--interface", end])
            .arg(format!("http://127.0.0.1:{port}/"))
            .expect_exit(0);
        assert!(
            done.stdout.contains(&format!("\"body\":\"{peer}\"")),
            "{}",
            done.stdout
        );
        serving.join().unwrap();
    }
}

#[test]
fn an_interface_that_is_not_there_or_does_not_fit_is_a_usage_error() {
    let mut texts = Texts::new();
    for args in [
        &["--interface=192.0.2.1"][..],
        &["--interface=no-such-device"],
        &["--interface="],
        &["-6", "--interface=127.0.0.1"],
        &["-4", "-6"],
    ] {
        let done = Run::new()
            .text()
            .args(args.iter().copied())
            .arg("http://127.0.0.1:9/")
            .expect_exit(2);
        texts.add(args.join(" "), &same_everywhere(&done.stderr));
    }
    insta::assert_snapshot!("interfaces_that_do_not_work", texts);
}
