use std::fs;

use fetchall::ErrorKind;

use crate::support::{Out, Run, Server, header, pages, path, response};

#[test]
fn a_file_belongs_to_one_line_whichever_comes_first() {
    let server = pages();
    let plain = |path: &str| format!(r#"{{"url":"{}"}}"#, server.url(path));
    let out = Out::new();
    let first = out.run().arg("--input-format=jsonl");
    let done = first.stdin(plain("/x.html")).expect_exit(0);
    let file = done.record().file.clone().unwrap();
    let named = format!(r#"{{"url":"{}","file":"{file}"}}"#, server.url("/y.html"));

    for lines in [[plain("/x.html"), named.clone()], [named, plain("/x.html")]] {
        let out = Out::new();
        let run = out.run().args(["--input-format=jsonl", "--ordered"]);
        let done = run.stdin(lines.join("\n")).expect_exit(1);
        assert!(done.records[0].ok, "the first line has it");
        let refused = &done.records[1];
        let error = refused.error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.message.contains("line 1 of -"), "{}", error.message);
        let body = fs::read(out.path().join(&file)).unwrap();
        assert_eq!(body, path_of(&done.records[0].url).as_bytes());
    }
}

fn path_of(url: &str) -> &str {
    &url[url.rfind('/').unwrap()..]
}

#[test]
fn a_line_with_headers_of_its_own_names_its_file_too() {
    let server = pages();
    let line = |file: &str| {
        let url = server.url("/a");
        format!(r#"{{"url":"{url}","headers":{{"X":"1"}}{file}}}"#)
    };
    let out = Out::new();
    let run = out.run().arg("--input-format=jsonl");
    let done = run.stdin(line("")).expect_exit(1);
    assert!(done.message().ends_with("must name its file"));
    let run = out.run().arg("--input-format=jsonl");
    let done = run.stdin(line(r#","file":"b""#)).expect_exit(0);
    assert_eq!(done.record().file.as_deref(), Some("b"));
}

#[test]
fn what_a_run_writes_is_no_input_of_it() {
    let out = Out::new();
    let server = pages();
    out.run().arg(server.url("/a")).expect_exit(0);
    let journal = out.journal_path().to_str().unwrap().to_owned();
    let before = fs::read(&journal).unwrap();
    let done = out.run().text().arg(&journal).expect_exit(2);
    assert!(done.stderr.contains("copy it first"), "{}", done.stderr);
    let alone = Run::new().args(["--journal", &journal, &journal]);
    alone.text().expect_exit(2);
    assert_eq!(fs::read(&journal).unwrap(), before);
}

#[test]
fn for_a_list_that_is_not_there_nothing_is_created() {
    let out = Out::new();
    let missing = out.beside("no-list");
    out.run()
        .text()
        .arg(missing.to_str().unwrap())
        .expect_exit(2);
    assert!(!out.path().exists());
    Run::new()
        .text()
        .args(["--sync", "http://a/"])
        .expect_exit(2);
}

/// A server would answer a POST with 412 (RFC 9110 §13.1.2).
#[test]
fn a_refresh_asks_only_for_pages_under_a_condition() {
    let server = Server::http(|request| {
        if header(request, "if-none-match").is_some() {
            return response("412 Precondition Failed", &[], b"");
        }
        response("200 OK", &["ETag: \"1\""], path(request).as_bytes())
    });
    let line = format!(
        r#"{{"url":"{}","method":"POST","body":"x","file":"a"}}"#,
        server.url("/a")
    );
    let out = Out::new();
    for args in [
        ["--input-format=jsonl"].as_slice(),
        &["--input-format=jsonl", "--refresh"],
    ] {
        let run = out.run().args(args.iter().copied());
        run.stdin(line.as_str()).expect_exit(0);
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_journal_of_nothing_but_zeros_is_one_that_a_power_cut_has_emptied() {
    let out = Out::new();
    let server = pages();
    fs::create_dir_all(out.path()).unwrap();
    fs::write(out.journal_path(), [0; 512]).unwrap();
    let done = out.run().arg(server.url("/a")).expect_exit(0);
    assert!(done.stderr.contains("torn"), "{}", done.stderr);
    assert_eq!(out.journal().len(), 1);
}
