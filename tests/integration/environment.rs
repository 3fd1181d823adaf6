//! Environments, lists and names that could harm a run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use fetchall::{ErrorKind, Record};

use crate::support::{Out, Run, Server, binary, pages, path, placeholders, response};

/// Maximum memory of a run that reads a huge list, the program itself included, in KiB.
const FLAT: u64 = 64 * 1024;
/// Maximum memory of a run with 64 concurrent requests, whatever servers do, in KiB.
const MODEST: u64 = 128 * 1024;

#[test]
fn nothing_of_the_environment_is_needed() {
    let server = pages();
    let out = Out::new();
    // No HOME, no TERM, no PATH, no locale.
    let done = out
        .run()
        .without_environment()
        .args(["--progress=bar", "--color=always", &server.url("/a.html")])
        .expect_exit(0);
    assert_eq!(out.body(done.record()), b"/a.html");
}

#[test]
fn a_locale_without_utf8_changes_nothing() {
    let server = Server::http(|request| response("200 OK", &[], path(request).as_bytes()));
    for locale in ["C", "POSIX", "de_DE.ISO-8859-1", "no-such-locale"] {
        let done = Run::new()
            .without_environment()
            .env("LC_ALL", locale)
            .env("LANG", locale)
            .urls([server.url("/grüße"), "http://\u{1b}[31m\u{fc}".to_owned()])
            .arg("--ordered")
            .expect_exit(1);
        assert_eq!(done.records[0].bytes, Some("/gr%C3%BC%C3%9Fe".len() as u64));
        assert_eq!(done.records[1].url, "http://\\u{1b}[31mü");
    }
}

