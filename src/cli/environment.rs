//! Settings in the environment: `FETCHALL_` and the long name of an option.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::afterwards::OF_A_RUN;
use super::hints::nearest;
use super::options::{Given, Origin, SettingError, Takes, Value, settings, variable};
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

/// Variables that look like settings and are none, each with what was probably meant.
pub fn strangers(
    command: &Command,
    names: impl Iterator<Item = OsString>,
) -> Vec<(String, Option<String>)> {
    let known: Vec<_> = settings(command)
        .map(variable)
        .chain([
            "FETCHALL_CONFIG".to_owned(),
            "FETCHALL_NO_CONFIG".to_owned(),
            SMTP_VARIABLE.to_owned(),
        ])
        .collect();
    let mut found: Vec<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("FETCHALL_") && !name.starts_with(OF_A_RUN))
        .filter(|name| !known.contains(name))
        .map(|name| {
            let meant = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            (name, meant)
        })
        .collect();
    found.sort();
    found
}
