use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fetchall::ErrorKind;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::support::{Out, Run, Server, binary, entry, pages, path, placeholders, response};

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
    let mut page = String::new();
    for record in &done.records[2..4] {
        entry(
            &mut page,
            &record.url,
            &record.error.as_ref().unwrap().message,
        );
    }
    insta::assert_snapshot!("bad_lines", page);
}

/// Lists of bare hosts come from all kinds of tools; so do addresses for mail.
#[test]
fn lines_without_a_scheme_get_that_of_the_flag() {
    let server = quick();
    let bare = |path: &str| server.url(path).replace("http://", "");
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("a.csv");
    std::fs::write(&table, format!("url,file\n{},x\n", bare("/csv"))).unwrap();
    let json = dir.path().join("a.jsonl");
    std::fs::write(&json, format!("{{\"url\":\"{}\"}}\n", bare("/json"))).unwrap();
    let failed = dir.path().join("failed.jsonl");
    let lists = [table.to_str().unwrap(), json.to_str().unwrap(), "-"];
    let list = format!("{}\n//{}\n/path\nme@a.test\n", bare("/1"), bare("/2"));
    let run = Run::new().args(lists).arg("--ordered").stdin(list.clone());
    let done = run
        .args(["--scheme=http", "--failed", failed.to_str().unwrap()])
        .expect_exit(1);
    let urls = ["/csv", "/json", "/1", "/2"].map(|path| server.url(path));
    let ok: Vec<_> = done.records.iter().filter(|record| record.ok).collect();
    assert_eq!(
        ok.iter().map(|record| &record.url).collect::<Vec<_>>(),
        urls.iter().collect::<Vec<_>>()
    );
    assert_eq!(done.records.len(), 6);
    let mut page = String::new();
    for record in &done.records[4..] {
        entry(
            &mut page,
            &record.url,
            &record.error.as_ref().unwrap().message,
        );
    }
    // Without the flag they all fail, with a hint at it.
    let done = Run::new().stdin(list).arg("--ordered").expect_exit(1);
    assert_eq!(done.records.len(), 4);
    let message = &done.records[0].error.as_ref().unwrap().message;
    entry(&mut page, "without --scheme", message);
    insta::assert_snapshot!("bare_hosts", placeholders(&page, &[]));
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
    let mut page = String::new();
    assert!(done.stderr.contains("/nowhere/list"), "{}", done.stderr);
    entry(&mut page, "/nowhere/list", &done.stderr);
    assert_eq!(server.requests().len(), 0);
    for argument in ["example.com", "/"] {
        let done = Run::new().arg(argument).expect_exit(2);
        entry(&mut page, argument, &done.stderr);
    }
    insta::assert_snapshot!("can_not_be_read", placeholders(&page, &[]));
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Returns URL, line and whether it was fetched, of every record.
fn found(done: &crate::support::Done) -> Vec<(&str, u64, bool)> {
    let records = done.records.iter();
    records
        .map(|record| {
            (
                record.url.rsplit('/').next().unwrap(),
                record.line,
                record.ok,
            )
        })
        .collect()
}

#[test]
fn the_format_of_a_list_is_told_by_its_name_or_the_flag() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let url = |path| server.url(path);
    let lists = [
        ("a.txt", format!("{}\n", url("/txt"))),
        (
            "a.jsonl",
            format!("# of today\n{{\"url\":\"{}\"}}\n", url("/jsonl")),
        ),
        ("a.csv", format!("id,URL\n7,{}\n", url("/csv"))),
        ("a.tsv", format!("url\tid\n{}\t7\n", url("/tsv"))),
    ];
    let mut args = Vec::new();
    for (name, list) in &lists {
        let path = dir.path().join(name);
        std::fs::write(&path, list).unwrap();
        args.push(path.to_str().unwrap().to_owned());
        let path = dir.path().join(format!("{name}.gz"));
        std::fs::write(&path, gzip(list.as_bytes())).unwrap();
        args.push(path.to_str().unwrap().to_owned());
        let path = dir.path().join(format!("{name}.zst"));
        std::fs::write(&path, zstd::encode_all(list.as_bytes(), 1).unwrap()).unwrap();
        args.push(path.to_str().unwrap().to_owned());
    }
    let done = Run::new().args(args).arg("--ordered").expect_exit(0);
    let expected = [("txt", 1), ("jsonl", 2), ("csv", 2), ("tsv", 2)];
    let expected = expected.map(|(end, line)| [(end, line, true); 3]).concat();
    assert_eq!(found(&done), expected);

    // The option applies to all lists, and not to URLs.
    let done = Run::new()
        .args([
            "--input-format=csv",
            "-",
            &server.url("/argument"),
            "--ordered",
        ])
        .stdin(gzip(lists[2].1.as_bytes()))
        .expect_exit(0);
    assert_eq!(found(&done), [("csv", 2, true), ("argument", 1, true)]);
}

