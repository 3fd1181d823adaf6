//! A practice server on loopback that shows how servers can behave, without a network.

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
use replies::{DemoRequest, DemoResponse, DemoState};

/// Maximum size of a request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time between attempts to accept a connection while no descriptor is free.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(10);

/// The pages: host, path and behaviour. Each has its own host name, so that a `Retry-After` of one
/// does not hold the others.
const PAGES: [(&str, &str, &str); 18] = [
    ("quick", "/1", "responds immediately"),
    ("quick", "/2", "responds immediately"),
    ("quick", "/3", "responds immediately"),
    ("slow", "/1", "responds after one second"),
    ("slow", "/2", "responds after one second"),
    ("slow", "/3", "responds after one second"),
    ("slow", "/4", "responds after one second"),
    ("slow", "/5", "responds after one second"),
    ("slower", "/", "responds after two seconds"),
    ("flaky", "/page", "returns 503 twice, then 200"),
    ("limited", "/a", "returns 429 with Retry-After: 1, then 200"),
    ("limited", "/b", "on hold with its host; uses up no retry"),
    ("missing", "/page", "returns 404: not retried"),
    ("broken", "/page", "always returns 500"),
    ("cut", "/page", "closes in the middle of the body"),
    ("moved", "/old", "redirects to quick"),
    ("big", "/file", "sends 5 MB"),
    ("packed", "/page", "sends gzip"),
];

/// A practice server on a free port of 127.0.0.1. It stops when dropped.
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
    /// The accept loop, which owns the tasks of all connections; aborted on drop.
    _tasks: JoinSet<()>,
}

impl PracticeServer {
    /// Starts the server on the current tokio runtime.
    ///
    /// # Errors
    /// When no port on loopback can be bound.
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

    /// Returns the URL of a page. `host` is one of the names in [`pages`](Self::pages).
    #[must_use]
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.addr.port())
    }

    /// Returns the URL and a description of every page.
    pub fn pages(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        PAGES
            .iter()
            .map(|(host, path, what)| (self.url(host, path), *what))
    }

    /// Returns a builder of fetchers that resolve every host name to this server, without DNS or
    /// proxy.
    pub fn fetcher(&self) -> FetcherBuilder {
        Fetcher::builder().proxy(Proxy::Direct).resolve(self.rule())
    }

    /// Returns a configuration that does the same.
    #[doc(hidden)]
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        self.prepare(&mut config);
        config
    }

    /// Sets every page as input of `config`, and resolves every host name to this server.
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
            // Another connection has to close first.
            Err(error) if is_out_of_descriptors(&error) => {
                tokio::time::sleep(ACCEPT_INTERVAL).await;
                continue;
            }
            Err(_) => return,
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // Errors mean that the client is gone, which is fine.
            let _ = serve(stream, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Handles the requests of a connection in sequence, until a response closes it.
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

/// Reads the next request; `None` when the client is done or does not send HTTP. Skips request
/// bodies that have a Content-Length.
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

/// Parses a complete head. Returns it with the length of the request including its body.
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
