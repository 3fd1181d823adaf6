//! What is done as it was said, and is hardly what was meant: warnings.

use std::ffi::OsString;

use clap::CommandFactory;
use fetchall::program::{Config, ResultFormat};

use super::{Cli, environment};

/// Characters of a template that a warning repeats.
const MAX_SHOWN_CHARS: usize = 40;

/// What people should know before the run.
pub fn warnings(config: &Config) -> Vec<String> {
    let format = config.report.results.as_ref().map(|(format, _)| format);
    let template = format.and_then(template);
    let strangers = strangers(std::env::vars_os());
    template.into_iter().chain(strangers).collect()
}

/// A template without a field prints the same for every URL, and an empty one nothing.
fn template(format: &ResultFormat) -> Option<String> {
    let ResultFormat::Template(template) = format else {
        return None;
    };
    let text = template.constant()?;
    if text.is_empty() {
        return Some(
            "--format: the template is empty, so nothing is printed for any URL; a field is \
             %{NAME}, such as %{url}"
                .to_owned(),
        );
    }
    let instead = match &*text.trim().to_ascii_lowercase() {
        "json" | "jsonl" | "ndjson" => "--json prints records",
        "csv" | "tsv" | "table" => "--csv prints a table",
        "text" | "plain" | "default" => "lines of text need no option",
        _ => "a field is %{NAME}, such as %{url}",
    };
    let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    Some(format!(
        "--format: {shown:?} names no field, so it is printed for every URL; {instead}"
    ))
}

fn strangers(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
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
    fn a_template_without_a_field_is_told_where_that_is_no_wish() {
        let told = |text| template(&ResultFormat::Template(Template::parse(text).unwrap()));
        for (text, instead) in [
            ("json", "--json prints records"),
            (" CSV\n", "--csv prints a table"),
            ("text", "need no option"),
            ("{url}", "such as %{url}"),
            ("%url%%", "such as %{url}"),
        ] {
            let told = told(text).unwrap();
            assert!(told.contains(instead), "{told}");
        }
        assert!(told("").unwrap().contains("nothing is printed"));
        assert_eq!(told("%{url}").or(told("a %{json}")), None);
        assert_eq!(template(&ResultFormat::Json), None);
        assert!(told(&"x".repeat(1000)).unwrap().len() < 200);
    }
}
