//! Which column or field of a line is its URL, and which ones its record repeats.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::flaw::ListFlaw;
use super::url::{parse_url, shown_url};
use crate::model::{ColumnsBuilder, Hint, mask_userinfo, word_holds_password};

/// Words that mark the name of a column as that of a URL.
const URL_WORDS: [&str; 4] = ["url", "uri", "link", "href"];
/// Name that stands for all columns.
pub(super) const ALL_COLUMNS: &str = "*";
/// Fields that are not repeated unless they are named: the record has the URL already, and the
/// others may hold secrets.
const REQUEST_FIELDS: [&str; 4] = ["url", "headers", "body", "body_base64"];
/// Spellings of the `@` behind a password, and of characters that may hide one.
const AT_SIGNS: [&str; 6] = ["@", "%40", "%2540", "\\", "\u{ff20}", "\u{fe6b}"];
/// Field in front of a JSON line for `--failed`: the name of the field with the URL, whatever
/// `--url-column` says. No data has a field of this name.
pub(super) const URL_COLUMN_FIELD: &str = "--url-column";
/// Maximum number of names in a message.
pub(super) const MAX_NAMES_SHOWN: usize = 10;

/// How likely a column is the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UrlRating {
    /// It is something else.
    None,
    /// Its name is similar to `url`.
    Similar,
    /// It is the right name, but for upper and lower case.
    AnyCase,
    Exact,
}

/// Which columns are used.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnRules {
    /// Name of the column with the URL.
    pub url: Option<String>,
    /// Names of the columns that records repeat; `*` for all.
    pub keep: Vec<String>,
}

impl ColumnRules {
    /// Whether a column was named.
    pub(super) fn is_set(&self) -> bool {
        self.url.is_some() || !self.keep.is_empty()
    }

    /// Whether the record repeats this column.
    pub(super) fn keeps(&self, name: &str) -> bool {
        is_kept(&self.keep, name)
    }

    /// Whether records repeat any column.
    pub(super) fn keeps_any(&self) -> bool {
        !self.keep.is_empty()
    }

    /// Puts the name of the field with the URL in front of a JSON object, if the run names one: so
    /// the line means the same when it is read without that name, or with another one.
    pub(super) fn mark_url(&self, line: &mut Vec<u8>, field: &str) {
        if self.url.is_none() {
            return;
        }
        let start = line.iter().position(|byte| !byte.is_ascii_whitespace());
        let after = start.map_or(0, |start| start + 1);
        let (before, fields) = line.split_at_checked(after).unwrap_or_default();
        let known = format!("\"{URL_COLUMN_FIELD}\"");
        let is_marked = fields.trim_ascii_start().starts_with(known.as_bytes());
        if before.ends_with(b"{") && !is_marked {
            let mark = format!("{known}:{},", Value::from(field));
            line.reserve_exact(mark.len());
            line.splice(after..after, mark.into_bytes());
        }
    }

    /// Returns the name of the field with the URL.
    pub(super) fn url_field(&self) -> &str {
        self.url.as_deref().unwrap_or("url")
    }

    /// Rates how likely a column is the URL.
    pub(super) fn rate(&self, name: &str) -> UrlRating {
        let wanted = self.url_field();
        if name == wanted {
            UrlRating::Exact
        } else if name.eq_ignore_ascii_case(wanted) {
            UrlRating::AnyCase
        } else if self.url.is_none() && is_url_name(name) {
            UrlRating::Similar
        } else {
            UrlRating::None
        }
    }

