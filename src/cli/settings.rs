//! Merges the command line with the settings from the environment and config files. Precedence:
//! command line, environment, files, defaults.
//!
//! The settings are turned into arguments of one command line, so that all values go through the
//! same parsers.

use std::error::Error;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::cli_error::CliError;
use super::flag_hints;
use super::options::{SettingEntry, SettingError, SettingOrigin, are_exclusive};

/// A setting that is not used, with the reason.
#[derive(Debug)]
pub(super) struct UnusedSetting {
    pub given: SettingEntry,
    pub why: String,
}

/// Result of merging all sources.
#[derive(Debug)]
pub(super) struct MergedSettings {
    pub matches: ArgMatches,
    /// The settings that were added to the command line.
    pub used: Vec<SettingEntry>,
    pub unused: Vec<UnusedSetting>,
}

/// Merges the command line `line` with `sources`, which are in order of precedence.
///
/// # Errors
/// When a source contradicts itself, or a value is invalid.
pub(super) fn merge(
    command: &mut Command,
    args: &[OsString],
    line: &ArgMatches,
    mut sources: Vec<Vec<SettingEntry>>,
) -> Result<MergedSettings, CliError> {
    for source in &sources {
        check_consistency(command, source)?;
    }
    let mut dropped = Vec::new();
    loop {
        let (mut used, mut unused) = merge_layers(command, line, &sources);
        let (matches, needy) = parse(command, args, line, &mut used)?;
        let Some(first) = needy.into_iter().next() else {
            unused.extend(dropped);
            return Ok(MergedSettings {
                matches,
                used,
                unused,
            });
        };
        // Settings that it overrode apply again, and may be what others require: merge again.
        for source in &mut sources {
            source.retain(|given| *given != first);
        }
        dropped.push(UnusedSetting {
            given: first,
            why: "requires an option that is not set".to_owned(),
        });
    }
}

/// Returns the settings that are used, and those overridden by a conflicting option of the command
/// line or of a source with precedence.
fn merge_layers(
    command: &Command,
    line: &ArgMatches,
    sources: &[Vec<SettingEntry>],
) -> (Vec<SettingEntry>, Vec<UnusedSetting>) {
    let mut used: Vec<SettingEntry> = Vec::new();
    let mut unused = Vec::new();
    // Ids of the options that are on, with the name to show for each.
    let mut on = given_on(command, line);
    let mut decided: Vec<String> = on.iter().map(|(id, _)| id.clone()).collect();
    for given in sources.iter().flatten().cloned() {
        if decided.contains(&given.id) {
            continue;
        }
        decided.push(given.id.clone());
        let mut stronger = on.iter().filter(|_| given.is_on());
        match stronger.find(|(id, _)| are_exclusive(command, id, &given.id)) {
            Some((_, by)) => {
                let why = format!("overridden by {by}");
                unused.push(UnusedSetting { given, why });
            }
            None => {
                if given.is_on() {
                    on.push((given.id.clone(), format!("--{}", given.long)));
                }
                used.push(given);
            }
        }
    }
    (used, unused)
}

/// Returns the ids of the options on the command line, with their names.
fn given_on(command: &Command, line: &ArgMatches) -> Vec<(String, String)> {
    let is_given = |id: &str| line.value_source(id) == Some(ValueSource::CommandLine);
    let given = command.get_arguments().filter_map(|arg| {
        let id = arg.get_id().as_str();
        let name = arg
            .get_long()
            .map_or(id.to_owned(), |long| format!("--{long}"));
        is_given(id).then(|| (id.to_owned(), name))
    });
    given.collect()
}

/// Checks that no two settings of one source conflict: that is a mistake in it.
fn check_consistency(command: &Command, source: &[SettingEntry]) -> Result<(), SettingError> {
    for (index, one) in source.iter().enumerate() {
        let rest = source.iter().skip(index + 1);
        let mut others = rest.filter(|other| one.is_on() && other.is_on());
        if let Some(other) = others.find(|other| are_exclusive(command, &one.id, &other.id)) {
            let with = match &other.origin {
                SettingOrigin::Variable(name) => name.clone(),
                SettingOrigin::File { line, .. } => format!("{} (line {line})", other.long),
            };
            let message = format!("conflicts with {with}; remove one of them");
            return Err(one.origin.error(&one.long, message));
        }
    }
    Ok(())
}

