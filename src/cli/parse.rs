//! From the arguments to what is asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::generate::GenerateArg;
use super::options::SettingError;
use super::redact::Redactions;
use super::setting_origins::SettingOrigins;
use super::settings::{MergedSettings, merge};
use super::{Cli, config_file, environment, explain, flag_hints, generate, print_config};

/// What the command line asks for.
pub enum CliAction {
    /// A run, and where its settings come from.
    Run(Box<Cli>, SettingOrigins),
    /// A text on stdout.
    Print(String),
}

/// Why nothing is done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is not understood, or asks for help.
    #[error(transparent)]
    Usage(Box<clap::Error>),
    /// A variable or a file holds what is no setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// `--explain` of what is no kind of error.
    #[error("--explain {0}")]
    Explain(String),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(flag_hints::add(error)))
    }
}

/// Reads the command line, and what is set elsewhere.
///
/// # Errors
/// What is wrong, or a request for help.
pub fn read(args: impl Iterator<Item = OsString>) -> Result<CliAction, CliError> {
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
    let variables = environment::read(&command, |name| std::env::var_os(name))?;
    let files = files(&line)?;
    // Also of a variable: it may be stdin, which is read but once.
    let named = files.paths.first().filter(|_| files.must_be_there).cloned();
    let mut places = Vec::new();
    let mut sources = vec![variables];
    for path in files.paths {
        let given = if files.must_be_there {
            Some(config_file::read(&path, &command)?)
        } else {
            config_file::read_optional(&path, &command)?
        };
        places.push((path, given.is_some()));
        sources.extend(given);
    }
    let settled = if is_whole && sources.iter().all(Vec::is_empty) {
        MergedSettings::of(line)
    } else {
        merge(&mut command, &args, &line, sources)?
    };
    if settled.matches.get_flag("print_config") {
        return Ok(CliAction::Print(print_config::text(
            &command, &settled, &places,
        )));
    }
    let mut cli = Cli::from_arg_matches(&settled.matches)?;
    cli.config = named;
    let origins = SettingOrigins {
        redactions: Redactions::of(&command, &settled.matches),
        given: settled.used,
    };
    Ok(CliAction::Run(Box::new(cli), origins))
}

/// What stands on the command line itself, and whether it is all right by itself: an option it
/// needs may be set elsewhere.
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
    must_be_there: bool,
}

fn files(line: &ArgMatches) -> Result<ConfigPaths, SettingError> {
    let variable = |name| std::env::var_os(name).filter(|text| !text.is_empty());
    let named = |path: &Path| ConfigPaths {
        paths: vec![path.to_owned()],
        must_be_there: true,
    };
    let none = ConfigPaths {
        paths: Vec::new(),
        must_be_there: false,
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
                return Err(SettingError(
                    "FETCHALL_NO_CONFIG: 1, true, 0 or false is needed".to_owned(),
                ));
            }
        }
    }
    Ok(match variable("FETCHALL_CONFIG") {
        Some(path) => named(Path::new(&path)),
        None => ConfigPaths {
            paths: config_file::default_paths(|name| std::env::var_os(name)),
            must_be_there: false,
        },
    })
}
