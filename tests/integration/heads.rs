//! Malformed response heads and chunks: which are accepted, and which are not.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use fetchall::ErrorKind;

use crate::proxy::{socks5, tunnel};
use crate::support::{Authority, Connection, Run, Server, TlsServer, header, path, response};

/// A server whose pages below `/odd` have this line in their head.
fn odd(line: &'static str) -> Server {
    Server::http(move |request| {
        let lines: &[&str] = if path(request).starts_with("/odd") {
            &[line]
        } else {
            &[]
        };
        response("200 OK", lines, b"hello")
    })
}

#[test]
fn a_header_line_that_is_no_http_is_passed_over() {
    for line in [
        "X-Powered : asp",
        "X-A: one\r\n two",
        "X A: b",
        "Set-Cookie: a=b\u{1}c",
        "Set-Cookie: domain=\u{7f}x",
        "X[0]: 1",
        "Warning",
        ": nothing",
        "X-A: a\rb",
        "X-A: a\r\r",
        "X-A\u{1}: a",
        "\u{e9}: a",
    ] {
        let server = odd(line);
        let urls = (0..10).map(|n| server.url(&format!("/odd/{n}")));
        let done = Run::new()
            .args(["-j1", "--retries=0"])
            .urls(urls)
            .expect_exit(0);
        assert!(done.records.iter().all(|record| record.bytes == Some(5)));
        // Once over the usual client; from then on the host is known.
        assert_eq!(server.requests().len(), 11, "{line}");
    }
}

#[test]
fn a_status_line_that_breaks_the_rules_is_taken() {
    for line in [
        "HTTP/1.1  200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 200x OK",
        "HTTP/1.0 200 OK",
        "HTTP/2 200",
        "HTTP/2.0 200 OK",
    ] {
        let server = Server::http(move |_| {
            let rest = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            format!("{line}\r\n{rest}").into_bytes()
        });
        let urls = ["/1", "/2"].map(|path| server.url(path));
        let done = Run::new()
            .args(["-j1", "--retries=0"])
            .urls(urls)
            .expect_exit(0);
        assert!(done.records.iter().all(|record| record.bytes == Some(5)));
        assert_eq!(server.requests().len(), 3, "{line}");
    }
}

#[test]
fn trailers_that_break_the_rules_end_a_body_like_any_others() {
    for trailer in ["X A: 1", "no colon", "X-A: a\u{1}b", "X-A : 1"] {
        let server = Server::http(move |_| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{head}5\r\nhello\r\n0\r\n{trailer}\r\n\r\n").into_bytes()
        });
        let run = Run::new().args(["--retries=0", &server.url("/")]);
        let done = run.expect_exit(0);
        assert_eq!(done.record().bytes, Some(5), "{trailer}");
        assert_eq!(server.requests().len(), 1);
    }
}

/// A server that sends these bytes as the chunked body of each response, with this status.
fn chunked(status: &'static str, body: String) -> Server {
    Server::http(move |_| {
        let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
        [head, body.clone()].concat().into_bytes()
    })
}

#[test]
fn chunks_that_break_the_rules_but_have_one_meaning_are_taken() {
    let trailers: String = (0..1500).map(|n| format!("X-{n}: y\r\n")).collect();
    let (long, extension) = ("x".repeat(100_000), "y".repeat(20_000));
    for body in [
        "5\nhello\n0\n\n".to_owned(),
        "5\r\nhello\n0\r\n\n".to_owned(),
        "5;a=b\nhello\n0\n\n".to_owned(),
        "5,\r\nhello\r\n0,\r\n\r\n".to_owned(),
        "5z\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5 5\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!("5\r\nhello\r\n0\r\n{trailers}\r\n"),
        format!("5\r\nhello\r\n0\r\nX: {long}\r\n\r\n"),
        format!("5;{extension}\r\nhello\r\n0\r\n\r\n"),
    ] {
        let server = chunked("200 OK", body);
        let urls = (0..5).map(|n| server.url(&format!("/{n}")));
        let run = Run::new().args(["-j1", "--retries=0", "--body"]);
        let done = run.urls(urls).expect_exit(0);
        let bodies = done.records.iter().map(|record| record.body.as_deref());
        assert!(bodies.eq([Some("hello"); 5]), "{}", done.stdout);
        // Once over the usual client; from then on the host is known.
        assert_eq!(server.requests().len(), 6);
    }
}

