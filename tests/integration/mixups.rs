use std::collections::HashSet;
use std::fs;

use fetchall::{ContentChange, ErrorKind, OutcomeName};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::support::{Out, Run, Server, header, pages, path, placeholders, response};

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
        assert_eq!(error.kind, ErrorKind::Conflict);
        insta::assert_snapshot!("file_of_another_line", placeholders(&error.message, &[]));
        let body = fs::read(out.path().join(&file)).unwrap();
        assert_eq!(body, path_of(&done.records[0].url).as_bytes());
    }
}

fn path_of(url: &str) -> &str {
    &url[url.rfind('/').unwrap()..]
}

#[test]
fn a_file_where_another_line_needs_a_directory_is_a_conflict() {
    let server = pages();
    let line = |file: &str| {
        let url = server.url(&format!("/{file}"));
        format!(r#"{{"url":"{url}","file":"{file}"}}"#)
    };
    for files in [["a/b", "a/b/c"], ["a/b/c", "a/b"]] {
        let out = Out::new();
        let run = out.run().args(["--input-format=jsonl", "--ordered"]);
        let list = files.map(line).join("\n");
        let done = run.stdin(list).expect_exit(1);
        assert_eq!(
            out.body(&done.records[0]),
            format!("/{}", files[0]).as_bytes()
        );
        let error = done.records[1].error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Conflict);
        let shown = error.message.replacen(files[1], "FILE", 1);
        insta::assert_snapshot!("file_or_directory", shown);
    }
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
    insta::assert_snapshot!("headers_without_a_file", done.message());
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
    insta::assert_snapshot!("journal_as_input", placeholders(&done.stderr, &[]));
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

/// A server would reject such a POST with 412 (RFC 9110 §13.1.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_asks_only_for_pages_under_a_condition() {
    let server = MockServer::start().await;
    Mock::given(matchers::header_exists("if-none-match"))
        .respond_with(ResponseTemplate::new(412))
        .expect(0)
        .mount(&server)
        .await;
    Mock::given(matchers::method("POST"))
        .respond_with(ResponseTemplate::new(200).insert_header("etag", "\"1\""))
        .expect(2)
        .mount(&server)
        .await;
    let line = format!(
        r#"{{"url":"{}/a","method":"POST","body":"x","file":"a"}}"#,
        server.uri()
    );
    let out = Out::new();
    for args in [
        ["--input-format=jsonl"].as_slice(),
        &["--input-format=jsonl", "--refresh"],
    ] {
        let run = out.run().args(args.iter().copied());
        tokio::task::block_in_place(|| run.stdin(line.as_str()).expect_exit(0));
    }
}

#[test]
fn a_journal_of_nothing_but_zeros_is_one_that_a_power_cut_has_emptied() {
    let out = Out::new();
    let server = pages();
    fs::create_dir_all(out.path()).unwrap();
    fs::write(out.journal_path(), [0; 512]).unwrap();
    let done = out.run().arg(server.url("/a")).expect_exit(0);
    let warning = done.stderr.lines().next().unwrap();
    insta::assert_snapshot!("journal_of_zeros", placeholders(warning, &[]));
    assert_eq!(out.journal().len(), 1);
}

/// Returns JSON lines of paths and files.
fn named(server: &Server, lines: &[(&str, &str)]) -> String {
    let line = |(path, file): &(&str, &str)| {
        format!(r#"{{"url":"{}","file":"{file}"}}"#, server.url(path))
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_that_change_places_are_fetched_each_time() {
    let server = pages();
    let one = named(&server, &[("/a", "1"), ("/b", "2")]);
    let other = named(&server, &[("/b", "1"), ("/a", "2")]);
    for more in [[].as_slice(), &["--refresh"]] {
        let out = Out::new();
        let run = |list: &str| {
            let run = out.run().args(["--input-format=jsonl", "--ordered"]);
            run.args(more.iter().copied()).stdin(list).expect_exit(0)
        };
        for (list, bodies) in [
            (&one, ["/a", "/b"]),
            (&other, ["/b", "/a"]),
            (&one, ["/a", "/b"]),
        ] {
            let done = run(list);
            for (record, body) in done.records.iter().zip(bodies) {
                assert_eq!(record.outcome, OutcomeName::Fetched);
                assert_ne!(record.change, Some(ContentChange::Unchanged));
                assert_eq!(out.body(record), body.as_bytes());
            }
        }
        // A URL whose file is unchanged is skipped, or found to be unchanged.
        for record in run(&one).records {
            match more {
                [] => assert_eq!(record.outcome, OutcomeName::Skipped),
                _ => assert_eq!(record.change, Some(ContentChange::Unchanged)),
            }
        }
    }
}

/// Both bodies have the same bytes, which proves nothing.
#[test]
fn a_page_that_was_not_known_is_new_whatever_its_file_held() {
    let server = Server::http(|_| response("200 OK", &[], b"the same"));
    let out = Out::new();
    for path in ["/a", "/b", "/a"] {
        let run = out.run().args(["--input-format=jsonl", "--refresh"]);
        let done = run.stdin(named(&server, &[(path, "1")])).expect_exit(0);
        assert_eq!(done.record().change, Some(ContentChange::New), "{path}");
    }
}

#[test]
fn what_was_done_gives_way_to_a_line_before_it_that_writes_its_file() {
    let server = pages();
    let out = Out::new();
    let run = || out.run().args(["--input-format=jsonl", "--ordered"]);
    run().stdin(named(&server, &[("/a", "1")])).expect_exit(0);
    let both = named(&server, &[("/b", "1"), ("/a", "1")]);
    for first in [OutcomeName::Fetched, OutcomeName::Skipped] {
        let done = run().stdin(both.as_str()).expect_exit(1);
        assert_eq!(done.records[0].outcome, first);
        let error = done.records[1].error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert_eq!(out.body(&done.records[0]), b"/b");
    }
    let both = named(&server, &[("/b", "1"), ("/c", "1")]);
    for _ in 0..2 {
        let done = run().stdin(both.as_str()).expect_exit(1);
        assert_eq!(done.records[0].outcome, OutcomeName::Skipped);
        assert_eq!(out.body(&done.records[0]), b"/b");
    }
}

/// A run was killed after it renamed a body and before it wrote the record: the journal has the
/// record of the previous body, and the file has its length.
#[test]
fn a_run_that_is_killed_leaves_no_word_of_what_a_file_held_before() {
    let server = Server::http(|request| response("200 OK", &[], path(request).as_bytes()));
    let out = Out::new();
    let run = |list: &str| {
        let run = out.run().arg("--input-format=jsonl").stdin(list);
        run.expect_exit(0)
    };
    let (first, second) = (
        named(&server, &[("/a", "1")]),
        named(&server, &[("/c", "1")]),
    );
    run(&first);
    assert_eq!(out.body(run(&second).record()), b"/c");
    let journal = out.path().join("fetchall.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    let (before, last) = lines.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("/c\""), "{last}");
    fs::write(&journal, format!("{before}\n")).unwrap();

    let done = run(&first);
    assert_eq!(done.record().outcome, OutcomeName::Fetched);
    assert_eq!(out.body(done.record()), b"/a");
    assert_eq!(run(&first).record().outcome, OutcomeName::Skipped);
}

#[test]
fn a_request_that_fails_leaves_the_file_to_the_url_that_wrote_it() {
    let server = Server::http(|request| match path(request) {
        "/a" => response("200 OK", &[], b"page"),
        _ => response("404 Not Found", &[], b""),
    });
    let out = Out::new();
    let run = |path: &str, code: i32| {
        let run = out.run().arg("--input-format=jsonl");
        let done = run.stdin(named(&server, &[(path, "1")])).expect_exit(code);
        done.record().outcome
    };
    assert_eq!(run("/a", 0), OutcomeName::Fetched);
    assert_eq!(run("/gone", 1), OutcomeName::Failed);
    assert_eq!(run("/a", 0), OutcomeName::Skipped);
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|path| *path == "/a").count(), 1);
}

