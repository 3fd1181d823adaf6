use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fetchall::Sha256;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Done, Run, binary};

const PARTS: usize = 4;

fn urls() -> Vec<String> {
    let url = |n: usize| format!("http://h{}.test/{}", n % 12, n % 60);
    (0..120).map(url).collect()
}

fn split(list: &Path, into: &Path) -> Run {
    let into = into.to_str().unwrap();
    Run::new()
        .text()
        .args(["--split", "4", "--into", into, list.to_str().unwrap()])
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn description(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("split.json")).unwrap()).unwrap()
}

/// Returns the URLs of a list, by a dry run of it.
fn listed(list: &Path, args: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let done: Done = Run::new()
        .text()
        .args(["--dry-run", "-o", dir.path().join("x").to_str().unwrap()])
        .arg(list.to_str().unwrap())
        .args(args.iter().copied())
        .go();
    let url = |line: &str| line.split('\t').nth(1).unwrap().to_owned();
    done.stdout.lines().map(url).collect()
}

#[test]
fn there_is_a_part_for_each_shard_in_the_format_and_compression_of_the_list() {
    let urls = urls();
    let text = urls.join("\n");
    let csv = format!("id,url\n1,{}\n", urls.join("\n1,"));
    let json: Vec<_> = urls
        .iter()
        .map(|url| format!("{{\"size\":4,\"url\":\"{url}\"}}"))
        .collect();
    let sitemap: Vec<_> = urls
        .iter()
        .map(|url| format!("<url><loc>{url}?a=1&amp;b=2</loc><lastmod>2026-01-01</lastmod></url>"))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("txt", text),
        ("csv", csv.clone()),
        ("tsv", csv.replace(',', "\t")),
        ("jsonl", json.join("\n")),
        ("xml", format!("<urlset>{}</urlset>", sitemap.concat())),
    ] {
        for packed in ["", ".gz", ".zst"] {
            let name = format!("{name}{packed}");
            let list = dir.path().join(format!("list.{name}"));
            let content = content.as_bytes();
            let content = match packed {
                ".gz" => gzip(content),
                ".zst" => zstd::encode_all(content, 1).unwrap(),
                _ => content.to_vec(),
            };
            std::fs::write(&list, &content).unwrap();
            let into = dir.path().join(format!("parts-{name}"));
            let done = split(&list, &into).expect_exit(0);
            assert_eq!(done.stdout, "");
            let mut expected: BTreeSet<_> =
                (0..PARTS).map(|n| format!("part-{n:05}.{name}")).collect();
            expected.insert("split.json".to_owned());
            assert_eq!(names(&into), expected);
            for n in 0..PARTS {
                let part = into.join(format!("part-{n:05}.{name}"));
                let shard = format!("--shard={n}/4");
                assert_eq!(listed(&part, &[]), listed(&list, &[&shard]), "{name}");
            }
            let description = description(&into);
            assert_eq!(description["lines"], 120);
            assert_eq!(description["inputs"][0]["bytes"], content.len());
            let hash = Sha256::of(&content).to_string();
            assert_eq!(description["inputs"][0]["sha256"], hash);
        }
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), fast);
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

#[test]
fn parts_are_described_and_empty_ones_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.csv.gz");
    let rows = "http://a.test/1\nhttp://a.test/2\n\"open\n";
    std::fs::write(&list, gzip(format!("url\n{rows}").as_bytes())).unwrap();
    let into = dir.path().join("parts");
    let done = split(&list, &into).expect_exit(0);
    let mut shown = description(&into);
    let parts = shown["parts"].as_array_mut().unwrap();
    for part in parts.iter_mut() {
        let path = into.join(part["file"].as_str().unwrap());
        assert_eq!(part["bytes"], std::fs::metadata(&path).unwrap().len());
        part["bytes"] = "of the file".into();
        assert!(listed(&path, &[]).len() <= 2);
    }
    shown["inputs"][0]["input"] = "list.csv.gz".into();
    shown["inputs"][0]["bytes"] = "of the file".into();
    shown["inputs"][0]["sha256"] = "of the file".into();
    let dir = dir.path().to_str().unwrap();
    let page = format!(
        "{}\n\n{}",
        serde_json::to_string_pretty(&shown).unwrap(),
        done.stderr.replace(dir, "DIR")
    );
    insta::assert_snapshot!("description", page);
}

#[test]
fn only_their_owner_can_read_parts_with_passwords() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, "http://me:s3cret@a.test/\n").unwrap();
    let into = dir.path().join("parts");
    let done = split(&list, &into).expect_exit(0);
    let mut parts = String::new();
    for n in 0..PARTS {
        let part = into.join(format!("part-{n:05}.txt"));
        let mode = std::fs::metadata(&part).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        parts += &std::fs::read_to_string(part).unwrap();
    }
    assert_eq!(parts, "http://me:s3cret@a.test/\n");
    let said = done.stderr + &description(&into).to_string();
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn an_empty_list_has_empty_parts() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, "# nothing\n").unwrap();
    let into = dir.path().join("parts");
    split(&list, &into).expect_exit(0);
    assert_eq!(names(&into).len(), PARTS + 1);
}

#[test]
fn many_parts_have_names_of_one_length() {
    let into = tempfile::tempdir().unwrap();
    let into = into.path().join("parts");
    Run::new()
        .text()
        .urls(urls())
        .open_files(40)
        .args(["--split", "300", "--into", into.to_str().unwrap()])
        .expect_exit(0);
    let names = names(&into);
    assert_eq!(names.len(), 301);
    assert!(names.contains("part-00299.txt"), "{names:?}");
}

