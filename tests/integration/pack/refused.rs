use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use super::{NAMES, Packing, noise, pages, path_of, urls};
use crate::support::{Run, Server, Texts, binary, closed_port, response};

/// Checks that the file is unchanged, and that the message matches this snapshot.
fn refused(pack: &Path, args: &[&str], why: &str) {
    refused_with(3, pack, args, why);
}

fn refused_with(code: i32, pack: &Path, args: &[&str], why: &str) {
    let url = format!("http://{}/", closed_port());
    let pack = pack.to_str().unwrap();
    let done = Run::new()
        .args(["--pack", pack])
        .args(args.iter().copied())
        .urls([url])
        .expect_exit(code);
    assert!(done.stderr.contains(pack), "{}", done.stderr);
    let mut texts = Texts::new();
    texts.hide(pack, "PACK");
    texts.add(args.first().unwrap_or(&"--pack"), &done.stderr);
    insta::assert_snapshot!(why, texts);
    assert_eq!(done.stdout, "");
}

#[test]
fn a_pack_without_its_journal() {
    let server = pages();
    for name in NAMES {
        let packing = Packing::of(name, &urls(&server, 3));
        fs::remove_file(packing.journal()).unwrap();
        let before = packing.bytes();
        refused(&packing.path(), &[], "pack_without_its_journal");
        assert!(packing.bytes() == before);
        assert_eq!(packing.files(), [name], "no journal was begun");
        refused(
            &packing.path(),
            &["--verify"],
            "verified_without_its_journal",
        );
    }
}

#[test]
fn a_pack_with_the_journal_of_another() {
    let server = Server::http(|request| match path_of(request) {
        "/long" => response("200 OK", &[], &noise(1, 3000)),
        _ => response("200 OK", &[], &noise(2, 1000)),
    });
    for name in NAMES {
        let packing = Packing::of(name, &[server.url("/long")]);
        // The other pack has no record that ends at this offset.
        let other = Packing::of(name, &[server.url("/short")]);
        fs::copy(other.journal(), packing.journal()).unwrap();
        let before = packing.bytes();
        refused_added(&packing, 0);
        assert!(packing.bytes() == before);
    }
}

/// Checks that a pack is refused whose journal ends somewhere before its last bytes, and that cutting
/// these off, as the message says, helps if there are this many.
fn refused_added(packing: &Packing, added: usize) {
    let run = || packing.run().arg(format!("http://{}/", closed_port()));
    let done = run().arg("--retries=0").expect_exit(3);
    let ends = packing.journaled();
    let ends = ends.iter().map(|record| super::place(record).end());
    let end = ends.max().unwrap();
    let length = packing.bytes().len() as u64;
    let mut texts = Texts::new();
    texts.hide(packing.path().display(), "PACK");
    texts.hide(format!("the {} bytes", length - end), "the MORE bytes");
    texts.hide(format!("-c {}", length - end), "-c MORE");
    texts.hide(format!("byte {end} on"), "byte END on");
    texts.hide(format!("-s {end}"), "-s END");
    texts.add("--pack", &done.stderr);
    insta::assert_snapshot!("more_than_its_journal_knows", texts);
    if added > 0 {
        assert_eq!(length - end, added as u64);
    }
}

#[test]
fn a_file_of_somebody_else() {
    for name in NAMES {
        let packing = Packing::new(name);
        fs::write(packing.path(), "my notes").unwrap();
        refused(&packing.path(), &[], "pack_without_its_journal");
        fs::write(packing.journal(), "").unwrap();
        refused(&packing.path(), &[], "pack_without_its_journal");
        assert_eq!(packing.bytes(), b"my notes");
        fs::write(packing.journal(), "more notes").unwrap();
        refused(&packing.path(), &[], "journal_of_something_else");
        assert_eq!(fs::read(packing.journal()).unwrap(), b"more notes");
        assert_eq!(packing.bytes(), b"my notes");
    }
}

#[test]
fn a_pack_whose_journal_was_emptied() {
    let server = pages();
    for name in NAMES {
        let packing = Packing::of(name, &urls(&server, 3));
        let before = packing.bytes();
        for emptied in ["", "\n", "\n\n"] {
            fs::write(packing.journal(), emptied).unwrap();
            refused(&packing.path(), &[], "pack_without_its_journal");
            assert!(packing.bytes() == before);
        }
    }
}

#[test]
fn a_pack_that_somebody_else_has_added_to() {
    let server = pages();
    for name in NAMES {
        let packing = Packing::of(name, &urls(&server, 3));
        packing.run().urls(urls(&server, 4)).expect_exit(0);
        let other = Packing::of(name, &urls(&server, 2)).bytes();
        let own = packing.bytes();
        let resource = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n";
        let torn = &other[..600];
        for more in [b"more notes", &[0; 4096][..], &other, &own, resource, torn] {
            let added = [&own, more].concat();
            fs::write(packing.path(), &added).unwrap();
            refused_added(&packing, more.len());
            assert!(packing.bytes() == added);
            let done = packing.run().arg("--verify").expect_exit(0);
            assert!(done.stderr.contains("1 strange"), "{}", done.stderr);
        }
        fs::write(packing.path(), &own).unwrap();
        packing.run().urls(urls(&server, 5)).expect_exit(0);
    }
}

#[test]
fn a_folder_and_a_pipe() {
    let packing = Packing::new(NAMES[0]);
    fs::create_dir(packing.path()).unwrap();
    refused(&packing.path(), &[], "no_regular_file");
    fs::remove_dir(packing.path()).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, packing.path(), fifo, 0o600.into(), 0).unwrap();
    refused(&packing.path(), &[], "no_regular_file");
    assert_eq!(packing.files(), [NAMES[0]]);
}

#[test]
fn a_name_that_does_not_say_what_it_is() {
    for name in ["pages.zip", "pages", "pages.warc.zst"] {
        let packing = Packing::new(name);
        refused_with(2, &packing.path(), &[], "name_of_no_pack");
        fs::write(packing.path(), "mine").unwrap();
        refused_with(2, &packing.path(), &[], "name_of_no_pack");
        assert_eq!(packing.bytes(), b"mine");
        assert_eq!(packing.files(), [name]);
    }
}

#[test]
fn a_folder_that_is_not_there() {
    let packing = Packing::new("none/pages.warc");
    refused(&packing.path(), &[], "no_folder");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_pack_that_another_run_writes() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.hang()
    });
    let packing = Packing::new(NAMES[0]);
    let mut command = binary();
    command
        .arg("--pack")
        .arg(packing.path())
        .arg(server.url("/"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    while server.requests().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    refused(&packing.path(), &[], "journal_in_use");
    let other = packing.dir.path().join("other.jsonl");
    let other = ["--journal", other.to_str().unwrap()];
    refused(&packing.path(), &other, "pack_in_use");
    assert_eq!(packing.bytes(), b"");
}
