use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use fetchall::{ContentChange, Record};

use super::{NAMES, Packing, noise, path_of, place};
use crate::support::{Done, Server, Texts, Warc, WarcRecord, response, until};

/// A redirect, its target, a failure and two equal pages.
fn site() -> Server {
    Server::http(|request| match path_of(request) {
        "/moved" => response("302 Found", &["Location: /page"], &noise(1, 700)),
        "/missing" => response("404 Not Found", &[], &noise(2, 700)),
        _ => response("200 OK", &[], &noise(3, 700)),
    })
}

/// A pack of all of them, in the order of their journal.
fn packed(name: &'static str) -> (Packing, Vec<Record>) {
    let server = site();
    let packing = Packing::new(name);
    let urls = ["/moved", "/missing", "/again"].map(|path| server.url(path));
    packing.run().arg("-j1").urls(urls).expect_exit(1);
    let records = packing.journaled();
    assert!(
        records[2].pack_end > Some(place(&records[1]).end()),
        "a revisit"
    );
    (packing, records)
}

fn verify(packing: &Packing) -> crate::support::Run {
    packing.run().arg("--verify").stdin("no list\n")
}

/// Returns what was found, by the end of its URL.
fn found(done: &Done) -> Vec<(&str, ContentChange)> {
    let end = |record: &'_ Record| record.url.rfind('/').unwrap();
    let records = done.records.iter();
    let mut found: Vec<_> = records
        .map(|record| (&record.url[end(record)..], record.change.unwrap()))
        .collect();
    found.sort_unstable_by_key(|(path, _)| *path);
    found
}

