use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use super::series::Series;
use super::{Packing, body_of, noise, pages, path_of, place, urls};
use crate::support::{Run, Server, Texts, binary, closed_port, response, warcio_tool};

const NAME: &str = "x.tar";
/// Prints the names and contents of all files, as hexadecimal numbers.
const LIST: &str = "import sys, json, tarfile; t = tarfile.open(sys.argv[1]); \
                    print(json.dumps([[m.name, t.extractfile(m).read().hex()] for m in t]))";
/// The same for all samples, as WebDataset groups them.
const SAMPLES: &str = "import sys, json, webdataset as w; \
    print(json.dumps([[s['__key__'] + '.' + k, v.hex()] for s in \
    w.WebDataset(sys.argv[1], shardshuffle=False) for k, v in s.items() if not k.startswith('__')]))";

/// Name and content of each file, in order.
type Files = Vec<(String, Vec<u8>)>;

/// Reads a tar, which has to end as one.
fn files(path: &Path) -> Files {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.len() % 512, 0);
    let mut rest = bytes.as_slice();
    let mut files = Vec::new();
    while rest[0] != 0 {
        let text = |from: usize, to: usize| {
            let field = rest[from..to].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
        files.push((text(0, 100), rest[512..512 + size].to_vec()));
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    assert!(rest == [0; 1024], "{} bytes", rest.len());
    files
}

/// Reads a tar with Python. `None` without the modules.
fn read_by(modules: &str, script: &str, path: &Path) -> Option<Files> {
    let python = warcio_tool::python_with(modules)?;
    let output = Command::new(python)
        .args(["-c", script])
        .arg(path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let pairs: Vec<(String, String)> = serde_json::from_slice(&output.stdout).unwrap();
    let decode = |hex: String| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let files = pairs.into_iter().map(|(name, hex)| (name, decode(hex)));
    Some(files.collect())
}

/// The files of each sample by extension, by the line in its record. Each key is there once, and its
/// files are side by side.
fn samples(files: Files) -> BTreeMap<u64, BTreeMap<String, Vec<u8>>> {
    let (mut by_line, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for group in files.chunk_by(|one, other| key(&one.0) == key(&other.0)) {
        assert!(seen.insert(key(&group[0].0).to_owned()), "a key twice");
        let mut sample = BTreeMap::new();
        for (name, content) in group {
            let extension = name[key(name).len() + 1..].to_owned();
            assert_eq!(sample.insert(extension, content.clone()), None, "{name}");
        }
        let record: Value = serde_json::from_slice(&sample["json"]).unwrap();
        let line = record["line"].as_u64().unwrap();
        assert!(group[0].0.starts_with(&format!("{line:09}-")));
        assert!(by_line.insert(line, sample).is_none(), "line {line} twice");
    }
    by_line
}

fn key(name: &str) -> &str {
    name.split('.').next().unwrap()
}

/// Checks that the lines are there, each with its page.
fn expect_pages(files: Files, urls: &[String]) {
    let samples = samples(files);
    assert_eq!(samples.len(), urls.len());
    for (url, (line, sample)) in urls.iter().zip(&samples) {
        let record: Value = serde_json::from_slice(&sample["json"]).unwrap();
        assert_eq!(record["url"], url.as_str(), "{line}");
        let path = &url[url.rfind('/').unwrap()..];
        assert!(sample["bin"] == body_of(path), "{path}");
    }
}

/// A run of a list from stdin, so that each URL has its line.
fn list(run: Run, urls: &[String]) -> Run {
    run.stdin(urls.join("\n"))
}

fn site() -> Server {
    Server::http(|request| match path_of(request) {
        "/missing.png" => response("404 Not Found", &[], b"no"),
        "/moved.jpg" => response("302 Found", &["Location: /a.PNG"], b"moved"),
        "/typed" => response("200 OK", &["Content-Type: image/webp; q=1"], b"webp"),
        "/empty" => response("200 OK", &[], b""),
        "/large" => response("200 OK", &[], &noise(2, 1_500_000)),
        "/x.pkl" => response("200 OK", &[], b"cos\nsystem"),
        "/same1.gif" | "/same2.gif" => response("200 OK", &[], &noise(3, 900)),
        path => response("200 OK", &[], &body_of(path)),
    })
}

#[test]
fn python_reads_each_body_with_its_record_and_its_caption() {
    let server = site();
    let packing = Packing::new(NAME);
    let table = [
        ("/a.PNG", "An ä"),
        ("/missing.png", "lost"),
        ("/moved.jpg", "moved"),
        ("/typed", ""),
        ("/empty", "nothing"),
        ("/large", "large"),
        ("/x.json", "json"),
        ("/x.txt", "text"),
        ("/same1.gif", "1"),
        ("/same2.gif", "2"),
        ("/x.pkl", ""),
    ];
    let rows = table.map(|(path, caption)| format!("{},{caption}\n", server.url(path)));
    let run = |args: &[&str]| {
        let run = packing.run().args(args.iter().copied());
        run.arg("--input-format=csv")
            .args(["--caption-column", "ALT"])
            .stdin(format!("url,alt\n{}", rows.concat()))
    };
    let done = run(&["--sha256"]).expect_exit(1);
    let found = files(&packing.path());
    for (modules, script) in [("tarfile", LIST), ("webdataset", SAMPLES)] {
        if let Some(read) = read_by(modules, script, &packing.path()) {
            let sorted = |files: &Files| files.iter().cloned().collect::<BTreeSet<_>>();
            assert!(sorted(&read) == sorted(&found), "{modules}");
        }
    }
    let samples = samples(found);
    let extensions = |sample: &BTreeMap<_, _>| -> String {
        sample
            .keys()
            .map(|name: &String| format!(" {name}"))
            .collect()
    };
    let page: String = samples
        .iter()
        .map(|(line, sample)| format!("{line}:{}\n", extensions(sample)))
        .collect();
    insta::assert_snapshot!("samples", page);
    assert_eq!(samples[&2]["txt"], "An ä".as_bytes());
    for record in &done.records {
        let Some(sample) = samples.get(&record.line) else {
            assert!(!record.ok && record.pack.is_none());
            continue;
        };
        let mut beside: Value = serde_json::from_slice(&sample["json"]).unwrap();
        let mut own = serde_json::to_value(record).unwrap();
        assert_eq!(
            own["columns"]["alt"].as_str().unwrap().is_empty(),
            !sample.contains_key("txt")
        );
        for volatile in ["pack", "at", "elapsed_ms", "total_ms"] {
            own.as_object_mut().unwrap().remove(volatile);
            beside.as_object_mut().unwrap().remove(volatile);
        }
        assert_eq!(own, beside);
        let bytes = packing.bytes();
        let place = place(record);
        let at = |at: u64| usize::try_from(at).unwrap();
        let body = &bytes[at(place.offset) + 512..][..at(record.bytes.unwrap())];
        let is_body = |name: &&String| *name != "json" && *name != "txt";
        let name = sample.keys().find(is_body).unwrap();
        assert!(body == sample[name]);
    }
    let before = packing.bytes();
    let done = run(&["--sha256"]).expect_exit(1);
    assert_eq!(done.skipped(), 10);
    assert!(packing.bytes() == before, "a run without new bodies");
}

#[test]
fn a_later_run_goes_on_behind_the_last_body() {
    let server = pages();
    let packing = Packing::new(NAME);
    let urls = urls(&server, 20);
    list(packing.run(), &urls[..5]).expect_exit(0);
    expect_pages(files(&packing.path()), &urls[..5]);
    let done = list(packing.run(), &urls).expect_exit(0);
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    expect_pages(files(&packing.path()), &urls);
    assert_eq!(packing.files(), ["x.tar", "x.tar.jsonl"]);
}

#[test]
fn a_tar_of_nothing_is_one() {
    let packing = Packing::new(NAME);
    let run = || packing.run().arg("--retries=0");
    let url = format!("http://{}/", closed_port());
    for _ in 0..2 {
        let done = run().urls([url.as_str()]).expect_exit(1);
        assert!(!done.stderr.contains("warning"), "{}", done.stderr);
        assert_eq!(files(&packing.path()), []);
    }
    if let Some(read) = read_by("tarfile", LIST, &packing.path()) {
        assert_eq!(read, []);
    }
}

/// Kills runs of a list at any moment. Returns whether each was still going on.
fn run_and_kill(args: &[&str], server: &Server, rng: &mut Rng) -> bool {
    let until = server.requests().len() + rng.usize(1..20);
    let mut child = binary()
        .args(["-q", "-j8"])
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while server.requests().len() < until && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it hangs");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_micros(rng.u64(..8000)));
    // SIGKILL; the run may have ended by itself.
    let _ = child.kill();
    !child.wait().unwrap().success()
}

#[test]
fn killed_at_any_moment_each_line_is_there_once() {
    for (seed, name) in (11..).zip([NAME, "x-{n}.tar"]) {
        let server = pages();
        let series = Series::new(name);
        let urls = urls(&server, 150);
        let lists = tempfile::tempdir().unwrap();
        let list_path = lists.path().join("list.txt");
        fs::write(&list_path, urls.join("\n")).unwrap();
        let (path, list) = (series.path(), list_path.to_str().unwrap());
        let mut args = vec!["--pack", path.to_str().unwrap(), list];
        if name != NAME {
            args.extend(["--pack-size", "20000"]);
        }
        let mut rng = Rng::with_seed(seed);
        let killed = (0..10).filter(|_| run_and_kill(&args, &server, &mut rng));
        let killed = killed.count();
        assert!(killed > 2, "it has to be killed to be tested: {killed}");
        let run = || Run::new().args(args.iter().copied());
        run().expect_exit(0);
        let found = (0..series.count()).flat_map(|n| {
            let path = series.pack(n);
            let found = files(&path);
            if let Some(read) = read_by("tarfile", LIST, &path) {
                assert!(read == found);
            }
            found
        });
        expect_pages(found.collect(), &urls);
        let done = run().arg("--verify").expect_exit(0);
        let good = "150 bodies: 150 good";
        assert!(done.stderr.contains(good), "{}", done.stderr);
    }
}

#[test]
fn a_series_of_tars_is_delivered() {
    let server = pages();
    let urls = urls(&server, 60);
    let series = Series::new("x-{n}.tar");
    let out = tempfile::tempdir().unwrap();
    let command = "sha256sum < \"$FETCHALL_RUN_PACK\" | grep -q ^$FETCHALL_RUN_PACK_SHA256 && \
                   mv \"$FETCHALL_RUN_PACK\" \"$OUT\"";
    let run = || {
        let run = series.run().args(["--pack-done", command]);
        run.env("OUT", out.path().to_str().unwrap())
    };
    list(run(), &urls).expect_exit(0);
    assert_eq!(series.files(), [""; 0]);
    let (_, notes) = series.journaled();
    let finished = notes.iter().filter(|note| note["pack_note"] == "finished");
    let mut found = Vec::new();
    for note in finished {
        let name = format!("x-{:05}.tar", note["n"].as_u64().unwrap());
        let pack = files(&out.path().join(name));
        assert_eq!(note["records"], pack.len());
        found.extend(pack);
    }
    assert!(fs::read_dir(out.path()).unwrap().count() > 2);
    expect_pages(found, &urls);
    assert_eq!(list(run(), &urls).expect_exit(0).skipped(), 60);
}

#[test]
fn a_series_goes_on_after_a_run_that_ended_early() {
    let server = pages();
    let urls = urls(&server, 60);
    let series = Series::new("x-{n}.tar");
    list(series.run().arg("--max-failures=1"), &urls[..7])
        .arg(format!("http://{}/", closed_port()))
        .arg("--retries=0")
        .go();
    list(series.run(), &urls).expect_exit(0);
    let found = (0..series.count()).flat_map(|n| files(&series.pack(n)));
    expect_pages(found.collect(), &urls);
    list(series.run().arg("--verify"), &urls).expect_exit(0);
}

#[test]
fn damage_is_found_and_a_short_tar_is_filled_again() {
    let server = pages();
    let packing = Packing::new(NAME);
    let urls = urls(&server, 6);
    list(packing.run().args(["--sha256", "-j1"]), &urls).expect_exit(0);
    let whole = packing.bytes();
    let verify = || packing.run().arg("--verify").stdin("no list\n");
    let done = verify().expect_exit(0);
    assert_eq!(done.stderr, "6 responses: 6 good, 0 missing, 0 changed\n");
    let records = packing.journaled();
    let body = place(&records[3]).offset;
    // The body, its head, the head of the record in front of it, and that of the first one.
    let before = place(&records[2]).end();
    for (position, url) in [(body + 512, 3), (body + 3, 3), (before + 9, 3), (2, 0)] {
        let mut bytes = whole.clone();
        bytes[usize::try_from(position).unwrap()] ^= 1;
        fs::write(packing.path(), &bytes).unwrap();
        let done = verify().expect_exit(1);
        let urls_found: BTreeSet<_> = done.records.iter().map(|found| &found.url).collect();
        assert_eq!(
            urls_found,
            BTreeSet::from([&records[url].url]),
            "{position}"
        );
    }
    fs::write(
        packing.path(),
        &whole[..usize::try_from(body).unwrap() + 512],
    )
    .unwrap();
    verify().expect_exit(1);
    let done = list(packing.run(), &urls).expect_exit(0);
    assert!(
        done.stderr.contains("3 journaled bodies are missing"),
        "{}",
        done.stderr
    );
    expect_pages(files(&packing.path()), &urls);
}

#[test]
fn what_comes_again_is_added_only_if_it_has_changed() {
    let server = Server::http(|request| {
        let seed = if request.contains("x-new:") { 2 } else { 1 };
        response("200 OK", &[], &noise(seed, 3000))
    });
    let packing = Packing::new(NAME);
    let url = server.url("/a.png");
    let run = || packing.run().urls([url.as_str()]);
    run().expect_exit(0);
    let before = packing.bytes();
    run().arg("--refresh").expect_exit(0);
    assert!(packing.bytes() == before);
    run().args(["--refresh", "-H", "x-new: 1"]).expect_exit(0);
    let names: BTreeSet<_> = files(&packing.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn what_another_program_has_added_is_kept() {
    let server = pages();
    let packing = Packing::new(NAME);
    let urls = urls(&server, 3);
    list(packing.run(), &urls).expect_exit(0);
    let whole = packing.bytes();
    let other = Packing::new(NAME);
    list(other.run(), &urls).expect_exit(0);
    let content = &whole[..whole.len() - 1024];
    for (added, why) in [
        (
            [content, &other.bytes()].concat(),
            "are not from its own runs",
        ),
        (
            [&whole, &[0; 512][..]].concat(),
            "are not from its own runs",
        ),
        (
            [content, &noise(1, 700)].concat(),
            "are not from its own runs",
        ),
        (
            [&noise(1, 700), content].concat(),
            "is not the pack of its journal",
        ),
    ] {
        fs::write(packing.path(), &added).unwrap();
        let done = list(packing.run(), &urls).expect_exit(3);
        assert!(done.stderr.contains(why), "{}", done.stderr);
        assert!(packing.bytes() == added);
    }
    // What a killed run leaves: a torn end, or a torn file of this pack.
    let own = [content, &whole[..700]].concat();
    for torn in [
        &whole[..whole.len() - 600],
        &own,
        &own[..content.len() + 300],
    ] {
        fs::write(packing.path(), torn).unwrap();
        let done = list(packing.run(), &urls).expect_exit(0);
        assert!(done.stderr.contains("warning: "), "{}", done.stderr);
        assert!(packing.bytes() == whole);
    }
}

#[test]
fn what_is_not_for_a_tar_is_refused() {
    let mut texts = Texts::new();
    let dir = tempfile::tempdir().unwrap();
    texts.hide(dir.path().to_str().unwrap(), "DIR");
    let url = format!("http://{}/", closed_port());
    for (name, args, code) in [
        ("x.tar", &["--cdxj"][..], 2),
        ("x-{n}.warc.gz", &["--caption-column=alt"], 2),
        ("x.tar", &["--pack-size=1MB"], 2),
        ("x.tar.gz", &[], 2),
        ("x.zip", &[], 2),
        ("x-{n}.zip", &[], 2),
    ] {
        let path = dir.path().join(name);
        let run = Run::new().args(["--pack", path.to_str().unwrap()]);
        let done = run
            .args(args.iter().copied())
            .urls([url.as_str()])
            .expect_exit(code);
        texts.add(name, &done.stderr);
    }
    insta::assert_snapshot!("not_for_a_tar", texts);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
