//! JSON Lines: one object per line. Blank lines and `#` comments are skipped, as in text lists; no
//! JSON starts with `#`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;

use base64::Engine as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::checksum::{HASH_FIELDS, is_hash_name, unknown_hash};
use super::columns::{
    ColumnRules, MAX_NAMES_SHOWN, URL_COLUMN_FIELD, UrlRating, is_one_of, keep_json,
};
use super::flaw::ListFlaw;
use super::json_fields::{JsonField, JsonHeaders, JsonTexts};
use super::line_builder::{
    INVALID_FIELD, InvalidMark, LineBuilder, NOT_UTF8, ParsedLine, bad_as_json, invalid, job,
    no_request, prior_reason, with_columns,
};
use super::lines::{InputLine, LineEnd, LineReader};
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::stream::InputStream;
use super::url::{UrlParser, display_line, shown_among, shown_cut, shown_url};
use crate::model::{ColumnsBuilder, ErrorKind, InputPosition, ListEntry, PartForm};

/// Longest line, in bytes. A line may contain a request body and is held in memory.
const MAX_LINE_BYTES: usize = 16 << 20;
/// Bytes of a longer line that are kept for `--failed`.
const RETAINED_BYTES: usize = 64 * 1024;

/// The known fields beside the URL and the hashes, whose names count in any case.
const FIELDS: [&str; 8] = [
    "file",
    "size",
    "type",
    "method",
    "headers",
    "mirrors",
    "body",
    "body_base64",
];

const ARRAY_HINT: &str = "input is a JSON array, not JSON Lines; convert it: jq -c '.[]' FILE";
const PRETTY_PRINT_HINT: &str =
    "JSON spans several lines, not JSON Lines; convert it: jq -c . FILE";

/// A list in JSON Lines.
pub(super) struct JsonlList {
    lines: LineReader,
    rules: ListRules,
    begun: bool,
    has_comment: bool,
    warning: Option<String>,
    parser: UrlParser,
}

impl JsonlList {
    pub(super) fn new(stream: InputStream, rules: ListRules) -> Self {
        Self {
            lines: LineReader::new(stream, LineEnd::Line, MAX_LINE_BYTES)
                .keeping_source(rules.keeps_source),
            parser: rules.parser(),
            rules,
            begun: false,
            has_comment: false,
            warning: None,
        }
    }

    fn step<T>(
        &mut self,
        take: impl FnOnce(InputLine<'_>, &ListRules) -> T,
    ) -> io::Result<ListStep<T>> {
        let step = self.lines.step()?;
        if matches!(step, ListStep::Nothing) {
            self.has_comment |= !self.lines.is_blank();
            return Ok(ListStep::Nothing);
        }
        if let ListStep::Found(line) = &step
            && !std::mem::replace(&mut self.begun, true)
        {
            // Behind a comment, which no other JSON has, it is a line like any other.
            if !self.has_comment {
                check_first(line.bytes().trim_ascii())?;
            }
            self.warning = stray_hash(line.bytes(), &self.rules.columns);
        }
        Ok(step.map(|line| take(line, &self.rules)))
    }
}

impl InputList for JsonlList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        let mut parser = std::mem::take(&mut self.parser);
        let step = self.step(|line, rules| {
            let place = origin.line(line.number);
            parse(line, place, rules, &mut parser)
        });
        self.parser = parser;
        step
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        self.step(|_, _| ())
    }

    fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn source(&self) -> &[u8] {
        self.lines.source()
    }

    fn form(&self) -> PartForm {
        lines_form("jsonl")
    }

    fn is_ready(&self) -> bool {
        self.lines.has_line_ready()
    }

    fn position(&self) -> u64 {
        self.lines.position()
    }
}

