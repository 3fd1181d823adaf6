use std::fs;

use fetchall::{OutcomeName, Sha256};

use crate::support::{Done, Out, Run, Server, path, response};

/// Sends the path as the body, and 20 MiB for `/large`.
fn pages() -> Server {
    Server::http(|request| response("200 OK", &[], &body(path(request))))
}

fn body(path: &str) -> Vec<u8> {
    match path.split('?').next() {
        Some("/large") => (0..20 << 20).map(|at: u32| (at / 7) as u8).collect(),
        _ => path.as_bytes().to_vec(),
    }
}

/// Returns a line for this URL and body, with its size and hash.
fn line(url: &str, file: &str, body: &[u8]) -> String {
    let (size, sha256) = (body.len(), Sha256::of(body));
    format!("{{\"url\":\"{url}\",\"file\":\"{file}\",\"size\":{size},\"sha256\":\"{sha256}\"}}\n")
}

fn fetch(out: &Out, list: &str) -> Run {
    out.run().arg("--input-format=jsonl").stdin(list)
}

fn adopted(done: &Done) -> Vec<&str> {
    let records = done.records.iter().filter(|record| record.adopted);
    records
        .map(|record| {
            assert_eq!((record.ok, record.outcome), (true, OutcomeName::Skipped));
            assert_eq!((record.attempts, record.status), (0, None));
            assert!(record.sha256.is_some() && record.bytes.is_some());
            record.file.as_deref().unwrap()
        })
        .collect()
}

#[test]
fn a_file_that_is_there_is_adopted_and_journaled() {
    let server = pages();
    let out = Out::new();
    let list = ["/a", "/large", "/c"].map(|path| {
        let file = format!("own{path}");
        line(&server.url(path), &file, &body(path))
    });
    let list = list.concat();
    fetch(&out, &list).expect_exit(0);
    fs::remove_file(out.journal_path()).unwrap();
    fs::write(out.path().join("own/c"), "/C").unwrap();
    let asked = server.requests().len();

    let done = fetch(&out, &list).arg("--ordered").expect_exit(0);
    assert_eq!(adopted(&done), ["own/a", "own/large"]);
    assert_eq!(
        done.of("/c").outcome,
        OutcomeName::Fetched,
        "its hash differs"
    );
    assert_eq!(server.requests().len(), asked + 1);
    assert_eq!(fs::read(out.path().join("own/c")).unwrap(), b"/c");
    let said = "resuming: 2 of 3 already done";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    assert_eq!(out.journal().len(), 3);

    // From now on the journal knows it.
    let again = fetch(&out, &list).expect_exit(0);
    assert_eq!((again.skipped(), adopted(&again).len()), (3, 2));
    assert_eq!(out.journal().len(), 3);
    assert_eq!(server.requests().len(), asked + 1);
    let plain = list.lines().next().unwrap().replace("\"size\"", "\"x\"");
    assert_eq!(fetch(&out, &plain).expect_exit(0).skipped(), 1);
}

