//! The built program against real sockets, all on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]
#![cfg(unix)]

/// Names with several addresses.
mod addresses;
/// What waits does not take memory without end.
mod ahead;
/// Codings that are kept, undone, or cut off.
mod coding;
/// Settings from files and the environment.
mod config;
/// `--demo` and `--email-to`.
mod demo;
/// Disks that are full, in the way or not what they seem.
mod disk;
/// README.md and docs/: commands, options and links.
mod documents;
/// What the machine, the list and the names in it can do.
mod environment;
/// The programs under `examples/`, with their exact output.
mod examples;
/// `--explain`.
mod explain;
/// Results as templates and tables; lists and results with NULs.
mod formats;
/// `--generate`: the man page, and completions in the real shells.
mod generate;
/// What a run may not do: inner addresses, sizes without end, secrets in the open.
mod guards;
/// Response heads that break the rules.
mod heads;
/// `-h`, `--help`, and what is said to who types something else.
mod help;
/// Hostile servers: what they do to a client, and what has to come of it.
mod hostile;
/// Many hosts: limits, paces, circuits, the end of a run.
mod hosts;
/// HTTP/2, over TLS and by prior knowledge.
mod http2;
/// Connections that nobody needs any more.
mod idle;
/// The journal: what is wrong with it, whose it is, when it is written.
mod journal;
/// The library without the program.
mod library;
/// Where URLs come from: files, stdin, arguments.
mod list;
/// Mail servers that do not do as they should, and runs that do not end as usual.
mod mail;
/// Lines, files and journals that get in each other's way.
mod mixups;
/// `--smtp`, `--notify-cmd`, `--notify-url`, `--summary-json`.
mod notify;
/// A process that may have few open files.
mod open_files;
/// `--pack`: all bodies in one WARC file.
mod pack;
/// What the program shows people while it runs.
mod people;
/// Progress, on a terminal and off.
mod progress;
/// HTTP and SOCKS proxies.
mod proxy;
/// Where redirects lead, and what goes along.
mod redirects;
/// `--refresh`: what has changed since the run before.
mod refresh;
/// `--report`: the page for a browser.
mod report;
/// What is sent: methods, headers, credentials, redirects.
mod requests;
/// What is sent again and is no attempt.
mod resends;
/// Text, records, order, files, exit codes.
mod results;
/// Bodies that are cut off and continued.
mod resume;
/// Retries and `Retry-After`.
mod retry;
/// `-o`, and the same command again.
mod saving;
/// `--simulate-failure`.
mod simulate;
/// Signals and a closed stdout.
mod stop;
/// What is connected to the program, and does not do as usual.
mod streams;
/// Helpers: the program under test, and servers to run it against.
mod support;
/// `--timeline`.
mod timeline;
/// Certificates, good and bad.
mod tls;