    /// Returns the position of the URL among the columns of a table.
    ///
    /// # Errors
    /// A message if it is not clear.
    pub(super) fn find_url(&self, names: &[String]) -> Result<usize, ListFlaw> {
        // In a table with another separator, a name like a URL's has others behind it, and the cells
        // have captions. A comma may be in the name of one of several columns.
        let is_whole_row = |name: &String| {
            name.contains(['|', ';', '\t']) || (names.len() == 1 && name.contains(','))
        };
        let rate = |name: &String| match self.rate(name) {
            UrlRating::Similar if is_whole_row(name) => UrlRating::None,
            rating => rating,
        };
        let best = names.iter().map(rate).max().unwrap_or(UrlRating::None);
        let mut found = (0..).zip(names).filter(|(_, name)| rate(name) == best);
        match (best, found.next(), found.next()) {
            (UrlRating::None, ..) | (_, None, _) => Err(self.missing("column", names)),
            (UrlRating::Similar, Some(_), Some(_)) => Err(self.ambiguous("columns", names)),
            (_, Some((found, _)), _) => Ok(found),
        }
    }

    /// Returns the message for a table or JSON line without a URL.
    pub(super) fn missing(&self, what: &str, names: &[String]) -> ListFlaw {
        let wanted = shown_url(self.url_field());
        if names.is_empty() {
            return format!("missing {wanted}").into();
        }
        let names = list(names.iter());
        let reason = format!("no {what} {wanted}; there are: {names}");
        ListFlaw::with_hint(reason, Hint::NameUrlColumn)
    }

    /// Returns the message for a table or JSON line with several columns that are named like a URL.
    pub(super) fn ambiguous(&self, what: &str, names: &[String]) -> ListFlaw {
        let best = names.iter().map(|name| self.rate(name)).max();
        let names = list(names.iter().filter(|name| Some(self.rate(name)) == best));
        let reason = format!("several {what} may be the URL: {names}");
        ListFlaw::with_hint(reason, Hint::ChooseUrlColumn)
    }
}

/// Whether records repeat this column, if they repeat `kept`: names, or `*`.
#[must_use]
pub fn is_kept(kept: &[String], name: &str) -> bool {
    kept.iter().any(|kept| {
        let is_all = kept == ALL_COLUMNS && !is_one_of(&REQUEST_FIELDS, name);
        is_all || kept.eq_ignore_ascii_case(name)
    })
}

/// Lists the first names for a message, with passwords masked: in a table without a header row they
/// are the cells of its first row.
fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let shown = names.take(MAX_NAMES_SHOWN + 1).map(|name| shown_url(name));
    let mut shown: Vec<_> = shown.collect();
    if shown.len() > MAX_NAMES_SHOWN {
        shown.truncate(MAX_NAMES_SHOWN);
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// Whether a name is one of these, in any case.
pub(super) fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a column is named like a URL: `link`, `image_url`, `downloadURL`.
fn is_url_name(name: &str) -> bool {
    let is_same = |text: &str| is_one_of(&URL_WORDS, text);
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let ends = [3, 4].map(|length| name.len().checked_sub(length).and_then(|at| name.get(at..)));
    words.any(is_same) || ends.into_iter().flatten().any(is_same)
}

/// Adds a kept cell, without passwords of URLs in it.
pub(super) fn keep_text(columns: &mut ColumnsBuilder, name: &str, text: &str) {
    columns.push_text(&without_passwords(name), &without_passwords(text));
}

/// Adds a kept JSON value, without passwords of URLs in it.
pub(super) fn keep_json(columns: &mut ColumnsBuilder, name: &str, json: &str) {
    let name = without_passwords(name);
    let may_hide = AT_SIGNS.iter().any(|at| json.contains(at));
    if may_hide
        && let Ok(mut value) = serde_json::from_str(json)
        && mask(&mut value)
    {
        columns.push_json(&name, &value.to_string());
    } else {
        columns.push_json(&name, json);
    }
}

/// Masks passwords in all strings of a value; returns whether there are any.
fn mask(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match without_passwords(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(masked) => {
                *text = masked;
                true
            }
        },
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |any, value| mask(value) | any),
        Value::Object(fields) => mask_fields(fields),
        _ => false,
    }
}

/// Masks passwords in the names and values of an object; returns whether there are any.
fn mask_fields(fields: &mut Map<String, Value>) -> bool {
    let mut any = false;
    let masked = std::mem::take(fields).into_iter().map(|(name, mut value)| {
        any |= mask(&mut value);
        match without_passwords(&name) {
            Cow::Borrowed(_) => (name, value),
            Cow::Owned(masked) => {
                any = true;
                (masked, value)
            }
        }
    });
    *fields = masked.collect();
    any
}

