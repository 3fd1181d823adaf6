//! The help and man page sections below the options.

use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Styles};

/// Colours of help and of `--explain`.
pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Commands and what they do. The first [`SHORT_HELP_EXAMPLES`] are also in the short help.
pub(super) const EXAMPLES: [(&str, &str); 11] = [
    ("fetchall urls.txt", "fetch every URL of a list"),
    ("fetchall urls.txt -o pages", "save bodies; rerun to resume"),
    (
        "fetchall https://example.com/ --json",
        "one URL, as a JSON record",
    ),
    ("fetchall --demo", "try it without a network"),
    (
        "fetchall files.csv.gz",
        "a compressed table with url, size and sha256",
    ),
    (
        "grep -o 'https*://[^\"]*' page.html | fetchall",
        "check the links of a page",
    ),
    (
        "fetchall urls.txt --failed again.txt",
        "keep the failed lines for a rerun",
    ),
    (
        "fetchall urls.txt --simulate-failure",
        "inject faults into 30 % of all requests",
    ),
    (
        "fetchall urls.txt --timeline --report run.html",
        "draw a timeline and write an HTML report",
    ),
    (
        "fetchall --explain truncated",
        "what an error means, and what to do",
    ),
    ("fetchall --print-config", "every setting and its source"),
];
/// Number of examples in the short help.
const SHORT_HELP_EXAMPLES: usize = 4;

pub(super) const EXIT_CODES: [(&str, &str); 6] = [
    ("0", "all fetched, or already done by an earlier run"),
    ("1", "some failed or were left (--failures-ok: only left)"),
    ("2", "usage error or unreadable input"),
    ("3", "the run failed: unwritable output, full disk"),
    ("130, 143", "interrupted by Ctrl-C or SIGTERM"),
    ("141", "stdout was closed"),
];

pub(super) const ENVIRONMENT: [(&str, &str); 7] = [
    (
        "FETCHALL_<OPTION>",
        "sets an option, such as FETCHALL_CONCURRENCY=16; switches take 1, true, 0 or false; separate several values with line breaks; an empty variable is ignored",
    ),
    (
        "FETCHALL_USER",
        "USER:PASSWORD for -u, taken literally (no :@FILE) and never shown",
    ),
    (
        "FETCHALL_CONFIG, FETCHALL_NO_CONFIG",
        "same as --config and --no-config",
    ),
    (
        "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY",
        "proxies, unless -x is given",
    ),
    ("NO_COLOR", "disables colour if not empty"),
    ("RUST_LOG", "log filter; overrides -v"),
    (
        "XDG_CONFIG_HOME",
        "the user's config directory [default: ~/.config]",
    ),
];

pub(super) const FILES: [(&str, &str); 3] = [
    (
        "~/.config/fetchall/fetchall.toml",
        "user settings, with long option names as keys: concurrency = 16, header = [\"A: b\"], json = true",
    ),
    (
        "/etc/fetchall.toml",
        "system settings; user settings override them",
    ),
    (
        "DIR/fetchall.jsonl",
        "the journal of -o DIR; unfinished files are below DIR/.fetchall",
    ),
];

/// How the sources of settings override each other.
pub(super) const PRECEDENCE: &str = "Precedence: command line, environment, config files, defaults. A setting that conflicts with an option on the command line is ignored.";

/// The end of the short help, in lines of at most 80 columns.
pub(super) fn short() -> StyledStr {
    let mut text = String::new();
    heading(&mut text, "Examples:");
    for (example, what) in EXAMPLES.iter().take(SHORT_HELP_EXAMPLES) {
        text.push_str(&format!("  {example:<38} {what}\n"));
    }
    text.push_str(
        "\nExit codes: 0 all fetched, 1 some failed, 2 usage, 3 run failed. More: --help",
    );
    text.into()
}

/// The end of the long help.
pub(super) fn long() -> StyledStr {
    let mut text = String::new();
    heading(&mut text, "Examples:");
    for (example, what) in EXAMPLES {
        text.push_str(&format!("  {example}\n          {what}\n"));
    }
    text.push('\n');
    heading(&mut text, "Exit codes:");
    for (code, what) in EXIT_CODES {
        text.push_str(&format!("  {code:<8}  {what}\n"));
    }
    for (title, rows) in [("Environment:", &ENVIRONMENT[..]), ("Files:", &FILES[..])] {
        text.push('\n');
        heading(&mut text, title);
        for (name, what) in rows {
            text.push_str(&format!("  {name}\n          {what}\n"));
        }
    }
    text.push_str(&format!("\n{PRECEDENCE}"));
    text.into()
}

/// Appends a heading in the style of clap's.
fn heading(text: &mut String, title: &str) {
    let style = STYLES.get_header();
    text.push_str(&format!("{style}{title}{style:#}\n"));
}
