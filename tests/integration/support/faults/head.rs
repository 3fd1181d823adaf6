//! Response heads that are endless, too large or invalid.

use std::io::Write;

use fetchall::ErrorKind::{Protocol, Status, Timeout};

use super::Does::{Acts, Answers, Ends};
use super::End::{Fetched, Final, Transient};
use super::{Fault, flood, pour, trickle};
use crate::support::Connection;

const START: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";

fn headers(connection: &mut Connection, count: usize) -> std::io::Result<()> {
    let mut head = START.to_vec();
    for n in 1..count {
        write!(head, "X-{n}: 1\r\n")?;
    }
    head.extend_from_slice(b"\r\nok");
    connection.send(&head)
}

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "endless-head",
        does: Acts(|connection, _| {
            connection.send(START)?;
            flood(connection, b"X-More: and more\r\n")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-header",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
            flood(connection, b"x")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-header-name",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 OK\r\n")?;
            flood(connection, b"x")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-reason",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 200 ")?;
            flood(connection, b"O")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-blank-lines",
        does: Acts(|connection, _| flood(connection, b"\r\n")),
        end: Final(Protocol),
    },
    Fault {
        name: "header-of-a-megabyte",
        does: Acts(|connection, _| {
            let long = "x".repeat(1 << 20);
            connection.send(format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\n\r\n").as_bytes())
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "100-headers",
        does: Acts(|connection, _| headers(connection, 100)),
        end: Fetched(2),
    },
    Fault {
        name: "101-headers",
        does: Acts(|connection, _| headers(connection, 101)),
        end: Fetched(2),
    },
    Fault {
        name: "1000-headers",
        does: Acts(|connection, _| headers(connection, 1000)),
        end: Fetched(2),
    },
    Fault {
        name: "1001-headers",
        does: Acts(|connection, _| headers(connection, 1001)),
        end: Final(Protocol),
    },
    Fault {
        name: "100000-headers",
        does: Acts(|connection, _| headers(connection, 100_000)),
        end: Final(Protocol),
    },
    Fault {
        name: "informational-first",
        does: Answers(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        end: Fetched(2),
    },
    Fault {
        name: "endless-continue",
        does: Acts(|connection, _| pour(connection, b"HTTP/1.1 100 Continue\r\n\r\n")),
        end: Transient(Timeout),
    },
    Fault {
        name: "endless-early-hints",
        does: Acts(|connection, _| {
            let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
            pour(connection, hint)
        }),
        end: Transient(Timeout),
    },
    Fault {
        name: "trickling-continue",
        does: Acts(|connection, _| {
            loop {
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                std::thread::sleep(super::DRIP);
            }
        }),
        end: Transient(Timeout),
    },
    Fault {
        name: "unasked-switch-of-protocols",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")?;
            trickle(connection, b'x')
        }),
        end: Final(Status),
    },
    Fault {
        name: "http-0-9",
        does: Ends(b"<html>no head at all</html>"),
        end: Final(Protocol),
    },
    Fault {
        name: "http-2-unasked",
        does: Ends(b"\0\0\0\x04\0\0\0\0\0"),
        end: Final(Protocol),
    },
    Fault {
        name: "http-3-0",
        does: Ends(b"HTTP/3.0 200 OK\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "ssh",
        does: Ends(b"SSH-2.0-OpenSSH_9.2\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "icy",
        does: Ends(b"ICY 200 OK\r\n\r\nmusic"),
        end: Final(Protocol),
    },
    Fault {
        name: "noise",
        does: Acts(|connection, _| flood(connection, b"\x00\xff\x80\x17")),
        end: Final(Protocol),
    },
    Fault {
        name: "status-in-words",
        does: Ends(b"HTTP/1.1 twohundred OK\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "status-99",
        does: Ends(b"HTTP/1.1 99 Low\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "status-000",
        does: Ends(b"HTTP/1.1 000 None\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "status-999",
        does: Ends(b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n"),
        end: Final(Status),
    },
    Fault {
        name: "status-1000",
        does: Ends(b"HTTP/1.1 1000 High\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "no-reason",
        does: Answers(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "bare-line-feeds",
        does: Answers(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "no-colon",
        does: Ends(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        end: Fetched(0),
    },
    Fault {
        name: "blank-before-the-colon",
        does: Ends(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "folded-length",
        does: Ends(b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "blank-in-a-name",
        does: Ends(b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "bracket-in-a-name",
        does: Ends(b"HTTP/1.1 200 OK\r\nX[0]: b\r\nContent-Length: 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "line-without-a-colon",
        does: Ends(b"HTTP/1.1 200 OK\r\nWarning\r\nContent-Length: 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "control-byte-in-a-value-before-chunks",
        does: Ends(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\x01b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        end: Fetched(2),
    },
    Fault {
        name: "control-byte-in-the-length",
        does: Ends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\x01\r\n\r\nok"),
        end: Final(Protocol),
    },
    Fault {
        name: "control-byte-in-the-coding",
        does: Ends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\x01\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "blank-in-the-name-of-the-length",
        does: Ends(b"HTTP/1.1 200 OK\r\nContent Length: 2\r\n\r\nok"),
        end: Final(Protocol),
    },
    Fault {
        name: "nul-in-a-value",
        does: Ends(b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "nul-in-a-name",
        does: Ends(b"HTTP/1.1 200 OK\r\nX-\0: b\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "control-bytes-in-the-reason",
        does: Ends(b"HTTP/1.1 200 O\x01K\x7f\r\r\nContent-Length: 2\r\n\r\nok"),
        end: Fetched(2),
    },
    Fault {
        name: "nul-in-the-reason",
        does: Ends(b"HTTP/1.1 200 O\0K\r\n\r\n"),
        end: Final(Protocol),
    },
    Fault {
        name: "carriage-return-in-a-value",
        does: Ends(b"HTTP/1.1 200 OK\r\nX-Cr: a\rSet-Cookie: b\r\n\r\n"),
        end: Fetched(0),
    },
    Fault {
        name: "no-utf-8-in-values",
        does: Answers(
            b"HTTP/1.1 200 \xff\xfe\r\nContent-Type: text/\xff\r\nETag: \"\x80\"\r\n\
              Last-Modified: \xe9\r\nContent-Length: 2\r\n\r\nok",
        ),
        end: Fetched(2),
    },
];
