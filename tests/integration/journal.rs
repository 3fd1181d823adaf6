use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fetchall::OutcomeName;

use crate::support::{
    Background, Connection, Out, Run, Server, Texts, binary, pages, path, records, response, said,
    same_everywhere, until,
};

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
    assert_eq!(done.skipped(), 1);
    let mut texts = Texts::new();
    texts.add("the last line is torn", &said(&done.stderr));
    assert_eq!(out.journal().len(), 2, "every line is whole again");

    let (first, second) = journal.split_once('\n').unwrap();
    fs::write(out.journal_path(), format!("{first}\nno record\n{second}")).unwrap();
    let done = run().expect_exit(0);
    assert_eq!(done.skipped(), 2);
    texts.add("the second line is no record", &said(&done.stderr));
    insta::assert_snapshot!("journals_with_other_lines", texts);

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
    insta::assert_snapshot!("journal_that_is_none", same_everywhere(&done.stderr));
    assert!(
        done.stderr.contains(notes.to_str().unwrap()),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(notes).unwrap(), "mine\nand only mine");
    assert_eq!(server.requests().len(), 0);
}

/// A server that never responds to `/hang`.
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
    assert!(second.stderr.contains(&path), "{}", second.stderr);
    let mut texts = Texts::new();
    texts.add("-o", &second.stderr);
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
    texts.add("--journal", &second.stderr);
    insta::assert_snapshot!("two_runs_in_one_place", texts);
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
    assert_eq!(done.skipped(), 2);
    insta::assert_snapshot!("journal_alone", said(&done.stderr));
    assert_eq!(done.of("/a").outcome, OutcomeName::Skipped);
    assert_eq!((done.of("/a").bytes, &done.of("/a").file), (Some(2), &None));
    assert_eq!(server.asked(), ["/a", "/b", "/c"]);
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

/// A table with spare capacity, or with fields that are not needed, would take several times as
/// much.
#[test]
fn a_url_that_was_done_takes_hardly_more_than_16_bytes() {
    const MANY: u64 = 400_000;
    let out = Out::new();
    let journal = out.beside("journal");
    let url = |number: u64| format!("http://a.test/{number}");
    let peak_after = |many: u64| {
        let lines = (0..many).map(|number| {
            let url = url(number);
            format!(
                "{{\"line\":1,\"input\":\"-\",\"url\":\"{url}\",\"ok\":true,\"outcome\":\"fetched\",\"status\":200,\"attempts\":1,\"final_url\":\"{url}\",\"redirects\":0,\"content_type\":\"text/html\",\"bytes\":{number},\"etag\":\"\\\"{number}\\\"\",\"at\":\"2026-11-22T10:00:00.123Z\"}}\n"
            )
        });
        fs::write(&journal, lines.collect::<String>()).unwrap();
        let done = Run::new()
            .text()
            .args(["--journal", journal.to_str().unwrap()])
            .urls((0..10_000).map(url))
            .expect_exit(0);
        let told = done.stderr.lines().next().unwrap();
        insta::assert_snapshot!("all_is_done_already", told);
        done.peak
    };
    let few = peak_after(10_000);
    let more = peak_after(MANY).saturating_sub(few);
    // New rows are collected before they are sorted in, and the allocator gives memory back late:
    // the difference varies by 2 MiB.
    let bound = MANY * 16 / 1024 + 3072;
    assert!(more < bound, "{few} KiB and {more}, more than {bound}");
}

