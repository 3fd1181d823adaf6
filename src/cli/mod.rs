//! From the command line to a configuration.

mod advice;
mod config_file;
mod config_paths;
mod convert;
mod environment;
mod explain;
mod fd_limit;
mod flag_hints;
mod fs_util;
mod generate;
mod help;
mod input_hints;
mod logs;
mod notifications;
mod open_files;
mod options;
mod parse;
mod path_conflicts;
mod print;
mod print_config;
mod redact;
mod runtime;
mod secrets;
mod setting_origins;
mod settings;
mod signals;
mod terminal;
mod value_parsers;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use fetchall::program::PerHostLimit;
use fetchall::{MaxFailures, ResolveRule};
use http::{HeaderValue, Method};
use url::Url;

pub use advice::warnings;
pub use fd_limit::{bound_by_descriptors, raise_descriptor_limit};
pub use flag_hints::next_step;
pub use fs_util::is_only_for_reading;
pub use logs::start as start_logs;
pub use notifications::RunNotifier;
pub use open_files::lacking_descriptors;
pub use parse::{CliAction, CliError, read};
pub use print::print;
pub use redact::message as redact;
pub use runtime::runtime;
pub use setting_origins::SettingOrigins;
pub use signals::{EarlySignals, Signals};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// When something is done of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormatArg {
    /// As the extension says.
    Auto,
    /// A URL a line.
    Text,
    /// A JSON object a line.
    Jsonl,
    /// Cells between commas, under a header row.
    Csv,
    /// Cells between tabs, under a header row.
    Tsv,
}

/// What is shown while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// A bar on a terminal; a line every half a minute elsewhere.
    Auto,
    /// A bar, if stderr is a terminal.
    Bar,
    /// A line every few seconds.
    Plain,
    /// Nothing.
    None,
}

