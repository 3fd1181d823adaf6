//! Settings from the environment: variables named `FETCHALL_` and the long name of an option.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};
use fetchall::program::similar_name;

use super::flag_hints;
use super::options::{
    OptionArity, SettingEntry, SettingError, SettingOrigin, SettingValue, long, settings, variable,
};
use super::redact;
use super::secrets::{self, SMTP_VARIABLE, USER_VARIABLE};

/// Reads the settings from the environment. An empty variable counts as absent.
///
/// # Errors
/// When a variable has an invalid value for a switch or a count.
pub(super) fn read(
    command: &Command,
    get: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<SettingEntry>, SettingError> {
    let mut given = Vec::new();
    for arg in settings(command) {
        let name = variable(arg);
        let Some(text) = get(&name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let value = if name == USER_VARIABLE {
            // Taken literally: a password may start with an @.
            SettingValue::Elsewhere
        } else {
            value(arg, text).map_err(|message| SettingError(format!("{name}: {message}")))?
        };
        given.push(SettingEntry::new(arg, value, SettingOrigin::Variable(name)));
    }
    Ok(given)
}

fn value(arg: &Arg, text: OsString) -> Result<SettingValue, String> {
    let switch = text.to_str().and_then(switch);
    match (OptionArity::from_arg(arg), switch) {
        (OptionArity::Switch | OptionArity::Perhaps | OptionArity::Count, Some(true)) => {
            Ok(SettingValue::On)
        }
        (OptionArity::Switch | OptionArity::Perhaps | OptionArity::Count, Some(false)) => {
            Ok(SettingValue::Off)
        }
        (OptionArity::Switch, None) => Err(SWITCH_FORM.to_owned()),
        (OptionArity::Count, None) => times(&text.to_string_lossy()),
        (OptionArity::One | OptionArity::Perhaps, _) => Ok(SettingValue::Texts(vec![text])),
        (OptionArity::Many, _) => Ok(SettingValue::Texts(lines(&text))),
    }
}

/// What a variable of a switch must hold.
pub(super) const SWITCH_FORM: &str = "expected 1, true, 0 or false";

/// Parses the value of a switch; `None` if it is invalid.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// Parses how often an option counts as given.
pub(super) fn times(text: &str) -> Result<SettingValue, String> {
    match text.parse() {
        Ok(0) => Ok(SettingValue::Off),
        Ok(times @ 1..=9) => Ok(SettingValue::Times(times)),
        _ => Err("expected a number from 0 to 9".to_owned()),
    }
}

/// Splits the value of a repeatable option into lines. A line break cannot be part of a value: no
/// header may contain one.
fn lines(text: &OsStr) -> Vec<OsString> {
    match text.to_str() {
        Some(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(OsString::from).collect()
        }
        None => vec![text.to_owned()],
    }
}

/// Prefix of the variables that are settings.
const PREFIX: &str = "FETCHALL_";
/// Prefix of the variables that describe the run to a command. They are not settings.
pub(super) const RUN_PREFIX: &str = "FETCHALL_RUN_";

/// Whether a variable looks like a setting.
pub(super) fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(PREFIX) && !name.starts_with(RUN_PREFIX)
}

/// Returns a message for each unknown variable with the prefix of settings, with what was probably
/// meant. Empty variables are skipped, as they never set anything.
pub(super) fn unknown_variables(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let known = known(command);
    let mut found: Vec<_> = variables
        .filter(|(name, value)| is_ours(name) && !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| !known.contains(name))
        .map(|name| {
            let meant = meant(&name, &known, command);
            format!("unknown variable {}{meant}", redact::name(&name))
        })
        .collect();
    found.sort();
    found
}

/// Returns the names of the `FETCHALL_` variables that are read.
fn known(command: &Command) -> Vec<String> {
    let others = ["FETCHALL_CONFIG", "FETCHALL_NO_CONFIG", SMTP_VARIABLE];
    let settings = settings(command).map(variable);
    settings.chain(others.map(str::to_owned)).collect()
}

/// Returns the variables that a child process must not inherit, because they may hold a secret,
/// each with a replacement if there is one. Of the `FETCHALL_` variables only those known to be
/// harmless are inherited: a misspelt one may hold a password. Proxies keep their host and port.
pub(super) fn hidden(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(String, Option<String>)> {
    let secret: Vec<_> = secrets::variables().collect();
    let mut kept = known(command);
    kept.retain(|name| !secret.contains(name));
    let replaced = |name: String, value: OsString| {
        let capitals = name.to_ascii_uppercase();
        if capitals.starts_with(PREFIX) {
            let has_userinfo = redact::has_userinfo(&value.to_string_lossy());
            return (!kept.contains(&name) || has_userinfo).then_some((name, None));
        }
        if !capitals.ends_with("_PROXY") || capitals == "NO_PROXY" {
            return None;
        }
        let bare = value.to_str().and_then(secrets::proxy_without_userinfo);
        (bare.as_deref() != value.to_str() || bare.is_none()).then_some((name, bare))
    };
    variables
        .filter_map(|(name, value)| replaced(name.into_string().ok()?, value))
        .collect()
}

/// Returns what an unknown variable was probably meant to be, after a semicolon.
fn meant(name: &str, known: &[String], command: &Command) -> String {
    // The common prefix would make all names look similar.
    let bare = |name: &'_ str| name.trim_start_matches(PREFIX).to_owned();
    let option = bare(name).to_ascii_lowercase().replace('_', "-");
    if option.is_empty() {
        return "; add the long name of an option after the _".to_owned();
    }
    let is_long = |arg: &&Arg| long(arg).replace('.', "-") == option.replace('.', "-");
    // Case matters for one letter: `-x` and `-X` are two options, and `-J` does not exist.
    let short = |arg: &Arg| arg.get_short().map(String::from).unwrap_or_default();
    let written = bare(name);
    let is_short = |arg: &&Arg| short(arg) == written;
    let is_nearly = |arg: &&Arg| short(arg) == option;
    let found = settings(command)
        .find(|arg| is_long(arg) || is_short(arg))
        .or_else(|| settings(command).find(is_nearly));
    if let Some(arg) = found {
        return format!("; did you mean {}?", variable(arg));
    }
    if command.get_arguments().any(|arg| is_long(&arg)) {
        return "; only allowed on the command line".to_owned();
    }
    if let Some(hint) = flag_hints::flag(&format!("--{option}")) {
        return format!("; {hint}");
    }
    let bares: Vec<_> = known.iter().map(|name| bare(name)).collect();
    similar_name(&option, bares.iter().map(String::as_str)).map_or_else(String::new, |near| {
        format!("; did you mean {PREFIX}{near}?")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn unknown_variables_are_reported_with_what_was_meant() {
        let reported = |name: &str| {
            let variable = (name.into(), "1".into());
            unknown_variables(&Cli::command(), std::iter::once(variable))
        };
        for (name, meant) in [
            (
                "FETCHALL_CONCURENCY",
                "; did you mean FETCHALL_CONCURRENCY?",
            ),
            ("FETCHALL_PERHOST", "; did you mean FETCHALL_PER_HOST?"),
            ("FETCHALL_USR", "; did you mean FETCHALL_USER?"),
            ("FETCHALL_DEMO", "; only allowed on the command line"),
            (
                "FETCHALL_TIMEOUT",
                "; -m DUR limits a whole attempt; --connect-timeout and --stall-timeout limit its phases",
            ),
            ("FETCHALL_HTTP1.1", "; did you mean FETCHALL_HTTP1_1?"),
            (
                "FETCHALL_concurrency",
                "; did you mean FETCHALL_CONCURRENCY?",
            ),
            ("FETCHALL_J", "; did you mean FETCHALL_CONCURRENCY?"),
            ("FETCHALL_j", "; did you mean FETCHALL_CONCURRENCY?"),
            ("FETCHALL_x", "; did you mean FETCHALL_PROXY?"),
            ("FETCHALL_X", "; did you mean FETCHALL_REQUEST?"),
            ("FETCHALL_", "; add the long name of an option after the _"),
            ("FETCHALL_FROBNICATE", ""),
        ] {
            assert_eq!(reported(name), [format!("unknown variable {name}{meant}")]);
        }
        let empty = ("FETCHALL_CONCURENCY".into(), "".into());
        assert!(unknown_variables(&Cli::command(), std::iter::once(empty)).is_empty());
        for name in [
            "FETCHALL_RETRIES",
            "FETCHALL_SMTP_PASSWORD",
            "FETCHALL_RUN_FAILED",
            "PATH",
            "fetchall_x",
        ] {
            assert!(reported(name).is_empty(), "{name}");
        }
    }
}
