//! The responses of each host of the practice server.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

/// How long `limited` returns 429 after its first request.
const RATE_LIMIT_TIME: Duration = Duration::from_secs(1);
/// Number of times that `flaky` fails before it works.
const FLAKY_FAILURES: u32 = 2;
/// Size of the body of `big`.
const BIG_BODY_BYTES: usize = 5_000_000;

/// The parts of a request that matter to the server.
pub(super) struct DemoRequest {
    /// The first label of the host name.
    pub host: String,
    /// The `:PORT` of the Host header, or empty.
    pub port: String,
    pub path: String,
    pub head_only: bool,
}

/// A response in its wire format.
pub(super) struct DemoResponse {
    /// Time to wait before sending it.
    pub delay: Duration,
    /// Head and body.
    pub wire: Vec<u8>,
    /// Whether to close the connection after it.
    pub close: bool,
}

/// State between requests: the number of visits and the time of the first, by key.
#[derive(Debug, Default)]
pub(super) struct DemoState {
    seen: Mutex<HashMap<String, (u32, Instant)>>,
}

impl DemoState {
    /// Counts a visit. Returns the number of visits before this one, and the time of the first.
    fn visit(&self, key: String) -> (u32, Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = seen.entry(key).or_insert_with(|| (0, Instant::now()));
        let before = *entry;
        entry.0 += 1;
        before
    }

    /// Returns the response to a request.
    pub(super) fn reply(&self, request: &DemoRequest) -> DemoResponse {
        let page = format!("<p>{} {}</p>\n", request.host, request.path).into_bytes();
        let ok = |body: &[u8]| DemoResponseBuilder::new("200 OK", body);
        let draft = match request.host.as_str() {
            "quick" => ok(&page),
            "slower" => ok(&page).after(Duration::from_secs(2)),
            "slow" => ok(&page).after(Duration::from_secs(1)),
            "flaky" if self.visit(request.path.clone()).0 < FLAKY_FAILURES => {
                DemoResponseBuilder::new("503 Service Unavailable", b"not now\n")
            }
            "flaky" => ok(&page),
            "limited" => {
                let (_, first) = self.visit("limited".to_owned());
                if first.elapsed() < RATE_LIMIT_TIME {
                    DemoResponseBuilder::new("429 Too Many Requests", b"too fast\n")
                        .header("Retry-After: 1")
                } else {
                    ok(&page)
                }
            }
            "broken" => DemoResponseBuilder::new("500 Internal Server Error", b"oops\n"),
            "cut" => ok(&page.repeat(100)).cut(),
            "moved" => DemoResponseBuilder::new("302 Found", b"")
                .header("Location: http://quick.localhost:PORT/1"),
            "big" => ok(&vec![b'x'; BIG_BODY_BYTES]),
            "packed" => ok(&gzip(&page.repeat(1000))).header("Content-Encoding: gzip"),
            _ => DemoResponseBuilder::new("404 Not Found", b"no such page\n"),
        };
        draft.into_reply(request)
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec can't fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Builds a [`DemoResponse`].
struct DemoResponseBuilder {
    status: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
    delay: Duration,
    cut: bool,
}

impl DemoResponseBuilder {
    fn new(status: &'static str, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            delay: Duration::ZERO,
            cut: false,
        }
    }

    fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends only half of the body, with the Content-Length of all of it.
    fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    fn into_reply(self, request: &DemoRequest) -> DemoResponse {
        let mut head = format!("HTTP/1.1 {}\r\nContent-Type: text/html\r\n", self.status);
        for line in &self.headers {
            head.push_str(&line.replace(":PORT", &request.port));
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut wire = head.into_bytes();
        if !request.head_only {
            let end = if self.cut {
                self.body.len() / 2
            } else {
                self.body.len()
            };
            wire.extend(self.body.iter().take(end));
        }
        DemoResponse {
            delay: self.delay,
            wire,
            close: self.cut,
        }
    }
}
