//! The command line: turns arguments, environment and config files into a [`fetchall::program::Config`], and
//! has what only the program needs (signals, notifications, redaction of messages).

mod advice;
mod cli_error;
mod config_file;
mod config_paths;
mod convert;
mod empty_list;
mod environment;
mod explain;
mod fd_limit;
mod flag_hints;
mod fs_util;
mod generate;
mod help;
mod host_sections;
mod input_hints;
mod logs;
mod masked_values;
mod notifications;
mod open_files;
mod options;
mod panics;
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
mod usage_error;
mod value_parsers;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use fetchall::program::PerHostLimit;
use fetchall::{BaseUrl, ExpectedTypes, HashAlgorithm, MaxFailures, ResolveRule};
use http::{HeaderValue, Method};
use url::Url;

pub(crate) use advice::{lacks_password, netrc_warning, warnings};
pub(crate) use cli_error::CliError;
pub(crate) use fd_limit::{bound_by_descriptors, raise_descriptor_limit};
pub(crate) use flag_hints::next_step;
pub(crate) use fs_util::is_only_for_reading;
pub(crate) use logs::start as start_logs;
pub(crate) use notifications::RunNotifier;
pub(crate) use open_files::lacking_descriptors;
pub(crate) use panics::report_panics;
pub(crate) use parse::{CliAction, read};
pub(crate) use print::print;
pub(crate) use redact::message as redact;
pub(crate) use runtime::runtime;
pub(crate) use setting_origins::SettingOrigins;
pub(crate) use signals::{EarlySignals, Signals};

/// When results are coloured: `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Names of the format of manifests. One is shown, because the length of a hash tells its algorithm.
const MANIFEST_FORMATS: [&str; 4] = ["sha256sums", "md5sums", "sha1sums", "sha512sums"];

/// Format of the input: `--input-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormatArg {
    /// By extension, else by content.
    Auto,
    /// One URL per line.
    Text,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated, with a header row.
    Csv,
    /// Tab-separated, with a header row.
    Tsv,
    /// Sitemap, sitemap index, RSS or Atom feed.
    Sitemap,
    /// Hashes and file names, as sha256sum writes them.
    #[value(aliases = MANIFEST_FORMATS)]
    Sha256sums,
}

/// Scheme of URLs without one: `--scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemeArg {
    /// http://
    Http,
    /// https://
    Https,
}

/// Progress display: `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// A bar on a terminal; elsewhere a line every 30 s.
    Auto,
    /// A bar, if stderr is a terminal.
    Bar,
    /// A line every few seconds.
    Plain,
    /// Nothing.
    None,
}

/// What to print: `--generate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GenerateArg {
    /// Man page.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
    /// Completions for PowerShell.
    Powershell,
}

/// Whether something is done: `--pack-failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNoArg {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Fetch a list of URLs concurrently, with an exact result for every line.
#[derive(Debug, Parser)]
#[command(version, about, styles = help::STYLES, after_help = help::short(), after_long_help = help::long(), args_override_self = true, max_term_width = 100)]
#[command(group(ArgGroup::new("results_as").args(["json", "csv", "format"])))]
#[command(group(ArgGroup::new("saving").args(["output_dir", "pack"])))]
#[command(group(ArgGroup::new("remembering").args(["output_dir", "pack", "journal"]).multiple(true)))]
pub struct Cli {
    /// Files of URLs, `-` for stdin, or URLs [default: stdin].
    ///
    /// One URL per line. Blank lines, lines that start with # and a " #" comment after a URL are
    /// skipped. A line that is not a URL becomes a failed record; the run continues. Lists can also
    /// be JSON Lines, CSV or TSV (--input-format), and compressed with gzip or zstd.
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// Format of the input.
    ///
    /// auto: by extension (.jsonl, .ndjson, .json, .csv, .tsv, .xml; a .gz or .zst after it is
    /// ignored), else a sitemap or feed if it begins like one, else text.
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
    /// sha256sums: a manifest of md5sum, sha1sum, sha256sum or sha512sum, told by the length of the
    /// hashes. The files are below --base-url, which is required.
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
    #[arg(long, value_name = "NAME", help_heading = "List")]
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
    /// Stop starting requests after this time.
    ///
    /// Requests in flight get 10 s to finish; everything else counts as left [default: never].
    #[arg(long, value_name = "DUR", value_parser = value_parsers::positive_duration, help_heading = "Concurrency and rate")]
    pub stop_after: Option<Duration>,
    /// Stop the run after more failures: 20, or 5%.
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
    /// Initial backoff limit.
    ///
    /// Doubles with each retry; the actual wait is random below it (full jitter).
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_delay: Duration,
    /// Maximum backoff.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Retry")]
    pub retry_max_delay: Duration,
    /// Longest Retry-After honoured.
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

