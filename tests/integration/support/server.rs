//! A raw TCP server with a thread per connection. The test controls every byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A server on a loopback port. It stops accepting connections when dropped.
pub struct Server {
    pub addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

/// One connection, controlled by the test.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server on a free port. Each connection is passed to `serve` on its own thread. An
    /// error, such as when the client disconnects, ends the connection.
    pub fn start(
        serve: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::at("127.0.0.1:0", serve)
    }

    /// Like [`start`](Self::start), at a given address.
    pub fn at(
        addr: &str,
        serve: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, connections, stopped) = (
            Arc::clone(&server.requests),
            Arc::clone(&server.connections),
            Arc::clone(&server.stopped),
        );
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let mut connection = Connection {
                    stream: stream.unwrap(),
                    buffer: Vec::new(),
                    requests: Arc::clone(&requests),
                };
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    let _ = serve(&mut connection);
                });
            }
        });
        server
    }

    /// Starts a server that answers each request with `answer` of its head.
    pub fn http(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |connection| {
            while let Some(request) = connection.request()? {
                let answer = answer(&request);
                connection.send(&answer)?;
            }
            Ok(())
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns all requests so far, with their bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the requested paths, sorted.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.requests();
        let mut paths: Vec<_> = requests
            .iter()
            .map(|request| path(request).to_owned())
            .collect();
        paths.sort();
        paths
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Connection {
    /// Reads the next request, with its body if it has a length. `None` if the client has closed
    /// the connection.
    pub fn request(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(length) = whole_request(&self.buffer) {
                let request: Vec<_> = self.buffer.drain(..length).collect();
                let request = String::from_utf8_lossy(&request).into_owned();
                self.requests.lock().unwrap().push(request.clone());
                return Ok(Some(request));
            }
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Keeps the connection open without sending anything, until the client closes it.
    pub fn hang(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(drop)
    }

    /// Makes the connection end with a reset instead of a proper close.
    pub fn reset(&mut self) -> io::Result<()> {
        // Lets data arrive that was sent before the reset.
        thread::sleep(Duration::from_millis(50));
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

fn whole_request(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    (bytes.len() >= end + length).then_some(end + length)
}

/// Returns a response with a length.
pub fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        wire.push_str(header);
        wire.push_str("\r\n");
    }
    wire.push_str("\r\n");
    let mut wire = wire.into_bytes();
    wire.extend_from_slice(body);
    wire
}

/// Starts a server that answers each request with the next reply, and repeats the last one. Each
/// connection ends after one response.
pub fn scripted(replies: Vec<Vec<u8>>) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |connection| {
        connection.request()?;
        let next = next.fetch_add(1, Ordering::SeqCst);
        connection.send(&replies[next.min(replies.len() - 1)])
    })
}

/// Starts a server where `/missing` is a 404 and the body of any other page is its path.
pub fn pages() -> Server {
    Server::http(|request| match path(request) {
        "/missing" => response("404 Not Found", &[], b"no"),
        path => response("200 OK", &["Content-Type: text/plain"], path.as_bytes()),
    })
}

/// Returns the path of a request.
pub fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

/// Returns the value of a header of a request.
pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = request.lines().filter_map(|line| line.split_once(": "));
    let found = headers.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

/// Waits until the condition holds. Panics after 30 s, far more than any condition takes.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns an address without a listener.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Returns an address where connecting hangs for as long as the guard lives: a listener whose
/// queue is full drops every further SYN.
pub fn black_hole() -> (SocketAddr, impl Drop) {
    black_hole_at("127.0.0.1:0".parse().unwrap())
}

/// Like [`black_hole`], at a given address.
pub fn black_hole_at(at: SocketAddr) -> (SocketAddr, impl Drop) {
    use socket2::{Domain, Socket, Type};
    struct Guard(#[expect(dead_code, reason = "kept open")] Vec<Socket>);
    impl Drop for Guard {
        fn drop(&mut self) {}
    }
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&at.into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&addr);
        sockets.push(client);
    }
    thread::sleep(Duration::from_millis(50));
    (addr.as_socket().unwrap(), Guard(sockets))
}
