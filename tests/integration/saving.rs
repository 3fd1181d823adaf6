use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fetchall::OutcomeName;

use wiremock::MockServer;

use crate::support::mock::{get, go, page, site, status};
use crate::support::{Out, Run, Server, Texts, binary, pages, path, peak, response, said};

#[test]
fn each_body_is_in_the_file_of_its_record_and_each_record_in_the_journal() {
    let server = pages();
    for sync in [false, true] {
        let out = Out::new();
        let run = if sync {
            out.run().arg("--sync")
        } else {
            out.run()
        };
        let done = run
            .urls(["/a", "/b/c", "/missing"].map(|path| server.url(path)))
            .expect_exit(1);
        for path in ["/a", "/b/c"] {
            let record = done.of(path);
            assert_eq!(out.body(record), path.as_bytes());
            assert_eq!(record.bytes, Some(path.len() as u64));
        }
        let missing = done.of("/missing");
        assert_eq!((missing.file.as_ref(), missing.bytes), (None, None));
        assert_eq!(
            out.journal(),
            done.records,
            "the same records, as they came"
        );
        assert!(out.unfinished().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_no_bytes_is_a_file_of_none() {
    let server = MockServer::start().await;
    get("/empty")
        .respond_with(status(204))
        .expect(1)
        .mount(&server)
        .await;
    let out = Out::new();
    let run = || out.run().arg(format!("{}/empty", server.uri()));
    assert_eq!(out.body(go(run(), 0).record()), b"");
    assert_eq!(go(run(), 0).record().outcome, OutcomeName::Skipped);
}

#[test]
fn equal_lines_share_the_file_and_each_has_its_record() {
    let server = pages();
    let out = Out::new();
    let done = out
        .run()
        .urls([server.url("/a"), server.url("/a"), server.url("/a")])
        .expect_exit(0);
    let mut lines: Vec<_> = done.records.iter().map(|record| record.line).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 2, 3]);
    assert!(
        done.records
            .iter()
            .all(|record| record.file == done.records[0].file)
    );
    assert_eq!(out.body(&done.records[0]), b"/a");
    assert!(out.unfinished().is_empty());
    let again = out
        .run()
        .urls([server.url("/a"), server.url("/a")])
        .expect_exit(0);
    assert!(
        again
            .records
            .iter()
            .all(|record| record.outcome == OutcomeName::Skipped)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_again_fetches_what_is_missing_and_says_so() {
    let server = MockServer::start().await;
    // The third run lacks two files.
    for (path, answer, sent) in [
        ("/a", page("/a"), 2),
        ("/b", page("/b"), 2),
        ("/c", page("/c"), 1),
        ("/missing", status(404), 3),
    ] {
        let mock = get(path).respond_with(answer).expect(sent);
        mock.mount(&server).await;
    }
    let out = Out::new();
    let run = || {
        let paths = ["/a", "/b", "/c", "/missing"];
        out.run()
            .urls(paths.map(|path| format!("{}{path}", server.uri())))
    };
    let mut texts = Texts::new();
    let first = go(run(), 1);
    texts.add("the first run", &said(&first.stderr));
    let journal = out.journal();

    let second = go(run(), 1);
    assert_eq!(second.skipped(), 3);
    texts.add("all but one are there", &said(&second.stderr));
    let (before, now) = (first.of("/a"), second.of("/a"));
    assert_eq!((now.ok, now.outcome), (true, OutcomeName::Skipped));
    assert_eq!(
        (&now.file, now.bytes, now.attempts),
        (&before.file, before.bytes, before.attempts)
    );
    assert_eq!(second.of("/missing").attempts, 1);
    let grown = out.journal();
    assert_eq!(grown[..journal.len()], journal);
    assert_eq!(grown[journal.len()..], [second.of("/missing").clone()]);

    fs::remove_file(out.file(first.of("/a"))).unwrap();
    fs::write(out.file(first.of("/b")), "longer than it was").unwrap();
    let third = go(run(), 1);
    texts.add("one is there", &said(&third.stderr));
    for path in ["/a", "/b"] {
        assert_eq!(third.of(path).outcome, OutcomeName::Fetched);
        assert_eq!(out.body(third.of(path)), path.as_bytes());
    }
    assert_eq!(third.of("/c").outcome, OutcomeName::Skipped);
    insta::assert_snapshot!("the_same_command_again", texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_fetched_once_it_is_there() {
    let server = site(vec![status(404)], page("here")).await;
    let out = Out::new();
    let run = || out.run().arg(format!("{}/a", server.uri()));
    go(run(), 1);
    assert_eq!(out.body(go(run(), 0).record()), b"here");
    assert_eq!(go(run(), 0).record().outcome, OutcomeName::Skipped);
}

#[test]
fn what_is_done_stays_done_when_a_later_request_fails() {
    let fails = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&fails);
    let server = Server::http(move |_| match is_down.load(Ordering::SeqCst) {
        true => response("500 Internal Server Error", &[], b"no"),
        false => response("200 OK", &[], b"page"),
    });
    let out = Out::new();
    let folder = out.path().to_str().unwrap().to_owned();
    let pack = out.beside("pages.warc.gz").to_str().unwrap().to_owned();
    for to in [["-o".to_owned(), folder], ["--pack".to_owned(), pack]] {
        let run = || {
            let run = Run::new().arg("--retries=0").args(&to);
            run.arg(server.url("/a"))
        };
        fails.store(false, Ordering::SeqCst);
        run().expect_exit(0);
        fails.store(true, Ordering::SeqCst);
        run().arg("--refresh").expect_exit(1);
        let last = run().expect_exit(0);
        assert_eq!(last.record().outcome, OutcomeName::Skipped, "{to:?}");
    }
}

#[test]
fn of_two_lines_with_one_url_the_second_may_fail() {
    for to in ["-o", "--journal"] {
        let asked = AtomicUsize::new(0);
        let server = Server::http(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => response("200 OK", &[], b"page"),
            _ => response("500 Internal Server Error", &[], b"no"),
        });
        let out = Out::new();
        let target = out.beside("target");
        let run = || {
            let run = Run::new().args(["-j1", "--retries=0", to, target.to_str().unwrap()]);
            run.urls([server.url("/a"), server.url("/a")])
        };
        run().expect_exit(1);
        assert_eq!(run().expect_exit(0).skipped(), 2, "{to}");
        assert_eq!(server.requests().len(), 2, "{to}");
    }
}

#[test]
fn what_was_done_when_nobody_read_on_was_written_down() {
    let server = Server::http(|request| {
        if path(request) != "/now" {
            std::thread::sleep(Duration::from_millis(10));
        }
        response("200 OK", &[], path(request).as_bytes())
    });
    let out = Out::new();
    let paths = || std::iter::once("/now".to_owned()).chain((0..300).map(|n| format!("/{n}")));
    let urls: Vec<_> = paths().map(|path| server.url(&path)).collect();
    let mut run = binary()
        .args(["--json", "-j4", "-o", out.path().to_str().unwrap()])
        .args(&urls)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(141));
    let journal = out.journal();
    assert!(!journal.is_empty() && journal.len() < urls.len());
    assert!(
        journal
            .iter()
            .all(|record| record.ok && out.file(record).exists())
    );
    assert!(out.unfinished().is_empty());
    let done = out.run().urls(urls).expect_exit(0);
    let skipped = done
        .records
        .iter()
        .filter(|record| record.outcome == OutcomeName::Skipped);
    assert_eq!(skipped.count(), journal.len());
}

#[test]
fn a_skipped_page_needs_no_server() {
    let out = Out::new();
    let url = {
        let server = pages();
        out.run().arg(server.url("/a")).expect_exit(0);
        server.url("/a")
    };
    // With --ordered, a skipped line also keeps its place.
    let done = out
        .run()
        .args(["--ordered", "--retries=0"])
        .urls([&url, &url])
        .expect_exit(0);
    let lines: Vec<_> = done.records.iter().map(|record| record.line).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn options_that_say_two_things_are_usage_errors() {
    let out = Out::new();
    let mut texts = Texts::new();
    texts.hide(out.path().display(), "DIR");
    for args in [
        ["--json", "--body"].as_slice(),
        &["-I"],
        &["--journal", "x"],
    ] {
        let done = Run::default()
            .text()
            .args(args.iter().copied())
            .args(["-o", out.path().to_str().unwrap(), "http://127.0.0.1:1/"])
            .expect_exit(2);
        texts.add(format!("{} -o", args.join(" ")), &done.stderr);
    }
    // What saves something else waives that an option requires -o.
    for args in [
        ["-R", "--pack=x.warc"],
        ["-R", "--journal=x"],
        ["--dry-run", "--pack=x.warc"],
        ["--dry-run", "--journal=x"],
    ] {
        let run = Run::default().text().args(args);
        let done = run.arg("http://127.0.0.1:1/").expect_exit(2);
        texts.add(args.join(" "), &done.stderr);
    }
    let done = Run::new()
        .text()
        .args(["--refresh", "http://127.0.0.1:1/"])
        .expect_exit(2);
    assert!(done.stderr.contains("--output-dir"), "{}", done.stderr);
    texts.add("--refresh", &done.stderr);
    insta::assert_snapshot!("options_that_say_two_things", texts);
    assert!(!out.path().exists());
}

/// Sends a body of this size without storing it, and pauses before the last MiB.
#[cfg(target_os = "linux")]
fn large(mib: usize) -> Server {
    Server::start(move |connection| {
        connection.request()?;
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n",
            mib << 20
        );
        connection.send(head.as_bytes())?;
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..mib - 1 {
            connection.send(&piece)?;
        }
        // The peak can still be read during this pause.
        std::thread::sleep(Duration::from_millis(500));
        connection.send(&piece)
    })
}

/// Returns the peak memory of a run that saves such a body, in KiB.
#[cfg(target_os = "linux")]
fn memory_for(mib: usize) -> u64 {
    let server = large(mib);
    let out = Out::new();
    let mut run = out.start(&[&server.url("/large")]);
    let mut most = 0;
    while run.0.try_wait().unwrap().is_none() {
        most = most.max(peak(run.0.id()));
        std::thread::sleep(Duration::from_millis(10));
    }
    let records = out.journal();
    assert_eq!(records[0].bytes, Some((mib as u64) << 20), "{records:?}");
    assert_eq!(
        fs::metadata(out.file(&records[0])).unwrap().len(),
        (mib as u64) << 20
    );
    most
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_body_takes_hardly_more_memory_than_a_small_one() {
    let (small, large) = (memory_for(1), memory_for(128));
    assert!(small > 0, "the memory could not be read");
    // Up to 32 MiB may wait to be written.
    assert!(large < small + 60 * 1024, "{small} KiB, {large} KiB");
}

#[test]
fn a_body_that_replaces_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let server = pages();
    let out = Out::new();
    let first = out.run().arg(server.url("/a")).expect_exit(0);
    let file = out.file(first.record());
    let usual = fs::metadata(&file).unwrap().permissions();
    // setuid is not kept, because the body is not the old program.
    for mode in [0o600, 0o640, 0o444, 0o4755, 0o2711] {
        fs::write(&file, "of another length").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        out.run().arg(server.url("/a")).expect_exit(0);
        assert_eq!(fs::read(&file).unwrap(), b"/a");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
            mode & 0o777
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let other = out.run().arg(server.url("/b")).expect_exit(0);
    assert_eq!(
        fs::metadata(out.file(other.record()))
            .unwrap()
            .permissions(),
        usual
    );
}

const REMOTE_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Returns the modification time of the file of the URL with this end.
fn file_time(out: &Out, done: &crate::support::Done, end: &str) -> std::time::SystemTime {
    let meta = fs::metadata(out.file(done.of(end))).unwrap();
    meta.modified().unwrap()
}

/// A small body, one that is written in pieces, one without a date, and one with an invalid date.
fn dated() -> Server {
    const SENT: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    Server::http(|request| match path(request) {
        "/large" => response("200 OK", &[SENT], &[b'x'; 1 << 20]),
        "/undated" => response("200 OK", &[], b"undated"),
        "/old" => response(
            "200 OK",
            &["Last-Modified: Sun, 06 Nov 1960 08:49:37 UTC"],
            b"old",
        ),
        "/far" => response(
            "200 OK",
            &["Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT"],
            b"far",
        ),
        "/invalid" => response("200 OK", &["Last-Modified: yesterday"], b"invalid"),
        _ => response("200 OK", &[SENT], b"small"),
    })
}

#[test]
fn with_remote_time_files_have_the_time_of_last_modified() {
    let server = dated();
    let sent = httpdate::parse_http_date(REMOTE_DATE).unwrap();
    let urls = || ["/small", "/large", "/undated", "/invalid"].map(|path| server.url(path));
    let start = std::time::SystemTime::now() - Duration::from_secs(5);
    let out = Out::new();
    let done = out.run().arg("-R").urls(urls()).expect_exit(0);
    for dated in ["/small", "/large"] {
        assert_eq!(file_time(&out, &done, dated), sent, "{dated}");
    }
    for undated in ["/undated", "/invalid"] {
        assert!(file_time(&out, &done, undated) > start, "{undated}");
    }
    assert!(out.unfinished().is_empty());
    let other = ["/old", "/far"].map(|path| server.url(path));
    let done = out.run().arg("-R").urls(other).expect_exit(0);
    let old: jiff::Timestamp = "1960-11-06T08:49:37Z".parse().unwrap();
    assert_eq!(
        file_time(&out, &done, "/old"),
        std::time::SystemTime::from(old)
    );
    // A file system either stores this time, or the file keeps that of the download.
    let far = httpdate::parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT").unwrap();
    let found = file_time(&out, &done, "/far");
    let soon = std::time::SystemTime::now() + Duration::from_secs(5);
    assert!(found == far || (start..soon).contains(&found), "{found:?}");

    let out = Out::new();
    let done = out.run().urls(urls()).expect_exit(0);
    assert!(file_time(&out, &done, "/small") > start);
    // The server sends the same bytes again, which has given the files no time so far.
    let done = out
        .run()
        .args(["--refresh", "--remote-time", "--sync"])
        .urls(urls())
        .expect_exit(0);
    assert_eq!(
        done.of("/small").change,
        Some(fetchall::ContentChange::Unchanged)
    );
    assert_eq!(file_time(&out, &done, "/small"), sent);
    assert!(file_time(&out, &done, "/undated") > start);
}

#[test]
fn a_304_gives_a_file_the_time_that_it_names() {
    let server = Server::http(|request| {
        let is_conditional = request.to_ascii_lowercase().contains("if-none-match");
        let date = format!("Last-Modified: {REMOTE_DATE}");
        match (path(request), is_conditional) {
            ("/dated", true) => response("304 Not Modified", &[&date], b""),
            (_, true) => response("304 Not Modified", &[], b""),
            (path, false) => response("200 OK", &["ETag: \"1\""], path.as_bytes()),
        }
    });
    let out = Out::new();
    let urls = || ["/dated", "/undated"].map(|path| server.url(path));
    let done = out.run().urls(urls()).expect_exit(0);
    let before = ["/dated", "/undated"].map(|end| file_time(&out, &done, end));
    let refresh = || out.run().arg("--refresh").urls(urls());
    let done = refresh().expect_exit(0);
    assert_eq!(file_time(&out, &done, "/dated"), before[0], "without -R");
    let done = refresh().arg("-R").expect_exit(0);
    assert_eq!(done.of("/dated").status, Some(304));
    let sent = httpdate::parse_http_date(REMOTE_DATE).unwrap();
    assert_eq!(file_time(&out, &done, "/dated"), sent);
    assert_eq!(file_time(&out, &done, "/undated"), before[1]);
}

#[test]
fn a_resumed_file_has_the_time_of_last_modified() {
    const HALF: usize = 64 * 1024;
    let server = Server::start(|connection| {
        let request = connection.request()?;
        let date =
            format!("Last-Modified: {REMOTE_DATE}\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n");
        let body = [b'x'; HALF];
        let (total, rest) = (2 * HALF, 2 * HALF - 1);
        let head = if request
            .unwrap_or_default()
            .to_ascii_lowercase()
            .contains("range: ")
        {
            format!(
                "HTTP/1.1 206 Partial Content\r\n{date}Content-Range: bytes {HALF}-{rest}/{total}\r\n\
                 Content-Length: {HALF}\r\n\r\n"
            )
        } else {
            format!("HTTP/1.1 200 OK\r\n{date}Content-Length: {total}\r\nConnection: close\r\n\r\n")
        };
        connection.send(head.as_bytes())?;
        connection.send(&body)
    });
    let out = Out::new();
    let done = out.run().args(["-R", &server.url("/cut")]).expect_exit(0);
    let record = done.record();
    assert_eq!(record.resumed_at, Some(HALF as u64));
    assert_eq!(record.bytes, Some(2 * HALF as u64));
    let sent = httpdate::parse_http_date(REMOTE_DATE).unwrap();
    assert_eq!(file_time(&out, &done, "/cut"), sent);
}