fn at(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

#[test]
fn every_record_of_a_pack_is_checked() {
    for name in NAMES {
        let (packing, records) = packed(name);
        let whole = packing.bytes();
        let done = verify(&packing).expect_exit(0);
        assert_eq!(done.stderr, "3 responses: 3 good, 0 missing, 0 changed\n");
        let [page, missing] = [&records[0], &records[1]].map(place);
        let revisit_end = records[2].pack_end.unwrap();
        let damages = [
            // The request, and the redirect, which takes up most of what is in front of the page.
            (page.offset - 12, "/moved"),
            (page.offset / 2, "/moved"),
            (page.end() - 12, "/moved"),
            (missing.offset - 12, "/missing"),
            (missing.end() - 12, "/missing"),
        ];
        // Without compression, only blocks have a checksum.
        let heads = [
            (60, "the pack"),
            (page.end() + 60, "/missing"),
            (missing.offset + 200, "/missing"),
            (missing.end() + 60, "/again"),
            (revisit_end - 12, "/again"),
        ];
        let is_gzip = name == "pages.warc.gz";
        let heads = heads.into_iter().filter(|_| is_gzip);
        for (position, url) in damages.into_iter().chain(heads) {
            let mut bytes = whole.clone();
            bytes[at(position)] ^= 1;
            fs::write(packing.path(), &bytes).unwrap();
            let done = verify(&packing).expect_exit(1);
            let url = match url {
                "the pack" => format!("/{name}"),
                url => url.to_owned(),
            };
            let url = url.as_str();
            let mut expected = vec![(url, ContentChange::Changed)];
            // Its body is in the other record.
            if url == "/moved" && position > page.offset {
                expected.insert(0, ("/again", ContentChange::Changed));
            }
            assert_eq!(
                found(&done),
                expected,
                "{name}, {position}: {}",
                done.stdout
            );
            assert!(packing.bytes() == bytes, "nothing is changed");
            // A list names what is its own.
            if let Some(record) = records
                .iter()
                .find(|record| record.url.ends_with(url) && url != "/missing")
            {
                let done = packing
                    .run()
                    .arg("--verify")
                    .arg(&record.url)
                    .expect_exit(1);
                assert_eq!(
                    found(&done),
                    [(url, ContentChange::Changed)],
                    "{name}, {position}"
                );
            }
        }
    }
}

/// A redirect is in the pack before its target is fetched, and in between come other URLs.
#[test]
fn damage_of_a_redirect_among_other_records_is_told_with_its_own_url() {
    for name in NAMES {
        let packing = Packing::new(name);
        let journal = packing.journal();
        let is_asked = AtomicBool::new(false);
        let server = Server::http(move |request| match path_of(request) {
            "/moved" => response("302 Found", &["Location: /further"], &noise(1, 700)),
            "/further" => response("302 Found", &["Location: /slow"], &noise(2, 700)),
            "/slow" => {
                is_asked.store(true, SeqCst);
                let text = || fs::read_to_string(&journal).unwrap();
                until("the other one is in the pack", || text().contains("/other"));
                response("200 OK", &[], &noise(3, 700))
            }
            _ => {
                until("both redirects are in the pack", || is_asked.load(SeqCst));
                response("200 OK", &[], &noise(4, 700))
            }
        });
        let [moved, other] = ["/moved", "/other"].map(|path| server.url(path));
        let run = packing.run().args(["--per-host=2", &moved, &other]);
        run.expect_exit(0);
        let warc = Warc::read(&packing.path());
        let order = warc.of_kind("response").into_iter().map(WarcRecord::target);
        let order: Vec<_> = order.map(|url| &url[url.rfind('/').unwrap()..]).collect();
        assert_eq!(order, ["/moved", "/further", "/other", "/slow"]);

        let whole = packing.bytes();
        // The first record is the pack's own, and each response the last one of three.
        let ends: Vec<_> = ends_of_records(&whole)
            .into_iter()
            .skip(3)
            .step_by(3)
            .collect();
        for (end, url) in ends
            .into_iter()
            .zip(["/moved", "/further", "/other", "/moved"])
        {
            let mut bytes = whole.clone();
            bytes[end - 12] ^= 1;
            fs::write(packing.path(), &bytes).unwrap();
            let expected = [(url, ContentChange::Changed)];
            assert_eq!(found(&verify(&packing).expect_exit(1)), expected, "{name}");
            let listed = packing.run().args(["--verify", &moved, &other]);
            assert_eq!(found(&listed.expect_exit(1)), expected, "{name}");
        }
    }
}

fn ends_of_records(pack: &[u8]) -> Vec<usize> {
    let mut rest = pack;
    let mut ends = Vec::new();
    while !rest.is_empty() {
        if rest.starts_with(b"WARC") {
            let next = memchr::memmem::find(&rest[1..], b"WARC/1.1\r\n");
            rest = &rest[next.map_or(rest.len(), |next| next + 1)..];
        } else {
            let mut member = flate2::bufread::GzDecoder::new(rest);
            std::io::copy(&mut member, &mut std::io::sink()).unwrap();
            rest = member.into_inner();
        }
        ends.push(pack.len() - rest.len());
    }
    ends
}

#[test]
fn damage_of_a_replaced_response_is_told_once_with_its_own_url() {
    let server = site();
    for name in NAMES {
        let packing = Packing::new(name);
        let urls = ["/page", "/page", "/missing"].map(|path| server.url(path));
        packing.run().arg("-j1").urls(urls).expect_exit(1);
        let page = place(&packing.journaled()[0]);
        let whole = packing.bytes();
        for position in [page.offset - 12, page.end() - 12] {
            let mut bytes = whole.clone();
            bytes[at(position)] ^= 1;
            fs::write(packing.path(), &bytes).unwrap();
            let done = verify(&packing).expect_exit(1);
            let expected = [("/page", ContentChange::Changed)];
            assert_eq!(found(&done), expected, "{name}, {position}");
        }
    }
}

#[test]
fn foreign_bytes_between_records_are_told_with_their_position() {
    for name in NAMES {
        let (packing, records) = packed(name);
        let mut bytes = packing.bytes();
        let start = at(place(&records[0]).end());
        bytes[start..start + 10].copy_from_slice(b"more notes");
        fs::write(packing.path(), &bytes).unwrap();
        let done = verify(&packing).expect_exit(1);
        assert_eq!(found(&done), [("/missing", ContentChange::Changed)]);
        let mut texts = Texts::new();
        texts.hide(start, "START");
        texts.add(name, done.message());
        insta::assert_snapshot!(format!("foreign_bytes_in_{name}"), texts);
    }
}

/// Returns what was said about a pack, without its path and numbers of bytes.
fn said(done: &Done, packing: &Packing, numbers: &[(u64, &'static str)]) -> String {
    let mut texts = Texts::new();
    texts.hide(packing.path().display(), "PACK");
    for (number, name) in numbers {
        texts.hide(*number, name);
    }
    texts.add("stderr", &done.stderr);
    texts.to_string()
}

#[test]
fn what_is_behind_the_last_record_is_told() {
    for name in NAMES {
        let (packing, records) = packed(name);
        let whole = packing.bytes();
        let numbers = [(records[2].pack_end.unwrap(), "END")];
        let missing_start = place(&records[0]).end();
        for (more, case) in [
            (&whole[at(missing_start)..][..200], "torn_tail"),
            (b"more notes", "strange_tail"),
        ] {
            let bytes = [&whole, more].concat();
            fs::write(packing.path(), &bytes).unwrap();
            let done = verify(&packing).expect_exit(0);
            assert_eq!(done.stdout, "");
            insta::assert_snapshot!(case, said(&done, &packing, &numbers));
            assert!(packing.bytes() == bytes, "nothing is changed");
        }
    }
}

#[test]
fn a_pack_that_is_missing_or_too_short_misses_each_response() {
    for name in NAMES {
        let (packing, records) = packed(name);
        let whole = packing.bytes();
        fs::write(packing.path(), &whole[..at(place(&records[0]).end())]).unwrap();
        let done = verify(&packing).expect_exit(1);
        let gone = ContentChange::Gone;
        assert_eq!(found(&done), [("/again", gone), ("/missing", gone)]);
        insta::assert_snapshot!("too_short", said(&done, &packing, &[]));

        fs::remove_file(packing.path()).unwrap();
        let done = verify(&packing).expect_exit(1);
        assert_eq!(found(&done).len(), 3);
        insta::assert_snapshot!("gone", said(&done, &packing, &[]));
        assert!(!packing.path().exists());
        let server = site();
        let done = packing.run().arg(server.url("/moved")).expect_exit(0);
        let warning = done.stderr.lines().next().unwrap();
        let shown = warning.replace(packing.path().to_str().unwrap(), "PACK");
        insta::assert_snapshot!("gone_at_the_next_run", shown);
    }
}

#[test]
fn a_torn_journal_is_told() {
    let (packing, _) = packed(NAMES[0]);
    let journal = fs::read_to_string(packing.journal()).unwrap();
    let torn = &journal[..journal.len() - 10];
    fs::write(packing.journal(), torn).unwrap();
    let done = verify(&packing).expect_exit(0);
    // What the torn line was about is behind the last record now.
    assert_eq!(
        done.stderr.matches("was a run killed?").count(),
        2,
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("ignored an incomplete last line"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .ends_with("2 responses: 2 good, 0 missing, 0 changed\n")
    );
    assert_eq!(fs::read_to_string(packing.journal()).unwrap(), torn);
}

#[test]
fn a_pack_that_is_none_cannot_be_checked() {
    let (packing, _) = packed(NAMES[0]);
    fs::remove_file(packing.path()).unwrap();
    fs::create_dir(packing.path()).unwrap();
    let done = verify(&packing).expect_exit(3);
    assert!(
        done.stderr.contains("not a regular file"),
        "{}",
        done.stderr
    );
    assert!(Path::new(&packing.path()).is_dir());
}