/// Fetch every URL of a list at once, say exactly what became of each one, and never
/// lose count.
#[derive(Debug, Parser)]
#[command(version, about, styles = STYLES, after_help = help::short(), after_long_help = help::long(), args_override_self = true, max_term_width = 100)]
#[command(group(ArgGroup::new("results_as").args(["json", "csv", "format"])))]
#[command(group(ArgGroup::new("saving").args(["output_dir", "pack"])))]
#[command(group(ArgGroup::new("remembering").args(["output_dir", "pack", "journal"]).multiple(true)))]
pub struct Cli {
    /// Lists to fetch: files, `-` for stdin, or URLs. Without any: stdin.
    ///
    /// A list has a URL a line; blank lines and comments (lines that start with #, and
    /// what follows a URL and " #") are skipped. A line that is no URL becomes a failed
    /// record, and the rest goes on. Lists can say more than that (--input-format), and
    /// be packed by gzip or zstd.
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// How lists are written.
    ///
    /// auto: as the extension says (.jsonl, .ndjson, .json, .csv, .tsv; .gz and .zst are looked
    /// through), else as text.
    ///
    /// jsonl is an object a line, with url, and as needed file, sha256, size, method, headers
    /// (name: text, or an array of texts) and body or body_base64. Records of fetchall can be
    /// read again: of them the body is not taken. csv and tsv have a header row, with a column
    /// url, and as needed file, sha256, size, method and body. A body that is not of the size
    /// and sha256 expected has failed (checksum).
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "auto",
        help_heading = "List"
    )]
    pub input_format: InputFormatArg,
    /// A NUL ends each URL of the lists.
    ///
    /// Of the files and of stdin, as find -print0 and sort -z have it: there are no comments then, and
    /// --failed writes its file in the same way.
    #[arg(
        short = '0',
        long,
        conflicts_with = "input_format",
        help_heading = "List"
    )]
    pub null: bool,

    /// Requests at the same time.
    ///
    /// At most 10000. From 8 on, a connection that is not there after 1 s does not count; so
    /// there can be up to 64 more.
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        default_value = "64", value_parser = value_parsers::concurrency,
        help_heading = "How many"
    )]
    pub concurrency: NonZeroUsize,
    /// Requests to one host: N, auto[:MAX].
    ///
    /// So many at the same time; a host is a scheme, name and port. With auto a host starts with 4 and gets more while that brings more, and half as many
    /// when it answers 429 or 503 or can't be reached; MAX bounds it, else -j does.
    #[arg(
        long,
        value_name = "N",
        default_value = "auto", value_parser = value_parsers::per_host,
        help_heading = "How many"
    )]
    pub per_host: PerHostLimit,
    /// Time between two requests to a host.
    ///
    /// It is measured between their starts.
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = value_parsers::duration, help_heading = "How many")]
    pub host_interval: Duration,
    /// Requests in all: 50/s, 100/m, 1000/h.
    ///
    /// Retries and redirects count, too [default: as many as it comes to].
    #[arg(long, value_name = "N/s", value_parser = value_parsers::rate, help_heading = "How many")]
    pub rate: Option<f64>,
    /// Start nothing new after this time.
    ///
    /// What is in flight has 10 s to end, and the rest counts as left [default: never].
    #[arg(long, value_name = "DUR", value_parser = value_parsers::positive_duration, help_heading = "How many")]
    pub stop_after: Option<Duration>,
    /// End the run once more URLs failed: 20, or 5%.
    ///
    /// It ends as with --stop-after; N% is of those settled, of a hundred at least [default:
    /// never].
    #[arg(long, value_name = "N", value_parser = value_parsers::max_failures, help_heading = "How many")]
    pub max_failures: Option<MaxFailures>,
    /// URLs read ahead for other hosts.
    ///
    /// So many are held to find work on other hosts. Those that run and wait are included; each takes 0.3 to 1.3 KiB. No more than 32 MiB of
    /// lines are read ahead.
    #[arg(
        long,
        value_name = "N",
        default_value = "32768", value_parser = value_parsers::at_least_one,
        help_heading = "How many"
    )]
    pub look_ahead: NonZeroUsize,

    /// Further tries after the first.
    ///
    /// With 0 there is none, not even when a server says when. What no server has heard, and a
    /// HEAD that it refuses, is sent again all the same.
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = value_parsers::parse_integer::<u32>, help_heading = "Retry")]
    pub retries: u32,
    /// Longest first wait between tries.
    ///
    /// It doubles each time; the real one is drawn below it.
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_delay: Duration,
    /// Longest wait between tries.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_max_delay: Duration,
    /// Longest Retry-After waited for.
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_after_max: Duration,
    /// Longest wait of one URL in all.
    ///
    /// So long a URL waits for its retries, and a host that lets nothing through holds its URLs.
    #[arg(long, value_name = "DUR", default_value = "15m", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub max_wait: Duration,
    /// Also retry 404,5xx,tls; !500 takes out.
    ///
    /// LIST has statuses, classes such as 5xx and kinds of errors (--explain lists them), with
    /// commas between; it can be given several times, and where several fit a failure the last
    /// one decides. What is added is retried --retries times; a Retry-After with it makes only that URL
    /// wait. 202: asked again also without Retry-After; !202: taken as it is.
    #[arg(long, value_name = "LIST", help_heading = "Retry")]
    pub retry_on: Vec<String>,

    /// Limit for DNS, TCP and TLS.
    ///
    /// It is one for all three together.
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = value_parsers::positive_duration, help_heading = "Time and size")]
    pub connect_timeout: Duration,
    /// Limit for a silent server.
    ///
    /// The response must begin within it, and then bring 1 KiB in each such time; 0: no limit.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Time and size")]
    pub stall_timeout: Duration,
    /// Limit for one try as a whole.
    ///
    /// Connecting and the whole body are included [default: none].
    #[arg(short = 'm', long, value_name = "DUR", value_parser = value_parsers::duration, help_heading = "Time and size")]
    pub max_time: Option<Duration>,
    /// Largest body [default: 1GiB, with --body 8MiB].
    ///
    /// It is measured after decoding; 0: no limit.
    #[arg(long, value_name = "SIZE", value_parser = value_parsers::size, help_heading = "Time and size")]
    pub max_size: Option<u64>,
    /// Redirects followed for one URL.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10, value_parser = value_parsers::parse_integer::<u32>,
        help_heading = "Time and size"
    )]
    pub max_redirects: u32,

    /// Method of every request.
    ///
    /// GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS in any case; others as they stand. A line of
    /// a list can have its own [default: GET, with -d POST].
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD", value_parser = value_parsers::method,
        help_heading = "Request"
    )]
    pub method: Option<Method>,
    /// Body of every request; @FILE and @- read it.
    ///
    /// @FILE reads it from a file, @- from stdin. Without a Content-Type it is sent as a form.
    #[arg(short = 'd', long, value_name = "DATA", help_heading = "Request")]
    pub data: Option<String>,
    /// Header of every request: 'A: b' or @FILE.
    ///
    /// It is NAME: VALUE, and can be given several times; @FILE has one in each line. In the file blank lines and lines that start with # are skipped. Other users of the machine
    /// see what stands on a command line, and not what stands in a file of yours. Content-Length and
    /// Transfer-Encoding follow from the body and can't be set.
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        help_heading = "Request"
    )]
    pub headers: Vec<String>,
    /// User-Agent [default: fetchall/VERSION].
    #[arg(short = 'A', long, value_name = "NAME", value_parser = value_parsers::user_agent, help_heading = "Request")]
    pub user_agent: Option<HeaderValue>,
    /// Basic credentials: USER:PASSWORD or USER:@FILE.
    ///
    /// They are for the hosts of the list only. With USER:@FILE the password is the first line of
    /// the file [default: what FETCHALL_USER holds].
    #[arg(short = 'u', long, value_name = "USER", help_heading = "Request")]
    pub user: Option<String>,
    /// Ask for the head only.
    ///
    /// Where that is answered 405 or 501, GET is sent once more, and its body is not read.
    #[arg(short = 'I', long, conflicts_with_all = ["method", "data"], help_heading = "Request")]
    pub head: bool,
    /// Proxy for everything; '' for none.
    ///
    /// Its scheme is http, https, socks4, socks4a, socks5 or socks5h [default: as HTTP_PROXY,
    /// HTTPS_PROXY, ALL_PROXY and NO_PROXY say; entries of NO_PROXY are names, addresses, networks,
    /// any of them with a port, or *].
    #[arg(short = 'x', long, value_name = "URL", help_heading = "Request")]
    pub proxy: Option<String>,
    /// Credentials for the proxy of -x, as with -u.
    ///
    /// With USER:@FILE the password is the first line of the file.
    #[arg(
        short = 'U',
        long,
        value_name = "USER",
        requires = "proxy",
        help_heading = "Request"
    )]
    pub proxy_user: Option<String>,
    /// Accept any certificate.
    ///
    /// Neither its signatures are checked nor whether the server has its key: anybody in between
    /// can read and change everything.
    #[arg(short = 'k', long, help_heading = "Request")]
    pub insecure: bool,
    /// Certificate authorities to trust, in PEM.
    ///
    /// They are trusted instead of the system's. A server's own certificate may be among them: it
    /// is trusted when the server shows exactly it, has its key, and name and dates fit.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub cacert: Option<PathBuf>,
    /// Addresses to connect to: HOST:PORT:ADDR[,ADDR].
    ///
    /// They are taken for this host (* for any) and port instead of looking its name up; can be
    /// given several times.
    #[arg(long, value_name = "RULE", value_parser = value_parsers::resolve, help_heading = "Request")]
    pub resolve: Vec<ResolveRule>,
    /// Connect to public addresses only.
    ///
    /// Loopback, private, link-local, metadata and all other special addresses fail as denied,
    /// also those of redirects and of --resolve. Names are checked after they are resolved, and exactly the addresses that were checked
    /// are connected to. Proxies of the environment are not used with it.
    #[arg(long, conflicts_with = "demo", help_heading = "Request")]
    pub deny_private: bool,
    /// Do not ask for compressed bodies.
    #[arg(long, help_heading = "Request")]
    pub no_compression: bool,
    /// Keep content codings: bodies as they came.
    ///
    /// Without it gzip, br, zstd and deflate are undone, except where they are the file's own: that of a .tar.gz, by name or type.
    /// What a body still has is content_encoding in its record.
    #[arg(long, help_heading = "Request")]
    pub raw: bool,
    /// HTTP/1.1 only.
    #[arg(
        long = "http1.1",
        conflicts_with = "http2_prior_knowledge",
        help_heading = "Request"
    )]
    pub http1: bool,
    /// HTTP/2 without asking first, over plain TCP too.
    #[arg(long, help_heading = "Request")]
    pub http2_prior_knowledge: bool,

    /// Save each body below this folder; again: the rest.
    ///
    /// A body is saved to a file under the name of its host, and is there as a whole or not at
    /// all. The same command again fetches what is missing. DIR/fetchall.jsonl is the journal, with a record for each URL; what it says is fetched, and
    /// is still there with its size, is skipped. What is on its way is below DIR/.fetchall. A folder
    /// that is to be called like a file needs a slash at its end: out.json/.
    #[arg(short = 'o', long, value_name = "DIR", conflicts_with_all = ["body", "head"], help_heading = "Save")]
    pub output_dir: Option<PathBuf>,
    /// Save all bodies in one WARC file (.warc, .warc.gz).
    ///
    /// For many small ones that is much quicker than a file for each. The same command again
    /// fetches what is missing. It is WARC 1.1. Its journal is FILE.jsonl, with the place of each record.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output_dir", "body", "head"], help_heading = "Save")]
    pub pack: Option<PathBuf>,
    /// Remember what is done; the same again does the rest.
    ///
    /// It is the journal of a run that saves no files.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "output_dir",
        help_heading = "Save"
    )]
    pub journal: Option<PathBuf>,
    /// Ask what has changed of what was saved.
    ///
    /// Servers are asked for what earlier runs have saved, with the validators they gave.
    #[arg(long, requires = "saving", help_heading = "Save")]
    pub refresh: bool,
    /// Print the file of each URL, and fetch nothing.
    ///
    /// A line has FILE and URL, with a tab between them.
    #[arg(long, requires = "output_dir", conflicts_with_all = ["csv", "format"], help_heading = "Save")]
    pub dry_run: bool,
    /// Make all survive a power cut (slower).
    ///
    /// Body, folder and journal are on the disk before a URL counts as done.
    #[arg(long, requires = "remembering", help_heading = "Save")]
    pub sync: bool,
    /// Hash every body, for the records.
    #[arg(long, help_heading = "Save")]
    pub sha256: bool,

    /// A JSON record for each URL, not a text line.
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// A table, with a row for each URL.
    ///
    /// Its first row has the names of the fields, which are those of the records. A cell that begins
    /// with =, +, -, @ (full-width ones, too), a tab or a line end gets an apostrophe in front: a
    /// spreadsheet would take it for a formula.
    #[arg(long, help_heading = "Results")]
    pub csv: bool,
    /// Results as a template says, such as '%{url}\n'.
    ///
    /// @FILE reads the template from a file. %{NAME} is a field of the record (see --json): line, input,
    /// url, ok, outcome, status, error (its kind), message, attempts, resends, final_url, redirects, http,
    /// content_type, content_encoding, bytes, file, sha256, etag, last_modified, at, started_ms, ttfb_ms, elapsed_ms,
    /// total_ms and the others; json is the whole record, result the status or else the kind of error,
    /// origin the scheme, host and port. Names of curl are known, too: http_code, url_effective,
    /// size_download, time_total, time_starttransfer, num_redirects, errormsg. What is not known is
    /// empty. %% is a percent sign; \n, \t, \r, \0 and \\ are what they are in C.
    #[arg(short = 'w', long, value_name = "TEMPLATE", help_heading = "Results")]
    pub format: Option<String>,
    /// End each result by a NUL.
    ///
    /// Instead of a line feed: for xargs -0 and sort -z.
    #[arg(long, conflicts_with = "csv", help_heading = "Results")]
    pub print0: bool,
    /// The body in each record (with --json).
    ///
    /// It stands there as text when it is UTF-8, else in base64.
    #[arg(long, requires = "json", help_heading = "Results")]
    pub body: bool,
    /// Results in the order of the input.
    #[arg(long, help_heading = "Results")]
    pub ordered: bool,
    /// Write the summary as JSON to a file.
    ///
    /// When the run has ended, however it did: its counts, failures by kind and by status.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub summary_json: Option<PathBuf>,
    /// Copy the failing input lines there, to be fed back.
    ///
    /// If one of the inputs is JSON lines or a table, all are kept as JSON lines: call it
    /// FILE.jsonl.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub failed: Option<PathBuf>,

    /// Nothing on stderr but errors of the run.
    #[arg(short = 'q', long, conflicts_with = "verbose", help_heading = "People")]
    pub quiet: bool,
    /// Tell of retries and waits; twice: every request.
    ///
    /// The lines go to stderr. RUST_LOG is obeyed.
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = "People")]
    pub verbose: u8,
    /// How progress is shown.
    ///
    /// On stderr. With CI set there is no bar, and on a dumb terminal lines every few seconds. SIGUSR1
    /// prints how the run stands, also with -q.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "People"
    )]
    pub progress: ProgressArg,
    /// Colour in the results.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "People"
    )]
    pub color: ColorArg,
    /// Draw the run when it has ended.
    ///
    /// A row for each URL, time along the width. Queue, connecting, waiting for the first byte and the
    /// body are told apart, and tries after a failed one stand apart. Of a long run: the slowest, some
    /// that failed, and a sample of the others.
    #[arg(long, help_heading = "People")]
    pub timeline: bool,
    /// Write a page for a browser about the run.
    ///
    /// Counts, latency, throughput, a waterfall, each host, each failure with its cause. It is one file
    /// that loads nothing from anywhere, of some megabytes at most: of more than 10,000 failures the
    /// others are counted by cause.
    #[arg(long, value_name = "FILE.html", help_heading = "People")]
    pub report: Option<PathBuf>,
    /// What an error means: dns, truncated, 429...
    ///
    /// What it means, whether it is tried again, what to do next, and how to rehearse it; without
    /// KIND all are listed.
    #[arg(long, value_name = "KIND", num_args = 0..=1, help_heading = "People")]
    pub explain: Option<Option<String>>,
    /// Take settings from this file alone.
    ///
    /// TOML with the long names of options [default: fetchall.toml in the user's folder of
    /// configurations, then /etc/fetchall.toml].
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "no_config",
        help_heading = "People"
    )]
    pub config: Option<PathBuf>,
    /// Take settings from no file.
    #[arg(long, help_heading = "People")]
    pub no_config: bool,
    /// Print every setting and where it comes from.
    ///
    /// Secrets are masked; nothing is fetched.
    #[arg(long, help_heading = "People")]
    pub print_config: bool,
    /// Print a man page or completions for a shell.
    #[arg(long, value_name = "WHAT", help_heading = "People")]
    pub generate: Option<generate::GenerateArg>,

    /// Put faults in the way, such as reset=10%.
    ///
    /// Quotes are for the shell: '--simulate-failure=reset=10%,503(2s)=5%@example.com'.
    ///
    /// Without SPEC 30 % of all requests meet faults that pass. SPEC is a list of KIND[(DUR)]=NUM%[@HOST[:PORT]]. KIND is dns, refused, unreachable,
    /// connect_timeout, tls, proxy, timeout, stalled, reset, truncated, protocol, redirect, decode,
    /// slow, or a status from 400 to 599. The same list and seed give the same faults.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, require_equals = true, help_heading = "Practice")]
    pub simulate_failure: Option<Option<String>>,
    /// Seed of faults and of waits between tries.
    ///
    /// [default: 0 for the simulated faults, chance for the waits]
    #[arg(long, value_name = "N", value_parser = value_parsers::parse_integer::<u64>, help_heading = "Practice")]
    pub seed: Option<u64>,
    /// Run against a built-in practice server.
    ///
    /// No network is needed.
    #[arg(long, conflicts_with_all = ["inputs", "proxy", "resolve"], help_heading = "Practice")]
    pub demo: bool,

    /// Mail the summary there.
    ///
    /// When the run has ended: with what failed, and with the report if there is one and it is small; several addresses stand
    /// between commas. Without --smtp it is simulated: three seconds, and a word on stderr. An
    /// e-mail that can't be sent is a warning, and the exit code is that of the run.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = value_parsers::address, help_heading = "When done")]
    pub email_to: Vec<String>,
    /// Mail server, as smtps://USER@HOST[:PORT].
    ///
    /// smtps:// is TLS from the start (port 465), smtp:// STARTTLS (port 587). The password stands in
    /// FETCHALL_SMTP_PASSWORD or in a file. --cacert names the authority of a private server.
    /// smtp://HOST:PORT?tls=none is not encrypted, and no password goes that way but to this machine.
    #[arg(
        long,
        value_name = "URL",
        requires = "email_to",
        help_heading = "When done"
    )]
    pub smtp: Option<String>,
    /// File with the password.
    ///
    /// In its first line [default: what FETCHALL_SMTP_PASSWORD holds].
    #[arg(
        long,
        value_name = "FILE",
        requires = "smtp",
        help_heading = "When done"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// The address mail comes from.
    ///
    /// [default: the user of --smtp, or fetchall@ its host]
    #[arg(long, value_name = "ADDR", requires = "smtp", value_parser = value_parsers::address, help_heading = "When done")]
    pub email_from: Option<String>,
    /// Run a command then.
    ///
    /// When the run has ended, in the shell, with the summary as JSON on its stdin, and FETCHALL_RUN_OUTCOME (ok, failed,
    /// interrupted (by a signal or a closed stdout) or broken), FETCHALL_RUN_EXIT_CODE and the counts FETCHALL_RUN_INPUT, _FETCHED,
    /// _FAILED, _SKIPPED and _LEFT in its environment; settings that may hold a secret, such as
    /// FETCHALL_USER, are not, and proxies are there without user and password. What it prints goes to stderr; it has 60 s. That it fails is a warning.
    #[arg(long, value_name = "CMD", help_heading = "When done")]
    pub notify_cmd: Option<String>,
    /// POST the summary as JSON there.
    ///
    /// When the run has ended. Anything but a 2xx is a warning.
    #[arg(long, value_name = "URL", value_parser = value_parsers::http_url, help_heading = "When done")]
    pub notify_url: Option<Url>,
}
