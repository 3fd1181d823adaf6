use std::fs;

use fetchall::{ErrorKind, OutcomeName};

use crate::support::{Done, Out, Run, Server, header, path, response, scripted};

const MD5: &str = "5d41402abc4b2a76b9719d911017c592";
const SHA1: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const SHA512: &str = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7\
                      2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
/// Base64 of the hashes of `hello`.
const MD5_B64: &str = "XUFAKrxLKna5cZ2REBfFkg==";
const SHA256_B64: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
/// And of `abc`, another body.
const OTHER_MD5_B64: &str = "kAFQmDzST7DWlj99KOF/cg==";
const OTHER_SHA256_B64: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

/// Sends `hello` for every path.
fn hello() -> Server {
    Server::http(|_| response("200 OK", &[], b"hello"))
}

fn hashes(done: &Done) -> [Option<String>; 4] {
    let record = done.record();
    [
        record.md5.map(|hash| hash.to_string()),
        record.sha1.map(|hash| hash.to_string()),
        record.sha256.map(|hash| hash.to_string()),
        record.sha512.map(|hash| hash.to_string()),
    ]
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_body_is_hashed_with_the_algorithms_asked_for() {
    let server = hello();
    let url = server.url("/");
    let done = Run::new()
        .args(["--hash", "md5,SHA-512", &url])
        .expect_exit(0);
    assert_eq!(hashes(&done), [some(MD5), None, None, some(SHA512)]);
    let done = Run::new()
        .args(["--hash=sha1", "--sha256", &url])
        .expect_exit(0);
    assert_eq!(hashes(&done), [None, some(SHA1), some(SHA256), None]);
    assert_eq!(
        hashes(&Run::new().arg(&url).expect_exit(0)),
        [const { None }; 4]
    );
    let shown = |args: &[&str]| {
        let run = Run::new().text().args(["-q", "--hash=md5,sha1,sha512"]);
        run.args(args.iter().copied())
            .arg(&url)
            .expect_exit(0)
            .stdout
    };
    let expected = format!("{MD5} {SHA1} {SHA512}\n");
    assert_eq!(shown(&["-w", r"%{md5} %{sha1} %{sha512}\n"]), expected);
    let table = shown(&["--csv"]);
    let cells = format!(",{MD5},{SHA1},{SHA512},");
    assert!(
        table
            .lines()
            .next()
            .unwrap()
            .contains(",md5,sha1,sha512,mirror,"),
        "{table}"
    );
    assert!(table.contains(&cells), "{table}");
    let done = Run::new().args(["--hash=sha384", &url]).expect_exit(2);
    assert!(
        done.stderr.contains("expected md5, sha1, sha256 or sha512"),
        "{}",
        done.stderr
    );
}

#[test]
fn every_hash_in_a_table_is_checked() {
    let server = hello();
    let run = |row: &str, code: i32| {
        let list = format!(
            "url,MD5,sha1,sha256,sha512,checksum\n{},{row}\n",
            server.url("/")
        );
        let run = Run::new().args(["--input-format=csv", "--retry-delay=1ms"]);
        run.stdin(list).expect_exit(code)
    };
    let done = run(&format!("{MD5},{SHA1},,{SHA512},sha256-{SHA256_B64}"), 0);
    assert_eq!(
        hashes(&done),
        [some(MD5), some(SHA1), some(SHA256), some(SHA512)]
    );
    let wrong = |hash: &str| hash.replace(['2', '4'], "3");
    for (row, algorithm, hash) in [
        (format!("{},,,,", wrong(MD5)), "md5", MD5),
        (format!(",{},,,", wrong(SHA1)), "sha1", SHA1),
        (format!(",,{SHA256},{},", wrong(SHA512)), "sha512", SHA512),
        (
            format!("{MD5},,,,sha256:{}", wrong(SHA256)),
            "sha256",
            SHA256,
        ),
    ] {
        let done = run(&row, 1);
        assert_eq!(done.failure(), (ErrorKind::Checksum, 2), "tried once more");
        let said = format!(
            "content mismatch: {algorithm} is {hash}, expected {}",
            wrong(hash)
        );
        assert_eq!(done.message(), said);
    }
    let done = run(&format!("{SHA256},,,,"), 1);
    assert_eq!(done.failure(), (ErrorKind::InvalidUrl, 0));
    assert!(
        done.message().contains("invalid md5: expected 32"),
        "{}",
        done.message()
    );
}

#[test]
fn a_column_that_looks_like_a_hash_but_is_not_known_is_a_warning() {
    let server = hello();
    let run = |format: &str, list: String| {
        let run = Run::new().args(["--input-format", format]);
        run.stdin(list).expect_exit(0).stderr
    };
    let url = server.url("/");
    let said = run("csv", format!("url,blake3\n{url},00\n"));
    assert!(
        said.contains("column blake3 looks like a hash but is not checked"),
        "{said}"
    );
    let said = run(
        "jsonl",
        format!("{{\"url\":\"{url}\",\"blake3\":\"00\"}}\n").repeat(3),
    );
    let warned = said.matches("field blake3 looks like a hash but is not checked");
    assert_eq!(warned.count(), 1, "{said}");
}

/// Fetches from a server with these headers.
fn announced(headers: &'static [&'static str], code: i32) -> Done {
    let server = Server::http(move |_| response("200 OK", headers, b"hello"));
    Run::new()
        .args(["--retry-delay=1ms", &server.url("/")])
        .expect_exit(code)
}