#[test]
fn a_body_with_chunks_inside_of_chunks_is_not_taken_and_other_ones_are() {
    let inner = "5\r\nhello\r\n0\r\n\r\n";
    let twice = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    for list in ["chunked, chunked", "chunked\r\nTransfer-Encoding: Chunked"] {
        for (body, code) in [(twice.clone(), 1), (inner.to_owned(), 0)] {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {list}\r\n\r\n");
            let server = Server::http(move |_| [&*head, &*body].concat().into_bytes());
            let done = Run::new()
                .args(["--body", &server.url("/")])
                .expect_exit(code);
            match code {
                0 => assert_eq!(done.record().body.as_deref(), Some("hello"), "{list}"),
                _ => assert_eq!(done.failure(), (ErrorKind::Protocol, 1), "{list}"),
            }
            assert_eq!(server.requests().len(), 1);
        }
    }
}

#[test]
fn an_empty_transfer_encoding_does_not_say_where_a_body_ends() {
    for (lines, code) in [("", 1), ("Content-Length: 5\r\n", 0)] {
        let server = Server::start(move |connection| {
            connection.request()?;
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n{lines}\r\n");
            connection.send(head.as_bytes())?;
            connection.send(if code == 0 {
                b"hello"
            } else {
                b"5\r\nhello\r\n0\r\n\r\n"
            })
        });
        let done = Run::new().arg(server.url("/")).expect_exit(code);
        if code == 1 {
            assert_eq!(done.failure(), (ErrorKind::Protocol, 1));
        }
    }
}

/// The usual client waits for more, or takes the body for a truncated one.
#[test]
fn trailers_that_end_with_a_line_feed_alone_cost_no_retry() {
    for body in [
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\n",
    ] {
        for is_closed in [false, true] {
            let server = Server::start(move |connection| {
                while connection.request()?.is_some() {
                    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    connection.send([head, body].concat().as_bytes())?;
                    if is_closed {
                        return Ok(());
                    }
                }
                Ok(())
            });
            let run = Run::new().args(["-j1", "--retries=0", "--stall-timeout=300ms", "--body"]);
            let urls = (0..5).map(|n| server.url(&format!("/{n}")));
            let done = run.urls(urls).expect_exit(0);
            let bodies = done.records.iter().map(|record| record.body.as_deref());
            assert!(bodies.eq([Some("hello"); 5]), "{body:?}");
            // Once over the usual client, if it does not take them; from then on the host is known.
            assert!(server.requests().len() <= 6, "{body:?}");
        }
    }
}

/// A body that did not end is requested once more free of charge, and only where that is safe.
#[test]
fn a_chunked_body_that_never_ends_is_a_failure_after_one_resend() {
    let cut = |connection: &mut Connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    };
    for (args, requests) in [
        (["--retries=0", "-XGET"], 2),
        (["--retries=2", "-XGET"], 4),
        (["--retries=0", "-XPOST"], 1),
    ] {
        let server = Server::start(cut);
        let run = Run::new().args(args).args(["--retry-delay=1ms"]);
        let done = run.arg(server.url("/")).expect_exit(1);
        assert_eq!(done.failure().0, ErrorKind::Truncated);
        assert_eq!(server.requests().len(), requests, "{args:?}");
    }
}

