//! Coded bodies that are corrupt, mislabelled, or decompression bombs.

use std::io::{self, Write};
use std::sync::LazyLock;

use fetchall::ErrorKind::{Decode, Protocol, TooLarge, Truncated};
use flate2::write::GzEncoder;
use flate2::{Compression, FlushCompress};

use super::Does::Acts;
use super::End::{Fetched, Final, Transient};
use super::{Does, Fault, flood};
use crate::support::{Connection, response};

/// The same 9000 bytes in each coding.
const GZIP: &[u8] = include_bytes!("../../../../fixtures/bodies/fetchall.gzip");
const BR: &[u8] = include_bytes!("../../../../fixtures/bodies/fetchall.br");
const ZSTD: &[u8] = include_bytes!("../../../../fixtures/bodies/fetchall.zstd");
const DEFLATE: &[u8] = include_bytes!("../../../../fixtures/bodies/fetchall.deflate");
/// 256 MiB of zeros.
const BR_BOMB: &[u8] = include_bytes!("../../../../fixtures/bodies/zeros-256MiB.br");

const ZEROS: &[u8] = &[0; 1 << 20];

/// Bodies that take long to create, made in advance so that the server does not seem slow.
struct Bombs {
    gzip: Vec<u8>,
    nested: Vec<u8>,
    deflate: Vec<u8>,
    zstd: Vec<u8>,
}

static BOMBS: LazyLock<Bombs> = LazyLock::new(|| {
    let inner = gzip(ZEROS);
    Bombs {
        nested: gzip(&inner.repeat(1000)),
        gzip: inner,
        deflate: open_deflate(ZEROS),
        zstd: zstd::encode_all(ZEROS, 1).unwrap(),
    }
});

