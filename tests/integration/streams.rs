use std::fs::{File, OpenOptions};
use std::io::{Read, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Run, Server, Texts, binary, response, same_everywhere};

fn quick() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

/// A reader that pauses receives every record, and the counts match the records.
#[test]
fn a_pipe_that_does_not_block_loses_nothing() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let urls: String = (0..2000).map(|n| server.url(&format!("/{n}\n"))).collect();
    std::fs::write(&list, urls).unwrap();
    let (mut reader, writer) = pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut child = binary()
        .args(["-q", "--json"])
        .arg(&list)
        .stdout(writer)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut records = String::new();
    reader.read_to_string(&mut records).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(records.lines().count(), 2000);
}

/// Log lines are for people. If stderr is not read, they are lost, and nothing else is.
#[test]
fn a_log_that_nobody_reads_ends_no_run() {
    let server = quick();
    let (_reader, writer) = pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let done = binary()
        .args(["-vv", "--json"])
        .args((0..1500).map(|n| server.url(&format!("/{n}"))))
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0));
    let records = done.stdout.iter().filter(|byte| **byte == b'\n');
    assert_eq!(records.count(), 1500);
}

#[test]
fn results_that_nobody_can_get_are_an_error() {
    let server = quick();
    let done = binary()
        .arg(server.url("/"))
        .stdout(File::open("/dev/null").unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(3));
    let text = String::from_utf8_lossy(&done.stderr);
    insta::assert_snapshot!("stdout_for_reading", same_everywhere(&text));
    assert!(server.requests().is_empty());
}

#[test]
fn a_list_that_nobody_can_read_is_an_error() {
    let for_writing = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let done = binary()
        .arg("-")
        .stdin(for_writing)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    let text = String::from_utf8_lossy(&done.stderr);
    insta::assert_snapshot!("stdin_for_writing", same_everywhere(&text));
}

/// `ulimit -f`: the signal at the limit must not end the program without a message.
#[test]
fn a_file_that_may_grow_no_more_is_an_error_with_its_name() {
    let server = Server::http(|_| response("200 OK", &[], &[b'x'; 9000]));
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new("sh")
        .args(["-c", "ulimit -f 8 && exec \"$0\" \"$@\""])
        .arg(binary().get_program())
        .args(["-o", "out", "--retries=0"])
        .arg(server.url("/large"))
        .current_dir(dir.path())
        .process_group(0)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("out"), "{stderr}");
}

/// Otherwise the proxy would be ignored, and the request sent directly.
#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_an_error() {
    let mut texts = Texts::new();
    for (what, value) in [
        ("a blank in its name", "http://me:secret@ho st:3128"),
        ("an unknown scheme", "bad://me:secret@host"),
        ("a port above 65535", "http://host:99999"),
    ] {
        let server = quick();
        let done = Run::new()
            .env("http_proxy", value)
            .urls([server.url("/")])
            .expect_exit(2);
        assert!(done.stderr.contains("http_proxy"), "{}", done.stderr);
        assert!(!done.stderr.contains("secret"), "{}", done.stderr);
        texts.add(what, &done.stderr);
        assert!(server.requests().is_empty());
    }
    insta::assert_snapshot!("proxies_that_cannot_be_used", texts);
}

/// The end of a run whose stdout accepts nothing, or nothing after its first bytes. Notifications
/// are still sent.
struct Ended {
    code: Option<i32>,
    stderr: String,
    /// What the command of `--notify-cmd` printed.
    told: String,
    summary: serde_json::Value,
    has_report: bool,
    mails: usize,
    posts: usize,
}

