//! Hints for flags of other programs, misspelt names, and failures that have a usual fix.

use std::error::Error;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use fetchall::program::{escape_control, is_thread_error};
use fetchall::{Problem, SaveError};

use super::masked_values::masked;
use super::secrets::SECRET_OPTIONS;
use super::{Cli, redact};

/// What to do if the system starts no further thread.
pub(crate) const MORE_THREADS: &str = "allow this user more processes (ulimit -u)";

/// Flags of curl, wget and others that fetchall does not have, with what to use instead.
const FLAGS: [(&[&str], &str); 56] = [
    (
        &[
            "-O",
            "--remote-name",
            "--remote-name-all",
            "--output",
            "--output-document",
            "--out",
            "--out-dir",
            "--outdir",
            "--output-directory",
            "--directory-prefix",
            "--dir",
            "--directory",
            "--create-dirs",
            "--remote-header-name",
            "--content-disposition",
        ],
        "-o DIR saves each body below DIR, named after its URL",
    ),
    (
        &["-P"],
        "-j N sets the number of concurrent requests; -o DIR saves each body below DIR",
    ),
    (
        &["-s", "--silent", "--no-verbose"],
        "-q prints only errors of the run to stderr",
    ),
    (
        &["-S", "--show-error"],
        "errors are shown by default; -q keeps only those of the run",
    ),
    (
        &["-L", "--location", "--follow", "--follow-redirects"],
        "redirects are followed by default; --max-redirects 0 disables that",
    ),
    (
        &["-f", "--fail"],
        "a status other than 2xx fails by default, with exit code 1",
    ),
    (
        &[
            "-Z",
            "--parallel",
            "--parallel-max",
            "--parallel-immediate",
            "--jobs",
            "--workers",
            "--connections",
            "--max-concurrent-downloads",
            "--max-threads",
            "--max-workers",
        ],
        "URLs are fetched concurrently by default; -j N sets the limit",
    ),
    (
        &["-i", "--input", "--input-file", "--list", "--file"],
        "lists are arguments: fetchall FILE; --json shows details of each response",
    ),
    (
        &["--max-connection-per-server", "--max-host-connections"],
        "--per-host N limits the concurrent requests to one host",
    ),
    (
        &["--include", "--show-headers"],
        "--json shows the status, type and validators of each response",
    ),
    (&["--url", "--urls"], "URLs are arguments: fetchall URL"),
    (
        &["-t", "--tries", "--max-tries", "--retry", "--max-retries"],
        "--retries N sets the number of retries after the first attempt",
    ),
    (
        &[
            "--retry-on-http-error",
            "--retry-all-errors",
            "--retry-connrefused",
        ],
        "--retry-on LIST adds to what is retried: 404,5xx,tls",
    ),
    (
        &["--wait", "--delay", "--random-wait"],
        "--host-interval DUR sets the minimum time between requests to a host",
    ),
    (
        &["-T", "--timeout", "--read-timeout", "--dns-timeout"],
        "-m DUR limits a whole attempt; --connect-timeout and --stall-timeout limit its phases",
    ),
    (
        &["--retry-max-time"],
        "--max-wait DUR limits the total retry wait of a URL, --stop-after the run",
    ),
    (
        &["-y", "-Y", "--speed-time", "--speed-limit"],
        "--stall-timeout DUR ends a response that brings less than 1 KiB in that time",
    ),
    (
        &["--fail-early", "--fail-fast"],
        "--max-failures 0 stops the run after the first failure",
    ),
    (&["--upload-file"], "-X PUT -d @FILE sends a file"),
    (
        &[
            "-C",
            "--continue",
            "--continue-at",
            "--resume",
            "--no-clobber",
        ],
        "with -o DIR, rerun the same command to resume",
    ),
    (
        &[
            "-N",
            "--timestamping",
            "-z",
            "--time-cond",
            "--etag-compare",
        ],
        "--refresh re-fetches only what changed",
    ),
    (
        &["-r", "--range"],
        "-H 'Range: bytes=0-10' requests a part of each body; fetchall does not crawl: pipe the \
         URLs you want into it",
    ),
    (
        &["--recursive", "--mirror", "-p", "--page-requisites"],
        "fetchall does not crawl: pipe the URLs you want into it",
    ),
    (&["-e", "--referer"], "-H 'Referer: URL' sends one"),
    (
        &["--load-cookies", "--cookies"],
        "-b FILE sends the cookies of a cookies.txt, -b NAME=VALUE one cookie",
    ),
    (
        &["--save-cookies", "--keep-session-cookies"],
        "-c FILE keeps cookies for all URLs and writes them to a cookies.txt",
    ),
    (
        &["-F", "--form"],
        "-d DATA sends a form, -d @FILE a file; multipart forms are not supported",
    ),
    (
        &[
            "--data-binary",
            "--data-raw",
            "--data-ascii",
            "--post-data",
            "--post-file",
            "--body-data",
            "--body-file",
        ],
        "-d DATA sends the data unchanged, -d @FILE a file",
    ),
    (
        &["--data-urlencode"],
        "-d DATA sends a form unchanged: encode its values first",
    ),
    (
        &["-G", "--get"],
        "the query is part of the URL: fetchall 'https://example.com/?NAME=VALUE'",
    ),
    (
        &[
            "--oauth2-bearer",
            "--bearer",
            "--token",
            "--password",
            "--http-user",
            "--http-password",
            "--http-passwd",
        ],
        "-u USER:@FILE sends credentials, -H @FILE a header such as Authorization",
    ),
    (
        &["--netrc-optional"],
        "-n reads credentials by host from ~/.netrc, --netrc-file FILE from a file",
    ),
    (
        &["--noproxy", "--no-proxy"],
        "-x '' disables proxies; NO_PROXY lists hosts to reach without one",
    ),
    (
        &[
            "--socks4",
            "--socks5",
            "--socks5-hostname",
            "--all-proxy",
            "--http-proxy",
        ],
        "-x SCHEME://HOST:PORT sets the proxy, such as -x socks5h://127.0.0.1:1080",
    ),
    (
        &[
            "-#",
            "--progress-bar",
            "--no-progress",
            "--no-progress-meter",
        ],
        "--progress bar|plain|none sets the progress display",
    ),
    (
        &["--write-out"],
        "-w TEMPLATE prints a line of your own per URL, such as '%{status} %{url}\\n'",
    ),
    (
        &["--digest", "--ntlm", "--negotiate", "--anyauth"],
        "-u USER:@FILE sends Basic credentials; other schemes are not supported",
    ),
    (
        &["--ciphers", "--tls13-ciphers"],
        "the TLS library chooses the ciphers; there is no list to set",
    ),
    (&["--keep-order"], "--ordered prints results in input order"),
    (
        &["--jsonl", "--ndjson", "--output-format"],
        "--json prints a record per URL, --csv a table, -w a template",
    ),
    (
        &[
            "--no-redirect",
            "--no-redirects",
            "--no-follow",
            "--no-location",
        ],
        "--max-redirects 0 disables redirects",
    ),
    (&["--method"], "-X METHOD sets the request method"),
    (&["--spider"], "-I sends HEAD requests"),
    (&["-K"], "--config FILE reads settings in TOML"),
    (
        &["--compressed"],
        "compression is requested by default; --no-compression disables that",
    ),
    (
        &[
            "--max-overall-download-limit",
            "--max-download-limit",
            "--max-speed",
        ],
        "--limit-rate SIZE/s limits all bodies together, --host-limit-rate those of each host",
    ),
    (
        &["--max-filesize", "--quota"],
        "--max-size SIZE limits each body",
    ),
    (
        &[
            "--no-check-certificate",
            "--check-certificate",
            "--no-verify",
        ],
        "-k skips certificate verification",
    ),
    (
        &["--ca-certificate", "--capath"],
        "--cacert FILE sets the CA certificates to trust",
    ),
    (
        &["--http2", "--http1.0"],
        "HTTP/2 is used where the server supports it; --http1.1 disables that",
    ),
    (
        &["--certificate", "--client-cert", "--pass", "--private-key"],
        "-E FILE presents a client certificate (PEM), --key FILE names its key",
    ),
    (&["--http3"], "HTTP/3 is not supported"),
    (
        &["-D", "--dump-header", "--server-response"],
        "--json shows the status, type and validators of each response",
    ),
    (&["--debug", "--trace"], "-vv logs every request"),
    (
        &["--completions", "--completion"],
        "--generate bash prints completions",
    ),
    (&["--man", "--manual"], "--generate man prints the man page"),
];