    /// Request method.
    ///
    /// GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS in any case, others exactly as given. An
    /// input line can have its own [default: GET, with -d POST].
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD", value_parser = value_parsers::method,
        help_heading = "Request"
    )]
    pub method: Option<Method>,
    /// Request body; @FILE and @- read it.
    ///
    /// @FILE reads it from a file, @- from stdin. Without a Content-Type header it is sent as a
    /// form.
    #[arg(short = 'd', long, value_name = "DATA", help_heading = "Request")]
    pub data: Option<String>,
    /// Request header 'Name: value', or @FILE.
    ///
    /// Can be given several times. @FILE has one header per line; blank lines and lines that start
    /// with # are skipped. Other users of the machine can see a command line, but not a file that
    /// only you can read. Content-Length and Transfer-Encoding follow from the body and cannot be
    /// set.
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        help_heading = "Request"
    )]
    pub headers: Vec<String>,
    /// Cookies 'NAME=VALUE; ...', or a cookies.txt.
    ///
    /// Text with = is sent as a Cookie header, to the origins in the list only. Otherwise it is a
    /// file in the Netscape format, as browser extensions, curl and wget write it: each cookie is
    /// sent where it belongs, and cookies that servers set are then kept for all URLs of the run.
    /// Can be given several times.
    #[arg(short = 'b', long, value_name = "DATA", help_heading = "Request")]
    pub cookie: Vec<String>,
    /// Keep cookies for all URLs; write them here.
    ///
    /// By default a cookie lasts for the redirects of one URL. The file is written when the run
    /// ends, with those of -b FILE, and only its owner can read it. It may be the file of -b.
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "Request")]
    pub cookie_jar: Option<PathBuf>,
    /// User-Agent [default: fetchall/VERSION].
    #[arg(short = 'A', long, value_name = "NAME", value_parser = value_parsers::user_agent, help_heading = "Request")]
    pub user_agent: Option<HeaderValue>,
    /// Basic credentials: USER:PASSWORD or USER:@FILE.
    ///
    /// Sent only to the origins in the list, not to redirect targets elsewhere. With USER:@FILE the
    /// password is the first line of the file [default: the value of FETCHALL_USER].
    #[arg(short = 'u', long, value_name = "USER", help_heading = "Request")]
    pub user: Option<String>,
    /// Read credentials by host from ~/.netrc.
    ///
    /// They are sent to the hosts that the file names, at every hop of a redirect, unless the URL or
    /// -u has some. A default entry is for all hosts.
    #[arg(short = 'n', long, help_heading = "Request")]
    pub netrc: bool,
    /// Read credentials by host from this file.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub netrc_file: Option<PathBuf>,
    /// Send HEAD requests.
    ///
    /// Where the answer is 405 or 501, GET is sent once instead, and its body is not read.
    #[arg(short = 'I', long, conflicts_with_all = ["method", "data"], help_heading = "Request")]
    pub head: bool,
    /// Proxy for all requests; '' for none.
    ///
    /// Schemes: http, https, socks4, socks4a, socks5 and socks5h; HOST:PORT alone is http, as in
    /// curl. Credentials go into -U [default: from HTTP_PROXY,
    /// HTTPS_PROXY, ALL_PROXY and NO_PROXY; NO_PROXY takes names, addresses and networks, each
    /// optionally with a port, or *].
    #[arg(short = 'x', long, value_name = "URL", help_heading = "Request")]
    pub proxy: Option<String>,
    /// Credentials for the -x proxy, as with -u.
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
    /// Skip TLS certificate verification.
    ///
    /// Signatures are not checked either, nor whether the server holds the key: anyone on the
    /// network path can read and change everything.
    #[arg(short = 'k', long, help_heading = "Request")]
    pub insecure: bool,
    /// CA certificates to trust (PEM).
    ///
    /// Replaces the system's. A server's own certificate may be among them: it is trusted if the
    /// server presents exactly that certificate, holds its key, and name and dates match.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub cacert: Option<PathBuf>,
    /// Client certificate (PEM).
    ///
    /// Presented to every server that asks for one. The file may also have its key and the
    /// certificates that lead to its authority.
    #[arg(short = 'E', long, value_name = "FILE", help_heading = "Request")]
    pub cert: Option<String>,
    /// Key of the -E certificate (PEM).
    ///
    /// Not encrypted.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Request")]
    pub key: Option<PathBuf>,
    /// Override DNS: HOST:PORT:ADDR[,ADDR].
    ///
    /// Connects to these addresses for this host (* for any) and port instead of resolving the
    /// name. Can be given several times.
    #[arg(long, value_name = "RULE", value_parser = value_parsers::resolve, help_heading = "Request")]
    pub resolve: Vec<ResolveRule>,
    /// Connect over IPv4 only.
    #[arg(short = '4', long, conflicts_with = "ipv6", help_heading = "Request")]
    pub ipv4: bool,
    /// Connect over IPv6 only.
    #[arg(short = '6', long, help_heading = "Request")]
    pub ipv6: bool,
    /// Local address, or network interface.
    ///
    /// With an address, only addresses of its IP version are connected to. A name such as eth0
    /// works on Linux.
    #[arg(long, value_name = "ADDR", value_parser = value_parsers::interface, help_heading = "Request")]
    pub interface: Option<String>,
    /// Connect to public addresses only.
    ///
    /// Loopback, private, link-local, metadata and all other special addresses fail as denied,
    /// including those of redirects and of --resolve. Names are checked after resolution, and
    /// connections go to exactly the checked addresses. Proxies from the environment are ignored.
    #[arg(long, conflicts_with = "demo", help_heading = "Request")]
    pub deny_private: bool,
    /// Do not request compressed responses.
    #[arg(long, help_heading = "Request")]
    pub no_compression: bool,
    /// Keep content codings; do not decode bodies.
    ///
    /// By default gzip, br, zstd and deflate are decoded, except where the coding belongs to the
    /// file, as with a .tar.gz (by name or type). A coding that is kept is in the record, as
    /// content_encoding.
    #[arg(long, help_heading = "Request")]
    pub raw: bool,
    /// Use HTTP/1.1 only.
    #[arg(
        long = "http1.1",
        conflicts_with = "http2_prior_knowledge",
        help_heading = "Request"
    )]
    pub http1: bool,
    /// HTTP/2 without negotiation, even without TLS.
    #[arg(long, help_heading = "Request")]
    pub http2_prior_knowledge: bool,

    /// Save each body as a file below DIR; rerun to resume.
    ///
    /// Each body becomes a file below a directory named after its host, complete or not at all.
    /// DIR/fetchall.jsonl is the journal, with a record per URL: when the command is rerun, a URL
    /// that was fetched and whose file still has its size is skipped. Unfinished files are below
    /// DIR/.fetchall. To use a directory with a name like out.json, add a slash: out.json/.
    #[arg(short = 'o', long, value_name = "DIR", conflicts_with_all = ["body", "head"], help_heading = "Saving")]
    pub output_dir: Option<PathBuf>,
    /// Save all bodies in one WARC file (.warc, .warc.gz).
    ///
    /// Much faster than one file each when bodies are small. Rerun the command to resume. The
    /// format is WARC 1.1. The journal is FILE.jsonl; it has the position of each record.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output_dir", "body", "head"], help_heading = "Saving")]
    pub pack: Option<PathBuf>,
    /// Pack redirects and failed responses, too.
    ///
    /// Each is a response record of its own, with the first 256 KiB of its body as received. With
    /// no, the pack has only fetched bodies.
    #[arg(
        long,
        value_name = "WHETHER",
        default_value = "yes",
        requires = "pack",
        help_heading = "Saving"
    )]
    pub pack_failed: YesNoArg,
    /// Journal completed URLs; rerun to resume.
    ///
    /// For runs that do not save files.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "output_dir",
        help_heading = "Saving"
    )]
    pub journal: Option<PathBuf>,
    /// Re-fetch saved URLs only if they changed.
    ///
    /// Sends conditional requests (If-None-Match, If-Modified-Since).
    #[arg(long, requires = "saving", help_heading = "Saving")]
    pub refresh: bool,
    /// Give files the time of Last-Modified.
    ///
    /// A file that a server sends without Last-Modified has the time of the download.
    #[arg(
        short = 'R',
        long,
        requires = "output_dir",
        conflicts_with_all = ["pack", "journal"],
        help_heading = "Saving"
    )]
    pub remote_time: bool,
    /// Print the target file of each URL; fetch nothing.
    ///
    /// Each line is FILE, a tab, and the URL.
    #[arg(long, requires = "output_dir", conflicts_with_all = ["csv", "format", "pack", "journal"], help_heading = "Saving")]
    pub dry_run: bool,
    /// Check what was saved against the journal; fetch nothing.
    ///
    /// Compares each body with its size, and with its hashes where the journal or the list has them.
    /// Prints those that are missing or changed, one per line: which of the two, a tab, the file or
    /// URL, a tab, and the reason. Files in DIR that the journal does not name are listed on stderr.
    /// Without INPUT, the whole journal is checked, and stdin is not read.
    #[arg(long, requires = "remembering", conflicts_with_all = ["csv", "format", "dry_run", "demo", "refresh", "summary_json", "report", "failed", "email_to", "notify_cmd", "notify_url", "cookie_jar"], help_heading = "Saving")]
    pub verify: bool,
    /// Flush to disk before a URL counts as done (slower).
    ///
    /// Covers the body, its directory and the journal, so that all survive a power failure.
    #[arg(long, requires = "remembering", help_heading = "Saving")]
    pub sync: bool,
    /// Add the SHA-256 of each body to its record.
    #[arg(long, help_heading = "Saving")]
    pub sha256: bool,
    /// Add these hashes of each body to its record: md5,sha1.
    ///
    /// Comma-separated: md5, sha1, sha256, sha512. Hashes that the list or the server gives are in the
    /// record without this option.
    #[arg(
        long,
        value_name = "ALGO",
        value_delimiter = ',',
        help_heading = "Saving"
    )]
    pub hash: Vec<HashAlgorithm>,
    /// Fail other media types: 'image/*,application/pdf'.
    ///
    /// LIST is comma-separated. A body with another Content-Type, and a body that begins as an HTML
    /// page where no page or text is expected, fails (content_type) and is not saved. A missing
    /// Content-Type is accepted. An input line can have its own list (type).
    #[arg(long, value_name = "LIST", help_heading = "Saving")]
    pub expect_type: Option<ExpectedTypes>,

    /// Print one JSON record per URL.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Print CSV, one row per URL.
    ///
    /// The first row has the field names, which are those of the records. A cell that starts with
    /// =, +, -, @ (also full-width), a tab or a line break gets a leading apostrophe, so that no
    /// spreadsheet takes it for a formula.
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
    /// SIGUSR1 prints the current status, also with -q.
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
    /// proxy, timeout, stalled, reset, truncated, protocol, redirect, decode, content_type, slow, or
    /// a status from 400 to 599. The same list and seed give the same faults.
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

    /// Email the summary to these addresses.
    ///
    /// Sent when the run has ended, with the failures, and with the --report file if it is small.
    /// Separate addresses with commas. Without --smtp, sending is simulated: it takes three seconds
    /// and prints a message. A failed delivery is a warning and does not change the exit code.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = value_parsers::address, help_heading = "Notifications")]
    pub email_to: Vec<String>,
    /// Mail server, as smtps://USER@HOST[:PORT].
    ///
    /// smtps:// is implicit TLS (port 465), smtp:// is STARTTLS (port 587). The password comes from
    /// FETCHALL_SMTP_PASSWORD or a file. Use --cacert for a server with a private CA.
    /// smtp://HOST:PORT?tls=none is unencrypted; a password is sent that way only to this machine.
    #[arg(
        long,
        value_name = "URL",
        requires = "email_to",
        help_heading = "Notifications"
    )]
    pub smtp: Option<String>,
    /// File with the SMTP password.
    ///
    /// The password is its first line [default: the value of FETCHALL_SMTP_PASSWORD].
    #[arg(
        long,
        value_name = "FILE",
        requires = "smtp",
        help_heading = "Notifications"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// Sender address.
    ///
    /// [default: the user of --smtp, or fetchall@ its host]
    #[arg(long, value_name = "ADDR", requires = "smtp", value_parser = value_parsers::address, help_heading = "Notifications")]
    pub email_from: Option<String>,
    /// Run a shell command when done.
    ///
    /// It gets the JSON summary on stdin. Its environment has FETCHALL_RUN_OUTCOME (ok, failed,
    /// broken, or after a signal or a closed stdout interrupted), FETCHALL_RUN_EXIT_CODE and the
    /// counts FETCHALL_RUN_INPUT, _FETCHED, _FAILED, _SKIPPED and _LEFT. Variables that may hold a
    /// secret, such as FETCHALL_USER, are removed, and proxies lose their credentials. Its output
    /// goes to stderr. It is killed after 60 s; a failure is a warning.
    #[arg(long, value_name = "CMD", help_heading = "Notifications")]
    pub notify_cmd: Option<String>,
    /// The sections of the config files for single hosts.
    #[arg(skip)]
    pub hosts: Vec<host_sections::HostSection>,
    /// POST the JSON summary to this URL.
    ///
    /// Sent when the run has ended. Any status other than 2xx is a warning.
    #[arg(long, value_name = "URL", value_parser = value_parsers::http_url, help_heading = "Notifications")]
    pub notify_url: Option<Url>,
}