#[test]
fn bad_lines_and_rows_are_failed_records_and_the_rest_goes_on() {
    let server = quick();
    let (one, two) = (server.url("/1"), server.url("/2"));
    let rows = format!("url,file\n{one},a\n{two},b,c\n{two},../x\n{two},\n");
    let done = Run::new()
        .args(["--input-format=csv", "--ordered"])
        .stdin(rows)
        .expect_exit(1);
    let expected = [
        ("1", 2, true),
        ("2", 3, false),
        ("2", 4, false),
        ("2", 5, true),
    ];
    assert_eq!(found(&done), expected);
    let error = done.records[2].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidUrl);
    assert!(
        error.message.contains("invalid file: "),
        "{}",
        error.message
    );

    let lines = format!("{{\"url\":\"{one}\"}}\nnonsense\n{{\"url\":\"{two}\",\"size\":\"x\"}}\n");
    let done = Run::new()
        .args(["--input-format=jsonl", "--ordered"])
        .stdin(lines)
        .expect_exit(1);
    let expected = [("1", 1, true), ("nonsense", 2, false), ("2", 3, false)];
    assert_eq!(found(&done), expected);
}

#[test]
fn a_list_that_is_not_what_it_should_be_is_told_in_one_sentence() {
    let server = quick();
    let url = server.url("/");
    let dir = tempfile::tempdir().unwrap();
    let mut page = String::new();
    for (name, list) in [
        ("a.json", format!("[{{\"url\":\"{url}\"}}]")),
        ("a.csv", format!("{url}\n{url}\n")),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, list).unwrap();
        let done = Run::new().arg(path.to_str().unwrap()).expect_exit(2);
        assert!(
            done.stderr.contains(path.to_str().unwrap()),
            "{}",
            done.stderr
        );
        entry(&mut page, name, &done.stderr);
    }
    insta::assert_snapshot!("not_what_it_should_be", placeholders(&page, &[]));
    assert_eq!(server.requests().len(), 0);
}

/// Read as text, a workbook would be thousands of failed lines. The list before it is not fetched,
/// either: a run that cannot be complete does not start.
#[test]
fn a_file_that_is_no_list_is_one_error_with_the_way_to_convert_it() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.txt");
    std::fs::write(&good, server.url("/")).unwrap();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/lists");
    let mut seen = 0;
    for file in std::fs::read_dir(files).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        // Told by its content, not by its name.
        let list = dir.path().join("list.csv");
        std::fs::write(&list, &bytes).unwrap();
        let args = [good.to_str().unwrap(), list.to_str().unwrap()];
        let told = Run::new().args(args).expect_exit(2);
        let piped = Run::new().stdin(bytes).expect_exit(2);
        // A file on stdin is looked at before the list in front of it is fetched.
        let stdin = std::fs::File::open(&list).unwrap();
        let mut redirected = crate::support::binary();
        let redirected = redirected
            .args([good.as_os_str(), "-".as_ref()])
            .stdin(stdin);
        let redirected = redirected.output().unwrap();
        assert_eq!(redirected.status.code(), Some(2));
        for done in [&told, &piped] {
            assert_eq!(done.records.len(), 0);
            assert!(done.stderr.contains("cannot read "), "{}", done.stderr);
        }
        let (_, advice) = told.stderr.split_once("list.csv: ").unwrap();
        let advice = advice.lines().next().unwrap();
        assert!(piped.stderr.contains(advice), "{}", piped.stderr);
        seen += 1;
    }
    assert_eq!((seen, server.requests().len()), (10, 0));
}

