//! The options of saving and of checks of what is saved.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use fetchall::{ExpectedTypes, HashAlgorithm};

use super::arg_values::YesNoArg;
use super::value_parsers;

/// `{n}` for help texts. clap takes it for a line break unless something stands within: here, what
/// resets the style of a terminal, which clap removes elsewhere.
macro_rules! number {
    () => {
        "{\u{1b}[0mn}"
    };
}

/// Where bodies and the journal are saved, and how bodies are checked.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SavingArgs {
    /// Save each body as a file below DIR; rerun to resume.
    ///
    /// Each body becomes a file below a directory named after its host, complete or not at all.
    /// DIR/fetchall.jsonl is the journal, with a record per URL: when the command is rerun, a URL
    /// that was fetched and whose file still has its size is skipped. Unfinished files are below
    /// DIR/.fetchall. To use a directory with a name like out.json, add a slash: out.json/.
    #[arg(short = 'o', long, value_name = "DIR", conflicts_with_all = ["body", "head"], help_heading = "Saving")]
    pub output_dir: Option<PathBuf>,
    /// Save all bodies in one file (.warc, .warc.gz, .tar).
    #[arg(long, value_name = "FILE", long_help = concat!("Save all bodies in one file (.warc, .warc.gz, .tar).

Much faster than one file each when bodies are small. Rerun the command to resume. The format is WARC 1.1, or \
for .tar that of WebDataset: KEY.EXT and KEY.json (the record) of each fetched URL. The journal is FILE.jsonl; it \
has the position of each record. With ", number!(), " in its name, FILE stands for several: see --pack-size."), conflicts_with_all = ["output_dir", "body", "head"], help_heading = "Saving")]
    pub pack: Option<PathBuf>,
    /// Begin the next pack at this size [default: 1GB].
    #[arg(long, value_name = "SIZE", long_help = concat!("Begin the next pack at this size [default: 1GB].

For --pack 'x-", number!(), ".warc.gz', where ", number!(), " is the number of the pack, from 00000. A pack has its \
name with .part until it is complete and was read through."), value_parser = value_parsers::size, requires = "pack", help_heading = "Saving")]
    pub pack_size: Option<u64>,
    /// Run a shell command for each finished pack.
    #[arg(long, value_name = "CMD", long_help = concat!("Run a shell command for each finished pack.

For --pack 'x-", number!(), ".warc.gz'. Its environment has FETCHALL_RUN_PACK (the path), FETCHALL_RUN_PACK_BYTES, \
_RECORDS and _SHA256, and no variable that may hold a secret of the run. Two run at a time. A pack is delivered \
when the command exits 0, and may be removed then. One that fails is run again after 1, 2 and 4 s, one that takes \
an hour is killed. If it fails for good, the run ends (exit code 3), keeps the pack, and the next run delivers it \
first."), requires = "pack", help_heading = "Saving")]
    pub pack_done: Option<String>,
    /// Write a CDXJ index beside each pack.
    #[arg(long, long_help = concat!("Write a CDXJ index beside each pack.

FILE.cdxj is sorted and has a line for each response, as pywb reads it. A pack without ", number!(), " gets it at \
the end of the run."), requires = "pack", help_heading = "Saving")]
    pub cdxj: bool,
    /// Column to store as KEY.txt beside each body (tar).
    ///
    /// For --pack x.tar and a table or JSON Lines. The column is kept as with --keep-columns. A line
    /// without a value has no KEY.txt.
    #[arg(long, value_name = "NAME", value_parser = value_parsers::column, requires = "pack", help_heading = "Saving")]
    pub caption_column: Option<String>,
    /// Pack redirects and failed responses, too.
    ///
    /// Each is a response record of its own, with the first 256 KiB of its body as received. With
    /// no, the pack has only fetched bodies. A tar never has others.
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
    /// Fetch large bodies in segments: auto, or at most N.
    ///
    /// Several requests bring parts of one body at the same time, if slots are free that no other URL
    /// could use, the server takes ranges, and that makes the body come faster. auto is up to 16.
    /// A host that has answered 429 or 503 gets one request for each URL.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = value_parsers::segments,
        requires = "output_dir",
        conflicts_with_all = ["pack", "journal"],
        help_heading = "Saving"
    )]
    pub segments: NonZeroUsize,
    /// Print the target file of each URL; fetch nothing.
    ///
    /// Each line is FILE, a tab, and the URL. With --shard, stderr says how large the shards of the list
    /// are, which hosts are the largest, and how long they take at least.
    #[arg(long, requires = "planning", conflicts_with_all = ["csv", "format", "pack", "journal"], help_heading = "Saving")]
    pub dry_run: bool,
    /// Check what was saved against the journal; fetch nothing.
    ///
    /// Compares each body with its size, and with its hashes where the journal or the list has them.
    /// Prints those that are missing or changed, one per line: which of the two, a tab, the file or
    /// URL, a tab, and the reason. Files in DIR that the journal does not name are listed on stderr.
    /// Without INPUT, the whole journal is checked, and stdin is not read.
    #[arg(long, requires = "remembering", conflicts_with_all = ["csv", "format", "dry_run", "demo", "refresh", "summary_json", "report", "failed", "email_to", "notify_cmd", "notify_url", "cookie_jar", "pack_done"], help_heading = "Saving")]
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
}