/// Rejects JSON that is not JSON Lines as a whole, instead of line by line.
fn check_first(line: &[u8]) -> io::Result<()> {
    let problem = match line {
        [b'[', ..] => ARRAY_HINT,
        b"{" => PRETTY_PRINT_HINT,
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// Returns a warning about fields of the first line that look like hashes but are not known.
fn stray_hash(line: &[u8], rules: &ColumnRules) -> Option<String> {
    // Millions of names would take more memory than a line may.
    let line = Some(line).filter(|line| line.len() <= RETAINED_BYTES)?;
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(line).ok()?;
    let is_stray = |name: &&String| {
        let is_used = is_one_of(&HASH_FIELDS, name) || rules.keeps(name);
        !is_used && rules.rate(name) == UrlRating::None && is_hash_name(name)
    };
    let names = fields.keys().filter(is_stray);
    let warnings: Vec<_> = names
        .map(|name| unknown_hash("field", &shown_url(name)))
        .collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// The known fields of a line, and those that its record repeats. Other fields are ignored.
#[derive(Default)]
struct JsonlObject {
    url: Option<JsonField>,
    /// How likely that field is the URL.
    url_rating: Option<UrlRating>,
    /// Whether there are several fields with that rating.
    is_ambiguous: bool,
    /// Names of the first fields, for messages.
    names: Vec<String>,
    file: Option<JsonField>,
    /// The fields with hashes.
    hashes: Vec<(&'static str, JsonField)>,
    size: Option<JsonField>,
    r#type: Option<JsonTexts>,
    method: Option<JsonField>,
    headers: Option<JsonHeaders>,
    mirrors: Option<JsonTexts>,
    body: Option<JsonField>,
    body_base64: Option<JsonField>,
    /// Only in fetchall's own records, where `body` is the response body.
    outcome: Option<IgnoredAny>,
    /// In a record: the request was not a plain GET.
    request: Option<IgnoredAny>,
    /// In a record: why it failed.
    error: Option<PriorError>,
    /// What stands for an invalid line of another format.
    invalid: Option<InvalidMark>,
    columns: ColumnsBuilder,
    /// Their names in lower case.
    kept_names: HashSet<String>,
    /// The rules with the name of the URL that the line itself gives, if it does.
    own_rules: Option<ColumnRules>,
}

/// The error of a record.
#[derive(Deserialize)]
struct PriorError {
    kind: String,
    message: String,
}

/// Reads a line by the rules for columns.
struct JsonlVisitor<'r>(&'r ColumnRules);

impl<'de> DeserializeSeed<'de> for JsonlVisitor<'_> {
    type Value = JsonlObject;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonlObject, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JsonlVisitor<'_> {
    type Value = JsonlObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonlObject, A::Error> {
        let mut object = JsonlObject::default();
        let mut rules = Cow::Borrowed(self.0);
        let mut is_first = true;
        while let Some(JsonKey(name)) = fields.next_key()? {
            let is_front = std::mem::take(&mut is_first);
            if name == URL_COLUMN_FIELD && is_front {
                rules.to_mut().url = Some(fields.next_value()?);
                is_first = true;
            } else if name == INVALID_FIELD && is_front {
                object.invalid = Some(fields.next_value()?);
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            } else if rules.keeps(&name) {
                object.note_kept(&name)?;
                let value: &RawValue = fields.next_value()?;
                keep_json(&mut object.columns, &name, value.get());
                let mut value = serde_json::Deserializer::from_str(value.get());
                let taken = object.take(&name, &rules, &mut value);
                taken.map_err(serde::de::Error::custom)?;
            } else {
                fields.next_value_seed(FieldSeed {
                    object: &mut object,
                    name: &name,
                    rules: &rules,
                })?;
            }
        }
        if let Cow::Owned(rules) = rules {
            object.own_rules = Some(rules);
        }
        Ok(object)
    }
}

/// A name, not copied unless it has escapes.
#[derive(Deserialize)]
struct JsonKey<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the value of one field.
struct FieldSeed<'a> {
    object: &'a mut JsonlObject,
    name: &'a str,
    rules: &'a ColumnRules,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.object.take(self.name, self.rules, value)
    }
}

impl JsonlObject {
    /// Whether it is the record of an invalid line, which has no request: its URL is that line.
    fn is_invalid_record(&self) -> bool {
        let is_invalid = |error: &PriorError| error.kind == ErrorKind::InvalidUrl.as_str();
        self.outcome.is_some() && self.error.as_ref().is_some_and(is_invalid)
    }

