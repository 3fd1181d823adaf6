use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fetchall::{OutcomeName, Sha256};

use crate::support::{Done, Run, Server, path, response};

const SHARDS: u32 = 4;
const HOSTS: usize = 12;

fn site() -> Server {
    Server::http(|request| match path(request) {
        "/gone" => response("404 Not Found", &[], b"no"),
        _ => response("200 OK", &[], b"page"),
    })
}

fn port(site: &Server) -> u16 {
    site.url("/")
        .rsplit([':', '/'])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// The name of a host; all of them are the same server.
fn host(number: usize) -> String {
    format!("h{number}.test")
}

/// Returns a run that finds all hosts on this machine.
fn run(site: &Server) -> Run {
    let port = port(site);
    let resolve = |number| {
        [
            "--resolve".to_owned(),
            format!("{}:{port}:127.0.0.1", host(number)),
        ]
    };
    Run::new().args((0..HOSTS).flat_map(resolve))
}

fn url(site: &Server, number: usize, path: &str) -> String {
    format!("http://{}:{}{path}", host(number), port(site))
}

/// A list with a comment, bad lines, and equal ones.
fn list(site: &Server) -> Vec<String> {
    let mut lines = vec!["# comment".to_owned(), "no url".to_owned()];
    lines.extend((0..60).map(|n| url(site, n % HOSTS, &format!("/{}", n % 30))));
    lines.push("also no url".to_owned());
    lines.push(url(site, 3, "/gone"));
    lines
}

fn shard_arg(index: u32) -> String {
    format!("--shard={index}/{SHARDS}")
}

/// Returns the lines of the records, of which none may be there twice.
fn lines(runs: &[Done]) -> BTreeSet<(String, u64)> {
    let mut found = BTreeSet::new();
    for record in runs.iter().flat_map(|run| &run.records) {
        let line = (record.input.to_string(), record.line);
        assert!(found.insert(line), "{record:?} is in two shards");
    }
    found
}

fn summary(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn shards_together_are_the_list_and_each_host_is_in_one() {
    let site = site();
    let list = list(&site);
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("summary.json");
    let mut runs = Vec::new();
    for index in 0..SHARDS {
        let done = run(&site)
            .urls(&list)
            .arg(shard_arg(index))
            .args(["--summary-json", json.to_str().unwrap()])
            .go();
        let summary = summary(&json);
        assert_eq!(summary["input"], done.records.len(), "{}", done.stderr);
        assert_eq!(summary["left"], 0);
        assert_eq!(summary["list_lines"], 63);
        runs.push(done);
    }
    let expected = (2..=64).map(|line| ("-".to_owned(), line));
    assert_eq!(lines(&runs), expected.collect());
    let mut shards: BTreeMap<String, usize> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        for record in run
            .records
            .iter()
            .filter(|record| record.url.contains("://"))
        {
            let host = record.url.split(['/', ':']).nth(3).unwrap().to_owned();
            assert_eq!(*shards.entry(host).or_insert(index), index);
        }
    }
    assert_eq!(shards.len(), HOSTS);
    assert!(shards.values().collect::<BTreeSet<_>>().len() > 1);
}

#[test]
fn a_host_is_in_the_same_shard_in_every_format() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let urls: Vec<_> = (0..HOSTS).map(|n| url(&site, n, "/a")).collect();
    let text = urls.join("\n");
    let csv = format!("id,url\n1,{}\n", urls.join("\n1,"));
    let tsv = csv.replace(',', "\t");
    let json: Vec<_> = urls
        .iter()
        .map(|url| format!("{{\"url\":\"{url}\",\"mirrors\":[\"http://h0.test/\"],\"size\":4}}"))
        .collect();
    let sitemap: Vec<_> = urls
        .iter()
        .map(|url| format!("<url><loc>{url}</loc></url>"))
        .collect();
    let sitemap = format!("<urlset>{}</urlset>", sitemap.concat());
    let nul = urls.join("\0");
    let lists = [
        ("a.txt", text, vec![]),
        ("a.csv", csv, vec![]),
        ("a.tsv", tsv, vec![]),
        ("a.jsonl", json.join("\n"), vec![]),
        ("a.xml", sitemap, vec![]),
        ("a.nul", nul, vec!["-0"]),
    ];
    let mut expected = None;
    let mut check = |name: &str, records: Vec<BTreeSet<String>>| {
        let all: BTreeSet<_> = records.iter().flatten().cloned().collect();
        assert_eq!(all.len(), HOSTS, "{name}");
        assert_eq!(*expected.get_or_insert(records.clone()), records, "{name}");
    };
    let urls_of = |run: Run| {
        run.go()
            .records
            .into_iter()
            .map(|record| record.url)
            .collect()
    };
    for (name, content, args) in lists {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let shards = (0..SHARDS).map(|index| {
            let run = run(&site).arg(shard_arg(index)).args(args.clone());
            urls_of(run.arg(path.to_str().unwrap()))
        });
        check(name, shards.collect());
    }
    let arguments = (0..SHARDS).map(|index| urls_of(run(&site).arg(shard_arg(index)).args(&urls)));
    check("arguments", arguments.collect());
    let upper = urls
        .iter()
        .map(|url| url.replace("http://h", "http://me@H"));
    let upper: Vec<_> = upper.collect();
    let upper = (0..SHARDS).map(|index| urls_of(run(&site).arg(shard_arg(index)).urls(&upper)));
    check("upper case and user", upper.collect());
}