#[test]
fn a_device_that_never_ends_is_read_in_bounded_memory() {
    for device in ["/dev/zero", "/dev/urandom"] {
        let done = Run::new()
            .text()
            .args(["--stop-after=1s", device])
            .expect_exit(1);
        assert!(done.stderr.contains("--stop-after"), "{}", done.stderr);
        assert!(done.peak < FLAT, "{device}: {} KiB", done.peak);
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_failed_line() {
    let server = pages();
    let mut list = vec![b'x'; 100 << 20];
    write!(list, "\n{}\n", server.url("/behind")).unwrap();
    let done = Run::new().stdin(list).arg("--ordered").expect_exit(1);
    let kinds: Vec<_> = done
        .records
        .iter()
        .map(|record| record.error.as_ref().map(|error| error.kind))
        .collect();
    assert_eq!(kinds, [Some(ErrorKind::InvalidUrl), None]);
    assert!(done.stdout.len() < 10_000, "it is not repeated");
    assert!(done.peak < FLAT, "{} KiB", done.peak);
}

#[test]
fn a_list_that_may_not_be_read_is_told_by_name() {
    let out = Out::new();
    let list = out.beside("list");
    std::fs::write(&list, "http://a/\n").unwrap();
    let done = Run::new()
        .text()
        .args([list.join("below").to_str().unwrap()])
        .expect_exit(2);
    assert!(done.stderr.contains("list/below"), "{}", done.stderr);
    insta::assert_snapshot!("list_below_a_file", placeholders(&done.stderr, &[]));
}

#[test]
fn international_names_go_out_in_ascii() {
    let hosts: &[_] = &["xn--bcher-kva.example", "xn--4gbrim.example", "a.example"];
    let server = Server::http(|request| {
        let host = crate::support::header(request, "host").unwrap_or_default();
        response("200 OK", &[], host.as_bytes())
    });
    let port = server.addr.port();
    let done = Run::new()
        .args(["--ordered", "--body"])
        .arg(format!("--resolve=*:{port}:127.0.0.1"))
        .urls([
            format!("http://bücher.example:{port}/"),
            format!("http://موقع.example:{port}/"),
            // Full-width letters and an ideographic full stop form the same name.
            format!("http://ａ。example:{port}/"),
        ])
        .expect_exit(0);
    for (record, host) in done.records.iter().zip(hosts) {
        assert_eq!(record.body.as_deref(), Some(&*format!("{host}:{port}")));
    }
}

#[test]
fn ipv6_addresses_and_odd_ports_are_hosts_like_any_other() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: this machine has no IPv6 on loopback");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    let out = Out::new();
    let url = format!("http://[0:0::1]:{port}/a.txt");
    let done = out
        .run()
        .args(["--ordered", "-j1"])
        .urls([
            &*url,
            "http://127.0.0.1:0/",
            "http://127.0.0.1:65536/",
            "http://[::1/",
            "http://[::1%25lo]/",
        ])
        .args(["--retries=0"])
        .expect_exit(1);
    assert_eq!(done.records[0].url, format!("http://[::1]:{port}/a.txt"));
    let file = format!("0--1+ipv6+http+{port}/a.txt");
    assert_eq!(done.records[0].file.as_deref(), Some(&*file));
    let kinds: Vec<_> = done.records[1..]
        .iter()
        .map(|record| record.error.as_ref().unwrap().kind)
        .collect();
    assert_eq!(kinds[1..], [ErrorKind::InvalidUrl; 3]);
    assert!(matches!(
        kinds[0],
        ErrorKind::Refused | ErrorKind::Unreachable
    ));
}

fn answer(mut stream: TcpStream) {
    let mut head = [0; 4096];
    if stream.read(&mut head).is_ok() {
        let _ = stream.write_all(&response("200 OK", &["Connection: close"], b"six"));
    }
}

#[test]
fn encoded_dots_and_slashes_lead_nowhere() {
    let server = Server::http(|request| response("200 OK", &[], path(request).as_bytes()));
    let out = Out::new();
    let paths = [
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/a/..%5c..%5cboot.ini",
        "/%00",
        "/a%00.html",
        "/%2f%2fetc",
        "//etc//passwd",
        "/.fetchall/lock",
        "/%2efetchall/lock",
        "/fetchall.jsonl",
        "/~root/.ssh/id",
        "/C:/windows",
        "/con",
        "/%E2%80%AE",
        "/\u{1b}[2J",
        "/a;b",
        "/$(reboot)",
        "/`reboot`",
        "/-rf",
    ];
    let done = out
        .run()
        .urls(paths.map(|path| server.url(path)))
        .expect_exit(0);
    let mut found = Vec::new();
    files(&out.path(), &mut found);
    let ours = [out.journal_path(), out.path().join(".fetchall/lock")];
    found.retain(|file| !ours.contains(file));
    assert_eq!(found.len(), paths.len(), "{found:?}");
    let host = out
        .path()
        .join(format!("127.0.0.1+http+{}", server.addr.port()));
    let is_there = |record: &Record| out.file(record).starts_with(&host);
    assert!(done.records.iter().all(is_there), "{found:?}");
    for record in &done.records {
        let sent = record.url.split_once(&server.addr.to_string()).unwrap().1;
        assert_eq!(out.body(record), sent.as_bytes());
        assert!(record.file.as_ref().unwrap().is_ascii());
    }
}

/// Collects the files below a directory.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn what_servers_say_comes_out_harmless_everywhere() {
    // Headers may contain bytes from 0x80 on; 0x9b starts an escape sequence in old terminals.
    let server = Server::http(|request| match path(request) {
        "/to" => response("302 \u{9b}31m", &["Location: http://\u{1b}"], b""),
        "/type" => response(
            "200 OK",
            &["Content-Type: text/\u{9b}31m", "ETag: \"\u{9b}\""],
            b"x",
        ),
        "/coding" => response("200 OK", &["Content-Encoding: br\u{9b}"], b"x"),
        _ => response("404 \u{9b}2J", &["Location: \u{9b}"], b"\x1b[2J"),
    });
    let urls = ["/to", "/type", "/coding", "/no"].map(|path| server.url(path));
    let report = Out::new();
    for flags in [&["-vv", "--color=always"][..], &["-v", "--json"], &["-q"]] {
        let done = report
            .run()
            .text()
            .args(flags.iter().copied())
            .env("RUST_LOG", "trace")
            .arg("--retries=0")
            .urls(urls.clone())
            .go();
        let all = format!("{}{}", done.stdout, done.stderr);
        let journal = std::fs::read_to_string(report.journal_path()).unwrap();
        for text in [&all, &journal] {
            let plain = [
                "\u{1b}[0m",
                "\u{1b}[31m",
                "\u{1b}[32m",
                "\u{1b}[2m",
                "\u{1b}[3m",
            ]
            .iter()
            .fold(text.clone(), |text, ours| text.replace(ours, ""));
            let plain = plain.replace("\u{1b}[33m", "").replace("\u{1b}[34m", "");
            let plain = plain.replace("\u{1b}[35m", "");
            let bad = plain.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(bad, None, "{flags:?}: {plain:?}");
        }
    }
}

/// The windows of separate decoders would take many times the shared budget.
#[test]
fn what_decoders_remember_is_bounded_for_all_of_them_together() {
    let body: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(1 << 20)
        .collect();
    let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packer.window_log(23).unwrap();
    for _ in 0..12 {
        packer.write_all(&body).unwrap();
    }
    let zstd = packer.finish().unwrap();
    let brotli = include_bytes!("../../fixtures/bodies/zeros-256MiB.br");
    let server = Server::http(move |request| match path(request) {
        "/br" => response("200 OK", &["Content-Encoding: br"], brotli),
        _ => response("200 OK", &["Content-Encoding: zstd"], &zstd),
    });
    for (path, size, kind) in [("/zstd", 12, None), ("/br", 6, Some(ErrorKind::TooLarge))] {
        let done = Run::new()
            .args(["-j64", "--per-host=64"])
            .arg(format!("--max-size={size}MiB"))
            .urls(vec![server.url(path); 64])
            .go();
        let kinds = done
            .records
            .iter()
            .map(|record| record.error.as_ref().map(|error| error.kind));
        assert_eq!(kinds.filter(|found| *found == kind).count(), 64);
        assert!(done.peak < MODEST, "{path}: {} KiB", done.peak);
    }
}

/// jemalloc prints what it is configured with. Where the package is built, no variable sets this.
#[test]
fn the_allocator_is_configured() {
    let output = binary()
        .arg("--version")
        .env("_RJEM_MALLOC_CONF", "stats_print:true")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        printed.contains("opt.tcache_gc_incr_bytes: 16777216"),
        "{printed}"
    );
}