/// Subcommands of other programs, with what to use instead.
const WORDS: [(&[&str], &str); 6] = [
    (&["help"], "fetchall --help"),
    (&["version"], "fetchall --version"),
    (&["demo"], "fetchall --demo"),
    (&["completions", "completion"], "fetchall --generate bash"),
    (&["config"], "fetchall --print-config"),
    (
        &["get", "fetch", "download", "run"],
        "fetchall urls.txt, or fetchall URL",
    ),
];

fn of<'t>(table: &[(&[&str], &'t str)], word: &str) -> Option<&'t str> {
    let found = table.iter().find(|(words, _)| words.contains(&word));
    found.map(|(_, text)| *text)
}

/// Returns what to use instead of a flag of another program.
pub(super) fn flag(flag: &str) -> Option<&'static str> {
    of(&FLAGS, flag)
}

/// Returns what to use instead of a subcommand of another program.
pub(super) fn command(word: &str) -> Option<&'static str> {
    of(&WORDS, word)
}

/// Adds a hint to a usage error where there is one, and removes secrets.
pub(super) fn add(error: clap::Error) -> clap::Error {
    let mut error = redacted(error);
    match error.kind() {
        ErrorKind::UnknownArgument => {}
        ErrorKind::ArgumentConflict => {
            let is_demo = matches!(
                error.get(ContextKind::InvalidArg),
                Some(ContextValue::String(arg)) if arg == "--demo"
            ) && matches!(
                error.get(ContextKind::PriorArg),
                Some(ContextValue::String(arg)) if arg.contains("INPUT")
            );
            tip(
                &mut error,
                if is_demo {
                    "--demo fetches pages of its own; leave it out to fetch a list or a URL"
                } else {
                    "use only one of them"
                },
            );
            // The usage line would show only one of the two.
            error.remove(ContextKind::Usage);
            return error;
        }
        _ => return error,
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).cloned() else {
        return error;
    };
    // clap's suggestion repeats the argument.
    error.remove(ContextKind::Suggested);
    match self::flag(flag.split('=').next().unwrap_or_default()) {
        Some(hint) => {
            tip(&mut error, hint);
            // The flag that clap found by similarity is a different one.
            error.remove(ContextKind::SuggestedArg);
            error.remove(ContextKind::Usage);
        }
        // Replaces clap's tip "to pass it as a value", which does not help with files and URLs.
        None if error.get(ContextKind::SuggestedArg).is_none() => {
            tip(&mut error, "fetchall -h lists the options");
        }
        None => {}
    }
    error
}

