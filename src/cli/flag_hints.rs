//! What people type who know other programs, and what they find here instead.

use std::error::Error;
use std::io;

use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use fetchall::Problem;
use fetchall::program::escape_control;

use super::secrets::SECRET_OPTIONS;
use super::{Cli, print_config, redact};

/// How close a name must be to be suggested, as `strsim` measures it.
const MIN_SIMILARITY: f64 = 0.8;

/// The name that was probably meant.
pub fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let text = text.to_lowercase().replace('_', "-");
    names
        .map(|name| {
            let plain = name.to_lowercase().replace('_', "-");
            (strsim::jaro_winkler(&text, &plain), name)
        })
        .filter(|(likeness, _)| *likeness > MIN_SIMILARITY)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// Flags of curl, wget and others that are none here.
const FLAGS: [(&[&str], &str); 50] = [
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
        "-o DIR saves each body below DIR, under a name that its URL makes",
    ),
    (
        &["-P"],
        "-j N is the number of requests at the same time; -o DIR saves each body below DIR",
    ),
    (
        &["-s", "--silent", "--no-verbose"],
        "-q says nothing on stderr but errors of the run",
    ),
    (
        &["-S", "--show-error"],
        "errors are shown anyway, also with -q those of the run",
    ),
    (
        &["-L", "--location", "--follow", "--follow-redirects"],
        "redirects are followed anyway; --max-redirects 0 turns that off",
    ),
    (
        &["-f", "--fail"],
        "a status other than 2xx counts as failed anyway, and the exit code is 1",
    ),
    (
        &[
            "-Z",
            "--parallel",
            "--parallel-max",
            "--parallel-immediate",
            "--jobs",
            "--threads",
            "--workers",
            "-c",
            "--connections",
            "--max-concurrent-downloads",
            "--max-threads",
            "--max-workers",
        ],
        "all URLs are fetched at the same time anyway; -j N says how many at most",
    ),
    (
        &["-i", "--input", "--input-file", "--list", "--file"],
        "a list is an argument: fetchall FILE; --json tells of each response",
    ),
    (
        &["--max-connection-per-server", "--max-host-connections"],
        "--per-host N limits the requests to one host",
    ),
    (
        &["--include", "--show-headers"],
        "--json tells status, type and validators of each response",
    ),
    (&["--url", "--urls"], "a URL is an argument: fetchall URL"),
    (
        &["-t", "--tries", "--max-tries", "--retry"],
        "--retries N is the number of tries after the first",
    ),
    (
        &[
            "--retry-on-http-error",
            "--retry-all-errors",
            "--retry-connrefused",
        ],
        "--retry-on LIST names what is retried besides the usual: 404,5xx,tls",
    ),
    (
        &["--wait", "--delay"],
        "--host-interval DUR keeps the requests to a host apart",
    ),
    (
        &["-T", "--timeout", "--read-timeout", "--dns-timeout"],
        "-m DUR limits one try; --connect-timeout and --stall-timeout limit its parts",
    ),
    (
        &["--retry-max-time"],
        "--max-wait DUR limits all waits of a URL, --stop-after the run",
    ),
    (
        &["-y", "-Y", "--speed-time", "--speed-limit"],
        "--stall-timeout DUR ends what brings less than 1 KiB in that time",
    ),
    (
        &["--fail-early", "--fail-fast"],
        "--max-failures 0 ends the run once a URL has failed",
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
        "with -o DIR the same command again goes on where it ended",
    ),
    (
        &[
            "-N",
            "--timestamping",
            "-z",
            "--time-cond",
            "--etag-compare",
        ],
        "--refresh asks the servers what has changed",
    ),
    (
        &["-r", "--range"],
        "-H 'Range: bytes=0-10' asks for a part of each body; no links are followed: pipe the \
         URLs that you want into fetchall",
    ),
    (
        &["--recursive", "--mirror", "-p", "--page-requisites"],
        "nothing is crawled: pipe the URLs that you want into fetchall",
    ),
    (&["-e", "--referer"], "-H 'Referer: URL' sends one"),
    (
        &["-b", "--cookie", "--load-cookies"],
        "-H 'Cookie: NAME=VALUE' sends one",
    ),
    (
        &["-F", "--form"],
        "-d DATA sends a form, and -d @FILE a file; no parts are put together",
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
        "-d DATA sends it as it is, and -d @FILE a file",
    ),
    (
        &["--data-urlencode"],
        "-d DATA sends a form as it is: encode its values first",
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
        "-u USER:@FILE sends credentials, and -H @FILE a header such as Authorization",
    ),
    (
        &["--noproxy", "--no-proxy"],
        "-x '' uses no proxy, and NO_PROXY names hosts that need none",
    ),
    (
        &[
            "--socks4",
            "--socks5",
            "--socks5-hostname",
            "--all-proxy",
            "--http-proxy",
        ],
        "-x SCHEME://HOST:PORT names the proxy, such as -x socks5h://127.0.0.1:1080",
    ),
    (
        &[
            "-#",
            "--progress-bar",
            "--no-progress",
            "--no-progress-meter",
        ],
        "--progress bar|plain|none says what is shown",
    ),
    (&["--keep-order"], "--ordered keeps the order of the list"),
    (
        &["--jsonl", "--ndjson", "--output-format"],
        "--json prints a record for each URL, --csv a table, -w what its template says",
    ),
    (
        &[
            "--no-redirect",
            "--no-redirects",
            "--no-follow",
            "--no-location",
        ],
        "--max-redirects 0 follows none",
    ),
    (&["--method"], "-X METHOD is the method of every request"),
    (&["--spider"], "-I asks for the head only"),
    (&["-K"], "--config FILE reads settings in TOML"),
    (
        &["--compressed"],
        "compressed bodies are asked for anyway; --no-compression turns that off",
    ),
    (
        &["--limit-rate"],
        "--rate N/s limits requests; bytes are not limited",
    ),
    (
        &["--max-filesize", "--quota"],
        "--max-size SIZE limits a body",
    ),
    (
        &[
            "--no-check-certificate",
            "--check-certificate",
            "--no-verify",
        ],
        "-k accepts any certificate",
    ),
    (
        &["--ca-certificate", "--capath"],
        "--cacert FILE names the authorities to trust",
    ),
    (
        &["--http2", "--http1.0"],
        "HTTP/2 is used where a server has it; --http1.1 turns that off",
    ),
    (&["--http3"], "there is no HTTP/3"),
    (
        &["-D", "--dump-header", "--server-response"],
        "--json tells status, type and validators of each response",
    ),
    (&["--debug", "--trace", "-d2"], "-vv tells of every request"),
    (
        &["--completions", "--completion"],
        "--generate bash prints completions",
    ),
    (&["--man", "--manual"], "--generate man prints the man page"),
];

