use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fetchall::OutcomeName;

use crate::support::{Background, Connection, Out, Run, Server, binary, records, response, until};

/// `/missing` is a 404; any other page says its path.
fn pages() -> Server {
    Server::http(|request| {
        let path = path(request);
        match path {
            "/missing" => response("404 Not Found", &[], b"no"),
            _ => response("200 OK", &["Content-Type: text/plain"], path.as_bytes()),
        }
    })
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// The paths that were asked for, in order of the alphabet.
fn asked(server: &Server) -> Vec<String> {
    let mut paths: Vec<_> = server
        .requests()
        .iter()
        .map(|request| path(request).to_owned())
        .collect();
    paths.sort();
    paths
}

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

#[test]
fn a_body_of_no_bytes_is_a_file_of_none() {
    let server = Server::http(|_| response("204 No Content", &[], b""));
    let out = Out::new();
    let done = out.run().arg(server.url("/empty")).expect_exit(0);
    assert_eq!(out.body(done.record()), b"");
    let again = out.run().arg(server.url("/empty")).expect_exit(0);
    assert_eq!(again.record().outcome, OutcomeName::Skipped);
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

#[test]
fn the_same_command_again_fetches_what_is_missing_and_says_so() {
    let server = pages();
    let out = Out::new();
    let run = || {
        out.run()
            .urls(["/a", "/b", "/c", "/missing"].map(|path| server.url(path)))
    };
    let first = run().expect_exit(1);
    assert!(!first.stderr.contains("continuing"), "{}", first.stderr);
    let journal = out.journal();

    let second = run().expect_exit(1);
    assert!(
        second.stderr.contains("continuing: 3 of 4 already done"),
        "{}",
        second.stderr
    );
    assert!(
        second
            .stderr
            .contains("4 URLs: 0 fetched, 1 failed, 3 skipped"),
        "{}",
        second.stderr
    );
    let (before, now) = (first.of("/a"), second.of("/a"));
    assert_eq!((now.ok, now.outcome), (true, OutcomeName::Skipped));
    assert_eq!(
        (&now.file, now.bytes, now.attempts),
        (&before.file, before.bytes, 0)
    );
    assert_eq!(asked(&server), ["/a", "/b", "/c", "/missing", "/missing"]);
    let grown = out.journal();
    assert_eq!(grown[..journal.len()], journal);
    assert_eq!(grown[journal.len()..], [second.of("/missing").clone()]);

    fs::remove_file(out.file(first.of("/a"))).unwrap();
    fs::write(out.file(first.of("/b")), "longer than it was").unwrap();
    let third = run().expect_exit(1);
    assert!(
        third.stderr.contains("continuing: 1 of 4 already done"),
        "{}",
        third.stderr
    );
    for path in ["/a", "/b"] {
        assert_eq!(third.of(path).outcome, OutcomeName::Fetched);
        assert_eq!(out.body(third.of(path)), path.as_bytes());
    }
    assert_eq!(third.of("/c").outcome, OutcomeName::Skipped);
}

#[test]
fn what_failed_is_fetched_once_it_is_there() {
    let is_there = Arc::new(AtomicBool::new(false));
    let server = Server::http({
        let is_there = Arc::clone(&is_there);
        move |_| match is_there.load(Ordering::SeqCst) {
            true => response("200 OK", &[], b"here"),
            false => response("404 Not Found", &[], b""),
        }
    });
    let out = Out::new();
    out.run().arg(server.url("/a")).expect_exit(1);
    is_there.store(true, Ordering::SeqCst);
    let done = out.run().arg(server.url("/a")).expect_exit(0);
    assert_eq!(out.body(done.record()), b"here");
    let again = out.run().arg(server.url("/a")).expect_exit(0);
    assert_eq!(again.record().outcome, OutcomeName::Skipped);
}

#[test]
fn torn_and_foreign_lines_of_the_journal_are_told_and_ignored() {
    let server = pages();
    let out = Out::new();
    let run = || out.run().urls([server.url("/a"), server.url("/b")]);
    run().expect_exit(0);
    let journal = fs::read_to_string(out.journal_path()).unwrap();

    let torn = &journal[..journal.len() - 20];
    fs::write(out.journal_path(), torn).unwrap();
    let done = run().expect_exit(0);
    assert!(
        done.stderr.contains("its last line was torn"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("continuing: 1 of 2 already done"),
        "{}",
        done.stderr
    );
    assert_eq!(out.journal().len(), 2, "every line is whole again");

    let (first, second) = journal.split_once('\n').unwrap();
    fs::write(out.journal_path(), format!("{first}\nno record\n{second}")).unwrap();
    let done = run().expect_exit(0);
    assert!(
        done.stderr.contains("line 2 is no record and is ignored"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("continuing: 2 of 2 already done"),
        "{}",
        done.stderr
    );

    let quiet = run().arg("-q").expect_exit(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_journal_that_is_none_is_left_alone() {
    let server = pages();
    let out = Out::new();
    let notes = out.beside("notes");
    fs::write(&notes, "mine\nand only mine").unwrap();
    let done = Run::new()
        .args(["--journal", notes.to_str().unwrap(), &server.url("/a")])
        .expect_exit(3);
    assert!(
        done.stderr.contains("something else than records"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains(notes.to_str().unwrap()),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(notes).unwrap(), "mine\nand only mine");
    assert_eq!(server.requests().len(), 0);
}

/// Never answers `/hang`.
fn hanging() -> Server {
    fn serve(connection: &mut Connection) -> std::io::Result<()> {
        while let Some(request) = connection.request()? {
            match path(&request) {
                "/hang" => connection.hang()?,
                path => connection.send(&response("200 OK", &[], path.as_bytes()))?,
            }
        }
        Ok(())
    }
    Server::start(serve)
}

#[test]
fn two_runs_do_not_share_a_folder_or_a_journal() {
    let server = hanging();
    let out = Out::new();
    let first = out.start(&[&server.url("/hang")]);
    until("the first run asks", || !server.requests().is_empty());
    let second = out.run().arg(server.url("/a")).expect_exit(3);
    let path = out.path().display().to_string();
    let message = "another fetchall is at work in this folder";
    assert!(
        second.stderr.contains(&format!("{path}: {message}")),
        "{}",
        second.stderr
    );
    drop(first);
    out.run().arg(server.url("/a")).expect_exit(0);

    let journal = out.beside("journal");
    let journal = journal.to_str().unwrap();
    let mut command = binary();
    command.args(["--journal", journal, &server.url("/hang")]);
    let before = server.requests().len();
    let first = Background::start(command);
    until("it asks", || server.requests().len() > before);
    let second = Run::new()
        .args(["--journal", journal, &server.url("/a")])
        .expect_exit(3);
    assert!(second.stderr.contains(journal), "{}", second.stderr);
    assert!(
        second.stderr.contains("another fetchall is writing it"),
        "{}",
        second.stderr
    );
    drop(first);
    Run::new()
        .args(["--journal", journal, &server.url("/a")])
        .expect_exit(0);
}

#[test]
fn a_journal_alone_is_enough_to_go_on() {
    let server = pages();
    let out = Out::new();
    let journal = out.beside("journal");
    let run = |paths: &[&str]| {
        Run::new()
            .args(["--journal", journal.to_str().unwrap()])
            .urls(paths.iter().map(|path| server.url(path)))
    };
    run(&["/a", "/b"]).expect_exit(0);
    let done = run(&["/a", "/b", "/c"]).expect_exit(0);
    assert!(
        done.stderr.contains("continuing: 2 of 3 already done"),
        "{}",
        done.stderr
    );
    assert_eq!(done.of("/a").outcome, OutcomeName::Skipped);
    assert_eq!((done.of("/a").bytes, &done.of("/a").file), (Some(2), &None));
    assert_eq!(asked(&server), ["/a", "/b", "/c"]);
    let written = records(&fs::read_to_string(&journal).unwrap());
    assert_eq!(written.len(), 3);
}

#[test]
fn the_journal_does_not_wait_for_the_order_of_the_results() {
    let server = hanging();
    let out = Out::new();
    let urls = ["/hang", "/a", "/b"].map(|path| server.url(path));
    let run = out.start(&["--ordered", &urls[0], &urls[1], &urls[2]]);
    until("two records", || {
        out.journal_path().exists() && lines(&out) == 2
    });
    drop(run);
    let mut journaled: Vec<_> = out.journal().into_iter().map(|record| record.url).collect();
    journaled.sort();
    assert_eq!(journaled, urls[1..]);
}

fn lines(out: &Out) -> usize {
    let journal = fs::read(out.journal_path()).unwrap();
    journal.iter().filter(|byte| **byte == b'\n').count()
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
    // With --ordered a skipped line keeps its place, too.
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
        assert!(
            done.stderr.contains("cannot be used with"),
            "{}",
            done.stderr
        );
    }
    let done = Run::new()
        .text()
        .args(["--refresh", "http://127.0.0.1:1/"])
        .expect_exit(2);
    assert!(done.stderr.contains("--output-dir"), "{}", done.stderr);
    assert!(!out.path().exists());
}

/// Sends so many MiB, made up as they go, a second before the end of them.
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
        // The most it ever took is still there to be read.
        std::thread::sleep(Duration::from_millis(500));
        connection.send(&piece)
    })
}

/// The most memory that a run took to save such a body, in KiB.
#[cfg(target_os = "linux")]
fn memory_for(mib: usize) -> u64 {
    let server = large(mib);
    let out = Out::new();
    let mut run = out.start(&[&server.url("/large")]);
    let status = format!("/proc/{}/status", run.0.id());
    let mut most = 0;
    while run.0.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        most = most.max(number.map_or(0, |number| number.parse().unwrap()));
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
    // What may wait to be written is 32 MiB.
    assert!(large < small + 60 * 1024, "{small} KiB, {large} KiB");
}