/// Returns the error with secrets in the repeated arguments masked and control characters escaped.
pub(super) fn redacted(error: clap::Error) -> clap::Error {
    let option = match error.get(ContextKind::InvalidArg) {
        // `--notify-url <URL>`
        Some(ContextValue::String(arg)) => arg.split(' ').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let option = option.trim_start_matches('-');
    let shown = |kind, text: &String| {
        let is_value = kind == ContextKind::InvalidValue;
        let text = if is_value {
            masked(option, text)
        } else {
            redact::value(text).into()
        };
        escape_control(&text).into_owned()
    };
    let repeated: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(shown(kind, text)))),
            ContextValue::Strings(texts) => {
                let texts = texts.iter().map(|text| shown(kind, text)).collect();
                Some((kind, ContextValue::Strings(texts)))
            }
            _ => None,
        })
        .collect();
    let mut error = without_leaky_cause(error, option);
    for (kind, value) in repeated {
        error.insert(kind, value);
    }
    error
}

/// Drops the cause of the error if the value holds a secret, since a cause may repeat a part of
/// the value. Only the parsers of secret options and of methods are known not to.
fn without_leaky_cause(error: clap::Error, option: &str) -> clap::Error {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return error;
    };
    let never_repeats_value =
        matches!(option, "request" | "base-url") || SECRET_OPTIONS.contains(&option);
    if never_repeats_value || masked(option, value) == *value {
        return error;
    }
    let mut bare = clap::Error::new(error.kind()).with_cmd(&Cli::command());
    for (kind, value) in error.context() {
        bare.insert(kind, value.clone());
    }
    bare
}

fn tip(error: &mut clap::Error, text: &'static str) {
    let tips = vec![StyledStr::from(text)];
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
}

