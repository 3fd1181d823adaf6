//! Config files: TOML with the long option names as keys.
//!
//! Only files of the user and of the system are looked up, never one in the current directory:
//! that may have been downloaded, and could then choose a proxy, disable certificate verification
//! or redirect where bodies are saved.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, Command};
use fetchall::program::{host_name, similar_name};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::environment::times;
use super::flag_hints;
use super::fs_util;
use super::host_sections::{self, HOST_KEY, HostSection};
use super::options::{
    OptionArity, SettingEntry, SettingError, SettingOrigin, SettingValue, is_setting, long,
    settings,
};
use super::redact;

/// File name of the default config files.
pub(super) const CONFIG_FILE_NAME: &str = "fetchall.toml";

/// Returns the paths of the default config files, those with precedence first.
pub(super) fn default_paths(get: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // A relative path would lead to the current directory after all. The XDG Base Directory
    // Specification says to ignore it.
    let directory = |name| get(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let own = if cfg!(windows) {
        directory("APPDATA")
    } else {
        directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))
    };
    let mut paths: Vec<_> = own
        .map(|dir| dir.join("fetchall").join(CONFIG_FILE_NAME))
        .into_iter()
        .collect();
    if cfg!(unix) {
        paths.push(Path::new("/etc").join(CONFIG_FILE_NAME));
    }
    paths
}

/// Reads the settings from a file that must exist.
///
/// # Errors
/// When it cannot be read or contains an invalid setting.
pub(super) fn read(path: &Path, command: &Command) -> Result<ConfigFile, SettingError> {
    let text = fs_util::read_text(path).map_err(|error| {
        SettingError(format!(
            "cannot read the config file {}: {error}",
            redact::name(&path.to_string_lossy())
        ))
    })?;
    parse(&text, path, command)
}

/// Reads the settings from a file that may be absent.
///
/// # Errors
/// As [`read`], except when the file does not exist or its directory is not accessible.
pub(super) fn read_optional(
    path: &Path,
    command: &Command,
) -> Result<Option<ConfigFile>, SettingError> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match path.metadata() {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => {
            Ok(None)
        }
        _ => read(path, command).map(Some).map_err(|error| {
            SettingError(format!(
                "{error}; fix it, or skip config files with --no-config"
            ))
        }),
    }
}

/// The settings of a config file.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub settings: Vec<SettingEntry>,
    /// Those for single hosts.
    pub hosts: Vec<HostSection>,
}

/// A key with its value and its byte offset in the file.
struct TomlEntry<'t> {
    key: String,
    at: usize,
    value: &'t DeValue<'t>,
}

/// Parses the settings in `text`. Errors name `path`.
///
/// # Errors
/// The first invalid setting, with its line.
pub(super) fn parse(
    text: &str,
    path: &Path,
    command: &Command,
) -> Result<ConfigFile, SettingError> {
    let path: Arc<Path> = path.into();
    let origin = |at: usize| origin(text, at, &path);
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        SettingError(format!("{}: {message}", origin(at)))
    })?;
    let mut entries = Vec::new();
    flatten("", table.get_ref(), &mut entries);
    entries.sort_by_key(|entry| entry.at);
    let given = |entry: &TomlEntry, option: FindOption| {
        let origin = origin(entry.at);
        let arg = option(&entry.key, command)
            .map_err(|message| origin.error(&redact::name(&entry.key), message))?;
        let value = value(arg, entry.value).map_err(|message| origin.error(long(arg), message))?;
        Ok(SettingEntry::new(arg, value, origin))
    };
    let settings: Result<Vec<_>, _> = entries.iter().map(|entry| given(entry, option)).collect();
    let mut seen = HashSet::new();
    let mut tables: Vec<_> = host_tables(table.get_ref()).collect();
    tables.sort_by_key(|(key, _)| key.span().start);
    let hosts = tables.into_iter().map(|(key, section)| {
        let name = key.get_ref();
        let failed = |message: String| {
            let shown = redact::name(&format!("host.\"{name}\""));
            origin(key.span().start).error(&shown, message)
        };
        let DeValue::Table(section) = section.get_ref() else {
            return Err(failed("expected a section: [host.\"NAME\"]".to_owned()));
        };
        let host = host_name(name).map_err(failed)?;
        if !seen.insert(host.clone()) {
            return Err(failed(
                "the host has a section above already; put all its keys there".to_owned(),
            ));
        }
        let mut entries = Vec::new();
        flatten("", section, &mut entries);
        entries.sort_by_key(|entry| entry.at);
        let find = host_sections::option;
        let settings: Result<Vec<_>, _> = entries.iter().map(|entry| given(entry, find)).collect();
        let settings = settings?;
        Ok(HostSection { host, settings })
    });
    Ok(ConfigFile {
        settings: settings?,
        hosts: hosts.collect::<Result<_, SettingError>>()?,
    })
}

