/// Servers that fail in every way, and the lists for them.
mod faults;
/// The secrets, and the search for them.
mod search;

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetchall::ErrorKind;
use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

use faults::{fail, json_list, serve_http2, text_list};
use search::{
    BEARER, COOKIE, LINE, LOCATION, PROXY, TOKEN, USER, assert_none_in, encoded, found_in,
};

use crate::support::{
    Background, Connection, Done, Run, Server, binary, closed_port, header, path, until,
};

/// Returns every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

fn content(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut text)
        .unwrap();
    text
}

/// A directory for the inputs of a run, and one for its outputs.
struct Places {
    inputs: TempDir,
    outputs: TempDir,
    lists: [String; 2],
}

impl Places {
    fn new(server: SocketAddr) -> Self {
        let places = Self {
            inputs: tempfile::tempdir().unwrap(),
            outputs: tempfile::tempdir().unwrap(),
            lists: [String::new(), String::new()],
        };
        let lists = [
            places.input("list.txt", &text_list(server)),
            places.input("list.jsonl", &json_list(server)),
        ];
        Self { lists, ..places }
    }

    fn input(&self, name: &str, content: &str) -> String {
        let path = self.inputs.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn output(&self, name: &str) -> String {
        let path = self.outputs.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Prepares a run with all output enabled. `--failed` goes to the inputs, because it may
    /// contain secrets.
    fn run(&self) -> Run {
        let failed = self.inputs.path().join("failed.jsonl");
        Run::new()
            .env("RUST_LOG", "trace")
            .args([
                "-vv",
                "--progress=plain",
                "--retries=1",
                "--stall-timeout=200ms",
            ])
            .arg(format!("--failed={}", failed.display()))
            .args(self.lists.clone())
    }

    /// Passes the secrets of a run in arguments.
    fn in_arguments(&self) -> Vec<String> {
        let user = format!("ann:{USER}");
        let token = format!("X-Token: {TOKEN}");
        let cookie = format!("Cookie: sid={COOKIE}");
        ["-u", &user, "-H", &token, "-H", &cookie]
            .map(str::to_owned)
            .into()
    }

    /// Passes the same secrets in files.
    fn in_files(&self) -> Vec<String> {
        let user = format!("ann:@{}", self.input("password", &format!("{USER}\n")));
        let headers = format!("# two\r\nX-Token: {TOKEN}\r\n\r\nCookie: sid={COOKIE}\r\n");
        let headers = format!("@{}", self.input("headers", &headers));
        ["-u", &user, "-H", &headers].map(str::to_owned).into()
    }

    /// Checks that nothing a run printed or left behind contains a secret.
    fn assert_silence(&self, done: &Done) {
        assert!(done.stderr.contains("TRACE"), "{}", done.stderr);
        assert_none_in("stdout", done.stdout.as_bytes());
        assert_none_in("stderr", done.stderr.as_bytes());
        for path in files(self.outputs.path()) {
            assert_none_in("a name", path.to_str().unwrap().as_bytes());
            if path.is_file() {
                assert_none_in(path.to_str().unwrap(), &content(&path));
            }
        }
    }
}

/// Checks that the server received the secrets; otherwise their absence elsewhere would prove
/// nothing.
fn assert_sent(server: &Server) {
    let requests = server.requests();
    // A proxy receives whole URLs.
    let proxied = |page: &str| server.url(page);
    let of = |page: &str| {
        let is_it = |request: &&String| path(request) == page || path(request) == proxied(page);
        let found = requests.iter().find(is_it);
        found.unwrap_or_else(|| panic!("nobody asked for {page}"))
    };
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let plain = of("/missing");
    let cookie = format!("sid={COOKIE}");
    for (name, value) in [
        ("authorization", &*basic(format!("ann:{USER}"))),
        ("x-token", TOKEN),
        ("cookie", &cookie),
    ] {
        assert_eq!(header(plain, name), Some(value));
    }
    let own = basic(format!("bob:{LINE}"));
    assert_eq!(header(of("/own/missing"), "authorization"), Some(&*own));
    let bearer = format!("Bearer {BEARER}");
    assert_eq!(header(of("/json/missing"), "authorization"), Some(&*bearer));
    // Credentials in a redirect are not sent to the server that named them either.
    let eve = basic(format!("eve:{LOCATION}"));
    assert!(!requests.iter().any(|request| request.contains(&eve)));
}

#[test]
fn the_search_finds_secrets_in_all_their_forms() {
    let url = format!("http://bob:{}@host/", encoded(LINE));
    let basic = STANDARD.encode(format!("ann:{USER}"));
    assert_eq!(found_in(url.as_bytes()), [LINE]);
    assert_eq!(found_in(basic.as_bytes()), [USER]);
    for before in ["", "p", "pp", "ppp", "p:"] {
        let basic = STANDARD.encode(format!("{before}{PROXY}"));
        assert_eq!(found_in(basic.as_bytes()), [PROXY], "{before}");
    }
    assert_eq!(found_in(b"nothing"), [""; 0]);
}

/// The error kinds that the lists produce.
const MET: [ErrorKind; 11] = [
    ErrorKind::InvalidUrl,
    ErrorKind::Refused,
    ErrorKind::Tls,
    ErrorKind::Timeout,
    ErrorKind::Reset,
    ErrorKind::Truncated,
    ErrorKind::Protocol,
    ErrorKind::Redirect,
    ErrorKind::Status,
    ErrorKind::Decode,
    ErrorKind::TooLarge,
];

#[test]
fn no_secret_comes_out_of_a_saving_run() {
    let server = Server::start(fail);
    let places = Places::new(server.addr);
    let out = places.output("out");
    let run = || places.run().args(["-o", &out]).args(places.in_arguments());
    let done = run().expect_exit(1);
    places.assert_silence(&done);
    assert_sent(&server);
    for kind in MET {
        let met = |record: &fetchall::Record| {
            record
                .error
                .as_ref()
                .is_some_and(|error| error.kind == kind)
        };
        assert!(done.records.iter().any(met), "nothing was {kind}");
    }
    // The second run reads the journal and continues what is missing.
    places.assert_silence(&run().args(["--refresh"]).expect_exit(1));
    // The documented exception: the file can be used as a list.
    let failed = fs::read(places.inputs.path().join("failed.jsonl")).unwrap();
    let mut kept = found_in(&failed);
    kept.sort_unstable();
    assert_eq!(kept, [BEARER, LINE]);
}

#[test]
fn no_secret_comes_into_a_pack_or_a_journal() {
    let server = Server::start(fail);
    let places = Places::new(server.addr);
    for name in ["crawl.warc", "crawl.warc.gz"] {
        let done = places
            .run()
            .args(["--pack", &places.output(name), "--sha256"])
            .args(places.in_files())
            .expect_exit(1);
        places.assert_silence(&done);
        let pack = content(Path::new(&places.output(name)));
        let heads = String::from_utf8_lossy(&pack);
        assert!(heads.contains("x-token: ***") && heads.contains("authorization: ***"));
    }
    assert_sent(&server);
    let done = places
        .run()
        .args(["--journal", &places.output("alone.jsonl")])
        .args(places.in_files())
        .expect_exit(1);
    places.assert_silence(&done);
}

#[test]
fn no_secret_comes_out_of_text_lines_and_a_rehearsal() {
    let server = Server::start(fail);
    let places = Places::new(server.addr);
    let done = places
        .run()
        .text()
        .args([
            "--color=always",
            "--ordered",
            "--simulate-failure=dns=10%,tls=10%",
        ])
        .args(places.in_arguments())
        .expect_exit(1);
    places.assert_silence(&done);
}

#[test]
fn credentials_of_the_environment_are_used_and_not_shown() {
    let server = Server::start(fail);
    let places = Places::new(server.addr);
    let done = places
        .run()
        .env("FETCHALL_USER", format!("ann:{USER}"))
        .args(&places.in_files()[2..])
        .expect_exit(1);
    places.assert_silence(&done);
    assert_sent(&server);
    // The option takes precedence.
    let done = Run::new()
        .env("FETCHALL_USER", "nobody:nothing")
        .args(["-u", "me:mine", &server.url("/last")])
        .expect_exit(0);
    assert_eq!(done.records.len(), 1);
    let last = server.requests().pop().unwrap();
    let mine = format!("Basic {}", STANDARD.encode("me:mine"));
    assert_eq!(header(&last, "authorization"), Some(&*mine));
}

/// Returns the URL of a proxy with its credentials.
fn with_credentials(scheme: &str, addr: SocketAddr) -> String {
    format!("{scheme}://pat:{}@{addr}", encoded(PROXY))
}

#[test]
fn credentials_of_a_proxy_are_sent_to_it_and_not_shown() {
    let proxy = Server::start(fail);
    let places = Places::new(proxy.addr);
    let secret = places.input("proxy", &format!("{PROXY}\r\n"));
    let (from_file, plain) = (format!("pat:@{secret}"), format!("pat:{PROXY}"));
    let (url, bare) = (with_credentials("http", proxy.addr), proxy.url(""));
    let runs = [
        places.run().args(["-x", &url]),
        places.run().args(["-x", &bare, "--proxy-user", &from_file]),
        places.run().args(["-x", &bare, "-U", &plain]),
        places
            .run()
            .env("http_proxy", &url)
            .env("HTTPS_PROXY", &url),
    ];
    for run in runs {
        let before = proxy.requests().len();
        let done = run.args(places.in_arguments()).expect_exit(1);
        places.assert_silence(&done);
        let requests = proxy.requests();
        let basic = format!("Basic {}", STANDARD.encode(format!("pat:{PROXY}")));
        let all_carry_them = requests[before..]
            .iter()
            .all(|request| header(request, "proxy-authorization") == Some(&*basic));
        assert!(all_carry_them && requests.len() > before);
    }
    assert_sent(&proxy);
}

/// RFC 1929: receives user name and password in plain text, and rejects them.
fn refuse_socks(connection: &mut Connection, seen: &AtomicUsize) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    connection.stream.read_exact(&mut greeting)?;
    let mut methods = vec![0; greeting[1].into()];
    connection.stream.read_exact(&mut methods)?;
    connection.send(&[5, 2])?;
    let mut asked = vec![0; 3 + "pat".len() + PROXY.len()];
    connection.stream.read_exact(&mut asked)?;
    if asked.ends_with(PROXY.as_bytes()) {
        seen.fetch_add(1, Ordering::SeqCst);
    }
    connection.send(&[1, 1])
}

#[test]
fn proxies_that_refuse_show_no_credentials_either() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let socks = Server::start(|connection| refuse_socks(connection, &SEEN));
    let junk = Server::start(|connection| {
        let _ = connection.stream.read(&mut [0; 4096])?;
        connection.send(b"junk\r\n\r\n")
    });
    let places = Places::new(closed_port());
    for url in [
        with_credentials("socks5h", socks.addr),
        with_credentials("socks5", socks.addr),
        with_credentials("http", closed_port()),
        with_credentials("https", junk.addr),
        with_credentials("http", junk.addr),
        with_credentials("socks4", junk.addr),
    ] {
        let done = places.run().args(["-x", &url]).expect_exit(1);
        assert!(
            done.records.iter().all(|record| !record.ok),
            "{}",
            done.stdout
        );
        places.assert_silence(&done);
    }
    assert!(SEEN.load(Ordering::SeqCst) > 0, "never sent to the proxy");
}

