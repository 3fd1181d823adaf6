//! What stands below the options in the help and in the man page.

use clap::builder::StyledStr;

use super::STYLES;

/// Commands, and what they do; the first ones stand in the short help, too.
pub const EXAMPLES: [(&str, &str); 11] = [
    ("fetchall urls.txt", "fetch every URL of a list"),
    (
        "fetchall urls.txt -o pages",
        "save each body; again: what is missing",
    ),
    (
        "fetchall https://example.com/ --json",
        "one URL, its record as JSON",
    ),
    ("fetchall --demo", "see it at work, without a network"),
    (
        "fetchall files.csv.gz",
        "a table with url, size and sha256, packed",
    ),
    (
        "grep -o 'https*://[^\"]*' page.html | fetchall",
        "check the links of a page",
    ),
    (
        "fetchall urls.txt --failed again.txt",
        "keep the failing lines; feed them back later",
    ),
    (
        "fetchall urls.txt --simulate-failure",
        "rehearse: 30 % of all requests fail",
    ),
    (
        "fetchall urls.txt --timeline --report run.html",
        "see how it went, in the terminal and in a browser",
    ),
    (
        "fetchall --explain truncated",
        "what an error means, and what to do",
    ),
    (
        "fetchall --print-config",
        "every setting, and where it comes from",
    ),
];
/// Examples in the short help.
const SHORT_HELP_EXAMPLES: usize = 4;

pub const EXIT_CODES: [(&str, &str); 6] = [
    (
        "0",
        "all fetched, or skipped since an earlier run had done it",
    ),
    ("1", "some failed, or were left"),
    ("2", "usage, or an input that can't be read"),
    (
        "3",
        "the run itself broke: an output that can't be written, a full disk",
    ),
    ("130, 143", "interrupted by Ctrl-C, by SIGTERM"),
    ("141", "stdout was closed"),
];

pub const ENVIRONMENT: [(&str, &str); 7] = [
    (
        "FETCHALL_<OPTION>",
        "sets an option, such as FETCHALL_CONCURRENCY=16; a switch by 1 or true, and off by 0 or false; several values stand in lines; an empty one counts as absent",
    ),
    (
        "FETCHALL_USER",
        "USER:PASSWORD for -u, taken as it is and never shown",
    ),
    (
        "FETCHALL_CONFIG, FETCHALL_NO_CONFIG",
        "as --config and --no-config",
    ),
    (
        "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY",
        "proxies, without -x",
    ),
    ("NO_COLOR", "no colour, if not empty"),
    ("RUST_LOG", "which log lines are shown, as -v"),
    (
        "XDG_CONFIG_HOME",
        "the user's folder of configurations, else ~/.config",
    ),
];

pub const FILES: [(&str, &str); 3] = [
    (
        "~/.config/fetchall/fetchall.toml",
        "settings of the user: the long names of options, such as concurrency = 16, header = [\"A: b\"], json = true",
    ),
    (
        "/etc/fetchall.toml",
        "settings of the machine, below those of the user",
    ),
    (
        "DIR/fetchall.jsonl",
        "the journal of -o DIR; what is on its way is below DIR/.fetchall",
    ),
];

/// What beats what.
pub const PRECEDENCE: &str = "An option beats the environment, the environment a file, and a file the default. What can't be used together with an option that is given gives way to it.";

/// What follows the short help: few lines, none longer than 80 columns.
pub fn short() -> StyledStr {
    let mut text = String::new();
    heading(&mut text, "Examples:");
    for (example, what) in EXAMPLES.iter().take(SHORT_HELP_EXAMPLES) {
        text.push_str(&format!("  {example:<38} {what}\n"));
    }
    text.push_str(
        "\nExit codes: 0 all fetched, 1 some failed, 2 usage, 3 the run broke. More: --help",
    );
    text.into()
}

/// What follows the long help.
pub fn long() -> StyledStr {
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

/// As clap writes its own.
fn heading(text: &mut String, title: &str) {
    let style = STYLES.get_header();
    text.push_str(&format!("{style}{title}{style:#}\n"));
}