#[test]
fn a_manifest_has_one_host_and_so_one_shard_has_all_of_it() {
    let site = site();
    let manifest = format!("{0}  a\n{0}  b\n", Sha256::of(b"page"));
    let runs = (0..SHARDS).map(|index| {
        Run::new()
            .stdin(manifest.clone())
            .args(["--input-format=sha256sums", "--base-url"])
            .arg(site.url("/"))
            .arg(shard_arg(index))
            .expect_exit(0)
    });
    let mut counts: Vec<_> = runs.map(|run| run.records.len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 2]);
}

#[test]
fn by_url_a_host_is_in_all_shards_and_a_warning_says_what_that_means() {
    let site = site();
    let urls: Vec<_> = (0..200).map(|n| site.url(&format!("/{n}"))).collect();
    let mut runs = Vec::new();
    for index in 0..SHARDS {
        let done = Run::new()
            .urls(&urls)
            .arg(shard_arg(index))
            .arg("--shard-by=url")
            .expect_exit(0);
        assert!(
            done.stderr.contains("limits per host hold within"),
            "{}",
            done.stderr
        );
        assert!(done.records.len() > 20, "{}", done.records.len());
        runs.push(done);
    }
    assert_eq!(lines(&runs).len(), 200);
}

#[test]
fn the_number_may_be_that_of_a_task() {
    let site = site();
    let list = list(&site);
    let by_hand = run(&site).urls(&list).arg(shard_arg(2)).go();
    let by_task = run(&site)
        .urls(&list)
        .args(["--shard", "auto/4"])
        .env("SLURM_ARRAY_TASK_ID", "2")
        .go();
    assert_eq!(lines(&[by_hand]), lines(&[by_task]));
    let mut page = Vec::new();
    for variables in [
        vec![],
        vec![("SLURM_ARRAY_TASK_ID", "4")],
        vec![("SLURM_ARRAY_TASK_ID", "1"), ("JOB_COMPLETION_INDEX", "2")],
    ] {
        let mut run = Run::new().urls(&list).args(["--shard", "auto/4"]);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        page.push(run.expect_exit(2).stderr);
    }
    page.push(
        Run::new()
            .urls(&list)
            .arg("--shard=3/3")
            .expect_exit(2)
            .stderr,
    );
    insta::assert_snapshot!("no_task", page.join("\n"));
}

#[test]
fn another_shard_cannot_use_a_journal_and_the_same_one_resumes() {
    let site = site();
    let list = list(&site);
    for (option, name) in [
        ("-o", "pages"),
        ("--pack", "a.warc"),
        ("--journal", "a.jsonl"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join(name);
        let run = |shard: Option<&str>| {
            let run = run(&site)
                .urls(&list)
                .args([option, target.to_str().unwrap()]);
            match shard {
                Some(shard) => run.args(["--shard", shard]),
                None => run,
            }
        };
        let dry_run = (option == "-o").then_some("--dry-run");
        let first = run(Some("1/4")).go();
        let before = site.requests().len();
        for (shard, named) in [
            (Some("2/4"), "shard 1/4, and this run is of shard 2/4"),
            (Some("1/5"), "shard 1/4, and this run is of shard 1/5"),
            (None, "shard 1/4, and this run is of the whole list"),
        ] {
            for instead in [None, Some("--verify"), dry_run] {
                let mut run = run(shard);
                if instead == Some("--verify") {
                    run = run.arg("-");
                }
                let done = run.text().args(instead).expect_exit(2);
                assert!(done.stderr.contains(named), "{}", done.stderr);
            }
        }
        for instead in [Some("--verify"), dry_run].into_iter().flatten() {
            let done = run(Some("1/4")).text().arg(instead).go();
            assert_ne!(done.code, Some(2), "{}", done.stderr);
        }
        assert_eq!(site.requests().len(), before);
        let again = run(Some("1/4")).go();
        assert_eq!(again.records.len(), first.records.len());
        let is_fetched = |record: &&fetchall::Record| record.outcome == OutcomeName::Fetched;
        assert_eq!(again.records.iter().filter(is_fetched).count(), 0);
        assert!(!again.stderr.contains("not a record"), "{}", again.stderr);
    }
}

#[test]
fn a_shard_cannot_use_the_journal_of_the_whole_list() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let run = || {
        Run::new()
            .urls([site.url("/a")])
            .args(["--journal", journal.to_str().unwrap()])
    };
    run().expect_exit(0);
    let before = std::fs::read(&journal).unwrap();
    let done = run().arg("--shard=0/2").expect_exit(2);
    let named = "results of the whole list, and this run is of shard 0/2";
    assert!(done.stderr.contains(named), "{}", done.stderr);
    assert_eq!(std::fs::read(&journal).unwrap(), before);
}

