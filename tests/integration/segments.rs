use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fetchall::program::{Config, SegmentRules, Source, run_until};
use fetchall::{HashAlgorithm, Record, Sha256};

use crate::support::{Connection, Out, Server, header};

const LENGTH: u64 = 12 << 20;
/// Sent at a time, and the time that it takes.
const BLOCK: u64 = 64 << 10;
const BLOCK_TIME: Duration = Duration::from_millis(5);

/// Small enough for bodies that take a second.
fn rules() -> SegmentRules {
    SegmentRules {
        most: SegmentRules::AUTO,
        min_left: 512 << 10,
        min_segment: 256 << 10,
        trial_time: Duration::from_secs(1),
        rate_window: Duration::from_millis(100),
        ..SegmentRules::default()
    }
}

/// Returns bytes of a version of the body. No two of its segments are equal.
fn bytes(version: u32, start: u64, end: u64) -> Vec<u8> {
    let word = |at: u64| {
        (at / 4)
            .wrapping_mul(2_654_435_761)
            .wrapping_add(version.into())
    };
    (start..end)
        .map(|at| (word(at) as u32).to_be_bytes()[(at % 4) as usize])
        .collect()
}

/// What the server does with a request.
#[derive(Clone)]
struct Reply {
    status: &'static str,
    headers: Vec<String>,
    version: u32,
    start: u64,
    end: u64,
    /// Where the connection ends.
    cut: Option<u64>,
    /// What is sent at a time.
    block: u64,
    block_time: Duration,
}

impl Reply {
    /// The honest one.
    fn to(range: Option<(u64, u64)>) -> Self {
        let (start, end) = range.unwrap_or((0, LENGTH));
        let mut reply = Self {
            status: "200 OK",
            headers: vec!["Accept-Ranges: bytes".into()],
            version: 1,
            start,
            end,
            cut: None,
            block: BLOCK,
            block_time: BLOCK_TIME,
        };
        if range.is_some() {
            reply.status = "206 Partial Content";
            reply.headers = vec![format!("Content-Range: bytes {start}-{}/{LENGTH}", end - 1)];
        }
        reply.tagged("\"a\"")
    }

    fn tagged(mut self, tag: &str) -> Self {
        self.headers.retain(|line| !line.starts_with("ETag"));
        self.headers.push(format!("ETag: {tag}"));
        self
    }

    fn with(mut self, header: &str) -> Self {
        let (name, _) = header.split_once(':').unwrap();
        self.headers.retain(|line| !line.starts_with(name));
        self.headers.push(header.to_owned());
        self
    }

    fn send(&self, connection: &mut Connection) -> io::Result<()> {
        let length = self.end - self.start;
        let headers = self.headers.join("\r\n");
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Length: {length}\r\n{headers}\r\n\r\n",
            self.status
        );
        connection.send(head.as_bytes())?;
        let mut at = self.start;
        while at < self.end {
            let next = (at + self.block).min(self.end);
            if self.cut.is_some_and(|cut| cut < next) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            connection.send(&bytes(self.version, at, next))?;
            std::thread::sleep(self.block_time);
            at = next;
        }
        Ok(())
    }
}

/// Returns the range of a request: its first byte, and the one after its last.
fn range(request: &str) -> Option<(u64, u64)> {
    let (start, last) = header(request, "range")?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let end = last.parse().map_or(LENGTH, |last: u64| last + 1);
    Some((start.parse().unwrap(), end))
}

/// A server that says what it does with the n-th request for a range, from 0; the first request for the
/// whole is answered honestly.
fn site(reply: impl Fn(usize, (u64, u64)) -> Reply + Send + Sync + 'static) -> Server {
    let ranges = Arc::new(AtomicUsize::new(0));
    Server::start(move |connection| {
        while let Some(request) = connection.request()? {
            match range(&request) {
                None => Reply::to(None).send(connection)?,
                Some(range) => {
                    reply(ranges.fetch_add(1, Ordering::SeqCst), range).send(connection)?
                }
            }
        }
        Ok(())
    })
}

fn config(server: &Server, out: &Path, rules: SegmentRules) -> Config {
    let mut config = Config::default();
    config.input.sources = vec![Source::Url(server.url("/page"))];
    config.save.dir = Some(out.to_owned());
    config.retry.delay = Duration::from_millis(1);
    config.engine.segments = rules;
    config.engine.hashes = vec![HashAlgorithm::Sha256];
    config
}

async fn fetch(server: &Server, rules: SegmentRules) -> (Out, Record) {
    let out = Out::new();
    let config = config(server, &out.path(), rules);
    let never = std::future::pending();
    let summary = run_until(config, std::future::pending(), never)
        .await
        .unwrap();
    let record = out.journal().pop().unwrap();
    assert_eq!(summary.fetched, 1, "{record:?}");
    (out, record)
}

