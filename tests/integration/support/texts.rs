//! Collects messages for a snapshot and replaces what differs between runs.

use std::fmt::{self, Display, Formatter};

/// Messages for one snapshot, each below the cases that produce it.
#[derive(Default)]
pub struct Texts {
    listing: Vec<(Vec<String>, String)>,
    hidden: Vec<(String, &'static str)>,
}

impl Texts {
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a text by `placeholder` in all messages added from now on.
    pub fn hide(&mut self, text: impl Display, placeholder: &'static str) {
        self.hidden.push((text.to_string(), placeholder));
    }

    /// Adds a message. If it is already in the listing, only adds its case.
    pub fn add(&mut self, case: impl Display, message: &str) {
        let (case, message) = (
            self.shown(&case.to_string()),
            self.shown(message.trim_end()),
        );
        let mut listing = self.listing.iter_mut();
        match listing.find(|(_, known)| *known == message) {
            Some((cases, _)) if cases.contains(&case) => {}
            Some((cases, _)) => cases.push(case),
            None => self.listing.push((vec![case], message)),
        }
    }

    fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (hidden, placeholder) in &self.hidden {
            text = text.replace(hidden, placeholder);
        }
        same_everywhere(&text)
    }
}

impl Display for Texts {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (cases, message) in &self.listing {
            for case in cases {
                writeln!(formatter, "{case}")?;
            }
            for line in message.lines() {
                writeln!(formatter, "{}", format!("    {line}").trim_end())?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// Replaces ports that the system chose, temporary names and numbers of system errors.
pub fn same_everywhere(text: &str) -> String {
    hide_errors(&hide_ports(&hide_temporary_names(text)))
}

/// Returns stderr without the parts of the summary that differ between runs.
pub fn said(stderr: &str) -> String {
    let mut lines = Vec::new();
    let mut is_summary = false;
    for line in stderr.lines() {
        is_summary |= line.contains(" fetched, ");
        match line.split_once(" in ") {
            Some((bytes, rest)) if is_summary => {
                // All that follows are times, except for the number of retries.
                let rest = rest.split_once(';').map_or(rest, |(rest, _)| rest);
                let retries = rest.find(", ").map_or("", |at| &rest[at..]);
                lines.push(format!("{bytes} in TIME{retries}"));
                is_summary = false;
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// Returns the log messages with the field `about` (`host` or `url`), without times and without
/// the fields.
pub fn logged(stderr: &str, about: &str) -> String {
    let about = format!(" {about}=");
    let lines = stderr.lines().filter_map(|line| line.split_once(&about));
    let mut texts: Vec<_> = lines
        .filter_map(|(line, _)| line.split_once(" INFO ").map(|(_, text)| text))
        .collect();
    texts.dedup();
    assert!(!texts.is_empty(), "nothing about{about}: {stderr}");
    let without_times = |text: &str| {
        let is_time = |word: &str| word.starts_with(char::is_numeric) && word.ends_with('s');
        let shown = text
            .split(' ')
            .map(|word| if is_time(word) { "TIME" } else { word });
        shown.collect::<Vec<_>>().join(" ")
    };
    let texts: Vec<_> = texts.into_iter().map(without_times).collect();
    texts.join("\n")
}

/// Replaces ports of five digits, which the system chose.
fn hide_ports(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(':') {
        shown.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let is_port = digits == 5;
        shown.push_str(if is_port { ":PORT" } else { ":" });
        rest = if is_port { &after[digits..] } else { after };
    }
    shown + rest
}

/// Replaces error numbers, which differ between systems.
fn hide_errors(text: &str) -> String {
    let mut parts = text.split("(os error ");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("(os error N");
        shown.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    shown
}

/// Replaces paths of `tempfile`: the temporary directory, `.tmp` and a random name.
fn hide_temporary_names(text: &str) -> String {
    let dir = std::env::temp_dir().display().to_string();
    let start = format!("{}/.tmp", dir.trim_end_matches('/'));
    let mut parts = text.split(&start);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let random = part.bytes().take_while(u8::is_ascii_alphanumeric).count();
        shown.push_str("TMP");
        shown.push_str(&part[random..]);
    }
    shown
}
