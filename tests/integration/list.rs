use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fetchall::ErrorKind;

use crate::support::{Run, Server, binary, response};

fn quick() -> Server {
    Server::http(|_| response("200 OK", &[], b"hello"))
}

#[test]
fn a_list_with_comments_blanks_crlf_bom_and_bad_lines() {
    let server = quick();
    let list = format!(
        "\u{feff}{}\r\n\r\n# a comment\n   {}  \nexample.com\nftp://a/\n{}",
        server.url("/1"),
        server.url("/2"),
        server.url("/3"),
    );
    let done = Run::new().stdin(list).arg("--ordered").expect_exit(1);
    let lines: Vec<_> = done
        .records
        .iter()
        .map(|record| (record.line, record.ok))
        .collect();
    assert_eq!(
        lines,
        [(1, true), (4, true), (5, false), (6, false), (7, true)]
    );
    let bad = &done.records[2];
    assert_eq!(
        (bad.url.as_str(), bad.attempts, bad.input.as_ref()),
        ("example.com", 0, "-")
    );
    let error = bad.error.as_ref().unwrap();
    assert_eq!(
        (error.kind, error.transient),
        (ErrorKind::InvalidUrl, false)
    );
    assert!(
        error.message.ends_with("did you mean https://example.com"),
        "{}",
        error.message
    );
}

#[test]
fn files_urls_and_stdin_in_one_run_with_their_names() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, format!("# first\n{}\n", server.url("/file"))).unwrap();
    let list = list.to_str().unwrap();
    let done = Run::new()
        .args([list, &server.url("/arg"), "-", "--ordered"])
        .urls([server.url("/stdin")])
        .expect_exit(0);
    let found: Vec<_> = done
        .records
        .iter()
        .map(|record| (record.input.as_ref(), record.line))
        .collect();
    assert_eq!(found, [(list, 2), ("argument", 1), ("-", 1)]);
}

#[test]
fn every_line_is_a_job_and_equal_lines_are_fetched_as_often_as_they_stand_there() {
    let server = quick();
    let done = Run::new().urls(vec![server.url("/same"); 5]).expect_exit(0);
    assert_eq!((done.records.len(), server.requests().len()), (5, 5));
}

#[test]
fn an_empty_list_is_fine() {
    let done = Run::new().stdin("# nothing\n\n").expect_exit(0);
    assert!(done.stderr.contains("0 URLs"), "{}", done.stderr);
}

#[test]
fn a_list_that_cannot_be_read_is_told_before_anything_is_fetched() {
    let server = quick();
    let done = Run::new()
        .args([&server.url("/"), "/nowhere/list"])
        .expect_exit(2);
    assert!(
        done.stderr.contains("cannot read /nowhere/list"),
        "{}",
        done.stderr
    );
    assert_eq!(server.requests().len(), 0);
    let done = Run::new().arg("example.com").expect_exit(2);
    assert!(
        done.stderr.contains("did you mean https://example.com"),
        "{}",
        done.stderr
    );
    let done = Run::new().arg("/").expect_exit(2);
    assert!(done.stderr.contains("directory"), "{}", done.stderr);
}

#[test]
fn a_pipe_that_never_ends_gives_its_records_as_it_goes() {
    let server = quick();
    let mut child = binary()
        .args(["--json", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..3 {
        writeln!(stdin, "{}", server.url(&format!("/{n}"))).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&format!("/{n}\"")), "{line}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_line_with_a_password_uses_it_and_never_shows_it() {
    let server = quick();
    let with_password = server.url("/x").replace("http://", "http://me:s3cret@");
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("failed");
    let done = Run::new()
        .args(["-vv", "--failed", failed.to_str().unwrap()])
        .urls([
            &with_password,
            "http:/\\me:s3cret@host:99999/",
            "htp://me:s3cret@host/",
        ])
        .expect_exit(1);
    assert!(
        !done.stdout.contains("s3cret") && !done.stderr.contains("s3cret"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert!(
        server.requests()[0].contains("authorization: Basic bWU6czNjcmV0"),
        "{:?}",
        server.requests()
    );
    let copied = std::fs::read_to_string(&failed).unwrap();
    assert!(
        copied.contains("htp://me:s3cret@host/\n"),
        "the one place that keeps lines as they were"
    );
}

#[test]
fn an_argument_is_not_kept_waiting_by_the_list_behind_it() {
    let server = quick();
    let mut child = binary()
        .args(["--json", "-q", &server.url("/first"), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("/first"));
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_misspelt_list_is_not_taken_for_a_host() {
    let done = Run::new().arg("url.txt").expect_exit(2);
    assert!(!done.stderr.contains("did you mean"), "{}", done.stderr);
}
