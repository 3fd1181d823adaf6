//! Columns of an input line that its record repeats.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Maximum length of the columns of a line, in bytes of JSON.
pub(super) const MAX_COLUMNS_BYTES: usize = 256 << 10;

/// Columns of a table, or fields of a JSON line, that the record of the line repeats: a JSON object.
/// It is kept as text, since a tree of its values would take many times as much memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(Box<RawValue>);

impl Columns {
    /// Returns the JSON object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Returns the value of a column as text: that of a string, and of anything else its JSON. Names
    /// are the same in upper and lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut fields = self.fields().into_iter();
        let (_, value) = fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Returns all columns with their values as text, in the order of the line.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let fields = self.values().into_iter();
        fields
            .map(|(name, value)| (name, column_text(value)))
            .collect()
    }

    /// Returns all columns with their values as JSON, in the order of the line.
    #[must_use]
    pub(crate) fn values(&self) -> Vec<(String, &RawValue)> {
        // It was written by `ColumnsBuilder` or read as JSON; anything but an object has no columns.
        let fields: FieldList<'_> = serde_json::from_str(self.as_json()).unwrap_or_default();
        let fields = fields.0.into_iter();
        fields
            .map(|(name, value)| (name.into_owned(), value))
            .collect()
    }

    /// Returns the estimated memory in bytes: of the object, and of its copy in the record as JSON.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        2 * self.as_json().len()
    }
}

/// Returns the value of a column as text: that of a string, and of anything else its JSON.
#[must_use]
pub(crate) fn column_text(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        _ => value.get().to_owned(),
    }
}

/// The fields of an object in their order, which a map would lose.
#[derive(Default)]
struct FieldList<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for FieldList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldListVisitor)
    }
}

struct FieldListVisitor;

impl<'de> Visitor<'de> for FieldListVisitor {
    type Value = FieldList<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<FieldList<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(field) = fields.next_entry()? {
            list.push(field);
        }
        Ok(FieldList(list))
    }
}

impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Columns {}

/// Builds [`Columns`] one by one.
#[derive(Debug, Default)]
pub(crate) struct ColumnsBuilder {
    json: String,
    is_too_long: bool,
}

impl ColumnsBuilder {
    /// Adds a column whose value is text.
    pub(crate) fn push_text(&mut self, name: &str, text: &str) {
        self.push_json(name, &Value::from(text).to_string());
    }

    /// Adds a column whose value is JSON.
    pub(crate) fn push_json(&mut self, name: &str, json: &str) {
        let name = Value::from(name).to_string();
        if self.json.len() + name.len() + json.len() + 3 > MAX_COLUMNS_BYTES {
            self.is_too_long = true;
            return;
        }
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        self.json.push_str(&name);
        self.json.push(':');
        // A tab or line end in valid JSON is between its values. In a record it would be taken for
        // a part of a string, and escaped.
        self.json
            .extend(json.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')));
    }

    /// Whether they exceed the limit, so that [`build`](Self::build) fails.
    pub(crate) fn is_too_long(&self) -> bool {
        self.is_too_long
    }

    /// Returns the columns, or `None` if there are none.
    ///
    /// # Errors
    /// A message if they are too long.
    pub(crate) fn build(mut self) -> Result<Option<Columns>, String> {
        if self.is_too_long {
            return Err(format!("columns exceed {} KiB", MAX_COLUMNS_BYTES >> 10));
        }
        if self.json.is_empty() {
            return Ok(None);
        }
        self.json.push('}');
        let json = RawValue::from_string(self.json);
        json.map(|json| Some(Columns(json)))
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::write_json;

    fn columns(fields: &[(&str, &str)]) -> Columns {
        let mut builder = ColumnsBuilder::default();
        for (name, json) in fields {
            builder.push_json(name, json);
        }
        builder.build().unwrap().unwrap()
    }

    #[test]
    fn a_value_is_text_or_json() {
        let columns = columns(&[
            ("Id", "7"),
            ("b\"", r#""a\n\u00fc""#),
            ("tags", "[1,\t{\"a\": \"\\t\"}]"),
            ("none", "null"),
        ]);
        assert_eq!(columns.get("id").as_deref(), Some("7"));
        assert_eq!(columns.get("B\"").as_deref(), Some("a\nü"));
        assert_eq!(columns.get("tags").as_deref(), Some("[1,{\"a\": \"\\t\"}]"));
        assert_eq!(columns.get("none").as_deref(), Some("null"));
        assert_eq!(columns.get("other"), None);
        let names: Vec<_> = columns.fields().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Id", "b\"", "tags", "none"]);
        let mut json = Vec::new();
        write_json(&mut json, &columns).unwrap();
        assert_eq!(serde_json::from_slice::<Columns>(&json).unwrap(), columns);
    }

    #[test]
    fn the_length_is_limited() {
        let most = MAX_COLUMNS_BYTES - "{\"a\":\"\"}".len();
        for (length, is_fine) in [(most, true), (most + 1, false)] {
            let mut builder = ColumnsBuilder::default();
            builder.push_text("a", &"x".repeat(length));
            let built = builder.build();
            assert_eq!(built.is_ok(), is_fine, "{length}");
            match built {
                Ok(columns) => assert_eq!(columns.unwrap().as_json().len(), MAX_COLUMNS_BYTES),
                Err(why) => assert_eq!(why, "columns exceed 256 KiB"),
            }
        }
    }
}
