use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::series::Series;
use super::{pages, urls};
use crate::support::{Run, binary};

const NAME: &str = "x-{n}.warc.gz";

impl Series {
    /// A run with a command, which finds the directory in `$T`.
    fn delivering(&self, command: &str) -> Run {
        let dir = self.dir.path().to_str().unwrap();
        self.run().args(["--pack-done", command]).env("T", dir)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the numbers of the packs that were delivered, in order.
    fn noted(&self) -> Vec<u64> {
        let (_, notes) = self.journaled();
        let delivered = notes.iter().filter(|note| note["pack_note"] == "delivered");
        let mut numbers: Vec<_> = delivered.map(|note| note["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn start(&self, urls: &[String], command: &str) -> Child {
        binary()
            .args(["-q", "--pack"])
            .arg(self.path())
            .args(["--pack-size", "20000", "--pack-done", command])
            .args(urls)
            .env("T", self.dir.path())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

fn wait_for(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it hangs");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_pack_is_delivered_once_with_what_is_known_of_it() {
    let server = pages();
    let urls = urls(&server, 60);
    let series = Series::new(NAME);
    let command = "set -e; test ${FETCHALL_USER-none} = none; echo \"$FETCHALL_RUN_PACK $FETCHALL_RUN_PACK_BYTES \
                   $FETCHALL_RUN_PACK_RECORDS $FETCHALL_RUN_PACK_SHA256\" >> $T/told.jsonl; rm $FETCHALL_RUN_PACK";
    let run = |urls: &[String]| {
        let run = series.delivering(command).env("FETCHALL_USER", "me:s3cret");
        run.urls(urls).expect_exit(0)
    };
    run(&urls);
    let mut told = series.lines("told.jsonl");
    told.sort();
    let (_, notes) = series.journaled();
    let is_finished = |note: &&Value| note["pack_note"] == "finished";
    let finished: Vec<_> = notes.iter().filter(is_finished).collect();
    assert!(finished.len() > 1);
    let expected = (0..).zip(&finished).map(|(n, note)| {
        let path = series.pack(n);
        let (bytes, records) = (&note["bytes"], &note["records"]);
        format!(
            "{} {bytes} {records} {}",
            path.display(),
            note["sha256"].as_str().unwrap()
        )
    });
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert_eq!(series.noted().len(), finished.len());
    assert_eq!(series.files(), [""; 0], "the command has removed them");

    // What was delivered is done, though it is gone.
    let again = run(&urls);
    assert_eq!(again.skipped(), 60);
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    assert_eq!(series.lines("told.jsonl").len(), finished.len());
    let verified = series.run().arg("--verify").stdin("").expect_exit(0);
    assert!(verified.records.is_empty(), "{}", verified.stdout);
    let gone =
        "60 responses: 0 good, 0 missing, 0 changed, 60 in packs that were delivered and are gone";
    assert!(verified.stderr.contains(gone), "{}", verified.stderr);
}

#[test]
fn a_failure_is_tried_again() {
    let server = pages();
    let series = Series::new(NAME);
    let command = "echo x >> $T/tries.jsonl; test $(wc -l < $T/tries.jsonl) -gt 2";
    series
        .delivering(command)
        .urls(urls(&server, 3))
        .expect_exit(0);
    assert_eq!(series.lines("tries.jsonl").len(), 3);
    assert_eq!(series.noted(), [0]);
}

#[test]
fn one_that_fails_for_good_ends_the_run_and_is_delivered_by_the_next() {
    let server = pages();
    let urls = urls(&server, 5);
    let series = Series::new(NAME);
    let fails = "echo x >> $T/tries.jsonl; echo no bucket >&2; exit 7";
    let done = series.delivering(fails).urls(&urls).expect_exit(3);
    let expected = format!(
        "cannot deliver {}: command failed: exit status: 7: no bucket; the pack is kept",
        series.pack(0).display()
    );
    assert!(done.stderr.contains(&expected), "{}", done.stderr);
    assert_eq!(series.lines("tries.jsonl").len(), 4);
    assert_eq!((series.count(), series.noted().len()), (1, 0));
    let works = "echo $FETCHALL_RUN_PACK >> $T/told.jsonl";
    // Also if the list has nothing left.
    let done = series.delivering(works).urls(&urls).expect_exit(0);
    assert_eq!(done.skipped(), 5);
    assert_eq!(
        series.lines("told.jsonl"),
        [series.pack(0).to_str().unwrap()]
    );
    assert_eq!(series.noted(), [0]);
}

#[test]
fn a_signal_leaves_the_command_to_end() {
    let server = pages();
    let urls = urls(&server, 5);
    for (command, code, delivered) in [
        (
            "touch $T/begun.jsonl; sleep 2; echo done > $T/told.jsonl",
            130,
            1,
        ),
        (
            "touch $T/begun.jsonl; sleep 100; echo done > $T/told.jsonl",
            130,
            0,
        ),
    ] {
        let series = Series::new(NAME);
        let mut child = series.start(&urls, command);
        wait_for(|| series.dir.path().join("begun.jsonl").exists());
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::INT).unwrap();
        if delivered == 0 {
            thread::sleep(Duration::from_millis(300));
            kill_process(pid, Signal::INT).unwrap();
        }
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(code));
        assert_eq!(series.noted().len(), delivered);
        assert_eq!(series.lines("told.jsonl").len(), delivered);
    }
}

#[test]
fn killed_while_it_delivers_the_next_run_delivers() {
    let server = pages();
    let urls = urls(&server, 60);
    let series = Series::new(NAME);
    let mut child = series.start(&urls, "touch $T/begun.jsonl; exec sleep 1");
    wait_for(|| series.dir.path().join("begun.jsonl").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(series.noted(), [0; 0]);
    let command = "sleep 0.2; echo $FETCHALL_RUN_PACK >> $T/told.jsonl";
    let done = series.delivering(command).urls(&urls).expect_exit(0);
    series.expect_all(&done, &urls);
    let mut told = series.lines("told.jsonl");
    assert_eq!(
        told[..2]
            .iter()
            .filter(|pack| pack.contains("x-00000"))
            .count(),
        1,
        "first"
    );
    told.sort();
    let packs: Vec<_> = (0..series.count())
        .map(|n| series.pack(n).display().to_string())
        .collect();
    assert_eq!(told, packs);
}

/// The command has removed the pack, and the run was killed before it could say so.
#[test]
fn a_pack_that_the_command_removed_before_a_kill_is_not_fetched_again() {
    let server = pages();
    let urls = urls(&server, 60);
    let series = Series::new(NAME);
    let away = series.dir.path().join("away.jsonl");
    let command = "rm $FETCHALL_RUN_PACK; echo > $T/away.jsonl; \
        for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done";
    let mut child = series.start(&urls, command);
    wait_for(|| away.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(series.noted(), [0; 0]);
    let journaled = series.journaled().0.len();
    let before = server.requests().len();
    let done = series.delivering("rm $FETCHALL_RUN_PACK").urls(&urls);
    let done = done.expect_exit(0);
    assert!(
        done.stderr.contains("taken as delivered"),
        "{}",
        done.stderr
    );
    let again = server.requests().len() - before;
    assert!(
        again <= urls.len() - journaled,
        "{again}, {journaled} were done"
    );
    let files = series.files();
    assert!(
        files.iter().all(|name| name.ends_with(".jsonl")),
        "{files:?}"
    );
}
