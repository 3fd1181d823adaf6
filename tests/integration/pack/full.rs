use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fetchall::OutcomeName;

use super::{noise, path_of};
use crate::support::{Server, Texts, Warc, WarcRecord, records, response, warcio_checks};

/// Runs twice in a directory of 1 MiB, half of which is occupied during the first run. Copies the
/// content after each run to the directories 1 and 2.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs -o size=1m none "$DISK"
head -c 524288 /dev/zero >"$DISK/filler"
for run in 1 2; do
    code=0
    "$@" >"$OUT/$run.out" 2>"$OUT/$run.err" || code=$?
    echo $code >"$OUT/$run.code"
    mkdir "$OUT/$run"
    rm "$DISK/filler" 2>/dev/null || true
    cp "$DISK"/* "$OUT/$run/"
done
"#;

/// Mounts a small disk in a separate mount namespace.
fn in_private(script: &str, disk: &Path, out: &Path, command: &[&str]) -> Option<Output> {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: no mount namespaces here");
        return None;
    }
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .args(command)
        .env("DISK", disk)
        .env("OUT", out)
        .env("FETCHALL_NO_CONFIG", "1")
        .output()
        .unwrap();
    Some(output)
}

fn page(path: &str) -> Vec<u8> {
    match path {
        "/large" => noise(1, 2 << 20),
        path => noise(path.bytes().map(u64::from).sum(), 60_000),
    }
}

fn server() -> Server {
    Server::http(|request| response("200 OK", &[], &page(path_of(request))))
}

/// The result of two runs: exit codes, output and packs.
struct Left {
    out: tempfile::TempDir,
    name: &'static str,
}

impl Left {
    fn of(name: &'static str, urls: &[String]) -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        let pack = disk.path().join(name);
        let list = out.path().join("list");
        fs::write(&list, urls.join("\n")).unwrap();
        let (pack, list) = (pack.to_str().unwrap(), list.to_str().unwrap());
        let program = env!("CARGO_BIN_EXE_fetchall");
        let command = [program, "--json", "-j1", "--pack", pack, list];
        let output = in_private(SCRIPT, disk.path(), out.path(), &command)?;
        assert!(output.status.success(), "{output:?}");
        let left = Self { out, name };
        assert!(left.said(1).contains(pack), "{}", left.said(1));
        Some(left)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out.path().join(name)).unwrap()
    }

    fn code(&self, run: u8) -> String {
        self.text(&format!("{run}.code")).trim().to_owned()
    }

    fn said(&self, run: u8) -> String {
        self.text(&format!("{run}.err"))
    }

    /// Checks that the pack contains exactly what the journal reports as fetched. Returns its size.
    fn intact(&self, run: u8) -> usize {
        let dir = self.out.path().join(run.to_string());
        let pack = dir.join(self.name);
        let journal = fs::read_to_string(dir.join(format!("{}.jsonl", self.name))).unwrap();
        let mut urls = Vec::new();
        for line in journal.lines() {
            let record: fetchall::Record = serde_json::from_str(line).unwrap();
            if !record.ok {
                continue;
            }
            let found = WarcRecord::alone(&pack, super::place(&record));
            let path = &record.url[record.url.rfind('/').unwrap()..];
            assert!(found.payload() == page(path), "{path}");
            urls.push(record.url);
        }
        assert!(!urls.is_empty());
        warcio_checks(&pack, urls.iter().map(String::as_str));
        urls.len()
    }
}

/// Returns the message about the pack, without its name.
fn why(said: &str, name: &str) -> String {
    let about_pack = said.lines().filter(|line| line.contains(name));
    let mut texts = Texts::new();
    texts.hide(name, "PACK");
    texts.add("a full disk", &about_pack.collect::<Vec<_>>().join("\n"));
    texts.to_string()
}

#[test]
fn a_full_disk_ends_the_run_and_the_next_one_goes_on() {
    let server = server();
    let urls = super::urls(&server, 13);
    for name in super::NAMES {
        let Some(left) = Left::of(name, &urls) else {
            return;
        };
        assert_eq!(left.code(1), "3", "{}", left.said(1));
        insta::assert_snapshot!("no_space_left", why(&left.said(1), name));
        let done = left.intact(1);
        assert!((2..13).contains(&done), "{done}");
        assert_eq!(left.code(2), "0", "{}", left.said(2));
        let again = fs::read_to_string(left.out.path().join("2.out")).unwrap();
        let again = records(&again);
        let skipped = again
            .iter()
            .filter(|record| record.outcome == OutcomeName::Skipped);
        assert_eq!(skipped.count(), done);
        assert_eq!(left.intact(2), 13);
    }
}

#[test]
fn a_body_too_large_for_the_disk_leaves_what_was_there() {
    let server = server();
    let mut urls = super::urls(&server, 2);
    urls.push(server.url("/large"));
    let Some(left) = Left::of(super::NAMES[0], &urls) else {
        return;
    };
    for run in [1, 2] {
        assert_eq!(left.code(run), "3", "{}", left.said(run));
        insta::assert_snapshot!("no_space_left", why(&left.said(run), left.name));
        assert_eq!(left.intact(run), 2);
    }
}

#[test]
fn a_redirect_that_does_not_fit_on_the_disk_ends_the_run() {
    let server = Server::http(|request| match path_of(request) {
        "/end" => response("200 OK", &[], b"end"),
        "/2" => response("302 Found", &["Location: /end"], &noise(2, 250_000)),
        "/1" => response("302 Found", &["Location: /2"], &noise(1, 250_000)),
        _ => response("302 Found", &["Location: /1"], &noise(0, 250_000)),
    });
    for name in super::NAMES {
        let Some(left) = Left::of(name, &[server.url("/0")]) else {
            return;
        };
        assert_eq!(left.code(1), "3", "{}", left.said(1));
        insta::assert_snapshot!("no_space_left", why(&left.said(1), name));
        assert_eq!(left.code(2), "0", "{}", left.said(2));
        let hops = Warc::read(&left.out.path().join("2").join(name));
        let hops = hops.of_kind("response");
        let targets = hops.iter().map(|record| record.target().to_owned());
        let expected = ["/0", "/1", "/2", "/end"].map(|path| server.url(path));
        assert_eq!(targets.collect::<Vec<_>>(), expected);
    }
}
