use std::collections::BTreeSet;
use std::fs;

use fetchall::{ContentChange, ErrorKind, Sha256};

use crate::support::{Done, Out, Run, Server, Texts, closed_port, path, response};

/// Sends the path as the body, and three MiB for `/large`.
fn pages() -> Server {
    Server::http(|request| match path(request) {
        "/large" => response("200 OK", &[], &vec![b'x'; 3 << 20]),
        "/gone" => response("404 Not Found", &[], b"no"),
        path => response("200 OK", &[], path.as_bytes()),
    })
}

/// Prepares a check of an output directory. Whatever is on stdin must not be read.
fn verify(out: &Out) -> Run {
    out.run().arg("--verify").stdin("no list\n")
}

fn changes(done: &Done) -> BTreeSet<(String, Option<ContentChange>)> {
    let records = done.records.iter();
    let path = |url: &str| format!("/{}", url.rsplit('/').next().unwrap());
    records
        .map(|record| (path(&record.url), record.change))
        .collect()
}

#[test]
fn what_is_as_the_journal_says_is_good() {
    let out = Out::new();
    {
        let server = pages();
        let urls = ["/a", "/b/c", "/large", "/gone", "/a"].map(|path| server.url(path));
        out.run()
            .args(["--sha256", "--ordered"])
            .urls(urls)
            .expect_exit(1);
    }
    let journal = fs::read(out.journal_path()).unwrap();
    let done = verify(&out).text().expect_exit(0);
    assert_eq!(done.stdout, "");
    assert_eq!(done.stderr, "3 bodies: 3 good, 0 missing, 0 changed\n");
    assert_eq!(fs::read(out.journal_path()).unwrap(), journal);
    let done = verify(&out).text().arg("-q").expect_exit(0);
    assert_eq!(done.stderr, "");
}

/// Damages some of the saved files. Two of them have hashes.
fn damaged() -> Out {
    let out = Out::new();
    let server = pages();
    let url = |path: &str| server.url(path);
    let hashed = out
        .run()
        .args(["--sha256", &url("/hashed"), &url("/same")])
        .expect_exit(0);
    let done = out
        .run()
        .args(["/missing", "/short", "/folder", "/unknown", "/good"].map(url))
        .expect_exit(0);
    // Of the same length: found only where a hash is known.
    fs::write(out.file(hashed.of("/hashed")), "/HASHED").unwrap();
    fs::write(out.file(done.of("/unknown")), "/UNKNOWN").unwrap();
    fs::remove_file(out.file(done.of("/missing"))).unwrap();
    fs::write(out.file(done.of("/short")), "/s").unwrap();
    fs::remove_file(out.file(done.of("/folder"))).unwrap();
    fs::create_dir(out.file(done.of("/folder"))).unwrap();
    fs::write(out.path().join("notes\n.txt"), "mine").unwrap();
    fs::create_dir(out.path().join("own")).unwrap();
    fs::write(out.path().join("own/list"), "").unwrap();
    out
}

#[test]
fn missing_and_changed_files_are_told_and_strange_ones_noted() {
    let out = damaged();
    let done = verify(&out).expect_exit(1);
    let (gone, changed) = (Some(ContentChange::Gone), Some(ContentChange::Changed));
    let expected = [
        ("/missing", gone),
        ("/short", changed),
        ("/hashed", changed),
        ("/folder", changed),
    ];
    let expected = expected.map(|(path, change)| (path.to_owned(), change));
    assert_eq!(changes(&done), BTreeSet::from(expected));
    for record in &done.records {
        let error = record.error.as_ref().unwrap();
        assert_eq!((record.ok, error.kind), (false, ErrorKind::Checksum));
        assert!(record.file.is_some() && record.bytes.is_some());
    }
    let mut texts = Texts::new();
    let file = done.of("/missing").file.as_ref().unwrap();
    texts.hide(file.split('/').next().unwrap(), "HOST");
    for end in ["/missing", "/short", "/hashed", "/folder"] {
        texts.add(end, &done.of(end).error.as_ref().unwrap().message);
    }
    let mut noted: Vec<_> = done.stderr.lines().collect();
    noted.sort_unstable();
    texts.add("stderr", &noted.join("\n"));
    insta::assert_snapshot!("what_verify_has_found", texts);

    let text = verify(&out).text().expect_exit(1);
    let mut lines: Vec<Vec<_>> = text
        .stdout
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    lines.sort_unstable();
    let told: Vec<_> = lines.iter().map(|line| (line[0], line.len())).collect();
    assert_eq!(
        told,
        [
            ("changed", 3),
            ("changed", 3),
            ("changed", 3),
            ("missing", 3)
        ]
    );
    assert!(lines[3][1].ends_with("/missing+"), "{}", lines[3][1]);
}