/// Masks passwords in the URLs among the words of a text.
fn without_passwords(text: &str) -> Cow<'_, str> {
    let masked = |word: &str| {
        let may_hide = word.contains("://") && AT_SIGNS.iter().any(|at| word.contains(at));
        let is_plain = !may_hide || matches!(parse_url(word.trim()), Ok((_, None)));
        (!is_plain || word_holds_password(word)).then(|| mask_userinfo(word).into_owned())
    };
    let words = || text.split_inclusive(char::is_whitespace);
    if words().all(|word| masked(word).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        words()
            .map(|word| masked(word).unwrap_or_else(|| word.to_owned()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(url: Option<&str>, names: &[&str]) -> Result<usize, ListFlaw> {
        let rules = ColumnRules {
            url: url.map(str::to_owned),
            keep: Vec::new(),
        };
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        rules.find_url(&names)
    }

    #[test]
    fn the_url_is_the_column_named_so_or_the_only_one_named_like_it() {
        for (names, found) in [
            (["id", "link", "url"].as_slice(), 2),
            (&["URL", "image_url"], 0),
            (&["URL", "url"], 1),
            (&["id", "image_url"], 1),
            (&["downloadURL", "caption"], 0),
            (&["id", "URL (full)"], 1),
            (&["Permalink", "id"], 0),
            (&["source URI"], 0),
        ] {
            assert_eq!(find(None, names), Ok(found), "{names:?}");
        }
        let names = ["image_url", "page_url", "Link", "LINK"];
        assert_eq!(find(Some("page_URL"), &names), Ok(1));
        assert_eq!(find(Some("LINK"), &names), Ok(3));
        let page = [
            find(None, &names),
            find(None, &["id", "curly", "http://me:s3cret@a/"]),
            find(Some("src"), &names),
        ];
        insta::assert_snapshot!(
            "no_url_column",
            page.map(|found| found.unwrap_err().reason).join("\n")
        );
    }

    #[test]
    fn all_columns_are_kept_but_those_of_the_request() {
        let keep = |names: &[&str]| ColumnRules {
            url: None,
            keep: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let all = keep(&["*"]);
        assert!(all.keeps("id") && all.keeps_any() && !all.keeps("url") && !all.keeps("headers"));
        let some = keep(&["*", "body", "ID"]);
        assert!(some.keeps("body") && some.keeps("id") && !some.keeps("url"));
        assert!(!keep(&[]).keeps("id"));
    }

    #[test]
    fn passwords_of_urls_are_masked_and_nothing_else_is() {
        for text in [
            "http://me:s3cret@a/x",
            "see http://a/ (http://me:s3cret@b/) or",
            "http://a/?u=http%3A%2F%2Fme%3As3cret%40b%2F",
            "http%3A%2F%2Fme%3As3cret%40b%2F",
            "see //me:s3cret@b/",
            "http:/me:s3cret@b/",
            "http:\t//me:s3cret@b/",
        ] {
            let mut columns = ColumnsBuilder::default();
            keep_text(&mut columns, text, "");
            keep_json(&mut columns, &format!("{text} "), "1");
            keep_json(
                &mut columns,
                "e",
                &serde_json::json!([{ text: 1 }]).to_string(),
            );
            keep_text(&mut columns, "a", text);
            keep_json(&mut columns, "b", &Value::from(text).to_string());
            let escaped = Value::from(text).to_string().replace('/', "\\/");
            keep_json(&mut columns, "c", &format!("[{{\"d\":[{escaped}, 1.0]}}]"));
            let columns = columns.build().unwrap().unwrap();
            assert!(!columns.as_json().contains("s3cret"), "{columns:?}");
        }
        for text in [
            "by @me: http://a/@me",
            "a:b@c",
            "http://a/x\n  b",
            "50 % \\ http://a/",
        ] {
            assert!(
                matches!(without_passwords(text), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }
}
