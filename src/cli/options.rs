//! The options that can be set elsewhere than on the command line: which, and what they take.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgGroup, Command};

use super::redact;

/// What a call asks for itself. A practice server that somebody else has set would only
/// surprise.
const NOT_SETTINGS: [&str; 9] = [
    "inputs",
    "help",
    "version",
    "config",
    "no_config",
    "print_config",
    "generate",
    "explain",
    "demo",
];

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionArity {
    /// Nothing: it is on or off.
    Switch,
    /// Nothing: how often it stands there counts.
    Count,
    /// A value, or nothing.
    Perhaps,
    /// A value.
    One,
    /// A value each time it stands there.
    Many,
}

impl OptionArity {
    pub fn from_arg(arg: &Arg) -> Self {
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

/// Where a value comes from that does not stand on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOrigin {
    /// A variable of the environment.
    Variable(String),
    /// A line of a file, counted from 1.
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

/// A setting that can't be taken: where it stands, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);

impl SettingOrigin {
    /// What is wrong with the value of an option. A variable is named after its option.
    pub fn error(&self, option: &str, message: impl fmt::Display) -> SettingError {
        SettingError(match self {
            Self::Variable(name) => format!("{name}: {message}"),
            Self::File { .. } => format!("{self}: {option}: {message}"),
        })
    }
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    Off,
    On,
    Times(u8),
    Texts(Vec<OsString>),
    /// It is read where it is needed, and goes through no command line: `FETCHALL_USER`.
    Elsewhere,
}

/// An option that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingEntry {
    /// As clap knows it.
    pub id: String,
    /// As people know it, without the hyphens.
    pub long: String,
    pub value: SettingValue,
    pub origin: SettingOrigin,
}

impl SettingEntry {
    pub fn new(arg: &Arg, value: SettingValue, origin: SettingOrigin) -> Self {
        Self {
            id: arg.get_id().to_string(),
            long: long(arg).to_owned(),
            value,
            origin,
        }
    }

    /// Whether it does anything: what is off gets into nobody's way.
    pub fn is_on(&self) -> bool {
        self.value != SettingValue::Off
    }

    /// How it would stand on the command line.
    pub fn arguments(&self) -> Vec<OsString> {
        let flag = OsString::from(format!("--{}", self.long));
        match &self.value {
            SettingValue::Off | SettingValue::Elsewhere => Vec::new(),
            SettingValue::On => vec![flag],
            SettingValue::Times(times) => vec![flag; usize::from(*times)],
            SettingValue::Texts(texts) => {
                let with = |text| {
                    let mut argument = flag.clone();
                    // A value that begins with a hyphen stays a value that way.
                    argument.push("=");
                    argument.push(text);
                    argument
                };
                texts.iter().map(with).collect()
            }
        }
    }
}

/// The long name, without the hyphens; every option has one.
pub fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

pub fn is_setting(arg: &Arg) -> bool {
    !NOT_SETTINGS.contains(&arg.get_id().as_str())
}

/// What can be set in files and in the environment.
pub fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| is_setting(arg))
}

/// The variable of the environment that sets an option.
pub fn variable(arg: &Arg) -> String {
    variable_of(long(arg))
}

/// The same, for its long name.
pub fn variable_of(long: &str) -> String {
    let name = long.to_ascii_uppercase();
    format!("FETCHALL_{}", name.replace(['-', '.'], "_"))
}

/// Whether two options can't be used together, whichever of them says so.
pub fn are_exclusive(command: &Command, one: &str, other: &str) -> bool {
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

/// Whether a group has both, and allows one of them.
fn is_choice(group: &ArgGroup, one: &str, other: &str) -> bool {
    // It takes itself by value to be changed for no reason but to count what is given.
    let several = group.clone().is_multiple();
    let has = |id: &str| group.get_args().any(|arg| arg == id);
    !several && has(one) && has(other)
}
