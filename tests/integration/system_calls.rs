//! `strace` makes single system calls fail. Without it, or where tracing is not allowed, the tests are
//! skipped, or fail with `FETCHALL_NEEDS_STRACE` set.
//!
//! By default some of the calls of each run fail. `FETCHALL_CALLS=5000` makes so many fail, one after
//! the other, and `FETCHALL_CALLS=all` each of them once with each error that it can have, which takes
//! half an hour.

/// Every state in which a power cut may leave the disk.
mod power_cut;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fetchall::Record;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Server, binary, header, path, response};

/// The calls that fail, and the errors that they can have.
const CALLS: [(&str, &[&str]); 26] = [
    ("open", &["EIO", "ENOSPC", "EMFILE", "EINTR", "ENOMEM"]),
    ("openat", &["EIO", "ENOSPC", "EMFILE", "EINTR", "ENOMEM"]),
    ("openat2", &["EIO", "ENOSPC", "EMFILE", "EINTR", "ENOMEM"]),
    ("pread64", &["EIO", "EINTR", "ENOMEM"]),
    ("read", &["EIO", "EINTR", "EAGAIN", "ENOMEM"]),
    ("write", &["EIO", "ENOSPC", "EINTR", "EAGAIN"]),
    ("writev", &["EIO", "ENOSPC", "EINTR", "EAGAIN", "ENOMEM"]),
    ("pwrite64", &["EIO", "ENOSPC", "EINTR"]),
    ("fsync", &["EIO", "ENOSPC", "EINTR"]),
    ("fdatasync", &["EIO", "ENOSPC", "EINTR"]),
    ("syncfs", &["EIO", "ENOSPC"]),
    ("rename", &["EIO", "ENOSPC", "ENOMEM"]),
    ("renameat", &["EIO", "ENOSPC", "ENOMEM"]),
    ("renameat2", &["EIO", "ENOSPC", "ENOMEM"]),
    ("unlink", &["EIO", "ENOMEM"]),
    ("unlinkat", &["EIO", "ENOMEM"]),
    ("mkdir", &["EIO", "ENOSPC", "ENOMEM"]),
    ("mkdirat", &["EIO", "ENOSPC", "ENOMEM"]),
    ("ftruncate", &["EIO", "EINTR"]),
    ("close", &["EIO", "EINTR", "ENOSPC"]),
    ("connect", &["EINTR", "EAGAIN"]),
    ("socket", &["EMFILE", "ENOMEM"]),
    ("epoll_ctl", &["ENOMEM", "ENOSPC"]),
    ("epoll_create1", &["EMFILE", "ENOMEM"]),
    ("clone3", &["EAGAIN", "ENOMEM"]),
    ("getrandom", &["EINTR"]),
];

/// Calls that fail in a usual test run: always the same, among the first ones of their kind in each
/// thread. Most threads make fewer than twice as many.
const SAMPLES: usize = 100;
const FIRST_CALLS: usize = 16;
/// Longer than any run takes, even on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(40);

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Saves,
    Syncs,
    Packs,
    Journals,
    Refreshes,
    Reports,
    ReadsTable,
    SyncsPack,
    SyncsJournal,
}

const WAYS: [Way; 9] = [
    Way::Saves,
    Way::Syncs,
    Way::Packs,
    Way::Journals,
    Way::Refreshes,
    Way::Reports,
    Way::ReadsTable,
    Way::SyncsPack,
    Way::SyncsJournal,
];

/// The place of a run.
struct Place {
    way: Way,
    dir: TempDir,
}

/// What a run left.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

const PATHS: [&str; 5] = ["/a", "/b/c", "/large", "/empty", "/d?e=f"];

fn body(path: &str) -> Vec<u8> {
    match path {
        "/large" => b"0123456789".repeat(30_000),
        "/empty" => Vec::new(),
        path => path.repeat(300).into_bytes(),
    }
}

fn site() -> Server {
    Server::http(|request| match header(request, "if-none-match") {
        Some("\"same\"") => b"HTTP/1.1 304 Not Modified\r\nETag: \"same\"\r\n\r\n".to_vec(),
        _ => response("200 OK", &["ETag: \"same\""], &body(path(request))),
    })
}

