//! Why a command line that clap accepts is invalid.

use std::io;
use std::path::PathBuf;

use fetchall::SpecError;

use super::options::SettingError;

/// Invalid options, as far as clap cannot detect that.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Nothing to fetch.
    #[error(
        "no input: name a file or a URL, or pipe in a list\nto try it without a network: fetchall --demo"
    )]
    NoInput,
    /// `--simulate-failure`.
    #[error("--simulate-failure: {0}")]
    Spec(SpecError),
    /// `--retry-on`.
    #[error("--retry-on: {0}")]
    RetryOn(SpecError),
    /// `--shard`.
    #[error("--shard: {0}")]
    Shard(String),
    /// `--merge` without files.
    #[error("--merge: name the journals of all shards, such as DIR/*.jsonl")]
    NoJournals,
    /// `--merge` with a file twice.
    #[error("--merge: {} is named twice; name each journal once", .0.display())]
    MergedTwice(PathBuf),
    /// `--shard` with a list twice.
    #[error("--shard: {} is named twice; its lines would have the same numbers, and --merge could not tell them apart", .0.display())]
    ShardedTwice(PathBuf),
    /// `--split` with a URL.
    #[error("--split: only a list can be split, not a URL; put the URLs into a file")]
    SplitsUrl,
    /// An output file is also an input.
    #[error("--{option} {}: would overwrite an input; name another file", path.display())]
    WritesInput { option: &'static str, path: PathBuf },
    /// An input would grow while it is read.
    #[error("{}: is an input that this run would append to; copy it first", .0.display())]
    SavedIsInput(PathBuf),
    /// An output file is used for something else already.
    #[error("--{option} {}: {by} writes to the same file; name another", path.display())]
    WritesOutput {
        option: &'static str,
        path: PathBuf,
        by: &'static str,
    },
    /// An output other than the results would go to stdout.
    #[error("--{option} -: stdout carries results only; name a file")]
    WritesStdout { option: &'static str },
    /// `-d @FILE`, and the file cannot be read.
    #[error("cannot read the request body from {name}: {cause}")]
    Data { name: String, cause: io::Error },
    /// An option whose value may hold a secret.
    #[error("{option}: {message}")]
    Secret {
        option: &'static str,
        message: String,
    },
    /// `-w`.
    #[error("--format: {0}")]
    Template(String),
    /// `-w @FILE`, and the file cannot be read.
    #[error("--format: cannot read the template from {name}: {cause}")]
    TemplateFile { name: String, cause: io::Error },
    /// stdin is not readable.
    #[error("cannot read stdin: it is open for writing only")]
    StdinForWriting,
    /// `-` twice.
    #[error("stdin can be read only once; put one of the lists in a file")]
    StdinTwice,
    /// An option reads stdin, and so does a list or another option.
    #[error("--{option}: cannot read stdin, which {other} reads, too; name {instead}")]
    StdinIsTaken {
        option: &'static str,
        other: &'static str,
        instead: &'static str,
    },
    /// An output path is a URL.
    #[error(
        "--{option} {}: expected a path, not a URL; to fetch the URL: fetchall URL --{option} PATH",
        path.display()
    )]
    WritesUrl { option: &'static str, path: PathBuf },
    /// `-o` with a path that cannot be a directory, or is most likely not meant as one.
    #[error("--output-dir {}: {wrong}", path.display())]
    OutputDir { path: PathBuf, wrong: String },
    /// `--pack` with a name that cannot be used.
    #[error("--pack {}: {wrong}", path.display())]
    PackName { path: PathBuf, wrong: String },
    /// An option for a series of packs, and a single pack.
    #[error("--{option}: is for packs with numbers; write --pack '{}'", instead.display())]
    PackWithoutNumber {
        option: &'static str,
        instead: PathBuf,
    },
    /// An option for packs of another format.
    #[error("--{option}: is for {format} packs; write --pack '{}'", instead.display())]
    PackFormat {
        option: &'static str,
        format: &'static str,
        instead: PathBuf,
    },
    /// `--base-url` without a manifest.
    #[error("--base-url: only a manifest has one; add --input-format sha256sums")]
    UnusedBaseUrl,
    /// `--keep-columns` with a name twice.
    #[error(
        "--keep-columns: {second} is the same column as {first}, since names count in any case; name it once"
    )]
    KeptTwice { first: String, second: String },
    /// A section of a config file for one host.
    #[error(transparent)]
    Host(#[from] SettingError),
    /// An input that does not exist, and is most likely a mistake.
    #[error("{0}")]
    Input(String),
}

impl UsageError {
    /// Returns the clap id and the long name of the option whose value is invalid.
    pub fn option(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Spec(_) => Some(("simulate_failure", "simulate-failure")),
            Self::Shard(_) => Some(("shard", "shard")),
            Self::SplitsUrl => Some(("split", "split")),
            Self::RetryOn(_) => Some(("retry_on", "retry-on")),
            Self::WritesInput { option, .. }
            | Self::WritesOutput { option, .. }
            | Self::WritesUrl { option, .. }
            | Self::StdinIsTaken { option, .. }
            | Self::PackWithoutNumber { option, .. }
            | Self::PackFormat { option, .. }
            | Self::WritesStdout { option } => id(option).map(|id| (id, *option)),
            Self::Template(_) | Self::TemplateFile { .. } => Some(("format", "format")),
            Self::Data { .. } => Some(("data", "data")),
            Self::UnusedBaseUrl => Some(("base_url", "base-url")),
            Self::PackName { .. } => Some(("pack", "pack")),
            Self::KeptTwice { .. } => Some(("keep_columns", "keep-columns")),
            Self::OutputDir { .. } => Some(("output_dir", "output-dir")),
            Self::Secret { option, .. } => match *option {
                "--header" => Some(("headers", "header")),
                "--cert" => Some(("cert", "cert")),
                "--cookie" => Some(("cookie", "cookie")),
                "--cookie-jar" => Some(("cookie_jar", "cookie-jar")),
                "--netrc" => Some(("netrc_file", "netrc-file")),
                "--user" => Some(("user", "user")),
                "--proxy" => Some(("proxy", "proxy")),
                "--proxy-user" => Some(("proxy_user", "proxy-user")),
                "--smtp" => Some(("smtp", "smtp")),
                "--retry-on" => Some(("retry_on", "retry-on")),
                "--simulate-failure" => Some(("simulate_failure", "simulate-failure")),
                _ => None,
            },
            Self::NoInput
            | Self::NoJournals
            | Self::MergedTwice(_)
            | Self::ShardedTwice(_)
            | Self::SavedIsInput(_)
            | Self::StdinForWriting
            | Self::StdinTwice
            | Self::Host(_)
            | Self::Input(_) => None,
        }
    }
}

/// Returns the clap id of an option, given by its long name.
fn id(option: &str) -> Option<&'static str> {
    Some(match option {
        "cacert" => "cacert",
        "caption-column" => "caption_column",
        "cdxj" => "cdxj",
        "cert" => "cert",
        "key" => "key",
        "cookie" => "cookie",
        "cookie-jar" => "cookie_jar",
        "netrc-file" => "netrc_file",
        "config" => "config",
        "data" => "data",
        "failed" => "failed",
        "format" => "format",
        "header" => "headers",
        "into" => "into",
        "journal" => "journal",
        "output-dir" => "output_dir",
        "pack" => "pack",
        "pack-done" => "pack_done",
        "pack-size" => "pack_size",
        "proxy-user" => "proxy_user",
        "report" => "report",
        "smtp-password-file" => "smtp_password_file",
        "summary-json" => "summary_json",
        "user" => "user",
        _ => return None,
    })
}
