use std::sync::OnceLock;
use std::time::Duration;

use fetchall::ErrorKind;
use h2::Reason;

use super::{RETRIES, SLACK, check_all, look_at};
use crate::support::faults::http2::{FAULTS, REASONS};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Peer, SETTINGS, STATUS_200, frame, http2,
    literal,
};
use crate::support::{Done, Out, Run, Server, logged};

/// Longer than over HTTP/1.1, for a busy machine.
const STALL: Duration = Duration::from_millis(1200);
/// Maximum resident memory of a run, in KiB. Informational heads are kept until the request
/// processes them, which it does only when the connection pauses: 20 MB of them.
const MEMORY: u64 = 100 * 1024;

fn run() -> Run {
    let stall = format!("--stall-timeout={}ms", STALL.as_millis());
    let retries = format!("--retries={RETRIES}");
    Run::new().args([
        "--http2-prior-knowledge",
        "--max-size=1MiB",
        &stall,
        &retries,
    ])
}

fn fetch(server: &Server) -> Done {
    run().arg(server.url("/")).go()
}

#[test]
fn every_behaviour_ends_as_its_table_says() {
    check_all(FAULTS, 3, |fault| {
        let act = fault.act;
        let server = http2(move |peer, stream, _| act(peer, stream));
        let ended = look_at(fault.end, &fetch(&server), STALL, MEMORY);
        ended.map_err(|problem| format!("{}: {problem}", fault.name))
    });
}

/// Returns the outcome of a stream that is reset for this reason before the head, and the number of
/// attempts.
fn reset_before_the_head(code: u32) -> (ErrorKind, u32) {
    match code {
        // The client would continue over HTTP/1.1, which prior knowledge rules out.
        13 => (ErrorKind::Protocol, 1),
        // The host is held as after a 429: the first two retries are free.
        11 => (ErrorKind::Reset, RETRIES + 3),
        _ => (ErrorKind::Reset, RETRIES + 1),
    }
}

#[test]
fn a_stream_is_reset_for_any_reason_before_the_head_and_in_the_body() {
    for code in REASONS {
        let server = http2(move |peer, stream, _| peer.reset_stream(stream, code));
        let done = fetch(&server);
        let expected = reset_before_the_head(code);
        assert_eq!(done.failure(), expected, "{code}: {}", done.message());
        let name = match code {
            0..=13 => format!("{:?}", Reason::from(code)),
            _ => format!("{code:#x}"),
        };
        let message = done.message();
        assert!(message.contains(&name), "{message}");
        assert!(!message.contains("unexpected"), "{message}");
        assert!(done.took < SLACK, "{:?}", done.took);
        // A body without an error is in the table.
        if code == 0 {
            continue;
        }
        let server = http2(move |peer, stream, _| {
            peer.head(stream)?;
            peer.reset_stream(stream, code)
        });
        let done = fetch(&server);
        let attempts = if code == 11 { RETRIES + 3 } else { RETRIES + 1 };
        let expected = (ErrorKind::Truncated, attempts);
        assert_eq!(done.failure(), expected, "{code}: {}", done.message());
        assert_eq!(done.record().status, Some(200));
    }
}

/// How a stream ends without END_STREAM.
type StreamEnd = fn(&Peer, u32) -> std::io::Result<()>;

#[test]
fn a_body_with_all_announced_bytes_is_complete_however_its_stream_ends() {
    let ends: [(&str, StreamEnd); 6] = [
        ("NO_ERROR", |peer, stream| peer.reset_stream(stream, 0)),
        ("CANCEL", |peer, stream| peer.reset_stream(stream, 8)),
        ("ENHANCE_YOUR_CALM", |peer, stream| {
            peer.reset_stream(stream, 11)
        }),
        ("HTTP_1_1_REQUIRED", |peer, stream| {
            peer.reset_stream(stream, 13)
        }),
        ("GOAWAY", |peer, _| peer.go_away(0, 2)),
        ("closed", |peer, _| peer.close()),
    ];
    for (name, end) in ends {
        for (announced, outcome) in [("5", 0), ("6", 1)] {
            let server = http2(move |peer, stream, _| {
                let head = [STATUS_200, &literal("content-length", announced)].concat();
                peer.send(HEADERS, END_HEADERS, stream, &head)?;
                peer.send(DATA, 0, stream, b"hello")?;
                // Otherwise the client may see the end before it has passed on the bytes.
                std::thread::sleep(Duration::from_millis(50));
                end(peer, stream)
            });
            let run = Run::new().args(["--http2-prior-knowledge", "--retries=0", "--body"]);
            let done = run.arg(server.url("/")).go();
            assert_eq!(done.code, Some(outcome), "{name}: {}", done.stdout);
            let record = done.record();
            match &record.error {
                None => {
                    assert_eq!(record.body.as_deref(), Some("hello"));
                    assert_eq!((record.attempts, record.resends), (1, 0), "{name}");
                }
                Some(error) => assert_eq!(error.kind, ErrorKind::Truncated, "{name}"),
            }
        }
    }
}