/// A body that was cut off says nothing about how the host frames others.
#[test]
fn a_chunked_body_that_was_cut_off_does_not_cost_the_host_its_connections() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
            connection.send(head.as_bytes())?;
            if path(&request) == "/0" && header(&request, "connection").is_none() {
                return Ok(());
            }
            connection.send(b"0\r\n\r\n")?;
        }
        Ok(())
    });
    let urls = (0..5).map(|n| server.url(&format!("/{n}")));
    Run::new()
        .args(["-j1", "--retries=1"])
        .urls(urls)
        .expect_exit(0);
    let closing = |request: &String| header(request, "connection").is_some();
    assert_eq!(server.requests().iter().filter(|it| closing(it)).count(), 1);
}

#[test]
fn chunks_without_a_clear_meaning_are_not_guessed_at() {
    for body in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "7,\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0z\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "4\nhello\n0\n\n",
    ] {
        let server = chunked("200 OK", body.to_owned());
        let done = Run::new().arg(server.url("/")).expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Protocol, 1), "{body:?}");
        assert_eq!(server.requests().len(), 2, "{body:?}");
    }
}

#[test]
fn malformed_chunks_are_a_reason_to_ask_again_only_where_that_is_safe_and_of_use() {
    let server = chunked("200 OK", "5\nhello\n0\n\n".to_owned());
    let run = Run::new().args(["-d", "once", &server.url("/")]);
    assert_eq!(run.expect_exit(1).failure(), (ErrorKind::Protocol, 1));
    assert_eq!(server.requests().len(), 1);

    let server = chunked("404 Not Found", "5\nhello\n0\n\n".to_owned());
    let done = Run::new().arg(server.url("/")).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
    assert_eq!(server.requests().len(), 1);
}

/// What follows such a head would be taken for the response to the next request.
#[test]
fn a_204_that_announces_a_body_gets_a_connection_of_its_own() {
    let forged = response("200 OK", &[], b"forged");
    for line in ["Content-Length: 44", "Transfer-Encoding: chunked"] {
        let forged = forged.clone();
        let server = Server::start(move |connection| {
            while let Some(request) = connection.request()? {
                if path(&request) == "/empty" {
                    connection.send(format!("HTTP/1.1 204 x\r\n{line}\r\n\r\n").as_bytes())?;
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    connection.send(&forged)?;
                } else {
                    connection.send(&response("200 OK", &[], b"real"))?;
                }
            }
            Ok(())
        });
        let urls = ["/empty", "/page"].map(|path| server.url(path));
        let run = Run::new().args(["-j1", "--ordered", "--body"]);
        let done = run.urls(urls).expect_exit(0);
        assert_eq!(done.records[1].body.as_deref(), Some("real"), "{line}");
    }
}

#[test]
fn heads_of_250_cookies_are_taken() {
    let server = Server::http(|_| {
        let cookies: Vec<_> = (0..250).map(|n| format!("Set-Cookie: c{n}=1")).collect();
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        response("200 OK", &cookies, b"hello")
    });
    let done = Run::new().arg(server.url("/")).expect_exit(0);
    assert_eq!(done.record().bytes, Some(5));
}

#[test]
fn a_body_without_a_length_may_come_after_any_line() {
    let many = vec!["Set-Cookie: a=1"; 250].join("\r\n");
    for lines in [
        "X-P : a",
        "X-A: a\r\n b",
        "garbage",
        "X[0]: 1",
        "X-A: a\u{1}b",
        &many,
    ] {
        let lines = lines.to_owned();
        let server = Server::start(move |connection| {
            connection.request()?;
            connection.send(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n0123456789").as_bytes())
        });
        let urls = (0..3).map(|n| server.url(&format!("/{n}")));
        let done = Run::new()
            .args(["-j1", "--retries=0"])
            .urls(urls)
            .expect_exit(0);
        assert!(done.records.iter().all(|record| record.bytes == Some(10)));
    }
}

#[test]
fn a_flawed_line_is_not_passed_over_where_another_one_says_a_length() {
    for line in [
        "Transfer-Encoding: chunked\u{1}",
        "Transfer -Encoding: chunked",
        "Transfer-Encoding chunked",
        "X A: b\r\nTransfer-Encoding\u{1}: chunked",
        "Content-Length : 5x",
        "Content-Length: 99999999999999999999",
        "Content-Length: 21\u{1}",
        "Content Length: 21",
        "X A: b\r\nContent-Length: 5x",
    ] {
        let server = Server::start(move |connection| {
            connection.request()?;
            let head = format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 20\r\n\r\n");
            connection.send(head.as_bytes())?;
            connection.send(b"5\r\nhello\r\n0\r\n\r\n.....")
        });
        let done = Run::new().arg(server.url("/")).expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Protocol, 1), "{line}");
        let message = done.message();
        assert!(
            message.contains("does not say where the body ends"),
            "{message}"
        );
    }
}

