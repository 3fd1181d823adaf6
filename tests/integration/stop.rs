use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, Texts, binary, response, said};

/// A server that responds to `/now` at once and to everything else after this time.
fn slow(time: Duration) -> Server {
    Server::http(move |request| {
        if !request.starts_with("GET /now") {
            std::thread::sleep(time);
        }
        response("200 OK", &[], b"ok")
    })
}

fn start(args: &[String]) -> Child {
    binary()
        .args(["--json", "-j2"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until as many requests have arrived as run concurrently.
fn in_flight(server: &Server, requests: usize) {
    let start = Instant::now();
    while server.requests().len() < requests {
        assert!(start.elapsed() < Duration::from_secs(30), "no requests");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn output(child: Child) -> (Option<i32>, usize, String) {
    let output = child.wait_with_output().unwrap();
    let records = String::from_utf8(output.stdout).unwrap().lines().count();
    (
        output.status.code(),
        records,
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn the_first_signal_lets_what_is_in_flight_end() {
    let mut texts = Texts::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = slow(Duration::from_secs(1));
        let urls: Vec<_> = (0..10).map(|n| server.url(&format!("/{n}"))).collect();
        let child = start(&urls);
        in_flight(&server, 2);
        send(&child, signal);
        let (status, records, stderr) = output(child);
        assert_eq!((status, records), (Some(code), 2), "{stderr}");
        texts.add(format!("exit code {code}"), &said(&stderr));
        assert_eq!(server.requests().len(), 2, "nothing new was started");
    }
    insta::assert_snapshot!("first_signal", texts);
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_counts_still_add_up() {
    let server = slow(Duration::from_secs(40));
    let child = start(&[server.url("/1"), server.url("/2"), server.url("/3")]);
    in_flight(&server, 2);
    let start = Instant::now();
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(200));
    send(&child, Signal::INT);
    let (status, records, stderr) = output(child);
    // The grace period alone would be 10 s.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!((status, records), (Some(130), 0), "{stderr}");
    insta::assert_snapshot!("second_signal", said(&stderr));
}

#[test]
fn what_was_not_even_read_of_a_file_is_counted_as_left() {
    let server = slow(Duration::from_millis(500));
    let list = tempfile::NamedTempFile::new().unwrap();
    let lines = format!("# comment\n{}\n", server.url("/x")).repeat(200_000);
    std::fs::write(list.path(), lines).unwrap();
    let child = start(&[list.path().to_str().unwrap().to_owned()]);
    in_flight(&server, 2);
    send(&child, Signal::INT);
    let (status, records, stderr) = output(child);
    assert_eq!((status, records), (Some(130), 2), "{stderr}");
    insta::assert_snapshot!("file_not_read_to_its_end", said(&stderr));
}

#[test]
fn an_interrupted_pipe_is_not_waited_for() {
    let server = slow(Duration::from_millis(300));
    let mut child = binary()
        .args(["--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{}\n", server.url("/1")).as_bytes()).unwrap();
    in_flight(&server, 1);
    send(&child, Signal::TERM);
    let (status, records, stderr) = output(child);
    assert_eq!((status, records), (Some(143), 1), "{stderr}");
    insta::assert_snapshot!("pipe_not_read_to_its_end", said(&stderr));
    drop(stdin);
}

#[test]
fn a_closed_stdout_ends_it_with_141_and_a_summary() {
    let server = slow(Duration::from_millis(20));
    let urls: Vec<_> = std::iter::once("/now".to_owned())
        .chain((0..500).map(|n| format!("/{n}")))
        .collect();
    let urls: Vec<_> = urls.iter().map(|path| server.url(path)).collect();
    let mut child = start(&urls);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("/now"), "{line}");
    drop(stdout);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141), "{stderr}");
    let mut lines = stderr.lines();
    assert!(lines.next().unwrap().starts_with("501 URLs: "), "{stderr}");
    insta::assert_snapshot!("stdout_was_closed", lines.next().unwrap_or_default());
    assert!(server.requests().len() < 400, "it went on");
}

#[test]
fn a_closed_stderr_is_no_reason_to_fail() {
    let server = slow(Duration::ZERO);
    let status = std::process::Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" \"$@\" 2>&- >/dev/null",
            env!("CARGO_BIN_EXE_fetchall"),
        ])
        .args(["--progress=plain", "-v", &server.url("/now")])
        .env_remove("RUST_LOG")
        .env("FETCHALL_NO_CONFIG", "1")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reader_that_does_not_read_cannot_keep_it_from_ending() {
    let server = Server::http(|_| response("200 OK", &["X: y"], b"ok"));
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        list.path(),
        format!("{}\n", server.url("/x")).repeat(20_000),
    )
    .unwrap();
    // The test keeps stdout, a pipe, open and never reads it.
    let mut child = start(&[list.path().to_str().unwrap().to_owned()]);
    let unread = child.stdout.take().unwrap();
    let mut before = 0;
    loop {
        // Waits until the pipe and everything in front of it is full.
        std::thread::sleep(Duration::from_millis(500));
        let now = server.requests().len();
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before < 20_000, "it was held up");
    let start = Instant::now();
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    send(&child, Signal::INT);
    let (status, _, stderr) = output(child);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(status, Some(130), "{stderr}");
    assert!(stderr.contains("20,000 URLs: "), "{stderr}");
    drop(unread);
}

#[test]
fn certificates_that_a_pipe_is_to_bring_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("certificates");
    let (cwd, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(cwd, &fifo, kind, 0o600.into(), 0).unwrap();
    for option in ["--cacert", "--cert"] {
        let path = fifo.to_str().unwrap().to_owned();
        let child = start(&[option.to_owned(), path, "http://127.0.0.1:1/".to_owned()]);
        let start = Instant::now();
        // Non-blocking, this succeeds only once there is a reader.
        let writer = loop {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            match rustix::fs::open(&fifo, flags, 0.into()) {
                Ok(writer) => break writer,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(30), "no reader"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        send(&child, Signal::TERM);
        let (status, _, stderr) = output(child);
        assert_eq!(status, Some(143), "{option}: {stderr}");
        drop(writer);
    }
}

#[test]
fn a_named_pipe_that_nobody_writes_to_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("list");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let child = start(&[fifo.to_str().unwrap().to_owned()]);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    send(&child, Signal::INT);
    let (status, _, stderr) = output(child);
    assert_eq!(status, Some(130), "{stderr}");
    insta::assert_snapshot!("stopped_at_a_named_pipe", said(&stderr));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_pipe_full_of_log_lines_cannot_keep_it_from_ending() {
    let server = slow(Duration::ZERO);
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        list.path(),
        format!("{}\n", server.url("/now")).repeat(5000),
    )
    .unwrap();
    let mut child = start(&["-vv".to_owned(), list.path().to_str().unwrap().to_owned()]);
    let (unread, stdout) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
    std::thread::spawn(move || BufReader::new(stdout).lines().count());
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    drop(unread);
}

/// By default, SIGUSR1 and SIGUSR2 end a process. The settings come from a named pipe, so the program waits at
/// the very start; from then on the test sends signals until it ends.
#[test]
fn a_run_that_is_asked_something_before_it_has_begun_goes_on() {
    let server = slow(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings");
    let (cwd, fifo) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(cwd, &settings, fifo, 0o600.into(), 0).unwrap();
    for _ in 0..10 {
        let mut child = binary()
            .arg("--config")
            .arg(&settings)
            .arg(server.url("/now"))
            .env_remove("FETCHALL_NO_CONFIG")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        // Non-blocking, this succeeds only once there is a reader.
        let writer = loop {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            match rustix::fs::open(&settings, flags, 0.into()) {
                Ok(writer) => break writer,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(30), "no reader"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        for _ in 0..20 {
            send(&child, Signal::USR1);
            send(&child, Signal::USR2);
            std::thread::sleep(Duration::from_micros(200));
        }
        assert_eq!(child.try_wait().unwrap(), None);
        drop(writer);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            send(&child, Signal::USR1);
            send(&child, Signal::USR2);
            std::thread::sleep(Duration::from_micros(200));
        };
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// A command gets the default signal handlers, not those of fetchall.
#[test]
fn a_command_ends_by_signals_as_ever() {
    let server = slow(Duration::ZERO);
    let mut texts = Texts::new();
    for (name, number) in [
        ("USR1", 10),
        ("XFSZ", 25),
        ("PIPE", 13),
        ("TERM", 15),
        ("INT", 2),
    ] {
        if !cfg!(target_os = "linux") {
            return;
        }
        let done = binary()
            .args(["-q", &server.url("/now"), "--notify-cmd"])
            .arg(format!("kill -{name} $$; echo it lives >&2"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        let told = stderr.lines().find(|line| line.contains("--notify-cmd"));
        let told = told.unwrap_or_else(|| panic!("{name}: {stderr}"));
        assert!(told.contains(&format!(" {number} ")), "{name}: {stderr}");
        texts.add(name, told);
    }
    insta::assert_snapshot!("commands_ended_by_signals", texts);
}
