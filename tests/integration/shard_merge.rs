use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fetchall::Record;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Done, Run, Server, binary, path, response};

const SHARDS: u32 = 3;

fn site() -> Server {
    Server::http(|request| match path(request) {
        "/gone" => response("404 Not Found", &[], b"no"),
        path if path.starts_with("/moved") => {
            let target = path.replace("/moved", "Location: /slow");
            response("302 Found", &[&target], b"")
        }
        path if path.starts_with("/slow") => {
            std::thread::sleep(Duration::from_millis(20));
            response("200 OK", &["ETag: \"1\""], path.as_bytes())
        }
        path => response("200 OK", &[], path.as_bytes()),
    })
}

const HOSTS: usize = 12;

/// Returns a URL at one of several hosts, which are all the same server. Its port does not count for
/// its shard.
fn url(site: &Server, number: usize, path: &str) -> String {
    let host = format!("h{}.test", number % HOSTS);
    site.url(path).replace("127.0.0.1", &host)
}

/// Returns the arguments that let the hosts of a list be found.
fn resolve(lines: &[String]) -> Vec<String> {
    let url = lines.iter().find(|line| line.contains("://")).unwrap();
    let port = url.split([':', '/']).nth(4).unwrap();
    let resolve = |n| format!("--resolve=h{n}.test:{port}:127.0.0.1");
    (0..HOSTS).map(resolve).collect()
}

/// Journals of shards.
struct Shards {
    dir: TempDir,
    list: PathBuf,
    resolve: Vec<String>,
}

impl Shards {
    fn new(lines: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.txt");
        std::fs::write(&list, lines.join("\n")).unwrap();
        let resolve = resolve(lines);
        Self { dir, list, resolve }
    }

    fn journal(&self, index: u32) -> PathBuf {
        self.dir.path().join(format!("{index}.jsonl"))
    }

    fn args(&self, index: u32) -> Vec<String> {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut args = vec![
            format!("--shard={index}/{SHARDS}"),
            format!("--journal={}", path(&self.journal(index))),
        ];
        args.extend(self.resolve.iter().cloned());
        args.push(path(&self.list));
        args
    }

    fn fetch_whole(&self) -> Done {
        let list = self.list.to_str().unwrap();
        Run::new().args(&self.resolve).arg(list).go()
    }

    fn fetch(&self, index: u32) -> Done {
        Run::new().args(self.args(index)).args(["--retries=0"]).go()
    }

    fn fetch_all(self) -> Self {
        (0..SHARDS).for_each(|index| drop(self.fetch(index)));
        self
    }

    fn merge(&self, journals: impl IntoIterator<Item = PathBuf>) -> Run {
        let journals = journals.into_iter();
        let journals = journals.map(|path| path.to_str().unwrap().to_owned());
        Run::new().arg("--merge").args(journals)
    }

    fn merge_all(&self) -> Run {
        self.merge((0..SHARDS).map(|index| self.journal(index)))
    }

    fn shown(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }
}

fn lines(site: &Server) -> Vec<String> {
    let mut lines = vec!["# comment".to_owned(), "no url".to_owned()];
    // Some twice.
    lines.extend((0..50).map(|n| url(site, n % 40, &format!("/{}", n % 40))));
    lines.push(url(site, 0, "/gone"));
    lines
}

/// Returns the records by line, without their outcome and times.
fn by_line(records: &[Record]) -> BTreeMap<u64, Value> {
    let plain = |record: &Record| {
        let mut value = serde_json::to_value(record).unwrap();
        let fields = value.as_object_mut().unwrap();
        for name in [
            "outcome",
            "at",
            "started_ms",
            "ttfb_ms",
            "elapsed_ms",
            "total_ms",
        ] {
            fields.remove(name);
        }
        (record.line, value)
    };
    let found: BTreeMap<_, _> = records.iter().map(plain).collect();
    assert_eq!(found.len(), records.len(), "a line is there twice");
    found
}

#[test]
fn shards_together_have_each_line_once_and_the_summary_of_the_whole() {
    let site = site();
    let lines = lines(&site);
    let shards = Shards::new(&lines).fetch_all();
    let whole = shards.fetch_whole();
    let json = shards.dir.path().join("summary.json");
    let done = shards
        .merge_all()
        .args(["--summary-json", json.to_str().unwrap()])
        .expect_exit(1);
    assert_eq!(by_line(&done.records), by_line(&whole.records));
    let summary: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(summary["input"], 52);
    assert_eq!(
        (&summary["fetched"], &summary["failed"]),
        (&50.into(), &2.into())
    );
    assert_eq!(
        (&summary["left"], &summary["list_ended"]),
        (&0.into(), &true.into())
    );
    assert_eq!(summary["by_status"]["404"], 1);
    assert_eq!(summary["exit_code"], 1);
    assert!(
        done.stderr.contains("52 URLs: 50 fetched, 2 failed"),
        "{}",
        done.stderr
    );
    shards.merge_all().arg("--failures-ok").expect_exit(0);
    let quiet = shards
        .merge_all()
        .args(["--failures-ok", "-q"])
        .expect_exit(0);
    assert_eq!((quiet.stderr.as_str(), quiet.records.len()), ("", 52));
}

