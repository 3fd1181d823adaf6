//! `-w TEMPLATE`: prints each record in a format given by the user.

use std::io;

use super::fields::RecordField;
use super::{Output, Reporter};
use crate::model::{EngineEvent, escape_control, similar_name};

/// How the name of a column of the input line begins.
const COLUMN_PREFIX: &str = "columns.";

/// A parsed output template: text with field names in `%{…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<TemplatePiece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    Field(RecordField),
    /// A column of the input line, by its name.
    Column(String),
}

/// Why a template is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It names an unknown field.
    #[error("unknown field {name:?}{}", hint(.near.as_deref()))]
    Unknown {
        /// The name as written.
        name: String,
        /// A known field with a similar name.
        near: Option<String>,
    },
    /// A `%{` lacks its `}`.
    #[error("%{{{0} is not closed by }}")]
    Unclosed(String),
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(
        || "; fields include status, url, elapsed_ms, bytes, error, message, json".to_owned(),
        |near| format!("; did you mean %{{{near}}}?"),
    )
}

impl Template {
    /// Parses a template: `%{name}` is a field, `%%` a percent sign, and `\n`, `\r`, `\t`, `\0` and
    /// `\\` are escapes as in C. Everything else is literal text.
    ///
    /// # Errors
    /// See [`TemplateError`].
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
                    pieces.push(parse_name(name)?);
                    after
                }
                None => push_literal(mark, &mut text),
            };
        }
        text.push_str(rest);
        push_text(&mut pieces, &mut text);
        Ok(Self(pieces))
    }

    /// Returns the names of the columns of the input that the template prints.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            TemplatePiece::Column(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Returns the text if the template names no field, so that all URLs print the same.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [TemplatePiece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn parse_name(name: &str) -> Result<TemplatePiece, TemplateError> {
    Ok(match name.strip_prefix(COLUMN_PREFIX) {
        Some(column) => TemplatePiece::Column(column.to_owned()),
        None => TemplatePiece::Field(parse_field(name)?),
    })
}

fn push_text(pieces: &mut Vec<TemplatePiece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(TemplatePiece::Text(std::mem::take(text)));
    }
}

fn parse_field(name: &str) -> Result<RecordField, TemplateError> {
    RecordField::named(name).ok_or_else(|| {
        let near = similar_name(name, RecordField::all().map(|(known, _)| known));
        TemplateError::Unknown {
            name: name.to_owned(),
            near: near.map(str::to_owned),
        }
    })
}

/// Appends the character denoted by an escape at the start of `mark`, and returns the rest.
fn push_literal<'a>(mark: &'a str, text: &mut String) -> &'a str {
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

/// Prints each record in the format of a template.
pub(crate) struct TemplateReporter {
    output: Output,
    template: Template,
}

impl TemplateReporter {
    /// Creates a reporter that writes to `output`.
    #[must_use]
    pub(crate) fn new(output: Output, template: Template) -> Self {
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
                TemplatePiece::Column(name) => {
                    let columns = settled.record.columns.as_ref();
                    let text = columns.and_then(|columns| columns.get(name));
                    let text = text.unwrap_or_default();
                    line.extend_from_slice(escape_control(&text).as_bytes());
                }
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
    fn an_unknown_field_is_an_error_with_a_suggestion() {
        let error = |template| Template::parse(template).unwrap_err().to_string();
        for (written, meant) in [("URL", "url"), (" Url ", "url"), ("final-url", "final_url")] {
            let message = Template::parse(&format!("%{{{written}}}"))
                .unwrap_err()
                .to_string();
            assert!(message.contains(&format!("%{{{meant}}}")), "{message}");
        }
        let page = ["%{stauts}", "%{frobnicate_it}", "x %{status"].map(error);
        insta::assert_snapshot!("no_fields", page.join("\n"));
    }
}
