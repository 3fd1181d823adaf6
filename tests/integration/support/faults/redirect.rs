//! Redirects to invalid targets, and redirect loops.

use fetchall::ErrorKind::Redirect;

use super::Does::{Acts, Answers};
use super::End::{After, Elsewhere, Final};
use super::{End, Fault};
use crate::support::response;

/// Returns a 302 with these headers and no body.
macro_rules! to {
    ($headers:literal) => {
        concat!(
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n",
            $headers,
            "\r\n"
        )
        .as_bytes()
    };
}

const fn answers(name: &'static str, bytes: &'static [u8], end: End) -> Fault {
    Fault {
        name,
        does: Answers(bytes),
        end,
    }
}

pub const FAULTS: &[Fault] = &[
    answers(
        "redirect-to-a-file",
        to!("Location: file:///etc/passwd\r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-to-ftp",
        to!("Location: ftp://127.0.0.1/\r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-to-data",
        to!("Location: data:text/plain,hello\r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-to-a-script",
        to!("Location: javascript:alert(1)\r\n"),
        Final(Redirect),
    ),
    answers("redirect-without-location", to!(""), Final(Redirect)),
    answers(
        "redirect-to-an-empty-location",
        to!("Location: \r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-to-a-port-too-high",
        to!("Location: http://127.0.0.1:99999/\r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-to-no-host",
        to!("Location: http:///\r\n"),
        Final(Redirect),
    ),
    answers(
        "redirect-not-in-utf-8",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\xff\xfe\r\n\r\n",
        Elsewhere,
    ),
    answers(
        "redirect-in-utf-8",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /caf\xc3\xa9\r\n\r\n",
        Elsewhere,
    ),
    answers(
        "redirect-relative",
        to!("Location: ../good/page?a#b\r\n"),
        Elsewhere,
    ),
    answers(
        "redirect-without-a-scheme",
        to!("Location: /good/page\r\n"),
        Elsewhere,
    ),
    answers(
        "redirect-to-a-query",
        to!("Location: /?next=1\r\n"),
        Elsewhere,
    ),
    Fault {
        name: "redirect-to-userinfo",
        does: Acts(|connection, _| {
            let addr = connection.stream.local_addr()?;
            let to = format!("Location: http://evil:pw@{addr}/good/page");
            connection.send(&response("302 Found", &[&to], b""))
        }),
        end: Elsewhere,
    },
    Fault {
        name: "redirect-loop",
        does: Acts(|connection, path| {
            let to = format!("Location: {path}");
            connection.send(&response("302 Found", &[&to], b""))
        }),
        end: After(3, Redirect),
    },
    Fault {
        name: "redirect-loop-of-two",
        does: Acts(|connection, path| {
            let there = path.trim_end_matches("/back");
            let to = if there == path {
                format!("{path}/back")
            } else {
                there.to_owned()
            };
            connection.send(&response("302 Found", &[&format!("Location: {to}")], b""))
        }),
        end: After(6, Redirect),
    },
    Fault {
        name: "redirect-chain",
        does: Acts(|connection, path| {
            let to = format!("Location: {path}/on");
            connection.send(&response("302 Found", &[&to], b""))
        }),
        end: After(11, Redirect),
    },
    Fault {
        name: "redirect-with-an-endless-body",
        does: Acts(|connection, _| {
            connection.send(b"HTTP/1.1 302 Found\r\nLocation: /good/page\r\n\r\n")?;
            super::flood(connection, b"x")
        }),
        end: Elsewhere,
    },
];