    fn take<'de, D: Deserializer<'de>>(
        &mut self,
        name: &str,
        rules: &ColumnRules,
        value: D,
    ) -> Result<(), D::Error> {
        let rating = rules.rate(name);
        self.note_name(name, rating);
        if rating > UrlRating::None {
            return self.take_url((name, rating), value);
        }
        let mut known = FIELDS.into_iter().chain(HASH_FIELDS);
        match known.find(|field| field.eq_ignore_ascii_case(name)) {
            Some("file") => set(&mut self.file, "file", value),
            Some("size") => set(&mut self.size, "size", value),
            Some("type") => set(&mut self.r#type, "type", value),
            Some("method") => set(&mut self.method, "method", value),
            Some("headers") => set(&mut self.headers, "headers", value),
            Some("mirrors") => set(&mut self.mirrors, "mirrors", value),
            Some("body") => set(&mut self.body, "body", value),
            Some("body_base64") => set(&mut self.body_base64, "body_base64", value),
            Some(hash) => self.take_hash(hash, value),
            // Only in records, which have them in lower case.
            None if name == "outcome" => set(&mut self.outcome, "outcome", value),
            None if name == "request" => set(&mut self.request, "request", value),
            None if name == "error" => {
                let error: &RawValue = Deserialize::deserialize(value)?;
                self.error = serde_json::from_str(error.get()).ok();
                Ok(())
            }
            None => IgnoredAny::deserialize(value).map(drop),
        }
    }

    /// Notes the name of a field to be kept: a record has room for one. Not beyond the limit on
    /// columns, where the line fails anyway.
    fn note_kept<E: serde::de::Error>(&mut self, name: &str) -> Result<(), E> {
        let is_new =
            self.columns.is_too_long() || self.kept_names.insert(name.to_ascii_lowercase());
        if is_new { Ok(()) } else { Err(repeated(name)) }
    }

    /// Notes a name for messages, unless the URL is found. Those that may be the URL have room of
    /// their own: they are listed if there are several.
    fn note_name(&mut self, name: &str, rating: UrlRating) {
        let is_needed = rating.max(self.url_rating.unwrap_or(rating)) < UrlRating::AnyCase;
        let room = if rating == UrlRating::None { 1 } else { 2 };
        if is_needed && self.names.len() <= room * MAX_NAMES_SHOWN {
            self.names.push(name.to_owned());
        }
    }

    fn take_hash<'de, D: Deserializer<'de>>(
        &mut self,
        field: &'static str,
        value: D,
    ) -> Result<(), D::Error> {
        let mut known = self.hashes.iter();
        let mut hash = known
            .any(|(known, _)| *known == field)
            .then_some(JsonField::Other);
        set(&mut hash, field, value)?;
        self.hashes.extend(hash.map(|hash| (field, hash)));
        Ok(())
    }

    fn take_url<'de, D: Deserializer<'de>>(
        &mut self,
        (name, rating): (&str, UrlRating),
        value: D,
    ) -> Result<(), D::Error> {
        if self.url_rating.map(|known| known.min(rating)) >= Some(UrlRating::AnyCase) {
            return Err(repeated(name));
        }
        if self.url_rating >= Some(rating) {
            let found = Option::<IgnoredAny>::deserialize(value)?;
            self.is_ambiguous |= found.is_some() && self.url_rating == Some(rating);
            return Ok(());
        }
        // A field that is null is absent, and another one may be the URL.
        if let Some(url) = Option::deserialize(value)? {
            self.url = Some(url);
            self.url_rating = Some(rating);
            self.is_ambiguous = false;
        }
        Ok(())
    }
}

/// The error about a field whose name another one has, maybe in another case.
fn repeated<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("duplicate field `{}`", shown_url(name)))
}

fn set<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    field: &mut Option<T>,
    name: &'static str,
    value: D,
) -> Result<(), D::Error> {
    if field.is_some() {
        return Err(serde::de::Error::duplicate_field(name));
    }
    *field = Option::deserialize(value)?;
    Ok(())
}

fn parse(
    line: InputLine<'_>,
    place: InputPosition,
    rules: &ListRules,
    parser: &mut UrlParser,
) -> ListEntry {
    if line.too_long {
        let kept = line.bytes().get(..RETAINED_BYTES).unwrap_or(line.bytes());
        let reason = format!("line exceeds {} MiB", MAX_LINE_BYTES >> 20);
        return bad_as_json(place, shown_cut(kept), kept, reason);
    }
    let mut object = match object(line.bytes(), &rules.columns) {
        Ok(object) => object,
        Err(reason) => {
            let shown = shown_without_columns(&line, rules);
            let shown = shown.unwrap_or_else(|| display_line(line.bytes()));
            return invalid(place, shown, kept(line, rules), reason);
        }
    };
    if let Some(mark) = object.invalid.take() {
        let mark = InvalidMark {
            url: shown_among(&mark.url),
            columns: mark.columns.filter(|_| rules.columns.keeps_any()),
            ..mark
        };
        return mark.entry(place, line.into_bytes());
    }
    let columns = std::mem::take(&mut object.columns).build();
    let parsed = match &columns {
        Ok(_) => parse_fields(&mut object, rules, parser),
        Err(reason) => Err(reason.clone().into()),
    };
    let entry = match parsed {
        Ok(parsed) => {
            let raw = rules.parts_by.is_none().then(|| kept(line, rules));
            job(place, parsed, raw)
        }
        Err(reason) => {
            let url = object.url.as_ref().and_then(JsonField::as_str);
            let shown = match url {
                Some(url) if object.is_invalid_record() => shown_among(url),
                Some(url) => shown_url(url),
                None => display_line(line.bytes()),
            };
            invalid(place, shown, kept(line, rules), reason)
        }
    };
    with_columns(entry, columns.unwrap_or_default())
}

/// Returns the URL of a line that is only wrong because columns are kept: it has that URL, and is in
/// its shard, whatever the run keeps.
fn shown_without_columns(line: &InputLine<'_>, rules: &ListRules) -> Option<String> {
    if !rules.columns.keeps_any() {
        return None;
    }
    let columns = ColumnRules {
        keep: Vec::new(),
        ..ColumnRules::clone(&rules.columns)
    };
    let object = object(line.bytes(), &columns).ok()?;
    object.url.as_ref()?.as_str().map(shown_url)
}

/// Returns the line for `--failed FILE`.
fn kept(mut line: InputLine<'_>, rules: &ListRules) -> Box<[u8]> {
    let field = rules.columns.url_field();
    rules.columns.mark_url(line.bytes_mut(), field);
    line.into_bytes()
}