/// curl and browsers do not accept them either.
#[test]
fn a_nul_in_a_head_is_named() {
    for line in ["X-Nul: a\0b", "X-\0: b"] {
        let server = odd(line);
        let done = Run::new().arg(server.url("/odd")).expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Protocol, 1));
        let message = done.message();
        let expected = "invalid HTTP response: NUL byte in the response head";
        assert_eq!(message, expected);
    }
}

#[test]
fn a_post_is_not_sent_again_for_a_header_line() {
    let server = odd("X[0]: 1");
    let done = Run::new().args(["-dx", &server.url("/odd")]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Protocol, 1));
    assert_eq!(server.requests().len(), 1);
    let message = done.message();
    assert!(message.contains("a POST is not sent again"), "{message}");

    // It need not be sent twice to a host that is known for such lines.
    let urls = ["/odd/get", "/odd/post"].map(|path| server.url(path));
    let lines = format!(
        "{{\"url\":\"{}\"}}\n{{\"url\":\"{}\",\"method\":\"POST\"}}\n",
        urls[0], urls[1]
    );
    let run = Run::new().args(["-j1", "--input-format=jsonl"]);
    run.stdin(lines).expect_exit(0);
}

#[test]
fn a_host_with_odd_lines_may_still_end_other_bodies_by_closing() {
    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            if path(&request) == "/odd" {
                connection.send(&response("200 OK", &["X[0]: 1"], b"hello"))?;
                continue;
            }
            return connection.send(b"HTTP/1.1 200 OK\r\n\r\nwithout a length");
        }
        Ok(())
    });
    let urls = ["/odd", "/other"].map(|path| server.url(path));
    let done = Run::new()
        .args(["-j1", "--retries=0"])
        .urls(urls)
        .expect_exit(0);
    assert_eq!(done.of("/other").bytes, Some(16));
}

#[test]
fn a_flawed_line_that_says_where_the_body_ends_is_not_passed_over() {
    for line in [
        "Content-Length: 5\u{1}",
        "Content Length: 5",
        "Transfer-Encoding: chunked\u{7f}",
        "Content-Length: 5x",
        "Content-Length: -5",
    ] {
        let server = Server::start(move |connection| {
            connection.request()?;
            connection.send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n5\r\nhello").as_bytes())
        });
        let done = Run::new().arg(server.url("/")).expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Protocol, 1), "{line}");
    }
}

/// If no coding is named, the length marks the end of the body, in any spelling.
#[test]
fn a_body_beside_an_odd_form_of_identity_ends_at_its_length() {
    for line in [
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, identity",
        "Transfer-Encoding: ,Identity",
        "Transfer-Encoding: identity;q=1",
    ] {
        for more in ["", "X[0]: 1\r\n"] {
            let head = format!("HTTP/1.1 200 OK\r\n{line}\r\n{more}Content-Length: 5\r\n\r\n");
            let short = head.clone() + "hel";
            let server = Server::start(move |connection| {
                connection.request()?;
                connection.send(short.as_bytes())
            });
            let run = Run::new().args(["--retries=0"]).arg(server.url("/"));
            let failure = run.expect_exit(1).failure();
            assert_eq!(failure, (ErrorKind::Truncated, 1), "{line}");
            let whole = head + "hello";
            let server = Server::start(move |connection| {
                connection.request()?;
                connection.send(whole.as_bytes())
            });
            let done = Run::new().arg(server.url("/")).expect_exit(0);
            assert_eq!(done.record().bytes, Some(5), "{line}");
        }
    }
}

