//! An HTTP/2 server that can send any frames (RFC 9113 §4.1).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::Server;

/// Frame types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Frame flags.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `:status: 200` in HPACK (RFC 7541, appendix A).
pub const STATUS_200: &[u8] = &[0x88];

/// Encodes a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Encodes a header with literal name and value, without indexing (RFC 7541 §6.2.2). Both must be
/// shorter than 127 bytes.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    }
    block
}

/// The connection to a client. The server answers pings by itself, so that the client sees the
/// connection as alive.
#[derive(Clone)]
pub struct Peer(Arc<Mutex<TcpStream>>);

impl Peer {
    /// Whether this is the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn send(&self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.send_raw(&frame(kind, flags, stream, payload))
    }

    pub fn send_raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().write_all(bytes)
    }

    /// Sends a head with status 200 and without a length.
    pub fn head(&self, stream: u32) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, STATUS_200)
    }

    /// Sends a whole response with a body of five bytes.
    pub fn answer(&self, stream: u32) -> io::Result<()> {
        self.head(stream)?;
        self.send(DATA, END_STREAM, stream, b"hello")
    }

    pub fn reset_stream(&self, stream: u32, code: u32) -> io::Result<()> {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// Sends GOAWAY: streams after `last` will not be processed.
    pub fn go_away(&self, last: u32, code: u32) -> io::Result<()> {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload)
    }

    /// Sends these frames in an endless loop, and nothing else, until the client disconnects.
    pub fn flood(&self, frames: &[u8]) -> io::Result<()> {
        let block = frames.repeat(16 * 1024 / frames.len() + 1);
        let mut stream = self.0.lock().unwrap();
        loop {
            stream.write_all(&block)?;
        }
    }

    /// Stops responding, even to pings, as if the machine were gone.
    pub fn fall_silent(&self) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap();
        io::copy(&mut *stream, &mut io::sink()).map(drop)
    }

    /// Does nothing else, not even respond to pings, for this long.
    pub fn be_busy(&self, busy: std::time::Duration) {
        let _stream = self.0.lock().unwrap();
        std::thread::sleep(busy);
    }

    pub fn close(&self) -> io::Result<()> {
        self.0.lock().unwrap().shutdown(std::net::Shutdown::Both)
    }
}

/// Starts a server that calls `act` with the stream and the number of each request, from 0.
pub fn http2(act: impl Fn(&Peer, u32, usize) -> io::Result<()> + Send + Sync + 'static) -> Server {
    let act = Arc::new(act);
    let seen = Arc::new(Mutex::new(0));
    Server::start(move |connection| {
        let mut stream = connection.stream.try_clone()?;
        let peer = Peer(Arc::new(Mutex::new(connection.stream.try_clone()?)));
        stream.read_exact(&mut [0; 24])?;
        peer.send(SETTINGS, 0, 0, &[])?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload)?;
            match (kind, flags & ACK) {
                (SETTINGS, 0) => peer.send(SETTINGS, ACK, 0, &[])?,
                (PING, 0) => peer.send(PING, ACK, 0, &payload)?,
                (HEADERS, _) => {
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        *seen += 1;
                        *seen - 1
                    };
                    let (act, peer) = (Arc::clone(&act), peer.clone());
                    // The loop continues to read meanwhile.
                    std::thread::spawn(move || act(&peer, u32::from_be_bytes(id), number));
                }
                _ => {}
            }
        }
    })
}
