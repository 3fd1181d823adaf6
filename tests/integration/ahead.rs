use std::io::{Read, Write};

use fetchall::{OutcomeName, Record};

use crate::support::{Run, Server, response};

/// The promised limit, in KiB.
const PROMISED: u64 = 128 * 1024;

/// The lines have far more bytes than are read ahead. All are for one slow host.
#[test]
fn long_lines_are_read_ahead_only_so_far() {
    let server = Server::http(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        response("200 OK", &[], b"ok")
    });
    let mut list = tempfile::NamedTempFile::new().unwrap();
    let long = "x".repeat(60_000);
    for n in 0..4_000 {
        writeln!(list, "{}", server.url(&format!("/{n}?{long}"))).unwrap();
    }
    let done = Run::new()
        .args(["-q", "--stop-after=1s"])
        .arg(list.path().to_str().unwrap())
        .expect_exit(1);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}

/// Each URL waits for its retry with what is known about its partial body.
#[test]
fn long_validators_are_not_kept() {
    let etag = format!("ETag: \"{}\"", "x".repeat(300_000));
    let server = Server::start(move |connection| {
        connection.request()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n{etag}\r\n\r\nabc");
        connection.send(head.as_bytes())
    });
    let dir = tempfile::tempdir().unwrap();
    let urls = (0..800).map(|n| server.url(&format!("/{n}")));
    let done = Run::new()
        .args(["--retries=1", "-o"])
        .arg(dir.path().to_str().unwrap())
        .urls(urls)
        .expect_exit(1);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}

/// Each URL waits at a host that throttles, with its long redirect target.
#[test]
fn long_redirects_are_not_followed_without_end() {
    let refuses = Server::http(|_| response("429 Slow", &["Retry-After: 100"], b""));
    let long = refuses.url(&format!("/{}", "x".repeat(60_000)));
    let sends_on =
        Server::http(move |_| response("302 Found", &[&format!("Location: {long}")], b""));
    let urls = (0..3_000).map(|n| sends_on.url(&format!("/{n}")));
    // Some fail at the host; the others fail because queued URLs take too much memory.
    let done = Run::new()
        .args(["--max-failures=40", "--stop-after=2m", "--retries=0"])
        .urls(urls)
        .expect_exit(1);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
    let errors = done
        .records
        .iter()
        .filter_map(|record| record.error.as_ref());
    let mut not_followed = errors.filter(|error| error.kind == fetchall::ErrorKind::Redirect);
    let error = not_followed.next().expect("some are not followed");
    insta::assert_snapshot!("redirects_that_are_too_long", error.message);
}

/// A record repeats only short headers.
#[test]
fn long_headers_are_not_repeated() {
    let etag = format!("ETag: \"{}\"", "x".repeat(300_000));
    let server = Server::http(move |_| response("200 OK", &[&etag], b"ok"));
    let urls = (0..200).map(|n| server.url(&format!("/{n}")));
    let done = Run::new().urls(urls).expect_exit(0);
    assert!(
        done.records
            .iter()
            .all(|record| record.ok && record.etag.is_none())
    );
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}

/// Bodies count wherever they are: in the reader, the channel, the look-ahead, the workers and the
/// reporters.
#[test]
fn large_bodies_of_a_list_are_read_ahead_only_so_far() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.send(&response("200 OK", &[], b"ok"))
    });
    let body = "x".repeat(15_000_000);
    for (name, header) in [("jsonl", ""), ("csv", "url,method,body\n")] {
        let mut list = tempfile::NamedTempFile::new().unwrap();
        list.write_all(header.as_bytes()).unwrap();
        for n in 0..12 {
            let url = server.url(&format!("/{n}"));
            match name {
                "csv" => writeln!(list, "{url},put,{body}"),
                _ => writeln!(list, r#"{{"url":"{url}","method":"put","body":"{body}"}}"#),
            }
            .unwrap();
        }
        let failed = tempfile::NamedTempFile::new().unwrap();
        let done = Run::new()
            .args(["-q", "--retries=0", "--input-format", name])
            .args(["--failed", failed.path().to_str().unwrap()])
            .arg(list.path().to_str().unwrap())
            .go();
        assert_eq!(done.records.len(), 12, "{}", done.stderr);
        assert!(done.peak < PROMISED, "{name}: {} KiB", done.peak);
    }
}