impl Place {
    fn new(way: Way, server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let urls = PATHS.map(|path| server.url(path));
        let list = match way {
            Way::ReadsTable => format!("url\n{}\n", urls.join("\n")),
            _ => urls.join("\n") + "\n",
        };
        let place = Self { way, dir };
        fs::write(place.list(), list).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn list(&self) -> PathBuf {
        self.at(if self.way == Way::ReadsTable {
            "list.csv"
        } else {
            "list.txt"
        })
    }

    fn args(&self) -> Vec<String> {
        let at = |name: &str| self.at(name).to_str().unwrap().to_owned();
        let own = match self.way {
            Way::Saves => vec!["-o".to_owned(), at("out")],
            Way::Syncs => vec!["-o".to_owned(), at("out"), "--sync".to_owned()],
            Way::Packs => vec!["--pack".to_owned(), at("out.warc.gz")],
            Way::Journals => vec!["--journal".to_owned(), at("journal")],
            Way::SyncsPack => vec!["--pack".to_owned(), at("out.warc.gz"), "--sync".to_owned()],
            Way::SyncsJournal => vec!["--journal".to_owned(), at("journal"), "--sync".to_owned()],
            Way::Refreshes => vec!["-o".to_owned(), at("out"), "--refresh".to_owned()],
            Way::Reports => vec!["--report".to_owned(), at("page.html")],
            Way::ReadsTable => vec!["--failed".to_owned(), at("failed.csv")],
        };
        let mut args = vec![
            "--json".to_owned(),
            "--retry-delay=1ms".to_owned(),
            "-j2".to_owned(),
        ];
        args.extend(own);
        args.push(self.list().to_str().unwrap().to_owned());
        args
    }

    /// Runs the program, with these options of `strace` if there are any.
    fn run(&self, strace: &[String]) -> Ended {
        let plain = binary();
        let mut command = match strace {
            [] => Command::new(plain.get_program()),
            options => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "--seccomp-bpf"]).args(options);
                command.arg(plain.get_program());
                command
            }
        };
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let (stdout, stderr) = (self.at("stdout"), self.at("stderr"));
        command
            .args(self.args())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&stdout).unwrap())
            .stderr(fs::File::create(&stderr).unwrap());
        command.process_group(0);
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            let is_void =
                fs::read(&stderr).is_ok_and(|text| is_void(&String::from_utf8_lossy(&text)));
            if start.elapsed() > RUN_TIMEOUT || is_void {
                // Also what `strace` runs.
                let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Ended {
            code,
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// Returns what is wrong with the files of a run that ended in any way.
    fn wrong(&self, files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
        for (name, content) in tree(&self.at("out")) {
            let is_own = name.starts_with(".fetchall") || name == "fetchall.jsonl";
            if !is_own && files.get(&name) != Some(&content) {
                return Some(format!("{name} has {} bytes", content.len()));
            }
        }
        for journal in ["out/fetchall.jsonl", "journal", "out.warc.gz.jsonl"] {
            let text = fs::read_to_string(self.at(journal)).unwrap_or_default();
            let torn = text
                .lines()
                .find(|line| serde_json::from_str::<Record>(line).is_err());
            // Zeros are what a power cut leaves.
            let is_ours = |line: &str| line.trim().is_empty() || line.starts_with('\0');
            if torn.is_some_and(|line| !is_ours(line)) {
                return Some(format!("{journal} has {torn:?}"));
            }
        }
        let page = fs::read_to_string(self.at("page.html")).unwrap_or_default();
        let is_whole = page.is_empty() || page.trim_end().ends_with("</html>");
        (!is_whole).then(|| "page.html is torn".to_owned())
    }
}

/// Whether the fault was one that no system has, and against which the libraries assert: the write to
/// an eventfd, which wakes a thread, or the close of a directory failed.
fn is_void(stderr: &str) -> bool {
    stderr.contains("failed to wake I/O driver") || stderr.contains("error during closedir")
}

/// Returns all files below a directory, by their names from there.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, fs::read(path).unwrap());
                }
            }
        }
    }
    found
}

/// The bodies by their files, as a run without faults saves them.
fn files(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let place = Place::new(Way::Saves, server);
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let records = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Record>(line).unwrap());
    let of_record = |record: Record| {
        let path = PATHS
            .iter()
            .find(|path| record.url.ends_with(*path))
            .unwrap();
        (record.file.unwrap(), body(path))
    };
    records.map(of_record).collect()
}

/// How often each call comes in the thread that makes it most often.
fn counts(way: Way, server: &Server) -> BTreeMap<&'static str, usize> {
    let place = prepared(way, server);
    let log = place.at("log");
    let traced: Vec<_> = CALLS.iter().map(|(call, _)| format!("?{call}")).collect();
    let ended = place.run(&[
        "-o".to_owned(),
        log.to_str().unwrap().to_owned(),
        format!("--trace={}", traced.join(",")),
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let log = fs::read_to_string(log).unwrap();
    for line in log.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        *counts.entry((thread, call)).or_default() += 1;
    }
    let most = |call: &str| {
        let of_call = counts.iter().filter(|((_, of), _)| *of == call);
        of_call.map(|(_, count)| *count).max().unwrap_or(0)
    };
    CALLS.iter().map(|(call, _)| (*call, most(call))).collect()
}

