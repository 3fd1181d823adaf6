//! From the command line to a configuration.

mod afterwards;
mod convert;
mod files;
mod limits;
mod logs;
mod runtime;
mod secrets;
mod signals;
mod terminal;
mod values;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use fetchall::{MaxFailures, PerHost, ResolveRule};
use http::{HeaderValue, Method};
use url::Url;

pub use afterwards::Afterwards;
pub use files::is_only_for_reading;
pub use limits::{bound_by_descriptors, raise_descriptor_limit};
pub use logs::start as start_logs;
pub use runtime::runtime;
pub use signals::Signals;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  fetchall urls.txt                          fetch every URL of a list
  fetchall https://example.com/ --json       one URL, its record as JSON
  fetchall files.csv.gz                      a table with url, size and sha256, packed
  grep -o 'https*://[^\"]*' page.html | fetchall --json | jq -r 'select(.ok | not).url'
  fetchall urls.txt -o pages                 save each body; once more: what is missing
  fetchall urls.txt --failed again.txt       keep the failing lines; feed them back later
  fetchall urls.txt --simulate-failure       rehearse: 30 % of all requests fail
  fetchall --demo                            see it at work, without a network

Exit codes: 0 all fetched, 1 some failed or left, 2 usage or unreadable input, 3 the run
itself broke, 130/143 interrupted, 141 stdout closed.";

