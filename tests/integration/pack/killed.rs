use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{NAMES, Packing, body_of, noise, path_of, urls};
use crate::support::{Server, Warc, binary, response, warcio_checks};

const PAGES: usize = 200;

/// Every fiftieth page is large enough to wait in a file; the content is the same otherwise.
fn page(path: &str) -> Vec<u8> {
    let number: u64 = path[1..].parse().unwrap();
    match number % 50 {
        49 => noise(number, 1_200_000),
        _ => body_of(path),
    }
}

fn server() -> Server {
    Server::http(|request| response("200 OK", &[], &page(path_of(request))))
}

/// Kills a run after this number of further requests, and a short delay. Returns whether it was
/// still running.
fn run_and_kill(
    packing: &Packing,
    list: &File,
    server: &Server,
    rng: &mut Rng,
    flags: &[&str],
) -> bool {
    let until = server.requests().len() + rng.usize(1..30);
    let mut child = binary()
        .args(["-q", "-j8", "--pack"])
        .arg(packing.path())
        .args(flags)
        .stdin(reopened(list))
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
    child.wait().unwrap().signal().is_some()
}

fn reopened(list: &File) -> File {
    use std::io::{Seek as _, SeekFrom};
    let mut list = list.try_clone().unwrap();
    list.seek(SeekFrom::Start(0)).unwrap();
    list
}

fn list_of(urls: &[String]) -> File {
    use std::io::Write as _;
    let mut list = tempfile::tempfile().unwrap();
    list.write_all((urls.join("\n") + "\n").as_bytes()).unwrap();
    list
}

/// Kills several runs, then lets one complete.
fn kill_often(name: &'static str, seed: u64, flags: &[&str]) -> (Packing, Server) {
    let server = server();
    let urls = urls(&server, PAGES);
    let (packing, list) = (Packing::new(name), list_of(&urls));
    let mut rng = Rng::with_seed(seed);
    let mut killed = 0;
    for _ in 0..10 {
        let was_killed = run_and_kill(&packing, &list, &server, &mut rng, flags);
        killed += usize::from(was_killed);
    }
    assert!(killed > 2, "it has to be killed to be tested: {killed}");
    let done = packing.run().args(flags.iter().copied()).urls(&urls);
    let done = done.expect_exit(0);
    expect_pages(&packing, &done.records, &urls);
    (packing, server)
}

/// Checks that each URL was recorded as fetched once, and is at the recorded place.
fn expect_pages(packing: &Packing, records: &[fetchall::Record], urls: &[String]) {
    let journaled = packing.journaled();
    let fetched: BTreeSet<_> = journaled.iter().map(|record| &record.url).collect();
    assert!(journaled.iter().all(|record| record.ok));
    assert_eq!((journaled.len(), fetched.len()), (PAGES, PAGES));
    assert_eq!(records.len(), urls.len());
    for record in records.iter().chain(&journaled) {
        let response = packing.response(record);
        assert_eq!(response.target(), record.url);
        let path = &record.url[record.url.rfind('/').unwrap()..];
        assert!(response.payload() == page(path), "{path}");
    }
}

#[test]
fn a_pack_survives_being_killed_again_and_again() {
    for (seed, name) in (1..).zip(NAMES) {
        let (packing, server) = kill_often(name, seed, &[]);
        let urls = urls(&server, PAGES);
        // Bodies without a record are cut off and fetched again.
        let warc = Warc::read(&packing.path());
        assert_eq!(warc.of_kind("response").len(), PAGES);
        warcio_checks(&packing.path(), urls.iter().map(String::as_str));
        assert_eq!(packing.files().len(), 2, "{:?}", packing.files());
    }
}

#[test]
fn a_synced_pack_does_too() {
    let (packing, _server) = kill_often(NAMES[0], 3, &["--sync"]);
    let warc = Warc::read(&packing.path());
    assert_eq!(warc.of_kind("response").len(), PAGES);
}

#[test]
fn killed_at_any_moment_no_page_is_there_without_its_redirect() {
    let server = Server::http(|request| match path_of(request).strip_prefix("/hop") {
        Some(path) => response("302 Found", &[&format!("Location: {path}")], b"moved"),
        None => response("200 OK", &[], &page(path_of(request))),
    });
    let url = |n| server.url(&format!("/hop/{n}"));
    let urls: Vec<_> = (0..PAGES).map(url).collect();
    for (seed, name) in (5..).zip(NAMES) {
        let (packing, list) = (Packing::new(name), list_of(&urls));
        let mut rng = Rng::with_seed(seed);
        for _ in 0..6 {
            run_and_kill(&packing, &list, &server, &mut rng, &[]);
        }
        let done = packing.run().urls(&urls).expect_exit(0);
        for record in &done.records {
            let path = &record.url[record.url.rfind('/').unwrap()..];
            assert!(packing.response(record).payload() == page(path), "{path}");
        }
        let warc = Warc::read(&packing.path());
        let mut redirects = BTreeSet::new();
        for record in warc.of_kind("response") {
            let path = record.target().strip_prefix(&server.url("")).unwrap();
            match path.strip_prefix("/hop") {
                Some(to) => drop(redirects.insert(to.to_owned())),
                None => assert!(redirects.contains(path), "{path}"),
            }
        }
        assert_eq!(redirects.len(), PAGES);
    }
}