#[test]
fn what_the_response_says_of_its_body_is_checked() {
    let right = [
        format!("Repr-Digest: sha-256=:{SHA256_B64}:"),
        format!("Content-MD5: {MD5_B64}"),
        format!("x-goog-hash: crc32c=mnG7TA==,md5={MD5_B64}"),
    ];
    let wrong = [
        (
            format!("Repr-Digest: sha-256=:{OTHER_SHA256_B64}:"),
            "sha256",
        ),
        (format!("Content-MD5: {OTHER_MD5_B64}"), "md5"),
        (format!("x-goog-hash: md5={OTHER_MD5_B64}"), "md5"),
    ];
    for line in right {
        let headers: &[&str] = vec![&*line.leak()].leak();
        let done = announced(headers, 0);
        assert_ne!(
            hashes(&done),
            [const { None }; 4],
            "in the record: {headers:?}"
        );
    }
    for (line, algorithm) in wrong {
        let line: &str = line.leak();
        let done = announced(vec![line].leak(), 1);
        assert_eq!(done.failure(), (ErrorKind::Checksum, 2), "tried once more");
        let said = done.message();
        assert!(
            said.starts_with(&format!("content mismatch: {algorithm} is ")),
            "{said}"
        );
        assert!(said.contains(", but the server says "), "{said}");
        // What a server that compresses on the way leaves of the original headers.
        announced(
            vec!["Content-Encoding: identity, x-unknown", line].leak(),
            0,
        );
    }
    announced(&["Repr-Digest: sha-256=:AAAA:", "Content-MD5: none"], 0);
}

/// The hash of the response that completes a body is that of all of it.
#[test]
fn a_resumed_body_is_checked_as_a_whole() {
    let digest = |value: &str| format!("Repr-Digest: sha-256=:{value}:");
    let replies = |value: &str| {
        let (digest, tag) = (digest(value), "ETag: \"a\"");
        let mut cut = response("200 OK", &["Connection: close", tag, &digest], b"hello");
        cut.truncate(cut.len() - 2);
        let range = "Content-Range: bytes 3-4/5";
        let md5 = format!("Content-MD5: {OTHER_MD5_B64}");
        let headers = ["Connection: close", tag, range, &md5, &digest];
        vec![cut, response("206 Partial Content", &headers, b"lo")]
    };
    let fetch = |value: &str, code: i32| {
        let server = scripted(replies(value));
        let out = Out::new();
        let run = out.run().args(["--retry-delay=1ms", "--retries=1"]);
        let done = run.arg(server.url("/")).expect_exit(code);
        assert_eq!(header(&server.requests()[1], "range"), Some("bytes=3-"));
        done
    };
    let done = fetch(SHA256_B64, 0);
    assert_eq!(
        (done.record().resumed_at, hashes(&done)[2].clone()),
        (Some(3), some(SHA256))
    );
    assert_eq!(fetch(OTHER_SHA256_B64, 1).failure().0, ErrorKind::Checksum);
}

/// A part that the user asked for has another hash than the whole.
#[test]
fn a_part_that_was_asked_for_is_not_compared() {
    let server = Server::http(|_| {
        let digest = format!("Repr-Digest: sha-256=:{OTHER_SHA256_B64}:");
        let headers = ["Content-Range: bytes 0-4/9", &digest];
        response("206 Partial Content", &headers, b"hello")
    });
    let run = Run::new().args(["-H", "Range: bytes=0-4", &server.url("/")]);
    assert_eq!(run.expect_exit(0).record().status, Some(206));
}

