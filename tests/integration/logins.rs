//! Cookies of a run, `.netrc`, and client certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::support::{Authority, Run, Server, Texts, TlsServer, header, path, response};

/// A directory for the files of a login.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.named(name)
    }

    fn named(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// A site whose pages want the cookie that `/login` sets.
fn site() -> Server {
    Server::http(|request| match (path(request), header(request, "cookie")) {
        ("/login", _) => response("200 OK", &["Set-Cookie: session=s3cret; Path=/"], b"in"),
        ("/gone", _) => response("404 Not Found", &[], b""),
        (_, Some(cookies)) if cookies.contains("session=s3cret") => response("200 OK", &[], b"ok"),
        _ => response("403 Forbidden", &[], b""),
    })
}

#[test]
fn b_with_an_equals_sign_is_a_header_for_the_origins_of_the_list() {
    let other = Server::http(|_| response("200 OK", &[], b""));
    let to = format!("Location: {}", other.url("/"));
    let home = Server::http(move |_| response("302 Found", &[&to], b""));
    Run::new()
        .args(["-HCookie: h=0", "-ba=1; b=2", "-b", "c=3", &home.url("/")])
        .expect_exit(0);
    assert_eq!(
        header(&home.requests()[0], "cookie"),
        Some("h=0; a=1; b=2; c=3")
    );
    assert_eq!(header(&other.requests()[0], "cookie"), None);
}

#[test]
fn without_a_jar_a_cookie_stays_with_its_url() {
    let server = site();
    let done = Run::new()
        .args(["-j1", "-ba=1"])
        .urls([server.url("/login"), server.url("/page")])
        .expect_exit(1);
    assert_eq!(done.of("/page").status, Some(403));
}

#[test]
fn a_jar_is_for_all_urls_and_the_next_run_reads_what_this_one_wrote() {
    let (server, folder) = (site(), Folder::new());
    let jar = folder.named("jar.txt");
    for (args, urls) in [
        // The file does not exist yet.
        (vec!["-b", &jar, "-c", &jar], vec!["/login", "/page"]),
        (vec!["-b", &jar], vec!["/page"]),
        (vec!["-b", &jar, "-c", &jar], vec!["/page"]),
    ] {
        Run::new()
            .args(["-j1"])
            .args(args)
            .urls(urls.into_iter().map(|path| server.url(path)))
            .expect_exit(0);
        let mode = fs::metadata(&jar).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let host = server.addr.ip();
        let line = format!("{host}\tFALSE\t/\tFALSE\t0\tsession\ts3cret\n");
        let text = fs::read_to_string(&jar).unwrap();
        assert!(text.starts_with("# Netscape HTTP Cookie File\n"), "{text}");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn curl_reads_and_writes_the_same_cookies() {
    if std::process::Command::new("curl")
        .arg("-V")
        .output()
        .is_err()
    {
        return eprintln!("not tested: there is no curl");
    }
    let (server, folder) = (site(), Folder::new());
    let (ours, theirs) = (folder.named("ours.txt"), folder.named("theirs.txt"));
    Run::new()
        .args(["-c", &ours, &server.url("/login")])
        .expect_exit(0);
    let curl = |args: &[&str]| {
        let mut command = std::process::Command::new("curl");
        command.args(["-sf", "--noproxy", "*"]).args(args);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(curl(&["-b", &ours, &server.url("/page")]), "ok");
    curl(&["-c", &theirs, &server.url("/login")]);
    Run::new()
        .args(["-b", &theirs, &server.url("/page")])
        .expect_exit(0);
}

#[test]
fn the_jar_is_written_however_the_run_ends_and_replaces_a_readable_file_by_a_private_one() {
    let (server, folder) = (site(), Folder::new());
    let jar = folder.file("jar.txt", "old");
    fs::set_permissions(&jar, fs::Permissions::from_mode(0o644)).unwrap();
    Run::new()
        .args(["-j1", "--max-failures=0", "--retries=0", "-c", &jar])
        .urls(["/login", "/gone", "/page"].map(|path| server.url(path)))
        .expect_exit(1);
    let text = fs::read_to_string(&jar).unwrap();
    assert!(text.contains("s3cret") && !text.contains("old"), "{text}");
    let mode = fs::metadata(&jar).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// `producer | fetchall -c jar -`, and the producer failed.
#[test]
fn an_empty_stdin_leaves_the_jar_alone() {
    let folder = Folder::new();
    let jar = folder.file("jar.txt", "old");
    for args in [vec!["-c", &jar], vec!["-c", &jar, "-"]] {
        let done = Run::new().args(args).stdin("").expect_exit(0);
        assert!(done.stderr.contains("is left as it was"), "{}", done.stderr);
        assert_eq!(fs::read_to_string(&jar).unwrap(), "old");
    }
    let list = folder.file("list", "");
    Run::new().args(["-c", &jar, &list]).expect_exit(0);
    assert_ne!(fs::read_to_string(&jar).unwrap(), "old");
}

#[test]
fn a_cookie_file_is_sent_only_where_its_cookies_belong() {
    let (server, folder) = (
        Server::http(|_| response("200 OK", &[], b"")),
        Folder::new(),
    );
    let port = server.addr.port();
    let jar = folder.file(
        "cookies.txt",
        ".a.test\tTRUE\t/\tFALSE\t0\twide\t1\na.test\tFALSE\t/in\tFALSE\t0\tnarrow\t2\n\
         a.test\tFALSE\t/\tTRUE\t0\tsafe\t3\n",
    );
    for (url, cookies) in [
        ("a.test", Some("wide=1")),
        ("b.a.test", Some("wide=1")),
        ("c.test", None),
    ] {
        let rule = format!("--resolve=*:{port}:127.0.0.1");
        let url = format!("http://{url}:{port}/");
        Run::new().args(["-b", &jar, &rule, &url]).expect_exit(0);
        let requests = server.requests();
        assert_eq!(header(requests.last().unwrap(), "cookie"), cookies, "{url}");
    }
}

/// As editors, exporters and people leave them.
#[test]
fn a_line_of_a_cookie_file_that_is_no_cookie_is_left_out_and_named() {
    let (server, folder) = (
        Server::http(|_| response("200 OK", &[], b"")),
        Folder::new(),
    );
    let lines = [
        "\u{feff}# Netscape HTTP Cookie File",
        "127.0.0.1\tFALSE\t/\tFALSE\t0\ts3cret",
        "",
        "#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tquoted\t\"a b\"",
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tk\ts3cret;x",
        "127.0.0.1 FALSE / FALSE 0 k s3cret",
    ];
    let jar = folder.file("cookies.txt", &lines.join("\r\n"));
    let run = |more: &[&str]| {
        let run = Run::new().args(["-b", &jar, &server.url("/")]);
        run.args(more.iter().copied()).expect_exit(0)
    };
    let done = run(&[]);
    let requests = server.requests();
    assert_eq!(
        header(&requests[0], "cookie"),
        Some("quoted=\"a b\"; s3cret=")
    );
    assert!(
        done.stderr
            .contains("cookies.txt: line 5 and 1 more left out: "),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
    assert_eq!(run(&["-q"]).stderr, "");
}

#[test]
fn text_with_an_equals_sign_is_a_cookie_even_if_a_file_is_called_so() {
    let (server, folder) = (
        Server::http(|_| response("200 OK", &[], b"")),
        Folder::new(),
    );
    let name = folder.file("a=s3cret", "");
    let done = Run::new()
        .args(["-b", &name, &server.url("/")])
        .expect_exit(0);
    assert_eq!(header(&server.requests()[0], "cookie"), Some(&*name));
    assert!(
        done.stderr.contains("a file is called so") && !done.stderr.contains("s3cret"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_loop_is_a_loop_with_a_jar_too_and_a_cookie_that_changes_is_progress() {
    let stuck = Server::http(|_| response("302 Found", &["Location: /", "Set-Cookie: a=1"], b""));
    let count = std::sync::atomic::AtomicUsize::new(0);
    let moves = Server::http(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let cookie = format!("Set-Cookie: n={n}");
        match n {
            6.. => response("200 OK", &[], b"there"),
            _ => response("302 Found", &["Location: /", &cookie], b""),
        }
    });
    let folder = Folder::new();
    let jar = folder.named("jar.txt");
    let done = Run::new()
        .args(["-c", &jar, &stuck.url("/")])
        .expect_exit(1);
    assert!(done.message().contains("loop"), "{}", done.message());
    // Without a cookie once, with it three times; then, with the jar, only three times.
    assert_eq!(stuck.requests().len(), 4);
    Run::new()
        .args(["-b", &jar, &stuck.url("/")])
        .expect_exit(1);
    assert_eq!(stuck.requests().len(), 7);
    Run::new()
        .args(["-c", &jar, &moves.url("/")])
        .expect_exit(0);
}

#[test]
fn a_jar_without_cookies_is_read_where_the_run_writes_it_and_expired_ones_are_a_warning() {
    let (server, folder) = (
        Server::http(|_| response("200 OK", &[], b"")),
        Folder::new(),
    );
    let jar = folder.file("jar.txt", "");
    for _ in 0..2 {
        let run = Run::new().args(["-b", &jar, "-c", &jar, &server.url("/")]);
        assert!(!run.expect_exit(0).stderr.contains("warning"));
    }
    let old = folder.file("old.txt", "127.0.0.1\tfalse\t/\tfalse\t1000\tk\tv\n");
    let done = Run::new()
        .args(["-b", &old, &server.url("/")])
        .expect_exit(0);
    assert!(
        done.stderr.contains("old.txt: all cookies have expired"),
        "{}",
        done.stderr
    );
}

#[test]
fn mistakes_with_cookies_say_what_to_do_and_repeat_no_cookie() {
    let folder = Folder::new();
    let json = folder.file("cookies.json", "[{\"name\":\"s3cret\"}]");
    let broken = folder.file(
        "broken.txt",
        "# Netscape HTTP Cookie File\n\na.test s3cret\n",
    );
    let absent = folder.named("s3cret");
    let empty = folder.file("empty.txt", "");
    let title = folder.file("title.txt", "# Netscape HTTP Cookie File\n\n");
    let mut texts = Texts::new();
    for (case, args) in [
        ("absent", vec!["-b", &*absent]),
        ("json", vec!["-b", &json]),
        ("broken", vec!["-b", &broken]),
        ("empty", vec!["-b", &empty]),
        ("only a title", vec!["-b", &title]),
        ("line break", vec!["-b", "a=s3cret\nb"]),
        ("stdout", vec!["-c", "-"]),
        ("a number", vec!["-c", "16"]),
        ("a URL", vec!["-c", "http://a.test/jar"]),
    ] {
        let done = Run::new()
            .text()
            .args(args)
            .arg("http://127.0.0.1:9/")
            .expect_exit(2);
        assert!(!done.stderr.contains("s3cret"), "{case}: {}", done.stderr);
        texts.add(case, &done.stderr);
    }
    insta::assert_snapshot!("mistakes_with_cookies", texts);
    let done = Run::new()
        .text()
        .args(["-ba=s3cret", "--print-config"])
        .expect_exit(0);
    assert!(
        done.stdout.contains("cookie = [\"***\"]"),
        "{}",
        done.stdout
    );
}

/// A server that answers with the user name and password that it got.
fn who() -> Server {
    Server::http(|request| {
        let given = header(request, "authorization").unwrap_or("none");
        response("200 OK", &[], given.as_bytes())
    })
}

fn basic(user: &str) -> String {
    use base64::Engine as _;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(user)
    )
}

#[test]
fn netrc_is_for_the_hosts_it_names_and_comes_after_what_is_nearer() {
    let (server, folder) = (who(), Folder::new());
    let port = server.addr.port();
    let netrc = folder.file(
        "netrc",
        "machine a.test login me password s3cret\nmachine a.test login two password \"2 2\"\n",
    );
    let with_default = folder.file(
        "with-default",
        "machine a.test login me password s3cret\ndefault login any password x\n",
    );
    let line =
        format!("{{\"url\":\"http://a.test:{port}/\",\"headers\":{{\"Authorization\":\"own\"}}}}");
    for (file, args, url, expected) in [
        (&netrc, &[][..], "http://a.test", basic("me:s3cret")),
        (&netrc, &[], "http://A.TEST", basic("me:s3cret")),
        (&netrc, &[], "http://b.a.test", "none".into()),
        (&netrc, &[], "http://b.test", "none".into()),
        (&with_default, &[], "http://b.test", basic("any:x")),
        (&netrc, &["-uon:line"], "http://a.test", basic("on:line")),
        (
            &netrc,
            &["-HAuthorization: own"],
            "http://a.test",
            "own".into(),
        ),
        (&netrc, &[], "http://in:url@a.test", basic("in:url")),
        (&netrc, &[], "http://two@a.test", basic("two:2 2")),
        (&netrc, &[], "http://three@a.test", basic("three:")),
        (&netrc, &["--input-format=jsonl"], "", "own".into()),
    ] {
        let run = Run::new()
            .args(["--body", "--netrc-file", file])
            .arg(format!("--resolve=*:{port}:127.0.0.1"))
            .args(args.iter().copied());
        let done = match url {
            "" => run.stdin(line.clone()).expect_exit(0),
            url => run.arg(format!("{url}:{port}/")).expect_exit(0),
        };
        let body = format!("\"body\":\"{expected}\"");
        assert!(
            done.stdout.contains(&body),
            "{url} {args:?}: {}",
            done.stdout
        );
    }
}

#[test]
fn netrc_follows_redirects_by_host_and_nothing_of_it_is_shown() {
    let (named, folder) = (who(), Folder::new());
    let (port, other) = (named.addr.port(), who());
    let to_other = format!("Location: http://other.test:{}/", other.addr.port());
    let to_named = format!("Location: http://named.test:{port}/");
    let home = Server::http(move |request| match path(request) {
        "/named" => response("302 Found", &[&to_named], b""),
        _ => response("302 Found", &[&to_other], b""),
    });
    let netrc = folder.file("netrc", "machine named.test login me password s3cret\n");
    let rules =
        [&named, &other].map(|server| format!("--resolve=*:{0}:127.0.0.1", server.addr.port()));
    let done = Run::new()
        .args(["-vv", "--netrc-file", &netrc])
        .args(rules)
        .env("RUST_LOG", "trace")
        .urls([home.url("/named"), home.url("/other")])
        .expect_exit(0);
    assert_eq!(
        header(&named.requests()[0], "authorization"),
        Some(&*basic("me:s3cret"))
    );
    for request in home.requests().iter().chain(&other.requests()) {
        assert_eq!(header(request, "authorization"), None);
    }
    let shown = format!("{}{}", done.stdout, done.stderr);
    for secret in ["s3cret", &basic("me:s3cret")[6..]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn n_reads_the_file_in_the_home_directory_and_warns_if_others_can_read_it() {
    let (server, folder) = (who(), Folder::new());
    let netrc = folder.file(".netrc", "machine 127.0.0.1 login me password s3cret\n");
    let home = folder.0.path().to_str().unwrap();
    for (mode, is_warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&netrc, fs::Permissions::from_mode(mode)).unwrap();
        let done = Run::new()
            .env("HOME", home)
            .args(["-n", "--body", &server.url("/")])
            .expect_exit(0);
        assert!(done.stdout.contains(&basic("me:s3cret")), "{}", done.stdout);
        let warning = format!("fetchall: warning: {netrc} has passwords that other users can read");
        assert_eq!(done.stderr.contains(&warning), is_warned, "{}", done.stderr);
    }
}

#[test]
fn mistakes_with_netrc_say_what_is_wrong_and_repeat_no_password() {
    let folder = Folder::new();
    let mut texts = Texts::new();
    texts.hide(folder.0.path().display(), "DIR");
    let open = folder.file("open", "machine a.test password \"s3cret");
    let empty = folder.file("empty", "s3cret");
    let absent = folder.named("absent");
    for file in [&open, &empty, &absent] {
        let done = Run::new()
            .text()
            .args(["--netrc-file", file, "http://127.0.0.1:9/"])
            .expect_exit(2);
        assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
        texts.add(file, &done.stderr);
    }
    insta::assert_snapshot!("mistakes_with_netrc", texts);
}

/// A TLS server that wants a certificate of this authority, and answers with what it got.
fn wanting(authority: &Authority) -> TlsServer {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let (cert, key) = authority.files("localhost");
    let chain = CertificateDer::pem_file_iter(cert.path()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(key.path()).unwrap(),
        );
    TlsServer::start(config.unwrap())
}

#[test]
fn a_client_certificate_is_presented_to_a_server_that_asks_for_one() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let server = wanting(&authority);
    let (cert, key) = authority.files("me");
    let both = [cert.path(), key.path()].map(|path| fs::read_to_string(path).unwrap());
    let both = folder.file("both.pem", &both.concat());
    let (cert, key) = (cert.path().to_str().unwrap(), key.path().to_str().unwrap());
    let trusted = authority.file();
    let run = || {
        let cacert = format!("--cacert={}", trusted.path().display());
        Run::new().args(["--retries=0", &cacert, &server.url()])
    };
    run().args(["-E", cert, "--key", key]).expect_exit(0);
    run().args(["--cert", &both]).expect_exit(0);
    Run::new()
        .settings(&format!("cert = '{cert}'\nkey = '{key}'\n"))
        .args([
            &format!("--cacert={}", trusted.path().display()),
            &server.url(),
        ])
        .expect_exit(0);
    let (stranger, strange_key) = Authority::new().files("me");
    let (stranger, strange_key) = (
        stranger.path().to_str().unwrap(),
        strange_key.path().to_str().unwrap(),
    );
    run()
        .args(["-E", stranger, "--key", strange_key])
        .expect_exit(1);
    let done = run().expect_exit(1);
    insta::assert_snapshot!("no_client_certificate", done.message());
}

#[test]
fn client_certificates_that_cannot_be_used_are_usage_errors_without_their_password() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (cert, key) = authority.files("me");
    let (_, other_key) = authority.files("me");
    let (cert, other_key) = (
        cert.path().to_str().unwrap(),
        other_key.path().to_str().unwrap(),
    );
    let plain = fs::read_to_string(key.path()).unwrap();
    let encrypted = plain.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
    let encrypted = folder.file("encrypted.pem", &encrypted);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let old_file = folder.file("old.pem", old);
    let p12 = folder.file("me.p12", "0\u{1}\u{2}");
    let torn_key = folder.file("torn.key", &plain[..plain.len() - 40]);
    let torn_old = folder.file("torn-old.pem", &old[..70]);
    let whole = fs::read_to_string(cert).unwrap();
    let torn_cert = folder.file("torn.pem", &whole[..whole.len() / 2]);
    let both = folder.file("both.pem", &(whole + &plain[..plain.len() / 2]));
    let mut texts = Texts::new();
    for (name, shown) in [(cert, "CERT"), (other_key, "OTHER-KEY")] {
        texts.hide(name, shown);
    }
    texts.hide(folder.0.path().display(), "DIR");
    for args in [
        vec!["-E", cert, "--key", &encrypted],
        vec!["-E", cert, "--key", &old_file],
        vec!["-E", cert, "--key", &torn_key],
        vec!["-E", cert, "--key", &torn_old],
        vec!["-E", &torn_cert],
        vec!["-E", &both],
        vec!["-E", cert, "--key", other_key],
        vec!["-E", cert],
        vec!["-E", &p12],
        vec!["-E", "/nowhere/me.pem"],
        vec!["-E", &format!("{cert}:s3cret")],
        vec!["--key", other_key],
    ] {
        let done = Run::new()
            .text()
            .args(args.iter().copied())
            .arg("https://127.0.0.1:9/")
            .expect_exit(2);
        assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
        texts.add(args.join(" ").replace("s3cret", "PASSWORD"), &done.stderr);
    }
    insta::assert_snapshot!("mistakes_with_certificates", texts);
}

/// The pattern of NASA's Earthdata: data redirects to a login host, which wants Basic credentials,
/// sets a cookie of its own, and sends back with a code, for which data sets its cookie.
#[test]
fn a_login_host_on_the_way_gets_its_password_and_the_data_its_cookie() {
    let (data_port, login_port) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0)));
    let ports = (Arc::clone(&data_port), Arc::clone(&login_port));
    let data = Server::http(move |request| {
        let login = format!(
            "Location: http://urs.login.test:{}/oauth/authorize?state={}",
            ports.1.load(SeqCst),
            path(request),
        );
        let cookie = header(request, "cookie").unwrap_or_default();
        match path(request) {
            path if path.starts_with("/auth?code=") => response(
                "302 Found",
                &[
                    &format!("Location: {}", path.rsplit('=').next().unwrap()),
                    "Set-Cookie: data-session=1; Path=/; HttpOnly",
                ],
                b"",
            ),
            path if cookie.contains("data-session=1") => response("200 OK", &[], path.as_bytes()),
            _ => response("302 Found", &[&login], b""),
        }
    });
    let ports = (Arc::clone(&data_port), Arc::clone(&login_port));
    let expected = basic("me:s3cret");
    let login = Server::http(move |request| {
        if header(request, "authorization") != Some(&expected) {
            return response(
                "401 Unauthorized",
                &["WWW-Authenticate: Basic realm=x"],
                b"",
            );
        }
        let state = path(request).rsplit('=').next().unwrap();
        let back = format!(
            "Location: http://data.test:{}/auth?code=7&state={state}",
            ports.0.load(SeqCst)
        );
        response(
            "302 Found",
            &[&back, "Set-Cookie: urs=2; Domain=login.test"],
            b"",
        )
    });
    data_port.store(data.addr.port(), SeqCst);
    login_port.store(login.addr.port(), SeqCst);
    let folder = Folder::new();
    let netrc = folder.file("netrc", "machine urs.login.test login me password s3cret\n");
    let (jar, pages) = (folder.named("jar.txt"), folder.named("pages"));
    let rules =
        [&data, &login].map(|server| format!("--resolve=*:{}:127.0.0.1", server.addr.port()));
    let url = |name: &&str| format!("http://data.test:{}/{name}", data.addr.port());
    let run = |args: &[&str], names: &[&str], code| {
        Run::new()
            .args(rules.clone())
            .args(args.iter().copied())
            .urls(names.iter().map(url))
            .expect_exit(code)
    };
    // Without a jar, each URL logs in.
    run(
        &["--netrc-file", &netrc, "-o", &pages],
        &["a.nc", "b.nc"],
        0,
    );
    assert_eq!(login.requests().len(), 2);
    let saved = folder_of_host(&pages).join("a.nc");
    assert_eq!(fs::read_to_string(saved).unwrap(), "/a.nc");
    // With one, the session is there for all URLs that come later, and for the next run.
    run(&["--netrc-file", &netrc, "-c", &jar], &["c.nc"], 0);
    assert_eq!(login.requests().len(), 3);
    run(&["-b", &jar], &["d.nc", "e.nc"], 0);
    assert_eq!(login.requests().len(), 3);
    for request in data.requests() {
        assert_eq!(header(&request, "authorization"), None, "{request}");
    }
    let text = fs::read_to_string(&jar).unwrap();
    assert!(
        text.contains(".login.test\tTRUE\t/oauth\tFALSE\t0\turs\t2\n"),
        "{text}"
    );
    assert!(
        text.contains("#HttpOnly_data.test\tFALSE\t/\tFALSE\t0\tdata-session\t1\n"),
        "{text}"
    );
    // Without the password, the login host says so.
    let done = run(&[], &["f.nc"], 1);
    assert_eq!(done.record().status, Some(401));
}

/// Returns the only directory of a host below the output directory.
fn folder_of_host(dir: &str) -> PathBuf {
    let mut dirs = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_host = |path: &PathBuf| path.is_dir() && !path.ends_with(".fetchall");
    dirs.find(is_host).unwrap()
}

#[test]
fn a_section_of_the_config_file_is_for_its_host_alone_at_every_hop() {
    let (data, folder) = (who(), Folder::new());
    let port = data.addr.port();
    let to = format!("Location: http://data.test:{port}/x");
    let away = Server::http(move |_| response("302 Found", &[&to], b""));
    folder.file("token.txt", "X-Token: t0ken\n");
    let toml = format!(
        "header = ['X-Run: 1', 'X-Token: run']\nuser = 'run:pw'\n\
         [host.\"Data.test\"]\nheader = ['@{}']\nuser = 'me:s3cret'\n",
        folder.named("token.txt")
    );
    let rule = format!("--resolve=*:{port}:127.0.0.1");
    let run = || Run::new().settings(&toml).arg(&rule);
    for (url, auth, token) in [
        (
            format!("http://data.test:{port}/"),
            basic("me:s3cret"),
            "t0ken",
        ),
        (format!("http://other.test:{port}/"), basic("run:pw"), "run"),
        (
            format!("http://sub.data.test:{port}/"),
            basic("run:pw"),
            "run",
        ),
        (
            format!("http://in:url@data.test:{port}/"),
            basic("in:url"),
            "t0ken",
        ),
    ] {
        run().arg(&url).expect_exit(0);
        let requests = data.requests();
        let request = requests.last().unwrap();
        assert_eq!(header(request, "authorization"), Some(&*auth), "{url}");
        assert_eq!(header(request, "x-token"), Some(token), "{url}");
        assert_eq!(header(request, "x-run"), Some("1"), "{url}");
    }
    // A redirect from elsewhere: what is for the host is sent, what is for the list is not.
    run().arg(away.url("/")).expect_exit(0);
    let requests = data.requests();
    let request = requests.last().unwrap();
    assert_eq!(header(request, "authorization"), Some(&*basic("me:s3cret")));
    assert_eq!(header(request, "x-run"), None);
    assert_eq!(header(&away.requests()[0], "x-token"), Some("run"));
}

#[test]
fn a_section_presents_a_certificate_to_its_host_alone() {
    let authority = Authority::new();
    let (cert, key) = authority.files("me");
    let server = wanting(&authority);
    let trusted = authority.file();
    let cacert = format!("--cacert={}", trusted.path().display());
    let section = |host: &str| {
        format!(
            "[host.{host}]\ncert = '{}'\nkey = '{}'\n",
            cert.path().display(),
            key.path().display()
        )
    };
    for (host, code) in [("localhost", 0), ("other", 1)] {
        Run::new()
            .settings(&section(host))
            .args(["--retries=0", &cacert, &server.url()])
            .expect_exit(code);
    }
}

#[test]
fn a_section_sets_the_limits_of_its_host() {
    let server = Server::http(|_| response("500 Oops", &["Connection: close"], b""));
    let port = server.addr.port();
    let toml = "retries = 1\n[host.\"many.test\"]\nretries = 3\nper-host = 1\n\
                host-interval = '60ms'\n[host.\"none.test\"]\nretries = 0\n";
    let urls = ["many", "none", "other"].map(|name| format!("http://{name}.test:{port}/"));
    let done = Run::new()
        .settings(toml)
        .arg(format!("--resolve=*:{port}:127.0.0.1"))
        .urls(urls)
        .expect_exit(1);
    for (name, attempts) in [("many", 4), ("none", 1), ("other", 2)] {
        let record = done.of(&format!("{name}.test:{port}/"));
        assert_eq!(record.attempts, attempts, "{name}");
    }
    assert!(done.took.as_millis() >= 180, "{:?}", done.took);
}

#[test]
fn mistakes_in_sections_name_the_line_and_repeat_no_secret() {
    let mut texts = Texts::new();
    for toml in [
        "[host.\"a.test\"]\nusr = 's3cret'\n",
        "[host.\"a.test\"]\nconcurrency = 3\n",
        "[host.\"a.test\"]\nfrobnicate = 3\n",
        "[host.\"a.test\"]\nper-host = 'many'\n",
        "[host.\"a.test\"]\nretries = -1\n",
        "[host.\"a.test\"]\nheader = 's3cret'\n",
        "[host.\"a.test\"]\nheader = 'Cookie: s3cret'\n",
        "[host.\"a.test\"]\nuser = 'me:@/nowhere/s3cret'\n",
        "[host.\"a.test\"]\nkey = 'a.pem'\n",
        "[host.\"http://a.test/\"]\nretries = 1\n",
        "[host.a.test]\nretries = 1\n",
        "[host]\nretries = 1\n",
        "[host.\"*.a.test\"]\nretries = 1\n",
        "[host.\"a.test.\"]\nretries = 1\n",
        "[host.\"a.test:81\"]\nretries = 1\n",
        "[host.\"[::1]:81\"]\nretries = 1\n",
        "[host.\"a.test\"]\nretries = 1\n[host.\"A.test\"]\nretries = 2\n",
        "[host.\"::1\"]\nretries = 1\n[host.\"[::1]\"]\nretries = 2\n",
    ] {
        let run = |arg| Run::new().text().settings(toml).arg(arg).expect_exit(2);
        let done = run("http://127.0.0.1:9/");
        let message = |stderr: &str| stderr.rsplit_once("settings.toml").unwrap().1.to_owned();
        let printing = run("--print-config");
        assert_eq!(message(&printing.stderr), message(&done.stderr));
        assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
        let stderr = done
            .stderr
            .rsplit_once("settings.toml")
            .unwrap()
            .1
            .to_owned();
        texts.add(toml.replace('\n', " ").replace("s3cret", "SECRET"), &stderr);
    }
    insta::assert_snapshot!("mistakes_in_sections", texts);
}

#[test]
fn print_config_shows_the_sections_without_their_secrets() {
    let toml = "[host.\"b.test\"]\nretries = 5\n[host.\"a.test\"]\nuser = 'me:s3cret'\n\
                header = ['X-Token: s3cret']\ncert = 'me.pem'\nper-host = 'auto:8'\n";
    let done = Run::new()
        .text()
        .settings(toml)
        .arg("--print-config")
        .expect_exit(0);
    let sections = done.stdout.split_once("\n[host.").unwrap().1;
    let lines: Vec<_> = sections
        .lines()
        .map(|line| line.split(" # ").next().unwrap().trim_end())
        .collect();
    insta::assert_snapshot!("printed_sections", lines.join("\n"));
}
