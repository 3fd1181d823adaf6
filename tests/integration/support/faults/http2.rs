//! Faults that only an HTTP/2 server can have.

use std::io;
use std::time::Duration;

use fetchall::ErrorKind::{Protocol, Reset, Stalled, Timeout, TooLarge, Truncated};
use h2::Reason;

use super::End::{self, Fetched, Final, Throttled, Transient};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PUSH_PROMISE, Peer, RST_STREAM,
    SETTINGS, STATUS_200, WINDOW_UPDATE, frame, literal,
};

/// A fault: what the server does with a request.
pub struct Http2Fault {
    pub name: &'static str,
    pub act: fn(&Peer, u32) -> io::Result<()>,
    pub end: End,
}

const fn fault(name: &'static str, act: fn(&Peer, u32) -> io::Result<()>, end: End) -> Http2Fault {
    Http2Fault { name, act, end }
}

/// The defined error codes (RFC 9113 §7), and an undefined one.
pub const REASONS: [u32; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xdead_beef];

/// Returns a block that adds an entry of 4000 bytes to the dynamic table and refers to it with one
/// byte each time: 64 MB in a block of 16 kB.
fn header_bomb() -> Vec<u8> {
    let mut block = STATUS_200.to_vec();
    // Literal with indexing and a new name (RFC 7541 §6.2.1), whose value is 4000 bytes long.
    block.extend([0x40, 1, b'a', 0x7f]);
    block.extend([0xa1, 0x1e]);
    block.extend([b'x'; 4000]);
    // Index 62 is the newest entry.
    block.extend([0xbe; 16_000 - 4007]);
    block
}