/// The line of the file at this byte.
fn origin(text: &str, at: usize, path: &Arc<Path>) -> SettingOrigin {
    let before = text.get(..at).unwrap_or(text);
    SettingOrigin::File {
        path: Arc::clone(path),
        line: before.matches('\n').count() + 1,
    }
}

/// Finds the option that a key sets.
type FindOption = for<'c> fn(&str, &'c Command) -> Result<&'c Arg, String>;

/// Returns the sections for single hosts, by host.
fn host_tables<'t>(
    table: &'t DeTable<'t>,
) -> impl Iterator<Item = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    let hosts = match table.get(HOST_KEY).map(Spanned::get_ref) {
        Some(DeValue::Table(hosts)) => Some(hosts),
        _ => None,
    };
    hosts.into_iter().flatten()
}

/// Collects the entries of a table. `http1.1 = true`, which TOML reads as a nested table, becomes
/// one entry with the key `http1.1`.
fn flatten<'t>(prefix: &str, table: &'t DeTable<'t>, entries: &mut Vec<TomlEntry<'t>>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(_) if name == HOST_KEY => {}
            DeValue::Table(inner) if !inner.is_empty() => {
                flatten(&format!("{name}."), inner, entries);
            }
            value => entries.push(TomlEntry {
                key: name,
                at: key.span().start,
                value,
            }),
        }
    }
}

fn option<'c>(key: &str, command: &'c Command) -> Result<&'c Arg, String> {
    if let Some(arg) = command.get_arguments().find(|arg| long(arg) == key) {
        return if is_setting(arg) {
            Ok(arg)
        } else {
            Err("only allowed on the command line".to_owned())
        };
    }
    if let Some(hint) = flag_hints::flag(&format!("--{key}")) {
        return Err(format!("unknown option; {hint}"));
    }
    Err(match similar_name(key, settings(command).map(long)) {
        Some(meant) => format!("unknown option; did you mean {meant}?"),
        None => {
            "unknown option; keys are the long names in fetchall --help, without the leading hyphens"
                .to_owned()
        }
    })
}

fn value(arg: &Arg, value: &DeValue<'_>) -> Result<SettingValue, String> {
    match (OptionArity::from_arg(arg), value) {
        (OptionArity::Switch | OptionArity::Count | OptionArity::Perhaps, DeValue::Boolean(on)) => {
            Ok(if *on {
                SettingValue::On
            } else {
                SettingValue::Off
            })
        }
        (OptionArity::Switch, _) => Err("expected true or false".to_owned()),
        (OptionArity::Count, DeValue::Integer(number)) => times(number.as_str()),
        (OptionArity::Count, _) => times(""),
        (OptionArity::Many, DeValue::Array(values)) => {
            let texts: Result<Vec<_>, _> = values.iter().map(|one| scalar(one.get_ref())).collect();
            let texts = texts?;
            Ok(if texts.is_empty() {
                SettingValue::Off
            } else {
                SettingValue::Texts(texts)
            })
        }
        (_, DeValue::Array(_)) => Err("expected one value, not a list".to_owned()),
        (OptionArity::One | OptionArity::Many | OptionArity::Perhaps, value) => {
            Ok(SettingValue::Texts(vec![scalar(value)?]))
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Result<OsString, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().into()),
        DeValue::Float(number) => Ok(number.as_str().into()),
        DeValue::Boolean(_) => Err("expected a value, not true or false".to_owned()),
        _ => Err("expected a quoted string or a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_user_and_the_system_are_looked_up() {
        let paths = |xdg: Option<&'static str>, home: Option<&'static str>| {
            default_paths(move |name| match name {
                "XDG_CONFIG_HOME" => xdg.map(OsString::from),
                "HOME" => home.map(OsString::from),
                _ => None,
            })
        };
        let system = PathBuf::from("/etc/fetchall.toml");
        let own = |path: &str| vec![PathBuf::from(path), system.clone()];
        assert_eq!(
            paths(Some("/x"), Some("/home/a")),
            own("/x/fetchall/fetchall.toml")
        );
        let at_home = own("/home/a/.config/fetchall/fetchall.toml");
        assert_eq!(paths(None, Some("/home/a")), at_home);
        assert_eq!(paths(Some(""), Some("/home/a")), at_home);
        assert_eq!(paths(Some("relative"), Some("/home/a")), at_home);
        assert_eq!(paths(None, Some(".")), vec![system.clone()]);
        assert_eq!(paths(None, None), vec![system.clone()]);
    }
}