#[test]
fn a_packed_list_that_breaks_off_gives_what_it_held_and_then_an_error() {
    let server = quick();
    let lines: String = (0..20).map(|n| server.url(&format!("/{n}\n"))).collect();
    let mut packed = gzip(lines.as_bytes());
    // A second member, truncated.
    packed.extend(&gzip(b"http://127.0.0.1:1/")[..12]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("urls.txt.gz");
    std::fs::write(&path, packed).unwrap();
    let done = Run::new().arg(path.to_str().unwrap()).expect_exit(2);
    assert_eq!(done.records.len(), 20, "{}", done.stderr);
    let told = done
        .stderr
        .lines()
        .find(|line| line.contains("urls.txt.gz"));
    insta::assert_snapshot!("gzip_cut_off", placeholders(told.unwrap(), &[]));
}

#[test]
fn a_pipe_of_any_format_gives_its_records_as_it_goes() {
    let server = quick();
    let url = server.url("/x");
    for (format, header, line) in [
        ("jsonl", "", format!("{{\"url\":\"{url}\"}}\n")),
        ("csv", "url,file\r\n", format!("{url},\"a\"\r\n")),
        ("tsv", "file\turl\n", format!("a\t{url}\n")),
    ] {
        let plain = |bytes: &[u8]| bytes.to_vec();
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        // Each piece is a separate member or frame.
        for pack in [plain, gzip, zstd] {
            let mut child = binary()
                .args(["--json", "-q", "--input-format", format])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut write = |text: &str| {
                stdin.write_all(&pack(text.as_bytes())).unwrap();
            };
            write(header);
            for _ in 0..3 {
                write(&line);
                let line = lines.next().unwrap().unwrap();
                assert!(line.contains("\"ok\":true"), "{line}");
            }
            drop(stdin);
            assert!(child.wait().unwrap().success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_can_be_fed_back() {
    let server = MockServer::start().await;
    for (at, status) in [("/down", 503), ("/up", 200)] {
        Mock::given(matchers::method("GET"))
            .and(matchers::path(at))
            .respond_with(ResponseTemplate::new(status).set_body_string("hello"))
            .expect(2)
            .mount(&server)
            .await;
    }
    let go = |run: Run| tokio::task::block_in_place(|| run.expect_exit(1));
    let urls = ["/down", "/up"].map(|path| server.uri() + path);
    let done = go(Run::new().args(["--body", "--retries=0"]).urls(urls));
    let run = Run::new().args(["--input-format=jsonl", "--retries=0"]);
    let again = go(run.stdin(done.stdout.clone()));
    assert_eq!(
        (again.of("/down").status, again.of("/up").status),
        (Some(503), Some(200))
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 4);
}

#[test]
fn failing_lines_of_all_formats_can_be_fed_back_from_one_file() {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    static UP: AtomicBool = AtomicBool::new(false);
    let server = Server::http(|_| {
        let status = if UP.load(SeqCst) {
            "200 OK"
        } else {
            "404 Not Found"
        };
        response(status, &[], b"hello")
    });
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let text = server.url("/text").replace("http://", "http://me:s3cret@");
    let json = format!(
        "{{\"url\":\"{}\",\"headers\":{{\"x-token\":\"s3cret\"}},\"body\":\"a\"}}",
        server.url("/json")
    );
    std::fs::write(path("a.txt"), format!("{text}\n")).unwrap();
    std::fs::write(path("a.jsonl"), format!("{json}\n")).unwrap();
    std::fs::write(
        path("a.csv"),
        format!("Size,url,method\n5,{},put\n", server.url("/csv")),
    )
    .unwrap();
    let failed = path("again.jsonl");
    let done = Run::new()
        .args([
            path("a.txt"),
            path("a.jsonl"),
            path("a.csv"),
            server.url("/argument"),
        ])
        .args(["--ordered", "-vv", "--failed", &failed])
        .expect_exit(1);
    assert_eq!(done.records.len(), 4);
    assert!(!done.stdout.contains("s3cret") && !done.stderr.contains("s3cret"));
    let mut lines: Vec<_> = std::fs::read_to_string(&failed)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert!(lines.contains(&json), "as it was: {lines:?}");
    assert!(
        lines.contains(&format!("{{\"url\":\"{text}\"}}")),
        "{lines:?}"
    );
    let before = server.requests();
    UP.store(true, SeqCst);
    Run::new().arg(&failed).expect_exit(0);
    let sorted = |requests: &[String]| {
        let mut requests = requests.to_vec();
        requests.sort();
        requests
    };
    assert_eq!(
        sorted(&server.requests()[4..]),
        sorted(&before),
        "the same requests"
    );
}

#[test]
fn an_invalid_line_is_invalid_again_in_whatever_form_it_is_read() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [a, b, c] = ["/se cret", "/a", "/x caption"].map(|at| server.url(at));
    std::fs::write(path("a.txt"), format!("{a}\n{b} {b}\n{c}\n")).unwrap();
    let rows = format!("url,file\n{b}\n\"nonsense\n{b},x,y\n");
    std::fs::write(path("a.csv"), rows).unwrap();
    let said = |done: &crate::support::Done| {
        let said = done.records.iter().map(|record| {
            let error = record.error.as_ref().unwrap();
            (record.url.clone(), error.kind, error.message.clone())
        });
        said.collect::<Vec<_>>()
    };
    let failed = path("again.jsonl");
    let run = || Run::new().args(["--ordered", &path("a.txt"), &path("a.csv")]);
    let done = run().args(["--failed", &failed]).expect_exit(1);
    let first = said(&done);
    assert_eq!(first.len(), 6);
    assert_eq!(first[0].0, a, "the line");
    for list in [failed, path("records.jsonl")] {
        std::fs::write(path("records.jsonl"), &done.stdout).unwrap();
        let again = Run::new().args(["--ordered", &list]).expect_exit(1);
        assert_eq!(said(&again), first, "{list}");
    }
    let table = run().text().arg("--csv").expect_exit(1);
    std::fs::write(path("records.csv"), table.stdout).unwrap();
    let again = Run::new()
        .args(["--ordered", &path("records.csv")])
        .expect_exit(1);
    assert_eq!(again.records.len(), 6);
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_empty_name_or_input_is_a_usage_error() {
    for (args, text) in [
        (["--keep-columns", ""], "expected the name of a column"),
        (["--keep-columns", "a,"], "expected the name of a column"),
        (["--url-column", ""], "expected the name of a column"),
        (["-q", ""], "an input is empty"),
    ] {
        let done = Run::new().text().args(args).expect_exit(2);
        assert!(done.stderr.contains(text), "{args:?}: {}", done.stderr);
    }
}

/// Without the flag, another column is the one named like a URL.
#[test]
fn a_failed_row_is_fed_back_without_the_name_of_its_url_column() {
    let server = Server::http(|_| response("404 Not Found", &[], b""));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (table, failed) = (path("a.csv"), path("again.jsonl"));
    let row = format!("{},{}", server.url("/page"), server.url("/wrong"));
    std::fs::write(&table, format!("page,link\n{row}\n")).unwrap();
    let run = |args: &[&str]| Run::new().args(args.iter().copied()).expect_exit(1);
    run(&["--url-column=page", "--failed", &failed, &table]);
    run(&[&failed]);
    run(&["--url-column=page", &failed]);
    run(&["--url-column=link", "--input-format=csv", &failed]);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests.iter().all(|it| it.starts_with("GET /page ")),
        "{requests:?}"
    );
}

/// A header that cannot be read with commas is not read with semicolons: URLs would have other
/// cells in them.
#[test]
fn a_table_with_a_malformed_header_is_not_fetched() {
    let server = quick();
    let list = format!("url,\"caption\n{},one\n", server.url("/x"));
    let done = of_file("a.csv", list.as_bytes(), &[]);
    assert!(
        done.stderr.contains("invalid header row: "),
        "{}",
        done.stderr
    );
    assert!(server.requests().is_empty());
}

/// Runs over a list in a file, and returns the result.
fn of_file(name: &str, list: &[u8], more: &[&str]) -> crate::support::Done {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, list).unwrap();
    let run = Run::new().args(more.iter().copied()).arg("--ordered");
    run.arg(path.to_str().unwrap()).go()
}

#[test]
fn a_quote_that_does_not_close_costs_its_row_alone() {
    let server = quick();
    let mut messages = std::collections::BTreeSet::new();
    for (quoted, broken) in [("\"open", 1), ("\"shut\" text", 1), ("\"closed\"", 0)] {
        let rows = (1..300).map(|n| match n {
            1 | 150 => format!("{},{quoted}\n", server.url(&format!("/{n}"))),
            _ => format!("{},\"plain\"\n", server.url(&format!("/{n}"))),
        });
        let list = format!("url,name\n{}", rows.collect::<String>());
        let done = of_file("list.csv", list.as_bytes(), &[]);
        assert_eq!(done.code, Some(broken), "{}", done.stderr);
        assert_eq!(done.records.len(), 299);
        for (number, record) in (1..).zip(&done.records) {
            assert_eq!(record.line, number + 1);
            assert_eq!(record.url, server.url(&format!("/{number}")));
            let is_broken = broken == 1 && matches!(number, 1 | 150);
            assert_eq!(record.ok, !is_broken, "{record:?}");
            if let Some(error) = &record.error {
                assert_eq!(error.kind, ErrorKind::InvalidUrl);
                messages.insert(error.message.clone());
            }
        }
    }
    let messages: Vec<_> = messages.into_iter().collect();
    insta::assert_snapshot!("quotes_that_do_not_close", messages.join("\n"));
}

#[test]
fn in_tsv_quotes_hold_nothing_together() {
    let server = quick();
    let rows = (1..300).map(|n| {
        let note = if n % 7 == 0 { "\"old title" } else { "x" };
        format!("{note}\t\"{}\"\n", server.url(&format!("/{n}")))
    });
    let list = format!("note\turl\n{}", rows.collect::<String>());
    let done = of_file("list.tsv", list.as_bytes(), &[]);
    assert_eq!(
        (done.code, done.records.len()),
        (Some(0), 299),
        "{}",
        done.stderr
    );
}

/// A pipe that never ends, after a quote that is never closed.
#[test]
fn a_quote_that_never_closes_is_read_in_bounded_memory() {
    let server = quick();
    let mut list = format!("url,name\n{},\"open\n", server.url("/1")).into_bytes();
    list.resize(60 << 20, b'\n');
    list.extend_from_slice(format!("{},x\n", server.url("/2")).as_bytes());
    let done = Run::new()
        .args(["--input-format=csv", "--ordered"])
        .stdin(list)
        .expect_exit(1);
    let ok: Vec<_> = done.records.iter().map(|record| record.ok).collect();
    assert_eq!(ok, [false, true]);
    assert!(done.peak < 128 * 1024, "{} KiB", done.peak);
}

/// In a line for `--failed`, or in output, each of these bytes could take two, three or six.
#[test]
fn large_cells_of_any_content_are_read_in_bounded_memory() {
    let server = Server::http(|request| match path(request) {
        "/bad" => response("404 Not Found", &[], b""),
        _ => response("200 OK", &[], b""),
    });
    for (column, cell, end, fetched) in [
        ("body", &b"x\n"[..], "", 2),
        ("body", b"\x01\x01", "", 2),
        ("note", b"\x01\x01", "", 2),
        ("note", b"\x01\x01", ",one more", 0),
        ("mirrors", b"a ", "", 0),
        ("body", b"\xff\xff", "", 0),
    ] {
        let mut list = format!("url,{column}\n").into_bytes();
        for path in ["/1", "/bad", "/2"] {
            list.extend(format!("{},\"", server.url(path)).into_bytes());
            list.extend(cell.repeat(8_300_000));
            list.extend(format!("\"{end}\n").into_bytes());
        }
        let failed = tempfile::NamedTempFile::new().unwrap();
        let file = format!("--failed={}", failed.path().display());
        let done = Run::new()
            .args(["--input-format=csv", &file])
            .stdin(list)
            .expect_exit(1);
        assert_eq!(done.records.len(), 3);
        let ok = done.records.iter().filter(|record| record.ok).count();
        assert_eq!(ok, fetched, "{column} {cell:?}{end}");
        let peak = done.peak;
        assert!(peak < 128 * 1024, "{column} {cell:?}{end}: {peak} KiB");
    }
}

#[test]
fn long_lines_that_are_no_text_are_shown_in_bounded_memory() {
    let bytes = "\u{e9}".repeat(8_000_000);
    let url = format!("{{\"url\":\"http://a/{bytes}\"}}\n").into_bytes();
    let line = [&b"\xff".repeat(16_600_000)[..], b"\n"].concat();
    for list in [url, line] {
        let done = Run::new()
            .arg("--input-format=jsonl")
            .stdin(list.repeat(3))
            .expect_exit(1);
        assert_eq!(done.records.len(), 3);
        assert!(done.peak < 128 * 1024, "{} KiB", done.peak);
    }
}

#[test]
fn a_tab_or_a_line_end_is_never_part_of_a_url() {
    let server = quick();
    let (one, two) = (server.url("/1"), server.url("/2"));
    let list = format!("{one}\ta cat\r{two}\r{one}  # note\r\n\r{two} {one}\n");
    let done = of_file("list.txt", list.as_bytes(), &[]);
    let expected = [
        ("1\\ta cat", 1, false),
        ("2", 2, true),
        ("1", 3, true),
        ("1", 5, false),
    ];
    assert_eq!(found(&done), expected, "{}", done.stdout);
    let mut page = String::new();
    for record in done.records.iter().filter(|record| !record.ok) {
        let error = record.error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidUrl);
        entry(&mut page, &format!("line {}", record.line), &error.message);
    }
    insta::assert_snapshot!("more_than_a_url", placeholders(&page, &[]));
    let done = Run::new()
        .args(["-0", "--ordered"])
        .stdin(format!("{one}\n{two}\0{two}\0"))
        .expect_exit(1);
    let urls: Vec<_> = done.records.iter().map(|record| &record.url).collect();
    assert_eq!(urls, [&format!("{one}\\n{two}"), &two]);
    let json = format!("{{\"url\":\"{one}\\t/x\"}}\n{{\"url\":\"{one}\\n\"}}\n");
    let done = of_file("list.jsonl", json.as_bytes(), &[]);
    let ok: Vec<_> = done.records.iter().map(|record| record.ok).collect();
    assert_eq!(ok, [false, true]);
    let done = Run::new().arg(format!("{one}\n{two}")).expect_exit(1);
    assert_eq!(done.records.len(), 1);
    // The requested paths are exactly those in the list.
    let mut paths: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap().to_owned())
        .collect();
    paths.sort();
    assert_eq!(paths, ["/1", "/1", "/2", "/2"]);
}

#[test]
fn utf_16_is_read_behind_its_mark_and_named_without_it() {
    let server = quick();
    let little = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let big = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect::<Vec<u8>>()
    };
    let url = server.url("/x");
    for (format, list) in [
        ("text", format!("\u{feff}# n\u{fc}\r\n{url}\r\n")),
        ("csv", format!("\u{feff}name,url\r\n\u{1f600},{url}\r\n")),
        ("tsv", format!("\u{feff}name\turl\r\n\u{fc}\t{url}\r\n")),
        ("jsonl", format!("\u{feff}\r\n{{\"url\":\"{url}\"}}\r\n")),
    ] {
        for list in [little(&list), big(&list), gzip(&little(&list))] {
            let done = Run::new()
                .args(["--input-format", format])
                .stdin(list)
                .expect_exit(0);
            assert_eq!(found(&done), [("x", 2, true)], "{format}");
        }
    }
    let mut page = String::new();
    for (list, name) in [(little(&url), "UTF-16LE"), (big(&url), "UTF-16BE")] {
        let done = of_file("list.txt", &list, &[]);
        assert_eq!(done.code, Some(2));
        entry(&mut page, name, &done.stderr);
    }
    insta::assert_snapshot!("utf_16_without_a_mark", placeholders(&page, &[]));
}