#[test]
fn a_skipped_record_says_what_the_run_that_fetched_it_said() {
    let server = Server::http(|request| match path(request) {
        "/moved" => response("302 Found", &["Location: /a"], b""),
        _ => response(
            "200 OK",
            &[
                "ETag: \"1\"",
                "Content-Type: text/css",
                "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            ],
            b"body",
        ),
    });
    let out = Out::new();
    let (journal, pack) = (out.beside("journal"), out.beside("x.warc.gz"));
    for saving in [
        ["-o", out.path().to_str().unwrap()],
        ["--journal", journal.to_str().unwrap()],
        ["--pack", pack.to_str().unwrap()],
    ] {
        let run = |more: &[&str]| {
            let run = Run::new().args(saving).args(more.iter().copied());
            run.arg(server.url("/moved")).expect_exit(0)
        };
        let first = run(&["--sha256"]).record().clone();
        assert_eq!((first.status, first.redirects), (Some(200), 1));
        let second = run(&[]).record().clone();
        let mut expected = first;
        expected.outcome = OutcomeName::Skipped;
        expected.at.clone_from(&second.at);
        expected.started_ms = None;
        expected.ttfb_ms = None;
        expected.elapsed_ms = None;
        expected.total_ms = None;
        assert_eq!(second, expected, "{saving:?}");
        assert!(second.sha256.is_some() && second.etag.is_some() && second.http.is_some());
    }
}

/// The promised limit, in KiB.
const PROMISED: u64 = 128 * 1024;

#[test]
fn a_journal_without_line_ends_takes_no_memory() {
    let server = pages();
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let run = || {
        let run = Run::new().args(["--journal", journal.to_str().unwrap()]);
        run.arg(server.url("/a"))
    };
    // Only zeros, so the file is not a journal. It is sparse and takes no space on the disk.
    let file = fs::File::create(&journal).unwrap();
    file.set_len(300 << 20).unwrap();
    let done = run().expect_exit(3);
    insta::assert_snapshot!("journal_without_line_ends", same_everywhere(&done.stderr));
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
    assert_eq!(fs::metadata(&journal).unwrap().len(), 300 << 20);

    // Zeros between records, and at the end.
    drop(file);
    fs::remove_file(&journal).unwrap();
    run().expect_exit(0);
    let record = fs::read(&journal).unwrap();
    let long = vec![b'x'; 200 << 20];
    fs::write(&journal, [&long, &b"\n"[..], &record, &long].concat()).unwrap();
    drop(long);
    let done = run().expect_exit(0);
    assert_eq!(done.record().outcome, OutcomeName::Skipped);
    let mut texts = Texts::new();
    texts.add("200 MiB without a line end", &said(&done.stderr));
    insta::assert_snapshot!("journal_with_a_long_line", texts);
    assert!(done.peak < PROMISED, "{} KiB", done.peak);
    assert_eq!(
        fs::metadata(&journal).unwrap().len(),
        (200 << 20) + 1 + record.len() as u64
    );
}

/// Creates a named pipe.
fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

#[test]
fn pipes_and_devices_are_no_journals_packs_or_locks() {
    let server = pages();
    let url = server.url("/a");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    pipe(Path::new(&at("pipe.warc")));
    std::os::unix::fs::symlink("/dev/zero", at("device.warc.gz")).unwrap();
    pipe(Path::new(&at("x.warc.jsonl")));
    let mut refused = vec![
        (
            ["--journal".to_owned(), at("pipe.warc")],
            "pipe.warc".to_owned(),
        ),
        (
            ["--journal".to_owned(), "/dev/null".to_owned()],
            "/dev/null".to_owned(),
        ),
        (
            ["--journal".to_owned(), "/dev/zero".to_owned()],
            "/dev/zero".to_owned(),
        ),
        (
            ["--pack".to_owned(), at("pipe.warc")],
            "pipe.warc".to_owned(),
        ),
        (
            ["--pack".to_owned(), at("device.warc.gz")],
            "device.warc.gz".to_owned(),
        ),
        (
            ["--pack".to_owned(), at("x.warc")],
            "x.warc.jsonl".to_owned(),
        ),
        (["-o".to_owned(), at("pipe.warc")], "pipe.warc".to_owned()),
    ];
    for (number, name) in [
        "fetchall.jsonl",
        ".fetchall",
        ".fetchall/lock",
        ".fetchall/parts.jsonl",
    ]
    .iter()
    .enumerate()
    {
        let place = dir.path().join(format!("out{number}")).join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        pipe(&place);
        refused.push((
            ["-o".to_owned(), at(&format!("out{number}"))],
            (*name).to_owned(),
        ));
    }
    for (args, named) in refused {
        // That -o needs a directory is checked before anything is opened.
        let code = if args == ["-o".to_owned(), at("pipe.warc")] {
            2
        } else {
            3
        };
        let done = Run::new().args(args.clone()).arg(&url).expect_exit(code);
        let named = Path::new(&named).file_name().unwrap().to_str().unwrap();
        assert!(done.stderr.contains(named), "{args:?}: {}", done.stderr);
        assert!(done.took < Duration::from_secs(30), "{args:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

/// A change of the journal during the run causes no wrong result.
#[test]
fn what_the_journal_does_not_say_any_more_was_not_done() {
    let server = pages();
    let out = Out::new();
    let journal = out.beside("journal");
    let args = ["--journal", journal.to_str().unwrap()];
    let urls: Vec<_> = (0..2000).map(|n| server.url(&format!("/{n}"))).collect();
    Run::new().args(args).urls(&urls).expect_exit(0);
    let whole = fs::read_to_string(&journal).unwrap();
    // The same length, but with the lines in reverse order.
    let mut lines: Vec<_> = whole.lines().collect();
    lines.reverse();
    for changed in [&lines.join("\n"), ""] {
        fs::write(&journal, &whole).unwrap();
        let mut command = binary();
        command.args(args).arg("--json").stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let asked = server.requests().len();
        writeln!(stdin, "{}", server.url("/new")).unwrap();
        until("it has read the journal", || {
            server.requests().len() > asked
        });
        fs::write(&journal, changed).unwrap();
        writeln!(stdin, "{}", urls.join("\n")).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let found = records(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(found.len(), 2001);
        for record in found {
            // The body of each page is its path.
            let length = record.url.len() - record.url.rfind('/').unwrap();
            assert!(record.ok && record.bytes == Some(length as u64));
        }
    }
}