/// Servers that flush send empty DATA frames, of which the client takes 100 on a connection.
#[test]
fn empty_frames_above_the_clients_limit_cost_no_url() {
    let server = http2(|peer, stream, _| {
        peer.head(stream)?;
        peer.send(DATA, 0, stream, b"")?;
        peer.send(DATA, 0, stream, b"hello")?;
        peer.send(DATA, 0, stream, b"")?;
        peer.send(DATA, END_STREAM, stream, b"")
    });
    for arg in ["-j64", "-j1"] {
        let urls = (0..300).map(|n| server.url(&format!("/{n}")));
        let done = Run::new()
            .args(["--http2-prior-knowledge", "--retries=0", arg])
            .urls(urls)
            .expect_exit(0);
        assert_eq!(done.records.len(), 300);
        let resends: u32 = done.records.iter().map(|record| record.resends).sum();
        assert!(resends > 0, "{arg}");
    }
}

#[test]
fn a_head_above_the_clients_limit_is_not_called_a_violation() {
    let server = http2(|peer, stream, _| {
        peer.send(HEADERS, 0, stream, STATUS_200)?;
        peer.flood(&frame(CONTINUATION, 0, stream, b""))
    });
    let done = run().args(["--retries=0", &server.url("/")]).expect_exit(1);
    assert_eq!(
        (done.failure(), done.record().resends),
        ((ErrorKind::Reset, 1), 1)
    );
    insta::assert_snapshot!("head_above_the_limit", done.message());
}

#[test]
fn a_stream_that_is_reset_in_the_body_is_continued_where_it_ended() {
    for code in [2, 8, 11] {
        let server = http2(move |peer, stream, number| {
            let whole = [
                STATUS_200,
                &literal("etag", "\"v1\""),
                &literal("content-length", "10"),
            ];
            let rest = [
                &literal(":status", "206")[..],
                &literal("etag", "\"v1\""),
                &literal("content-range", "bytes 4-9/10"),
                &literal("content-length", "6"),
            ];
            if number == 0 {
                peer.send(HEADERS, END_HEADERS, stream, &whole.concat())?;
                peer.send(DATA, 0, stream, b"0123")?;
                // Otherwise the client may see the reset before it has passed on the bytes.
                std::thread::sleep(Duration::from_millis(50));
                return peer.reset_stream(stream, code);
            }
            peer.send(HEADERS, END_HEADERS, stream, &rest.concat())?;
            peer.send(DATA, END_STREAM, stream, b"456789")
        });
        let out = Out::new();
        let done = out
            .run()
            .args(["--http2-prior-knowledge", &server.url("/")])
            .expect_exit(0);
        let record = done.record();
        assert_eq!((record.attempts, record.resumed_at), (2, Some(4)), "{code}");
        assert_eq!(out.body(record), b"0123456789");
    }
}

#[test]
fn a_server_that_calls_for_calm_is_held_like_one_that_answers_429() {
    let server = http2(|peer, stream, number| match number {
        0..10 => peer.reset_stream(stream, 11),
        _ => peer.answer(stream),
    });
    let urls = (0..20).map(|n| server.url(&format!("/{n}")));
    let done = run()
        .args(["-v", "--retries=5", "-j10"])
        .urls(urls)
        .expect_exit(0);
    let log = logged(&done.stderr, "url");
    insta::assert_snapshot!("call_for_calm", log.lines().next().unwrap());
    assert_eq!(done.records.len(), 20);
}

