//! From what a line says to a job. Every format that says more than a URL ends here.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::json;

use super::list::ListRules;
use super::url::{ParsedUrl, parse_url};
use crate::model::{
    FetchError, InputPosition, InvalidLine, Job, LineOptions, ListEntry, RelPath, parse_method,
};

/// Headers that say where the request ends. The client knows that, and a wrong one would
/// break the connection.
const FRAMING_HEADERS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// A line that can be fetched: from where, and what else it asks for.
pub type ParsedLine = (ParsedUrl, Option<Box<LineOptions>>);

/// Something to fetch. `raw` is what is kept for `--failed FILE`, where that is not the URL.
pub fn job(place: InputPosition, (parsed, wish): ParsedLine, raw: Option<Box<[u8]>>) -> ListEntry {
    let (url, credentials) = parsed;
    ListEntry::Job(Job {
        place,
        url,
        credentials,
        raw: raw.map(|raw| Box::new(raw.into())),
        wish,
    })
}

/// Something that can't be fetched.
pub fn invalid(place: InputPosition, shown: String, raw: Box<[u8]>, reason: String) -> ListEntry {
    ListEntry::Invalid(InvalidLine {
        place,
        shown,
        raw: Box::new(raw.into()),
        error: FetchError::InvalidUrl { reason },
    })
}

/// A line that is only a URL, as a JSON line. Blanks beyond ASCII belong to a URL, here as
/// everywhere: it must be the same one in every format.
pub fn url_as_json(url: &str) -> Box<[u8]> {
    json!({ "url": url }).to_string().into_bytes().into()
}

/// A line that can't be fetched, as a JSON line: it must not become the URL that it, or what was
/// kept of it, looks like.
pub fn bad_as_json(line: &[u8]) -> Box<[u8]> {
    let line = String::from_utf8_lossy(line.trim_ascii());
    json!({ "line": line }).to_string().into_bytes().into()
}

/// A line as it is put together, field by field. Errors are in words, and say which field.
#[derive(Default)]
pub struct LineBuilder {
    url: Option<ParsedUrl>,
    wish: LineOptions,
}

impl LineBuilder {
    pub fn url(&mut self, text: &str) -> Result<(), String> {
        self.url = Some(parse_url(text.trim_ascii())?);
        Ok(())
    }

    pub fn file(&mut self, text: &str) -> Result<(), String> {
        let file = RelPath::parse(text);
        self.wish.file = Some(file.map_err(|why| format!("its file can't be used: {why}"))?);
        Ok(())
    }

    pub fn sha256(&mut self, text: &str) -> Result<(), String> {
        let hash = text.parse();
        self.wish.sha256 = Some(hash.map_err(|why| format!("invalid sha256: {why}"))?);
        Ok(())
    }

    pub fn size(&mut self, size: Option<u64>) -> Result<(), String> {
        let size = size.ok_or("its size is no whole number of bytes")?;
        self.wish.size = Some(size);
        Ok(())
    }

    pub fn method(&mut self, text: &str) -> Result<(), String> {
        let method = parse_method(text).map_err(|why| format!("invalid method: {why}"))?;
        self.wish.method = Some(method);
        Ok(())
    }

    pub fn header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name: HeaderName = name
            .parse()
            .map_err(|_| "one of its headers has a name that none can have")?;
        if FRAMING_HEADERS.contains(&name) {
            return Err(format!("its header {name} is not for a line to set"));
        }
        let mut value: HeaderValue = value
            .trim_matches([' ', '\t'])
            .parse()
            .map_err(|_| format!("its header {name} holds characters no header may hold"))?;
        // Tokens stand in all kinds of headers.
        value.set_sensitive(true);
        self.wish
            .headers
            .try_append(name, value)
            .map_err(|_| "it has too many headers")?;
        Ok(())
    }

    pub fn body(&mut self, body: impl Into<Bytes>) {
        self.wish.body = Some(body.into());
    }

    pub fn build(self, rules: ListRules) -> Result<ParsedLine, String> {
        let url = self.url.ok_or("it has no url")?;
        let wish = self.wish;
        if rules.saves_files && wish.overrides_request() && wish.file.is_none() {
            return Err(
                "a line with a method, headers or a body of its own must name its file".to_owned(),
            );
        }
        Ok((
            url,
            (wish != LineOptions::default()).then(|| Box::new(wish)),
        ))
    }
}
