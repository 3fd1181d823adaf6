use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use fetchall::Record;
use serde_json::Value;
use tempfile::TempDir;

use super::{body_of, noise, pages, path_of, urls};
use crate::support::{Done, Run, Server, Texts, Warc, WarcRecord, binary, response, warcio_checks};

const NAMES: [&str; 2] = ["x-{n}.warc.gz", "x-{n}.warc"];
/// Some ten pages of `body_of`.
const SIZE: &str = "20000";

/// A directory with a series of packs.
pub(super) struct Series {
    pub(super) dir: TempDir,
    name: &'static str,
}

impl Series {
    pub(super) fn new(name: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, name }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    pub(super) fn run(&self) -> Run {
        let path = self.path();
        Run::new().args(["--pack", path.to_str().unwrap(), "--pack-size", SIZE])
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.dir.path().join(format!("{}.jsonl", self.name))
    }

    /// Returns the file of a pack.
    pub(super) fn pack(&self, n: u32) -> PathBuf {
        let name = self.name.replace("{n}", &format!("{n:05}"));
        self.dir.path().join(name)
    }

    /// Returns the names of the files but the journal.
    pub(super) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.ends_with(".jsonl")).collect();
        names.sort();
        names
    }

    /// Returns the number of the packs, which all have their final names.
    pub(super) fn count(&self) -> u32 {
        let count = u32::try_from(self.files().len()).unwrap();
        for n in 0..count {
            assert!(self.pack(n).exists(), "{:?}", self.files());
        }
        count
    }

    /// Returns the records of the journal and its notes.
    pub(super) fn journaled(&self) -> (Vec<Record>, Vec<Value>) {
        let (mut records, mut notes) = (Vec::new(), Vec::new());
        for line in fs::read_to_string(self.journal()).unwrap().lines() {
            match serde_json::from_str(line) {
                Ok(record) => records.push(record),
                Err(_) => notes.push(serde_json::from_str(line).unwrap()),
            }
        }
        (records, notes)
    }

    /// Reads the response at the place of a record.
    fn response(&self, record: &Record) -> WarcRecord {
        let place = record.pack.unwrap_or_else(|| panic!("{record:?}"));
        WarcRecord::alone(&self.pack(place.n.unwrap()), place)
    }

    /// Checks that each URL is in exactly one pack, at its recorded place.
    pub(super) fn expect_all(&self, done: &Done, urls: &[String]) {
        assert_eq!(done.records.len(), urls.len());
        for record in &done.records {
            let response = self.response(record);
            assert_eq!(response.target(), record.url);
            let path = &record.url[record.url.rfind('/').unwrap()..];
            assert!(response.payload() == body_of(path), "{path}");
        }
        let mut found = BTreeMap::new();
        for n in 0..self.count() {
            let warc = Warc::read(&self.pack(n));
            let targets: Vec<_> = warc
                .of_kind("response")
                .into_iter()
                .map(WarcRecord::target)
                .collect();
            warcio_checks(&self.pack(n), targets.iter().copied());
            for target in targets {
                *found.entry(target.to_owned()).or_insert(0) += 1;
            }
        }
        let expected: BTreeMap<_, _> = urls.iter().map(|url| (url.clone(), 1)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn each_pack_is_finished_at_its_size() {
    for name in NAMES {
        let server = pages();
        let urls = urls(&server, 60);
        let series = Series::new(name);
        let done = series.run().urls(&urls).expect_exit(0);
        series.expect_all(&done, &urls);
        let count = series.count();
        assert!(count > 2, "{:?}", series.files());
        let (records, notes) = series.journaled();
        assert_eq!(records.len(), 60);
        assert_eq!(notes.len(), count as usize);
        for (n, note) in notes.iter().enumerate() {
            let path = series.pack(u32::try_from(n).unwrap());
            let bytes = fs::read(&path).unwrap();
            assert_eq!(note["pack_note"], "finished");
            assert_eq!(note["n"], n);
            assert_eq!(note["bytes"], bytes.len());
            assert_eq!(note["sha256"], sha256(&bytes));
            let warc = Warc::read(&path);
            let kinds = ["warcinfo", "metadata", "request", "response"];
            let records: usize = kinds.iter().map(|kind| warc.of_kind(kind).len()).sum();
            assert_eq!(note["records"], records);
            assert_eq!(warc.of_kind("warcinfo").len(), 1);
            let name = warc.of_kind("warcinfo")[0]
                .field("WARC-Filename")
                .map(str::to_owned);
            assert_eq!(name.as_deref(), path.file_name().unwrap().to_str());
            if n + 1 < count as usize {
                // What is written at once may exceed it.
                assert!((20_000..200_000).contains(&bytes.len()), "{}", bytes.len());
            }
        }
        let again = series.run().urls(&urls).expect_exit(0);
        assert_eq!(again.skipped(), 60);
        assert_eq!(
            again.stderr.lines().find(|line| line.contains("warning")),
            None
        );
        assert_eq!(series.count(), count, "nothing was added");
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn what_is_new_goes_to_a_new_pack() {
    let server = pages();
    let urls = urls(&server, 30);
    let series = Series::new(NAMES[0]);
    series.run().urls(&urls[..20]).expect_exit(0);
    let count = series.count();
    let before: Vec<_> = (0..count)
        .map(|n| fs::read(series.pack(n)).unwrap())
        .collect();
    let done = series.run().urls(&urls).expect_exit(0);
    assert_eq!(done.skipped(), 20);
    series.expect_all(&done, &urls);
    for (n, bytes) in (0..).zip(&before) {
        assert!(
            fs::read(series.pack(n)).unwrap() == *bytes,
            "pack {n} has changed"
        );
    }
}

/// Runs until the server has had some more requests, then kills.
fn run_and_kill(series: &Series, urls: &[String], server: &Server, rng: &mut fastrand::Rng) {
    let list = series.dir.path().join("list.jsonl");
    fs::write(&list, urls.join("\n")).unwrap();
    let until = server.requests().len() + rng.usize(1..40);
    let mut child = binary()
        .args(["-q", "-j8", "--pack"])
        .arg(series.path())
        .args(["--pack-size", SIZE, "--input-format", "text"])
        .arg(&list)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while server.requests().len() < until && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it hangs");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_micros(rng.u64(..8000)));
    // The run may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn killed_at_any_moment_each_url_is_in_one_pack() {
    for (seed, name) in (11..).zip(NAMES) {
        let server = pages();
        let urls = urls(&server, 150);
        let series = Series::new(name);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut finished: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for _ in 0..8 {
            run_and_kill(&series, &urls, &server, &mut rng);
            for (n, bytes) in &finished {
                assert!(
                    fs::read(series.pack(*n)).unwrap() == *bytes,
                    "pack {n} has changed"
                );
            }
            let packs = (0..)
                .map(|n| (n, series.pack(n)))
                .take_while(|(_, pack)| pack.exists());
            finished = packs
                .map(|(n, pack)| (n, fs::read(pack).unwrap()))
                .collect();
        }
        let done = series.run().urls(&urls).expect_exit(0);
        series.expect_all(&done, &urls);
    }
}

/// What a run that was killed right before a rename, or before it journaled the pack, leaves.
#[test]
fn a_pack_that_is_complete_but_not_named_is_finished_by_the_next_run() {
    let server = pages();
    let urls = urls(&server, 40);
    for is_noted in [true, false] {
        let series = Series::new(NAMES[0]);
        let done = series.run().urls(&urls).expect_exit(0);
        let last = series.count() - 1;
        let part = series.dir.path().join(format!("x-{last:05}.warc.gz.part"));
        fs::rename(series.pack(last), part).unwrap();
        if !is_noted {
            let journal = fs::read_to_string(series.journal()).unwrap();
            let (kept, _) = journal.rsplit_once("{\"pack_note\"").unwrap();
            fs::write(series.journal(), kept).unwrap();
        }
        let again = series.run().urls(&urls).expect_exit(0);
        assert_eq!(again.skipped(), 40);
        series.expect_all(&again, &urls);
        assert_eq!(done.records.len(), 40);
        assert_eq!(series.journaled().1.len(), last as usize + 1);
    }
}

#[test]
fn a_run_that_ends_early_leaves_a_pack_to_go_on_with() {
    let server = Server::http(|request| match path_of(request) {
        "/missing" => response("404 Not Found", &[], b"no"),
        path => {
            thread::sleep(Duration::from_millis(20));
            response("200 OK", &[], &body_of(path))
        }
    });
    let series = Series::new(NAMES[0]);
    let urls: Vec<_> = (0..40).map(|n| server.url(&format!("/{n}"))).collect();
    let list = [&urls[..3], &[server.url("/missing")], &urls[3..]].concat();
    let done = series.run().args(["-j1", "--max-failures=0"]).urls(&list);
    let done = done.expect_exit(1);
    assert!(done.records.len() < 40, "{}", done.stderr);
    assert_eq!(series.files(), ["x-00000.warc.gz.part"]);
    let verified = series.run().arg("--verify").stdin("").expect_exit(0);
    assert!(!verified.stderr.contains("warning"), "{}", verified.stderr);
    let again = series.run().urls(&urls).expect_exit(0);
    assert_eq!(again.skipped(), done.records.len() - 1);
    let first = series.response(again.of("/0"));
    assert_eq!(first.target(), urls[0]);
    assert!(series.count() > 1, "all packs are finished");
}

/// Its URLs would be in two packs under their final names.
#[test]
fn a_finished_pack_to_which_something_was_added_is_left_alone() {
    let server = pages();
    let urls = urls(&server, 40);
    let series = Series::new(NAMES[0]);
    series.run().urls(&urls).expect_exit(0);
    let (files, asked) = (series.files(), server.requests().len());
    let mut pack = fs::read(series.pack(1)).unwrap();
    let length = pack.len();
    pack.extend_from_slice(b"more");
    fs::write(series.pack(1), &pack).unwrap();
    let done = series.run().urls(&urls).expect_exit(3);
    assert!(
        done.stderr.contains(&format!("truncate -s {length}")),
        "{}",
        done.stderr
    );
    assert_eq!((series.files(), server.requests().len()), (files, asked));
    assert_eq!(fs::read(series.pack(1)).unwrap(), pack);
    pack.truncate(length);
    fs::write(series.pack(1), &pack).unwrap();
    assert_eq!(series.run().urls(&urls).expect_exit(0).skipped(), 40);
}

#[test]
fn a_finished_pack_that_is_gone_or_cut_is_fetched_again() {
    let server = pages();
    let urls = urls(&server, 40);
    for is_gone in [true, false] {
        let series = Series::new(NAMES[0]);
        series.run().urls(&urls).expect_exit(0);
        let count = series.count();
        let lost = series
            .journaled()
            .0
            .iter()
            .filter(|record| record.pack.unwrap().n == Some(1))
            .count();
        match is_gone {
            true => fs::remove_file(series.pack(1)).unwrap(),
            false => {
                let file = fs::File::options()
                    .write(true)
                    .open(series.pack(1))
                    .unwrap();
                file.set_len(5000).unwrap();
            }
        }
        let verified = series.run().arg("--verify").stdin("").expect_exit(1);
        assert!(!verified.records.is_empty());
        let done = series.run().urls(&urls).expect_exit(0);
        assert_eq!(done.skipped(), 40 - lost);
        let warning = match is_gone {
            true => format!("the pack is gone, but its journal is there: {lost} journaled bodies"),
            false => format!("{lost} journaled bodies are missing (was it truncated?)"),
        };
        assert!(done.stderr.contains(&warning), "{}", done.stderr);
        for record in &done.records {
            let path = &record.url[record.url.rfind('/').unwrap()..];
            assert!(series.response(record).payload() == body_of(path));
            assert_ne!(record.pack.unwrap().n, Some(1));
        }
        assert!(series.pack(count).exists(), "a number is not used again");
        let again = series.run().urls(&urls).expect_exit(0);
        assert_eq!(again.skipped(), 40);
        assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    }
}

#[test]
fn every_pack_is_verified() {
    let server = pages();
    let urls = urls(&server, 40);
    let series = Series::new(NAMES[0]);
    series.run().urls(&urls).expect_exit(0);
    let verify = || series.run().arg("--verify").stdin("");
    let done = verify().expect_exit(0);
    assert_eq!(done.stderr, "40 responses: 40 good, 0 missing, 0 changed\n");
    let record = &series.journaled().0[30];
    let place = record.pack.unwrap();
    let path = series.pack(place.n.unwrap());
    assert!(place.n > Some(0));
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(place.end() - 12).unwrap()] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let done = verify().expect_exit(1);
    let found: Vec<_> = done.records.iter().map(|found| &found.url).collect();
    assert_eq!(found, [&record.url]);
    let listed = series
        .run()
        .arg("--verify")
        .urls([&record.url])
        .expect_exit(1);
    assert_eq!(listed.records.len(), 1);
}

/// A revisit may be in a later pack than the response with the body.
#[test]
fn equal_bodies_are_packed_once_and_refresh_knows_all_packs() {
    let server = Server::http(|request| match path_of(request) {
        path if path.starts_with("/same") => response("200 OK", &[], &noise(3, 2000)),
        path => response(
            "200 OK",
            &["ETag: \"1\""],
            &noise(path.len() as u64, 150_000),
        ),
    });
    let urls: Vec<_> = ["/same1", "/a", "/bb", "/ccc", "/same2"]
        .map(|path| server.url(path))
        .into();
    let series = Series::new(NAMES[0]);
    let done = series.run().arg("-j1").urls(&urls).expect_exit(0);
    let [first, second] = ["/same1", "/same2"].map(|end| done.of(end));
    assert_eq!(first.pack, second.pack);
    // Pages of this size are written one by one.
    assert_eq!(second.pack_end_n, Some(3));
    let revisits: BTreeSet<_> = Warc::read(&series.pack(3))
        .of_kind("revisit")
        .into_iter()
        .map(|record| {
            record
                .field("WARC-Refers-To-Target-URI")
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(revisits, BTreeSet::from([first.url.clone()]));
    let verified = series.run().arg("--verify").stdin("").expect_exit(0);
    assert!(
        verified.stderr.starts_with("5 responses: 5 good"),
        "{}",
        verified.stderr
    );
    let again = series.run().arg("--refresh").urls(&urls).expect_exit(0);
    assert!(
        again.stderr.contains("0 new, 0 changed, 5 unchanged"),
        "{}",
        again.stderr
    );
    assert_eq!(series.count(), 4, "nothing was added");
    fs::remove_file(series.pack(0)).unwrap();
    let healed = series.run().urls(&urls).expect_exit(0);
    let lost = [first, second].iter().all(|record| {
        let healed = healed.of(&record.url);
        healed.pack.is_some_and(|place| place.n > Some(3))
            && series.response(healed).payload() == noise(3, 2000)
    });
    assert!(lost, "{:?}", healed.records);
}

#[test]
fn files_in_the_way_are_left_alone() {
    let server = pages();
    let urls = urls(&server, 40);
    for name in ["x-00000.warc.gz", "x-00000.warc.gz.part", "x-00001.warc.gz"] {
        let series = Series::new(NAMES[0]);
        fs::write(series.dir.path().join(name), "mine").unwrap();
        let done = series.run().urls(&urls).expect_exit(3);
        assert!(done.stderr.contains("already exists"), "{}", done.stderr);
        assert_eq!(
            fs::read_to_string(series.dir.path().join(name)).unwrap(),
            "mine"
        );
    }
}

#[test]
fn names_and_sizes_that_do_not_fit_are_usage_errors() {
    let refused = |name: &str, flags: &[&str]| {
        let run = Run::new()
            .args(["--pack", name])
            .args(flags.iter().copied());
        run.urls(["http://127.0.0.1:9/"]).expect_exit(2).stderr
    };
    let mut texts = Texts::new();
    for (name, flags) in [
        ("x.warc.gz", ["--pack-size=1GB"].as_slice()),
        ("x.warc.gz", &["--pack-done=true"]),
        ("packs/x.warc", &["--pack-size=1GB"]),
        ("{n}/x.warc.gz", &[]),
        ("x-{n}-{n}.warc.gz", &[]),
        ("x-{shard}-{n}.warc.gz", &[]),
    ] {
        texts.add(format!("{name} {}", flags.join(" ")), &refused(name, flags));
    }
    insta::assert_snapshot!("pack_names_refused", texts);
    assert!(!Path::new("packs").exists());
}