#[test]
fn a_stream_that_is_refused_costs_nothing_up_to_ten_times() {
    let server = http2(|peer, stream, number| match number {
        0..10 => peer.reset_stream(stream, 7),
        _ => peer.answer(stream),
    });
    let done = run()
        .args(["--retries=0", "-dx", &server.url("/")])
        .expect_exit(0);
    assert_eq!(done.record().attempts, 1);
}

#[test]
fn pings_find_a_dead_connection_and_the_next_try_goes_over_another() {
    // The second request gets no response, nor does any other request on that connection.
    for (args, urls, most) in [("-j1", 8, 3), ("-j8", 60, 24)] {
        let server = http2(|peer, stream, number| match number {
            1 => peer.fall_silent(),
            _ => peer.answer(stream),
        });
        let urls = (0..urls).map(|n| server.url(&format!("/{n}")));
        let done = run()
            .args([args, "--stall-timeout=1s", "--retries=1"])
            .urls(urls)
            .go();
        assert_eq!(done.code, Some(0), "{}", done.stdout);
        // Without pings, all others would be sent on it first.
        let lost = done.records.iter().filter(|record| record.attempts == 2);
        assert!((1..=most).contains(&lost.count()), "{}", done.stdout);
        assert!(
            done.took < Duration::from_secs(4) + SLACK,
            "{:?}",
            done.took
        );
    }
}

#[test]
fn a_busy_server_may_reply_to_pings_late() {
    let busy = Duration::from_millis(1500);
    let server = http2(move |peer, stream, _| {
        peer.be_busy(busy);
        peer.answer(stream)
    });
    // While the second request runs, nothing has come for longer than the interval of pings.
    let done = run()
        .args([
            "-j1",
            "--stall-timeout=3s",
            "--host-interval=3500ms",
            "--retries=0",
        ])
        .urls([server.url("/1"), server.url("/2")])
        .go();
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_upload_that_is_not_taken_is_a_timeout_and_not_sent_twice() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 200_000]).unwrap();
    let body = format!("-d@{}", file.path().display());
    // The window is 65,535 bytes or empty, and is never enlarged.
    for window in [None, Some([0, 4, 0, 0, 0, 0])] {
        let server = http2(move |peer, _, _| match window {
            Some(setting) => peer.send(SETTINGS, 0, 0, &setting),
            None => Ok(()),
        });
        let done = run().args([&body, &server.url("/")]).go();
        assert_eq!(
            done.failure(),
            (ErrorKind::Timeout, 1),
            "{}",
            done.message()
        );
        assert!(done.took < STALL + SLACK, "{:?}", done.took);
    }
}

#[test]
fn a_connection_that_goes_away_harms_only_what_it_says_it_did_not_look_at() {
    // Ten requests at once; at the fifth, the server sends GOAWAY. Earlier requests are answered.
    // Later ones on the same connection are not, because the server has announced that it will not
    // process them.
    let gone = OnceLock::new();
    let server = http2(move |peer, stream, number| {
        if number == 4 {
            peer.go_away(stream, 0)?;
            gone.get_or_init(|| peer.clone());
        }
        match number {
            0..=4 => peer.answer(stream),
            _ if gone.wait().is_same(peer) => Ok(()),
            _ => peer.answer(stream),
        }
    });
    let urls = (0..40).map(|n| server.url(&format!("/{n}")));
    let done = run().args(["-j10", "--retries=0"]).urls(urls).go();
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    assert!(done.records.iter().all(|record| record.attempts == 1));
}

#[test]
fn a_server_that_winds_connections_down_costs_no_attempt_not_even_a_post() {
    let server = http2(|peer, stream, number| match number {
        0..3 => peer.go_away(0, 0),
        _ => peer.answer(stream),
    });
    let done = run()
        .args(["--retries=0", "-dx", &server.url("/")])
        .expect_exit(0);
    let record = done.record();
    assert_eq!(
        (record.status, record.attempts, record.resends),
        (Some(200), 1, 3)
    );
    assert_eq!(server.connections(), 4);

    // A server that never stops sending GOAWAY is given up.
    let server = http2(|peer, _, _| peer.go_away(0, 0));
    let done = run().args(["--retries=0", &server.url("/")]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Reset, 1), "{}", done.message());
    assert_eq!(server.connections(), 11);
}
