//! A site on an unreliable connection: transfers are cut, held and delayed at random bytes. The
//! body of a page is a function of its number.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Connection, Server, header, path};

/// Old enough for `Last-Modified` to be a strong validator, like an `ETag`.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const CHUNK: usize = 16 * 1024;

/// How the server delivers a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With a strong `ETag`, a length and ranges.
    Tagged,
    /// The same without a length.
    Chunked,
    /// With `Last-Modified` only.
    Dated,
    /// Compressed if the client accepts it.
    Gzip,
    /// Without a validator.
    Bare,
    /// With a strong `ETag`, but without ranges.
    Deaf,
    /// As a redirect to a page with a strong `ETag`.
    Moved,
}

const KINDS: [Kind; 7] = [
    Kind::Tagged,
    Kind::Chunked,
    Kind::Dated,
    Kind::Gzip,
    Kind::Bare,
    Kind::Deaf,
    Kind::Moved,
];

/// A page.
pub struct Page {
    kind: Kind,
    pub body: Vec<u8>,
    packed: Vec<u8>,
    tag: String,
}

/// How unreliable the connection is, in percent of the transfers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Transfers that are cut.
    pub cut: u8,
    /// Transfers that stop without closing, until the client disconnects.
    pub held: u8,
    /// Transfers that pause for a moment.
    pub delayed: u8,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub page: usize,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub accept_encoding: Option<String>,
}

/// The site. It stops when dropped.
pub struct Site {
    server: Server,
    state: Arc<State>,
}

struct State {
    pages: Vec<Page>,
    line: Mutex<(Line, fastrand::Rng)>,
    asked: Mutex<Vec<Asked>>,
}

/// What happens to a transfer, and at which byte.
enum Fate {
    Whole,
    Cut(usize),
    Held(usize),
    Delayed(usize, Duration),
}

impl Site {
    pub fn start(pages: usize, seed: u64) -> Self {
        let state = Arc::new(State {
            pages: (0..pages).map(|number| Page::new(number, seed)).collect(),
            line: Mutex::new((Line::default(), fastrand::Rng::with_seed(seed))),
            asked: Mutex::default(),
        });
        let served = Arc::clone(&state);
        let server = Server::start(move |connection| served.serve(connection));
        Self { server, state }
    }

    pub fn set_line(&self, line: Line) {
        self.state.line.lock().unwrap().0 = line;
    }

    pub fn pages(&self) -> &[Page] {
        &self.state.pages
    }

    pub fn url(&self, page: usize) -> String {
        let folder = format!("{:?}", self.pages()[page].kind).to_lowercase();
        self.server.url(&format!("/{folder}/p{page:03}"))
    }

    /// Returns the page with this URL, or in this file.
    pub fn page_of(&self, path: &str) -> usize {
        number(path).unwrap_or_else(|| panic!("no page of this site: {path}"))
    }

    /// Returns the requests since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }

    pub fn asked(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }
}

/// Returns the three digits after the `p` at the start of the last path segment.
fn number(path: &str) -> Option<usize> {
    let (_, name) = path.rsplit_once('/')?;
    name.strip_prefix('p')?.get(..3)?.parse().ok()
}

