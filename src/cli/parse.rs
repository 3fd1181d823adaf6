//! Decides what the program should do: start a run, print a text, or reject the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use fetchall::program::Config;

use super::arg_values::GenerateArg;
use super::cli_error::CliError;
use super::host_sections::HostSection;
use super::limit_settings::{LimitSetting, limit_settings};
use super::masked_values::Redactions;
use super::options::SettingError;
use super::setting_origins::SettingOrigins;
use super::settings::{MergedSettings, merge};
use super::{
    Cli, config_file, environment, explain, generate, host_sections, print_config, redact,
};

/// What the command line requests.
pub(crate) enum CliAction {
    /// Start a run; with the sources of its settings.
    Run(Box<Cli>, SettingOrigins),
    /// Print a text on stdout.
    Print(String),
}

/// Parses the command line and merges it with the settings from the environment and config files.
///
/// # Errors
/// [`CliError`] when one of them is invalid, or the command line requests help.
pub(crate) fn read(args: impl Iterator<Item = OsString>) -> Result<CliAction, CliError> {
    let args: Vec<_> = args.collect();
    let mut command = Cli::command();
    let (line, is_whole) = command_line(&mut command, &args)?;
    if let Some(what) = line.get_one::<GenerateArg>("generate") {
        return Ok(CliAction::Print(generate::text(*what)));
    }
    if line.contains_id("explain") {
        let kind = line.get_one::<String>("explain");
        let page = explain::page(kind.map(String::as_str), &line).map_err(CliError::Explain)?;
        return Ok(CliAction::Print(page));
    }
    let files = files(&line)?;
    // Also if FETCHALL_CONFIG named it: it may be stdin, which can be read only once.
    let named = files.paths.first().filter(|_| files.must_exist).cloned();
    let AllSettings {
        settled,
        hosts,
        looked_up,
        limits,
    } = all_settings(&mut command, &args, line, is_whole, files)?;
    if settled.matches.get_flag("print_config") {
        host_sections::apply(&hosts, &mut Config::default())?;
        return Ok(CliAction::Print(print_config::text(
            &command, &settled, &looked_up, &hosts,
        )));
    }
    let mut cli = Cli::from_arg_matches(&settled.matches)?;
    cli.config = named;
    cli.hosts = hosts;
    let origins = SettingOrigins {
        redactions: Redactions::of(&command, &settled.matches),
        given: settled.used,
        limits,
    };
    Ok(CliAction::Run(Box::new(cli), origins))
}

/// Reads the settings of a call again that started a run.
///
/// # Errors
/// As [`read`], and if a file that was named is no file but a pipe, which has been read.
pub(super) fn read_again(args: &[OsString]) -> Result<(Cli, Vec<LimitSetting>), CliError> {
    let mut command = Cli::command();
    let (line, is_whole) = command_line(&mut command, args)?;
    let files = files(&line)?;
    for path in files.paths.iter().filter(|_| files.must_exist) {
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            let name = redact::name(&path.to_string_lossy());
            let text = format!("cannot read the config file {name} again: not a regular file");
            return Err(SettingError(text).into());
        }
    }
    let read = all_settings(&mut command, args, line, is_whole, files)?;
    let mut cli = Cli::from_arg_matches(&read.settled.matches)?;
    cli.hosts = read.hosts;
    Ok((cli, read.limits))
}

/// The settings of all sources.
struct AllSettings {
    settled: MergedSettings,
    hosts: Vec<HostSection>,
    /// The config files that were looked up, and whether each was there.
    looked_up: Vec<(PathBuf, bool)>,
    limits: Vec<LimitSetting>,
}

fn all_settings(
    command: &mut clap::Command,
    args: &[OsString],
    line: ArgMatches,
    is_whole: bool,
    files: ConfigPaths,
) -> Result<AllSettings, CliError> {
    let variables = environment::read(command, |name| std::env::var_os(name))?;
    let mut looked_up = Vec::new();
    let (mut sources, mut hosts) = (vec![variables], Vec::new());
    for path in files.paths {
        let given = if files.must_exist {
            Some(config_file::read(&path, command)?)
        } else {
            config_file::read_optional(&path, command)?
        };
        looked_up.push((path, given.is_some()));
        if let Some(file) = given {
            sources.push(file.settings);
            hosts.push(file.hosts);
        }
    }
    let given: Vec<_> = sources.iter().flatten().cloned().collect();
    let settled = if is_whole && given.is_empty() {
        MergedSettings::of(line)
    } else {
        merge(command, args, &line, sources)?
    };
    Ok(AllSettings {
        limits: limit_settings(command, &settled, &given),
        settled,
        hosts: host_sections::merge(hosts),
        looked_up,
    })
}

/// Parses the command line alone. Returns also whether it is complete: an option that another one
/// requires may be set elsewhere.
fn command_line(
    command: &mut clap::Command,
    args: &[OsString],
) -> Result<(ArgMatches, bool), clap::Error> {
    match command.try_get_matches_from_mut(args) {
        Ok(matches) => Ok((matches, true)),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let mut lenient = Cli::command().ignore_errors(true);
            Ok((lenient.try_get_matches_from_mut(args)?, false))
        }
        Err(error) => Err(error),
    }
}

struct ConfigPaths {
    paths: Vec<PathBuf>,
    must_exist: bool,
}

fn files(line: &ArgMatches) -> Result<ConfigPaths, SettingError> {
    let variable = |name| std::env::var_os(name).filter(|text| !text.is_empty());
    let named = |path: &Path| ConfigPaths {
        paths: vec![path.to_owned()],
        must_exist: true,
    };
    let none = ConfigPaths {
        paths: Vec::new(),
        must_exist: false,
    };
    if line.get_flag("no_config") {
        return Ok(none);
    }
    if let Some(path) = line.get_one::<PathBuf>("config") {
        return Ok(named(path));
    }
    if let Some(text) = variable("FETCHALL_NO_CONFIG") {
        match text.to_str().and_then(environment::switch) {
            Some(true) => return Ok(none),
            Some(false) => {}
            None => {
                return Err(SettingError(format!(
                    "FETCHALL_NO_CONFIG: {}",
                    environment::SWITCH_FORM
                )));
            }
        }
    }
    Ok(match variable("FETCHALL_CONFIG") {
        Some(path) => named(Path::new(&path)),
        None => ConfigPaths {
            paths: config_file::default_paths(|name| std::env::var_os(name)),
            must_exist: false,
        },
    })
}