/// A server may respond before it has read the request, and then read no more of it.
#[test]
fn a_body_that_a_server_does_not_read_is_let_go_of() {
    for (status, ok) in [("200 OK", true), ("413 Content Too Large", false)] {
        let server = Server::start(move |connection| {
            connection.stream.read_exact(&mut [0; 100])?;
            connection.send(&response(status, &[], b"early"))?;
            std::thread::sleep(std::time::Duration::from_secs(30));
            Ok(())
        });
        let mut list = tempfile::NamedTempFile::new().unwrap();
        let body = "x".repeat(15_000_000);
        for n in 0..8 {
            let url = server.url(&format!("/{n}"));
            writeln!(list, r#"{{"url":"{url}","method":"POST","body":"{body}"}}"#).unwrap();
        }
        let list = list.path().to_str().unwrap();
        let done = Run::new().args(["-q", "--input-format=jsonl", list]).go();
        assert_eq!(done.records.len(), 8, "{}", done.stderr);
        assert!(done.records.iter().all(|record| record.ok == ok));
        assert!(done.peak < PROMISED, "{status}: {} KiB", done.peak);
    }
}

/// A server that has accepted a request may take a while to read the rest of it.
#[test]
fn a_body_that_a_server_reads_after_its_response_is_sent_whole() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let server = Server::start(move |connection| {
        connection.stream.read_exact(&mut [0; 100])?;
        connection.send(&response("202 Accepted", &[], b"early"))?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        let mut rest = vec![0; 15_000_000];
        let read = connection.stream.read_exact(&mut rest);
        let _ = sender.lock().unwrap().send(read.is_ok());
        read
    });
    let (body, url) = ("x".repeat(15_000_000), server.url("/"));
    let line = format!(r#"{{"url":"{url}","method":"POST","body":"{body}"}}"#);
    // Another URL keeps the run from ending before.
    let slow = Server::http(|_| {
        std::thread::sleep(std::time::Duration::from_secs(6));
        response("200 OK", &[], b"ok")
    });
    let list = format!("{line}\n{{\"url\":\"{}\"}}\n", slow.url("/"));
    let run = Run::new().args(["-q", "--input-format=jsonl"]).stdin(list);
    run.expect_exit(0);
    let is_read = receiver.recv_timeout(std::time::Duration::from_secs(30));
    assert_eq!(is_read, Ok(true));
}

/// The earlier result is read for every URL that is fetched again, and waits with it.
#[test]
fn long_heads_of_an_earlier_run_are_not_kept() {
    let server = Server::http(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        response("200 OK", &[], b"ok")
    });
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("fetchall.jsonl");
    let (target, long) = ("t".repeat(30_000), "x".repeat(3_000));
    let mut written = std::io::BufWriter::new(std::fs::File::create(&journal).unwrap());
    let mut list = String::new();
    for n in 0..6_000 {
        let url = server.url(&format!("/{n}"));
        std::fs::write(dir.path().join(n.to_string()), "ok").unwrap();
        list += &format!("{{\"url\":\"{url}\",\"file\":\"{n}\"}}\n");
        let of_the_page = format!(
            r#""final_url":"{url}?{target}","content_type":"{long}","etag":"\"{long}\"","last_modified":"{long}""#
        );
        writeln!(
            written,
            r#"{{"line":1,"input":"-","url":"{url}","ok":true,"outcome":"fetched","attempts":2,"redirects":1,{of_the_page},"bytes":2,"file":"{n}","at":""}}"#
        )
        .unwrap();
    }
    drop(written);
    let done = Run::new()
        .args([
            "-q",
            "--refresh",
            "--stop-after=3s",
            "--input-format=jsonl",
            "-o",
        ])
        .arg(dir.path().to_str().unwrap())
        .stdin(list)
        .go();
    let is_known =
        |record: &fetchall::Record| record.change == Some(fetchall::ContentChange::Unchanged);
    assert!(done.records.iter().any(is_known), "{}", done.stderr);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}

/// Each header takes some hundred bytes in memory, however short it is. All lines are for one slow
/// host.
#[test]
fn lines_of_many_short_headers_are_read_ahead_only_so_far() {
    let server = Server::http(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        response("200 OK", &[], b"ok")
    });
    let headers: Vec<_> = (0..60).map(|n| format!("\"a{n}\":\"\"")).collect();
    let headers = headers.join(",");
    let url = server.url("/");
    let mut list = tempfile::NamedTempFile::new().unwrap();
    for n in 0..25_000 {
        writeln!(list, "{{\"url\":\"{url}{n}\",\"headers\":{{{headers}}}}}").unwrap();
    }
    let done = Run::new()
        .args(["-q", "--input-format=jsonl", "--stop-after=3s"])
        .arg(list.path().to_str().unwrap())
        .expect_exit(1);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}

/// A line may contain millions of values that it cannot use.
#[test]
fn values_that_a_line_cannot_use_are_not_kept() {
    let values = vec!["\"\""; 3_000_000].join(",");
    let mut list = String::new();
    for (field, end) in [
        ("headers\":{\"a\"", "}}"),
        ("url\"", "}"),
        ("method\"", "}"),
    ] {
        list += &format!("{{\"{field}:[{values}]{end}\n");
    }
    let done = Run::new()
        .args(["--input-format=jsonl", "-"])
        .stdin(list)
        .expect_exit(1);
    let failed = |record: &&Record| record.outcome == OutcomeName::Failed;
    assert_eq!(done.records.iter().filter(failed).count(), 3);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
}
