//! `--print-config`: every setting and its source. The output is a valid config file, except that
//! secrets are masked.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, Command};

use super::environment;
use super::host_sections::HostSection;
use super::masked_values::masked;
use super::options::{OptionArity, SettingValue, long, settings};
use super::redact::{self, MASK};
use super::settings::{MergedSettings, UnusedSetting};

/// Column of the sources, unless a value is longer.
const VALUE_COLUMN: usize = 32;

/// Renders the settings. `files` are the config files that were tried, each with whether it was
/// read.
pub(super) fn text(
    command: &Command,
    settled: &MergedSettings,
    files: &[(PathBuf, bool)],
    hosts: &[HostSection],
) -> String {
    let mut text = String::new();
    for (path, was_read) in files {
        let found = if *was_read { "read" } else { "not found" };
        let shown = redact::name(&path.to_string_lossy());
        text.push_str(&format!("# {shown} ({found})\n"));
    }
    let mut heading = None;
    for arg in settings(command) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            text.push_str(&format!("\n# {}\n", heading.unwrap_or_default()));
        }
        text.push_str(&line(arg, settled));
        for unused in settled
            .unused
            .iter()
            .filter(|one| one.given.id == *arg.get_id())
        {
            text.push_str(&unused_line(arg, unused));
        }
    }
    for section in hosts {
        text.push_str(&host_section(command, section));
    }
    for unknown in environment::unknown_variables(command, std::env::vars_os()) {
        text.push_str(&format!("\n# {}\n", redact::message(&unknown)));
    }
    text
}

/// Renders the settings of one host. They come last, because a TOML section has no end.
fn host_section(command: &Command, section: &HostSection) -> String {
    let mut text = format!("\n[host.{}]\n", quoted(&section.host));
    for setting in &section.settings {
        let arg = command
            .get_arguments()
            .find(|arg| long(arg) == setting.long);
        let (Some(arg), SettingValue::Texts(texts)) = (arg, &setting.value) else {
            continue;
        };
        let texts: Vec<_> = texts.iter().map(|text| shown(arg, text)).collect();
        let value = match OptionArity::from_arg(arg) {
            OptionArity::Many => format!("[{}]", texts.join(", ")),
            _ => texts.join(", "),
        };
        let setting_text = format!("{} = {value}", key(arg));
        text.push_str(&aligned(&setting_text, &setting.origin.to_string()));
    }
    text
}

fn line(arg: &Arg, settled: &MergedSettings) -> String {
    let (name, id) = (key(arg), arg.get_id().as_str());
    let source = settled.matches.value_source(id);
    let origin = match (settled.origin(id), source) {
        (Some(origin), _) => origin.to_string(),
        (None, Some(ValueSource::CommandLine)) => "flag".to_owned(),
        _ => default(arg),
    };
    match value(arg, settled) {
        Some(value) => aligned(&format!("{name} = {value}"), &origin),
        None => aligned(&format!("# {name} ="), &origin),
    }
}

fn aligned(setting: &str, origin: &str) -> String {
    format!("{setting:<VALUE_COLUMN$} # {}\n", redact::name(origin))
}

/// Returns the TOML key of an option. A dot has to be quoted, or it would mean a table.
fn key(arg: &Arg) -> String {
    let long = long(arg);
    if long.contains('.') {
        format!("\"{long}\"")
    } else {
        long.to_owned()
    }
}

/// Returns the default as the help describes it, for options without a default value.
fn default(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let described = help
        .split_once("[default: ")
        .and_then(|(_, rest)| rest.split_once(']'));
    match described {
        Some((text, _)) => {
            let words: Vec<_> = text.split_whitespace().collect();
            format!("default: {}", words.join(" "))
        }
        None => "default".to_owned(),
    }
}

fn value(arg: &Arg, settled: &MergedSettings) -> Option<String> {
    let id = arg.get_id().as_str();
    let matches = &settled.matches;
    match OptionArity::from_arg(arg) {
        OptionArity::Switch => Some(matches.get_flag(id).to_string()),
        OptionArity::Count => Some(matches.get_count(id).to_string()),
        takes => {
            if id == "user" && matches.value_source(id).is_none() && settled.origin(id).is_some() {
                return Some(quoted(MASK));
            }
            let values: Vec<_> = matches.get_raw(id)?.map(|raw| shown(arg, raw)).collect();
            match takes {
                OptionArity::Many => Some(format!("[{}]", values.join(", "))),
                OptionArity::Perhaps if values.is_empty() => Some("true".to_owned()),
                _ => values.into_iter().next(),
            }
        }
    }
}

/// Renders a setting that is not used, as a comment.
fn unused_line(arg: &Arg, unused: &UnusedSetting) -> String {
    let given = &unused.given;
    let value = match &given.value {
        SettingValue::Off => "false".to_owned(),
        SettingValue::On => "true".to_owned(),
        SettingValue::Times(times) => times.to_string(),
        SettingValue::Elsewhere => quoted(MASK),
        SettingValue::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| shown(arg, text)).collect();
            texts.join(", ")
        }
    };
    let origin = format!("{}, {}", given.origin, unused.why);
    aligned(&format!("# {} = {value}", key(arg)), &origin)
}

fn shown(arg: &Arg, raw: &OsStr) -> String {
    let text = masked(long(arg), &raw.to_string_lossy());
    let is_number = text
        .parse::<u64>()
        .is_ok_and(|number| number.to_string() == text);
    if is_number { text } else { quoted(&text) }
}

/// Returns a text as a TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if fetchall::program::is_control(c) => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(c)))
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_toml_strings() {
        assert_eq!(
            quoted("a\"b\\c\u{1b}\n\u{9b}"),
            "\"a\\\"b\\\\c\\u001B\\u000A\\u009B\""
        );
    }
}