#[test]
fn a_dry_run_says_how_large_the_shards_are() {
    let site = site();
    let list = list(&site);
    let dry = |args: &[&str]| {
        run(&site)
            .text()
            .urls(&list)
            .args(["--dry-run", "--shard=0/4"])
            .args(args.iter().copied())
    };
    let port = port(&site).to_string();
    let done = dry(&["--host-interval=2s"]).expect_exit(1);
    assert_eq!(site.requests().len(), 0);
    let mut page = done.stdout.replace(&port, "PORT") + &done.stderr;
    page += &dry(&[]).go().stderr;
    insta::assert_snapshot!("dry_run", page);
    let dir = tempfile::tempdir().unwrap();
    let saved = dry(&["-o", dir.path().join("pages").to_str().unwrap()]).go();
    assert_eq!(saved.stdout, done.stdout);
    assert_eq!(dry(&["-q"]).go().stderr, "");
}

#[test]
fn a_shard_without_lines_is_no_empty_list() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("failed.txt");
    std::fs::write(&failed, "old\n").unwrap();
    let runs = (0..SHARDS).map(|index| {
        let run = Run::new().urls([site.url("/a")]).arg(shard_arg(index));
        run.args(["--failed", failed.to_str().unwrap()])
            .expect_exit(0)
    });
    for done in runs {
        assert!(!done.stderr.contains("empty"), "{}", done.stderr);
    }
    let done = Run::new().urls([""]).arg(shard_arg(0)).expect_exit(0);
    assert!(done.stderr.contains("the list is empty"), "{}", done.stderr);
}

#[test]
fn an_interrupted_shard_counts_only_its_own_lines_as_left() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.txt");
    let lines = (0..20_000).map(|n| url(&site, n % HOSTS, "/gone") + "\n");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let json = dir.path().join("summary.json");
    let mut input = 0;
    for index in 0..SHARDS {
        run(&site)
            .arg(shard_arg(index))
            .args(["--max-failures=0", "--look-ahead=10", "-j1"])
            .args([
                "--summary-json",
                json.to_str().unwrap(),
                path.to_str().unwrap(),
            ])
            .expect_exit(1);
        let summary = summary(&json);
        assert_eq!(
            (&summary["list_ended"], &summary["list_lines"]),
            (&true.into(), &20_000.into())
        );
        let own = summary["input"].as_u64().unwrap();
        assert!(summary["left"].as_u64().unwrap() > own - 200, "{summary}");
        input += own;
    }
    assert_eq!(input, 20_000);
}

/// What is wrong with a line may depend on options that another run does not have. Its shard does not.
#[test]
fn a_bad_line_with_a_url_is_in_the_shard_of_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.jsonl");
    let hosts: Vec<_> = (0..12).map(|n| format!("http://h{n}.test:1/")).collect();
    let line = |url: &String| {
        // Fine without `-o`, which needs a file for a body; the second field is kept twice.
        format!("{{\"url\":\"{url}\",\"method\":\"PUT\",\"body\":\"x\",\"id\":1,\"id\":2}}\n")
    };
    std::fs::write(&list, hosts.iter().map(line).collect::<String>()).unwrap();
    let out = dir.path().join("out");
    let with: [&[&str]; 3] = [&[], &["--keep-columns=id"], &["-o", out.to_str().unwrap()]];
    let mut seen = Vec::new();
    for options in with {
        let shards = (0..SHARDS).map(|index| {
            let _ = std::fs::remove_dir_all(&out);
            let done = Run::new()
                .args(["--retries=0", "--resolve=*:1:127.0.0.1"])
                .args(options.iter().copied())
                .arg(shard_arg(index))
                .arg(list.to_str().unwrap())
                .go();
            let mut lines: Vec<_> = done.records.iter().map(|record| record.line).collect();
            lines.sort_unstable();
            lines
        });
        seen.push(shards.collect::<Vec<_>>());
    }
    assert_eq!(seen[0].concat().len(), hosts.len(), "{seen:?}");
    assert!(seen.iter().all(|shards| *shards == seen[0]), "{seen:?}");
}