/// Sends `hello` below `/pub/`, and what no manifest here has for other paths.
fn release() -> Server {
    Server::http(|request| match path(request) {
        "/pub/a.txt" | "/pub/d/two%20words.bin" | "/pub/back%5Cslash" => {
            response("200 OK", &[], b"hello")
        }
        _ => response("200 OK", &[], b"another"),
    })
}

fn mirror(out: &Out, server: &Server, manifest: &str) -> Run {
    let base = server.url("/pub");
    let flags = [
        "--input-format=sha256sums",
        "--base-url",
        &base,
        "--ordered",
    ];
    out.run()
        .args(flags)
        .arg("--retry-delay=1ms")
        .stdin(manifest)
}

#[test]
fn a_manifest_is_urls_files_and_hashes() {
    let server = release();
    let out = Out::new();
    let manifest = format!(
        "# release 1\n{SHA256}  a.txt\n{MD5} *./d/two words.bin\nSHA1 (wrong) = {SHA1}\n\
         \\{SHA512}  back\\\\slash\nBLAKE2b (b) = {SHA512}\n"
    );
    let failed = out.beside("again.jsonl");
    let failed = failed.to_str().unwrap();
    let done = mirror(&out, &server, &manifest)
        .args(["--failed", failed])
        .expect_exit(1);
    let files: Vec<_> = done
        .records
        .iter()
        .map(|record| record.file.as_deref())
        .collect();
    let names = [Some("a.txt"), Some("d/two words.bin"), None];
    assert_eq!(files[..3], names);
    assert_eq!(
        files[3..],
        [Some("back\\slash"), None],
        "as sha256sum -c looks for it"
    );
    for record in [&done.records[0], &done.records[1], &done.records[3]] {
        assert_eq!(out.body(record), b"hello");
    }
    let kinds = [2, 4].map(|at| done.records[at].error.as_ref().unwrap().kind);
    assert_eq!(kinds, [ErrorKind::Checksum, ErrorKind::InvalidUrl]);
    assert!(!out.path().join("wrong").exists());

    let asked = server.requests().len();
    let again = mirror(&out, &server, &manifest).expect_exit(1);
    assert_eq!((again.skipped(), server.requests().len()), (3, asked + 2));
    let again = out.run().arg(failed).arg("--retries=0").expect_exit(1);
    let messages = again
        .records
        .iter()
        .map(|record| &record.error.as_ref().unwrap().message);
    assert!(
        messages.clone().any(|text| text.contains("sha1 is ")),
        "{:?}",
        again.records
    );
    assert_eq!(messages.count(), 2);
}

/// The files of a release, whose bodies are the paths of their URLs.
#[cfg(unix)]
const RELEASE: [(&str, &str); 5] = [
    ("a.txt", "/pub/a.txt"),
    ("two words.bin", "/pub/two%20words.bin"),
    ("50% \u{fc} #1?.txt", "/pub/50%25%20%C3%BC%20%231%3F.txt"),
    ("back\\slash", "/pub/back%5Cslash"),
    // Its body gets another name.
    ("new\nline", "/pub/new%0Aline"),
];

/// The manifests of GNU coreutils and OpenSSL, as far as they are installed here.
#[cfg(unix)]
#[test]
fn what_the_tools_write_mirrors_the_release() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    for (name, path) in RELEASE {
        fs::write(folder.path().join(name), path).unwrap();
    }
    let server = Server::http(|request| response("200 OK", &[], path(request).as_bytes()));
    let mut tried = 0;
    for tool in [
        "sha256sum",
        "sha256sum --tag",
        "sha512sum --text",
        "sha1sum --tag",
        "md5sum --binary",
        "cksum --algorithm=sha256",
        "cksum --algorithm=md5 --untagged",
        "openssl sha256",
        "openssl sha256 -r",
    ] {
        let mut words = tool.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(folder.path());
        // OpenSSL escapes no line end.
        let is_openssl = tool.starts_with("openssl");
        let names = &RELEASE.map(|(name, _)| name)[..if is_openssl { 4 } else { 5 }];
        let written = command.args(names).env("LC_ALL", "C.UTF-8").output();
        let Some(output) = written.ok().filter(|output| output.status.success()) else {
            println!("skipped: {tool}");
            continue;
        };
        tried += 1;
        let manifest = String::from_utf8(output.stdout).unwrap();
        let out = Out::new();
        let done = mirror(&out, &server, &manifest).go();
        assert_eq!(done.code, Some(0), "{tool}: {manifest}{}", done.stdout);
        let files = done.records.iter().map(|record| record.file.as_deref());
        let files: Vec<_> = files.map(Option::unwrap).collect();
        assert_eq!(files[..4], names[..4], "{tool}");
        for (record, (_, path)) in done.records.iter().zip(RELEASE) {
            assert_eq!(out.body(record), path.as_bytes(), "{tool}");
        }
    }
    assert!(tried > 0 || cfg!(not(target_os = "linux")));
}

