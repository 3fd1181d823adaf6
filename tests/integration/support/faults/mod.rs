//! A server that misbehaves as the path requests: `/reset-in-the-head/17` triggers the fault of that
//! name; the rest of the path is free. Each fault defines the expected outcome.

mod coding;
mod connection;
mod framing;
mod head;
pub mod http2;
mod redirect;

use std::io;
use std::time::Duration;

use fetchall::ErrorKind;

use super::{Connection, Server, path, response};

/// A fault of the server.
pub struct Fault {
    /// The first segment of the path.
    pub name: &'static str,
    pub does: Does,
    pub end: End,
}

/// What the server does with a request.
#[derive(Clone, Copy)]
pub enum Does {
    /// Sends these bytes and closes the connection.
    Ends(&'static [u8]),
    /// Sends these bytes and waits for the next request on the connection.
    Answers(&'static [u8]),
    /// Calls this with the path and closes the connection.
    Acts(fn(&mut Connection, &str) -> io::Result<()>),
}

/// The expected outcome.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// A body of this size, at the first attempt.
    Fetched(u64),
    /// Fetched from another path of the same server, after one redirect.
    Elsewhere,
    /// An error of this kind, without a retry.
    Final(ErrorKind),
    /// An error of this kind, after this number of requests because of redirects, or of a retry with
    /// stricter limits.
    After(u32, ErrorKind),
    /// An error of this kind, in every attempt.
    Transient(ErrorKind),
    /// Like `Transient`, from a server that throttles: the first two retries are free.
    Throttled(ErrorKind),
}

impl End {
    /// Returns the expected number of attempts with this number of retries.
    pub fn attempts(self, retries: u32) -> u32 {
        match self {
            Self::Fetched(_) | Self::Final(_) => 1,
            Self::Elsewhere => 2,
            Self::After(requests, _) => requests,
            Self::Transient(_) => retries + 1,
            Self::Throttled(_) => retries + 3,
        }
    }

    /// Whether this kind of error, or none, is expected.
    pub fn fits(self, kind: Option<ErrorKind>) -> bool {
        match self {
            Self::Fetched(_) | Self::Elsewhere => kind.is_none(),
            Self::Final(right)
            | Self::After(_, right)
            | Self::Transient(right)
            | Self::Throttled(right) => kind == Some(right),
        }
    }
}

pub use coding::FAULTS as CODINGS;
pub use connection::FAULTS as CONNECTIONS;
pub use framing::FAULTS as FRAMINGS;
pub use head::FAULTS as HEADS;
pub use redirect::FAULTS as REDIRECTS;

/// Iterates over all faults.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [CONNECTIONS, HEADS, FRAMINGS, CODINGS, REDIRECTS]
        .into_iter()
        .flatten()
}

/// Returns the fault that a path requests.
pub fn named(path: &str) -> Option<&'static Fault> {
    let name = path.split('/').nth(1)?;
    all().find(|fault| fault.name == name)
}

/// Starts a server with all faults. Any other path is a page with its path as body and `ETag`.
pub fn server() -> Server {
    coding::prepare();
    Server::start(serve)
}

fn serve(connection: &mut Connection) -> io::Result<()> {
    while let Some(request) = connection.request()? {
        let path = path(&request);
        match named(path).map(|fault| fault.does) {
            Some(Does::Ends(bytes)) => return connection.send(bytes),
            Some(Does::Answers(bytes)) => connection.send(bytes)?,
            Some(Does::Acts(act)) => return act(connection, path),
            None => {
                let tag = format!("ETag: \"{path}\"");
                connection.send(&response("200 OK", &[&tag], path.as_bytes()))?;
            }
        }
    }
    Ok(())
}

/// Delay between the bytes of a trickling response: 1 KiB takes 20 s.
const DRIP: Duration = Duration::from_millis(20);

/// Sends one byte at a time, until the client disconnects.
fn trickle(connection: &mut Connection, byte: u8) -> io::Result<()> {
    loop {
        connection.send(&[byte])?;
        std::thread::sleep(DRIP);
    }
}

/// Sends these bytes in an endless loop at full speed, until the client disconnects.
fn flood(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    let block = bytes.repeat(64 * 1024 / bytes.len() + 1);
    loop {
        connection.send(&block)?;
    }
}

/// Like [`flood`], for data that is slow to parse: 1 MiB at once, then at a steady rate. At full
/// speed it would keep a debug build from doing anything else.
fn pour(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    connection.send(&bytes.repeat((1 << 20) / bytes.len()))?;
    let block = bytes.repeat(4096 / bytes.len());
    loop {
        connection.send(&block)?;
        std::thread::sleep(Duration::from_millis(10));
    }
}