fn object(line: &[u8], rules: &ColumnRules) -> Result<JsonlObject, String> {
    let text = std::str::from_utf8(line).map_err(|_| NOT_UTF8)?;
    if !text.trim_start().starts_with('{') {
        return Err("expected a JSON object".to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let object = JsonlVisitor(rules).deserialize(&mut json);
    let object = object.and_then(|object| json.end().map(|()| object));
    object.map_err(|error| {
        // The text is a single line, so only the column matters.
        let text = error
            .to_string()
            .replace(" at line 1 column ", " at column ");
        format!("invalid JSON: {text}")
    })
}

fn parse_fields(
    object: &mut JsonlObject,
    rules: &ListRules,
    parser: &mut UrlParser,
) -> Result<ParsedLine, ListFlaw> {
    if let Some(error) = object.error.as_ref().filter(|_| object.is_invalid_record()) {
        return Err(prior_reason(&error.message).into());
    }
    let mut draft = LineBuilder::new(rules, parser);
    let columns = object.own_rules.as_ref().unwrap_or(&rules.columns);
    match &object.url {
        Some(_) if object.is_ambiguous => {
            return Err(columns.ambiguous("fields", &object.names));
        }
        Some(url) => draft.url(text("url", url)?)?,
        None => return Err(columns.missing("field", &object.names)),
    }
    if let Some(file) = &object.file {
        draft.file(text("file", file)?)?;
    }
    for (field, hash) in &object.hashes {
        draft.hash(field, text(field, hash)?)?;
    }
    if let Some(size) = &object.size {
        draft.size(size.as_number())?;
    }
    if let Some(JsonTexts(Some(types))) = &object.r#type {
        draft.types(&types.join(","))?;
    }
    if let Some(JsonTexts(mirrors)) = &object.mirrors {
        let mirrors = mirrors.as_ref().ok_or("mirrors must be an array of URLs")?;
        draft.mirrors(mirrors.iter().map(String::as_str))?;
    }
    request(object, &mut draft)?;
    Ok(draft.build()?)
}

fn request(object: &mut JsonlObject, draft: &mut LineBuilder<'_>) -> Result<(), ListFlaw> {
    if let Some(method) = &object.method {
        draft.method(text("method", method)?)?;
    }
    match &object.headers {
        None => {}
        Some(JsonHeaders::Unusable(why)) => return Err(why.clone().into()),
        Some(JsonHeaders::Fields(fields)) => {
            for (name, values) in fields {
                for value in values {
                    draft.header(name, value)?;
                }
            }
        }
    }
    if object.outcome.is_some() {
        return match object.request {
            None => Ok(()),
            Some(_) => Err(no_request()),
        };
    }
    // Moved out of the object: a body may have megabytes and must not be in memory twice.
    match (object.body.take(), object.body_base64.take()) {
        (None, None) => {}
        (Some(JsonField::Text(body)), None) => draft.body(body),
        (Some(_), None) => return Err("body must be a string".into()),
        (None, Some(coded)) => {
            let engine = base64::engine::general_purpose::STANDARD;
            let body = engine.decode(text("body_base64", &coded)?);
            draft.body(body.map_err(|error| format!("invalid body_base64: {error}"))?);
        }
        (Some(_), Some(_)) => return Err("body and body_base64 are mutually exclusive".into()),
    }
    Ok(())
}

fn text<'a>(field: &str, value: &'a JsonField) -> Result<&'a str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("{field} must be a string"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputFormat::JsonLines as FORMAT;
    use crate::input::whole;
    use crate::model::LineOptions;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    fn own_options(line: &str) -> LineOptions {
        whole::job(FORMAT, line)
            .options
            .map(|own_options| *own_options)
            .unwrap_or_default()
    }

    fn reason(line: &str) -> String {
        whole::bad(FORMAT, line.as_bytes(), ListRules::default()).1
    }

    #[test]
    fn the_record_of_an_invalid_line_fails_again() {
        for url in ["http://a/b c", "http://a/ http://b/", "http://a/cut"] {
            let record = |kind: &str| {
                format!(
                    r#"{{"line":1,"url":"{url}","error":{{"kind":"{kind}","message":"invalid input: why"}},"outcome":"failed"}}"#
                )
            };
            let line = record("invalid_url");
            let (shown, reason, raw) = whole::bad(FORMAT, line.as_bytes(), ListRules::default());
            assert_eq!((&*shown, &*reason), (url, "invalid input: why"));
            assert_eq!(raw, line);
            whole::job(FORMAT, &record("timeout"));
        }
        for error in ["null", "[1]", "\"invalid_url\"", "{\"kind\":1}"] {
            whole::job(
                FORMAT,
                &format!(r#"{{"url":"http://a/","outcome":"failed","error":{error}}}"#),
            );
        }
    }

    #[test]
    fn a_url_that_is_null_is_absent() {
        for line in [
            r#"{"url":null,"link":"http://a/"}"#,
            r#"{"link":"http://a/","href":null}"#,
            r#"{"href":null,"link":"http://a/","URL":null}"#,
        ] {
            assert_eq!(whole::job(FORMAT, line).url.as_str(), "http://a/", "{line}");
        }
    }

    #[test]
    fn fields_that_may_be_the_url_are_named() {
        let others: String = (0..20).map(|n| format!(r#""f{n}":0,"#)).collect();
        for (line, names) in [
            (
                r#"{"link":"x","URL":null,"href":"x","Url":null}"#.to_owned(),
                "link, href",
            ),
            (
                format!(r#"{{{others}"link":"http://a/","href":"x"}}"#),
                "link, href",
            ),
        ] {
            let reason = reason(&line);
            assert!(
                reason.ends_with(&format!("may be the URL: {names}")),
                "{reason}"
            );
        }
    }

    #[test]
    fn all_fields_of_a_line_are_used() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let line = format!(
            r#"{{"url":" http://me:pw@a/x#y ","file":"d/x","sha256":"{hash}","size":3,"method":"post",
            "headers":{{"X-A":"1","accept":["a","b"]}},"body":"ü","note":{{"more":[1,2]}}}}"#
        )
        .replace('\n', " ");
        let job = whole::job(FORMAT, &line);
        assert_eq!(job.url.as_str(), "http://a/x");
        assert_eq!(job.credentials.as_ref().unwrap().password, "pw");
        assert_eq!(
            &***job.raw.as_ref().unwrap(),
            line.as_bytes(),
            "kept unchanged"
        );
        let own_options = job.options.unwrap();
        assert_eq!(own_options.file.as_ref().unwrap().as_str(), "d/x");
        assert_eq!(
            own_options.hashes.unwrap().sha256.unwrap().to_string(),
            hash
        );
        assert_eq!(
            (own_options.size, own_options.method),
            (Some(3), Some(Method::POST))
        );
        assert_eq!(own_options.body.as_deref(), Some("ü".as_bytes()));
        assert_eq!(own_options.headers["x-a"], "1");
        let accept: Vec<_> = own_options.headers.get_all("accept").iter().collect();
        assert_eq!(accept, ["a", "b"]);
        assert!(accept.iter().all(|value| value.is_sensitive()));
    }

    #[test]
    fn a_url_alone_is_enough_and_null_is_absent() {
        let line = r#"{"url":"http://a/","file":null,"method":null}"#;
        let job = whole::job(FORMAT, line);
        assert!(job.options.is_none());
        assert_eq!(
            own_options(r#"{"url":"http://a/","body_base64":"/wA="}"#)
                .body
                .unwrap(),
            "\u{ff}\0".chars().map(|c| c as u8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn mirrors_are_urls_with_their_own_userinfo() {
        let mirrors = |line: &str| {
            let job = whole::job(FORMAT, line);
            let shown = job.mirrors().iter().map(|mirror| {
                let user = mirror.credentials.as_ref().map(|both| both.user.as_str());
                format!("{} {user:?}", mirror.url)
            });
            shown.collect::<Vec<_>>()
        };
        assert_eq!(
            mirrors(r#"{"url":"http://a/","mirrors":["http://me:pw@b/x#y"," https://c "]}"#),
            [r#"http://b/x Some("me")"#, "https://c/ None"]
        );
        assert_eq!(
            mirrors(r#"{"url":"http://a/","mirrors":"http://b/"}"#),
            ["http://b/ None"]
        );
        for nothing in ["[]", "null"] {
            let line = format!(r#"{{"url":"http://a/","mirrors":{nothing}}}"#);
            assert!(mirrors(&line).is_empty(), "{nothing}");
        }
        let list = |count: usize| {
            format!(
                r#"{{"url":"http://a/","mirrors":["http://b/"{}]}}"#,
                r#","http://b/""#.repeat(count - 1)
            )
        };
        assert_eq!(mirrors(&list(16)).len(), 16);
        let page = [
            list(17),
            list(5000).replacen("http://b/", "b", 1),
            r#"{"url":"http://a/","mirrors":7}"#.to_owned(),
            r#"{"url":"http://a/","mirrors":["http://b/",null]}"#.to_owned(),
            r#"{"url":"http://a/","mirrors":["http://b/","/x"]}"#.to_owned(),
            r#"{"url":"http://a/","mirrors":["ftp://me:s3cret@b/"]}"#.to_owned(),
            r#"{"url":"http://a/","mirrors":["http://b/"],"method":"PUT"}"#.to_owned(),
            r#"{"url":"http://a/","mirrors":["http://b/"],"body":""}"#.to_owned(),
        ];
        let page = page.map(|line| reason(&line));
        assert!(page.iter().all(|reason| !reason.contains("s3cret")));
        insta::assert_snapshot!("wrong_mirrors", page.join("\n"));
    }

    #[test]
    fn mirrors_count_in_the_memory_of_lines() {
        let weight = |mirrors: &str| {
            let line = format!(r#"{{"url":"http://a/","mirrors":[{mirrors}]}}"#);
            let job = whole::job(FORMAT, &line);
            job.weight() - job.raw.as_ref().unwrap().len()
        };
        let long = format!(r#""http://{}@b/{}""#, "u".repeat(5000), "x".repeat(20_000));
        assert!(weight(&long) > weight("") + 25_000);
    }

    #[test]
    fn the_url_may_be_a_field_that_is_named_like_one() {
        for (line, url) in [
            (r#"{"id":7,"image_url":"http://a/"}"#, "http://a/"),
            (r#"{"link":"http://b/","URL":"http://a/"}"#, "http://a/"),
            (r#"{"l\u0069nk":"http://a/"}"#, "http://a/"),
        ] {
            assert_eq!(whole::job(FORMAT, line).url.as_str(), url, "{line}");
        }
        let page = [
            r#"{"link":"http://a/","image_url":"http://b/","note":1}"#,
            r#"{"id":1,"src":"http://a/"}"#,
            r#"{"link":5}"#,
        ];
        insta::assert_snapshot!("no_url_field", page.map(reason).join("\n"));
    }

    #[test]
    fn names_count_in_any_case_and_once() {
        let hash = "900150983cd24fb0d6963f7d28e17f72";
        let line = format!(
            r#"{{"URL":"http://a/","File":"x","MD5":"{hash}","Size":3,"Method":"put","Headers":{{"A":"1"}},"Body":"b"}}"#
        );
        let upper = whole::job(FORMAT, &line);
        let lower = whole::job(FORMAT, &line.to_lowercase());
        assert_eq!((&upper.url, &upper.options), (&lower.url, &lower.options));
        let own_options = upper.options.unwrap();
        assert_eq!(own_options.method, Some(Method::PUT));
        assert_eq!(
            own_options.headers.len() + own_options.hashes.iter().count(),
            2
        );
        let mirrors = r#"{"url":"http://a/","Mirrors":["http://b/"],"Type":"image/png"}"#;
        assert_eq!(whole::job(FORMAT, mirrors).mirrors().len(), 1);
        let columns = |keep: &str| ColumnRules {
            url: None,
            keep: vec![keep.to_owned()],
        };
        for (line, keep, name) in [
            (r#"{"url":"http://a/","URL":"http://b/"}"#, "", "URL"),
            (r#"{"URL":"http://a/","Url":null}"#, "", "Url"),
            (r#"{"url":"http://a/","file":"x","File":"x"}"#, "", "file"),
            (r#"{"url":"http://a/","MD5":"x","md5":"x"}"#, "", "md5"),
            (r#"{"url":"http://a/","id":1,"id":2}"#, "*", "id"),
            (r#"{"url":"http://a/","id":1,"x":2,"ID":null}"#, "Id", "ID"),
        ] {
            let rules = ListRules {
                columns: std::sync::Arc::new(columns(keep)),
                ..ListRules::default()
            };
            let (_, reason, _) = whole::bad(FORMAT, line.as_bytes(), rules);
            let expected = format!("duplicate field `{name}`");
            assert!(reason.contains(&expected), "{line}: {reason}");
        }
        // What is ignored may be there twice.
        whole::job(FORMAT, r#"{"url":"http://a/","id":1,"ID":2,"id":3}"#);
        assert!(!columns("*").keeps("Headers") && columns("body").keeps("Body"));
    }

    #[test]
    fn kept_fields_are_repeated_as_they_are() {
        let rules = |names: &[&str]| ListRules {
            columns: std::sync::Arc::new(ColumnRules {
                url: Some("link".to_owned()),
                keep: names.iter().map(|name| (*name).to_owned()).collect(),
            }),
            ..ListRules::default()
        };
        let line = "{\"id\":1.50,\"link\":\"http://me:s3cret@a/\",\"file\":\"x\",\"tags\":[1,\t{\"a\":null}],\"body\":\"s3cret\"}";
        let kept = |names: &[&str]| {
            let found = whole::read(FORMAT, line.as_bytes(), rules(names)).unwrap();
            let [ListEntry::Job(job)] = &found[..] else {
                panic!("{found:?}");
            };
            let own_options = job.options.as_ref().unwrap();
            assert_eq!(own_options.file.as_ref().unwrap().as_str(), "x");
            let columns = own_options.columns.as_ref();
            columns.map(|columns| columns.as_json().to_owned())
        };
        assert_eq!(kept(&["TAGS"]).unwrap(), r#"{"tags":[1,{"a":null}]}"#);
        assert_eq!(
            kept(&["*"]).unwrap(),
            r#"{"id":1.50,"link":"http://***@a/","file":"x","tags":[1,{"a":null}]}"#
        );
        assert_eq!(kept(&["none"]), None);
        let bad = whole::read(FORMAT, br#"{"id":1}"#, rules(&["id"])).unwrap();
        assert!(matches!(&bad[..], [ListEntry::Invalid(bad)]
            if bad.columns.as_ref().unwrap().as_json() == r#"{"id":1}"#));
    }

    #[test]
    fn blank_lines_and_comments_are_skipped() {
        let list =
            b"\xef\xbb\xbf# of today\r\n\n{\"url\":\"http://a/\"}\r\n  \n#{\"url\":\"http://b/\"}";
        let found = whole::read(FORMAT, list, ListRules::default()).unwrap();
        assert!(matches!(&found[..], [ListEntry::Job(job)] if job.position.line == 3));
    }

    #[test]
    fn a_field_that_looks_like_a_hash_is_a_warning() {
        let warning = |line: &str, keep: &[&str]| {
            let rules = ColumnRules {
                url: None,
                keep: keep.iter().map(|name| (*name).to_owned()).collect(),
            };
            stray_hash(line.as_bytes(), &rules)
        };
        let line =
            r#"{"url":"http://a/","md5":"","sha-256":"","title":"","sha256_url":"http://b/"}"#;
        let expected = "field sha-256 looks like a hash but is not checked; known are md5, sha1, sha256, sha512 \
                        and checksum";
        assert_eq!(warning(line, &[]).as_deref(), Some(expected));
        assert_eq!(warning(line, &["sha-256"]), None, "it is used");
        assert_eq!(warning("{", &[]), None);
    }

    #[test]
    fn every_field_with_a_hash_is_read_once() {
        let own_options = own_options(
            r#"{"url":"http://a/","checksum":"md5:900150983cd24fb0d6963f7d28e17f72","sha512":null,
            "sha1":"a9993e364706816aba3e25717850c26c9cd0d89d"}"#
                .replace('\n', " ")
                .as_str(),
        );
        let hashes = own_options.hashes.unwrap();
        let algorithms: Vec<_> = hashes.algorithms().map(|hash| hash.as_str()).collect();
        assert_eq!(algorithms, ["md5", "sha1"]);
        let twice = r#"{"url":"http://a/","md5":"","md5":""}"#;
        assert!(
            reason(twice).contains("duplicate field `md5`"),
            "{}",
            reason(twice)
        );
        let number = r#"{"url":"http://a/","checksum":5}"#;
        assert!(
            reason(number).ends_with("checksum must be a string"),
            "{}",
            reason(number)
        );
    }

    #[test]
    fn invalid_lines_have_a_reason() {
        let mut page = Vec::new();
        for line in [
            "nonsense",
            r#"{"url":"http://a/""#,
            r#"{"url":"http://a/"} x"#,
            r#"{"url":"http://a/","url":"http://b/"}"#,
            "{}",
            r#"{"url":5}"#,
            r#"{"url":"http://a/\tb"}"#,
            r#"{"url":"http://a/\nhttp://b/"}"#,
            r#"{"url":"example.com"}"#,
            r#"{"url":"http://a/","file":"../x"}"#,
            r#"{"url":"http://a/","sha256":"12"}"#,
            r#"{"url":"http://a/","size":"3"}"#,
            r#"{"url":"http://a/","size":-1}"#,
            r#"{"url":"http://a/","size":1.5}"#,
            r#"{"url":"http://a/","method":"a b"}"#,
            r#"{"url":"http://a/","method":"CONNECT"}"#,
            r#"{"url":"http://a/","headers":["a: b"]}"#,
            r#"{"url":"http://a/","headers":{"a":1}}"#,
            r#"{"url":"http://a/","headers":{"a b":"1"}}"#,
            r#"{"url":"http://a/","headers":{"x":"s3cret\nx"}}"#,
            r#"{"url":"http://a/","headers":{"Content-Length":"1"}}"#,
            r#"{"url":"http://a/","body":{"a":1}}"#,
            r#"{"url":"http://a/","body":"","body_base64":""}"#,
            r#"{"url":"http://a/","body_base64":"?"}"#,
        ] {
            let reason = reason(line);
            assert!(!reason.contains("s3cret"));
            page.push(format!("{line}\n{reason}"));
        }
        insta::assert_snapshot!("wrong_lines", page.join("\n\n"));
    }

    #[test]
    fn a_bad_line_shows_its_url_without_secrets_and_is_kept_whole() {
        for (line, shown) in [
            (r#"{"url":"http://me:s3cret@a/x","size":"?"}"#, "http://a/x"),
            (r#"{"url":"me:s3cret@host"}"#, "***@host"),
            (
                r#"{"url":"http://a/","headers":{"authorization":"s3cret"}"#,
                r#"{"url":"http://a/",…"#,
            ),
            (r#"{"body":"s3cret"}"#, "{…"),
            ("nonsense", "nonsense"),
        ] {
            let found = whole::bad(FORMAT, line.as_bytes(), ListRules::default());
            assert_eq!((found.0.as_str(), found.2.as_str()), (shown, line));
        }
    }

    #[test]
    fn other_json_is_one_error_for_the_whole_list() {
        let mut page = Vec::new();
        for list in [
            "[{\"url\":\"http://a/\"}]",
            "\n  [\n",
            "{\n  \"url\": \"http://a/\"\n}\n",
        ] {
            let error = whole::read(FORMAT, list.as_bytes(), ListRules::default()).unwrap_err();
            page.push(format!("{list:?}\n{error}"));
        }
        insta::assert_snapshot!("no_json_lines", page.join("\n\n"));
    }

    #[test]
    fn fetchalls_own_records_give_the_url_but_not_the_body() {
        let record = r#"{"line":1,"input":"-","url":"http://a/","ok":true,"outcome":"fetched","status":200,"attempts":1,"redirects":0,"bytes":5,"file":"a/x","body":"hello","at":""}"#;
        let found = own_options(record);
        assert!(!found.overrides_request() && found.size.is_none());
        assert_eq!(found.file.unwrap().as_str(), "a/x");
        let failed = r#"{"line":1,"input":"-","url":"http://a/","ok":false,"outcome":"failed","error":{"kind":"dns","message":"","transient":true}}"#;
        assert_eq!(own_options(failed), LineOptions::default());
        let posted = r#"{"url":"http://a/","outcome":"failed","request":"0011223344556677"}"#;
        insta::assert_snapshot!("record_of_another_request", reason(posted));
    }

    #[test]
    fn a_line_with_its_own_request_must_set_file_if_files_are_saved() {
        let rules = ListRules {
            saves_files: true,
            ..ListRules::default()
        };
        for line in [
            r#"{"url":"http://a/","method":"POST"}"#,
            r#"{"url":"http://a/","body":""}"#,
        ] {
            let (_, reason, _) = whole::bad(FORMAT, line.as_bytes(), rules.clone());
            assert!(reason.ends_with("a line with its own method, headers or body must set file"));
            assert!(own_options(line).overrides_request(), "valid without -o");
        }
        let named = r#"{"url":"http://a/","body":"x","file":"y"}"#;
        let found = whole::read(FORMAT, named.as_bytes(), rules).unwrap();
        assert!(matches!(&found[..], [ListEntry::Job(_)]));
    }

    #[test]
    fn a_line_that_is_too_long_fails_alone() {
        let mut list = br#"{"url":"http://a/","body":""#.to_vec();
        list.resize(2 * MAX_LINE_BYTES, b'x');
        list.extend_from_slice(b"\n{\"url\":\"http://a/\"}\n");
        let found = whole::read(FORMAT, &list, ListRules::default()).unwrap();
        assert_eq!(found.len(), 2);
        let [ListEntry::Invalid(bad), ListEntry::Job(_)] = &found[..] else {
            panic!("{} entries", found.len());
        };
        assert!(bad.shown.len() < 50 && bad.raw.len() < 2 * RETAINED_BYTES);
        let (shown, reason, _) = whole::bad(FORMAT, &bad.raw, ListRules::default());
        assert_eq!((shown, reason), (bad.shown.clone(), bad.error.to_string()));
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let line = r#"{"url":"http://a/","headers":{"cookie":"s3cret"},"body":"s3cret"}"#;
        let own_options = own_options(line);
        assert!(!own_options.headers.is_empty() && own_options.headers != HeaderMap::new());
        assert!(!format!("{own_options:?}").contains("s3cret"));
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let tokens = [
            r#"{"url":"http://a/"}"#,
            "{",
            "}",
            "[",
            "\"",
            "url",
            "\n",
            "\r\n",
            "\r",
            ":",
            ",",
            "#",
            " ",
            r#"{"url":"http://a/","method":"x"}"#,
            "\\",
            "null",
            "\u{feff}",
            r#""body""#,
            r#"{"headers":{}"#,
        ];
        prop_oneof![
            4 => prop::sample::select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ]
    }

    proptest! {
        #[test]
        fn every_line_makes_one_entry_unless_it_is_blank_or_a_comment(pieces in prop::collection::vec(piece(), 0..60)) {
            // With this first line it is not taken for an array, a multi-line object or a
            // compressed list.
            let mut list = b"{}\n".to_vec();
            list.extend(pieces.concat());
            let lines = list.split(|byte| matches!(byte, b'\r' | b'\n'));
            let expected = lines
                .filter(|line| !matches!(line.trim_ascii().first(), None | Some(b'#')))
                .count();
            prop_assert_eq!(whole::read(FORMAT, &list, ListRules::default()).unwrap().len(), expected);
            prop_assert_eq!(whole::count(FORMAT, &list).unwrap(), expected);
        }

        #[test]
        fn any_bytes_do_not_panic(list in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = whole::read(FORMAT, &list, ListRules::default());
        }
    }
}