/// Creates the bodies that take long.
pub fn prepare() {
    LazyLock::force(&BOMBS);
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

/// Returns a piece of a raw deflate stream that ends at a byte boundary and leaves the stream open,
/// so that it can be repeated.
fn open_deflate(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::Compress::new(Compression::default(), false);
    let mut piece = Vec::with_capacity(64 * 1024);
    let flush = FlushCompress::Full;
    packer.compress_vec(body, &mut piece, flush).unwrap();
    piece
}

fn coded(connection: &mut Connection, coding: &str, body: &[u8]) -> io::Result<()> {
    let coding = format!("Content-Encoding: {coding}");
    connection.send(&response("200 OK", &[&coding], body))
}

/// Sends the head of a coded body without a length.
fn open(connection: &mut Connection, coding: &str) -> io::Result<()> {
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n").as_bytes())
}

/// Sends a body without its last bytes, and with a length that matches.
fn cut(connection: &mut Connection, coding: &str, body: &[u8]) -> io::Result<()> {
    coded(connection, coding, &body[..body.len() - 4])
}

/// Sends a body without its last bytes, whose end is marked only by the end of the connection.
fn cut_with_the_connection(
    connection: &mut Connection,
    coding: &str,
    body: &[u8],
) -> io::Result<()> {
    open(connection, coding)?;
    connection.send(&body[..body.len() - 4])
}

/// Sends a body with these transfer codings, in one chunk or up to the end of the connection.
fn transferred(connection: &mut Connection, codings: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\n\r\n");
    connection.send(head.as_bytes())?;
    if !codings.to_ascii_lowercase().ends_with("chunked") {
        return connection.send(body);
    }
    connection.send(format!("{:x}\r\n", body.len()).as_bytes())?;
    connection.send(&[body, b"\r\n0\r\n\r\n"].concat())
}

/// Sends a body with some inverted bytes in the middle.
fn garbled(connection: &mut Connection, coding: &str, body: &[u8]) -> io::Result<()> {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    for byte in &mut body[middle..middle + 4] {
        *byte = !*byte;
    }
    coded(connection, coding, &body)
}

const PLAIN: &[u8] = b"<html>as plain as can be</html>";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "gzip",
        does: Acts(|connection, _| coded(connection, "gzip", GZIP)),
        end: Fetched(9000),
    },
    Fault {
        name: "br",
        does: Acts(|connection, _| coded(connection, "br", BR)),
        end: Fetched(9000),
    },
    Fault {
        name: "zstd",
        does: Acts(|connection, _| coded(connection, "zstd", ZSTD)),
        end: Fetched(9000),
    },
    Fault {
        name: "deflate",
        does: Acts(|connection, _| coded(connection, "deflate", DEFLATE)),
        end: Fetched(9000),
    },
    Fault {
        name: "cut-gzip",
        does: Acts(|connection, _| cut(connection, "gzip", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "cut-br",
        does: Acts(|connection, _| cut(connection, "br", BR)),
        end: Final(Decode),
    },
    Fault {
        name: "cut-zstd",
        does: Acts(|connection, _| cut(connection, "zstd", ZSTD)),
        end: Final(Decode),
    },
    Fault {
        name: "cut-deflate",
        does: Acts(|connection, _| cut(connection, "deflate", DEFLATE)),
        end: Final(Decode),
    },
    Fault {
        name: "garbled-gzip",
        does: Acts(|connection, _| garbled(connection, "gzip", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "garbled-br",
        does: Acts(|connection, _| garbled(connection, "br", BR)),
        end: Final(Decode),
    },
    Fault {
        name: "garbled-zstd",
        does: Acts(|connection, _| garbled(connection, "zstd", ZSTD)),
        end: Final(Decode),
    },
    Fault {
        name: "garbled-deflate",
        does: Acts(|connection, _| garbled(connection, "deflate", DEFLATE)),
        end: Final(Decode),
    },
    Fault {
        name: "plain-labelled-gzip",
        does: Acts(|connection, _| coded(connection, "gzip", PLAIN)),
        end: Final(Decode),
    },
    Fault {
        name: "plain-labelled-br",
        does: Acts(|connection, _| coded(connection, "br", PLAIN)),
        end: Final(Decode),
    },
    Fault {
        name: "plain-labelled-zstd",
        does: Acts(|connection, _| coded(connection, "zstd", PLAIN)),
        end: Final(Decode),
    },
    Fault {
        name: "plain-labelled-deflate",
        does: Acts(|connection, _| coded(connection, "deflate", PLAIN)),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-labelled-br",
        does: Acts(|connection, _| coded(connection, "br", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-labelled-zstd",
        does: Acts(|connection, _| coded(connection, "zstd", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-labelled-deflate",
        does: Acts(|connection, _| coded(connection, "deflate", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-cut-on-the-wire",
        does: Acts(|connection, _| {
            let wire = response("200 OK", &["Content-Encoding: gzip"], GZIP);
            connection.send(&wire[..wire.len() - 4])
        }),
        end: Transient(Truncated),
    },
    Fault {
        name: "gzip-cut-with-the-connection",
        does: Acts(|connection, _| cut_with_the_connection(connection, "gzip", GZIP)),
        end: Transient(Truncated),
    },
    Fault {
        name: "br-cut-with-the-connection",
        does: Acts(|connection, _| cut_with_the_connection(connection, "br", BR)),
        end: Transient(Truncated),
    },
    Fault {
        name: "zstd-cut-with-the-connection",
        does: Acts(|connection, _| cut_with_the_connection(connection, "zstd", ZSTD)),
        end: Transient(Truncated),
    },
    Fault {
        name: "deflate-cut-with-the-connection",
        does: Acts(|connection, _| cut_with_the_connection(connection, "deflate", DEFLATE)),
        end: Transient(Truncated),
    },
    Fault {
        name: "plain-labelled-gzip-up-to-the-end",
        does: Acts(|connection, _| {
            open(connection, "gzip")?;
            connection.send(b"oops")
        }),
        end: Final(Decode),
    },
    Fault {
        name: "transfer-gzip-in-chunks",
        does: Acts(|connection, _| transferred(connection, "gzip, chunked", GZIP)),
        end: Fetched(9000),
    },
    Fault {
        name: "transfer-gzip-in-two-lines",
        does: Acts(|connection, _| {
            transferred(connection, "X-GZip;q=1\r\nTransfer-Encoding: Chunked", GZIP)
        }),
        end: Fetched(9000),
    },
    Fault {
        name: "transfer-deflate-up-to-the-end",
        does: Acts(|connection, _| transferred(connection, "deflate", DEFLATE)),
        end: Fetched(9000),
    },
    Fault {
        name: "transfer-gzip-cut-with-the-connection",
        does: Acts(|connection, _| transferred(connection, "gzip", &GZIP[..GZIP.len() - 4])),
        end: Transient(Truncated),
    },
    Fault {
        name: "transfer-chunked-below-gzip",
        does: Acts(|connection, _| transferred(connection, "chunked, gzip", GZIP)),
        end: Final(Protocol),
    },
    Fault {
        name: "transfer-chunked-with-parameter",
        does: Acts(|connection, _| transferred(connection, "chunked;x=1", PLAIN)),
        end: Final(Protocol),
    },
    Fault {
        name: "transfer-compress",
        does: Acts(|connection, _| transferred(connection, "compress, chunked", PLAIN)),
        end: Final(Protocol),
    },
    Fault {
        name: "transfer-identity-with-a-length",
        does: Does::Answers(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        ),
        end: Fetched(5),
    },
    Fault {
        name: "gzip-then-junk",
        does: Acts(|connection, _| coded(connection, "gzip", &[GZIP, b"junk"].concat())),
        end: Fetched(9000),
    },
    Fault {
        name: "empty-gzip",
        does: Acts(|connection, _| coded(connection, "gzip", b"")),
        end: Fetched(0),
    },
    Fault {
        name: "x-gzip",
        does: Acts(|connection, _| coded(connection, "X-GZip", GZIP)),
        end: Fetched(9000),
    },
    Fault {
        name: "unknown-coding",
        does: Acts(|connection, _| coded(connection, "x-own", PLAIN)),
        end: Fetched(31),
    },
    Fault {
        name: "unknown-coding-over-gzip",
        does: Acts(|connection, _| coded(connection, "gzip, x-own", PLAIN)),
        end: Fetched(31),
    },
    Fault {
        name: "coding-not-in-utf-8",
        does: Acts(|connection, _| {
            let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: \xff\r\nContent-Length: 2\r\n\r\nok";
            connection.send(head)
        }),
        end: Fetched(2),
    },
    Fault {
        name: "gzip-twice",
        does: Acts(|connection, _| coded(connection, "gzip, gzip", &gzip(GZIP))),
        end: Fetched(9000),
    },
    Fault {
        name: "gzip-three-times",
        does: Acts(|connection, _| coded(connection, "gzip, gzip, gzip", &gzip(&gzip(GZIP)))),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-labelled-twice",
        does: Acts(|connection, _| coded(connection, "gzip, gzip", GZIP)),
        end: Final(Decode),
    },
    Fault {
        name: "gzip-bomb",
        does: Acts(|connection, _| {
            open(connection, "gzip")?;
            flood(connection, &BOMBS.gzip)
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "deflate-bomb",
        does: Acts(|connection, _| {
            open(connection, "deflate")?;
            flood(connection, &BOMBS.deflate)
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "zstd-bomb",
        does: Acts(|connection, _| {
            open(connection, "zstd")?;
            flood(connection, &BOMBS.zstd)
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "br-bomb",
        does: Acts(|connection, _| coded(connection, "br", BR_BOMB)),
        end: Final(TooLarge),
    },
    Fault {
        name: "gzip-bomb-in-gzip",
        does: Acts(|connection, _| {
            open(connection, "gzip, gzip")?;
            flood(connection, &BOMBS.nested)
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-nothing-in-gzip",
        does: Acts(|connection, _| {
            open(connection, "gzip")?;
            flood(connection, &gzip(b""))
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-nothing-in-deflate",
        does: Acts(|connection, _| {
            open(connection, "deflate")?;
            flood(connection, &open_deflate(b""))
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-nothing-in-zstd",
        does: Acts(|connection, _| {
            open(connection, "zstd")?;
            // A skippable frame (RFC 8878 §3.1.2).
            flood(connection, b"\x50\x2a\x4d\x18\x04\0\0\0skip")
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-gzip-name",
        does: Acts(|connection, _| {
            open(connection, "gzip")?;
            connection.send(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03")?;
            flood(connection, b"x")
        }),
        end: Final(TooLarge),
    },
    Fault {
        name: "endless-junk-after-gzip",
        does: Acts(|connection, _| {
            open(connection, "gzip")?;
            connection.send(GZIP)?;
            flood(connection, b"\0")
        }),
        end: Final(TooLarge),
    },
];
