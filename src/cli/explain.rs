//! `--explain`: what an error kind or status means, and what to do about it.

use clap::ArgMatches;
use fetchall::program::similar_name;
use fetchall::{ErrorKind, FetchError};
use http::StatusCode;

use super::arg_values::ColorArg;
use super::help::STYLES;
use super::redact;
use super::terminal::wants_color;

/// One section per error kind; the section `status` has a subsection per documented status.
const PAGES: &str = include_str!("../../docs/errors.md");

/// Maximum line length, in columns.
const PAGE_WIDTH: usize = 80;

/// Returns the page of an error kind, status or class of statuses, or the list of all kinds. Styled if stdout is a
/// terminal.
///
/// # Errors
/// When `kind` is unknown. The message suggests the most similar kind and lists all of them.
pub(super) fn page(kind: Option<&str>, line: &ArgMatches) -> Result<String, String> {
    let when = line
        .get_one::<ColorArg>("color")
        .copied()
        .unwrap_or(ColorArg::Auto);
    let page = match kind {
        None => list(),
        Some(kind) => of(kind)?,
    };
    Ok(plain(&page, wants_color(when, &std::io::stdout())))
}

fn of(kind: &str) -> Result<String, String> {
    if let Some(section) = section(PAGES, "## ", kind) {
        let text = match section.split_once("\n### ") {
            Some((text, _)) => text.trim_end(),
            None => section,
        };
        return Ok(format!("## {kind}\n{text}\n"));
    }
    if let Some(status) = status(kind) {
        return Ok(status_page(status));
    }
    if let Some(class) = class(kind) {
        return Ok(class_page(class));
    }
    let kinds: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let meant = match similar_name(kind, kinds.iter().copied()) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => String::new(),
    };
    Err(format!(
        "{}: unknown error kind{meant}\nexpected a status such as 429, a class such as 5xx, or one of {}",
        redact::value(kind).escape_debug(),
        kinds.join(", ")
    ))
}

/// Parses `404` or `404 Not Found`.
fn status(text: &str) -> Option<StatusCode> {
    let number = text.split(' ').next()?.parse().ok()?;
    StatusCode::from_u16(number).ok().filter(|_| number < 600)
}

/// Parses `5xx`.
fn class(text: &str) -> Option<u16> {
    let digit = text.to_ascii_lowercase().strip_suffix("xx")?.parse().ok()?;
    (1..=5).contains(&digit).then_some(digit)
}

fn class_page(class: u16) -> String {
    let first = class * 100;
    let meaning = meaning(first);
    let mut page = format!("## {class}xx\n\n{meaning}\n");
    if class < 4 {
        return page;
    }
    let retried = (first..first + 100).filter(|number| {
        StatusCode::from_u16(*number).is_ok_and(|status| failure(status).is_transient())
    });
    let retried: Vec<_> = retried.map(|number| number.to_string()).collect();
    page.push_str(&format!(
        "\n- **Retried**: {}; the others only if `--retry-on` includes them, as in `--retry-on {class}xx`.\n- **Rehearse**: `fetchall urls.txt --simulate-failure={first}=30%`\n- **More**: `fetchall --explain status`, or one status, such as `fetchall --explain {first}`\n",
        retried.join(", ")
    ));
    page
}

fn failure(status: StatusCode) -> FetchError {
    FetchError::Status {
        status,
        retry_after: None,
        note: None,
    }
}

/// Says what a status means that has no section of its own.
fn meaning(status: u16) -> &'static str {
    match status {
        100..=199 => "An interim response; fetchall waits for the final one.",
        202 => {
            "Not an error without Retry-After: the URL was fetched. With Retry-After the content is not ready yet: a GET or HEAD is repeated after that delay. That uses up no retry, and fails (status) once --max-wait is over."
        }
        200..=299 => "Not an error: the URL was fetched.",
        304 => {
            "The page has not changed. Not an error with --refresh; otherwise a failure (status)."
        }
        300..=399 => {
            "A redirect. It is followed if it has a valid Location; as a final response it is a failure (status)."
        }
        400..=499 => "The server rejected the request: check the URL, method and headers.",
        _ => "The server, or a proxy in front of it, failed.",
    }
}