/// Checks that the body is this version, byte for byte, and that nothing else is left.
fn check(out: &Out, record: &Record, what: &str) {
    let wanted = bytes(1, 0, LENGTH);
    assert!(out.body(record) == wanted, "{what}: {record:?}");
    assert_eq!(record.bytes, Some(LENGTH), "{what}");
    assert_eq!(record.sha256, Some(Sha256::of(&wanted)), "{what}");
    assert_eq!(out.unfinished(), [""; 0], "{what}");
}

#[tokio::test]
async fn a_large_body_comes_in_segments_where_each_connection_is_slow() {
    let server = site(|_, range| Reply::to(Some(range)));
    let (out, record) = fetch(&server, rules()).await;
    check(&out, &record, "in segments");
    assert!(record.segments.unwrap() >= 4, "{record:?}");
    assert_eq!(
        (record.attempts, record.status, record.resumed_at),
        (1, Some(200), None)
    );
    for request in server
        .requests()
        .iter()
        .filter(|request| range(request).is_some())
    {
        assert_eq!(header(request, "if-range"), Some("\"a\""));
        assert_eq!(header(request, "accept-encoding"), Some("identity"));
    }
    // One at a time by default.
    let (out, record) = fetch(
        &server,
        SegmentRules {
            most: NonZeroUsize::MIN,
            ..rules()
        },
    )
    .await;
    check(&out, &record, "in one piece");
    assert_eq!(record.segments, None);
}

/// A response without `Accept-Ranges` or a strong validator is not split.
#[tokio::test]
async fn what_may_not_be_split_is_not() {
    for remove in ["Accept-Ranges", "ETag"] {
        let server = Server::start(move |connection| {
            while connection.request()?.is_some() {
                let mut reply = Reply::to(None);
                reply.headers.retain(|line| !line.starts_with(remove));
                reply.send(connection)?;
            }
            Ok(())
        });
        let (out, record) = fetch(&server, rules()).await;
        check(&out, &record, remove);
        assert_eq!(server.requests().len(), 1, "{remove}");
    }
}

/// The first transfer has begun a version, and brings it to its end whatever the others get.
#[tokio::test]
async fn a_server_that_contradicts_itself_costs_the_first_transfer_nothing() {
    type Trick = fn((u64, u64)) -> Reply;
    let tricks: [(&str, Trick); 9] = [
        ("another start", |(start, end)| Reply {
            version: 9,
            ..Reply::to(Some((start + 1, end)))
        }),
        ("an earlier start", |(start, end)| Reply {
            start: start - 1,
            ..Reply::to(Some((start - 1, end)))
        }),
        ("another total", |(start, end)| {
            let range = format!("Content-Range: bytes {start}-{}/{}", end - 1, LENGTH + 1);
            Reply {
                version: 9,
                ..Reply::to(Some((start, end))).with(&range)
            }
        }),
        ("another validator", |range| Reply {
            version: 9,
            ..Reply::to(Some(range)).tagged("\"b\"")
        }),
        ("no validator", |range| {
            let mut reply = Reply {
                version: 9,
                ..Reply::to(Some(range))
            };
            reply.headers.retain(|line| !line.starts_with("ETag"));
            reply
        }),
        ("the whole", |_| Reply {
            version: 9,
            ..Reply::to(None).tagged("\"b\"")
        }),
        ("a coding", |range| Reply {
            version: 9,
            ..Reply::to(Some(range)).with("Content-Encoding: gzip")
        }),
        ("several ranges", |range| {
            let mut reply = Reply {
                version: 9,
                ..Reply::to(Some(range))
            };
            reply
                .headers
                .retain(|line| !line.starts_with("Content-Range"));
            reply.with("Content-Type: multipart/byteranges; boundary=x")
        }),
        ("a 404", |range| Reply {
            status: "404 Not Found",
            version: 9,
            ..Reply::to(Some(range))
        }),
    ];
    for (what, trick) in tricks {
        let server = site(move |_, range| trick(range));
        let (out, record) = fetch(&server, rules()).await;
        check(&out, &record, what);
        assert_eq!((record.attempts, record.segments), (1, None), "{what}");
    }
}

/// The page changes while it is fetched: what has begun is still the old version.
#[tokio::test]
async fn a_validator_that_changes_half_way_ends_the_segments() {
    let server = site(|number, range| match number {
        0 => Reply::to(Some(range)),
        _ => Reply {
            version: 9,
            ..Reply::to(Some(range)).tagged("\"b\"")
        },
    });
    let (out, record) = fetch(&server, rules()).await;
    check(&out, &record, "changed");
    assert_eq!((record.attempts, record.segments), (1, Some(2)));
}

/// The body comes whole over one connection, so that it must not be lost for having been split.
#[tokio::test]
async fn a_server_that_cuts_off_every_range_sends_the_whole() {
    type Cut = fn(u64, u64) -> u64;
    let cuts: [(&str, Cut); 3] = [
        ("at once", |start, _| start),
        ("after a third", |start, end| start + (end - start) / 3),
        ("near the end", |start, end| (end - 1).max(start)),
    ];
    for (what, cut) in cuts {
        let server = site(move |_, (start, end)| Reply {
            cut: Some(cut(start, end)),
            ..Reply::to(Some((start, end)))
        });
        let (out, record) = fetch(&server, rules()).await;
        check(&out, &record, what);
    }
}