/// Returns what to do about a problem of the run, where its cause makes that clear.
pub(crate) fn advice_for(problem: &Problem) -> Option<&'static str> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let writes = match problem {
        _ if is_out_of_threads(problem) => return Some(MORE_THREADS),
        Problem::Input(_) => false,
        Problem::Report(_) | Problem::Save(_) => true,
        _ => return None,
    };
    match (writes, kind_below(problem)?) {
        (true, NotFound) if is_parent_there(problem) => {
            Some("its file system allows no new files there; choose another location")
        }
        (true, NotFound) => Some("create its directory first"),
        (true, NotADirectory) => {
            Some("part of its path is a file, not a directory; choose another location")
        }
        (true, IsADirectory) => Some("name a file, not a directory"),
        (true, PermissionDenied) => Some("choose a location you can write to"),
        (false, IsADirectory) => Some("name the files in it"),
        (false, PermissionDenied) => {
            Some("ask its owner, or pipe it in with enough rights: sudo cat FILE | fetchall")
        }
        _ => None,
    }
}

/// Whether a missing directory is not the reason why something cannot be created. Those above an
/// output directory are created with it.
fn is_parent_there(problem: &Problem) -> bool {
    match problem {
        Problem::Save(SaveError::Folder(_)) => true,
        Problem::Report(error) => {
            let above = Path::new(&error.what).parent();
            above.is_some_and(|above| !above.as_os_str().is_empty() && above.is_dir())
        }
        _ => false,
    }
}

/// Whether a problem is that the system does not start a thread.
pub(crate) fn is_out_of_threads(problem: &Problem) -> bool {
    matches!(problem, Problem::Thread(_)) || io_below(problem).is_some_and(is_thread_error)
}

/// Returns the kind of the I/O error in the error's chain.
fn kind_below(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    io_below(error).map(io::Error::kind)
}

/// Returns the I/O error in the error's chain.
fn io_below<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        if let Some(io) = error.downcast_ref::<std::sync::Arc<io::Error>>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::super::options;
    use super::*;

    /// Returns the flags that a text mentions.
    fn flags(text: &str) -> impl Iterator<Item = &str> {
        text.split([' ', ';', ',', ':', '.'])
            .filter(|word| word.starts_with('-') && word.len() > 1)
    }

    /// However a flag is written: clap takes the flags of its table apart in ways of its own.
    #[test]
    fn every_foreign_flag_gets_its_hint() {
        let mut all = HashSet::new();
        for (foreign, hint) in FLAGS {
            for flag in foreign {
                assert!(all.insert(flag), "{flag} is there twice");
                let with_value = match flag.starts_with("--") {
                    true => format!("{flag}=1"),
                    false => format!("{flag}1"),
                };
                for args in [&[*flag][..], &[flag, "1"], &["http://a/", &with_value]] {
                    let parsed = Cli::try_parse_from([&["fetchall"], args].concat());
                    let Err(error) = parsed else {
                        panic!("{args:?} is accepted");
                    };
                    let text = add(error).to_string();
                    assert!(text.contains(hint), "{args:?}: {text}");
                    assert!(!text.contains("similar"), "{args:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn every_foreign_subcommand_gets_its_hint() {
        for (words, hint) in WORDS {
            for word in words {
                let text = super::super::input_hints::of(word.as_ref(), false);
                assert!(text.unwrap().contains(hint), "{word}");
            }
        }
    }

    #[test]
    fn hints_are_for_unknown_flags_and_mention_known_ones() {
        let mut command = Cli::command();
        command.build();
        let knows = |flag: &str| {
            command.get_arguments().any(|arg| {
                let short = arg.get_short().map(|short| format!("-{short}"));
                short.as_deref() == Some(flag) || format!("--{}", options::long(arg)) == flag
            })
        };
        for (foreign, hint) in FLAGS {
            for flag in foreign {
                assert!(!knows(flag), "{flag} exists");
            }
            for flag in flags(hint) {
                let flag = if flag == "-vv" { "-v" } else { flag };
                let flag = if flag == "--http1" { "--http1.1" } else { flag };
                assert!(knows(flag), "{flag} in {hint:?}");
            }
        }
        for (_, hint) in WORDS {
            assert!(flags(hint).all(knows), "{hint}");
        }
    }
}
