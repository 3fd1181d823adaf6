//! `SIGKILL` while a large body comes in segments: what is listed as there is there, the file appears
//! whole or not at all, and the next run asks only for the rest.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::folder::{End, end, was_killed};
use crate::support::{Connection, Server, binary, header};

const LENGTH: usize = 150 << 20;
/// Bytes after which the body repeats itself: no power of two, and so no boundary of a segment.
const PERIOD: usize = 1_000_003;
/// Each connection gets 20 MB/s.
const BLOCK: usize = 256 << 10;
const BLOCK_TIME: Duration = Duration::from_millis(12);
/// Runs that are ended early, unless `FETCHALL_KILLS` says how many.
const FEW: u64 = 12;

/// The body, whose bytes are a function of their place.
struct Body(Vec<u8>);

impl Body {
    fn new(seed: u64) -> Self {
        let mut period = vec![0; PERIOD];
        fastrand::Rng::with_seed(seed).fill(&mut period);
        let twice = period.repeat(2);
        Self(twice)
    }

    fn at(&self, start: usize, length: usize) -> &[u8] {
        let start = start % PERIOD;
        &self.0[start..start + length]
    }

    /// Whether these are its bytes from `start` on.
    fn has(&self, start: usize, bytes: &[u8]) -> bool {
        let blocks = bytes.chunks(BLOCK).enumerate();
        blocks
            .into_iter()
            .all(|(at, block)| block == self.at(start + at * BLOCK, block.len()))
    }

    fn serve(&self, connection: &mut Connection) -> io::Result<()> {
        while let Some(request) = connection.request()? {
            let range = range(&request);
            let (start, end) = range.unwrap_or((0, LENGTH));
            let (status, line) = match range {
                Some(_) => {
                    let line = format!("Content-Range: bytes {start}-{}/{LENGTH}", end - 1);
                    ("206 Partial Content", line)
                }
                None => ("200 OK", "Accept-Ranges: bytes".to_owned()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nETag: \"a\"\r\nContent-Length: {}\r\n{line}\r\n\r\n",
                end - start
            );
            connection.send(head.as_bytes())?;
            for at in (start..end).step_by(BLOCK) {
                connection.send(self.at(at, BLOCK.min(end - at)))?;
                std::thread::sleep(BLOCK_TIME);
            }
        }
        Ok(())
    }
}

fn range(request: &str) -> Option<(usize, usize)> {
    let (start, last) = header(request, "range")?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let end = last.parse().map_or(LENGTH, |last: usize| last + 1);
    Some((start.parse().unwrap(), end))
}

struct Target {
    dir: TempDir,
    url: String,
}

impl Target {
    fn temp(&self) -> PathBuf {
        self.dir.path().join(".fetchall")
    }

    fn start(&self, segments: &str) -> Child {
        binary()
            .args(["--segments", segments, "--sha256", "-q", "-o"])
            .arg(self.dir.path())
            .arg(&self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Returns the whole file, if it is there.
    fn file(&self) -> Option<Vec<u8>> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let host = entries.map(|entry| entry.unwrap().path()).find(|path| {
            let is_own = path.file_name().is_some_and(|name| name == ".fetchall");
            path.is_dir() && !is_own
        })?;
        let file = fs::read_dir(host).unwrap().next()?.unwrap().path();
        Some(fs::read(file).unwrap())
    }

    /// Checks that what is listed is there. Returns how many bytes that are.
    fn check_listed(&self, body: &Body) -> usize {
        let mut most = 0;
        for entry in fs::read_dir(self.temp()).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let (part, ranges) = if name == "parts.jsonl" {
                listed_part(&text)
            } else if name.ends_with(".segments") {
                (name.replace(".segments", ".part"), listed_ranges(&text))
            } else {
                continue;
            };
            // Gone if the run was killed when the body was whole.
            let Ok(part) = fs::read(self.temp().join(part)) else {
                continue;
            };
            for (start, end) in &ranges {
                let is_there = body.has(*start, &part[*start..*end]);
                assert!(is_there, "{start} to {end} is not what was sent");
            }
            most = most.max(ranges.iter().map(|(start, end)| end - start).sum());
        }
        most
    }
}

/// Parses the list of all parts, which has this one.
fn listed_part(text: &str) -> (String, Vec<(usize, usize)>) {
    let part: serde_json::Value = serde_json::from_str(text).unwrap();
    let ranges = serde_json::from_value(part["ranges"].clone()).unwrap_or_default();
    let first = (0, part["length"].as_u64().unwrap() as usize);
    let ranges: Vec<_> = [vec![first], ranges].concat();
    (format!("{}.part", part["id"]), ranges)
}

/// Parses the list of a body in segments. Its last line may be torn.
fn listed_ranges(text: &str) -> Vec<(usize, usize)> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let range = |line: &str| {
        let (start, end) = line.split_once(' ').unwrap();
        (start.parse().unwrap(), end.parse().unwrap())
    };
    whole.lines().skip(1).map(range).collect()
}

#[test]
fn killed_at_any_moment_what_is_listed_of_a_body_in_segments_is_there() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seed = number("FETCHALL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let wanted = number("FETCHALL_KILLS").map_or(FEW, |kills| kills / 2);
    println!("FETCHALL_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let body = std::sync::Arc::new(Body::new(seed));
    let served = std::sync::Arc::clone(&body);
    let server = Server::start(move |connection| served.serve(connection));
    let (mut ended, mut continued, mut most_listed) = (0, 0, 0);
    while ended < wanted {
        let target = Target {
            dir: tempfile::tempdir().unwrap(),
            url: server.url("/large"),
        };
        loop {
            let segments = if rng.u8(..4) == 0 { "1" } else { "auto" };
            let before = server.requests().len();
            let listed = target.check_listed(&body);
            let child = target.start(segments);
            std::thread::sleep(Duration::from_millis(rng.u64(200..1500)));
            let how = match rng.u8(..4) {
                0 => End::Signal(Signal::INT, Some(Duration::from_millis(rng.u64(..30)))),
                _ => End::Kill,
            };
            let status = end(child, how);
            let first = server.requests().get(before).map(|request| range(request));
            if listed > 0 && first.is_some() {
                continued += 1;
                assert!(matches!(first, Some(Some(_))), "{listed} bytes were listed");
            }
            most_listed = most_listed.max(target.check_listed(&body));
            if let Some(file) = target.file() {
                assert!(file.len() == LENGTH && body.has(0, &file));
            }
            ended += u64::from(was_killed(status) || status.code() == Some(130));
            if status.code() == Some(0) || ended >= wanted {
                break;
            }
        }
        let status = target.start("auto").wait().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(body.has(0, &target.file().unwrap()));
        let left: Vec<_> = fs::read_dir(target.temp()).unwrap().collect();
        assert_eq!(left.len(), 1, "the lock, and nothing unfinished: {left:?}");
    }
    println!("{ended} ended, {continued} continued, {most_listed} bytes listed");
    assert!(continued > 0 && most_listed > 0);
}