/// A server that responds with method, body and user of the request.
fn echo() -> Server {
    Server::http(|request| {
        let (method, body) = (request.split(' ').next().unwrap(), request.lines().last());
        let user = header(request, "authorization").unwrap_or("-");
        let text = format!("{method} {} {user}", body.unwrap_or_default());
        response(
            "200 OK",
            &[],
            if method == "HEAD" {
                b""
            } else {
                text.as_bytes()
            },
        )
    })
}

#[test]
fn another_request_is_another_job() {
    let server = echo();
    let url = server.url("/x");
    let of = |user: &str| url.replacen("://", &format!("://{user}@"), 1);
    let requests = [
        vec![url.clone()],
        vec!["-dx=1".into(), url.clone()],
        vec!["-dx=2".into(), url.clone()],
        vec!["-XPUT".into(), "-dx=2".into(), url.clone()],
        vec!["-XDELETE".into(), url.clone()],
        vec!["-I".into(), url.clone()],
        vec![of("ann:1")],
        vec![of("bob:1")],
    ];
    let journal = tempfile::tempdir().unwrap();
    let at = |name: &str| journal.path().join(name).to_str().unwrap().to_owned();
    let out = Out::new();
    let saving = [
        vec!["-o".to_owned(), out.path().to_str().unwrap().to_owned()],
        vec!["--journal".to_owned(), at("journal.jsonl")],
        vec!["--pack".to_owned(), at("pack.warc")],
    ];
    for saving in &saving {
        for request in &requests {
            if request[0] == "-I" && saving[0] != "--journal" {
                // Such a request saves no body.
                continue;
            }
            for outcome in [OutcomeName::Fetched, OutcomeName::Skipped] {
                let run = Run::new().args(saving.clone()).args(request.clone());
                let done = run.expect_exit(0);
                assert_eq!(done.record().outcome, outcome, "{saving:?} {request:?}");
            }
        }
        // Neither a password nor a header of the run makes it another request. Without a file per
        // URL, all requests stay done.
        let run = Run::new()
            .args(saving.clone())
            .args([of("ann:2"), "-HX: 1".into()]);
        assert_eq!(run.expect_exit(0).record().outcome, OutcomeName::Skipped);
        let again = Run::new().args(saving.clone()).arg(&url).expect_exit(0);
        let is_done = again.record().outcome == OutcomeName::Skipped;
        assert_eq!(
            is_done,
            saving[0] != "-o",
            "its file went to another request"
        );
    }
}

/// The users are in one list. Their passwords are sent, but appear nowhere.
#[test]
fn each_user_of_a_url_has_a_file() {
    let server = echo();
    let url = server.url("/x");
    let of = |user: &str| url.replacen("://", &format!("://{user}@"), 1);
    let out = Out::new();
    let run = out.run().arg("--ordered");
    let done = run
        .urls([url.clone(), of("ann:1"), of("bob:1")])
        .expect_exit(0);
    let bodies: HashSet<_> = done.records.iter().map(|record| out.body(record)).collect();
    assert_eq!(bodies.len(), 3);
    let requests: HashSet<_> = done.records.iter().map(|record| &record.request).collect();
    assert_eq!(requests.len(), 3);
    assert!(!done.stdout.contains("ann"), "{}", done.stdout);
}