#[tokio::test]
async fn segments_that_are_cut_or_slow_are_asked_for_again() {
    let cut = site(|number, range| {
        let reply = Reply::to(Some(range));
        match number {
            1 | 2 => Reply {
                cut: Some(range.0 + 2 * BLOCK),
                ..reply
            },
            _ => reply,
        }
    });
    let (out, record) = fetch(&cut, rules()).await;
    check(&out, &record, "cut");

    // In its own time it would take more than a minute.
    let slow = site(|number, range| {
        let reply = Reply::to(Some(range));
        match number {
            2 => Reply {
                block_time: Duration::from_secs(5),
                ..reply
            },
            _ => reply,
        }
    });
    let start = Instant::now();
    let (out, record) = fetch(&slow, rules()).await;
    check(&out, &record, "slow");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_host_that_throttles_gets_no_more_requests_for_a_body() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let server = site(move |_, range| Reply {
            status,
            end: range.0,
            ..Reply::to(Some(range)).with("Retry-After: 1")
        });
        let (out, record) = fetch(&server, rules()).await;
        check(&out, &record, status);
        assert_eq!((record.attempts, record.segments), (1, None));
        assert_eq!(server.requests().len(), 2, "{status}");
    }
}

/// More connections that share one line bring nothing: the second is given up, and no byte is lost.
#[tokio::test]
async fn what_is_not_faster_is_taken_back() {
    let line = Arc::new(std::sync::Mutex::new(()));
    let server = Server::start(move |connection| {
        while let Some(request) = connection.request()? {
            let reply = Reply {
                block_time: Duration::ZERO,
                ..Reply::to(range(&request))
            };
            let mut at = reply.start;
            let whole = Reply {
                end: reply.start,
                ..reply.clone()
            };
            let length = format!("Content-Length: {}", reply.end - reply.start);
            let head = format!(
                "HTTP/1.1 {}\r\n{length}\r\n{}\r\n\r\n",
                whole.status,
                whole.headers.join("\r\n")
            );
            connection.send(head.as_bytes())?;
            while at < reply.end {
                let next = (at + BLOCK / 2).min(reply.end);
                {
                    let _turn = line.lock();
                    std::thread::sleep(BLOCK_TIME);
                }
                connection.send(&bytes(1, at, next))?;
                at = next;
            }
        }
        Ok(())
    });
    let slow = SegmentRules {
        trial_time: Duration::from_millis(600),
        rate_window: Duration::from_millis(200),
        ..rules()
    };
    let (out, record) = fetch(&server, slow).await;
    check(&out, &record, "one line");
    assert!(server.requests().len() <= 6, "{:?}", server.requests());
}

/// What an aborted run has received is not asked for again, with one request at a time or several.
#[tokio::test]
async fn the_next_run_asks_for_what_is_missing() {
    for next in [
        rules(),
        SegmentRules {
            most: NonZeroUsize::MIN,
            ..rules()
        },
    ] {
        // So slow at first that the body is not whole before the abort.
        let is_continued = Arc::new(AtomicBool::new(false));
        let is_quick = Arc::clone(&is_continued);
        let server = Server::start(move |connection| {
            while let Some(request) = connection.request()? {
                let is_quick = is_quick.load(Ordering::SeqCst);
                Reply {
                    block: if is_quick { BLOCK } else { BLOCK / 16 },
                    ..Reply::to(range(&request))
                }
                .send(connection)?;
            }
            Ok(())
        });
        let out = Out::new();
        let aborted = async {
            // Some segments are then under way.
            while server.requests().len() < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let config = config(&server, &out.path(), rules());
        run_until(config, aborted, std::future::ready(()))
            .await
            .unwrap();
        let list = std::fs::read_to_string(out.path().join(".fetchall/parts.jsonl")).unwrap();
        let part: serde_json::Value = serde_json::from_str(&list).unwrap();
        let ranges: Vec<(u64, u64)> = serde_json::from_value(part["ranges"].clone()).unwrap();
        assert!(ranges.len() >= 2, "{list}");
        let kept: u64 = ranges.iter().map(|(start, end)| end - start).sum();
        let kept = kept + part["length"].as_u64().unwrap();

        is_continued.store(true, Ordering::SeqCst);
        let before = server.requests().len();
        let config = self::config(&server, &out.path(), next.clone());
        let never = std::future::pending();
        run_until(config, std::future::pending(), never)
            .await
            .unwrap();
        let record = out.journal().pop().unwrap();
        check(&out, &record, "continued");
        let asked: Vec<_> = server.requests()[before..]
            .iter()
            .map(|one| range(one).unwrap())
            .collect();
        if next.most == NonZeroUsize::MIN {
            let bytes: u64 = asked.iter().map(|(start, end)| end - start).sum();
            assert_eq!(bytes, LENGTH - kept, "{asked:?} {list}");
        }
    }
}