impl Page {
    fn new(number: usize, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ ((number as u64) << 32));
        let size = match rng.u8(..100) {
            0..5 => 0,
            5..60 => rng.usize(1..8 * 1024),
            60..93 => rng.usize(8 * 1024..256 * 1024),
            _ => rng.usize(512 * 1024..3 * 1024 * 1024),
        };
        let mut body = vec![0; size];
        rng.fill(&mut body);
        let kind = KINDS[number % KINDS.len()];
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        if kind == Kind::Gzip {
            packer.write_all(&body).unwrap();
        }
        Self {
            kind,
            packed: packer.finish().unwrap(),
            tag: format!("\"{number}-{size}\""),
            body,
        }
    }

    fn validator(&self) -> (&str, &str) {
        match self.kind {
            Kind::Dated => ("Last-Modified", MODIFIED),
            _ => ("ETag", &self.tag),
        }
    }

    /// Returns the bytes of a response, and where its body starts.
    fn answer(&self, asked: &Asked) -> (Vec<u8>, usize) {
        let takes_gzip = asked
            .accept_encoding
            .as_ref()
            .is_some_and(|codings| codings.contains("gzip"));
        let (name, value) = self.validator();
        let mut headers = format!("{name}: {value}\r\n");
        match self.kind {
            Kind::Bare => self.wire("200 OK", "", &self.body),
            Kind::Deaf => self.wire("200 OK", &headers, &self.body),
            Kind::Gzip if takes_gzip => {
                let headers = "ETag: \"packed\"\r\nContent-Encoding: gzip\r\n";
                self.wire("200 OK", headers, &self.packed)
            }
            _ => match self.start(asked) {
                None => self.wire("200 OK", &headers, &self.body),
                Some(start) if start >= self.body.len() => {
                    headers.push_str(&format!("Content-Range: bytes */{}\r\n", self.body.len()));
                    self.wire("416 Range Not Satisfiable", &headers, b"")
                }
                Some(start) => {
                    headers.push_str(&format!(
                        "Content-Range: bytes {start}-{}/{}\r\n",
                        self.body.len() - 1,
                        self.body.len()
                    ));
                    self.wire("206 Partial Content", &headers, &self.body[start..])
                }
            },
        }
    }

    /// Returns where the response starts: at `Range`, if `If-Range` names this version.
    fn start(&self, asked: &Asked) -> Option<usize> {
        let is_this = asked
            .if_range
            .as_deref()
            .is_none_or(|version| version == self.validator().1);
        let start = asked.range.as_ref()?.strip_prefix("bytes=")?;
        let start = start.strip_suffix('-')?.parse().ok()?;
        is_this.then_some(start)
    }

    fn wire(&self, status: &str, headers: &str, body: &[u8]) -> (Vec<u8>, usize) {
        let mut wire = format!("HTTP/1.1 {status}\r\nDate: Sun, 06 Nov 1994 08:59:37 GMT\r\n");
        wire.push_str(headers);
        if self.kind != Kind::Chunked {
            wire.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            let mut wire = wire.into_bytes();
            let start = wire.len();
            wire.extend_from_slice(body);
            return (wire, start);
        }
        wire.push_str("Transfer-Encoding: chunked\r\n\r\n");
        let mut wire = wire.into_bytes();
        let start = wire.len();
        for chunk in body.chunks(CHUNK) {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        (wire, start)
    }
}

impl State {
    fn serve(&self, connection: &mut Connection) -> io::Result<()> {
        while let Some(request) = connection.request()? {
            let path = path(&request);
            let page = &self.pages[number(path).unwrap()];
            if page.kind == Kind::Moved && path.starts_with("/moved/") {
                let to = path.replace("/moved/", "/now/");
                let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n");
                connection.send(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?;
                self.note(&request);
                continue;
            }
            let asked = self.note(&request);
            let (wire, start) = page.answer(&asked);
            self.send(connection, &wire, start, page.kind)?;
        }
        Ok(())
    }

    fn note(&self, request: &str) -> Asked {
        let header = |name| header(request, name).map(str::to_owned);
        let asked = Asked {
            page: number(path(request)).unwrap(),
            range: header("range"),
            if_range: header("if-range"),
            accept_encoding: header("accept-encoding"),
        };
        self.asked.lock().unwrap().push(asked.clone());
        asked
    }

    fn send(
        &self,
        connection: &mut Connection,
        wire: &[u8],
        start: usize,
        kind: Kind,
    ) -> io::Result<()> {
        match self.fate(start, wire.len(), kind) {
            Fate::Whole => connection.send(wire),
            Fate::Cut(at) => {
                connection.send(&wire[..at])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Fate::Held(at) => {
                connection.send(&wire[..at])?;
                connection.hang()
            }
            Fate::Delayed(at, time) => {
                connection.send(&wire[..at])?;
                std::thread::sleep(time);
                connection.send(&wire[at..])
            }
        }
    }

    fn fate(&self, start: usize, end: usize, kind: Kind) -> Fate {
        let (line, rng) = &mut *self.line.lock().unwrap();
        if start == end {
            return Fate::Whole;
        }
        let at = match kind {
            // Everything except the last chunk.
            Kind::Chunked if rng.u8(..4) == 0 => end - 5,
            _ => rng.usize(start..end),
        };
        let (cut, held) = (line.cut, line.cut + line.held);
        match rng.u8(..100) {
            n if n < cut => Fate::Cut(at),
            n if n < held => Fate::Held(at),
            n if n < held + line.delayed => Fate::Delayed(at, Duration::from_millis(rng.u64(..60))),
            _ => Fate::Whole,
        }
    }
}
