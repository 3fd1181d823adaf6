//! Counts the instructions of the built program per URL with valgrind's callgrind (Linux). Unlike
//! times, they are hardly affected by noise.
//!
//! ```console
//! $ cargo bench --bench instructions               # compares with the recorded counts
//! $ cargo bench --bench instructions -- --record   # records the counts
//! $ FETCHALL=target/release/fetchall cargo bench --profile dev --bench instructions
//! ```
//!
//! The last form measures a program that is built already, so that nothing is built but this one.
//!
//! Each set of options fetches a short and a long list of bodies of a few bytes from a server in
//! this process. The difference is the cost of the URLs, without the start and end of the program.
//! The exit code is 1 if a count exceeds `baseline.csv` by more than [`TOLERANCE`]. Other versions
//! of Rust, the C library or a dependency change the counts: record the new ones in a separate
//! change.

#![expect(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use tempfile::TempDir;

const SHORT: u64 = 500;
const LONG: u64 = 2_500;
/// In percent. Threads interleave differently in each run, which changes the count by less than one
/// percent.
const TOLERANCE: u64 = 4;

const USAGE: u8 = 2;

/// A set of options to measure.
struct Way {
    name: &'static str,
    /// Concurrent requests.
    requests: u32,
    args: &'static [&'static str],
    /// An option whose value is a path that does not exist yet.
    out: Option<(&'static str, &'static str)>,
}

const WAYS: [Way; 5] = [
    Way {
        name: "text",
        requests: 64,
        args: &[],
        out: None,
    },
    Way {
        name: "--json",
        requests: 64,
        args: &["--json"],
        out: None,
    },
    Way {
        name: "-o",
        requests: 64,
        args: &["--json"],
        out: Some(("-o", "out")),
    },
    Way {
        name: "--pack",
        requests: 64,
        args: &["--json"],
        out: Some(("--pack", "out.warc")),
    },
    Way {
        name: "-j512",
        requests: 512,
        args: &["--json"],
        out: None,
    },
];

fn main() -> ExitCode {
    // `cargo bench` passes this flag; `cargo test --all-targets` must not spend minutes here.
    if !env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not there: apt-get install valgrind");
        return ExitCode::from(USAGE);
    }
    let records = env::args().any(|arg| arg == "--record");
    let server = serve().expect("a port");
    let mut now = String::from("way,instructions\n");
    let mut is_over = false;
    println!("| way | recorded | now | of it |\n|---|--:|--:|--:|");
    for way in &WAYS {
        let [short, long] = [SHORT, LONG].map(|urls| count(way, server, urls));
        let is = long.saturating_sub(short) / (LONG - SHORT);
        let was = recorded(way.name);
        let percent = was.map(|was| is * 100 / was);
        let missed = percent.is_some_and(|percent| percent > 100 + TOLERANCE);
        is_over |= missed;
        println!(
            "| {} | {} | {is} | {}{} |",
            way.name,
            was.map_or("–".to_owned(), |was| was.to_string()),
            percent.map_or("–".to_owned(), |percent| format!("{percent} %")),
            if missed { " MISSED" } else { "" }
        );
        writeln!(now, "{},{is}", way.name).expect("a string takes everything");
    }
    if records {
        fs::write(baseline(), now).expect("a file of ours");
        return ExitCode::SUCCESS;
    }
    if is_over {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.csv")
}

fn recorded(way: &str) -> Option<u64> {
    let text = fs::read_to_string(baseline()).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(','));
    lines.find(|(name, _)| *name == way)?.1.parse().ok()
}

/// Returns the instructions of a whole run.
fn count(way: &Way, server: SocketAddr, urls: u64) -> u64 {
    let folder = TempDir::new().expect("a temporary folder");
    let (list, counts) = (folder.path().join("list"), folder.path().join("counts"));
    let lines: String = (0..urls)
        .map(|n| format!("http://{server}/page/{n}\n"))
        .collect();
    fs::write(&list, lines).expect("a list");
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .env("FETCHALL_NO_CONFIG", "1")
        .arg(env::var_os("FETCHALL").unwrap_or_else(|| env!("CARGO_BIN_EXE_fetchall").into()))
        .args(["-q", "--retries=0", "--stall-timeout=5m"])
        .arg(format!("-j{}", way.requests))
        .arg(format!("--per-host={}", way.requests))
        .args(way.args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    if let Some((flag, name)) = way.out {
        command.arg(flag).arg(folder.path().join(name));
    }
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    let output = command.arg(list).output().expect("valgrind");
    let records = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(
        output.status.success() && records as u64 == urls,
        "{}: {records} of {urls} records; {}",
        way.name,
        String::from_utf8_lossy(&output.stderr)
    );
    let counts = fs::read_to_string(counts).expect("what callgrind counted");
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.expect("a total")
}

/// Answers every request with a few bytes, until this process ends.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // An error only means that the client has disconnected.
            thread::spawn(move || answer(&stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"1\"\r\n\
        Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 3\r\n\r\nok\n";
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            stream.write_all(ANSWER)?;
        }
        line.clear();
    }
    Ok(())
}
