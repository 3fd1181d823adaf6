use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fetchall::{ErrorKind, OutcomeName};

use crate::support::{Done, Run, Server, closed_port, entry, placeholders, response, times};

fn pages() -> Server {
    Server::http(|request| {
        let path = request.split(' ').nth(1).unwrap();
        match path {
            "/missing" => response("404 Not Found", &[], b"no"),
            "/binary" => response("200 OK", &[], b"\xff\x00"),
            "/slow" => {
                std::thread::sleep(Duration::from_millis(300));
                response("200 OK", &[], b"late")
            }
            _ => response(
                "200 OK",
                &[
                    "Content-Type: text/html",
                    "ETag: \"x1\"",
                    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
                ],
                path.as_bytes(),
            ),
        }
    })
}

#[test]
fn a_record_says_everything_that_is_known_and_nothing_else() {
    let server = pages();
    let done = Run::new().urls([server.url("/page#part")]).expect_exit(0);
    let record = done.record();
    assert_eq!(record.url, server.url("/page"));
    assert_eq!(record.final_url.as_ref(), Some(&record.url));
    assert_eq!(
        (
            record.status,
            record.bytes,
            record.attempts,
            record.redirects
        ),
        (Some(200), Some(5), 1, 0)
    );
    assert_eq!(record.http.as_deref(), Some("1.1"));
    assert_eq!(record.content_type.as_deref(), Some("text/html"));
    assert_eq!(record.etag.as_deref(), Some("\"x1\""));
    assert_eq!(
        record.last_modified.as_deref(),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    assert!(record.elapsed_ms >= record.ttfb_ms && record.total_ms.is_none());
    let shape = jiff::fmt::temporal::DateTimeParser::new();
    shape.parse_timestamp(&record.at).unwrap();
    assert_eq!(record.at.len(), "2026-11-22T10:00:00.123Z".len());
    assert!(!done.stdout.contains("null"), "{}", done.stdout);
    let keys: Vec<_> = done
        .stdout
        .split('"')
        .filter(|part| *part == "simulated" || *part == "body")
        .collect();
    assert!(keys.is_empty());
}

/// The name is recorded, and names no file.
#[test]
fn a_record_has_the_name_of_content_disposition() {
    let server = Server::http(|request| {
        let disposition = match crate::support::path(request) {
            "/plain" => "Content-Disposition: attachment; filename=\"../../a b.pdf\"",
            "/extended" => {
                "Content-Disposition: attachment; filename=x; filename*=UTF-8''%e2%82%ac.pdf"
            }
            _ => "Content-Disposition: inline",
        };
        response("200 OK", &[disposition, "ETag: \"1\""], b"x")
    });
    let out = crate::support::Out::new();
    let urls = || ["/plain", "/extended", "/none"].map(|path| server.url(path));
    let done = out.run().urls(urls()).expect_exit(0);
    for (path, name) in [
        ("/plain", Some("a b.pdf")),
        ("/extended", Some("€.pdf")),
        ("/none", None),
    ] {
        let record = done.of(path);
        assert_eq!(record.filename.as_deref(), name, "{path}");
        let file = record.file.as_deref().unwrap();
        assert!(file.ends_with(&format!("{path}+")), "{file}");
    }
    let again = out.run().urls(urls()).expect_exit(0);
    assert_eq!(again.of("/plain").filename, done.of("/plain").filename);
    let text = Run::new()
        .text()
        .args(["-w", "%{filename}\\n", &server.url("/plain")])
        .expect_exit(0);
    assert_eq!(text.stdout, "a b.pdf\n");
}

#[test]
fn a_failed_record_says_why() {
    let server = pages();
    let refused = closed_port();
    let done = Run::new()
        .arg("--retries=0")
        .urls([server.url("/missing"), format!("http://{refused}/")])
        .expect_exit(1);
    let missing = done.of("/missing");
    assert_eq!(
        (missing.ok, missing.outcome, missing.status),
        (false, OutcomeName::Failed, Some(404))
    );
    let kind = |end: &str| done.of(end).error.as_ref().unwrap().kind;
    assert_eq!(kind("/missing"), ErrorKind::Status);
    assert_eq!(kind(&format!("{refused}/")), ErrorKind::Refused);
    assert_eq!(missing.bytes, None);
    let line = done
        .stdout
        .lines()
        .find(|line| line.contains("refused"))
        .unwrap();
    assert!(
        line.contains(r#""ok":false,"outcome":"failed","error":{"kind":"refused","message":"#),
        "{line}"
    );
    assert!(!line.contains("status\":"), "{line}");
    let mut page = String::new();
    for end in ["/missing", &format!("{refused}/")] {
        let record = done.of(end);
        entry(
            &mut page,
            &record.url,
            &record.error.as_ref().unwrap().message,
        );
    }
    insta::assert_snapshot!("why_it_failed", placeholders(&page, &[]));
}

#[test]
fn text_lines_have_four_columns_and_the_reason() {
    let server = pages();
    let refused = format!("http://{}/", closed_port());
    let done = Run::new()
        .text()
        .args(["--ordered", "--retries=0"])
        .urls([
            server.url("/page"),
            server.url("/missing"),
            refused.clone(),
            "nonsense".into(),
        ])
        .expect_exit(1);
    let rows: Vec<Vec<_>> = done
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        (rows[0][0], rows[0][1], rows[0][3]),
        ("200", "5B", server.url("/page").as_str())
    );
    assert_eq!((rows[1][0], rows[1][1]), ("404", "-"));
    assert_eq!((rows[2][0], rows[2][3]), ("refused", refused.as_str()));
    assert_eq!(
        (rows[3][0], rows[3][2], rows[3][3]),
        ("invalid_url", "-", "nonsense")
    );
    let rest: Vec<_> = rows[1..].iter().map(|row| row[4..].join(" ")).collect();
    insta::assert_snapshot!("reasons_of_text_lines", placeholders(&rest.join("\n"), &[]));
    assert!(!done.stdout.contains('\u{1b}'), "no colour in a pipe");
    let starts: Vec<_> = done
        .stdout
        .lines()
        .take(3)
        .map(|line| line.find("http://"))
        .collect();
    assert_eq!(starts, [Some(35); 3], "aligned: {}", done.stdout);
}

#[test]
fn colour_when_asked_for() {
    let server = pages();
    let done = Run::new()
        .text()
        .arg("--color=always")
        .urls([server.url("/")])
        .expect_exit(0);
    assert!(
        done.stdout.starts_with("\u{1b}[32m200"),
        "{:?}",
        done.stdout
    );
}

#[test]
fn results_come_as_they_settle_or_in_order() {
    let server = pages();
    let urls = [server.url("/slow"), server.url("/a"), server.url("/b")];
    let first = |done: crate::support::Done| done.records[0].url.clone();
    assert_ne!(first(Run::new().urls(&urls).expect_exit(0)), urls[0]);
    let ordered = Run::new().arg("--ordered").urls(&urls).expect_exit(0);
    let lines: Vec<_> = ordered.records.iter().map(|record| record.line).collect();
    assert_eq!(lines, [1, 2, 3]);
}

#[test]
fn bodies_come_as_text_or_base64() {
    let server = pages();
    let done = Run::new()
        .arg("--body")
        .urls([server.url("/text"), server.url("/binary")])
        .expect_exit(0);
    assert_eq!(done.of("/text").body.as_deref(), Some("/text"));
    assert_eq!(done.of("/binary").body, None);
    assert_eq!(done.of("/binary").body_base64.as_deref(), Some("/wA="));
    let done = Run::new().text().arg("--body").expect_exit(2);
    insta::assert_snapshot!("body_without_json", done.stderr);
}

#[test]
fn with_body_a_large_one_needs_max_size() {
    let server = Server::http(|_| response("200 OK", &[], &vec![b'x'; 9 << 20]));
    let done = Run::new()
        .arg("--body")
        .urls([server.url("/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::TooLarge, 1));
    insta::assert_snapshot!("body_too_large", done.message());
    let done = Run::new()
        .args(["--body", "--max-size=10MiB"])
        .urls([server.url("/")])
        .expect_exit(0);
    assert_eq!(done.record().body.as_ref().unwrap().len(), 9 << 20);
}

fn sorted_messages(done: &Done) -> Vec<String> {
    let mut messages: Vec<_> = done
        .records
        .iter()
        .map(|record| format!("{} {}", record.url, record.error.as_ref().unwrap().message))
        .collect();
    messages.sort();
    messages
}

#[test]
fn failed_lines_are_copied_as_they_were_and_can_be_fed_back() {
    let server = pages();
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("again.txt");
    let path = failed.to_str().unwrap();
    let missing = server
        .url("/missing")
        .to_uppercase()
        .replace("/MISSING", "/missing");
    Run::new()
        .args(["--failed", path, "--ordered"])
        .urls([server.url("/a"), missing.clone(), "not a url".into()])
        .expect_exit(1);
    assert_eq!(
        std::fs::read_to_string(&failed).unwrap(),
        format!("{missing}\nnot a url\n")
    );
    // A line that settles first must not decide what the file is.
    for (line, format, is_marked) in [
        ("not a url", "text", false),
        ("<html>", "text", true),
        ("<?xml version=\"1.0\"?>", "text", true),
        ("%PDF-1.7", "text", true),
        ("[1]", "jsonl", true),
        ("{", "jsonl", true),
        ("{\"url\":7}", "jsonl", false),
    ] {
        let list = match format {
            "text" => format!("{missing}\n{line}\n"),
            _ => format!("{{\"url\":\"{missing}\"}}\n{line}\n"),
        };
        let run = || Run::new().args(["--failed", path, "--input-format", format, "--json"]);
        let first = run().stdin(list.as_str()).expect_exit(1);
        let text = std::fs::read_to_string(&failed).unwrap();
        assert_eq!(text.starts_with("#\n"), is_marked, "{text}");
        let again = run().stdin(text.as_str()).expect_exit(1);
        assert_eq!(sorted_messages(&again), sorted_messages(&first), "{line}");
    }
    assert_eq!(
        failed.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );

    let done = Run::new().args(["--failed", path, path]).expect_exit(2);
    insta::assert_snapshot!("failed_is_also_an_input", placeholders(&done.stderr, &[]));
    assert!(failed.metadata().unwrap().len() > 0, "not emptied");

    let hard_link = dir.path().join("link.txt");
    std::fs::hard_link(&failed, &hard_link).unwrap();
    let link = hard_link.to_str().unwrap();
    let data = format!("-d@{path}");
    for args in [
        ["--failed", link, path, "-v"],
        ["--failed", path, &data, "http://a/"],
    ] {
        Run::new().args(args).expect_exit(2);
    }
    let stdin = std::fs::File::open(&failed).unwrap();
    let status = crate::support::binary()
        .args(["--failed", path])
        .stdin(stdin)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(2));
    let stdout = std::fs::File::options().append(true).open(&failed).unwrap();
    let output = crate::support::binary()
        .args(["--failed", path, "http://a/"])
        .stdout(stdout)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(failed.metadata().unwrap().len() > 0, "still not emptied");

    let done = Run::new().arg(path).expect_exit(1);
    assert_eq!(done.records.len(), 2);
}

#[test]
fn an_output_that_cannot_be_written_ends_the_run_with_3() {
    let server = pages();
    let done = Run::new()
        .args(["--failed", "/nowhere/failed"])
        .urls([server.url("/")])
        .expect_exit(3);
    assert!(done.stderr.contains("/nowhere/failed"), "{}", done.stderr);
    insta::assert_snapshot!("failed_can_not_be_written", placeholders(&done.stderr, &[]));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_full_disk_under_stdout_ends_the_run_with_3() {
    let server = pages();
    let output = crate::support::binary()
        .args(["--json", &server.url("/")])
        .stdout(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = stderr.lines().take(2).collect();
    insta::assert_snapshot!("stdout_is_full", placeholders(&lines.join("\n"), &[]));
}

#[test]
fn the_summary_adds_up_and_says_what_one_by_one_would_have_cost() {
    let server = pages();
    let mut urls = vec![server.url("/slow"); 5];
    urls.extend([server.url("/missing"), "nonsense".into()]);
    let done = Run::new().urls(urls).expect_exit(1);
    assert!(
        done.stderr.contains("7 URLs: 5 fetched, 2 failed"),
        "{}",
        done.stderr
    );
    let summary = times(&done.stderr);
    let (summary, speedup) = summary.rsplit_once(": ").unwrap();
    insta::assert_snapshot!("summary", summary);
    let ratio = speedup.trim_end().strip_suffix('x').unwrap();
    assert!(ratio.parse::<f64>().unwrap() > 1.0, "{}", done.stderr);
}

#[test]
fn quiet_is_quiet() {
    let server = pages();
    let done = Run::new()
        .arg("-q")
        .urls([server.url("/"), server.url("/missing")])
        .expect_exit(1);
    assert_eq!(done.stderr, "");
}

#[test]
fn usage_errors_are_2_and_say_what_would_be_right() {
    let mut page = String::new();
    for args in [
        vec!["--concurency=3"],
        vec!["-j0"],
        vec!["--max-time=soon"],
        vec!["--resolve=a:b"],
        vec!["-H", "no colon"],
        vec!["-I", "-d", "x"],
        vec!["--email-to=nobody"],
        vec!["--proxy=ftp://x"],
        vec!["-", "-"],
        vec!["--cacert=/nowhere.pem", "http://a/"],
        vec!["-j99999999999"],
        vec!["--retries=-1"],
    ] {
        let done = Run::new().text().args(args.clone()).expect_exit(2);
        assert_eq!(done.stdout, "");
        entry(&mut page, &args.join(" "), &done.stderr);
    }
    insta::assert_snapshot!("usage_errors", placeholders(&page, &[]));
}

#[test]
fn usage_errors_repeat_no_secret() {
    for args in [
        vec!["-x", "http://u:s3cret@127.0.0.1:99999", "http://a/"],
        vec!["-x", "ftp://u:s3cret@host", "http://a/"],
        vec!["-H", "Authorization Bearer s3cret", "http://a/"],
        vec!["-H", "Authorization: s3cret\u{7}", "http://a/"],
        vec!["u:s3cret@127.0.0.1/x"],
        vec!["Authorization: Bearer s3cret", "http://a/"],
        vec!["me:s3cret", "http://a/"],
        vec!["{\"password\":\"s3cret\"}", "http://a/"],
        vec!["--notify-url=htp://u:s3cret@127.0.0.1/", "http://a/"],
        vec!["--notify-url=http://u:s3cret@127.0.0.1:99999/", "http://a/"],
        vec!["--notify-url=http://ho st/s3cret", "http://a/"],
        vec!["--notify-url=http:/u:s3cret@[", "http://a/"],
        vec!["--notify-url=s3cret:x@host", "http://a/"],
        vec!["--notify-url=hooks.example/s3cret", "http://a/"],
        vec!["--smtp=smtp://h/s3cret", "--email-to=a@b", "http://a/"],
        vec!["--password=s3cret", "http://a/"],
        vec!["-bs3cret", "http://a/"],
    ] {
        let done = Run::new().text().args(args.clone()).expect_exit(2);
        assert!(!done.stderr.contains("s3cret"), "{args:?}: {}", done.stderr);
    }
}

/// The same values from other sources: the message names the source, not the value.
#[test]
fn settings_that_are_wrong_repeat_no_secret() {
    for (option, value) in [
        ("notify-url", "htp://u:s3cret@127.0.0.1/s3cret"),
        ("notify-url", "http://u:s3cret@127.0.0.1:99999/"),
        ("notify-url", "u:s3cret@127.0.0.1"),
        ("notify-url", "127.0.0.1/s3cret"),
        ("proxy", "http://u:s3cret@127.0.0.1:99999"),
        ("proxy", "ftp://u:s3cret@127.0.0.1"),
        ("proxy", "u:s3cret@127.0.0.1:x"),
        ("header", "Authorization Bearer s3cret"),
        ("header", "Authorization: s3cret\u{7}"),
        ("header", "Authorization: s3cret\r s3cret"),
        ("header", "Content-Length: s3cret"),
        ("user", "u:@/nowhere/s3cret"),
        ("smtp", "smtps://u:s3cret@127.0.0.1"),
        ("smtp", "smtps://127.0.0.1?s3cret"),
        ("smtp", "s3cret:127.0.0.1"),
    ] {
        let name = format!("FETCHALL_{}", option.to_uppercase().replace('-', "_"));
        let run = || {
            Run::new()
                .text()
                .args(["--email-to=ann@example.com", "http://127.0.0.1:1/"])
        };
        let text = format!("{option} = {}", serde_json::json!(value));
        for (run, who) in [
            (run().env(&name, value), &*name),
            (run().settings(&text), "settings.toml:1: "),
        ] {
            if (option, who) == ("user", "FETCHALL_USER") {
                // This value is valid.
                continue;
            }
            let done = run.expect_exit(2);
            assert!(done.stderr.contains(who), "{value}: {}", done.stderr);
            assert!(!done.stderr.contains("s3cret"), "{value}: {}", done.stderr);
        }
    }
}

/// A password may be typed into any option, so no message shows what looks like one. The rest of
/// the value is shown, so that the message helps.
#[test]
fn no_option_repeats_what_looks_like_a_password() {
    const ANY: [&str; 18] = [
        "cacert",
        "color",
        "concurrency",
        "email-from",
        "email-to",
        "failed",
        "format",
        "journal",
        "max-failures",
        "max-size",
        "output-dir",
        "pack",
        "per-host",
        "rate",
        "report",
        "request",
        "resolve",
        "summary-json",
    ];
    // A directory cannot be created below a file.
    for value in [
        "Cargo.toml/u:s3cret@h",
        "Cargo.toml/u:s3 s3cret@h",
        "u%3As3cret%40h\u{7}",
        "http://u:s3cret%40h",
    ] {
        for option in ANY
            .into_iter()
            .chain(["config", "explain", "retry-on", "simulate-failure"])
        {
            let run = || {
                let run = Run::new().text().arg("--max-time=5");
                run.args(["--smtp=smtp://127.0.0.1:1?tls=none", "http://127.0.0.1:1/"])
            };
            if option == "output-dir" && !value.starts_with("Cargo") {
                continue;
            }
            let name = format!("FETCHALL_{}", option.to_uppercase().replace('-', "_"));
            let text = format!("{option} = {}\n", serde_json::json!(value));
            for run in [
                run().arg(format!("--{option}={value}")),
                run().env(&name, value),
                run().settings(&text),
            ] {
                let done = run.go();
                let shown = format!(
                    "{}{}",
                    done.stderr,
                    if option == "format" { "" } else { &done.stdout }
                );
                assert!(!shown.contains("s3cret"), "{option} {value}: {shown}");
            }
        }
    }
}

#[test]
fn what_is_no_password_stays_in_the_message() {
    for (args, told) in [
        (vec!["--cacert=/no/such/ca.pem"], "/no/such/ca.pem"),
        (vec!["--config=/no/such/c.toml"], "/no/such/c.toml"),
        (vec!["-H", "@/no/such/headers"], "/no/such/headers"),
        (vec!["-d", "@/no/such/body"], "@/no/such/body"),
        (vec!["--retry-on=4o4"], "4o4"),
        (vec!["--simulate-failure=rest=5%@h:80"], "rest=5%@h:80"),
        (vec!["--resolve=h:80:x"], "invalid IP address \"x\""),
        (vec!["--stall-timeout=soon"], "invalid duration \"soon\""),
        (vec!["--explain=dnss"], "did you mean dns?"),
        (vec!["-w%{stauts}"], "did you mean %{status}?"),
        (vec!["-XP s3cret"], "invalid value 'P ***'"),
    ] {
        let done = Run::new().text().args(args).arg("http://127.0.0.1:1/").go();
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
}

#[test]
fn arguments_are_told_apart_by_their_number() {
    let server = pages();
    let done = Run::new()
        .args([server.url("/a"), server.url("/a")])
        .arg("--ordered")
        .expect_exit(0);
    let lines: Vec<_> = done.records.iter().map(|record| record.line).collect();
    assert_eq!(lines, [1, 2]);
}
