//! Settings in the environment: `FETCHALL_` and the long name of an option.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::afterwards::OF_A_RUN;
use super::hints::{self, nearest};
use super::options::{Given, Origin, SettingError, Takes, Value, long, settings, variable};
use super::secrets::{SMTP_VARIABLE, USER_VARIABLE};

/// What the environment sets; an empty variable counts as absent.
///
/// # Errors
/// When a switch is neither on nor off.
pub fn read(
    command: &Command,
    get: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Given>, SettingError> {
    let mut given = Vec::new();
    for arg in settings(command) {
        let name = variable(arg);
        let Some(text) = get(&name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let value = if name == USER_VARIABLE {
            // It is taken as it is: a password may begin with an @.
            Value::Elsewhere
        } else {
            value(arg, text).map_err(|message| SettingError(format!("{name}: {message}")))?
        };
        given.push(Given::new(arg, value, Origin::Variable(name)));
    }
    Ok(given)
}

fn value(arg: &Arg, text: OsString) -> Result<Value, String> {
    let switch = text.to_str().and_then(switch);
    match (Takes::of(arg), switch) {
        (Takes::Switch | Takes::Perhaps | Takes::Count, Some(true)) => Ok(Value::On),
        (Takes::Switch | Takes::Perhaps | Takes::Count, Some(false)) => Ok(Value::Off),
        (Takes::Switch, None) => Err("1, true, 0 or false is needed".to_owned()),
        (Takes::Count, None) => times(&text.to_string_lossy()),
        (Takes::One | Takes::Perhaps, _) => Ok(Value::Texts(vec![text])),
        (Takes::Many, _) => Ok(Value::Texts(lines(&text))),
    }
}

/// Whether a text turns a switch on or off, if it does.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// How often an option counts as given.
pub fn times(text: &str) -> Result<Value, String> {
    match text.parse() {
        Ok(0) => Ok(Value::Off),
        Ok(times @ 1..=9) => Ok(Value::Times(times)),
        _ => Err("a whole number from 0 to 9 is needed".to_owned()),
    }
}

/// What can be given several times stands in lines: no header holds a line break.
fn lines(text: &OsStr) -> Vec<OsString> {
    match text.to_str() {
        Some(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(OsString::from).collect()
        }
        None => vec![text.to_owned()],
    }
}

/// What the variables of settings begin with.
const PREFIX: &str = "FETCHALL_";

/// Whether a variable looks like a setting.
pub fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(PREFIX) && !name.starts_with(OF_A_RUN)
}

/// Variables that look like settings and are none, each with what was probably meant.
pub fn strangers(command: &Command, names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut known: Vec<_> = settings(command).map(variable).collect();
    known.extend(["FETCHALL_CONFIG", "FETCHALL_NO_CONFIG", SMTP_VARIABLE].map(str::to_owned));
    let mut found: Vec<_> = names
        .filter(|name| is_ours(name))
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !known.contains(name))
        .map(|name| format!("{name} sets no option{}", meant(&name, &known, command)))
        .collect();
    found.sort();
    found
}

/// What a variable that sets nothing was probably meant to be, after a semicolon.
fn meant(name: &str, known: &[String], command: &Command) -> String {
    // What all of them begin with would make all of them alike.
    let bare = |name: &'_ str| name.trim_start_matches(PREFIX).to_owned();
    let option = bare(name).to_ascii_lowercase().replace('_', "-");
    if command.get_arguments().any(|arg| long(arg) == option) {
        return "; it can only stand on the command line".to_owned();
    }
    if let Some(hint) = hints::flag(&format!("--{option}")) {
        return format!("; {hint}");
    }
    let bares: Vec<_> = known.iter().map(|name| bare(name)).collect();
    nearest(&option, bares.iter().map(String::as_str)).map_or_else(String::new, |near| {
        format!("; did you mean {PREFIX}{near}?")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn variables_that_set_nothing_are_told_with_what_was_meant() {
        let told = |name: &str| strangers(&Cli::command(), std::iter::once(name.into()));
        for (name, meant) in [
            (
                "FETCHALL_CONCURENCY",
                "; did you mean FETCHALL_CONCURRENCY?",
            ),
            ("FETCHALL_PERHOST", "; did you mean FETCHALL_PER_HOST?"),
            ("FETCHALL_USR", "; did you mean FETCHALL_USER?"),
            ("FETCHALL_DEMO", "; it can only stand on the command line"),
            (
                "FETCHALL_TIMEOUT",
                "; -m DUR limits one try; --connect-timeout and --stall-timeout limit its parts",
            ),
            ("FETCHALL_FROBNICATE", ""),
        ] {
            assert_eq!(told(name), [format!("{name} sets no option{meant}")]);
        }
        for name in [
            "FETCHALL_RETRIES",
            "FETCHALL_SMTP_PASSWORD",
            "FETCHALL_RUN_FAILED",
            "PATH",
            "fetchall_x",
        ] {
            assert!(told(name).is_empty(), "{name}");
        }
    }
}
