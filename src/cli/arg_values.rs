//! Values of options that are one of a few words.

use clap::ValueEnum;

/// When results are coloured: `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Names of the format of manifests. One is shown, because the length of a hash tells its algorithm.
pub(super) const MANIFEST_FORMATS: [&str; 4] = ["sha256sums", "md5sums", "sha1sums", "sha512sums"];

/// Format of the input: `--input-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormatArg {
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
pub(crate) enum SchemeArg {
    /// http://
    Http,
    /// https://
    Https,
}

/// Progress display: `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
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
pub(crate) enum GenerateArg {
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
pub(crate) enum YesNoArg {
    /// Yes.
    Yes,
    /// No.
    No,
}