#[test]
fn what_is_missing_or_there_twice_is_told() {
    let site = site();
    let shards = Shards::new(&lines(&site)).fetch_all();
    let mut page = Vec::new();
    let mut check = |what: &str, run: Run| {
        let done = run.arg("--failures-ok").expect_exit(1);
        let told = done
            .stderr
            .lines()
            .filter(|line| line.starts_with("fetchall:") || line.contains(" URLs: "));
        let told: Vec<_> = told.map(|line| shards.shown(line)).collect();
        page.push(format!(
            "{what}: {} records\n{}",
            done.records.len(),
            told.join("\n")
        ));
    };
    check(
        "without 1",
        shards.merge([shards.journal(0), shards.journal(2)]),
    );
    let all = || (0..SHARDS).map(|index| shards.journal(index));
    let copy = shards.dir.path().join("copy.jsonl");
    std::fs::copy(shards.journal(1), &copy).unwrap();
    check("1 twice", shards.merge(all().chain([copy.clone()])));
    let text = std::fs::read_to_string(shards.journal(1)).unwrap();
    // Without the record after the line of the shard.
    let cut: Vec<_> = text
        .lines()
        .enumerate()
        .filter(|(n, _)| *n != 1)
        .map(|(_, line)| line)
        .collect();
    std::fs::write(&copy, cut.join("\n") + "\n").unwrap();
    let with_copy = || [shards.journal(0), copy.clone(), shards.journal(2)];
    check("a record less in 1", shards.merge(with_copy()));
    let begun: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("list_lines"))
        .collect();
    std::fs::write(&copy, begun.join("\n") + "\n").unwrap();
    check("1 without an end", shards.merge(with_copy()));
    let plain: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("{\"line\""))
        .collect();
    std::fs::write(&copy, plain.join("\n") + "\n").unwrap();
    check("1 without its shard", shards.merge(with_copy()));
    std::fs::write(&copy, text.replace("\"of\":3", "\"of\":4")).unwrap();
    check("1 of four", shards.merge(with_copy()));
    let other = shards.journal(0);
    let other = std::fs::read_to_string(other).unwrap();
    let record = other
        .lines()
        .find(|line| line.starts_with("{\"line\""))
        .unwrap();
    std::fs::write(&copy, format!("{text}{record}\n")).unwrap();
    check("a line of 0 in 1, too", shards.merge(with_copy()));
    std::fs::write(&copy, "http://a.test/\n").unwrap();
    check("a list", shards.merge(with_copy()));
    insta::assert_snapshot!("problems", page.join("\n\n"));
}

#[test]
fn a_journal_that_is_named_twice_is_an_error() {
    let site = site();
    let shards = Shards::new(&lines(&site)).fetch_all();
    let link = shards.dir.path().join("link.jsonl");
    std::fs::hard_link(shards.journal(1), &link).unwrap();
    let twice = shards.merge(
        [0, 1, 2]
            .map(|index| shards.journal(index))
            .into_iter()
            .chain([link]),
    );
    let done = twice.expect_exit(2);
    assert_eq!(
        shards.shown(&done.stderr),
        "fetchall: --merge: DIR/link.jsonl is named twice; name each journal once\n"
    );
}

#[test]
fn what_is_no_journal_is_an_error() {
    let site = site();
    let shards = Shards::new(&lines(&site));
    let missing = shards.merge([shards.journal(7)]).expect_exit(2).stderr;
    let url = Run::new()
        .args(["--merge", "http://a.test/"])
        .expect_exit(2)
        .stderr;
    let none = Run::new().arg("--merge").expect_exit(2).stderr;
    let page = [missing, url, none].join("\n");
    insta::assert_snapshot!("no_journal", shards.shown(&page));
}

#[test]
fn shards_of_different_lists_are_told() {
    let site = site();
    let mut list = lines(&site);
    let shards = Shards::new(&list).fetch_all();
    list.push(url(&site, 1, "/new"));
    std::fs::write(&shards.list, list.join("\n")).unwrap();
    shards.fetch(0);
    let done = shards.merge_all().arg("--failures-ok").expect_exit(1);
    assert!(
        done.stderr.contains("not of the same list"),
        "{}",
        done.stderr
    );
    shards.fetch(1);
    shards.fetch(2);
    let done = shards.merge_all().arg("--failures-ok").expect_exit(0);
    assert_eq!(done.records.len(), 53);
}