/// A redirect is not lost with its malformed line, and leads where browsers go.
#[test]
fn control_bytes_in_a_location_are_encoded() {
    for (location, target) in [
        ("Location: /x\u{1}y", "/x%01y"),
        ("Location: /x\u{7f}y", "/x%7Fy"),
        ("Location: /x\ry", "/x%0Dy"),
        ("Location : /xy", "/xy"),
        ("X[0]: 1\r\nLocation: /xy", "/xy"),
        ("Location:\r\n /xy", "/xy"),
    ] {
        let server = Server::http(move |request| match path(request) {
            "/" => response("302 Found", &[location], b""),
            _ => response("200 OK", &[], b"hello"),
        });
        let done = Run::new().arg(server.url("/")).expect_exit(0);
        assert_eq!(
            done.record().final_url,
            Some(server.url(target)),
            "{location}"
        );
    }
}

/// The body of this redirect is not read.
#[test]
fn a_flawed_length_matters_only_where_there_is_a_body() {
    let server = Server::start(|connection| {
        let to = match path(&connection.request()?.unwrap_or_default()) {
            "/moved" => "302 Found\r\nLocation: /here",
            "/here" => "204 No Content",
            _ => "200 OK",
        };
        connection.send(format!("HTTP/1.1 {to}\r\nContent-Length: x\r\n\r\n").as_bytes())
    });
    Run::new().arg(server.url("/moved")).expect_exit(0);
    Run::new().args(["-I", &server.url("/")]).expect_exit(0);
    Run::new().arg(server.url("/")).expect_exit(1);
}

#[test]
fn a_cookie_with_a_control_byte_is_none_and_the_others_are_kept() {
    let server = Server::http(|request| match path(request) {
        "/" => response(
            "302 Found",
            &[
                "Set-Cookie: bad=a\u{1}b",
                "Set-Cookie : good=1",
                "Location: /next",
            ],
            b"",
        ),
        _ => response("200 OK", &[], b"hello"),
    });
    Run::new().arg(server.url("/")).expect_exit(0);
    let last = server.requests().pop().unwrap();
    assert_eq!(header(&last, "cookie"), Some("good=1"));
}

#[test]
fn flawed_interim_heads_are_passed_over_too() {
    let server = Server::start(|connection| {
        connection.request()?;
        for piece in [
            "HTTP/1.1 103 Hints\r\nX A",
            ": 1\r\n\r",
            "\nHTTP/1.1 100 Continue\r\n",
        ] {
            connection.send(piece.as_bytes())?;
        }
        connection.send(b"\r\nHTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 5\r\n\r\nhello")
    });
    let done = Run::new().arg(server.url("/")).expect_exit(0);
    assert_eq!(done.record().bytes, Some(5));
}

/// Whether the host is known for malformed responses makes no difference.
#[test]
fn many_interim_heads_are_passed_over_whatever_the_host_is_known_for() {
    let server = Server::http(|request| {
        let odd: &[&str] = match path(request) {
            "/odd" => &["X A: 1"],
            _ => &[],
        };
        let interim = format!("HTTP/1.1 103 x\r\nLink: {}\r\n\r\n", "y".repeat(1000));
        let last = response("200 OK", odd, b"hello");
        [interim.repeat(600).into_bytes(), last].concat()
    });
    let urls = ["/1", "/odd", "/2"].map(|path| server.url(path));
    let done = Run::new()
        .args(["-j1", "--retries=0"])
        .urls(urls)
        .expect_exit(0);
    assert!(done.records.iter().all(|record| record.bytes == Some(5)));
}

#[test]
fn a_head_that_is_cut_off_is_a_lost_connection() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Le")
    });
    let done = Run::new()
        .args(["--retries=2", &server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Reset, 3), "{}", done.message());
}

