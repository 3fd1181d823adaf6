//! Connections that close, break or stall.

use fetchall::ErrorKind::{Reset, Stalled, Timeout, TooLarge, Truncated};

use super::Does::{Acts, Ends};
use super::End::{Final, Transient};
use super::{Fault, flood, trickle};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "close-before-the-head",
        does: Ends(b""),
        end: Transient(Reset),
    },
    Fault {
        name: "close-in-the-head",
        does: Ends(b"HTTP/1.1 200 OK\r\nX-Half: "),
        end: Transient(Reset),
    },
    Fault {
        name: "close-in-the-body",
        does: Ends(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf"),
        end: Transient(Truncated),
    },
    Fault {
        name: "reset-before-the-head",
        does: Acts(|connection, _| connection.reset()),
        end: Transient(Reset),
    },
    Fault {
        name: "reset-in-the-head",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nX-Half: ")?;
            connection.reset()
        }),
        end: Transient(Reset),
    },
    Fault {
        name: "reset-in-the-body",
        does: Acts(|connection, _| {
            connection.send(HEAD)?;
            connection.send(b"half")?;
            connection.reset()
        }),
        end: Transient(Reset),
    },
    Fault {
        name: "no-head",
        does: Acts(|connection, _| connection.hang()),
        end: Transient(Timeout),
    },
    Fault {
        name: "stall-in-the-head",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nX-Half: ")?;
            connection.hang()
        }),
        end: Transient(Timeout),
    },
    Fault {
        name: "trickling-status-line",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 ")?;
            trickle(connection, b'O')
        }),
        end: Transient(Timeout),
    },
    Fault {
        name: "trickling-head",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")?;
            trickle(connection, b'x')
        }),
        end: Transient(Timeout),
    },
    Fault {
        name: "stall-before-the-body",
        does: Acts(|connection, _| {
            connection.send(HEAD)?;
            connection.hang()
        }),
        end: Transient(Stalled),
    },
    Fault {
        name: "stall-in-the-body",
        does: Acts(|connection, _| {
            connection.send(HEAD)?;
            connection.send(&[b'x'; 50_000])?;
            connection.hang()
        }),
        end: Transient(Stalled),
    },
    Fault {
        name: "trickling-body",
        does: Acts(|connection, _| {
            connection.send(HEAD)?;
            trickle(connection, b'x')
        }),
        end: Transient(Stalled),
    },
    Fault {
        name: "trickling-chunks",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                connection.send(b"1\r\nx\r\n")?;
                std::thread::sleep(super::DRIP);
            }
        }),
        end: Transient(Stalled),
    },
    Fault {
        name: "trickling-chunk-size",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            trickle(connection, b'0')
        }),
        end: Transient(Stalled),
    },
    Fault {
        name: "endless-body",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")?;
            flood(connection, b"x")
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-error-page",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 404 Not Found\r\n\r\n")?;
            flood(connection, b"x")
        }),
        end: Final(fetchall::ErrorKind::Status),
    },
];
