//! The server: raw HTTP/1.1 on loopback. Each host is a listener on an address of its own.
//!
//! It parses as little as possible and runs on one thread, so that the measured programs have the
//! other cores. What a host does is a function of the requests that arrive.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::list::{Group, Url};

/// How long a connection may be idle, as on many servers.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A request, as seen by the behaviour of a host.
pub struct Arrival {
    /// Number of earlier requests to this host.
    pub number: u64,
    /// Number of unanswered requests to this host, including this one.
    pub in_flight: usize,
    /// When the request arrived.
    pub at: Instant,
}

/// What is sent in response.
#[derive(Clone, Copy)]
pub enum Status {
    Ok,
    TooMany,
    TooManyRetryAfter1,
    Unavailable,
}

impl Status {
    fn wire(self) -> &'static [u8] {
        match self {
            Self::Ok => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Self::TooMany => b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
            Self::TooManyRetryAfter1 => {
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            }
            Self::Unavailable => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

/// A response, and its delay.
pub struct Answer {
    pub after: Duration,
    pub status: Status,
}

type Behaviour = Box<dyn Fn(&Arrival) -> Answer + Send + Sync>;

/// A host that is not started yet: its group and its behaviour.
pub struct Host {
    group: Group,
    behaviour: Behaviour,
    in_flight: AtomicUsize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    refused: u64,
    fetched: HashSet<u32>,
    last: Option<Instant>,
}

/// The requests to hosts, and their responses.
#[derive(Default)]
pub struct Tally {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests answered with a status other than 200.
    pub refused: u64,
    /// URLs answered with 200 at least once.
    pub fetched: usize,
    /// The time of the last response with 200.
    pub last: Option<Instant>,
}

impl Host {
    pub fn new(
        group: Group,
        behaviour: impl Fn(&Arrival) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self {
            group,
            behaviour: Box::new(behaviour),
            in_flight: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }

    /// Returns a host that responds to everything after this time.
    pub fn steady(group: Group, after: Duration) -> Self {
        let status = Status::Ok;
        Self::new(group, move |_| Answer { after, status })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics while it counts")
    }

    async fn answer(&self, stream: &mut TcpStream, url: u32) -> io::Result<()> {
        let _in_flight = InFlight::of(self);
        let answer = (self.behaviour)(&self.arrive());
        tokio::time::sleep(answer.after).await;
        self.count(answer.status, url);
        stream.write_all(answer.status.wire()).await
    }

    fn arrive(&self) -> Arrival {
        let mut counts = self.counts();
        counts.requests += 1;
        Arrival {
            number: counts.requests - 1,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            at: Instant::now(),
        }
    }

    /// Counts before the response is sent: a client that exits after it must not be faster than the
    /// count.
    fn count(&self, status: Status, url: u32) {
        let mut counts = self.counts();
        if matches!(status, Status::Ok) {
            counts.fetched.insert(url);
            counts.last = Some(Instant::now());
        } else {
            counts.refused += 1;
        }
    }
}

/// A request in progress. It ends when dropped, also if the connection is lost.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn of(host: &'a Host) -> Self {
        host.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(&host.in_flight)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server with its hosts. It stops when dropped.
pub struct Server {
    hosts: Vec<(SocketAddr, Arc<Host>)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(hosts: impl IntoIterator<Item = Host>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for (host, ip) in hosts.into_iter().zip(addresses()) {
            let listener = runtime.block_on(TcpListener::bind((ip, 0)));
            let listener = listener.expect("a port (127.0.0.0/8 must be local, as on Linux)");
            let host = Arc::new(host);
            bound.push((listener.local_addr().expect("bound"), Arc::clone(&host)));
            listeners.push((listener, host));
        }
        let (stop, stopped) = oneshot::channel();
        Self {
            hosts: bound,
            stop: Some(stop),
            thread: Some(thread::spawn(move || serve(&runtime, listeners, stopped))),
        }
    }

    /// Returns this number of URLs for each host of a group, host by host.
    pub fn urls(&self, group: Group, of_each: u32) -> Vec<Url> {
        let hosts = self.hosts.iter().filter(|(_, host)| host.group == group);
        hosts
            .flat_map(|(addr, _)| (0..of_each).map(move |n| Url::new(group, *addr, n)))
            .collect()
    }

    /// Returns the requests to the hosts of these groups.
    pub fn tally(&self, wanted: impl Fn(Group) -> bool) -> Tally {
        let mut tally = Tally::default();
        for (_, host) in self.hosts.iter().filter(|(_, host)| wanted(host.group)) {
            let counts = host.counts();
            tally.requests += counts.requests;
            tally.refused += counts.refused;
            tally.fetched += counts.fetched.len();
            tally.last = tally.last.max(counts.last);
        }
        tally
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let stopped = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(stopped, Some(Err(_))), "the server panicked");
    }
}

/// Returns 127.1.0.1, 127.1.0.2 and so on.
fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (0..=255).flat_map(|high| (1..=250).map(move |low| Ipv4Addr::new(127, 1, high, low)))
}

fn serve(
    runtime: &Runtime,
    listeners: Vec<(TcpListener, Arc<Host>)>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        for (listener, host) in listeners {
            tokio::spawn(accept(listener, host));
        }
        let _ = stopped.await;
    });
}

async fn accept(listener: TcpListener, host: Arc<Host>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors are left: some client keeps every connection open.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let host = Arc::clone(&host);
        // An error only means that the client has disconnected.
        tokio::spawn(async move { converse(stream, &host).await });
    }
}

async fn converse(mut stream: TcpStream, host: &Host) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        while let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
            let url = number(&buffer);
            buffer.drain(..end + 4);
            host.answer(&mut stream, url).await?;
        }
        match tokio::time::timeout(KEEP_ALIVE, stream.read_buf(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => return Ok(()),
        }
    }
}

/// Returns the number of the URL in a request: `GET /17 HTTP/1.1` is the 17th.
fn number(request: &[u8]) -> u32 {
    let digits = request.iter().skip("GET /".len());
    digits
        .map_while(|byte| char::from(*byte).to_digit(10))
        .fold(0, |number, digit| number * 10 + digit)
}
