//! `-w TEMPLATE`: a line, or whatever it is, of each URL as its user wants it.

use std::io;

use super::fields::RecordField;
use super::{Output, Reporter};
use crate::model::EngineEvent;

/// Edits up to which a name is taken for a misspelt one.
const MAX_EDITS: usize = 3;

/// How a record is printed: text with the names of fields in `%{…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<TemplatePiece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    Field(RecordField),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such field.
    #[error("there is no field {name:?}{}", hint(.near.as_deref()))]
    Unknown {
        /// As it was written.
        name: String,
        /// One that is spelt alike.
        near: Option<String>,
    },
    /// A `%{` without its `}`.
    #[error("%{{{0} has no }} at its end")]
    Unclosed(String),
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(
        || ", such as status, url, elapsed_ms, bytes, error, message, json".to_owned(),
        |near| format!("; did you mean %{{{near}}}?"),
    )
}

impl Template {
    /// Reads a template: `%{name}` is a field, `%%` a percent sign, and `\n`, `\r`, `\t`, `\0` and
    /// `\\` are what they are in C. Everything else stands for itself.
    ///
    /// # Errors
    /// [`TemplateError`] for a name that is none.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['%', '\\']) {
            let (before, mark) = rest.split_at(at);
            text.push_str(before);
            rest = match mark.strip_prefix("%{") {
                Some(name) => {
                    let (name, after) = name
                        .split_once('}')
                        .ok_or_else(|| TemplateError::Unclosed(name.to_owned()))?;
                    push_text(&mut pieces, &mut text);
                    pieces.push(TemplatePiece::Field(field(name)?));
                    after
                }
                None => literal(mark, &mut text),
            };
        }
        text.push_str(rest);
        push_text(&mut pieces, &mut text);
        Ok(Self(pieces))
    }

    /// The text that is printed for every URL, if no field is named.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [TemplatePiece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn push_text(pieces: &mut Vec<TemplatePiece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(TemplatePiece::Text(std::mem::take(text)));
    }
}

fn field(name: &str) -> Result<RecordField, TemplateError> {
    RecordField::named(name).ok_or_else(|| {
        let plain = name.trim().to_ascii_lowercase().replace('-', "_");
        let names =
            RecordField::all().map(|(known, _)| (strsim::levenshtein(known, &plain), known));
        let near = names
            .min()
            .filter(|(edits, _)| *edits <= MAX_EDITS.min(name.len() / 2));
        TemplateError::Unknown {
            name: name.to_owned(),
            near: near.map(|(_, known)| known.to_owned()),
        }
    })
}

/// What stands for one character; gives what comes after it.
fn literal<'a>(mark: &'a str, text: &mut String) -> &'a str {
    for (written, meant) in [
        ("%%", '%'),
        ("\\n", '\n'),
        ("\\r", '\r'),
        ("\\t", '\t'),
        ("\\0", '\0'),
        ("\\\\", '\\'),
    ] {
        if let Some(rest) = mark.strip_prefix(written) {
            text.push(meant);
            return rest;
        }
    }
    let (first, rest) = mark.split_at(1);
    text.push_str(first);
    rest
}

/// Prints each record by a template.
pub struct TemplateReporter {
    output: Output,
    template: Template,
}

impl TemplateReporter {
    /// Writes to `output`.
    #[must_use]
    pub fn new(output: Output, template: Template) -> Self {
        Self { output, template }
    }
}

impl Reporter for TemplateReporter {
    fn on_event(&mut self, event: &EngineEvent) -> io::Result<()> {
        let EngineEvent::Settled(settled) = event else {
            return Ok(());
        };
        let line = self.output.line();
        for piece in &self.template.0 {
            match piece {
                TemplatePiece::Text(text) => line.extend_from_slice(text.as_bytes()),
                TemplatePiece::Field(field) => field.write(&settled.record, line),
            }
        }
        self.output.end_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TemplatePiece {
        TemplatePiece::Text(text.to_owned())
    }

    #[test]
    fn a_template_is_text_and_fields() {
        let template = Template::parse(r"%{status}\t%{url} 100%% %x \q\\\n").unwrap();
        let pieces = vec![
            TemplatePiece::Field(RecordField::Status),
            text("\t"),
            TemplatePiece::Field(RecordField::Url),
            text(" 100% %x \\q\\\n"),
        ];
        assert_eq!(template, Template(pieces));
        assert_eq!(Template::parse("").unwrap(), Template(Vec::new()));
        assert_eq!(Template::parse("%").unwrap(), Template(vec![text("%")]));
    }

    #[test]
    fn what_is_no_field_is_told_with_the_nearest() {
        let error = |template| Template::parse(template).unwrap_err().to_string();
        for (written, meant) in [("URL", "url"), (" Url ", "url"), ("final-url", "final_url")] {
            let told = Template::parse(&format!("%{{{written}}}"))
                .unwrap_err()
                .to_string();
            assert!(told.contains(&format!("%{{{meant}}}")), "{told}");
        }
        let page = ["%{stauts}", "%{frobnicate_it}", "x %{status"].map(error);
        insta::assert_snapshot!("no_fields", page.join("\n"));
    }
}