#[test]
fn another_split_is_never_mixed_with_the_one_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, urls().join("\n")).unwrap();
    let into = dir.path().join("parts");
    split(&list, &into).expect_exit(0);
    let before = std::fs::read(into.join("part-00000.txt")).unwrap();
    let refused = split(&list, &into).expect_exit(2);
    let stderr = refused.stderr.replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!("occupied", stderr);
    assert_eq!(std::fs::read(into.join("part-00000.txt")).unwrap(), before);
    // What a killed one left is no split.
    std::fs::remove_file(into.join("split.json")).unwrap();
    std::fs::create_dir(into.join(".split")).unwrap();
    std::fs::write(into.join(".split/lock"), "").unwrap();
    std::fs::write(into.join(".split/part-00003.txt"), "http://old.test/\n").unwrap();
    std::fs::write(into.join("part-00099.txt"), "http://old.test/\n").unwrap();
    split(&list, &into).expect_exit(0);
    assert_eq!(names(&into).len(), PARTS + 1);
    assert_eq!(std::fs::read(into.join("part-00000.txt")).unwrap(), before);
}

#[test]
fn a_list_that_cannot_be_read_leaves_no_parts() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.txt.gz");
    let mut packed = gzip(urls().join("\n").as_bytes());
    packed.truncate(packed.len() - 4);
    std::fs::write(&cut, packed).unwrap();
    let index = dir.path().join("index.xml");
    let sitemap = "<sitemapindex><sitemap><loc>http://a.test/s.xml</loc></sitemap></sitemapindex>";
    std::fs::write(&index, sitemap).unwrap();
    let (one, other) = (dir.path().join("one.csv"), dir.path().join("other.csv"));
    std::fs::write(&one, "url\nhttp://a.test/\n").unwrap();
    std::fs::write(&other, "url,id\nhttp://a.test/,1\n").unwrap();
    let into = dir.path().join("parts");
    let mut page = Vec::new();
    for lists in [vec![&cut], vec![&index], vec![&one, &other]] {
        let mut run = split(lists[0], &into);
        if let Some(second) = lists.get(1) {
            run = run.arg(second.to_str().unwrap());
        }
        page.push(run.expect_exit(2).stderr);
        assert!(!into.exists() || names(&into).is_empty());
    }
    let args = ["--split=2", "--into", into.to_str().unwrap()];
    page.push(
        Run::new()
            .text()
            .args(args)
            .arg("http://a.test/")
            .expect_exit(2)
            .stderr,
    );
    page.push(split(&one, &list_as_dir(&one)).expect_exit(3).stderr);
    let page = page.join("\n").replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!("unreadable", page);
}

/// A directory that cannot be one.
fn list_as_dir(list: &Path) -> std::path::PathBuf {
    list.join("parts")
}

#[test]
fn lists_of_one_format_are_split_together() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one.csv"), dir.path().join("other.csv"));
    std::fs::write(&one, "url\nhttp://a.test/1\n").unwrap();
    std::fs::write(&other, "url\nhttp://a.test/2\n").unwrap();
    let into = dir.path().join("parts");
    split(&one, &into)
        .arg(other.to_str().unwrap())
        .expect_exit(0);
    let description = description(&into);
    assert_eq!(description["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(description["lines"], 2);
}

/// The list never ends: the signal comes while parts are written.
#[test]
fn an_interrupted_split_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("parts");
    let mut child = binary()
        .args(["--split", "4", "--into", into.to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = urls().join("\n") + "\n";
    let feeding = std::thread::spawn(move || while stdin.write_all(lines.as_bytes()).is_ok() {});
    let has_part = || into.join(".split/part-00000.txt").exists();
    while !has_part() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    feeding.join().unwrap();
    assert_eq!(names(&into), BTreeSet::new());
}

/// What is behind a link, or in a directory of somebody else, is not removed.
#[test]
fn only_what_a_killed_run_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, "http://a.test/\n").unwrap();
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("part-00000.txt"), "mine").unwrap();
    let into = dir.path().join("parts");
    std::fs::create_dir(&into).unwrap();
    std::os::unix::fs::symlink(&own, into.join(".split")).unwrap();
    split(&list, &into).expect_exit(2);
    std::fs::remove_file(into.join(".split")).unwrap();
    std::fs::rename(&own, into.join(".split")).unwrap();
    split(&list, &into).expect_exit(2);
    let kept = std::fs::read_to_string(into.join(".split/part-00000.txt")).unwrap();
    assert_eq!(kept, "mine");
}

/// Whoever may write to the directory could otherwise empty a file of the user's, or hold the run up.
#[test]
fn a_lock_that_is_a_link_or_a_pipe_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (list, victim) = (dir.path().join("list"), dir.path().join("victim"));
    std::fs::write(&list, "http://a.test/\n").unwrap();
    std::fs::write(&victim, "mine").unwrap();
    for is_link in [true, false] {
        let into = dir.path().join(format!("parts-{is_link}"));
        let unfinished = into.join(".split");
        std::fs::create_dir_all(&unfinished).unwrap();
        let lock = unfinished.join("lock");
        if is_link {
            std::os::unix::fs::symlink(&victim, lock).unwrap();
        } else {
            let status = std::process::Command::new("mkfifo").arg(lock).status();
            assert!(status.unwrap().success());
        }
        let done = split(&list, &into).expect_exit(2);
        assert!(done.stderr.contains("parts-"), "{}", done.stderr);
    }
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "mine");
}