/// When something is done of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
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
pub enum ProgressWhen {
    /// A bar on a terminal, nothing elsewhere.
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
#[command(version, about, styles = STYLES, after_help = EXAMPLES, args_override_self = true, max_term_width = 100)]
#[command(group(ArgGroup::new("results_as").args(["json", "csv", "format"])))]
#[command(group(ArgGroup::new("saving").args(["output_dir", "pack"])))]
#[command(group(ArgGroup::new("remembering").args(["output_dir", "pack", "journal"]).multiple(true)))]
pub struct Cli {
    /// Lists to fetch: files, `-` for stdin, or URLs. Without any: stdin.
    ///
    /// A list has a URL a line; blank lines and lines that start with # are skipped. A
    /// line that is no URL becomes a failed record, and the rest goes on. Lists can say
    /// more than that (--input-format), and be packed by gzip or zstd.
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// How the files and stdin are written. auto: as the extension says (.jsonl, .ndjson, .json,
    /// .csv, .tsv; .gz and .zst are looked through), else as text.
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
    pub input_format: ListFormat,
    /// A NUL ends each URL of the files and of stdin, as find -print0 and sort -z have it: there are no
    /// comments then, and --failed writes its file in the same way.
    #[arg(
        short = '0',
        long,
        conflicts_with = "input_format",
        help_heading = "List"
    )]
    pub null: bool,

    /// Requests at the same time, at most 10000. From 8 on, a connection that is not there
    /// after 1 s does not count; so there can be up to 64 more.
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        default_value = "64", value_parser = values::concurrency,
        help_heading = "How many"
    )]
    pub concurrency: NonZeroUsize,
    /// Requests to one host (scheme, name and port) at the same time: a number, or
    /// auto[:MAX].
    ///
    /// With auto a host starts with 4 and gets more while that brings more, and half as many
    /// when it answers 429 or 503 or can't be reached; MAX bounds it, else -j does.
    #[arg(
        long,
        value_name = "N|auto[:MAX]",
        default_value = "auto", value_parser = values::per_host,
        help_heading = "How many"
    )]
    pub per_host: PerHost,
    /// Shortest time between the starts of two requests to one host.
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = values::duration, help_heading = "How many")]
    pub host_interval: Duration,
    /// Requests in all, such as 50/s, 100/m or 1000/h [default: as many as it comes to].
    #[arg(long, value_name = "N/s", value_parser = values::rate, help_heading = "How many")]
    pub rate: Option<f64>,
    /// Start nothing new after this time; what is in flight has 10 s to end, and the rest
    /// counts as left [default: never].
    #[arg(long, value_name = "DUR", value_parser = values::positive_duration, help_heading = "How many")]
    pub stop_after: Option<Duration>,
    /// End the run in the same way once more URLs failed than N, or than N% of those settled, of
    /// a hundred at least [default: never].
    #[arg(long, value_name = "N|N%", value_parser = values::max_failures, help_heading = "How many")]
    pub max_failures: Option<MaxFailures>,
    /// URLs held to find work on other hosts, those that run and wait included (0.3 to 1.3 KiB
    /// each). No more than 32 MiB of lines are read ahead.
    #[arg(
        long,
        value_name = "N",
        default_value = "32768", value_parser = values::at_least_one,
        help_heading = "How many"
    )]
    pub look_ahead: NonZeroUsize,

    /// Further tries after the first. With 0 there is none, not even when a server says when.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        allow_negative_numbers = true,
        help_heading = "Retry"
    )]
    pub retries: u32,
    /// Longest first wait between tries; it doubles each time, the real one is drawn below it.
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = values::duration, help_heading = "Retry")]
    pub retry_delay: Duration,
    /// Longest wait between tries.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration, help_heading = "Retry")]
    pub retry_max_delay: Duration,
    /// Longest Retry-After of a server that is waited for.
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = values::duration, help_heading = "Retry")]
    pub retry_after_max: Duration,
    /// Longest time one URL waits for its retries in all, and a host that lets nothing through
    /// holds its URLs.
    #[arg(long, value_name = "DUR", default_value = "15m", value_parser = values::duration, help_heading = "Retry")]
    pub max_wait: Duration,

    /// Limit for DNS, TCP and TLS together.
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = values::positive_duration, help_heading = "Time and size")]
    pub connect_timeout: Duration,
    /// The response must begin within it, and then bring 1 KiB in each such time; 0: no limit.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration, help_heading = "Time and size")]
    pub stall_timeout: Duration,
    /// Limit for one try as a whole [default: none].
    #[arg(short = 'm', long, value_name = "DUR", value_parser = values::duration, help_heading = "Time and size")]
    pub max_time: Option<Duration>,
    /// Largest body after decoding; 0: no limit [default: 1GiB, with --body 8MiB].
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Time and size")]
    pub max_size: Option<u64>,
    /// Redirects followed for one URL.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        help_heading = "Time and size"
    )]
    pub max_redirects: u32,

    /// Method of every request [default: GET, with -d POST].
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD",
        help_heading = "Request"
    )]
    pub method: Option<Method>,
    /// Body of every request; @FILE reads it from a file, @- from stdin.
    #[arg(short = 'd', long, value_name = "DATA", help_heading = "Request")]
    pub data: Option<String>,
    /// A header for every request, or @FILE with one in each line; can be given several times.
    ///
    /// In the file blank lines and lines that start with # are skipped. Other users of the machine
    /// see what stands on a command line, and not what stands in a file of yours.
    #[arg(
        short = 'H',
        long = "header",
        value_name = "NAME: VALUE|@FILE",
        help_heading = "Request"
    )]
    pub headers: Vec<String>,
    /// User-Agent [default: fetchall/VERSION].
    #[arg(short = 'A', long, value_name = "NAME", help_heading = "Request")]
    pub user_agent: Option<HeaderValue>,
    /// Basic credentials, for the hosts of the list only; with USER:@FILE the password is the first
    /// line of the file [default: what FETCHALL_USER holds].
    #[arg(
        short = 'u',
        long,
        value_name = "USER:PASSWORD|USER:@FILE",
        help_heading = "Request"
    )]
    pub user: Option<String>,
    /// Ask for the head only.
    #[arg(short = 'I', long, conflicts_with_all = ["method", "data"], help_heading = "Request")]
    pub head: bool,
    /// Proxy for everything: http, https, socks4, socks4a, socks5 or socks5h [default: as
    /// HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say; '' for none].
    #[arg(short = 'x', long, value_name = "URL", help_heading = "Request")]
    pub proxy: Option<String>,
    /// Credentials for the proxy of -x; with USER:@FILE the password is the first line of the file.
    #[arg(
        short = 'U',
        long,
        value_name = "USER:PASSWORD|USER:@FILE",
        requires = "proxy",
        help_heading = "Request"
    )]
    pub proxy_user: Option<String>,
    /// Accept any certificate.
    #[arg(short = 'k', long, help_heading = "Request")]
    pub insecure: bool,
    /// Certificate authorities to trust instead of the system's, in PEM.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub cacert: Option<PathBuf>,
    /// Connect to these addresses for this host (* for any) and port.
    #[arg(long, value_name = "HOST:PORT:ADDR[,ADDR]", value_parser = values::resolve, help_heading = "Request")]
    pub resolve: Vec<ResolveRule>,
    /// Connect to public addresses only, redirects and --resolve included: loopback, private,
    /// link-local, metadata and all other special addresses fail as denied.
    ///
    /// Names are checked after they are resolved, and exactly the addresses that were checked
    /// are connected to. Proxies of the environment are not used with it.
    #[arg(long, conflicts_with = "demo", help_heading = "Request")]
    pub deny_private: bool,
    /// Do not ask for compressed bodies.
    #[arg(long, help_heading = "Request")]
    pub no_compression: bool,
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

    /// Save each body to a file below this folder, under the name of its host: there is a whole
    /// body or nothing. The same command again fetches what is missing.
    ///
    /// DIR/fetchall.jsonl is the journal, with a record for each URL; what it says is fetched, and
    /// is still there with its size, is skipped. What is on its way is below DIR/.fetchall.
    #[arg(short = 'o', long, value_name = "DIR", conflicts_with_all = ["body", "head"], help_heading = "Save")]
    pub output_dir: Option<PathBuf>,
    /// Save all bodies in one WARC 1.1 file, named .warc.gz or .warc: for many small ones that is
    /// much quicker than a file for each. The same command again fetches what is missing.
    ///
    /// Its journal is FILE.jsonl, with the place of each record.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output_dir", "body", "head"], help_heading = "Save")]
    pub pack: Option<PathBuf>,
    /// Keep a journal of a run that saves no files; the same command again fetches what is
    /// missing.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "output_dir",
        help_heading = "Save"
    )]
    pub journal: Option<PathBuf>,
    /// Ask the servers what has changed of what was saved by earlier runs.
    #[arg(long, requires = "saving", help_heading = "Save")]
    pub refresh: bool,
    /// Print the file of each URL, FILE and URL with a tab between them, and fetch nothing.
    #[arg(long, requires = "output_dir", conflicts_with_all = ["csv", "format"], help_heading = "Save")]
    pub dry_run: bool,
    /// Body, folder and journal survive a power cut before a URL counts as done (slower).
    #[arg(long, requires = "remembering", help_heading = "Save")]
    pub sync: bool,
    /// Hash every body; the records then carry its sha256.
    #[arg(long, help_heading = "Save")]
    pub sha256: bool,

    /// A JSON record for each URL instead of a text line.
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// A table instead: a row of names, then a row for each URL.
    #[arg(long, help_heading = "Results")]
    pub csv: bool,
    /// Results as you want them, such as '%{status} %{elapsed_ms} %{url}\n', or @FILE with that in
    /// it.
    ///
    /// %{NAME} is a field of the record (see --json): line, input, url, ok, outcome, status, error
    /// (its kind), message, attempts, final_url, redirects, http, content_type, bytes, file, sha256,
    /// etag, last_modified, at, started_ms, ttfb_ms, elapsed_ms, total_ms and the others; json is the
    /// whole record, result the status or else the kind of error, origin the scheme, host and port.
    /// Names of curl are known, too: http_code, url_effective, size_download, time_total,
    /// time_starttransfer, num_redirects, errormsg. What is not known is empty. %% is a percent
    /// sign; \n, \t, \r, \0 and \\ are what they are in C.
    #[arg(short = 'w', long, value_name = "TEMPLATE", help_heading = "Results")]
    pub format: Option<String>,
    /// End each result by a NUL instead of a line feed: for xargs -0 and sort -z.
    #[arg(long, conflicts_with = "csv", help_heading = "Results")]
    pub print0: bool,
    /// The body in each record (JSON only): as text, or in base64.
    #[arg(long, requires = "json", help_heading = "Results")]
    pub body: bool,
    /// Results in the order of the input instead of as they come.
    #[arg(long, help_heading = "Results")]
    pub ordered: bool,
    /// Write the summary as JSON to a file when the run has ended.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub summary_json: Option<PathBuf>,
    /// Copy the failing input lines to a file, to be fed back. If one of the inputs is JSON
    /// lines or a table, all are kept as JSON lines: call it FILE.jsonl.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub failed: Option<PathBuf>,

    /// Nothing on stderr but errors of the run itself.
    #[arg(short = 'q', long, conflicts_with = "verbose", help_heading = "People")]
    pub quiet: bool,
    /// Log lines on stderr: retries and waits, twice: every request. RUST_LOG is obeyed.
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = "People")]
    pub verbose: u8,
    /// How progress is shown.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "People"
    )]
    pub progress: ProgressWhen,
    /// Colour in the results.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "People"
    )]
    pub color: When,
    /// Draw the run when it has ended: a row for each URL, time along the width.
    ///
    /// Queue, connecting, waiting for the first byte and the body are told apart, and tries
    /// after a failed one stand apart. Of a long run: the slowest, some that failed, and a sample
    /// of the others.
    #[arg(long, help_heading = "People")]
    pub timeline: bool,
    /// Write a page for a browser that tells of the run: counts, latency, throughput, a waterfall,
    /// each host, each failure with its cause.
    ///
    /// It is one file that loads nothing from anywhere, of some megabytes at most: of more than
    /// 10,000 failures the others are counted by cause.
    #[arg(long, value_name = "FILE.html", help_heading = "People")]
    pub report: Option<PathBuf>,

    /// Put faults in the way, such as 'reset=10%,503(2s)=5%@example.com' [default SPEC: 30 %
    /// of faults that pass].
    ///
    /// SPEC is a list of KIND[(DUR)]=NUM%[@HOST[:PORT]]. KIND is dns, refused, unreachable,
    /// connect_timeout, tls, timeout, stalled, reset, truncated, protocol, redirect, decode,
    /// slow, or a status from 400 to 599. The same list and seed give the same faults.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, require_equals = true, help_heading = "Practice")]
    pub simulate_failure: Option<Option<String>>,
    /// Seed of the simulated faults and of the waits between tries [default: 0 for the
    /// faults, chance for the waits].
    #[arg(long, value_name = "N", help_heading = "Practice")]
    pub seed: Option<u64>,
    /// Run against a built-in practice server, without a network.
    #[arg(long, conflicts_with_all = ["inputs", "proxy", "resolve"], help_heading = "Practice")]
    pub demo: bool,

    /// Mail the summary to these addresses when the run has ended, with what failed and the report.
    /// Without --smtp that is simulated: three seconds, and a word on stderr.
    ///
    /// An e-mail that can't be sent is a warning, and the exit code is that of the run.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = values::address, help_heading = "When done")]
    pub email_to: Vec<String>,
    /// Mail server: smtps://USER@HOST[:PORT] (TLS, port 465) or smtp://USER@HOST[:PORT] (STARTTLS,
    /// port 587).
    ///
    /// The password stands in FETCHALL_SMTP_PASSWORD or in a file. --cacert names the authority of a
    /// private server. smtp://HOST:PORT?tls=none is not encrypted, and no password goes that way but
    /// to this machine.
    #[arg(
        long,
        value_name = "URL",
        requires = "email_to",
        help_heading = "When done"
    )]
    pub smtp: Option<String>,
    /// File whose first line is the password for --smtp [default: what FETCHALL_SMTP_PASSWORD
    /// holds].
    #[arg(
        long,
        value_name = "FILE",
        requires = "smtp",
        help_heading = "When done"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// Address the e-mail comes from [default: the user of --smtp, or fetchall@ its host].
    #[arg(long, value_name = "ADDR", requires = "smtp", value_parser = values::address, help_heading = "When done")]
    pub email_from: Option<String>,
    /// Run a command of the shell when the run has ended, with the summary as JSON on its stdin.
    ///
    /// It finds FETCHALL_OUTCOME (ok, failed, interrupted or broken), FETCHALL_EXIT_CODE and the
    /// counts FETCHALL_INPUT, _FETCHED, _FAILED, _SKIPPED and _LEFT in its environment. What it prints
    /// goes to stderr; it has 60 s. That it fails is a warning.
    #[arg(long, value_name = "CMD", help_heading = "When done")]
    pub notify_cmd: Option<String>,
    /// POST the summary as JSON to a URL when the run has ended. Anything but a 2xx is a warning.
    #[arg(long, value_name = "URL", value_parser = values::http_url, help_heading = "When done")]
    pub notify_url: Option<Url>,
}