/// These paths contain two consecutive slashes, followed by names with `:` and `@`.
#[test]
fn an_at_sign_behind_two_slashes_is_no_second_url() {
    let server = quick();
    let paths = [
        "/a//img:foo@2x.png",
        "/thumb/a//12:30@3x.jpg",
        "/?text=see//note:1@home",
        "/x?to=//tel:0049@sip",
        "/npm/@a/b@1.0//x:y@z",
        "/web/http://[::1]:80/@me",
        "/?next=http://b:80&mail=me@c",
    ];
    let done = Run::new()
        .args(paths.map(|path| server.url(path)))
        .expect_exit(0);
    let mut expected = paths.to_vec();
    expected.sort_unstable();
    assert_eq!(server.asked(), expected, "{}", done.stderr);
}

#[test]
fn a_second_url_does_not_show_its_password() {
    let server = quick();
    let one = server.url("/1");
    let lines = [
        "http://http://me:s3cret@host/".to_owned(),
        format!("{one} http://me:s3cret@host/"),
        format!("{one},http://me:s3cret@host/"),
        format!("{one}?u=http://me:s3cret@host/"),
        format!("{one}?u=http%3A%2F%2Fme%3As3cret%40host%2F"),
        format!("{one}?u=http%253A%252F%252Fme%253As3cret%2540host%252F"),
        format!("{one}/HTTP:/me:s3cret@host/"),
        "http://me:s3cret%40host/".to_owned(),
        "http://me:s3cret\u{ff20}host:1/".to_owned(),
        format!("-u me:s3cret {one}"),
    ];
    let text = lines.join("\n");
    let json = lines.iter().map(|line| format!("{{\"url\":\"{line}\"}}\n"));
    let json = json.collect::<String>() + "{\"url\":\"http://me:s3cret\\u0040a/\"";
    let csv = lines.iter().map(|line| format!("\"{line}\",x\n"));
    let csv = format!(
        "url,note\n{}\"http://me:s3cret@a/\"b,x\n",
        csv.collect::<String>()
    );
    for (name, list) in [("a.txt", text), ("a.jsonl", json), ("a.csv", csv)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, list).unwrap();
        for more in [
            "--json -vv",
            "-vv",
            "--csv",
            "--dry-run --output-dir=/nonexistent",
        ] {
            let run = Run::new().text().args(more.split(' '));
            let done = run.arg(path.to_str().unwrap()).expect_exit(1);
            let shown = format!("{}{}", done.stdout, done.stderr);
            assert!(!shown.contains("s3cret"), "{name} {more}: {shown}");
        }
    }
    let done = Run::new().arg("-vv").args(lines).expect_exit(1);
    let shown = format!("{}{}", done.stdout, done.stderr);
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn bidirectional_controls_come_out_harmless() {
    let line = "bad\u{202e}txt.exe\u{2066}\u{200f}\u{61c}";
    for more in [&[][..], &["--csv"], &["-w=%{url}\n"]] {
        let done = Run::new()
            .text()
            .args(more.iter().copied())
            .urls([line])
            .go();
        let all = format!("{}{}", done.stdout, done.stderr);
        assert!(all.contains("bad\\u{202e}txt"), "{all}");
        assert!(
            !all.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}']),
            "{all}"
        );
    }
}