/// Parses the command line with all settings. Settings that require an option that is not set
/// anywhere are moved from `used` to the result: `sync = true` in a file is meant for runs that
/// save.
fn parse(
    command: &mut Command,
    args: &[OsString],
    line: &ArgMatches,
    used: &mut Vec<SettingEntry>,
) -> Result<(ArgMatches, Vec<SettingEntry>), CliError> {
    match attempt(command, args, used) {
        Ok(matches) => return Ok((matches, Vec::new())),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {}
        Err(error) => return Err(attribute_error(command, used, error)),
    }
    // clap does not say which setting it was. A required option may itself come from a setting, so
    // they are added one by one until no more can be added.
    //
    // Settings as defaults of clap's arguments would need no search, but clap applies `requires`
    // to explicit values only: `sync = true` without a folder would be accepted, and `--body`
    // rejected although the file has `json = true`. Nor can a default stand for an option that is
    // given without its optional value, such as `simulate-failure = true`.
    let mut needy = std::mem::take(used);
    loop {
        let before = needy.len();
        let mut rest = Vec::new();
        for given in needy {
            used.push(given);
            let missing = attempt(command, args, used)
                .is_err_and(|error| error.kind() == ErrorKind::MissingRequiredArgument);
            if missing {
                rest.extend(used.pop());
            }
        }
        needy = rest;
        if needy.len() == before {
            break;
        }
    }
    match attempt(command, args, used) {
        Ok(matches) => Ok((matches, needy)),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            Err(missing(command, line, error))
        }
        Err(error) => Err(attribute_error(command, used, error)),
    }
}

fn attempt(
    command: &mut Command,
    args: &[OsString],
    used: &[SettingEntry],
) -> Result<ArgMatches, clap::Error> {
    let (program, rest) = args.split_at(args.len().min(1));
    let settings = used.iter().flat_map(SettingEntry::arguments);
    let all = program
        .iter()
        .cloned()
        .chain(settings)
        .chain(rest.iter().cloned());
    command.try_get_matches_from_mut(all)
}

/// Names the setting whose value is invalid. If none is, returns clap's error.
fn attribute_error(command: &mut Command, used: &[SettingEntry], error: clap::Error) -> CliError {
    for given in used {
        let alone = std::slice::from_ref(given);
        if let Err(error) = attempt(command, &[OsString::from("fetchall")], alone)
            && error.kind() != ErrorKind::MissingRequiredArgument
        {
            let error = flag_hints::redacted(error);
            return CliError::Setting(given.origin.error(&given.long, cause(&error)));
        }
    }
    error.into()
}

/// Names the option of the command line that requires another one.
fn missing(command: &mut Command, line: &ArgMatches, error: clap::Error) -> CliError {
    let Some(ContextValue::Strings(needed)) = error.get(ContextKind::InvalidArg) else {
        return error.into();
    };
    let needed = needed.clone();
    for (id, name) in given_on(command, line) {
        let alone = std::iter::once(OsString::from("fetchall")).chain(to_args(line, &id, &name));
        let needs = command
            .try_get_matches_from_mut(alone)
            .err()
            .and_then(|error| match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(needs)) => Some(needs.clone()),
                _ => None,
            });
        if needs.is_some_and(|needs| needs.iter().all(|one| needed.contains(one))) {
            let needed: Vec<_> = needed.iter().map(|one| choices(one)).collect();
            return CliError::Setting(SettingError(format!(
                "{name} requires {}; add it, or remove {name}",
                needed.join(" and ")
            )));
        }
    }
    error.into()
}

