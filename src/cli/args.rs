//! The command line as clap parses it. Options of requests, saving and notifications have files of
//! their own.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Parser};
use fetchall::program::PerHostLimit;
use fetchall::{BaseUrl, MaxFailures};

use super::arg_values::{
    ColorArg, GenerateArg, InputFormatArg, MANIFEST_FORMATS, ProgressArg, SchemeArg,
};
use super::cluster_args::ClusterArgs;
use super::notification_args::NotificationArgs;
use super::request_args::RequestArgs;
use super::robots_args::RobotsArgs;
use super::saving_args::SavingArgs;
use super::version::VERSION;
use super::{ThreadCount, help, host_sections, value_parsers};

/// Fetch a list of URLs concurrently, with an exact result for every line.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, styles = help::STYLES, after_help = help::short(), after_long_help = help::long(), args_override_self = true, max_term_width = 100)]
#[command(group(ArgGroup::new("results_as").args(["json", "csv", "format"])))]
#[command(group(ArgGroup::new("saving").args(["output_dir", "pack"])))]
#[command(group(ArgGroup::new("planning").args(["output_dir", "shard"]).multiple(true)))]
#[command(group(ArgGroup::new("dividing").args(["shard", "split"]).multiple(true)))]
#[command(group(ArgGroup::new("remembering").args(["output_dir", "pack", "journal"]).multiple(true)))]
pub(crate) struct Cli {
    /// Files of URLs, `-` for stdin, or URLs [default: stdin].
    ///
    /// One URL per line. Blank lines, lines that start with # and a " #" comment after a URL are
    /// skipped. A line that is not a URL becomes a failed record; the run continues. Lists can also
    /// be JSON Lines, CSV or TSV (--input-format), and compressed with gzip or zstd.
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// Format of the input.
    ///
    /// auto: by extension (.jsonl, .ndjson, .json, .csv, .tsv, .xml, .rss, .atom; a .gz or .zst after
    /// it is ignored), else a sitemap or feed if it begins like one, else text.
    ///
    /// jsonl: one object per line with url and optionally file, size, md5, sha1, sha256, sha512,
    /// checksum (sha256:HEX or sha256-BASE64), type, mirrors (an array of URLs), method, headers (an
    /// object of strings or arrays of strings) and body or body_base64. Records that fetchall wrote can
    /// be read again; their body is ignored. csv and tsv: a header row with a url column and optionally
    /// the same (mirrors separated by blanks), but not headers and body_base64. A body whose size or
    /// hash differs fails (checksum), and one of another media type (content_type). The mirrors of a URL
    /// are tried in turn when it has failed for good.
    ///
    /// sitemap: a sitemap, a sitemap index (its sitemaps are fetched and read), or a feed. URLs among
    /// the inputs are then those of sitemaps.
    ///
    /// sha256sums: a manifest of md5sum, sha1sum, sha256sum or sha512sum, recognized by the length
    /// of the hashes. The files are below --base-url, which is required.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "auto",
        requires_ifs = MANIFEST_FORMATS.map(|format| (format, "base_url")),
        help_heading = "List"
    )]
    pub input_format: InputFormatArg,
    /// Input is NUL-separated, as from find -print0.
    ///
    /// Applies to files and to stdin. There are no comments then, and --failed writes NUL-separated
    /// lines, too.
    #[arg(
        short = '0',
        long,
        conflicts_with = "input_format",
        help_heading = "List"
    )]
    pub null: bool,
    /// URL of the folder with the files of a manifest.
    ///
    /// For --input-format sha256sums: the URL of each file is its name below this one, and -o saves it
    /// under its name. A / at the end may be left out.
    #[arg(long, value_name = "URL", help_heading = "List")]
    pub base_url: Option<BaseUrl>,
    /// Scheme of URLs without one, such as example.com/a.
    ///
    /// For all lines of the lists. Without this option, such a line is a failed record
    /// (invalid_url). So is a line that is only a path, or that has an @ and no scheme.
    #[arg(long, value_name = "SCHEME", help_heading = "List")]
    pub scheme: Option<SchemeArg>,
    /// Column or field with the URL.
    ///
    /// For tables and JSON Lines [default: url; without one, the only one that is named like a URL,
    /// such as link, image_url or downloadURL].
    #[arg(long, value_name = "NAME", value_parser = value_parsers::column, help_heading = "List")]
    pub url_column: Option<String>,
    /// Columns to repeat in records: id,caption or '*'.
    ///
    /// Columns of a table or fields of JSON Lines; * is all but url, headers and body. Records have
    /// them in "columns", --csv as columns of their own, templates as %{columns.NAME}. Passwords in
    /// URLs are masked. A line with more than 256 KiB of them fails.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = value_parsers::column,
        help_heading = "List"
    )]
    pub keep_columns: Vec<String>,

    /// Maximum concurrent requests.
    ///
    /// Up to 10000. With 8 or more, a connection still pending after 1 s is not counted, so up to 64
    /// more may be open.
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        default_value = "64", value_parser = value_parsers::concurrency,
        help_heading = "Concurrency and rate"
    )]
    pub concurrency: NonZeroUsize,
    /// Threads that run requests: N, auto.
    ///
    /// auto is one up to -j 256, and then up to one per core. Each has connections of its own; a host
    /// stays on one thread unless there are few hosts.
    #[arg(
        long,
        value_name = "N",
        default_value = "auto", value_parser = value_parsers::threads,
        help_heading = "Concurrency and rate"
    )]
    pub threads: ThreadCount,
    /// Concurrency per host: N, auto[:MAX].
    ///
    /// A host is a scheme, name and port. auto starts at 4, grows while throughput improves, and is
    /// halved on 429, 503 or a failed connection. MAX caps it; without MAX, -j does.
    #[arg(
        long,
        value_name = "N",
        default_value = "auto", value_parser = value_parsers::per_host,
        help_heading = "Concurrency and rate"
    )]
    pub per_host: PerHostLimit,
    /// Minimum gap between requests to a host.
    ///
    /// Measured from start to start.
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = value_parsers::duration, help_heading = "Concurrency and rate")]
    pub host_interval: Duration,
    /// Overall request rate: 50/s, 100/m, 1000/h.
    ///
    /// Retries and redirects count as requests [default: unlimited].
    #[arg(long, value_name = "N/s", value_parser = value_parsers::rate, help_heading = "Concurrency and rate")]
    pub rate: Option<f64>,
    /// Bytes of all bodies per second: 500KB/s.
    ///
    /// As they come on the wire, before decoding. Bodies share it evenly; waiting for it is no stall,
    /// but counts for --max-time. 0: no limit [default: unlimited].
    #[arg(long, value_name = "SIZE", value_parser = value_parsers::byte_rate, help_heading = "Concurrency and rate")]
    pub limit_rate: Option<u64>,
    /// Bytes of bodies per second for each host.
    ///
    /// As --limit-rate [default: unlimited].
    #[arg(long, value_name = "SIZE", value_parser = value_parsers::byte_rate, help_heading = "Concurrency and rate")]
    pub host_limit_rate: Option<u64>,
    #[command(flatten)]
    pub robots: RobotsArgs,
    /// Stop starting requests after this time.
    ///
    /// Requests in flight get 10 s to finish; everything else counts as left [default: never].
    #[arg(long, value_name = "DUR", value_parser = value_parsers::positive_duration, help_heading = "Concurrency and rate")]
    pub stop_after: Option<Duration>,
    /// Stop if more URLs fail than this: 20, or 5%.
    ///
    /// Stops as --stop-after does. N% is a share of the URLs finished so far, or of 100 while fewer
    /// have finished [default: never].
    #[arg(long, value_name = "N", value_parser = value_parsers::max_failures, help_heading = "Concurrency and rate")]
    pub max_failures: Option<MaxFailures>,
    /// URLs read ahead to keep hosts busy.
    ///
    /// While one host is at its limit, URLs of others are taken from this buffer. It includes URLs
    /// in flight and waiting; each takes 0.3 to 1.3 KiB. At most 32 MiB of input lines are
    /// buffered.
    #[arg(
        long,
        value_name = "N",
        default_value = "32768", value_parser = value_parsers::at_least_one,
        help_heading = "Concurrency and rate"
    )]
    pub look_ahead: NonZeroUsize,

    /// Times to try a failed URL again.
    ///
    /// After failures that may pass, such as a timeout or a 503, with a growing wait before each
    /// (--retry-delay). 0 disables retries, even when a server sends Retry-After. A request that no server processed,
    /// and a HEAD that the server does not support, are still sent again.
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = value_parsers::parse_integer::<u32>, help_heading = "Retry")]
    pub retries: u32,
    /// Upper bound of the first backoff.
    ///
    /// Doubles with each retry; the actual wait is random below it (full jitter).
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_delay: Duration,
    /// Maximum backoff.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_max_delay: Duration,
    /// Longest Retry-After honoured.
    ///
    /// A URL whose server asks for a longer wait fails at once.
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_after_max: Duration,
    /// Maximum total retry wait per URL.
    ///
    /// Also limits how long a host that rejects every request can hold its URLs.
    #[arg(long, value_name = "DUR", default_value = "15m", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub max_wait: Duration,
    /// Also retry 404,5xx,tls; !500 excludes.
    ///
    /// LIST is comma-separated: statuses, classes such as 5xx, and error kinds (see --explain). It
    /// can be given several times; the last match decides. Retries added here are limited by
    /// --retries, and a Retry-After delays only that URL. 202 also retries a 202 without
    /// Retry-After; !202 accepts every 202.
    #[arg(long, value_name = "LIST", help_heading = "Retry")]
    pub retry_on: Vec<String>,

    /// Timeout for DNS, TCP and TLS.
    ///
    /// One limit for all three together.
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = value_parsers::positive_duration, help_heading = "Timeouts and limits")]
    pub connect_timeout: Duration,
    /// Timeout for a stalled response.
    ///
    /// The head must arrive within it, then at least 1 KiB of body per such window; 0: no limit.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Timeouts and limits")]
    pub stall_timeout: Duration,
    /// Timeout for one whole attempt.
    ///
    /// Includes connecting and the whole body [default: none].
    #[arg(short = 'm', long, value_name = "DUR", value_parser = value_parsers::duration, help_heading = "Timeouts and limits")]
    pub max_time: Option<Duration>,
    /// Body size limit [default: 1GiB, 8MiB with --body].
    ///
    /// Measured after decoding; 0: no limit.
    #[arg(long, value_name = "SIZE", value_parser = value_parsers::size, help_heading = "Timeouts and limits")]
    pub max_size: Option<u64>,
    /// Maximum redirects per URL.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10, value_parser = value_parsers::parse_integer::<u32>,
        help_heading = "Timeouts and limits"
    )]
    pub max_redirects: u32,

    #[command(flatten)]
    pub request: RequestArgs,
    #[command(flatten)]
    pub saving: SavingArgs,

    /// Print one JSON record per URL.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Print CSV, one row per URL.
    ///
    /// The first row has the field names, which are those of the records. A cell that starts with
    /// =, +, - or @ (also full-width) gets a leading apostrophe, so that no spreadsheet takes it for
    /// a formula. Tabs, line breaks and other control characters are written as \t, \r, \n, \u{1b}.
    #[arg(long, help_heading = "Output")]
    pub csv: bool,
    /// Output template, such as '%{url}\n'.
    ///
    /// @FILE reads the template from a file. %{NAME} is a field of the record (see --json): line,
    /// input, url, ok, outcome, status, error (its kind), message, attempts, resends, final_url,
    /// redirects, http, content_type, content_encoding, bytes, file, sha256, etag, last_modified,
    /// at, started_ms, ttfb_ms, elapsed_ms, total_ms and the others. json is the whole record,
    /// result the status or else the error kind, origin the scheme, host and port. Some curl names
    /// work, too: http_code, url_effective, size_download, time_total, time_starttransfer,
    /// num_redirects, errormsg. An unknown value is empty. %% is a percent sign; \n, \t, \r, \0 and
    /// \\ are what they are in C.
    #[arg(short = 'w', long, value_name = "TEMPLATE", help_heading = "Output")]
    pub format: Option<String>,
    /// Terminate results with NUL.
    ///
    /// Instead of a line feed: for xargs -0 and sort -z.
    #[arg(long, conflicts_with = "csv", help_heading = "Output")]
    pub print0: bool,
    /// Include bodies in records (--json, --csv, -w).
    ///
    /// As text if the body is UTF-8, else as base64. In CSV and templates its line ends and other
    /// control characters are escaped.
    #[arg(long, requires = "results_as", help_heading = "Output")]
    pub body: bool,
    /// Print results in input order.
    #[arg(long, help_heading = "Output")]
    pub ordered: bool,
    /// Write the summary as JSON to a file.
    ///
    /// Written however the run ends: the counts, and the failures by kind and by status.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub summary_json: Option<PathBuf>,
    /// Write failed input lines here, for a rerun.
    ///
    /// If any input is JSON Lines, CSV or TSV, all are written as JSON Lines: name it FILE.jsonl. It
    /// is read back with or without --url-column and --input-format.
    /// An existing FILE is replaced, but not by a run that read no URL from stdin.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub failed: Option<PathBuf>,

    /// No progress, warnings or summary.
    ///
    /// Results still go to stdout, and errors of the run itself to stderr.
    #[arg(
        short = 'q',
        long,
        conflicts_with = "verbose",
        help_heading = "Display and diagnostics"
    )]
    pub quiet: bool,
    /// Log retries and holds; -vv: every request.
    ///
    /// Log lines go to stderr. RUST_LOG is honoured.
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = "Display and diagnostics")]
    pub verbose: u8,
    /// Progress display.
    ///
    /// On stderr. auto shows no bar if CI is set, and a line every few seconds on a dumb terminal.
    /// SIGUSR1 prints the current status, also with -q. SIGUSR2 reads the limits again.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Display and diagnostics"
    )]
    pub progress: ProgressArg,
    /// Colour the results.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Display and diagnostics"
    )]
    pub color: ColorArg,
    /// Print a timeline at the end.
    ///
    /// One row per URL, with time on the horizontal axis. Queueing, connecting, waiting for the
    /// first byte and receiving the body look different, and retries are separate. A long run shows
    /// the slowest URLs, some that failed, and a sample of the others.
    #[arg(long, help_heading = "Display and diagnostics")]
    pub timeline: bool,
    /// Write an HTML report.
    ///
    /// Counts, latency, throughput, a waterfall, each host, and each failure with its cause. One
    /// self-contained file of a few megabytes at most: beyond 10,000 failures, the others are
    /// counted by cause.
    #[arg(
        long,
        value_name = "FILE.html",
        help_heading = "Display and diagnostics"
    )]
    pub report: Option<PathBuf>,
    /// Explain an error or status: dns, 429, 5xx.
    ///
    /// What it means, whether it is retried, what to do next, and how to rehearse it. Without KIND,
    /// lists all kinds.
    #[arg(long, value_name = "KIND", num_args = 0..=1, help_heading = "Display and diagnostics")]
    pub explain: Option<Option<String>>,
    /// Read only this config file.
    ///
    /// TOML with the long option names as keys [default: fetchall.toml in the user's config
    /// directory, then /etc/fetchall.toml].
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "no_config",
        help_heading = "Display and diagnostics"
    )]
    pub config: Option<PathBuf>,
    /// Ignore config files.
    #[arg(long, help_heading = "Display and diagnostics")]
    pub no_config: bool,
    /// Print effective settings and their sources.
    ///
    /// Secrets are masked; nothing is fetched.
    #[arg(long, help_heading = "Display and diagnostics")]
    pub print_config: bool,
    /// Print a man page or shell completions.
    #[arg(long, value_name = "WHAT", help_heading = "Display and diagnostics")]
    pub generate: Option<GenerateArg>,

    /// Inject faults, such as reset=10%.
    ///
    /// Without SPEC, 30 % of all requests hit transient faults. SPEC is a list of
    /// KIND[(DUR)]=NUM%[@HOST[:PORT]]. KIND is dns, refused, unreachable, connect_timeout, tls,
    /// proxy, timeout, stalled, reset, truncated, protocol, redirect, robots, decode, content_type,
    /// slow, or a status from 400 to 599. The same list and seed give the same faults.
    ///
    /// Quote it for the shell: '--simulate-failure=reset=10%,503(2s)=5%@example.com'.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, require_equals = true, help_heading = "Testing")]
    pub simulate_failure: Option<Option<String>>,
    /// Random seed for faults and retry jitter.
    ///
    /// [default: 0 for injected faults, random for the jitter]
    #[arg(long, value_name = "N", value_parser = value_parsers::parse_integer::<u64>, help_heading = "Testing")]
    pub seed: Option<u64>,
    /// Run against a built-in practice server.
    ///
    /// Needs no network.
    #[arg(long, conflicts_with_all = ["inputs", "proxy", "resolve"], help_heading = "Testing")]
    pub demo: bool,

    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub notification: NotificationArgs,
    /// The sections of the config files for single hosts.
    #[arg(skip)]
    pub hosts: Vec<host_sections::HostSection>,
}