/// Ends such a run. `after` is what the shell does with stdout.
fn end(args: &[&str], after: &str) -> Ended {
    let server = Server::http(|request| {
        std::thread::sleep(Duration::from_millis(10));
        match request.starts_with("POST") {
            true => response("204 No Content", &[], b""),
            false => response("200 OK", &[], b"ok"),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (told, summary) = (dir.path().join("told"), dir.path().join("summary"));
    let report = dir.path().join("report.html");
    let urls: String = (0..200).map(|n| server.url(&format!("/{n}\n"))).collect();
    std::fs::write(dir.path().join("list"), urls).unwrap();
    let command = format!(
        "echo $FETCHALL_RUN_OUTCOME $FETCHALL_RUN_EXIT_CODE > {}",
        told.display()
    );
    let done = Command::new("bash")
        .args(["-c", &format!("\"$@\" {after}"), "bash"])
        .arg(binary().get_program())
        .args(["list", "--no-config", "--email-to=ann@example.com"])
        .args([
            "--notify-cmd",
            &command,
            "--notify-url",
            &server.url("/hook"),
        ])
        .args(["--summary-json", summary.to_str().unwrap()])
        .args(["--report", report.to_str().unwrap()])
        .args(args)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    let summary = std::fs::read(&summary).unwrap();
    let posts = server.requests().into_iter();
    Ended {
        code: done.status.code(),
        told: std::fs::read_to_string(&told).unwrap_or_else(|_| panic!("not told: {stderr}")),
        summary: serde_json::from_slice(&summary).unwrap_or_else(|_| panic!("none: {stderr}")),
        has_report: report.exists(),
        mails: stderr.matches("Email Sent!").count(),
        posts: posts
            .filter(|request| request.starts_with("POST /hook"))
            .count(),
        stderr,
    }
}

#[test]
fn after_a_stdout_that_was_closed_everything_is_told_as_after_any_run() {
    for args in [
        &[][..],
        &["--json"],
        &["--json", "--body", "--ordered"],
        &["--csv"],
        &["-w", "%{url}\\n"],
        &["--print0"],
        &["--json", "-o", "out", "--timeline"],
    ] {
        let ended = end(args, "| head -c1 > /dev/null; exit ${PIPESTATUS[0]}");
        let stderr = &ended.stderr;
        assert_eq!(ended.code, Some(141), "{args:?}: {stderr}");
        assert_eq!(ended.told, "interrupted 141\n", "{args:?}");
        assert!(ended.has_report, "{args:?}: {stderr}");
        assert_eq!((ended.mails, ended.posts), (1, 1), "{args:?}: {stderr}");
        let summary = &ended.summary;
        assert_eq!(summary["exit_code"], 141);
        assert_eq!(summary["end_reason"], "output");
        assert_eq!(summary["ended_by"], "stdout closed");
        let count = |name: &str| summary[name].as_u64().unwrap();
        assert_eq!(count("fetched") + count("left"), 200, "{summary}");
        let first = format!("200 URLs: {} fetched, 0 failed, ", count("fetched"));
        assert!(stderr.contains(&first), "{args:?}: {stderr}");
        let drawn = stderr.contains("first byte");
        assert_eq!(drawn, args.contains(&"--timeline"), "{args:?}: {stderr}");
    }
}

#[test]
fn also_with_q_after_which_only_the_summary_is_missing() {
    let ended = end(&["-q"], "| true; exit ${PIPESTATUS[0]}");
    assert_eq!((ended.code, &*ended.stderr), (Some(141), ""));
    assert_eq!((&*ended.told, ended.posts), ("interrupted 141\n", 1));
    assert!(ended.has_report);
}

/// With both streams closed, no message can be shown, but notifications are still sent.
#[test]
fn a_closed_stderr_keeps_nobody_else_from_being_told() {
    let ended = end(&["--json"], "2>&1 | true; exit ${PIPESTATUS[0]}");
    assert_eq!(ended.code, Some(141));
    assert_eq!((&*ended.told, ended.posts), ("interrupted 141\n", 1));
    assert!(ended.has_report);
}

#[test]
fn results_that_go_nowhere_from_the_start_are_no_reason_to_stay_silent() {
    // The Rust runtime opens /dev/null there, in the same way as Python's `subprocess.DEVNULL`.
    let ended = end(&[], ">&-");
    assert_eq!((ended.code, &*ended.told), (Some(0), "ok 0\n"));
    assert_eq!(ended.summary["fetched"], 200);
    if std::path::Path::new("/dev/full").exists() {
        for format in ["--json", "--csv"] {
            let ended = end(&[format], "> /dev/full");
            assert_eq!((ended.code, &*ended.told), (Some(3), "broken 3\n"));
            assert_eq!((ended.mails, ended.posts), (1, 1), "{}", ended.stderr);
            assert_eq!(ended.summary["exit_code"], 3);
            assert!(ended.has_report);
            let count = |name: &str| ended.summary[name].as_u64().unwrap();
            assert_eq!((count("fetched"), count("left")), (0, 200));
            assert_eq!(ended.summary["end_reason"], "output");
            let is_about = |line: &&str| line.contains("cannot write results");
            let about_results = ended.stderr.lines().filter(is_about);
            let text = about_results.collect::<Vec<_>>().join("\n");
            insta::assert_snapshot!("results_that_cannot_be_written", same_everywhere(&text));
        }
    }
}

/// Also for an option that only prints a text and starts no run.
#[test]
fn a_text_that_may_grow_no_more_is_an_error_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new("sh")
        .args(["-c", "ulimit -f 0 && exec \"$0\" \"$@\" > page"])
        .arg(binary().get_program())
        .args(["--generate", "man"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{stderr}");
    insta::assert_snapshot!("text_that_may_grow_no_more", same_everywhere(&stderr));
}