#[test]
fn a_column_that_is_almost_a_known_one_is_a_warning() {
    let server = pages();
    let out = Out::new();
    let list = format!("url,Filename\n{},x\n", server.url("/a"));
    let run = || out.run().arg("--input-format=csv").stdin(list.clone());
    let done = run().expect_exit(0);
    let warning = done.stderr.lines().next().unwrap();
    insta::assert_snapshot!("misnamed_column", warning);
    assert_eq!(done.stderr.matches("warning").count(), 1, "{}", done.stderr);
    assert_eq!(run().arg("-q").expect_exit(0).stderr, "");
}

#[test]
fn blanks_of_any_script_part_a_url_from_what_is_not_one() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    for blank in [
        "\u{a0}", "\u{3000}", "\u{2028}", "\u{85}", "\u{b}", "\u{2003}",
    ] {
        let (one, two) = (server.url("/1"), server.url("/2"));
        let list = format!("{one}{blank}{two}\n{one}{blank}a caption\n{one}{blank}#c\n{two}\n");
        let done = Run::new().stdin(list).expect_exit(1);
        let ok: Vec<_> = done.records.iter().map(|record| record.ok).collect();
        assert_eq!(ok, [false, false, false, true], "{blank:?}");
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| path(request) == "/2")
    );
}