/// What is told can be removed, and the usual command fetches it again.
#[test]
fn what_was_found_is_fetched_again() {
    let server = pages();
    let out = Out::new();
    let urls = || ["/a", "/b"].map(|path| server.url(path));
    let first = out.run().arg("--sha256").urls(urls()).expect_exit(0);
    fs::write(out.file(first.of("/a")), "/A").unwrap();
    for record in &verify(&out).expect_exit(1).records {
        fs::remove_file(out.file(record)).unwrap();
    }
    assert_eq!(out.run().urls(urls()).expect_exit(0).skipped(), 1);
    assert_eq!(out.body(first.of("/a")), b"/a");
    verify(&out).expect_exit(0);
}

#[test]
fn with_a_list_its_lines_are_checked() {
    let server = pages();
    let out = Out::new();
    let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
    let first = out.run().urls(urls).expect_exit(0);
    fs::remove_file(out.file(first.of("/b"))).unwrap();
    fs::write(out.path().join("strange"), "").unwrap();
    let hash = "0".repeat(64);
    let list = format!(
        "url,sha256,size\n{0}/a,,\n{0}/c,{hash},2\n{0}/never,,\n{0}/a,,3\nnonsense,,\n",
        server.url("")
    );
    let asked = server.requests().len();
    let done = out
        .run()
        .args(["--verify", "--input-format=csv", "-"])
        .stdin(list)
        .expect_exit(1);
    let messages: BTreeSet<_> = done
        .records
        .iter()
        .map(|record| {
            let message = &record.error.as_ref().unwrap().message;
            (
                record.line,
                message.split(" is ").next().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        (3, "content mismatch: sha256"),
        (4, "no run has fetched it"),
        (5, "content mismatch: 2 bytes, expected 3"),
        (
            6,
            "invalid input: missing scheme; URLs start with http:// or https://",
        ),
    ];
    let expected = expected.map(|(line, text)| (line, text.to_owned()));
    assert_eq!(messages, BTreeSet::from(expected));
    assert_eq!(
        done.stderr, "5 bodies: 1 good, 2 missing, 2 changed\n",
        "what is strange to the journal is not asked"
    );
    assert_eq!(server.requests().len(), asked, "no network");
}

/// What `--verify` says is what the next run does, also if the journal is lost: it adopts a file
/// that has the size and the hash of its line.
#[test]
fn a_file_that_the_next_run_would_adopt_is_good() {
    let server = pages();
    let out = Out::new();
    let names = ["a", "b", "c", "d"];
    let hash = |name: &str| Sha256::of(format!("/{name}").as_bytes());
    let rows = names.map(|name| match name {
        "d" => format!("{0}/d,d,2,\n", server.url("")),
        _ => format!("{0}/{name},{name},2,{1}\n", server.url(""), hash(name)),
    });
    let list = format!("url,file,size,sha256\n{}", rows.concat());
    let run = || {
        let run = out.run().args(["--input-format=csv", "-"]);
        run.stdin(list.clone())
    };
    run().expect_exit(0);
    fs::write(out.path().join("b"), "/x").unwrap();
    fs::remove_file(out.path().join("c")).unwrap();
    fs::remove_file(out.journal_path()).unwrap();
    let done = run().arg("--verify").expect_exit(1);
    let found: Vec<_> = done
        .records
        .iter()
        .map(|record| {
            let error = record.error.as_ref().unwrap();
            (
                record.file.clone().unwrap(),
                record.change.unwrap(),
                error.message.contains("no run"),
            )
        })
        .collect();
    let found: BTreeSet<_> = found
        .iter()
        .map(|(file, change, by_run)| (file.as_str(), change.as_str(), *by_run))
        .collect();
    let expected = [
        ("b", "changed", false),
        ("c", "gone", true),
        ("d", "gone", true),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    assert_eq!(done.stderr, "4 bodies: 1 good, 2 missing, 1 changed\n");
    assert!(!out.journal_path().exists());
    let next = run().expect_exit(0);
    assert_eq!(
        next.records.iter().filter(|record| record.adopted).count(),
        1
    );
    // Its journal knows the file of another URL.
    fs::write(out.path().join("b"), "/b").unwrap();
    let other = list.replace("/b,b", "/b?new,b");
    let verify = out.run().args(["--verify", "--input-format=csv", "-"]);
    verify.stdin(other).expect_exit(0);
}

/// The bytes behind the link are those of another URL, though of the same length.
#[cfg(unix)]
#[test]
fn a_file_behind_a_link_to_a_folder_is_neither_done_nor_good() {
    let server = pages();
    let out = Out::new();
    let fetch = |path: &str, file: &str| {
        let line = format!("{{\"url\":\"{}\",\"file\":\"{file}\"}}\n", server.url(path));
        out.run().arg("--input-format=jsonl").stdin(line)
    };
    fetch("/a", "one/x").expect_exit(0);
    fs::rename(out.path().join("one"), out.path().join("two")).unwrap();
    std::os::unix::fs::symlink("two", out.path().join("one")).unwrap();
    fetch("/b", "two/x").expect_exit(0);
    let done = verify(&out).expect_exit(1);
    let error = done.of("/a").error.as_ref().unwrap();
    let said = "one is a symbolic link; replace it with a directory";
    assert!(error.message.ends_with(said), "{}", error.message);
    assert_eq!(done.records.len(), 1);
    let done = fetch("/a", "one/x").expect_exit(1);
    assert_eq!(done.failure().0, ErrorKind::Save);
    assert_eq!(fs::read(out.path().join("two/x")).unwrap(), b"/b");
}

/// The later line wrote the file, so its record counts.
#[test]
fn a_file_is_compared_with_the_record_that_wrote_it_last() {
    let server = pages();
    let out = Out::new();
    for path in ["/first", "/second-one"] {
        let line = format!("{{\"url\":\"{}\",\"file\":\"x\"}}\n", server.url(path));
        let run = out.run().args(["--input-format=jsonl"]).stdin(line);
        run.expect_exit(0);
    }
    let done = verify(&out).expect_exit(0);
    assert_eq!(done.stderr, "1 body: 1 good, 0 missing, 0 changed\n");
}

#[test]
fn a_pack_is_checked_record_by_record() {
    for name in ["a.warc", "a.warc.gz"] {
        let server = pages();
        let out = Out::new();
        let pack = out.beside(name);
        let run = || Run::new().args(["--pack", pack.to_str().unwrap()]);
        let urls = ["/a", "/large", "/last"].map(|path| server.url(path));
        let done = run().arg("-j1").args(urls).expect_exit(0);
        let verify = || run().arg("--verify");
        let text = verify().text().expect_exit(0);
        assert_eq!(text.stderr, "3 responses: 3 good, 0 missing, 0 changed\n");

        let mut bytes = fs::read(&pack).unwrap();
        let place = done.of("/large").pack.unwrap();
        // Near the end of the body, or of its compressed form.
        let at = usize::try_from(place.end()).unwrap() - 20;
        bytes[at] ^= 1;
        let last = usize::try_from(done.of("/last").pack.unwrap().end()).unwrap();
        bytes.truncate(last - 1);
        fs::write(&pack, &bytes).unwrap();
        let found = changes(&verify().expect_exit(1));
        let expected = [
            ("/large".to_owned(), Some(ContentChange::Changed)),
            ("/last".to_owned(), Some(ContentChange::Gone)),
        ];
        assert_eq!(found, BTreeSet::from(expected), "{name}");
        assert_eq!(fs::read(&pack).unwrap(), bytes, "nothing is changed");
    }
}

#[test]
fn without_a_journal_there_is_nothing_to_check() {
    let out = Out::new();
    let mut texts = Texts::new();
    texts.hide(out.beside("").display(), "DIR/");
    let beside = |name: &str| out.beside(name).to_str().unwrap().to_owned();
    for (option, name) in [
        ("-o", "out"),
        ("--pack", "a.warc"),
        ("--journal", "done.jsonl"),
    ] {
        let run = Run::new().text().args(["--verify", option, &beside(name)]);
        let done = run.expect_exit(2);
        assert_eq!(done.stdout, "");
        texts.add(option, &done.stderr);
        assert!(!out.beside(name).exists(), "nothing is created");
    }
    let done = Run::new().text().arg("--verify").expect_exit(2);
    texts.add("alone", &done.stderr);
    insta::assert_snapshot!("nothing_to_verify", texts);
}

#[test]
fn a_journal_alone_tells_what_was_fetched() {
    let server = pages();
    let out = Out::new();
    let journal = out.beside("done.jsonl");
    let run = || Run::new().args(["--journal", journal.to_str().unwrap()]);
    run().arg(server.url("/a")).expect_exit(0);
    let done = run().text().arg("--verify").expect_exit(0);
    assert_eq!(done.stderr, "0 bodies: 0 good, 0 missing, 0 changed\n");
    let both = [server.url("/a"), server.url("/b")];
    let done = run().arg("--verify").args(both).expect_exit(1);
    assert!(done.record().url.ends_with("/b"), "{}", done.stdout);
    assert_eq!(
        done.stderr,
        "2 URLs: 1 in the journal, 1 missing, 0 changed\n"
    );
}

#[test]
fn a_line_that_contradicts_a_journal_alone_is_changed() {
    let server = pages();
    let out = Out::new();
    let journal = out.beside("done.jsonl");
    let run = || Run::new().args(["--journal", journal.to_str().unwrap()]);
    let urls = ["/size", "/hash", "/same"].map(|path| server.url(path));
    run().arg("--sha256").args(urls).expect_exit(0);
    let (other, same) = ("0".repeat(64), fetchall::Sha256::of(b"/same"));
    let list = format!(
        "url,size,sha256,md5\n{0}/size,6,,\n{0}/hash,5,{other},\n{0}/same,5,{same},{1}\n",
        server.url(""),
        "0".repeat(32)
    );
    let run = run().args(["--verify", "--input-format=csv", "-"]);
    let done = run.stdin(list).expect_exit(1);
    let changed = ["/size", "/hash"].map(|path| (path.to_owned(), Some(ContentChange::Changed)));
    assert_eq!(changes(&done), BTreeSet::from(changed));
    assert_eq!(
        done.stderr,
        "3 URLs: 1 in the journal, 0 missing, 2 changed\n"
    );
}

/// It has no run whose outcome they could tell.
#[test]
fn what_a_run_writes_at_its_end_is_not_for_verify() {
    let out = Out::new();
    out.run().stdin("").expect_exit(0);
    let file = out.beside("file").to_str().unwrap().to_owned();
    for option in [
        ["--summary-json", &file],
        ["--report", &file],
        ["--failed", &file],
        ["--cookie-jar", &file],
        ["--email-to", "me@a.test"],
        ["--notify-cmd", "true"],
        ["--notify-url", "http://127.0.0.1:1/"],
    ] {
        let done = verify(&out).text().args(option).expect_exit(2);
        assert!(
            done.stderr.contains("cannot be used with"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_directory_in_use_is_not_checked() {
    let out = Out::new();
    let server = pages();
    out.run().arg(server.url("/a")).expect_exit(0);
    let journal = fs::File::open(out.journal_path()).unwrap();
    journal.lock().unwrap();
    let done = verify(&out).text().expect_exit(3);
    assert!(done.stderr.contains("in use"), "{}", done.stderr);
}

#[test]
fn nothing_is_sent_and_thousands_of_files_are_counted() {
    const FILES: usize = 3000;
    let out = Out::new();
    let port = closed_port();
    let mut journal = String::new();
    fs::create_dir_all(out.path().join("d")).unwrap();
    for n in 0..FILES {
        let file = format!("d/{n}");
        fs::write(out.path().join(&file), "x").unwrap();
        let bytes = if n % 1000 == 0 { 2 } else { 1 };
        journal.push_str(&format!(
            "{{\"line\":1,\"input\":\"-\",\"url\":\"http://{port}/{n}\",\"ok\":true,\"outcome\":\"fetched\",\
             \"attempts\":1,\"redirects\":0,\"bytes\":{bytes},\"file\":\"{file}\",\"at\":\"\"}}\n"
        ));
    }
    journal.push_str("{\"line\":1,\"torn");
    fs::write(out.journal_path(), &journal).unwrap();
    let done = verify(&out).expect_exit(1);
    assert_eq!(done.records.len(), 3);
    let (warning, counts) = done.stderr.split_once('\n').unwrap();
    assert!(
        warning.contains("ignored an incomplete last line"),
        "{warning}"
    );
    assert_eq!(counts, "3000 bodies: 2997 good, 0 missing, 3 changed\n");
    let journal_now = fs::read_to_string(out.journal_path()).unwrap();
    assert_eq!(journal_now, journal, "a torn line stays");
}

/// Prepares a check by a user that must not read what has no permissions. `None` if the tests run as
/// root and that user cannot start the program.
#[cfg(unix)]
fn as_nobody(out: &Out, args: &[&str]) -> Option<std::process::Output> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let mut command = crate::support::binary();
    if nix::unistd::Uid::effective().is_root() {
        command.uid(65534).gid(65534);
    }
    let dir = out.beside("");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let output = command.arg("--verify").args(args).output();
    output
        .inspect_err(|error| println!("skipped: {error}"))
        .ok()
}

#[cfg(unix)]
fn forbid(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_says_why() {
    let server = pages();
    let out = Out::new();
    let urls = ["/a", "/b"].map(|path| server.url(path));
    let done = out.run().urls(&urls).expect_exit(0);
    forbid(&out.file(done.of("/a")));
    let Some(output) = as_nobody(&out, &["-o", out.path().to_str().unwrap()]) else {
        return;
    };
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stdout.starts_with("changed\t"), "{stdout}");
    assert!(
        stdout.contains("cannot be read: Permission denied"),
        "{stdout}"
    );
    assert_eq!(stderr, "2 bodies: 1 good, 0 missing, 1 changed\n");

    let pack = out.beside("a.warc");
    let pack_name = pack.to_str().unwrap();
    Run::new()
        .args(["--pack", pack_name])
        .urls(&urls)
        .expect_exit(0);
    let before = fs::read(&pack).unwrap();
    forbid(&pack);
    let output = as_nobody(&out, &["--pack", pack_name]).unwrap();
    let stderr = text(output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let why = format!("cannot use the pack {pack_name}: Permission denied");
    assert!(stderr.contains(&why), "{stderr}");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read(&pack).unwrap() == before);
}

#[cfg(unix)]
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
