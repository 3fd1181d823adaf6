use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fetchall::ErrorKind;

use crate::support::{Out, Run, Server, binary, entry, pages, placeholders, records, response};

#[test]
fn a_folder_that_can_not_be_one_is_an_error_before_anything_is_fetched() {
    let server = pages();
    let out = Out::new();
    fs::write(out.beside("file"), "mine").unwrap();
    let in_the_way = out.beside("file");
    // The only place where root cannot write.
    let no_place = Path::new("/proc/self/out").to_owned();
    let mut page = String::new();
    for (dir, code) in [
        (in_the_way.clone(), 2),
        (in_the_way.join("below"), 2),
        (no_place, 3),
    ] {
        let dir = dir.to_str().unwrap();
        let done = Run::new()
            .args(["-o", dir, &server.url("/a")])
            .expect_exit(code);
        assert!(done.stderr.contains(dir), "{}", done.stderr);
        entry(&mut page, dir, &done.stderr);
    }
    insta::assert_snapshot!("no_places_for_files", placeholders(&page, &[]));
    assert_eq!(fs::read_to_string(in_the_way).unwrap(), "mine");
    assert_eq!(server.requests().len(), 0);
}

/// Returns the directory of the host in a run's output, and removes its contents.
fn without_its_folder(out: &Out, url: &str) -> std::path::PathBuf {
    let done = out.run().arg(url).expect_exit(0);
    let file = done.record().file.clone().unwrap();
    let top = out.path().join(file.split('/').next().unwrap());
    fs::remove_dir_all(&top).unwrap();
    fs::remove_file(out.journal_path()).unwrap();
    top
}

#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let server = pages();
    let out = Out::new();
    let top = without_its_folder(&out, &server.url("/a"));
    let elsewhere = out.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for target in [elsewhere.as_path(), Path::new("../elsewhere")] {
        symlink(target, &top).unwrap();
        let done = out.run().arg(server.url("/a")).expect_exit(1);
        assert_eq!(done.failure().0, ErrorKind::Save);
        assert!(
            done.message().contains(top.to_str().unwrap()),
            "{}",
            done.message()
        );
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        assert!(out.unfinished().is_empty());
        fs::remove_file(&top).unwrap();
    }
    out.run().arg(server.url("/a")).expect_exit(0);
}

/// Through a link, one file would have two names, and the second URL would overwrite the first.
#[test]
fn a_link_to_another_folder_is_not_followed() {
    let server = pages();
    let out = Out::new();
    fs::create_dir_all(out.path().join("real")).unwrap();
    symlink("real", out.path().join("alias")).unwrap();
    let line = |file: &str, path: &str| {
        let url = server.url(path);
        format!(r#"{{"url":"{url}","file":"{file}"}}"#)
    };
    let list = [
        line("real/x", "/a"),
        line("alias/x", "/b"),
        line("alias/new/x", "/c"),
    ];
    for refresh in [&[][..], &["--refresh"], &[]] {
        let run = out.run().args(["--input-format=jsonl", "--ordered"]);
        let done = run.args(refresh.iter().copied()).stdin(list.join("\n"));
        let done = done.expect_exit(1);
        for (record, file) in done.records.iter().skip(1).zip(["alias/x", "alias/new/x"]) {
            let error = record.error.as_ref().unwrap();
            assert_eq!(error.kind, ErrorKind::Save);
            let shown = placeholders(&error.message.replace(file, "FILE"), &[]);
            insta::assert_snapshot!("a_folder_that_is_a_link", shown);
        }
        assert_eq!(fs::read(out.path().join("real/x")).unwrap(), b"/a");
        assert_eq!(fs::read_dir(out.path().join("real")).unwrap().count(), 1);
        assert!(out.unfinished().is_empty());
    }
}

#[test]
fn a_file_where_a_folder_should_be_fails_only_that_url() {
    let server = pages();
    let out = Out::new();
    let done = out.run().urls([server.url("/a"), server.url("/a/b")]).go();
    // Only one of the two can be saved: a name is either a file or a directory.
    if done.code == Some(1) {
        let failed = done.records.iter().find(|record| !record.ok).unwrap();
        assert_eq!(failed.error.as_ref().unwrap().kind, ErrorKind::Save);
    }
    assert!(done.records.iter().any(|record| record.ok));
    assert!(out.unfinished().is_empty());
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_what_it_led_to_stays() {
    let server = pages();
    let out = Out::new();
    let first = out.run().arg(server.url("/a")).expect_exit(0);
    let file = out.file(first.record());
    fs::write(out.beside("mine"), "mine").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(out.beside("mine"), &file).unwrap();
    let second = out.run().arg(server.url("/a")).expect_exit(0);
    assert_eq!(out.body(second.record()), b"/a");
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(out.beside("mine")).unwrap(), "mine");
}

#[test]
fn a_journal_or_folder_of_ours_that_leads_out_is_an_error_of_the_run() {
    let server = pages();
    for name in ["fetchall.jsonl", ".fetchall", ".fetchall/lock"] {
        let out = Out::new();
        let elsewhere = out.beside("elsewhere");
        let link = out.path().join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&elsewhere, &link).unwrap();
        let done = out.run().arg(server.url("/a")).expect_exit(3);
        assert!(
            done.stderr.contains(link.to_str().unwrap()),
            "{}",
            done.stderr
        );
        assert!(!elsewhere.exists(), "{name}: nothing is written there");
    }
    assert_eq!(server.requests().len(), 0);
}

/// Runs onto a disk that is too small, and again with more space.
const FULL_DISK: &str = r#"
    mount -t tmpfs -o size=1m none "$DISK" || exit 77
    "$@"
    echo $? > "$DISK.first.code"
    cp -r "$DISK" "$DISK.first"
    mount -o remount,size=64m none "$DISK" || exit 77
    "$@"
    echo $? > "$DISK.second.code"
    cp -r "$DISK" "$DISK.second"