#[test]
fn a_table_with_another_separator_has_no_column_with_urls() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let url = server.url("/?id=5");
    for (format, separator) in [("csv", "|"), ("tsv", ","), ("tsv", ";"), ("tsv", "|")] {
        for (header, row) in [
            (
                format!("url{separator}caption"),
                format!("{url}{separator}hello"),
            ),
            (format!("id{separator}link"), format!("5{separator}{url}")),
        ] {
            let run = Run::new().args(["--input-format", format]);
            let done = run.stdin(format!("{header}\n{row}\n")).expect_exit(2);
            assert!(done.stderr.contains("no column url"), "{}", done.stderr);
        }
    }
    let run = Run::new().arg("--input-format=csv");
    let done = run.stdin(format!("url|caption,b\n{url}|hello,b\n"));
    assert!(done.expect_exit(2).stderr.contains("no column url"));
    assert!(server.requests().is_empty());
}

/// As gzip(1) takes it, for instance from a tape.
#[test]
fn zeros_behind_a_packed_list_are_padding() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let packed = |text: String| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(text.as_bytes()).unwrap();
        coder.finish().unwrap()
    };
    let one = packed(format!("{}\n", server.url("/1")));
    let two = packed(format!("{}\n", server.url("/2")));
    for (list, code, count) in [
        ([&one[..], &two, &[0; 100_000]].concat(), 0, 2),
        ([&one[..], &[0; 3], &two].concat(), 0, 2),
        ([&one[..], b"garbage"].concat(), 2, 1),
        ([&one[..], &two[..two.len() - 9]].concat(), 2, 1),
    ] {
        let done = Run::new().stdin(list).expect_exit(code);
        assert!(done.records.len() >= count, "{}", done.stderr);
    }
}