/// Returns an option of the command line as arguments, with its long name.
fn to_args(line: &ArgMatches, id: &str, name: &str) -> Vec<OsString> {
    let flag = OsString::from(name);
    let values: Vec<_> = match line.get_raw(id) {
        Some(raw) => raw.collect(),
        None => return vec![flag],
    };
    // clap stores a value for a switch, too: whether it is on.
    let takes_none = line.try_get_one::<bool>(id).is_ok() || line.try_get_one::<u8>(id).is_ok();
    if takes_none || values.is_empty() {
        return vec![flag];
    }
    let with = |value: &std::ffi::OsStr| {
        let mut argument = flag.clone();
        argument.push("=");
        argument.push(value);
        argument
    };
    values.into_iter().map(with).collect()
}

/// Turns clap's `<--output-dir <DIR>|--pack <FILE>>` into `--output-dir <DIR> or --pack <FILE>`.
fn choices(needed: &str) -> String {
    let inner = needed
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(needed);
    inner.replace(">|", "> or ").replace("|--", " or --")
}

/// Returns what is wrong with the value of an option, without its source and secrets.
fn cause(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return match error.get(ContextKind::InvalidValue) {
            Some(ContextValue::String(value)) => format!("\"{value}\": {source}"),
            _ => source.to_string(),
        };
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let (value, valid) = (
        text(ContextKind::InvalidValue),
        text(ContextKind::ValidValue),
    );
    if valid.is_empty() {
        return match error.kind() {
            // The cause was removed because it may repeat a secret.
            ErrorKind::ValueValidation => format!("invalid value \"{value}\""),
            _ => "expected a value".to_owned(),
        };
    }
    let meant = match text(ContextKind::SuggestedValue) {
        meant if meant.is_empty() => meant,
        meant => format!("; did you mean {meant}?"),
    };
    format!("invalid value \"{value}\"; expected one of {valid}{meant}")
}

impl MergedSettings {
    /// Returns the command line alone, without settings from elsewhere.
    pub(super) fn of(line: ArgMatches) -> Self {
        Self {
            matches: line,
            used: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// Returns the source of an option's value, unless that is the command line or the default.
    pub(super) fn origin(&self, id: &str) -> Option<&SettingOrigin> {
        let given = self.used.iter().find(|given| given.id == id);
        given.map(|given| &given.origin)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::options::{SettingValue, settings, variable};
    use super::super::{Cli, config_file, environment};
    use super::*;
    use clap::CommandFactory;

    fn command() -> Command {
        let mut command = Cli::command();
        command.build();
        command
    }

    #[test]
    fn the_file_of_the_user_beats_that_of_the_machine() {
        let mut command = command();
        let read = |name: &str, text: &str| {
            config_file::parse(text, Path::new(name), &Cli::command())
                .unwrap()
                .settings
        };
        let own = read("/own", "retries = 1\njson = false\n");
        let machine = read("/machine", "retries = 2\njson = true\nmax-redirects = 4\n");
        let args = [OsString::from("fetchall")];
        let line = command.try_get_matches_from_mut(&args).unwrap();
        let settled = merge(&mut command, &args, &line, vec![own, machine]).unwrap();
        assert_eq!(settled.matches.get_one::<u32>("retries"), Some(&1));
        assert_eq!(settled.matches.get_one::<u32>("max_redirects"), Some(&4));
        assert!(!settled.matches.get_flag("json"));
        assert_eq!(settled.origin("json").unwrap().to_string(), "/own:2");
    }

    /// Holds for options that are added later, too.
    #[test]
    fn every_setting_has_a_key_and_a_variable_of_its_own() {
        let command = command();
        let mut names: Vec<_> = settings(&command).map(variable).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for arg in settings(&command) {
            let (id, long) = (arg.get_id(), arg.get_long().unwrap_or_default());
            assert!(!long.is_empty(), "{id} has no long name");
            let name = variable(arg);
            let get = |asked: &str| (asked == name).then(|| OsString::from("1"));
            let given = environment::read(&command, get).unwrap();
            assert_eq!(given.len(), 1, "{id}");
            let switch = given.iter().any(|given| given.value == SettingValue::On);
            let text = format!("{long} = {}", if switch { "true" } else { "'1'" });
            let given = config_file::parse(&text, Path::new("/x"), &command)
                .unwrap()
                .settings;
            assert!(given.iter().all(|given| given.id == id.as_str()), "{id}");
        }
    }
}
