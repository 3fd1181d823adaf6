//! The values of a JSON line. Values of unexpected types are validated but not stored: 16 MiB may
//! contain millions of them, which would take a hundred times that as a tree.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Maximum number of header values of a line: the same as for a response.
const MAX_HEADERS: usize = 1000;

/// The value of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonField {
    /// A string.
    Text(String),
    /// A non-negative integer.
    Number(u64),
    /// Any other value, not stored.
    Other,
}

/// The headers of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonHeaders {
    /// Names with their values; of a duplicate name the last one counts.
    Fields(BTreeMap<String, Vec<String>>),
    /// Invalid headers, with the reason.
    Unusable(String),
}

impl JsonField {
    /// Returns the text of a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other => None,
        }
    }

    /// Returns the number of a non-negative integer.
    pub(super) fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for JsonField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

impl<'de> Deserialize<'de> for JsonHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadersVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = JsonField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonField, E> {
        Ok(JsonField::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<JsonField, E> {
        Ok(JsonField::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonField, E> {
        Ok(JsonField::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonField, E> {
        Ok(JsonField::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonField, E> {
        Ok(JsonField::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonField, E> {
        Ok(JsonField::Other)
    }

    fn visit_unit<E>(self) -> Result<JsonField, E> {
        Ok(JsonField::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<JsonField, A::Error> {
        IgnoredAny.visit_seq(values)?;
        Ok(JsonField::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<JsonField, A::Error> {
        IgnoredAny.visit_map(fields)?;
        Ok(JsonField::Other)
    }
}

struct HeadersVisitor;

impl HeadersVisitor {
    fn unusable<E>() -> Result<JsonHeaders, E> {
        Ok(JsonHeaders::Unusable(
            "headers must be an object".to_owned(),
        ))
    }
}

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = JsonHeaders;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_str<E>(self, _: &str) -> Result<JsonHeaders, E> {
        Self::unusable()
    }

    fn visit_u64<E>(self, _: u64) -> Result<JsonHeaders, E> {
        Self::unusable()
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonHeaders, E> {
        Self::unusable()
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonHeaders, E> {
        Self::unusable()
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonHeaders, E> {
        Self::unusable()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<JsonHeaders, A::Error> {
        IgnoredAny.visit_seq(values)?;
        Self::unusable()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonHeaders, A::Error> {
        let mut headers = BTreeMap::new();
        let mut count = 0;
        while let Some(name) = fields.next_key::<String>()? {
            if count >= MAX_HEADERS {
                fields.next_value::<IgnoredAny>()?;
                count += 1;
                continue;
            }
            let JsonTexts(values) = fields.next_value()?;
            let Some(values) = values else {
                IgnoredAny.visit_map(fields)?;
                let why = "header values must be strings or arrays of strings";
                return Ok(JsonHeaders::Unusable(why.to_owned()));
            };
            count += values.len();
            headers.insert(name, values);
        }
        if count > MAX_HEADERS {
            let why = format!("more than {MAX_HEADERS} headers");
            return Ok(JsonHeaders::Unusable(why));
        }
        Ok(JsonHeaders::Fields(headers))
    }
}

/// One string or several, such as the values of a header; `None` if it is anything else. At most one
/// more than a line may have headers is stored, enough to detect that there are too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonTexts(pub Option<Vec<String>>);

impl<'de> Deserialize<'de> for JsonTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = JsonTexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonTexts, E> {
        Ok(JsonTexts(Some(vec![text.to_owned()])))
    }

    fn visit_u64<E>(self, _: u64) -> Result<JsonTexts, E> {
        Ok(JsonTexts(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonTexts, E> {
        Ok(JsonTexts(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonTexts, E> {
        Ok(JsonTexts(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonTexts, E> {
        Ok(JsonTexts(None))
    }

    fn visit_unit<E>(self) -> Result<JsonTexts, E> {
        Ok(JsonTexts(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<JsonTexts, A::Error> {
        let mut texts = Vec::new();
        while texts.len() <= MAX_HEADERS {
            match values.next_element()? {
                Some(JsonField::Text(text)) => texts.push(text),
                Some(_) => {
                    IgnoredAny.visit_seq(values)?;
                    return Ok(JsonTexts(None));
                }
                None => return Ok(JsonTexts(Some(texts))),
            }
        }
        IgnoredAny.visit_seq(values)?;
        Ok(JsonTexts(Some(texts)))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<JsonTexts, A::Error> {
        IgnoredAny.visit_map(fields)?;
        Ok(JsonTexts(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> JsonHeaders {
        serde_json::from_str(text).unwrap()
    }

    fn why(text: &str) -> String {
        match headers(text) {
            JsonHeaders::Unusable(why) => why,
            JsonHeaders::Fields(fields) => format!("{fields:?}"),
        }
    }

    #[test]
    fn values_of_other_types_are_not_stored() {
        for (text, field) in [
            ("\"a\\u0062\"", JsonField::Text("ab".to_owned())),
            ("7", JsonField::Number(7)),
            ("-7", JsonField::Other),
            ("7.0", JsonField::Other),
            ("true", JsonField::Other),
            ("[[1],{\"a\":2}]", JsonField::Other),
            ("{\"a\":[{}]}", JsonField::Other),
        ] {
            assert_eq!(
                serde_json::from_str::<JsonField>(text).unwrap(),
                field,
                "{text}"
            );
        }
        assert!(serde_json::from_str::<JsonField>("[1,,2]").is_err());
    }

    #[test]
    fn a_header_has_one_value_or_several() {
        let JsonHeaders::Fields(fields) = headers(r#"{"b":"1","a":["2","3"],"b":"4","c":[]}"#)
        else {
            panic!("no fields");
        };
        let fields: Vec<_> = fields.into_iter().collect();
        let expected = [("a", vec!["2", "3"]), ("b", vec!["4"]), ("c", vec![])];
        let expected = expected.map(|(name, values)| {
            (
                name.to_owned(),
                values.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            )
        });
        assert_eq!(fields, expected);
    }

    #[test]
    fn invalid_headers_have_a_reason_and_the_rest_is_still_parsed() {
        for text in ["\"a\"", "1", "-1", "1.5", "true", "[{\"a\":1}]"] {
            assert_eq!(why(text), "headers must be an object", "{text}");
        }
        for text in [
            r#"{"a":1,"b":{"c":[]}}"#,
            r#"{"a":["b",1,{}],"c":"d"}"#,
            r#"{"a":null}"#,
            r#"{"a":{"b":"c"}}"#,
        ] {
            assert!(
                why(text).contains("must be strings"),
                "{text}: {}",
                why(text)
            );
        }
        assert!(serde_json::from_str::<JsonHeaders>(r#"{"a":1,"b":}"#).is_err());
    }

    #[test]
    fn the_number_of_headers_is_limited() {
        let one = |n: usize| format!("{{\"a\":[{}]}}", vec!["\"\""; n].join(","));
        let names = |n: usize| {
            let fields: Vec<_> = (0..n).map(|n| format!("\"a{n}\":\"\"")).collect();
            format!("{{{}}}", fields.join(","))
        };
        for make in [&one as &dyn Fn(usize) -> String, &names] {
            assert!(matches!(headers(&make(1000)), JsonHeaders::Fields(_)));
            for n in [1001, 1002, 100_000] {
                assert_eq!(why(&make(n)), "more than 1000 headers");
            }
        }
    }
}
