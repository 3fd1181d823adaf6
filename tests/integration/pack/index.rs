use std::fs;
use std::path::Path;
use std::process::Command;

use fetchall::program::add_extension;
use serde_json::Value;

use super::series::Series;
use super::{NAMES, Packing, noise, path_of};
use crate::support::{Server, response, warcio_tool};

/// What differs in an index: redirects, failures, revisits, types, and URLs whose keys are shorter.
fn site() -> (Server, Vec<String>) {
    let server = Server::http(|request| match path_of(request) {
        "/moved" => response("302 Found", &["Location: /Page/"], b"moved"),
        "/missing" => response("404 Not Found", &["Content-Type: text/plain"], b"no"),
        "/untyped" => response("200 OK", &[], b"?"),
        path if path.starts_with("/same") => response("200 OK", &[], &noise(1, 3000)),
        path => response(
            "200 OK",
            &["Content-Type: text/html; charset=utf-8"],
            &noise(path.len() as u64, 900),
        ),
    });
    let paths = [
        "/moved",
        "/missing",
        "/untyped",
        "/same1",
        "/same2",
        "/",
        "/a/../B//c/?b=2&a=1&",
        "/x?jsessionid=0123456789abcdefghijklemopqrstuv&x=y",
        "/caf%C3%A9%2541/%7Eann?q=a+b%20c",
        "/(4hqa0555fwsecu455xqckv45)/Page.aspx",
        "/?",
        "/z%23?%26",
    ];
    let urls = paths.iter().map(|path| server.url(path)).collect();
    (server, urls)
}

/// The index that pywb's own indexer makes; `None` without it.
fn expected(pack: &Path) -> Option<String> {
    let python = warcio_tool::python_with("pywb")?;
    let index = add_extension(pack, "expected");
    let script = "import sys; from pywb.indexer.cdxindexer import main; main(sys.argv[1:])";
    let output = Command::new(python)
        .args(["-c", script, "-j", "-s", "-o"])
        .args([&index, pack])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(fs::read_to_string(index).unwrap())
}

/// Returns the fields of each line.
fn fields(index: &str) -> Vec<(String, String, Value)> {
    let parse = |line: &str| {
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        let [key, timestamp, json] = [(); 3].map(|()| parts.next().unwrap());
        (key, timestamp, serde_json::from_str(&json).unwrap())
    };
    index.lines().map(parse).collect()
}

/// Compares the index beside a pack with that of pywb.
fn expect_index(pack: &Path, count: usize) {
    let index = fs::read_to_string(add_extension(pack, "cdxj")).unwrap();
    assert!(index.lines().is_sorted());
    assert_eq!(index.lines().count(), count, "{index}");
    let Some(expected) = expected(pack) else {
        return;
    };
    let mut expected: Vec<_> = fields(&expected);
    let mut found = fields(&index);
    // Lines of the same URL and second are in the order of their JSON, which pywb writes with blanks.
    let place = |fields: &Value| fields["offset"].as_str().unwrap().parse::<u64>().unwrap();
    expected.sort_by_key(|(_, _, fields)| place(fields));
    found.sort_by_key(|(_, _, fields)| place(fields));
    assert_eq!(found, expected);
}

#[test]
fn an_index_is_what_pywb_makes_of_the_pack() {
    for name in NAMES {
        let (server, urls) = site();
        let packing = Packing::new(name);
        let run = |urls: &[String]| packing.run().args(["--cdxj", "-j1"]).urls(urls);
        run(&urls).expect_exit(1);
        // The redirect is one response more.
        expect_index(&packing.path(), urls.len() + 1);
        let more = [urls, vec![server.url("/more")]].concat();
        // The failure is fetched and packed again.
        run(&more).expect_exit(1);
        expect_index(&packing.path(), more.len() + 2);
    }
}

#[test]
fn each_pack_of_a_series_has_its_index() {
    for name in ["x-{n}.warc.gz", "x-{n}.warc"] {
        let (_server, urls) = site();
        let series = Series::new(name);
        // The later size counts.
        let run = series.run().args(["--cdxj", "-j1", "--pack-size", "4000"]);
        run.urls(&urls).expect_exit(1);
        let packs: Vec<_> = (0..)
            .map(|n| series.pack(n))
            .take_while(|pack| pack.exists())
            .collect();
        assert!(packs.len() > 1, "{:?}", series.files());
        for pack in &packs {
            let index = fs::read_to_string(add_extension(pack, "cdxj")).unwrap();
            expect_index(pack, index.lines().count());
        }
        let all = packs
            .iter()
            .map(|pack| fs::read_to_string(add_extension(pack, "cdxj")).unwrap());
        let lines: usize = all.map(|index| index.lines().count()).sum();
        assert_eq!(lines, urls.len() + 1);
        assert!(
            series.files().iter().all(|name| !name.contains("part")),
            "{:?}",
            series.files()
        );
    }
}
