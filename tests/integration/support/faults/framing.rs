//! Bodies with a wrong length or invalid chunks.

use fetchall::ErrorKind::{Protocol, Status, TooLarge, Truncated};

use super::Does::{Acts, Answers, Ends};
use super::End::{Fetched, Final, Transient};
use super::{Fault, flood, pour};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A response followed by another one, which must not become the response to the next request on
/// the connection.
macro_rules! poisoned {
    ($head:literal) => {
        concat!(
            "HTTP/1.1 ",
            $head,
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        )
        .as_bytes()
    };
}

const fn ends(name: &'static str, bytes: &'static [u8], end: super::End) -> Fault {
    Fault {
        name,
        does: Ends(bytes),
        end,
    }
}

pub const FAULTS: &[Fault] = &[
    ends(
        "until-the-close",
        b"HTTP/1.1 200 OK\r\n\r\nall of it",
        Fetched(9),
    ),
    ends("http-1-0", b"HTTP/1.0 200 OK\r\n\r\nold", Fetched(3)),
    ends(
        "truncated-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        Transient(Truncated),
    ),
    ends(
        "truncated-to-nothing",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        Transient(Truncated),
    ),
    ends(
        "truncated-in-a-chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        Transient(Truncated),
    ),
    ends(
        "truncated-between-chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        Transient(Truncated),
    ),
    ends(
        "truncated-in-the-last-chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        Transient(Truncated),
    ),
    ends(
        "negative-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        Final(Protocol),
    ),
    ends(
        "length-with-a-plus",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "hexadecimal-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n0123456789abcdef",
        Final(Protocol),
    ),
    ends(
        "overflowing-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "length-of-all-there-is",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "huge-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello",
        Final(TooLarge),
    ),
    ends(
        "length-in-words",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "empty-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "conflicting-lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        Final(Protocol),
    ),
    ends(
        "conflicting-lengths-in-a-line",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx",
        Final(Protocol),
    ),
    Fault {
        name: "equal-lengths",
        does: Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nxx"),
        end: Fetched(2),
    },
    // RFC 9112 §6.3: the chunks take precedence, and the connection must not be reused.
    ends(
        "length-and-chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        Fetched(5),
    ),
    // RFC 9112 §6.1: the body would still be coded.
    ends(
        "unknown-transfer-coding",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own\r\n\r\nhello",
        Final(Protocol),
    ),
    ends(
        "chunk-size-in-words",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Final(Protocol),
    ),
    ends(
        "chunk-size-negative",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        Final(Protocol),
    ),
    ends(
        "chunk-size-missing",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
        Final(Protocol),
    ),
    ends(
        "chunk-size-overflowing",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        Final(Protocol),
    ),
    ends(
        "chunk-longer-than-it-says",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
        Final(Protocol),
    ),
    Fault {
        name: "endless-chunk",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            connection.send(b"7fffffffffffffff\r\n")?;
            flood(connection, b"x")
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-chunks",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
            flood(connection, chunk.as_bytes())
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-chunk-size",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            pour(connection, b"0")
        }),
        // The resend bounds what the first request waited for.
        end: Final(Protocol),
    },
    Fault {
        name: "endless-chunk-extension",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            connection.send(b"5;")?;
            flood(connection, b"x")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-chunk-extensions",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            flood(connection, b"1;name=value\r\nx\r\n")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-trailer",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            connection.send(b"5\r\nhello\r\n0\r\nX-Long: ")?;
            flood(connection, b"x")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "endless-trailers",
        does: Acts(|connection, _| {
            connection.send(CHUNKED)?;
            connection.send(b"5\r\nhello\r\n0\r\n")?;
            flood(connection, b"X-More: and more\r\n")
        }),
        end: Final(Protocol),
    },
    Fault {
        name: "trailers",
        does: Answers(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
              5;ext=1\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n",
        ),
        end: Fetched(5),
    },
    Fault {
        name: "junk-after-the-body",
        does: Answers(poisoned!("200 OK\r\nContent-Length: 5\r\n\r\nhello")),
        end: Fetched(5),
    },
    Fault {
        name: "junk-after-the-chunks",
        does: Answers(poisoned!(
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )),
        end: Fetched(5),
    },
    Fault {
        name: "no-content-with-a-body",
        does: Answers(poisoned!("204 No Content\r\nContent-Length: 5\r\n\r\nhello")),
        end: Fetched(0),
    },
    Fault {
        name: "not-modified-with-a-body",
        does: Answers(poisoned!("304 Not Modified\r\nContent-Length: 5\r\n\r\nhello")),
        end: Final(Status),
    },
    ends(
        "unsolicited-part",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/9\r\n\r\nx",
        Final(Protocol),
    ),
];
