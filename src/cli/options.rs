//! The options that can also be set in the environment and in config files, and the values they
//! take.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgGroup, Command};

use super::redact;

/// Options that are only allowed on the command line, because they are about a single call: a
/// `demo` that a config file switches on would be a bad surprise.
const NOT_SETTINGS: [&str; 13] = [
    "inputs",
    "help",
    "version",
    "config",
    "no_config",
    "print_config",
    "generate",
    "explain",
    "demo",
    "verify",
    "split",
    "merge",
    "into",
];

/// How many values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionArity {
    /// None: it is on or off.
    Switch,
    /// None: the number of times it is given counts.
    Count,
    /// An optional value.
    Perhaps,
    /// One value.
    One,
    /// One value each time it is given.
    Many,
}

impl OptionArity {
    pub(super) fn from_arg(arg: &Arg) -> Self {
        match arg.get_action() {
            ArgAction::Count => Self::Count,
            ArgAction::Append => Self::Many,
            ArgAction::Set => match arg.get_num_args() {
                Some(range) if range.min_values() == 0 => Self::Perhaps,
                _ => Self::One,
            },
            _ => Self::Switch,
        }
    }
}

/// Source of a value that is not from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingOrigin {
    /// An environment variable.
    Variable(String),
    /// A line of a config file, counted from 1.
    File { path: Arc<Path>, line: usize },
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => {
                write!(f, "{}:{line}", redact::name(&path.to_string_lossy()))
            }
        }
    }
}

/// Error of an invalid setting, with its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);

impl SettingOrigin {
    /// Returns the error for the value of an option, with its source. A variable already names the
    /// option.
    pub(crate) fn error(&self, option: &str, message: impl fmt::Display) -> SettingError {
        SettingError(match self {
            Self::Variable(name) => format!("{name}: {message}"),
            Self::File { .. } => format!("{self}: {option}: {message}"),
        })
    }
}

/// Value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingValue {
    Off,
    On,
    Times(u8),
    Texts(Vec<OsString>),
    /// Read where it is needed instead of being passed through clap: `FETCHALL_USER`.
    Elsewhere,
}

/// An option that is set in the environment or a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingEntry {
    /// Its clap id.
    pub id: String,
    /// Its long name, without the hyphens.
    pub long: String,
    pub value: SettingValue,
    pub origin: SettingOrigin,
}

impl SettingEntry {
    pub(crate) fn new(arg: &Arg, value: SettingValue, origin: SettingOrigin) -> Self {
        Self {
            id: arg.get_id().to_string(),
            long: long(arg).to_owned(),
            value,
            origin,
        }
    }

    /// Whether it has an effect. A setting that is off conflicts with nothing.
    pub(crate) fn is_on(&self) -> bool {
        self.value != SettingValue::Off
    }

    /// Returns the equivalent command-line arguments.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let flag = OsString::from(format!("--{}", self.long));
        match &self.value {
            SettingValue::Off | SettingValue::Elsewhere => Vec::new(),
            SettingValue::On => vec![flag],
            SettingValue::Times(times) => vec![flag; usize::from(*times)],
            SettingValue::Texts(texts) => {
                let with = |text| {
                    let mut argument = flag.clone();
                    // With `=`, a value that starts with a hyphen is not taken for an option.
                    argument.push("=");
                    argument.push(text);
                    argument
                };
                texts.iter().map(with).collect()
            }
        }
    }
}

/// Returns the long name, without the hyphens. Every option has one.
pub(super) fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

pub(super) fn is_setting(arg: &Arg) -> bool {
    !NOT_SETTINGS.contains(&arg.get_id().as_str())
}

/// Returns the options that can be set in config files and in the environment.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| is_setting(arg))
}

/// Returns the environment variable that sets an option.
pub(super) fn variable(arg: &Arg) -> String {
    variable_of(long(arg))
}

/// Returns the environment variable that sets the option with this long name.
pub(super) fn variable_of(long: &str) -> String {
    let name = long.to_ascii_uppercase();
    format!("FETCHALL_{}", name.replace(['-', '.'], "_"))
}

/// Whether two options conflict, no matter which of them declares it.
pub(super) fn are_exclusive(command: &Command, one: &str, other: &str) -> bool {
    one != other
        && (conflicts_with(command, one, other)
            || conflicts_with(command, other, one)
            || command
                .get_groups()
                .any(|group| is_choice(group, one, other)))
}

fn conflicts_with(command: &Command, one: &str, other: &str) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_id() == one);
    arg.is_some_and(|arg| {
        let conflicts = command.get_arg_conflicts_with(arg);
        conflicts.iter().any(|arg| arg.get_id() == other)
    })
}

/// Whether a group contains both, and allows only one of its options.
fn is_choice(group: &ArgGroup, one: &str, other: &str) -> bool {
    // clap's `is_multiple` takes `&mut self`, although it only reads.
    let several = group.clone().is_multiple();
    let has = |id: &str| group.get_args().any(|arg| arg == id);
    !several && has(one) && has(other)
}