/// Records follow the lines when they move: those that were fetched before have new numbers.
#[test]
fn a_list_with_a_line_more_in_front_has_its_new_numbers() {
    let site = site();
    let list: Vec<_> = (0..20).map(|n| url(&site, n, &format!("/{n}"))).collect();
    let shards = Shards::new(&list).fetch_all();
    let mut longer = vec![url(&site, 0, "/new")];
    longer.extend(list);
    std::fs::write(&shards.list, longer.join("\n")).unwrap();
    let shards = shards.fetch_all();
    let whole = shards.fetch_whole();
    // Numbers of the old list may be left in a shard that no longer has them.
    let done = shards.merge_all().arg("--failures-ok").go();
    let (found, expected) = (by_line(&done.records), by_line(&whole.records));
    if done.code == Some(0) {
        assert_eq!(found, expected);
    } else {
        assert!(
            done.stderr.contains("was its list changed?"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn parts_of_a_split_that_note_their_shards_are_put_together() {
    let site = site();
    let shards = Shards::new(&lines(&site));
    let into = shards.dir.path().join("parts");
    let run = || Run::new().text();
    run()
        .args(["--split=3", "--into", into.to_str().unwrap()])
        .arg(shards.list.to_str().unwrap())
        .expect_exit(0);
    for index in 0..SHARDS {
        let part = into.join(format!("part-{index:05}.txt"));
        let mut args = shards.args(index);
        args.pop();
        Run::new().args(args).arg(part.to_str().unwrap()).go();
    }
    let done = shards.merge_all().arg("--failures-ok").expect_exit(0);
    assert_eq!(done.records.len(), 52);
}

#[test]
fn a_list_that_is_named_twice_is_an_error() {
    let site = site();
    let shards = Shards::new(&lines(&site));
    let list = shards.list.to_str().unwrap();
    let done = Run::new().args(shards.args(0)).arg(list).expect_exit(2);
    let text = shards.shown(&done.stderr);
    assert!(
        text.contains("--shard: DIR/list.txt is named twice"),
        "{text}"
    );
    assert!(site.requests().is_empty());
}

/// A job that is tried again may begin in another directory.
#[test]
fn a_list_under_another_name_is_the_same_list() {
    let site = site();
    let list = lines(&site);
    let shards = Shards::new(&list).fetch_all();
    for index in 0..SHARDS {
        let mut args = shards.args(index);
        args.pop();
        Run::new().args(args).arg("-").stdin(list.join("\n")).go();
    }
    let done = shards.merge_all().arg("--failures-ok").expect_exit(0);
    assert_eq!(done.records.len(), 52);
    let merged = shards.merge_all().args(["--failures-ok", "--print0"]);
    let text = merged.text().go().stdout;
    assert_eq!(text.matches("}\0{").count(), 51);
}

#[test]
fn a_shard_that_was_killed_and_run_again_gives_the_same_records() {
    let site = site();
    let mut list: Vec<_> = (0..300)
        .map(|n| {
            let kind = if n % 5 == 0 { "moved" } else { "slow" };
            url(&site, n % 200, &format!("/{kind}{}", n % 200))
        })
        .collect();
    list.insert(7, "no url".to_owned());
    list.push(url(&site, 0, "/gone"));
    let (killed, whole) = (Shards::new(&list), Shards::new(&list));
    let journal = killed.journal(1);
    let mut child = binary()
        .args(killed.args(1))
        .args(["-j4", "--per-host=4", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::fs::read_to_string(&journal)
        .unwrap_or_default()
        .lines()
        .count()
        < 20
    {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let after_kill = killed.merge([journal]).expect_exit(1);
    assert!(
        after_kill.stderr.contains("run it again"),
        "{}",
        after_kill.stderr
    );
    let strip = |shards: &Shards, done: &Done| {
        let dir = shards.dir.path().to_str().unwrap();
        let text = done.stdout.replace(dir, "DIR");
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        by_line(&records.collect::<Vec<_>>())
    };
    // What was fetched before is printed as if this run had fetched it.
    let (again, uninterrupted) = (killed.fetch(1), whole.fetch(1));
    assert!(again.skipped() > 15, "{}", again.stderr);
    assert_eq!(strip(&killed, &again), strip(&whole, &uninterrupted));
    let (killed, whole) = (killed.fetch_all(), whole.fetch_all());
    let merged = |shards: &Shards| shards.merge_all().arg("--failures-ok").expect_exit(0);
    let (killed_all, whole_all) = (merged(&killed), merged(&whole));
    assert_eq!(strip(&killed, &killed_all), strip(&whole, &whole_all));
    // Once more, nothing changes.
    let again = killed.fetch_all();
    assert_eq!(strip(&again, &merged(&again)), strip(&whole, &whole_all));
}

#[test]
fn what_others_wrote_into_a_journal_is_shown_harmlessly() {
    let site = site();
    let shards = Shards::new(&lines(&site)).fetch_all();
    let journals: Vec<_> = (0..SHARDS).map(|index| shards.journal(index)).collect();
    let text = std::fs::read_to_string(&journals[0]).unwrap();
    let odd = text.replacen(
        "\"url\":\"",
        "\"note\u{9b}31m\u{202e}\":\"\u{9b}2J\",\"url\":\"",
        1,
    );
    assert_ne!(text, odd);
    std::fs::write(&journals[0], odd).unwrap();
    let done = shards.merge(journals).expect_exit(1);
    assert!(done.stdout.contains("\\u009b2J"), "{}", done.stdout);
    assert!(!done.stdout.contains(['\u{9b}', '\u{202e}']));
}