fn prepared(way: Way, server: &Server) -> Place {
    let place = Place::new(way, server);
    if way == Way::Refreshes {
        assert_eq!(place.run(&[]).code, Some(0));
    }
    place
}

/// A call that fails: its name, the error, and which of them in each thread.
type Fault = (Way, &'static str, &'static str, usize);

/// Each call of each way, with each of its errors.
fn all_faults(server: &Server) -> Vec<Fault> {
    let mut all = Vec::new();
    for way in WAYS {
        let counts = counts(way, server);
        for (call, errors) in CALLS {
            for number in 1..=counts[call] {
                all.extend(errors.iter().map(|error| (way, call, *error, number)));
            }
        }
    }
    all
}

fn some_faults(count: usize) -> Vec<Fault> {
    let mut rng = fastrand::Rng::with_seed(22);
    let mut draw = |number: usize| {
        let way = WAYS[number % WAYS.len()];
        let (call, errors) = CALLS[rng.usize(..CALLS.len())];
        let error = errors[rng.usize(..errors.len())];
        (way, call, error, rng.usize(1..=FIRST_CALLS))
    };
    (0..count).map(&mut draw).collect()
}

/// Returns what is wrong after a fault, and after the same command without it.
fn problem(fault: &Fault, server: &Server, files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let (way, call, error, number) = *fault;
    let place = prepared(way, server);
    let ended = place.run(&[
        "-o".to_owned(),
        "/dev/null".to_owned(),
        format!("--trace={call}"),
        format!("--inject={call}:error={error}:when={number}"),
    ]);
    // The loader has no libraries then, and the program has not begun.
    if ended.code == Some(127) && ended.stderr.contains("shared libraries") {
        return None;
    }
    if is_void(&ended.stderr) {
        return None;
    }
    let said = format!("{:?}: {}{}", ended.code, ended.stderr, ended.stdout);
    if !matches!(ended.code, Some(0..=3))
        || said.contains("panicked")
        || said.contains("internal error")
    {
        return Some(said);
    }
    let mut done = BTreeSet::new();
    for line in ended.stdout.lines() {
        let Ok(record) = serde_json::from_str::<Record>(line) else {
            return Some(format!("no record: {line}"));
        };
        if let Some(file) = record.file.as_ref().filter(|_| record.ok)
            && fs::read(place.at("out").join(file)).ok().as_ref() != files.get(file)
        {
            return Some(format!("a false record: {line}"));
        }
        done.extend(record.ok.then_some(record.url));
    }
    if ended.code == Some(0) && done.len() != PATHS.len() {
        return Some(format!("{} records: {said}", done.len()));
    }
    if ended.code != Some(0) && ended.stderr.trim().is_empty() {
        return Some(format!("no word: {said}"));
    }
    if let Some(wrong) = place.wrong(files) {
        return Some(format!("{wrong}: {said}"));
    }
    let again = place.run(&[]);
    let records = again
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_done = records.filter(|record: &Record| record.ok).count() == PATHS.len();
    let wrong = place.wrong(files);
    let is_whole = again.code == Some(0) && is_done && wrong.is_none();
    (!is_whole).then(|| {
        format!(
            "{said}\nthen {:?} {wrong:?}: {}{}",
            again.code, again.stderr, again.stdout
        )
    })
}

/// Whether `strace` can trace here.
fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "true"])
        .output();
    let can = traced.is_ok_and(|traced| traced.status.success());
    let needed = std::env::var_os("FETCHALL_NEEDS_STRACE").is_some();
    assert!(can || !needed, "strace is not installed, or may not trace");
    if !can {
        eprintln!("skipped: strace is not installed, or may not trace");
    }
    can
}

#[test]
fn whichever_system_call_fails_the_run_says_so_and_the_next_one_ends_whole() {
    if !can_trace() {
        return;
    }
    let server = site();
    let files = files(&server);
    let chosen = match std::env::var("FETCHALL_CALLS").as_deref() {
        Ok("all") => all_faults(&server),
        Ok(count) => some_faults(count.parse().unwrap()),
        Err(_) => some_faults(SAMPLES),
    };
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(fault) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Some(problem) = problem(fault, &server, &files) {
                        println!("{fault:?}: {problem}\n");
                        wrong.lock().unwrap().push(format!("{fault:?}: {problem}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} calls failed", chosen.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