/// The client that repairs heads sends the same request, and closes the connection after it.
#[test]
fn the_same_is_asked_again_over_a_connection_that_ends() {
    let server = odd("X[0]: 1");
    Run::new()
        .args([
            "-X",
            "PUT",
            "-d",
            "data",
            "-H",
            "X-Mine: 1",
            "-u",
            "me:pw",
            "--retries=0",
        ])
        .arg(server.url("/odd?q=1"))
        .expect_exit(0);
    let requests = server.requests();
    let [usual, lenient] = &requests[..] else {
        panic!("{requests:?}");
    };
    let sorted = |request: &str| {
        let mut lines: Vec<_> = request.lines().map(str::to_lowercase).collect();
        lines.sort();
        lines
    };
    let expected = usual.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert_eq!(sorted(lenient), sorted(&expected));
}

/// SOCKS 4, the predecessor of RFC 1928, as far as the test needs it.
fn socks4(connection: &mut Connection, to: SocketAddr) -> std::io::Result<()> {
    let mut head = [0; 8];
    connection.stream.read_exact(&mut head)?;
    let has_name = head[4..7] == [0; 3];
    for _ in 0..1 + usize::from(has_name) {
        let mut byte = [1];
        while byte != [0] {
            connection.stream.read_exact(&mut byte)?;
        }
    }
    connection.send(&[0, 90, 0, 0, 0, 0, 0, 0])?;
    tunnel(connection, TcpStream::connect(to)?)
}

/// The client that repairs heads works over TLS and through proxies.
#[test]
fn flawed_heads_are_taken_over_tls_and_through_proxies() {
    let authority = Authority::new();
    let file = authority.file();
    let cacert = format!("--cacert={}", file.path().display());
    let secure = TlsServer::answering(authority.config("localhost", |_| {}), |_| {
        response("200 OK", &["X[0]: 1"], b"hello")
    });
    let plain = odd("X[0]: 1");
    let proxy = |speak: fn(&mut Connection, SocketAddr) -> std::io::Result<()>, to| {
        Server::start(move |connection| speak(connection, to))
    };
    let origins = [
        (
            plain.addr,
            format!("http://localhost:{}/odd", plain.addr.port()),
        ),
        (secure.addr, secure.url()),
    ];
    for (addr, url) in origins {
        let proxies = [
            ("", None),
            ("http", Some(proxy(http_proxy, addr))),
            ("socks5h", Some(proxy(socks5, addr))),
            ("socks5", Some(proxy(socks5, addr))),
            ("socks4a", Some(proxy(socks4, addr))),
            ("socks4", Some(proxy(socks4, addr))),
        ];
        let here = format!("--resolve=localhost:{}:127.0.0.1", addr.port());
        for (scheme, proxy) in proxies {
            let at = proxy
                .as_ref()
                .map(|proxy| format!("{scheme}://me:pw@{}", proxy.addr));
            let at =
                at.map(|at| at.replace("me:pw@", if scheme == "http" { "me:pw@" } else { "" }));
            let run = Run::new().args([&cacert, &here, "--retries=0", "-x"]);
            let done = run.args([&at.unwrap_or_default(), &url]).expect_exit(0);
            let record = done.record();
            assert_eq!(
                (record.bytes, record.resends),
                (Some(5), 1),
                "{scheme} {url}"
            );
            let asked = proxy.map_or_else(Vec::new, |proxy| proxy.requests());
            let knows =
                |head: &String| header(head, "proxy-authorization") == Some("Basic bWU6cHc=");
            assert!(asked.iter().all(knows), "{asked:?}");
        }
    }
}

/// Forwards requests for whole URLs, and tunnels.
fn http_proxy(connection: &mut Connection, to: SocketAddr) -> std::io::Result<()> {
    let request = connection.request()?.unwrap_or_default();
    let mut origin = TcpStream::connect(to)?;
    if request.starts_with("CONNECT ") {
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        let whole = format!("http://localhost:{}", to.port());
        assert!(path(&request).starts_with(&whole), "{request}");
        std::io::Write::write_all(&mut origin, request.replace(&whole, "").as_bytes())?;
    }
    tunnel(connection, origin)
}