#[test]
fn usage_errors_repeat_no_secret() {
    let places = Places::new(closed_port());
    let bad_headers = places.input("bad", &format!("no colon {TOKEN}\n"));
    let bad_headers = format!("@{bad_headers}");
    let bare = format!("bob:{}@host/x", encoded(LINE));
    let bad_port = format!(
        "{}9",
        with_credentials("http", "127.0.0.1:65535".parse().unwrap())
    );
    let bad_scheme = with_credentials("ftp", closed_port());
    let (header, password) = (format!("X Y: {TOKEN}"), format!("ann:@{USER}"));
    let (nul, user) = (format!("X: {TOKEN}\n"), format!("pat:{PROXY}"));
    for (args, word) in [
        (vec!["-H", &*bad_headers], "line 1"),
        (vec!["-H", &*header], "--header"),
        (vec!["-H", TOKEN], "--header"),
        (vec!["-u", &*password], "password file"),
        (vec!["-x", &*bad_scheme], "--proxy"),
        (vec!["-x", &*bad_port], "--proxy"),
        (vec!["-U", &*user], "--proxy <URL>"),
        (vec!["-x", "h", "-U", &*password], "--proxy-user"),
        (vec!["-H", &*nul, "--bogus"], "--bogus"),
        (vec![&*bare], "cannot read"),
    ] {
        let done = Run::new()
            .args(args)
            .arg("http://127.0.0.1:1/")
            .expect_exit(2);
        assert_none_in("stderr", done.stderr.as_bytes());
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
}

/// Other users of the machine can see every command line.
#[cfg(target_os = "linux")]
#[test]
fn what_comes_from_files_and_the_environment_is_in_no_command_line() {
    let server = Server::start(Connection::hang);
    let proxy = Server::start(|connection| {
        connection.request()?;
        connection.hang()
    });
    let places = Places::new(server.addr);
    let secret = format!("pat:@{}", places.input("proxy", PROXY));
    let mut command = binary();
    command.args(places.in_files());
    command.args(["-x", &proxy.url(""), "-U", &secret]);
    command.args(&places.lists);
    let run = Background::start(command);
    until("a request", || !proxy.requests().is_empty());
    let line = fs::read(format!("/proc/{}/cmdline", run.0.id())).unwrap();
    assert!(memchr::memmem::find(&line, b"ann:@").is_some());
    assert_none_in("the command line", &line);
    drop(run);

    let mut command = binary();
    command.env("FETCHALL_USER", format!("ann:{USER}"));
    command.env("http_proxy", with_credentials("http", proxy.addr));
    command.args(&places.lists);
    let before = proxy.requests().len();
    let run = Background::start(command);
    until("a request", || proxy.requests().len() > before);
    let line = fs::read(format!("/proc/{}/cmdline", run.0.id())).unwrap();
    assert_none_in("the command line", &line);
}

/// HTTP/2 logs much at the most verbose level.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_http2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (heard, mut requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_http2(stream, heard.clone()));
        }
    });
    let places = Places::new(addr);
    let run = places
        .run()
        .arg("--http2-prior-knowledge")
        .args(places.in_arguments());
    let done = tokio::task::block_in_place(|| run.expect_exit(1));
    places.assert_silence(&done);
    assert!(done.stderr.contains("send_headers"), "{}", done.stderr);
    let mut sent = String::new();
    while let Ok(request) = requests.try_recv() {
        sent.push_str(&request);
    }
    let mut found = found_in(sent.as_bytes());
    found.sort_unstable();
    let mut expected = [USER, TOKEN, COOKIE, LINE, BEARER];
    expected.sort_unstable();
    assert_eq!(found, expected);
}
