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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// URL, line and whether it was fetched, of every record.
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

    // The flag holds for all lists, and not for URLs.
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
        error.message.contains("its file can't be used"),
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
    for (name, list, hint) in [
        ("a.json", format!("[{{\"url\":\"{url}\"}}]"), "jq -c '.[]'"),
        (
            "a.csv",
            format!("{url}\n{url}\n"),
            "its first row must name the columns",
        ),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, list).unwrap();
        let done = Run::new().arg(path.to_str().unwrap()).expect_exit(2);
        assert!(
            done.stderr
                .contains(&format!("cannot read {}", path.display())),
            "{}",
            done.stderr
        );
        assert!(done.stderr.contains(hint), "{}", done.stderr);
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_packed_list_that_breaks_off_gives_what_it_held_and_then_an_error() {
    let server = quick();
    let lines: String = (0..20).map(|n| server.url(&format!("/{n}\n"))).collect();
    let mut packed = gzip(lines.as_bytes());
    // A second member, cut off.
    packed.extend(&gzip(b"http://127.0.0.1:1/")[..12]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("urls.txt.gz");
    std::fs::write(&path, packed).unwrap();
    let done = Run::new().arg(path.to_str().unwrap()).expect_exit(2);
    assert_eq!(done.records.len(), 20, "{}", done.stderr);
    let message = format!(
        "cannot read {}: its gzip data is damaged or cut off",
        path.display()
    );
    assert!(done.stderr.contains(&message), "{}", done.stderr);
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
        // Each piece a member or frame of its own.
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

#[test]
fn records_can_be_fed_back() {
    let server = Server::http(|request| {
        let status = if request.contains("/down") {
            "503 Service Unavailable"
        } else {
            "200 OK"
        };
        response(status, &[], b"hello")
    });
    let done = Run::new()
        .args(["--body", "--retries=0"])
        .urls([server.url("/down"), server.url("/up")])
        .expect_exit(1);
    let again = Run::new()
        .args(["--input-format=jsonl", "--retries=0"])
        .stdin(done.stdout.clone())
        .expect_exit(1);
    assert_eq!(
        (again.of("/down").status, again.of("/up").status),
        (Some(503), Some(200))
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:?}"
    );
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