fn data_slowly(peer: &Peer, stream: u32, payload: &[u8]) -> io::Result<()> {
    peer.head(stream)?;
    loop {
        peer.send(DATA, 0, stream, payload)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub const FAULTS: &[Http2Fault] = &[
    fault("good", |peer, stream| peer.answer(stream), Fetched(5)),
    fault("no-head", |_, _| Ok(()), Transient(Timeout)),
    fault(
        "never-ending-stream",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, &[b'x'; 5000])
        },
        Transient(Stalled),
    ),
    fault(
        "trickling-body",
        |peer, stream| data_slowly(peer, stream, b"x"),
        Transient(Stalled),
    ),
    fault(
        "endless-body",
        |peer, stream| {
            peer.head(stream)?;
            // Within the client's stream window (2 MiB), but above its size limit (1 MiB).
            let block = frame(DATA, 0, stream, &[b'x'; 16_000]);
            for _ in 0..131 {
                peer.send_raw(&block)?;
            }
            Ok(())
        },
        Final(TooLarge),
    ),
    fault(
        "close-before-the-head",
        |peer, _| peer.close(),
        Transient(Reset),
    ),
    fault(
        "close-in-the-body",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"half")?;
            std::thread::sleep(Duration::from_millis(20));
            peer.close()
        },
        Transient(Truncated),
    ),
    fault(
        "reset-without-error-in-the-body",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"half")?;
            peer.reset_stream(stream, 0)
        },
        Transient(Truncated),
    ),
    fault(
        "reset-without-error-after-the-body",
        |peer, stream| {
            peer.answer(stream)?;
            peer.reset_stream(stream, 0)
        },
        Fetched(5),
    ),
    fault(
        "cancelled-in-the-body",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"half")?;
            peer.reset_stream(stream, Reason::CANCEL.into())
        },
        Transient(Truncated),
    ),
    fault(
        "refused-in-the-body",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"half")?;
            peer.reset_stream(stream, Reason::REFUSED_STREAM.into())
        },
        Transient(Truncated),
    ),
    fault(
        "shorter-than-announced",
        |peer, stream| {
            let block = [STATUS_200, &literal("content-length", "100")].concat();
            peer.send(HEADERS, END_HEADERS, stream, &block)?;
            peer.send(DATA, END_STREAM, stream, b"half")
        },
        Transient(Truncated),
    ),
    fault(
        "shorter-than-announced-in-two-frames",
        |peer, stream| {
            let block = [STATUS_200, &literal("content-length", "100")].concat();
            peer.send(HEADERS, END_HEADERS, stream, &block)?;
            peer.send(DATA, 0, stream, b"half")?;
            peer.send(DATA, END_STREAM, stream, b"")
        },
        Transient(Truncated),
    ),
    fault(
        "longer-than-announced",
        |peer, stream| {
            let block = [STATUS_200, &literal("content-length", "4")].concat();
            peer.send(HEADERS, END_HEADERS, stream, &block)?;
            peer.send(DATA, 0, stream, b"half")?;
            // Otherwise the client may see the error before it has passed on the bytes.
            std::thread::sleep(Duration::from_millis(50));
            peer.send(DATA, END_STREAM, stream, b"more")
        },
        Final(Protocol),
    ),
    fault(
        "go-away-and-answer",
        |peer, stream| {
            peer.go_away(stream, 0)?;
            std::thread::sleep(Duration::from_millis(20));
            peer.answer(stream)
        },
        Fetched(5),
    ),
    fault(
        "go-away-in-the-body-and-finish",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"hel")?;
            peer.go_away(stream, 0)?;
            std::thread::sleep(Duration::from_millis(20));
            peer.send(DATA, END_STREAM, stream, b"lo")
        },
        Fetched(5),
    ),
    fault(
        "go-away-in-the-body-and-close",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"hel")?;
            peer.go_away(stream, 0)?;
            std::thread::sleep(Duration::from_millis(20));
            peer.close()
        },
        Transient(Truncated),
    ),
    fault(
        "go-away-with-an-error",
        |peer, _| peer.go_away(0, Reason::INTERNAL_ERROR.into()),
        Transient(Reset),
    ),
    fault(
        "go-away-calm-down-in-the-body",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, b"hel")?;
            peer.go_away(0, Reason::ENHANCE_YOUR_CALM.into())
        },
        Throttled(Truncated),
    ),
    fault(
        "flood-of-settings",
        |peer, _| peer.flood(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        Transient(Timeout),
    ),
    fault(
        "flood-of-pings",
        |peer, _| peer.flood(&frame(PING, 0, 0, &[7; 8])),
        Transient(Timeout),
    ),
    fault(
        "flood-of-window-updates",
        |peer, _| peer.flood(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        Transient(Timeout),
    ),
    fault(
        "flood-of-resets",
        |peer, stream| peer.flood(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 7])),
        Transient(Timeout),
    ),
    fault(
        "flood-of-resets-of-streams-that-are-not",
        |peer, stream| peer.flood(&frame(RST_STREAM, 0, stream + 100, &[0, 0, 0, 7])),
        Final(Protocol),
    ),
    fault(
        "flood-of-empty-data",
        |peer, stream| {
            peer.head(stream)?;
            peer.flood(&frame(DATA, 0, stream, b""))
        },
        Transient(Truncated),
    ),
    fault(
        "flood-of-padding",
        |peer, stream| {
            peer.head(stream)?;
            // PADDED, and the whole payload is padding.
            let payload = [&[200][..], &[0; 200]].concat();
            peer.flood(&frame(DATA, 8, stream, &payload))
        },
        Transient(Truncated),
    ),
    fault(
        "flood-of-continuations",
        |peer, stream| {
            peer.send(HEADERS, 0, stream, STATUS_200)?;
            peer.flood(&frame(CONTINUATION, 0, stream, b""))
        },
        Transient(Reset),
    ),
    fault(
        "flood-of-headers-in-continuations",
        |peer, stream| {
            peer.send(HEADERS, 0, stream, STATUS_200)?;
            peer.flood(&frame(
                CONTINUATION,
                0,
                stream,
                &literal("x-more", "and more"),
            ))
        },
        Transient(Reset),
    ),
    fault(
        "flood-of-early-hints",
        |peer, stream| {
            // `:status: 103` as a literal value with the name from index 8.
            peer.flood(&frame(
                HEADERS,
                END_HEADERS,
                stream,
                &[0x08, 3, b'1', b'0', b'3'],
            ))
        },
        Transient(Timeout),
    ),
    fault(
        "flood-of-unknown-frames",
        |peer, stream| peer.flood(&frame(0xbe, 0, stream, b"whatever")),
        Transient(Timeout),
    ),
    fault(
        "header-bomb",
        |peer, stream| peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &header_bomb()),
        Transient(Reset),
    ),
    fault(
        "100000-headers",
        |peer, stream| {
            peer.send(HEADERS, 0, stream, STATUS_200)?;
            let block = literal("x", "1").repeat(1000);
            for _ in 0..100 {
                peer.send(CONTINUATION, 0, stream, &block)?;
            }
            peer.send(CONTINUATION, END_HEADERS, stream, b"")
        },
        Transient(Reset),
    ),
    fault(
        "header-that-never-ends",
        |peer, stream| {
            // Announces a value of 2^28 bytes.
            let start = [STATUS_200, &[0, 1, b'a', 0x7f, 0x81, 0xff, 0xff, 0x7f]].concat();
            peer.send(HEADERS, 0, stream, &start)?;
            peer.flood(&frame(CONTINUATION, 0, stream, &[b'x'; 16_000]))
        },
        Transient(Reset),
    ),
    fault(
        "header-block-of-nonsense",
        |peer, stream| peer.send(HEADERS, END_HEADERS, stream, &[0xff; 100]),
        Final(Protocol),
    ),
    fault(
        "data-before-the-head",
        |peer, stream| peer.send(DATA, 0, stream, b"early"),
        Final(Protocol),
    ),
    fault(
        "answer-on-a-stream-that-is-not",
        |peer, stream| peer.answer(stream + 100),
        Final(Protocol),
    ),
    fault(
        "push-though-forbidden",
        |peer, stream| {
            let promise = [&[0, 0, 0, 2][..], STATUS_200].concat();
            peer.send(PUSH_PROMISE, END_HEADERS, stream, &promise)
        },
        Final(Protocol),
    ),
    fault(
        "frame-that-is-too-large",
        |peer, stream| {
            peer.head(stream)?;
            peer.send(DATA, 0, stream, &[b'x'; 1 << 17])
        },
        Final(Protocol),
    ),
    fault(
        "more-than-the-window",
        |peer, stream| {
            peer.head(stream)?;
            // Ignores flow control, but the client reaches its size limit (1 MiB) before its
            // stream window (2 MiB) is full.
            let block = frame(DATA, 0, stream, &[0; 16_000]);
            peer.flood(&block)
        },
        Final(TooLarge),
    ),
    fault(
        "http-1-instead",
        |peer, _| peer.send_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        Final(Protocol),
    ),
];
