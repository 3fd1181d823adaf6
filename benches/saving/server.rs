//! The server: raw HTTP/1.1 on loopback, on a thread of its own.
//!
//! It parses as little as possible: `GET /d17/f4217.html` is body 4217, `GET /large` the large one.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::bodies::{Bodies, SIZE};

/// The large body is sent in pieces of this size.
static PIECE: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// A server. It stops when dropped.
pub struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server. `large` is the length of the large body.
    pub fn start(large: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        Self {
            addr,
            stop: Some(stop),
            thread: Some(thread::spawn(move || {
                serve(&runtime, listener, large, stopped);
            })),
        }
    }

    /// Returns the URL for a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let stopped = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(stopped, Some(Err(_))), "the server panicked");
    }
}

fn serve(runtime: &Runtime, listener: TcpListener, large: u64, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        tokio::spawn(async move {
            let bodies = Bodies::new();
            while let Ok((stream, _)) = listener.accept().await {
                let replies = Replies {
                    bodies: bodies.clone(),
                    large,
                    reply: Vec::with_capacity(SIZE + 256),
                };
                // An error only means that the client has disconnected.
                tokio::spawn(replies.converse(stream));
            }
        });
        let _ = stopped.await;
    });
}

/// One connection.
struct Replies {
    bodies: Bodies,
    large: u64,
    reply: Vec<u8>,
}

impl Replies {
    async fn converse(mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(1024);
        while stream.read_buf(&mut buffer).await? > 0 {
            while let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                let number = number(&buffer);
                buffer.drain(..end + 4);
                match number {
                    Some(number) => self.send(&mut stream, number).await?,
                    None => self.send_large(&mut stream).await?,
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, stream: &mut TcpStream, number: u32) -> io::Result<()> {
        self.reply.clear();
        write!(
            self.reply,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"{number}\"\r\n\
             Content-Length: {SIZE}\r\n\r\n"
        )?;
        self.reply.extend_from_slice(self.bodies.get(number));
        stream.write_all(&self.reply).await
    }

    async fn send_large(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut left = self.large;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        while left > 0 {
            let size = usize::try_from(left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
            let sent = stream.write(PIECE.get(..size).unwrap_or(&PIECE)).await?;
            left -= sent as u64;
        }
        Ok(())
    }
}

/// Returns the number of the body in a request.
fn number(request: &[u8]) -> Option<u32> {
    let at = memchr::memmem::find(request, b"/f")?;
    let digits = request.iter().skip(at + 2);
    let number = digits
        .map_while(|byte| char::from(*byte).to_digit(10))
        .fold(0, |number, digit| number * 10 + digit);
    Some(number)
}
