//! Warnings about settings that are valid but most likely a mistake.

use std::ffi::OsString;

use clap::CommandFactory;
use fetchall::ShardBy;
use fetchall::program::{Config, ResultFormat};

use super::{Cli, environment, secrets};

/// Maximum number of characters of a template that a warning repeats.
const MAX_SHOWN_CHARS: usize = 40;

/// Returns the warnings to print before the run.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let format = config.report.results.as_ref().map(|(format, _)| format);
    let template = format.and_then(template);
    let variables = unknown_variables(std::env::vars_os());
    let divided = divided_hosts(config);
    let warnings = template.into_iter().chain(divided);
    warnings.chain(variables).collect()
}

/// Warns that the limits of a host do not hold for all shards together.
fn divided_hosts(config: &Config) -> Option<String> {
    let shard = config.input.shard?;
    let is_divided = shard.by() == ShardBy::Url && shard.of().get() > 1;
    is_divided.then(|| {
        format!(
            "--shard-by url: each host is in all {} shards, and limits per host hold within each of \
             them only",
            shard.of()
        )
    })
}

/// Warns of a netrc file that other users can read.
pub(crate) fn netrc_warning(cli: &Cli) -> Option<String> {
    let path = secrets::netrc_path(cli.request.netrc_file.as_deref(), cli.request.netrc)?;
    secrets::netrc_warning(&path)
}

/// Warns of a user without a password. curl asks for one; here an empty one is sent, which is
/// right for tokens. The user is not repeated: it may be such a token.
pub(crate) fn lacks_password(cli: &Cli) -> Vec<String> {
    let variable = std::env::var(secrets::USER_VARIABLE).ok();
    let user = match &cli.request.user {
        Some(user) => ("--user", Some(user)),
        None => (secrets::USER_VARIABLE, variable.as_ref()),
    };
    let given = [user, ("--proxy-user", cli.request.proxy_user.as_ref())];
    let is_alone = |user: &&String| !user.is_empty() && !user.contains(':');
    let alone = given
        .into_iter()
        .filter(|(_, user)| user.as_ref().is_some_and(is_alone));
    let text = |(option, _)| {
        let file = if option == secrets::USER_VARIABLE {
            ""
        } else {
            " or USER:@FILE"
        };
        format!(
            "{option}: no password: an empty one is sent; use USER:PASSWORD{file}, or USER: if it \
             is meant to be empty"
        )
    };
    alone.map(text).collect()
}

/// Warns of a template without a field: it prints the same for every URL, or nothing if it is
/// empty.
fn template(format: &ResultFormat) -> Option<String> {
    let ResultFormat::Template(template) = format else {
        return None;
    };
    let text = template.constant()?;
    if text.is_empty() {
        return Some(
            "--format: empty template: nothing is printed; a field is %{NAME}, such as %{url}"
                .to_owned(),
        );
    }
    let instead = match &*text.trim().to_ascii_lowercase() {
        "json" | "jsonl" | "ndjson" => "--json prints records",
        "csv" | "tsv" | "table" => "--csv prints a table",
        "text" | "plain" | "default" => "text is the default",
        _ => "a field is %{NAME}, such as %{url}",
    };
    let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    Some(format!(
        "--format: no field in {shown:?}: every URL prints the same; {instead}"
    ))
}

fn unknown_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let is_ours = |(name, _): &(OsString, OsString)| environment::is_ours(name);
    let mut ours = variables.filter(is_ours).peekable();
    match ours.peek() {
        Some(_) => environment::unknown_variables(&Cli::command(), ours),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchall::program::Template;

    #[test]
    fn a_template_without_a_field_is_a_warning() {
        let warning = |text| template(&ResultFormat::Template(Template::parse(text).unwrap()));
        for (text, instead) in [
            ("json", "--json prints records"),
            (" CSV\n", "--csv prints a table"),
            ("text", "text is the default"),
            ("{url}", "such as %{url}"),
            ("%url%%", "such as %{url}"),
        ] {
            let warning = warning(text).unwrap();
            assert!(warning.contains(instead), "{warning}");
        }
        assert!(warning("").unwrap().contains("nothing is printed"));
        assert_eq!(warning("%{url}").or(warning("a %{json}")), None);
        assert_eq!(template(&ResultFormat::Json), None);
        assert!(warning(&"x".repeat(1000)).unwrap().len() < 200);
    }
}
