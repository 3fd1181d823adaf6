//! A server that misbehaves as the path asks: `/reset-in-the-head/17` meets the behaviour of
//! that name, whatever stands behind it. Every behaviour knows what has to come of it.

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

/// A behaviour.
pub struct Fault {
    /// The first step of the path.
    pub name: &'static str,
    pub does: Does,
    pub end: End,
}

/// What the server does with a request.
#[derive(Clone, Copy)]
pub enum Does {
    /// Sends this and closes.
    Ends(&'static [u8]),
    /// Sends this and waits for the next request on the connection.
    Answers(&'static [u8]),
    /// Does this with the path and closes.
    Acts(fn(&mut Connection, &str) -> io::Result<()>),
}

/// What has to come of it.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// A body of so many bytes, at the first try.
    Fetched(u64),
    /// Fetched at another path of the same server, after one redirect.
    Elsewhere,
    /// This kind, once and for all.
    Final(ErrorKind),
    /// This kind, once so many requests have been made because of redirects.
    After(u32, ErrorKind),
    /// This kind, as often as it is tried.
    Passing(ErrorKind),
    /// The same from a server that says that it is asked too much: the first two times are free.
    Throttled(ErrorKind),
    /// `timeout` as often as it is tried, or `reset` when no answer to a ping came before.
    Silence,
}

impl End {
    /// How many requests count as attempts with so many retries.
    pub fn attempts(self, retries: u32) -> u32 {
        match self {
            Self::Fetched(_) | Self::Final(_) => 1,
            Self::Elsewhere => 2,
            Self::After(requests, _) => requests,
            Self::Passing(_) | Self::Silence => retries + 1,
            Self::Throttled(_) => retries + 3,
        }
    }

    /// Whether this kind of error, or none, is the right one.
    pub fn fits(self, kind: Option<ErrorKind>) -> bool {
        match self {
            Self::Fetched(_) | Self::Elsewhere => kind.is_none(),
            Self::Final(right)
            | Self::After(_, right)
            | Self::Passing(right)
            | Self::Throttled(right) => kind == Some(right),
            Self::Silence => matches!(kind, Some(ErrorKind::Reset | ErrorKind::Timeout)),
        }
    }
}

pub use coding::FAULTS as CODINGS;
pub use connection::FAULTS as CONNECTIONS;
pub use framing::FAULTS as FRAMINGS;
pub use head::FAULTS as HEADS;
pub use redirect::FAULTS as REDIRECTS;

/// Every behaviour there is.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [CONNECTIONS, HEADS, FRAMINGS, CODINGS, REDIRECTS]
        .into_iter()
        .flatten()
}

/// The behaviour that a path asks for.
pub fn named(path: &str) -> Option<&'static Fault> {
    let name = path.split('/').nth(1)?;
    all().find(|fault| fault.name == name)
}

/// A server with all of them. Any other path is a page that says its path, and has it as
/// its tag.
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

/// How fast what trickles does: a KiB takes 20 s.
const DRIP: Duration = Duration::from_millis(20);

/// Sends a byte at a time, until the client has had enough.
fn trickle(connection: &mut Connection, byte: u8) -> io::Result<()> {
    loop {
        connection.send(&[byte])?;
        std::thread::sleep(DRIP);
    }
}

/// Sends this again and again, as fast as it is taken, until the client has had enough.
fn flood(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    let block = bytes.repeat(64 * 1024 / bytes.len() + 1);
    loop {
        connection.send(&block)?;
    }
}

/// The same for what is slow to read: a megabyte at once, and then steadily. As fast as it is
/// taken it would keep a program that is not optimised from anything else.
fn pour(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    connection.send(&bytes.repeat((1 << 20) / bytes.len()))?;
    let block = bytes.repeat(4096 / bytes.len());
    loop {
        connection.send(&block)?;
        std::thread::sleep(Duration::from_millis(10));
    }
}