/// The journal knows the file, but for another URL.
#[test]
fn a_new_signature_in_the_url_costs_no_download() {
    let server = pages();
    let out = Out::new();
    let signed = |signature: &str| {
        let url = server.url(&format!("/large?signature={signature}"));
        line(&url, "large", &body("/large"))
    };
    fetch(&out, &signed("1")).expect_exit(0);
    let done = fetch(&out, &signed("2")).expect_exit(0);
    assert_eq!(adopted(&done), ["large"]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(fetch(&out, &signed("2")).expect_exit(0).skipped(), 1);
    // The file now belongs to the second URL, and the hash shows that it is that of the first, too.
    let done = fetch(&out, &signed("1")).expect_exit(0);
    assert_eq!(adopted(&done), ["large"]);
    out.run().arg("--verify").expect_exit(0);
}

#[test]
fn only_a_line_with_size_and_hash_adopts_and_only_for_a_safe_method() {
    let server = pages();
    let out = Out::new();
    fs::create_dir_all(out.path()).unwrap();
    let whole = |path: &str| line(&server.url(path), &path[1..], &body(path));
    let without = |path: &str, field: &str| whole(path).replace(&format!("\"{field}\""), "\"x\"");
    let posted = whole("/post").replace("{\"url\"", "{\"method\":\"POST\",\"url\"");
    let list = [
        whole("/both"),
        without("/hash", "size"),
        without("/size", "sha256"),
        posted,
        whole("/folder"),
        whole("/absent"),
        whole("/both"),
    ];
    for path in ["both", "hash", "size", "post"] {
        fs::write(out.path().join(path), format!("/{path}")).unwrap();
    }
    fs::create_dir(out.path().join("folder")).unwrap();
    let done = fetch(&out, &list.concat()).expect_exit(1);
    assert_eq!(adopted(&done), ["both", "both"]);
    for fetched in ["/hash", "/size", "/post", "/absent"] {
        assert_eq!(done.of(fetched).outcome, OutcomeName::Fetched, "{fetched}");
    }
    assert!(!done.of("/folder").ok);
    assert_eq!(done.records.len(), 7);
}

/// Two lines with one file and different bodies stay a conflict, whatever is on disk.
#[test]
fn a_file_of_another_line_is_not_adopted() {
    let server = pages();
    let out = Out::new();
    fs::create_dir_all(out.path()).unwrap();
    fs::write(out.path().join("x"), "/b").unwrap();
    let list = [
        line(&server.url("/b"), "x", b"/b"),
        line(&server.url("/a"), "x", b"/a"),
    ];
    let done = fetch(&out, &list.concat()).expect_exit(1);
    assert_eq!(adopted(&done), ["x"]);
    let error = done.of("/a").error.as_ref().unwrap();
    assert_eq!(error.kind, fetchall::ErrorKind::Conflict);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_is_not_adopted() {
    let server = pages();
    let out = Out::new();
    fs::create_dir_all(out.path()).unwrap();
    let secret = out.beside("secret");
    fs::write(&secret, "/a").unwrap();
    std::os::unix::fs::symlink(&secret, out.path().join("a")).unwrap();
    let list = line(&server.url("/a"), "a", b"/a");
    let done = fetch(&out, &list).go();
    assert!(adopted(&done).is_empty(), "{}", done.stdout);
    assert_eq!(fs::read(&secret).unwrap(), b"/a");
}

/// Through the link, the next line would overwrite what was adopted.
#[cfg(unix)]
#[test]
fn a_file_behind_a_link_to_a_folder_is_not_adopted() {
    let server = pages();
    let out = Out::new();
    fs::create_dir_all(out.path().join("sub")).unwrap();
    fs::write(out.path().join("sub/x"), "/a").unwrap();
    std::os::unix::fs::symlink("sub", out.path().join("link")).unwrap();
    let list = [
        line(&server.url("/a"), "link/x", b"/a"),
        line(&server.url("/b"), "sub/x", b"/b"),
    ];
    for _ in 0..2 {
        let done = fetch(&out, &list.concat()).arg("--ordered").expect_exit(1);
        assert!(adopted(&done).is_empty(), "{}", done.stdout);
        let error = done.of("/a").error.as_ref().unwrap();
        assert_eq!(error.kind, fetchall::ErrorKind::Save);
        assert!(done.of("/b").ok, "{}", done.stdout);
    }
}

/// Many files, in the order of the list, with few of them open at a time.
#[test]
fn hundreds_of_files_are_adopted_in_order() {
    const FILES: usize = 300;
    let out = Out::new();
    fs::create_dir_all(out.path()).unwrap();
    let list: String = (0..FILES)
        .map(|n| {
            let body = format!("body {n}");
            fs::write(out.path().join(format!("{n}")), &body).unwrap();
            // Nothing listens there.
            line(
                &format!("http://127.0.0.1:1/{n}"),
                &n.to_string(),
                body.as_bytes(),
            )
        })
        .collect();
    let done = fetch(&out, &list)
        .arg("--ordered")
        .open_files(24)
        .expect_exit(0);
    let files: Vec<_> = (0..FILES).map(|n| n.to_string()).collect();
    assert_eq!(adopted(&done), files);
    assert_eq!(out.journal().len(), FILES);
}

#[test]
fn an_adopted_file_keeps_the_columns_of_its_line() {
    let server = pages();
    let out = Out::new();
    let list = line(&server.url("/a"), "a", &body("/a"));
    fetch(&out, &list).expect_exit(0);
    fs::remove_file(out.journal_path()).unwrap();
    let done = fetch(&out, &list).arg("--keep-columns=size").expect_exit(0);
    assert_eq!(adopted(&done), ["a"]);
    let columns = done.record().columns.as_ref().unwrap();
    assert_eq!(columns.as_json(), r#"{"size":2}"#);
}
