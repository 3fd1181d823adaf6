use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Authority, Run, Server, TlsServer, response};

/// Longer than a body that is written in one piece, to files and to packs.
const LARGE: usize = (1 << 20) + (1 << 19);
/// Maximum duration of a run that waits for no timer. The shortest timer closes idle connections
/// after 4 s.
const QUICK: Duration = Duration::from_secs(30);

fn body(path: &str) -> Vec<u8> {
    let length = if path.contains("large") { LARGE } else { 500 };
    path.bytes().cycle().take(length).collect()
}

/// The ways to save bodies.
const SAVING: [&[&str]; 4] = [
    &[],
    &["-o", "out"],
    &["--pack", "x.warc"],
    &["--pack", "x.warc.gz"],
];

/// Prepares a run of these URLs that saves below a new directory.
fn run(urls: &[String], saving: &[&str], folder: &TempDir) -> Run {
    let port = urls[0].rsplit(':').next().unwrap();
    let port = port.split('/').next().unwrap();
    let saving = saving.iter().map(|word| match word.starts_with('-') {
        true => (*word).to_owned(),
        false => folder.path().join(word).to_str().unwrap().to_owned(),
    });
    Run::new()
        .args(["-k".to_owned(), format!("--resolve=*:{port}:127.0.0.1")])
        .args(saving)
        .args(urls)
}

/// Returns the limit that the program says it needs, if this one is too low.
fn needed(urls: &[String], saving: &[&str], limit: usize) -> Option<usize> {
    let folder = tempfile::tempdir().unwrap();
    let done = run(urls, saving, &folder).open_files(limit).go();
    let (_, rest) = done.stderr.split_once("needs at least ")?;
    assert_eq!(done.code, Some(3), "{}", done.stderr);
    assert!(rest.contains("ulimit -n"), "{rest}");
    rest.split(';').next()?.parse().ok()
}

/// Returns the lowest limit that works. It includes the descriptors inherited from the test, which
/// may have any numbers.
fn least(urls: &[String], saving: &[&str]) -> usize {
    let mut limit = 5;
    while let Some(more) = needed(urls, saving, limit) {
        assert!(more > limit, "{more} of {limit}");
        limit = more;
    }
    assert_eq!(needed(urls, saving, limit - 1), Some(limit), "{saving:?}");
    limit
}

fn all_is_fetched(urls: &[String]) {
    for saving in SAVING {
        let least = least(urls, saving);
        for limit in [least, least + 1, least + 3] {
            let folder = tempfile::tempdir().unwrap();
            for again in [&[][..], &["--refresh"]] {
                let again = if saving.is_empty() { &[][..] } else { again };
                let run = run(urls, saving, &folder).args(again.iter().copied());
                let done = run.open_files(limit).expect_exit(0);
                assert_eq!(done.records.len(), urls.len());
                let attempts = done.records.iter().map(|record| record.attempts);
                let told = format!("{limit} {saving:?} {again:?}: {}", done.stderr);
                assert_eq!(attempts.max(), Some(1), "{told}");
                assert!(done.took < QUICK, "{told}");
            }
        }
    }
}

#[test]
fn with_the_fewest_open_files_every_body_is_fetched_and_saved() {
    let server = Server::http(|request| {
        let path = crate::support::path(request);
        response("200 OK", &[], &body(path))
    });
    let port = server.addr.port();
    // Each host has a directory of its own.
    let urls = |n| ["small", "large"].map(|size| format!("http://host{n}.test:{port}/{size}"));
    all_is_fetched(&(0..6).flat_map(urls).collect::<Vec<_>>());
}

#[test]
fn with_the_fewest_open_files_every_secure_page_is_fetched() {
    let config = Authority::new().config("localhost", |_| {});
    let server = TlsServer::answering(config, |_| response("200 OK", &[], b"page"));
    let urls: Vec<_> = (0..20).map(|n| format!("{}{n}", server.url())).collect();
    all_is_fetched(&urls);
}

/// A descriptor that was inherited with a number above the limit is in the way when the limit is
/// raised.
#[test]
fn the_limit_named_is_enough_when_descriptors_above_it_are_open() {
    let server = Server::http(|_| response("200 OK", &[], b"page"));
    let run = |limit: &str| {
        let mut shell = Command::new("/bin/sh");
        let script = "exec 8</dev/null 9</dev/null && ulimit -n $1 && shift && exec \"$0\" \"$@\"";
        shell.arg("-c").arg(script);
        shell.arg(env!("CARGO_BIN_EXE_fetchall")).arg(limit);
        shell.args(["--no-config", "-x", "", &server.url("/")]);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr)
    };
    let (code, stderr) = run("7");
    assert_eq!(code, Some(3), "{stderr}");
    let (_, rest) = stderr.split_once("needs at least ").unwrap();
    let (code, stderr) = run(rest.split(';').next().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
}
