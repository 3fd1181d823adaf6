//! What is done as it was said, and is hardly what was meant: warnings.

use std::ffi::OsString;

use clap::CommandFactory;
use fetchall::{Config, Format};

use super::{Cli, environment};

/// Characters of a template that a warning repeats.
const MOST_SHOWN: usize = 40;

/// What people should know before the run.
pub fn warnings(config: &Config) -> Vec<String> {
    let format = config.report.results.as_ref().map(|(format, _)| format);
    let names = std::env::vars_os().map(|(name, _)| name);
    let template = format.and_then(template);
    template.into_iter().chain(strangers(names)).collect()
}

/// A template without a field prints the same for every URL. An empty one is a way to print
/// nothing.
fn template(format: &Format) -> Option<String> {
    let Format::Template(template) = format else {
        return None;
    };
    let text = template.constant().filter(|text| !text.is_empty())?;
    let instead = match &*text.trim().to_ascii_lowercase() {
        "json" | "jsonl" | "ndjson" => "--json prints records",
        "csv" | "tsv" | "table" => "--csv prints a table",
        "text" | "plain" | "default" => "lines of text need no option",
        _ => "a field is %{NAME}, such as %{url}",
    };
    let shown: String = text.chars().take(MOST_SHOWN).collect();
    Some(format!(
        "--format: {shown:?} names no field, so it is printed for every URL; {instead}"
    ))
}

fn strangers(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut names = names.filter(|name| environment::is_ours(name)).peekable();
    match names.peek() {
        Some(_) => environment::strangers(&Cli::command(), names),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fetchall::Template;

    #[test]
    fn a_template_without_a_field_is_told_where_that_is_no_wish() {
        let told = |text| template(&Format::Template(Template::parse(text).unwrap()));
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
        assert_eq!(told("").or(told("%{url}")).or(told("a %{json}")), None);
        assert_eq!(template(&Format::Json), None);
        assert!(told(&"x".repeat(1000)).unwrap().len() < 200);
    }
}
