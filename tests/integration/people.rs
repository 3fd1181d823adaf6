use std::time::Duration;

use crate::support::{Run, Server, placeholders, response, times};

fn after(time: Duration) -> Server {
    Server::http(move |_| {
        std::thread::sleep(time);
        response("200 OK", &[], b"ok")
    })
}

#[test]
fn plain_progress_is_a_line_every_few_seconds() {
    let server = after(Duration::from_millis(3600));
    let done = Run::new()
        .args(["--progress=plain", &server.url("/")])
        .expect_exit(0);
    let line = done.stderr.lines().next().unwrap();
    assert!(line.contains(&server.url("/")), "{}", done.stderr);
    insta::assert_snapshot!("plain_progress", times(&placeholders(line, &[])));
    assert!(!done.stderr.contains('\u{1b}'));
}

#[test]
fn off_a_terminal_there_is_no_bar() {
    let server = after(Duration::from_millis(300));
    let done = Run::new().arg(server.url("/")).expect_exit(0);
    assert!(
        !done.stderr.contains('\u{1b}') && !done.stderr.contains("in flight"),
        "{}",
        done.stderr
    );
}

#[test]
fn verbose_tells_of_retries_and_very_verbose_of_every_request() {
    let server = Server::http(|_| response("503 Busy", &[], b""));
    let done = Run::new()
        .args(["-v", "--retries=1", &server.url("/")])
        .expect_exit(1);
    let lines = done.stderr.lines();
    let retries: Vec<_> = lines.filter(|line| line.contains("retrying in")).collect();
    let retries: Vec<_> = retries
        .iter()
        .map(|line| &line[line.find(" 503 ").unwrap() + 1..])
        .collect();
    insta::assert_snapshot!("retry", times(&placeholders(&retries.join("\n"), &[])));
    assert!(!done.stderr.contains("attempt ended"));
    let done = Run::new()
        .args(["-vv", "--retries=1", &server.url("/")])
        .expect_exit(1);
    assert_eq!(
        done.stderr.matches("attempt ended").count(),
        2,
        "{}",
        done.stderr
    );
    let done = Run::new()
        .env("RUST_LOG", "fetchall=debug")
        .args(["--retries=0", &server.url("/")])
        .expect_exit(1);
    assert!(done.stderr.contains("attempt ended"), "{}", done.stderr);
}

#[test]
fn quiet_beats_rust_log() {
    let server = Server::http(|_| response("200 OK", &[], b""));
    let done = Run::new()
        .env("RUST_LOG", "debug")
        .args(["-q", &server.url("/")])
        .expect_exit(0);
    assert_eq!(done.stderr, "");
}

/// What terminals act on: an escape sequence, one that starts with a C1 control, and a change of
/// direction.
const EVIL: &str = "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\nfetchall: all is well";

fn assert_harmless(said: &str) {
    assert!(
        said.contains("\\u{1b}[2Jb\\u{9b}31mc\\u{202e}d\\n"),
        "{said:?}"
    );
    assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said:?}");
    assert!(!said.contains("\nfetchall: all"), "{said:?}");
}

/// The reader of a message may not have chosen the names of its files and variables.
#[test]
fn names_in_messages_come_out_harmless() {
    let below = format!("Cargo.toml/{EVIL}");
    for option in [
        "output-dir",
        "config",
        "cacert",
        "journal",
        "pack",
        "report",
        "failed",
        "summary-json",
    ] {
        let run = Run::new().text().arg(format!("--{option}={below}"));
        assert_harmless(&run.arg("http://127.0.0.1:1/").go().stderr);
    }
    for args in [
        vec!["--header".to_owned(), format!("@{below}")],
        vec!["--data".to_owned(), format!("@{below}")],
        vec!["--format".to_owned(), format!("@{below}")],
        vec![
            "--email-to=a@b".to_owned(),
            "--smtp=smtp://h".to_owned(),
            format!("--smtp-password-file={below}"),
        ],
        vec![format!("--retries={EVIL}")],
        vec![format!("--color={EVIL}")],
        vec![format!("--json={EVIL}")],
        vec![format!("--{EVIL}")],
        vec![below.clone()],
    ] {
        let done = Run::new().text().args(args).arg("http://127.0.0.1:1/").go();
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert_harmless(&done.stderr);
    }
    let key = format!("{} = 1", serde_json::json!(EVIL));
    let done = Run::new().text().settings(&key).expect_exit(2);
    assert_harmless(&done.stderr);
    let variable = Run::new().text().env(&format!("FETCHALL_{EVIL}"), "1");
    assert_harmless(&variable.expect_exit(0).stderr);
    let printed = Run::new()
        .text()
        .args(["--print-config"])
        .env(&format!("FETCHALL_{EVIL}"), "1");
    assert_harmless(&printed.expect_exit(0).stdout);
}

/// Warnings of a run also contain file names.
#[test]
fn names_in_warnings_come_out_harmless_and_without_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join(format!("u:s3cret@{EVIL}"));
    let run = || {
        let options = ["--retries=0", "--journal", journal.to_str().unwrap()];
        Run::new().text().args(options).arg("http://127.0.0.1:1/")
    };
    run().expect_exit(1);
    let mut known = std::fs::read(&journal).unwrap();
    known.extend_from_slice(b"garbage\n");
    std::fs::write(&journal, known).unwrap();
    let said = run().expect_exit(1).stderr;
    assert!(said.contains("line 2 is not a record"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    assert_harmless(&said);
}

/// In JSON, control characters are escaped as JSON requires: the value is the same.
#[test]
fn json_has_no_control_characters_and_the_same_values() {
    const NAME: &str = "li\u{9b}st\u{202e}.jsonl";
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join(NAME);
    let journal = folder.path().join("journal");
    std::fs::write(&list, "{\"url\":\"http://127.0.0.1:1/\"}\n").unwrap();
    let list = list.to_str().unwrap();
    let options = ["--retries=0", "--journal", journal.to_str().unwrap()];
    for format in ["--json", "--format=%{json}"] {
        let run = Run::new().text().args(options).args([format, list]);
        let done = run.expect_exit(1);
        for json in [&done.stdout, &std::fs::read_to_string(&journal).unwrap()] {
            assert!(json.contains("li\\u009bst\\u202e.jsonl"), "{json:?}");
            assert!(!json.contains(['\u{9b}', '\u{202e}']), "{json:?}");
            let record: serde_json::Value =
                serde_json::from_str(json.lines().next().unwrap()).unwrap();
            assert_eq!(record["input"], list);
        }
    }
}

#[test]
fn escape_sequences_from_outside_come_out_harmless() {
    let done = Run::new()
        .text()
        .stdin("\u{1b}[2Jbad \u{9b}31m\n".as_bytes())
        .expect_exit(1);
    assert!(
        !done.stdout.contains('\u{1b}') && !done.stdout.contains('\u{9b}'),
        "{:?}",
        done.stdout
    );
    assert!(done.stdout.contains("\\u{1b}[2Jbad"), "{:?}", done.stdout);
}
