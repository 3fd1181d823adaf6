//! Messages for a snapshot: what differs from run to run is replaced.

use std::fmt::{self, Display, Formatter};

/// Messages of one kind, each under what led to it.
#[derive(Default)]
pub struct Texts {
    listing: String,
    hidden: Vec<(String, &'static str)>,
}

impl Texts {
    pub fn new() -> Self {
        Self::default()
    }

    /// `placeholder` stands for this text in every message that is added from now on.
    pub fn hide(&mut self, text: impl Display, placeholder: &'static str) {
        self.hidden.push((text.to_string(), placeholder));
    }

    pub fn add(&mut self, case: impl Display, message: &str) {
        let mut text = format!("{case}\n{}", message.trim_end());
        for (hidden, placeholder) in &self.hidden {
            text = text.replace(hidden, placeholder);
        }
        let text = hide_ports(&hide_temporary_names(&text));
        if !self.listing.is_empty() {
            self.listing.push('\n');
        }
        self.listing.push_str(&text.replace('\n', "\n    "));
        self.listing.push('\n');
    }
}

impl Display for Texts {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.listing)
    }
}

/// The lines that tell of this, of all that was said.
pub fn lines_of(said: &str, about: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| line.contains(about)).collect();
    assert!(!lines.is_empty(), "nothing about {about}: {said}");
    lines.join("\n")
}

/// The summary at the end of what was said, as far as it is the same each time.
pub fn summary(said: &str) -> String {
    let from = said.lines().skip_while(|line| !line.contains(" fetched, "));
    let mut lines = Vec::new();
    for line in from {
        let Some((bytes, rest)) = line.split_once(" in ") else {
            lines.push(line.to_owned());
            continue;
        };
        // What follows are times, too, but for the retries.
        let rest = rest.split_once(';').map_or(rest, |(rest, _)| rest);
        let retries = rest.find(", ").map_or("", |at| &rest[at..]);
        lines.push(format!("{bytes} in TIME{retries}"));
        break;
    }
    assert!(!lines.is_empty(), "no summary: {said}");
    lines.join("\n")
}

/// A port that the system chose has five digits.
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

/// Those of `tempfile`: the folder of the system, and a dot with a random name in it.
fn hide_temporary_names(text: &str) -> String {
    let start = format!("{}/.tmp", std::env::temp_dir().display());
    let mut parts = text.split(&start);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let random = part.bytes().take_while(u8::is_ascii_alphanumeric).count();
        shown.push_str("TMP");
        shown.push_str(&part[random..]);
    }
    shown
}
