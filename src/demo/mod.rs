//! A practice server on loopback: every way a server can behave, without a network.

mod replies;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::fetch::{Proxy, ResolveRule};
use crate::input::Source;
use crate::model::is_out_of_descriptors;
use crate::run::{Fetcher, FetcherBuilder};
use replies::{DemoResponse, DemoState};

/// Longest request head that is read, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time between two tries to accept a connection while there is no descriptor for it.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(10);

/// What the server offers: host, path, and what happens there. Each host name stands for
/// a machine of its own, so that one that asks to wait does not hold the others.
const PAGES: [(&str, &str, &str); 18] = [
    ("quick", "/1", "answers at once"),
    ("quick", "/2", "answers at once"),
    ("quick", "/3", "answers at once"),
    ("slow", "/1", "answers after one second"),
    ("slow", "/2", "answers after one second"),
    ("slow", "/3", "answers after one second"),
    ("slow", "/4", "answers after one second"),
    ("slow", "/5", "answers after one second"),
    ("slower", "/", "answers after two seconds"),
    ("flaky", "/page", "answers 503 twice, then 200"),
    ("limited", "/a", "answers 429 with Retry-After: 1, then 200"),
    ("limited", "/b", "waits with its host and uses up no retry"),
    ("missing", "/page", "answers 404: final, no retry"),
    ("broken", "/page", "answers 500 whatever is done"),
    ("cut", "/page", "ends in the middle of the body"),
    ("moved", "/old", "redirects to quick"),
    ("big", "/file", "sends 5 MB"),
    ("packed", "/page", "sends gzip"),
];

/// A server to practise with, on a free port of 127.0.0.1. It ends when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = fetchall::demo::PracticeServer::start().await?;
/// let fetcher = server.fetcher().build().unwrap();
/// let pages = fetcher.fetch_all([server.url("quick", "/1")]).await.unwrap();
/// assert!(pages[0].is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PracticeServer {
    addr: SocketAddr,
    /// The accepting task, with every connection under it; aborted on drop.
    _tasks: JoinSet<()>,
}

impl PracticeServer {
    /// Starts it on the current runtime.
    ///
    /// # Errors
    /// When there is no free port on loopback.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::default()));
        Ok(Self {
            addr,
            _tasks: tasks,
        })
    }

    /// The URL of a page: `host` is one of the names in [`pages`](Self::pages).
    #[must_use]
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.addr.port())
    }

    /// Every page, with what happens there.
    pub fn pages(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        PAGES
            .iter()
            .map(|(host, path, what)| (self.url(host, path), *what))
    }

    /// A builder of fetchers that find this server under all its names, and nothing else: no
    /// proxy, no name system.
    pub fn fetcher(&self) -> FetcherBuilder {
        Fetcher::builder().proxy(Proxy::Direct).resolve(self.rule())
    }

    /// A configuration that does the same.
    #[doc(hidden)]
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        self.prepare(&mut config);
        config
    }

    /// Puts every page into `config` as input, and makes it find the server.
    #[doc(hidden)]
    pub fn practise(&self, config: &mut Config) {
        config.input.sources = self.pages().map(|(url, _)| Source::Url(url)).collect();
        self.prepare(config);
    }

    fn prepare(&self, config: &mut Config) {
        config.http.proxy = Proxy::Direct;
        config.http.resolve = vec![self.rule()];
    }

    fn rule(&self) -> ResolveRule {
        ResolveRule {
            host: None,
            port: self.addr.port(),
            addrs: vec![self.addr.ip()],
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<DemoState>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // It has to wait for another connection to end.
            Err(error) if is_out_of_descriptors(&error) => {
                tokio::time::sleep(ACCEPT_INTERVAL).await;
                continue;
            }
            Err(_) => return,
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that goes away is no concern of the server.
            let _ = serve(stream, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request after another, until one reply ends the connection.
async fn serve(mut stream: TcpStream, state: &DemoState) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let DemoResponse { delay, wire, close } = state.reply(&request);
        tokio::time::sleep(delay).await;
        stream.write_all(&wire).await?;
        if close {
            return stream.shutdown().await;
        }
    }
}

/// What the server looks at in a request.
struct DemoRequest {
    /// The first label of the host name.
    host: String,
    /// `:PORT` of the server, or nothing.
    port: String,
    path: String,
    head_only: bool,
}

/// The next request; `None` when the client is done or sends no HTTP. Bodies of requests
/// are skipped when their length is announced.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<DemoRequest>> {
    loop {
        if let Some((request, length)) = parse(buffer) {
            while buffer.len() < length {
                if stream.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            buffer.drain(..length);
            return Ok(Some(request));
        }
        if buffer.len() > MAX_HEAD_BYTES || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// A whole head, and the length of the request with its body.
fn parse(bytes: &[u8]) -> Option<(DemoRequest, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let header = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let host = header("host").unwrap_or_default();
    let length: usize = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let request = DemoRequest {
        host: host.split(['.', ':']).next().unwrap_or_default().to_owned(),
        port: host
            .find(':')
            .map(|at| host[at..].to_owned())
            .unwrap_or_default(),
        path: parsed.path.unwrap_or("/").to_owned(),
        head_only: parsed.method == Some("HEAD"),
    };
    Some((request, head.checked_add(length)?))
}