"#;

/// Returns all files below a directory, except fetchall's own.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            ".fetchall" | "fetchall.jsonl" => {}
            _ if path.is_dir() => found.extend(files(&path)),
            _ => found.push(path),
        }
    }
    found
}

/// Runs the script with these URLs in a namespace that allows mounts. Returns the output of both
/// runs, or `None` if such a namespace is not allowed.
fn with_full_disk(out: &Out, urls: &[String]) -> Option<String> {
    fs::create_dir(out.path()).unwrap();
    let mut command = Command::new("unshare");
    let inner = binary();
    for (name, _) in inner.get_envs() {
        command.env_remove(name);
    }
    command.args(["-rm", "sh", "-c", FULL_DISK, "sh"]);
    command
        .arg(inner.get_program())
        .args(["--retry-delay=1ms", "--retries=2", "-o"]);
    command.arg(out.path()).args(urls).env("DISK", out.path());
    let output = command.output().ok()?;
    let stderr = String::from_utf8(output.stderr).unwrap();
    // 1: unshare itself is not allowed.
    if matches!(output.status.code(), Some(1 | 77)) {
        println!("skipped: this machine does not let a test mount a disk: {stderr}");
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    Some(stderr)
}

#[test]
fn a_full_disk_ends_the_run_and_with_more_room_the_same_command_goes_on() {
    // Small bodies, and one that arrives in pieces.
    for size in [40_000, 700_000] {
        let server = Server::http(move |_| response("200 OK", &["ETag: \"a\""], &vec![b'x'; size]));
        let out = Out::new();
        let urls: Vec<_> = (0..60).map(|n| server.url(&format!("/page{n}"))).collect();
        let Some(stderr) = with_full_disk(&out, &urls) else {
            return;
        };
        let beside = |name: &str| out.beside(&format!("out.{name}"));
        let read = |name: &str| fs::read_to_string(beside(name)).unwrap();
        assert_eq!(read("first.code").trim(), "3", "{stderr}");
        assert!(stderr.contains(out.path().to_str().unwrap()), "{stderr}");
        assert!(stderr.to_lowercase().contains("no space left"), "{stderr}");
        let halves = |dir: &Path| {
            files(dir)
                .iter()
                .filter(|file| fs::metadata(file).unwrap().len() != size as u64)
                .count()
        };
        assert_eq!(halves(&beside("first")), 0, "no half file");
        let journal = records(&read("first/fetchall.jsonl"));
        let saved: Vec<_> = journal
            .iter()
            .filter_map(|record| record.file.as_ref())
            .collect();
        assert!(saved.len() < urls.len(), "it was full");
        assert!(saved.iter().all(|file| beside("first").join(file).exists()));
        assert!(
            server.requests().len() < 2 * urls.len(),
            "it did not go on for nothing"
        );

        assert_eq!(read("second.code").trim(), "0", "{stderr}");
        assert_eq!(
            (files(&beside("second")).len(), halves(&beside("second"))),
            (60, 0)
        );
        let journal = records(&read("second/fetchall.jsonl"));
        assert_eq!(
            journal.iter().filter(|record| record.ok).count(),
            urls.len()
        );
        let rests = fs::read_dir(beside("second").join(".fetchall"))
            .unwrap()
            .count();
        assert_eq!(rests, 1, "the lock alone");
    }
}

/// Runs once onto a disk of 1 MiB.
const SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=1m none "$DISK" || exit 77
    exec "$@"
"#;

/// A URL whose record does not fit on the disk is still counted, for files as for packs.
#[test]
fn a_full_disk_counts_the_same_for_files_and_packs() {
    let server = Server::http(|_| response("200 OK", &[], &vec![b'x'; 3 << 20]));
    let urls: Vec<_> = (0..5).map(|n| server.url(&format!("/{n}"))).collect();
    let places = [("-o", "out"), ("--pack", "x.warc"), ("--pack", "x.warc.gz")];
    let runs = ["-j1", "-j4"].map(|requests| places.map(|(option, name)| (requests, option, name)));
    for (requests, option, name) in runs.into_iter().flatten() {
        let disk = tempfile::tempdir().unwrap();
        let summary = tempfile::NamedTempFile::new().unwrap();
        let inner = binary();
        let mut command = Command::new("unshare");
        for (name, _) in inner.get_envs() {
            command.env_remove(name);
        }
        command.args(["-rm", "sh", "-c", SMALL_DISK, "sh"]);
        command.arg(inner.get_program()).args([requests, "--json"]);
        command.arg("--summary-json").arg(summary.path());
        command.arg(option).arg(disk.path().join(name)).args(&urls);
        let Ok(output) = command.env("DISK", disk.path()).output() else {
            return;
        };
        let stderr = String::from_utf8(output.stderr).unwrap();
        if matches!(output.status.code(), Some(1 | 77)) {
            println!("skipped: this machine does not let a test mount a disk: {stderr}");
            return;
        }
        assert_eq!(output.status.code(), Some(3), "{name}: {stderr}");
        let found = records(&String::from_utf8(output.stdout).unwrap());
        let kinds: Vec<_> = found
            .iter()
            .map(|record| record.error.as_ref().unwrap().kind)
            .collect();
        // However many were in flight when a writer noticed.
        assert_eq!(kinds, [ErrorKind::Save], "{name}: {stderr}");
        let summary = fs::read_to_string(summary.path()).unwrap();
        let counts = r#""failed":1,"skipped":0,"left":4,"#;
        for part in [counts, r#""end_reason":"disk","ended_by":"saving failed"#] {
            assert!(summary.contains(part), "{name}: {summary}");
        }
    }
}
