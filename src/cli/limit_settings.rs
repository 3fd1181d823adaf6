//! The settings that can change during a run, and the text about what has changed.

use clap::Command;

use super::options::{SettingEntry, SettingOrigin, SettingValue, long, settings};
use super::settings::MergedSettings;

/// The ids of the options.
const LIMITS: [&str; 6] = [
    "concurrency",
    "per_host",
    "host_interval",
    "rate",
    "limit_rate",
    "host_limit_rate",
];

/// A limit with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitSetting {
    /// The long name of its option.
    long: String,
    /// Its value as it was written; `None`: there is no limit.
    value: Option<String>,
    /// `None`: the command line or the default.
    origin: Option<SettingOrigin>,
    hidden: Option<HiddenSetting>,
}

/// A setting of a file that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HiddenSetting {
    value: String,
    origin: SettingOrigin,
}

/// Returns the limits of merged settings. `given`: the settings of all sources but the command line,
/// in order of precedence.
pub(super) fn limit_settings(
    command: &Command,
    settled: &MergedSettings,
    given: &[SettingEntry],
) -> Vec<LimitSetting> {
    let limits = settings(command).filter(|arg| LIMITS.contains(&arg.get_id().as_str()));
    let of_arg = |arg: &clap::Arg| {
        let id = arg.get_id().as_str();
        let raw = settled.matches.get_raw(id).and_then(|mut raw| raw.next());
        let origin = settled.origin(id).cloned();
        let is_file = |entry: &&SettingEntry| {
            entry.id == id && matches!(entry.origin, SettingOrigin::File { .. })
        };
        let in_file = given.iter().find(is_file);
        let hidden = in_file.filter(|entry| origin.as_ref() != Some(&entry.origin));
        LimitSetting {
            long: long(arg).to_owned(),
            value: raw.map(|raw| raw.to_string_lossy().into_owned()),
            origin,
            hidden: hidden.and_then(HiddenSetting::of),
        }
    };
    limits.map(of_arg).collect()
}

impl HiddenSetting {
    fn of(entry: &SettingEntry) -> Option<Self> {
        let SettingValue::Texts(texts) = &entry.value else {
            return None;
        };
        Some(Self {
            value: texts.first()?.to_string_lossy().into_owned(),
            origin: entry.origin.clone(),
        })
    }
}

impl LimitSetting {
    fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("none")
    }

    /// Returns the text about a change: `--rate: none -> 5/s (fetchall.toml:2)`.
    fn change_from(&self, before: &Self) -> Option<String> {
        let from = self.origin.as_ref();
        let from = from.map_or(String::new(), |origin| format!(" ({origin})"));
        (self.value != before.value).then(|| {
            format!(
                "--{}: {} -> {}{from}",
                self.long,
                before.value(),
                self.value()
            )
        })
    }

    /// Returns the text about a value in a file that has no effect.
    fn hidden_text(&self) -> Option<String> {
        let hidden = self.hidden.as_ref();
        let hidden = hidden.filter(|hidden| Some(&hidden.value) != self.value.as_ref())?;
        let by = match &self.origin {
            Some(origin) => origin.to_string(),
            None => "the command line".to_owned(),
        };
        let (origin, value) = (&hidden.origin, &hidden.value);
        Some(format!(
            "--{} stays {}: {by} wins over {value} ({origin})",
            self.long,
            self.value()
        ))
    }
}

/// Returns the text about the limits that have been read again.
pub(super) fn describe(before: &[LimitSetting], after: &[LimitSetting]) -> Vec<String> {
    let pairs = after.iter().zip(before);
    let changes = pairs.filter_map(|(after, before)| after.change_from(before));
    changes
        .chain(after.iter().filter_map(LimitSetting::hidden_text))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use clap::CommandFactory;

    use super::super::settings::merge;
    use super::super::{Cli, config_file, environment};
    use super::*;

    fn limits(line: &[&str], rate: Option<&str>, file: &str) -> Vec<LimitSetting> {
        let mut command = Cli::command();
        command.build();
        let get = |name: &str| rate.filter(|_| name == "FETCHALL_RATE").map(OsString::from);
        let variables = environment::read(&command, get).unwrap();
        let file = config_file::parse(file, Path::new("/f"), &command).unwrap();
        let given: Vec<_> = [variables.clone(), file.settings.clone()].concat();
        let args: Vec<_> = ["fetchall"]
            .iter()
            .chain(line)
            .map(OsString::from)
            .collect();
        let line = command.try_get_matches_from_mut(&args).unwrap();
        let sources = vec![variables, file.settings];
        let settled = merge(&mut command, &args, &line, sources).unwrap();
        limit_settings(&command, &settled, &given)
    }

    #[test]
    fn changes_are_told_and_values_that_have_no_effect() {
        let texts = |line: &[&str], rate, before, after| {
            describe(&limits(line, rate, before), &limits(line, rate, after)).join("; ")
        };
        assert_eq!(texts(&[], None, "rate = \"5/s\"", "rate = \"5/s\""), "");
        assert_eq!(
            texts(
                &[],
                None,
                "concurrency = 9\nrate = 1",
                "\nlimit-rate = \"1MB/s\""
            ),
            "--concurrency: 9 -> 64; --rate: 1 -> none; --limit-rate: none -> 1MB/s (/f:2)"
        );
        assert_eq!(
            texts(&["--rate=3/s"], None, "", "rate = \"9/s\""),
            "--rate stays 3/s: the command line wins over 9/s (/f:1)"
        );
        assert_eq!(
            texts(&[], Some("3/s"), "", "rate = \"9/s\"\nper-host = 2"),
            "--per-host: auto -> 2 (/f:2); --rate stays 3/s: FETCHALL_RATE wins over 9/s (/f:1)"
        );
    }
}