/// Words that are commands of other programs.
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

/// What there is instead of a flag of other programs.
pub fn flag(flag: &str) -> Option<&'static str> {
    of(&FLAGS, flag)
}

/// What a word stands for that would be a command of another program.
pub fn command(word: &str) -> Option<&'static str> {
    of(&WORDS, word)
}

/// Says what there is instead of a flag of other programs, and leaves secrets out.
pub fn add(error: clap::Error) -> clap::Error {
    let mut error = redacted(error);
    match error.kind() {
        ErrorKind::UnknownArgument => {}
        ErrorKind::ArgumentConflict => {
            tip(&mut error, "leave one of them out");
            // It would name one of the two.
            error.remove(ContextKind::Usage);
            return error;
        }
        _ => return error,
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).cloned() else {
        return error;
    };
    // It repeats the argument.
    error.remove(ContextKind::Suggested);
    match self::flag(flag.split('=').next().unwrap_or_default()) {
        Some(hint) => {
            tip(&mut error, hint);
            // What it found by likeness is another flag.
            error.remove(ContextKind::SuggestedArg);
            error.remove(ContextKind::Usage);
        }
        // "To pass it as a value" is no help where values are files and URLs.
        None if error.get(ContextKind::SuggestedArg).is_none() => {
            tip(&mut error, "fetchall -h lists the options");
        }
        None => {}
    }
    error
}

/// The error without the secrets of what it repeats, and with control characters written out.
pub fn redacted(error: clap::Error) -> clap::Error {
    let option = match error.get(ContextKind::InvalidArg) {
        // `--notify-url <URL>`
        Some(ContextValue::String(arg)) => arg.split(' ').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let option = option.trim_start_matches('-');
    let shown = |kind, text: &String| {
        let is_value = kind == ContextKind::InvalidValue;
        let masked = if is_value {
            print_config::masked(option, text)
        } else {
            redact::value(text).into()
        };
        escape_control(&masked).into_owned()
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

/// The cause may repeat a part of the value, and only those of options that are meant for secrets,
/// and of methods, are known not to: it goes where the value holds one.
fn without_leaky_cause(error: clap::Error, option: &str) -> clap::Error {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return error;
    };
    let is_discreet = option == "request" || SECRET_OPTIONS.contains(&option);
    if is_discreet || print_config::masked(option, value) == *value {
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

/// What can be done about a problem of the run, where its cause tells.
pub fn next_step(problem: &Problem) -> Option<&'static str> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let writes = match problem {
        Problem::Input(_) => false,
        Problem::Report(_) | Problem::Save(_) => true,
        Problem::Transport(_) | Problem::EndedEarly(_) | Problem::Internal(_) => return None,
    };
    match (writes, kind_below(problem)?) {
        (true, NotFound) => Some("create its folder first"),
        (true, NotADirectory) => {
            Some("a part of its path is a file, not a folder; name another place")
        }
        (true, IsADirectory) => Some("it is a folder; name a file"),
        (true, PermissionDenied) => Some("choose a place where you may write"),
        (false, IsADirectory) => Some("name the files in it"),
        (false, PermissionDenied) => {
            Some("ask its owner, or read it as who may: sudo cat FILE | fetchall")
        }
        _ => None,
    }
}

/// What the system said.
fn kind_below(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        if let Some(io) = error.downcast_ref::<std::sync::Arc<io::Error>>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::*;

    /// The flags that a text names.
    fn flags(text: &str) -> impl Iterator<Item = &str> {
        text.split([' ', ';', ',', ':', '.'])
            .filter(|word| word.starts_with('-') && word.len() > 1)
    }

    #[test]
    fn hints_are_for_flags_that_are_not_there_and_name_those_that_are() {
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
                assert!(!knows(flag), "{flag} is there");
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

    #[test]
    fn what_is_near_is_suggested_and_nothing_else() {
        let names = || ["concurrency", "per-host", "retries"].into_iter();
        assert_eq!(nearest("concurency", names()), Some("concurrency"));
        assert_eq!(nearest("per_host", names()), Some("per-host"));
        assert_eq!(nearest("colour", names()), None);
    }
}