fn status_page(status: StatusCode) -> String {
    let number = status.as_str();
    let reason = status.canonical_reason().unwrap_or("unregistered status");
    let words = section(PAGES, "## ", "status").and_then(|all| section(all, "### ", number));
    let words = words.unwrap_or(meaning(status.as_u16()));
    let mut page = format!("## {number} {reason}\n\n{}\n", words.trim());
    if status.is_client_error() || status.is_server_error() {
        let again = if matches!(status.as_u16(), 429 | 503) {
            "yes, up to `--retries` times; a wait that the server requests uses up no retry, unless only this URL is refused"
        } else if failure(status).is_transient() {
            "yes, up to `--retries` times"
        } else if status == StatusCode::FORBIDDEN {
            "only with Retry-After, or if `--retry-on` includes it"
        } else {
            "no, unless `--retry-on` includes it"
        };
        page.push_str(&format!(
            "\n- **Retried**: {again}.\n- **Rehearse**: `fetchall urls.txt --simulate-failure={number}=30%`\n- **More**: `fetchall --explain status`\n"
        ));
    }
    page
}

/// Returns the text below a heading, up to the next one with the same `mark`.
fn section<'t>(text: &'t str, mark: &str, name: &str) -> Option<&'t str> {
    let heading = format!("\n{mark}{name}\n");
    let (_, rest) = text.split_once(&heading)?;
    let end = rest.find(&format!("\n{mark}")).unwrap_or(rest.len());
    rest.get(..end)
}

/// Lists every kind with its first sentence.
fn list() -> String {
    let mut page = String::from("## Error kinds\n\n");
    for kind in ErrorKind::ALL {
        let section = section(PAGES, "## ", kind.as_str()).unwrap_or_default();
        let first = section.trim().lines().next().unwrap_or_default();
        page.push_str(&format!("  {kind:<16} {first}\n"));
    }
    page.push_str(
        "\nDetails: `fetchall --explain KIND`, or a status such as `fetchall --explain 429`\n",
    );
    page
}

/// Renders Markdown as plain or styled text. Commands are not wrapped, so that they can be copied;
/// neither are indented lines, which are table rows.
fn plain(page: &str, styled: bool) -> String {
    let style = STYLES.get_header();
    let bold = |text: &str| {
        if styled {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    };
    let mut text = String::new();
    for line in page.lines() {
        let line = line.replace('`', "");
        if let Some(title) = line.strip_prefix("## ") {
            text.push_str(&bold(title));
        } else if let Some((label, rest)) = line
            .strip_prefix("- **")
            .and_then(|line| line.split_once("**"))
        {
            let rest = if label == "Rehearse" {
                rest.to_owned()
            } else {
                wrapped(rest, label.len())
            };
            text.push_str(&format!("{}{rest}", bold(label)));
        } else if line.starts_with(' ') {
            text.push_str(&line);
        } else {
            text.push_str(&wrapped(&line, 0));
        }
        text.push('\n');
    }
    text
}

/// Wraps a line at [`PAGE_WIDTH`]. `before` is the length of the label in front of it; with a
/// label, continuation lines are indented.
fn wrapped(line: &str, before: usize) -> String {
    let mut text = String::new();
    let mut column = before;
    let indent = if before > 0 { "  " } else { "" };
    for (index, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > PAGE_WIDTH {
            text.push('\n');
            text.push_str(indent);
            column = indent.len();
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn headings(mark: &str) -> Vec<&'static str> {
        PAGES
            .lines()
            .filter_map(|line| line.strip_prefix(mark))
            .collect()
    }

    #[test]
    fn every_kind_has_its_section_and_every_section_its_kind_in_the_same_order() {
        let kinds: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(headings("## "), kinds);
    }

    #[test]
    fn every_kind_has_a_row_in_the_table_of_results() {
        let docs = include_str!("../../docs/results.md");
        let (_, table) = docs.split_once("| kind | meaning |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let cells = table.lines().filter_map(|row| row.split('|').nth(1));
        let named: BTreeSet<_> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let kinds: BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(named, kinds);
    }

    #[test]
    fn every_section_says_what_it_means_and_what_to_do() {
        for kind in ErrorKind::ALL {
            let page = of(kind.as_str()).unwrap();
            for label in ["Means", "Retried", "Next", "Flags", "Rehearse"] {
                assert!(
                    page.contains(&format!("\n- **{label}**: ")),
                    "{kind}: {label}"
                );
            }
        }
    }

    #[test]
    fn every_status_section_is_one_of_an_error() {
        let statuses = headings("### ");
        assert!(statuses.len() > 15);
        for text in statuses {
            let status = status(text).unwrap();
            assert!(status.as_u16() >= 400, "{text}");
            assert!(
                !status_page(status).contains("rejected the request:"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_retried_is_told_as_it_is_done() {
        for status in 400..600 {
            let page = of(&status.to_string()).unwrap();
            let error = failure(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                page.contains("Retried**: yes"),
                error.is_transient(),
                "{status}"
            );
        }
    }
}
