use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Background, Server, binary, response, until};

/// A run with a config file, whose requests are answered once `told` is set.
struct HeldRun {
    child: Background,
    lines: Lines<BufReader<ChildStderr>>,
    server: Server,
    told: Arc<AtomicBool>,
    file: PathBuf,
    _dir: TempDir,
}

impl HeldRun {
    fn start(settings: &str, args: &[&str], variable: Option<(&str, &str)>) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let server = Server::http({
            let told = Arc::clone(&told);
            move |_| {
                while !told.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                response("200 OK", &[], b"ok")
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fetchall").join("fetchall.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, settings).unwrap();
        let mut child = binary()
            .env_remove("FETCHALL_NO_CONFIG")
            .env("XDG_CONFIG_HOME", dir.path())
            .envs(variable)
            .args(["-q", "--per-host=20"])
            .args(args)
            .args((0..12).map(|n| server.url(&format!("/{n}"))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let child = Background(child);
        Self {
            child,
            lines,
            server,
            told,
            file,
            _dir: dir,
        }
    }

    fn wait_for(&self, requests: usize) {
        until("the requests", || self.server.requests().len() >= requests);
        // No others follow.
        thread::sleep(Duration::from_millis(200));
        assert_eq!(self.server.requests().len(), requests);
    }

    /// Writes the file, has it read, and returns what is said.
    fn change(&mut self, settings: &str) -> String {
        std::fs::write(&self.file, settings).unwrap();
        kill_process(Pid::from_child(&self.child.0), Signal::USR2).unwrap();
        let line = self.lines.next().unwrap().unwrap();
        line.replace(self.file.to_str().unwrap(), "FILE")
    }

    fn end(mut self) {
        self.told.store(true, Ordering::SeqCst);
        let rest: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        assert_eq!(rest, Vec::<String>::new());
        assert_eq!(self.child.0.wait().unwrap().code(), Some(0));
        assert_eq!(self.server.requests().len(), 12);
    }
}

/// With more workers than the run began with, on one thread and on several.
#[test]
fn limits_are_read_again_and_hold_and_what_changed_is_said() {
    for threads in ["--threads=1", "--threads=2"] {
        let mut run = HeldRun::start("concurrency = 2\n", &[threads], None);
        run.wait_for(2);
        let said = run.change("# more\nconcurrency = 9\n");
        let changed = "fetchall: limits read again: --concurrency: 2 -> 9 (FILE:2)";
        assert_eq!(said, changed);
        run.wait_for(9);
        let said = run.change("rate = \"500/s\"\nconcurrency = 1\n[host.a]\nper-host = 1\n");
        let changed = "--concurrency: 9 -> 1 (FILE:2); --rate: none -> 500/s (FILE:1)";
        let changed = format!("{changed}; those of single hosts have changed");
        assert_eq!(said, format!("fetchall: limits read again: {changed}"));
        run.end();
    }
}

#[test]
fn what_the_command_line_or_a_variable_sets_stays_and_that_is_said() {
    let variable = Some(("FETCHALL_LIMIT_RATE", "1MB/s"));
    let mut run = HeldRun::start("", &["-j1"], variable);
    run.wait_for(1);
    let said = run.change("concurrency = 5\nlimit-rate = \"2MB/s\"\n");
    insta::assert_snapshot!(said, @"fetchall: limits read again: --concurrency stays 1: the command line wins over 5 (FILE:1); --limit-rate stays 1MB/s: FETCHALL_LIMIT_RATE wins over 2MB/s (FILE:2)");
    run.wait_for(1);
    run.end();
}

#[test]
fn a_broken_file_changes_nothing() {
    let mut run = HeldRun::start("concurrency = 1\n", &[], None);
    run.wait_for(1);
    let said = run.change("concurrency = 5\nrate = \"fast\"\n");
    insta::assert_snapshot!(said, @r#"fetchall: limits not changed: FILE:2: rate: "fast": invalid rate; use 50/s, 0.5/s, 100/m or 1000/h"#);
    let said = run.change("concurrency = 5\nnight\n");
    let begin = "fetchall: limits not changed: FILE:2: ";
    assert!(said.starts_with(begin), "{said}");
    run.wait_for(1);
    let said = run.change("concurrency = 1\n");
    insta::assert_snapshot!(said, @"fetchall: limits read again: none has changed");
    run.end();
}

/// A pipe has no second time.
#[test]
fn settings_from_a_pipe_are_not_read_again() {
    let server = Server::http(|request| {
        if request.starts_with("GET /slow") {
            thread::sleep(Duration::from_millis(1500));
        }
        response("200 OK", &[], b"ok")
    });
    let mut child = binary()
        .env_remove("FETCHALL_NO_CONFIG")
        .args(["-q", "--config=/dev/stdin", &server.url("/slow")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"concurrency = 3\n").unwrap();
    until("the request", || server.requests().len() == 1);
    kill_process(Pid::from_child(&child), Signal::USR2).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!(said, @"fetchall: limits not changed: cannot read the config file /dev/stdin again: not a regular file");
    assert_eq!(output.status.code(), Some(0));
}
