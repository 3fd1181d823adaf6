use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Run, Server, binary, response, until};

fn quick() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

fn many(server: &Server, n: usize) -> Vec<String> {
    (0..n).map(|n| server.url(&format!("/{n}"))).collect()
}

/// Every host stays on one thread, so it has no more connections than with one thread.
#[test]
fn several_threads_fetch_each_url_once_and_keep_each_host_on_one_of_them() {
    let servers: Vec<_> = (0..40).map(|_| quick()).collect();
    let urls: Vec<_> = servers.iter().flat_map(|server| many(server, 25)).collect();
    let done = Run::new()
        .args(["--threads=4", "-j=64", "--per-host=1", "--retries=0"])
        .urls(&urls)
        .expect_exit(0);
    let fetched: HashSet<_> = done.records.iter().map(|record| &record.url).collect();
    assert_eq!((done.records.len(), fetched.len()), (1000, 1000));
    for server in &servers {
        assert_eq!(server.requests().len(), 25);
        // One, and another if the last response was still on its way back to the pool.
        assert!(server.connections() <= 4, "{}", server.connections());
    }
}

#[test]
fn a_limit_per_host_holds_over_all_threads() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        Server::http(move |_| {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::sleep(Duration::from_millis(2));
            now.fetch_sub(1, SeqCst);
            response("200 OK", &[], b"ok")
        })
    };
    let urls = many(&server, 300);
    let done = Run::new()
        .args(["--threads=3", "-j=24", "--per-host=12"])
        .urls(&urls)
        .expect_exit(0);
    assert_eq!(done.records.len(), 300);
    let most = most.load(SeqCst);
    // All threads serve a host that is alone, and together they keep to its limit.
    assert!((4..=12).contains(&most), "{most} at once");
}

#[test]
fn faults_are_the_same_with_any_number_of_threads() {
    let server = quick();
    let urls = many(&server, 200);
    let run = |threads: &str| {
        let spec = "--simulate-failure=reset=20%,truncated=10%,503=10%,404=5%";
        let done = Run::new()
            .args([spec, "--retry-delay=1ms", "-j=32", threads, "--ordered"])
            .urls(&urls)
            .expect_exit(1);
        let records = done.records.into_iter();
        let told = records.map(|record| {
            let kind = record.error.as_ref().map(|error| error.kind);
            (record.line, kind, record.attempts)
        });
        told.collect::<Vec<_>>()
    };
    let alone = run("--threads=1");
    assert!(alone.iter().any(|(_, kind, _)| kind.is_some()));
    assert_eq!(run("--threads=4"), alone);
}

/// With bodies on disk: each thread writes them, and the journal has each once.
#[test]
fn bodies_of_all_threads_are_saved_and_done_in_the_next_run() {
    let servers: Vec<_> = (0..12).map(|_| quick()).collect();
    let urls: Vec<_> = servers.iter().flat_map(|server| many(server, 10)).collect();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let run = || {
        Run::new()
            .args(["--threads=3", "-j=48", "-o"])
            .arg(out.to_str().unwrap())
            .urls(&urls)
            .expect_exit(0)
    };
    let first = run();
    assert!(first.records.iter().all(|record| record.file.is_some()));
    assert_eq!(run().skipped(), urls.len());
}

#[test]
fn a_signal_ends_the_requests_of_all_threads() {
    let hanging: Vec<_> = (0..6)
        .map(|_| {
            Server::start(|connection| {
                connection.request()?;
                connection.hang()
            })
        })
        .collect();
    let mut command = binary();
    command.args(["-q", "--json", "--threads=3", "-j=12"]);
    command.args(hanging.iter().map(|server| server.url("/")));
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    until("all are asked", || {
        hanging.iter().all(|server| server.requests().len() == 1)
    });
    let process = Pid::from_child(&child);
    // The second one ends what is in flight.
    kill_process(process, Signal::TERM).unwrap();
    thread::sleep(Duration::from_millis(100));
    kill_process(process, Signal::TERM).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(143));
    assert!(done.stdout.is_empty());
}

#[test]
fn numbers_of_threads_are_checked() {
    let mut told = Vec::new();
    for number in ["0", "1025", "x", ""] {
        let done = Run::new()
            .arg(format!("--threads={number}"))
            .urls(["http://127.0.0.1:1/"])
            .expect_exit(2);
        told.push(done.stderr);
    }
    assert!(
        told.iter().all(|text| text.contains("'--threads <N>'")),
        "{told:?}"
    );
    assert!(told[1].contains("the maximum is 1024"), "{told:?}");
}

/// A system that starts no further thread is not a bug of the program, whichever thread it is.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_cannot_be_started_is_explained() {
    use std::os::unix::process::CommandExt;
    let server = quick();
    // The limit does not hold for root, and counts what else its user runs.
    let is_root = nix::unistd::Uid::effective().is_root();
    let limits = if is_root { 1..=9 } else { 1..=1 };
    let mut told = HashSet::new();
    for limit in limits {
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--nproc={limit}"));
        command.arg(binary().get_program());
        command.args(["--no-config", "-x", "", "--threads=3", "-j=64", "-q"]);
        command.args(many(&server, 3));
        if is_root {
            command.uid(65533).gid(65533);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        if output.status.code() == Some(126) {
            println!("skipped: this user cannot start the program");
            return;
        }
        let stderr = String::from_utf8(output.stderr).unwrap();
        if output.status.success() && limit > 4 {
            break;
        }
        assert_eq!(output.status.code(), Some(3), "{limit}: {stderr}");
        let cause = "Resource temporarily unavailable (os error 11)";
        let advice = "; allow this user more processes (ulimit -u)\n";
        let line = stderr
            .strip_suffix(advice)
            .unwrap_or_else(|| panic!("{stderr}"));
        told.insert(line.strip_suffix(cause).unwrap().to_owned());
    }
    assert!(
        !is_root || told.contains("fetchall: cannot start a thread: "),
        "{told:?}"
    );
}