#[test]
fn a_manifest_needs_a_base_url_and_nothing_else_does() {
    let run = |args: &[&str]| {
        let run = Run::new().args(args.iter().copied()).stdin("");
        run.expect_exit(2).stderr
    };
    for format in ["sha256sums", "md5sums", "sha1sums", "sha512sums"] {
        let said = run(&["--input-format", format]);
        assert!(said.contains("--base-url <URL>"), "{said}");
    }
    let said = run(&["--base-url=http://127.0.0.1/"]);
    assert!(said.contains("add --input-format sha256sums"), "{said}");
    let said = run(&[
        "--input-format=sha256sums",
        "--base-url=http://me:s3cret@a.test/",
    ]);
    assert!(
        said.contains("no user name or password") && !said.contains("s3cret"),
        "{said}"
    );
}

/// What an earlier run knows of a body counts only if it is the hash that is expected now.
#[test]
fn hashes_are_remembered() {
    let server = hello();
    let out = Out::new();
    let list = |hash: &str| format!("{{\"url\":\"{}\",{hash}}}\n", server.url("/x"));
    let fetch = |list: String| out.run().arg("--input-format=jsonl").stdin(list);
    let md5 = || list(&format!("\"md5\":\"{MD5}\""));
    fetch(list("\"id\":1")).expect_exit(0);
    let done = fetch(md5()).expect_exit(0);
    assert_eq!(done.record().outcome, OutcomeName::Fetched, "never hashed");
    let done = fetch(md5()).expect_exit(0);
    assert_eq!((done.skipped(), hashes(&done)[0].clone()), (1, some(MD5)));
    fetch(list(&format!("\"sha1\":\"{SHA1}\""))).expect_exit(0);
    assert_eq!(server.requests().len(), 3);

    let verify = || out.run().arg("--verify").stdin("no list\n");
    verify().expect_exit(0);
    fs::write(out.file(done.record()), "jello").unwrap();
    let message = verify().expect_exit(1).message().to_owned();
    assert!(
        message.starts_with("content mismatch: sha1 is "),
        "{message}"
    );
    // The line knows more than the journal.
    let both = list(&format!("\"md5\":\"{MD5}\",\"sha1\":\"{SHA1}\""));
    let message = fetch(both)
        .args(["--verify", "-"])
        .expect_exit(1)
        .message()
        .to_owned();
    assert!(
        message.starts_with("content mismatch: md5 is "),
        "{message}"
    );
}

#[test]
fn a_file_that_is_there_is_adopted_by_any_hash() {
    let server = hello();
    let out = Out::new();
    fs::create_dir_all(out.path()).unwrap();
    let adopt = |hash: &str| {
        fs::write(out.path().join("x"), "hello").unwrap();
        let (url, size) = (server.url("/x"), 5);
        let line =
            format!("{{\"url\":\"{url}\",\"file\":\"x\",\"size\":{size},\"checksum\":\"{hash}\"}}");
        let done = out.run().arg("--input-format=jsonl").stdin(line).go();
        let _ = fs::remove_file(out.journal_path());
        done
    };
    for hash in [
        format!("md5:{MD5}"),
        format!("sha256-{SHA256_B64}"),
        SHA512.to_owned(),
    ] {
        let done = adopt(&hash);
        assert!(done.record().adopted, "{hash}: {:?}", done.record());
    }
    let wrong = adopt(&format!("md5-{OTHER_MD5_B64}"));
    assert_eq!(
        wrong.record().error.as_ref().unwrap().kind,
        ErrorKind::Checksum
    );
}

/// A 304 has no body to hash.
#[test]
fn a_page_that_has_not_changed_keeps_its_hashes() {
    let server = Server::http(|request| match header(request, "if-none-match") {
        Some(_) => response("304 Not Modified", &["ETag: \"a\""], b""),
        None => response("200 OK", &["ETag: \"a\""], b"hello"),
    });
    let out = Out::new();
    let fetch = |flags: &[&str]| {
        let run = out.run().args(flags.iter().copied());
        run.arg(server.url("/")).expect_exit(0)
    };
    fetch(&["--hash=md5,sha512"]);
    let done = fetch(&["--refresh", "--hash=md5"]);
    assert_eq!(done.record().status, Some(304));
    assert_eq!(hashes(&done), [some(MD5), None, None, some(SHA512)]);
}
