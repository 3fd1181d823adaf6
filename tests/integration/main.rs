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
/// Files that are there before the first request.
mod adopt;
/// Memory of what waits is bounded.
mod ahead;
/// Limits on bytes per second.
mod bandwidth;
/// What bodies are checked for: media types.
mod checks;
/// Content codings that are kept, decoded, or truncated.
mod coding;
/// Settings from files and the environment.
mod config;
/// `--demo` and `--email-to`.
mod demo;
/// Disks that are full, and paths that are occupied or not what they seem.
mod disk;
/// README.md and docs/: commands, options and links.
mod documents;
/// Environments, lists and names that could harm a run.
mod environment;
/// The programs under `examples/`, with their exact output.
mod examples;
/// `--explain`.
mod explain;
/// `--failures-ok`: exit codes for engines that repeat failed tasks.
mod failures_ok;
/// Results as templates and tables; NUL-separated lists and results.
mod formats;
/// `--generate`: the man page, and completions in the real shells.
mod generate;
/// What a run must prevent: private addresses, unbounded sizes, exposed secrets.
mod guards;
/// Hashes: of lists, of manifests, of responses, in records.
mod hashes;
/// Malformed response heads.
mod heads;
/// `-h`, `--help`, and messages about misspelt arguments.
mod help;
/// Hostile servers, and the expected outcome for each behaviour.
mod hostile;
/// Many hosts: limits, paces, circuit breakers, the end of a run.
mod hosts;
/// HTTP/2, over TLS and by prior knowledge.
mod http2;
/// Idle connections.
mod idle;
/// The journal: damaged ones, foreign ones, and when records are written.
mod journal;
/// The library without the program.
mod library;
/// Limits that change while a run goes on.
mod limits;
/// Where URLs come from: files, stdin, arguments.
mod list;
/// Cookies of a run, `.netrc`, and client certificates.
mod logins;
/// Faulty mail servers, and runs that end abnormally.
mod mail;
/// Lines with several URLs of the same body.
mod mirrors;
/// Lines, files and journals that conflict with each other.
mod mixups;
/// `--smtp`, `--notify-cmd`, `--notify-url`, `--summary-json`.
mod notify;
/// Runs with a low limit on open files.
mod open_files;
/// `--pack`: all bodies in one WARC file.
mod pack;
/// What the program shows to people while it runs.
mod people;
/// Progress, with and without a terminal.
mod progress;
/// HTTP and SOCKS proxies.
mod proxy;
/// Where redirects lead, and which headers follow them.
mod redirects;
/// `--refresh`: what has changed since the previous run.
mod refresh;
/// `--report`: the page for a browser.
mod report;
/// What is sent: methods, headers, credentials, redirects.
mod requests;
/// Resends, which do not count as attempts.
mod resends;
/// Text, records, order, files, exit codes.
mod results;
/// Bodies that are truncated and continued.
mod resume;
/// Retries and `Retry-After`.
mod retry;
/// `--robots` and `--respect`: what sites want.
mod robots;
/// `-o`, and running the same command again.
mod saving;
/// Large bodies in segments: hostile servers, byte for byte.
mod segments;
/// `--shard`: runs that share a list.
mod shard;
/// `--merge`: journals of shards, put together.
mod shard_merge;
/// `--split`: a list for each shard.
mod shard_split;
/// `--simulate-failure`.
mod simulate;
mod sitemaps;
/// Signals and a closed stdout.
mod stop;
/// Pipes and closed streams at stdin, stdout and stderr.
mod streams;
/// The program under test, and servers to run it against.
mod support;
/// System calls that fail, one at a time.
mod system_calls;
/// `--threads`.
mod threads;
/// `--timeline`.
mod timeline;
/// Valid and invalid certificates.
mod tls;
/// `--verify`: what was saved, compared with the journal.
mod verify;
