//! `--generate`: the man page, and completions for shells.

use std::io;

use clap::{Arg, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::arg_values::GenerateArg;
use super::{Cli, help, options};

/// Renders the man page or the completions.
pub(super) fn text(what: GenerateArg) -> String {
    match what {
        GenerateArg::Man => man(),
        GenerateArg::Bash => completions(Shell::Bash),
        GenerateArg::Zsh => completions(Shell::Zsh),
        GenerateArg::Fish => completions(Shell::Fish),
        GenerateArg::Powershell => completions(Shell::PowerShell),
    }
}

fn completions(shell: Shell) -> String {
    let mut command = Cli::command().mut_args(completed);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "fetchall", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Tells shells which arguments are names of files or directories.
fn completed(arg: Arg) -> Arg {
    let hint = match arg.get_id().as_str() {
        "output_dir" => ValueHint::DirPath,
        "inputs" | "pack" | "journal" | "failed" | "cacert" | "config" => ValueHint::FilePath,
        "proxy" => ValueHint::Url,
        "user" | "proxy_user" | "headers" | "data" | "user_agent" | "email_to" => ValueHint::Other,
        _ => return arg,
    };
    arg.value_hint(hint)
}

fn man() -> String {
    // The default synopsis lists all options, which would fill a screen.
    let command = Cli::command().override_usage("fetchall [OPTIONS] [INPUT]...");
    // An empty date would be no argument at all, and the next one would be taken for it.
    let man = Man::new(command).date(" ").manual("User Commands");
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = sections(&man, &mut page);
    String::from_utf8_lossy(&page).into_owned()
}

fn sections(man: &Man, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    let mut roff = Roff::new();
    listed(&mut roff, "EXIT STATUS", &help::EXIT_CODES);
    listed(&mut roff, "ENVIRONMENT", &help::ENVIRONMENT);
    roff.control("PP", []);
    roff.text([roman(settable())]);
    listed(&mut roff, "FILES", &help::FILES);
    roff.control("PP", []);
    roff.text([roman(help::PRECEDENCE)]);
    roff.control("SH", ["EXAMPLES"]);
    for (example, what) in help::EXAMPLES {
        roff.control("TP", []);
        roff.text([bold(example)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("curl"),
        roman("(1), "),
        bold("wget"),
        roman("(1), "),
        bold("jq"),
        roman("(1)"),
    ]);
    roff.to_writer(page)
}

/// Describes which options can be set in config files and the environment.
fn settable() -> String {
    let command = Cli::command();
    let others: Vec<_> = command
        .get_arguments()
        .filter(|arg| !options::is_setting(arg))
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect();
    format!(
        "Every option except {} can be set in a config file, under its long name, and in the \
         environment, as FETCHALL_ and that name in capitals, with _ for hyphens and dots.",
        others.join(", ")
    )
}

fn listed(roff: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, what) in rows {
        roff.control("TP", []);
        roff.text([italic(*name)]);
        roff.text([roman(*what)]);
    }
}
