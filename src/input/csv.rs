//! CSV (RFC 4180) and TSV: a header row names the columns, and every further row is an entry.
//! Rows with only empty cells are skipped; there are no comments. Cells of CSV may be separated by
//! semicolons, too.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;

use serde::{Serialize, Serializer};

use super::checksum::{HASH_FIELDS, is_hash_name, unknown_hash};
use super::columns::{ALL_COLUMNS, ColumnRules, URL_COLUMN_FIELD, UrlRating, keep_text};
use super::flaw::ListFlaw;
use super::line_builder::{
    INVALID_FIELD, JsonBytes, LineBuilder, NOT_UTF8, ParsedLine, as_base64, invalid,
    invalid_as_json, job, marked, no_request, prior_reason, with_columns,
};
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::row::{CellDelimiter, RowFlaw};
use super::rows::{CsvRow, RowStream};
use super::stream::InputStream;
use super::url::{UrlParser, display_line, parse_url, shown_among, shown_url};
use crate::model::{
    Columns, ColumnsBuilder, EntryGuard, ErrorKind, ListEntry, PartForm, unescape_formula,
};

/// How a first line begins that tells Excel the delimiter, in any country.
const SEPARATOR_LINE: &[u8] = b"sep=";

/// A row that is empty by itself, and behind a quote that does not close ends the cell with text after
/// the quote: so that malformed row stays malformed, whatever rows follow in its part.
const ROW_GUARD: EntryGuard = EntryGuard {
    first: b"",
    behind: b"\" \"\n",
};

/// Jaro-Winkler similarity above which a column is taken for a misnamed one: that of `filename`
/// and `file` is 0.90.
const MIN_SIMILARITY: f64 = 0.88;

/// The known columns; others are ignored.
const COLUMNS: [&str; 12] = [
    "url", "file", "md5", "sha1", "sha256", "sha512", "checksum", "size", "type", "mirrors",
    "method", "body",
];
/// Fields known only in JSON Lines. Columns with these names must not take effect when a row is
/// kept as a JSON line.
const JSON_ONLY: [&str; 6] = [
    "headers",
    "body_base64",
    "outcome",
    "request",
    URL_COLUMN_FIELD,
    INVALID_FIELD,
];
/// Those of them that a record has.
const OF_RECORD: [&str; 3] = ["body_base64", "outcome", "request"];

/// A list in CSV or TSV.
pub(super) struct CsvList {
    rows: RowStream,
    delimiter: CellDelimiter,
    /// Whether a first line names the delimiter.
    is_told: bool,
    header: Option<CsvHeader>,
    rules: ListRules,
    warning: Option<String>,
    /// The lines before the first row, for parts of the table.
    head: Vec<u8>,
    parser: UrlParser,
}

impl CsvList {
    pub(super) fn new(stream: InputStream, delimiter: CellDelimiter, rules: ListRules) -> Self {
        Self {
            rows: RowStream::new(stream, delimiter).keeping_source(rules.keeps_source),
            delimiter,
            is_told: false,
            header: None,
            parser: rules.parser(),
            rules,
            warning: None,
            head: Vec::new(),
        }
    }

    fn step<T>(
        &mut self,
        take: impl FnOnce(&CsvRow<'_>, &CsvHeader, &ListRules) -> T,
    ) -> io::Result<ListStep<T>> {
        let (header, rules) = (&mut self.header, &self.rules);
        let (warning, is_told) = (&mut self.warning, &mut self.is_told);
        let known = self.delimiter;
        let mut delimiter = known;
        let (was_told, had_header) = (*is_told, header.is_some());
        let step = self.rows.next(|row| {
            if row.is_empty() {
                return Ok(ListStep::Nothing);
            }
            if let Some(header) = header {
                return Ok(ListStep::Found(take(row, header, rules)));
            }
            if let Some(named) = named_delimiter(row.text).filter(|_| !*is_told) {
                *is_told = true;
                // In TSV only a tab ends a cell.
                if known != CellDelimiter::Tab {
                    delimiter = named;
                }
                return Ok(ListStep::Nothing);
            }
            if !*is_told && let Some(name) = told_delimiter(row.text).and_then(one_char) {
                let reason = format!(
                    "the first line names {name:?} as the delimiter; known are a comma, a semicolon \
                     and a tab"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            let may_differ = delimiter == CellDelimiter::Comma && !*is_told;
            if may_differ && has_semicolons(row, &rules.columns) {
                delimiter = CellDelimiter::Semicolon;
            }
            // Of a malformed row, only the first line could be split again.
            let read = if delimiter == known {
                CsvHeader::of(row, rules)?
            } else {
                row.split_at(delimiter, |row| CsvHeader::of(row, rules))?
            };
            *warning = header_warning(&read, rules);
            *header = Some(read);
            Ok(ListStep::Nothing)
        })?;
        if was_told != self.is_told || had_header != self.header.is_some() {
            self.head.extend_from_slice(self.rows.source());
            self.head.push(b'\n');
        }
        if delimiter != self.delimiter {
            self.delimiter = delimiter;
            self.rows.set_delimiter(delimiter);
        }
        step.unwrap_or(Ok(ListStep::End))
    }
}

impl InputList for CsvList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        let mut parser = std::mem::take(&mut self.parser);
        let step = self.step(|row, header, rules| match row.flaw {
            Some(flaw) => broken(row, flaw, header, origin),
            None => entry(row, header, origin, rules, &mut parser),
        });
        self.parser = parser;
        step
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        self.step(|_, _, _| ())
    }

    fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn source(&self) -> &[u8] {
        self.rows.source()
    }

    fn form(&self) -> PartForm {
        let head = self.head.clone();
        match self.delimiter {
            CellDelimiter::Tab if !self.is_told => PartForm {
                head,
                guard: None,
                ..lines_form("tsv")
            },
            _ => PartForm {
                head,
                guard: Some(ROW_GUARD),
                ..lines_form("csv")
            },
        }
    }

    fn is_ready(&self) -> bool {
        self.rows.is_ready()
    }

    fn position(&self) -> u64 {
        self.rows.position()
    }
}

/// Returns what a line names as the delimiter: `sep=;`, or with quotes around it.
fn told_delimiter(line: &[u8]) -> Option<&[u8]> {
    let bare = line
        .strip_prefix(b"\"")
        .and_then(|line| line.strip_suffix(b"\""));
    let (name, delimiter) = bare
        .unwrap_or(line)
        .split_at_checked(SEPARATOR_LINE.len())?;
    name.eq_ignore_ascii_case(SEPARATOR_LINE)
        .then_some(delimiter)
}

/// Returns the character that is the whole text.
fn one_char(text: &[u8]) -> Option<char> {
    let mut chars = std::str::from_utf8(text).ok()?.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// Returns the delimiter that a line names, if it is a known one.
fn named_delimiter(line: &[u8]) -> Option<CellDelimiter> {
    match told_delimiter(line)? {
        b"," => Some(CellDelimiter::Comma),
        b";" => Some(CellDelimiter::Semicolon),
        b"\t" => Some(CellDelimiter::Tab),
        _ => None,
    }
}

/// Whether the cells of a header row are separated by semicolons: that way its URL is named better,
/// or else there are more of them. A row that is malformed between commas has to name it.
fn has_semicolons(row: &CsvRow<'_>, columns: &ColumnRules) -> bool {
    let commas = rating(row, columns, b';');
    let semicolons = row.split_at(CellDelimiter::Semicolon, |row| rating(row, columns, b','));
    let names_url = semicolons.is_some_and(|(best, _)| best > UrlRating::None);
    let may_be_read = match row.flaw {
        None => true,
        Some(RowFlaw::TextBehind) => names_url,
        Some(_) => false,
    };
    may_be_read && semicolons > commas
}

/// Returns how likely a column of a header row is the URL, and the number of columns; `None` for a
/// malformed row. A cell with the other delimiter in it is only similar to a name because it is
/// not split.
fn rating(row: &CsvRow<'_>, columns: &ColumnRules, other: u8) -> Option<(UrlRating, usize)> {
    let rate = |cell: Cow<'_, [u8]>| match columns.rate(&column(&cell)) {
        UrlRating::Similar if cell.contains(&other) => UrlRating::None,
        rating => rating,
    };
    let best = row.cells().map(rate).max().unwrap_or(UrlRating::None);
    row.flaw.is_none().then_some((best, row.count()))
}

/// The names of the columns.
struct CsvHeader {
    /// Names of the columns: known ones in lower case, others as written.
    names: Vec<String>,
    /// Their names in JSON lines, each different.
    fields: Vec<String>,
    /// Index of the `url` column.
    url: usize,
    /// Whether the table has the results of an earlier run. Their `body` is that of a response.
    has_results: bool,
}

impl CsvHeader {
    fn of(row: &CsvRow<'_>, rules: &ListRules) -> io::Result<Self> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        if let Some(flaw) = row.flaw {
            return Err(wrong(format!("invalid header row: {}", row.explain(flaw))));
        }
        let names: Vec<_> = row.cells().map(|cell| column(&cell)).collect();
        for known in COLUMNS {
            if names.iter().filter(|name| *name == known).count() > 1 {
                return Err(wrong(format!("duplicate column {known}")));
            }
        }
        if let Some(name) = kept_twice(&names, &rules.columns) {
            return Err(wrong(format!("duplicate column {}", shown_url(name))));
        }
        if let Some(name) = kept_unread(row, &names, &rules.columns) {
            let name = shown_url(name);
            return Err(wrong(format!("header row: column {name} is {NOT_UTF8}")));
        }
        let url = rules.columns.find_url(&names).map_err(|why| {
            let first = names.iter().find(|name| parse_url(name).is_ok());
            match first {
                Some(url) => {
                    let url = shown_url(url);
                    wrong(format!(
                        "no header row: the first row has {url}; put a row with url above it"
                    ))
                }
                None if !row.cells().all(|cell| is_utf8(&cell)) => {
                    wrong(format!("header row: {why}; the row is {NOT_UTF8}"))
                }
                None => ListFlaw {
                    reason: format!("header row: {why}"),
                    ..why
                }
                .into_error(),
            }
        })?;
        Ok(Self::new(names, url))
    }

    fn new(names: Vec<String>, url: usize) -> Self {
        let has_results = names.iter().any(|name| name == "outcome");
        let fields = names.clone();
        let mut header = Self {
            names,
            fields,
            url,
            has_results,
        };
        header.name_fields();
        header
    }

    /// Numbers the fields of columns without a name, with one that another column has, in any
    /// case, or with one that would take effect in a JSON line. A repeated column is not used.
    fn name_fields(&mut self) {
        let folded = |name: &String| name.to_ascii_lowercase();
        let all: HashSet<_> = self.names.iter().map(folded).collect();
        let mut seen: HashSet<_> = self.names.get(self.url).map(folded).into_iter().collect();
        let columns = self.names.iter_mut().zip(&mut self.fields);
        for (number, (name, field)) in columns.enumerate() {
            if number == self.url {
                continue;
            }
            let is_repeated = !seen.insert(folded(name));
            let is_of_record = self.has_results && OF_RECORD.contains(&name.as_str());
            let is_effective = JSON_ONLY.contains(&name.as_str()) && !is_of_record;
            if !is_repeated && !is_effective && !name.is_empty() {
                continue;
            }
            let base = if name.is_empty() {
                "column"
            } else {
                name.as_str()
            };
            *field = format!("{base} {}", number + 1);
            while all.contains(&folded(field)) {
                field.push('+');
            }
            if is_repeated {
                name.clear();
            }
        }
    }

    /// Whether a column is named `url` but is not the URL.
    fn has_other_url(&self) -> bool {
        let mut names = self.names.iter().enumerate();
        names.any(|(number, name)| name == "url" && number != self.url)
    }

    /// Returns what each column is for, beside the name that it has.
    fn uses(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        (0..).zip(&self.names).map(|(number, name)| {
            let is_response = self.has_results && name == "body";
            let known = COLUMNS.contains(&name.as_str()) && name != "url" && !is_response;
            let used = if number == self.url {
                Some("url")
            } else {
                known.then_some(name.as_str())
            };
            (name.as_str(), used)
        })
    }

    /// Whether a row has these columns. Extra empty cells are allowed, since spreadsheets add them.
    fn fits(&self, row: &CsvRow<'_>) -> bool {
        let mut further = row.cells().skip(self.names.len());
        row.count() >= self.names.len() && further.all(|cell| cell.trim_ascii().is_empty())
    }

    /// Whether the `body` column, which may be secret, comes before the `url` column.
    fn has_body_before_url(&self) -> bool {
        self.names.iter().take(self.url).any(|name| name == "body")
    }

    /// Whether all cells in columns that are used are UTF-8.
    fn is_text(&self, row: &CsvRow<'_>, rules: &ListRules) -> bool {
        let mut cells = self.uses().zip(row.cells());
        cells.all(|((name, used), cell)| {
            let is_used = used.is_some() || rules.columns.keeps(name);
            !is_used || is_utf8(&cell)
        })
    }
}

/// Returns the second of two columns to be kept that have one name: a record has room for one. Names
/// are the same in upper and lower case; spreadsheets add columns without one.
fn kept_twice<'n>(names: &'n [String], columns: &ColumnRules) -> Option<&'n str> {
    let mut found = HashSet::new();
    let mut kept = names
        .iter()
        .filter(|name| !name.is_empty() && columns.keeps(name));
    let second = kept.find(|name| !found.insert(name.to_ascii_lowercase()));
    second.map(String::as_str)
}

/// Returns the name in another encoding of a column to be kept, or of one that may be it, if one to
/// be kept is not there by its name.
fn kept_unread<'n>(
    row: &CsvRow<'_>,
    names: &'n [String],
    columns: &ColumnRules,
) -> Option<&'n str> {
    let lacks_one = missing_kept(names, columns).next().is_some();
    let mut named = names.iter().zip(row.cells());
    let unread = named.find(|(name, cell)| !is_utf8(cell) && (lacks_one || columns.keeps(name)));
    unread.map(|(name, _)| name.as_str())
}

/// Returns the columns to be kept that are not there.
fn missing_kept<'n>(
    names: &'n [String],
    columns: &'n ColumnRules,
) -> impl Iterator<Item = &'n String> + 'n {
    let is_there = |kept: &str| names.iter().any(|name| name.eq_ignore_ascii_case(kept));
    let kept = columns.keep.iter();
    kept.filter(move |kept| *kept != ALL_COLUMNS && !is_there(kept))
}

fn is_utf8(cell: &[u8]) -> bool {
    std::str::from_utf8(cell).is_ok()
}

fn column(cell: &[u8]) -> String {
    let name = String::from_utf8_lossy(cell.trim_ascii());
    let known = COLUMNS
        .iter()
        .chain(&JSON_ONLY)
        .find(|known| known.eq_ignore_ascii_case(&name));
    known.map_or_else(|| name.into_owned(), |known| (*known).to_owned())
}

/// Returns warnings about the names of columns.
fn header_warning(header: &CsvHeader, rules: &ListRules) -> Option<String> {
    let warnings = misnamed(header, rules).into_iter();
    let warnings: Vec<_> = warnings.chain(not_kept(header, rules)).collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Returns a warning for each column that is to be kept but is not there.
fn not_kept<'n>(header: &'n CsvHeader, rules: &'n ListRules) -> impl Iterator<Item = String> + 'n {
    let names = &header.names;
    missing_kept(names, &rules.columns).map(|kept| {
        let rated = names.iter().map(|name| (similarity(name, kept), name));
        let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let best = best.filter(|(rating, _)| *rating > MIN_SIMILARITY);
        let hint = best.map(|(_, name)| format!("; did you mean {}?", shown_url(name)));
        format!(
            "no column {} to keep{}",
            shown_url(kept),
            hint.unwrap_or_default()
        )
    })
}

/// Returns how similar two names are, from 0 to 1, whatever their case and punctuation.
fn similarity(name: &str, known: &str) -> f64 {
    let folded = |name: &str| {
        name.to_lowercase()
            .replace(|c: char| !c.is_alphanumeric(), "")
    };
    strsim::jaro_winkler(&folded(name), &folded(known))
}

/// Returns a warning about columns whose names are almost those of known ones.
fn misnamed(header: &CsvHeader, rules: &ListRules) -> Option<String> {
    let names = &header.names;
    if header.has_results {
        // Their columns describe responses.
        return None;
    }
    let is_missed = |known: &str| {
        let is_used = known == "url" || names.iter().any(|name| name == known);
        !is_used && (known != "file" || rules.saves_files)
    };
    let wanted: Vec<_> = COLUMNS
        .into_iter()
        .filter(|known| is_missed(known))
        .collect();
    let is_ignored = |number: usize, name: &str| {
        let is_known = COLUMNS.contains(&name) || JSON_ONLY.contains(&name);
        number != header.url && !is_known && !rules.columns.keeps(name)
    };
    let pair = |name: &String| {
        let is_hash = is_hash_name(name);
        let candidates = wanted
            .iter()
            .filter(|known| is_hash == HASH_FIELDS.contains(known));
        let rated = candidates.map(|known| (similarity(name, known), known));
        let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let name = shown_url(name);
        match best.filter(|(rating, _)| *rating > MIN_SIMILARITY) {
            Some((_, known)) => Some(format!("column {name} is ignored; did you mean {known}?")),
            None => is_hash.then(|| unknown_hash("column", &name)),
        }
    };
    let ignored = names.iter().enumerate();
    let ignored = ignored.filter(|(number, name)| is_ignored(*number, name));
    let warnings: Vec<_> = ignored.filter_map(|(_, name)| pair(name)).collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

fn entry(
    row: &CsvRow<'_>,
    header: &CsvHeader,
    origin: &EntryOrigin<'_>,
    rules: &ListRules,
    parser: &mut UrlParser,
) -> ListEntry {
    let place = origin.line(row.line);
    let columns = kept_columns(row, header, rules);
    let parsed = match &columns {
        Ok(_) => parse_cells(row, header, rules, parser),
        Err(reason) => Err(reason.clone().into()),
    };
    let columns = columns.unwrap_or_default();
    let reason = match parsed {
        Ok(parsed) => {
            let is_kept = rules.parts_by.is_none();
            let raw = is_kept.then(|| row_as_json(row, header, rules));
            let entry = job(place, parsed, raw);
            return with_columns(entry, columns);
        }
        Err(reason) => reason,
    };
    let shown = shown_row(row, header);
    // Fields cannot say that a row does not fit its header. In a known column that is not UTF-8,
    // they would be those of a different request.
    if !header.fits(row) || !header.is_text(row, rules) {
        let cells: Vec<_> = row.cells().collect();
        let cells: Vec<_> = cells.iter().map(|cell| JsonBytes::new(cell)).collect();
        return invalid_as_json(place, shown, ("cells", &cells), reason, columns);
    }
    let entry = invalid(place, shown, row_as_json(row, header, rules), reason);
    with_columns(entry, columns)
}

/// Returns the columns that the record repeats. A row that does not fit the header has those for
/// which it has a cell.
fn kept_columns(
    row: &CsvRow<'_>,
    header: &CsvHeader,
    rules: &ListRules,
) -> Result<Option<Columns>, String> {
    if !rules.columns.keeps_any() {
        return Ok(None);
    }
    let mut columns = ColumnsBuilder::default();
    let named = header.names.iter().zip(&header.fields);
    for ((name, field), cell) in named.zip(row.cells()) {
        // Spreadsheets add columns without a name and content.
        let is_there = !name.is_empty() || !cell.trim_ascii().is_empty();
        let name = if name.is_empty() { field } else { name };
        if is_there && rules.columns.keeps(name) {
            keep_text(&mut columns, name, text_of(name, &cell)?);
        }
    }
    columns.build()
}

fn text_of<'a>(name: &str, cell: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(cell).map_err(|_| format!("{} is {NOT_UTF8}", shown_url(name)))
}

/// Creates the entry for a malformed row. If its cells are not known, the URL is looked for by
/// splitting at the delimiter alone, and shown only if it is valid; else the row is.
fn broken(
    row: &CsvRow<'_>,
    flaw: RowFlaw,
    header: &CsvHeader,
    origin: &EntryOrigin<'_>,
) -> ListEntry {
    let url = match row.cell(header.url) {
        Some(url) => shown_url(&String::from_utf8_lossy(&url)),
        None if header.has_body_before_url() => shown_beginning(row, header),
        None => {
            let cell = row
                .text
                .split(|byte| *byte == row.delimiter())
                .nth(header.url);
            let text = String::from_utf8_lossy(cell.unwrap_or_default());
            let url = text.trim_matches(|c: char| c == '"' || c.is_ascii_whitespace());
            match parse_url(url) {
                Ok(_) => shown_url(url),
                Err(_) => shown_beginning(row, header),
            }
        }
    };
    let cells = [JsonBytes::new(row.text)];
    let reason = row.explain(flaw);
    let place = origin.line(row.line);
    invalid_as_json(place, url, ("cells", &cells), reason, None)
}

/// Returns a row without a URL for output, up to the first cell that may be secret.
fn shown_beginning(row: &CsvRow<'_>, header: &CsvHeader) -> String {
    let is_secret = |name: &String| matches!(name.as_str(), "body" | "body_base64" | "headers");
    let end = header.names.iter().position(is_secret).map(|secret| {
        let mut delimiters = memchr::memchr_iter(row.delimiter(), row.text);
        secret
            .checked_sub(1)
            .map_or(Some(0), |before| delimiters.nth(before))
    });
    match end.flatten().and_then(|end| row.text.get(..end)) {
        Some(before) => format!("{}…", display_line(before)),
        None => display_line(row.text),
    }
}

fn parse_cells(
    row: &CsvRow<'_>,
    header: &CsvHeader,
    rules: &ListRules,
    parser: &mut UrlParser,
) -> Result<ParsedLine, ListFlaw> {
    if !header.fits(row) {
        return Err(row.explain_count(header.names.len()).into());
    }
    if let Some(message) = prior_message(row, header) {
        return Err(prior_reason(&message).into());
    }
    let mut draft = LineBuilder::new(rules, parser);
    for ((name, used), cell) in header.uses().zip(row.cells()) {
        let Some(used) = used else {
            if header.has_results && name == "request" && !cell.trim_ascii().is_empty() {
                return Err(no_request());
            }
            continue;
        };
        let whole = text_of(name, &cell)?;
        let text = whole.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match used {
            "url" => draft.url(text)?,
            "file" => draft.file(file_of(whole, header))?,
            hash if HASH_FIELDS.contains(&hash) => draft.hash(hash, text)?,
            "size" => draft.size(number(text))?,
            "type" => draft.types(text)?,
            "mirrors" => draft.mirrors(text.split_ascii_whitespace())?,
            "method" => draft.method(text)?,
            _ => draft.body(whole.to_owned()),
        }
    }
    Ok(draft.build()?)
}

/// Returns the name of a file in its cell. In results, blanks around it are part of it, and an
/// apostrophe keeps spreadsheets from taking it for a formula.
fn file_of<'c>(cell: &'c str, header: &CsvHeader) -> &'c str {
    match header.has_results {
        true => unescape_formula(cell),
        false => cell.trim_ascii(),
    }
}

/// Returns the message of a result that is that of an invalid line, which has no request: its URL is
/// that line.
fn prior_message(row: &CsvRow<'_>, header: &CsvHeader) -> Option<String> {
    if !header.has_results {
        return None;
    }
    let cell = |name: &str| {
        let number = header.names.iter().position(|known| known == name)?;
        Some(String::from_utf8_lossy(&row.cell(number)?).into_owned())
    };
    let kind = cell("error")?;
    (kind == ErrorKind::InvalidUrl.as_str()).then(|| cell("message").unwrap_or(kind))
}

/// Parses digits only; Rust's `parse` also accepts a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

fn shown_row(row: &CsvRow<'_>, header: &CsvHeader) -> String {
    let Some(url) = row.cell(header.url) else {
        return shown_beginning(row, header);
    };
    match std::str::from_utf8(&url) {
        Ok(url) if prior_message(row, header).is_some() => shown_among(url),
        Ok(url) => shown_url(url),
        Err(_) => display_line(&url),
    }
}

/// A cell as the value of a JSON field.
#[derive(Serialize)]
#[serde(untagged)]
enum CsvField<'a> {
    Number(u64),
    Text(Cow<'a, str>),
    Words(#[serde(serialize_with = "as_words")] Cow<'a, str>),
    Bytes(JsonBytes<'a>),
    Base64(#[serde(serialize_with = "as_base64")] &'a [u8]),
}

fn as_words<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(text.split_ascii_whitespace())
}

/// Returns a row as a JSON line, which can be read again without the header.
fn row_as_json(row: &CsvRow<'_>, header: &CsvHeader, rules: &ListRules) -> Box<[u8]> {
    let cells: Vec<_> = row.cells().collect();
    // A blank cell means no value, but a blank JSON field would be one. Results are a record in
    // JSON, too.
    let fields = header.fields.iter().zip(header.uses()).zip(&cells);
    let fields = fields.filter(|(_, cell)| !cell.trim_ascii().is_empty());
    let fields = fields.map(|((name, (_, used)), cell)| match field(used, cell) {
        CsvField::Text(_) if used == Some("file") => {
            let whole = String::from_utf8_lossy(cell);
            let file = file_of(&whole, header).to_owned();
            (name.as_str(), CsvField::Text(Cow::Owned(file)))
        }
        CsvField::Bytes(JsonBytes::Other { base64 }) if used == Some("body") => {
            ("body_base64", CsvField::Base64(base64))
        }
        field => (name.as_str(), field),
    });
    // The URL has its own name, too, so that none is taken from another column if it is blank.
    let url = cells
        .get(header.url)
        .map(|cell| ("url", field(Some("url"), cell)));
    let url = url.filter(|_| !header.has_other_url());
    let fields: BTreeMap<_, _> = fields.chain(url).collect();
    let name = header.names.get(header.url).map_or("url", String::as_str);
    marked(&fields, row.text.len(), name, rules)
}

/// Returns a cell as the value of the field that it is used for.
fn field<'a>(used: Option<&str>, cell: &'a [u8]) -> CsvField<'a> {
    let text = String::from_utf8_lossy;
    let Some(used) = used.filter(|used| *used != "body") else {
        return CsvField::Bytes(JsonBytes::new(cell));
    };
    let cell = cell.trim_ascii();
    match std::str::from_utf8(cell).ok().and_then(number) {
        Some(number) if used == "size" => CsvField::Number(number),
        _ if used == "mirrors" => CsvField::Words(text(cell)),
        _ => CsvField::Text(text(cell)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputFormat;
    use crate::input::row::{MAX_CELLS, MAX_ROW_BYTES};
    use crate::input::whole;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(list: &str) -> Vec<ListEntry> {
        whole::read(InputFormat::Csv, list.as_bytes(), ListRules::default()).unwrap()
    }

    fn urls(list: &str) -> Vec<(u64, String)> {
        let entries = read(list).into_iter();
        let urls = entries.map(|entry| match entry {
            ListEntry::Job(job) => (job.position.line, job.url.to_string()),
            ListEntry::Invalid(bad) => (bad.position.line, bad.shown),
            other => panic!("{other:?}"),
        });
        urls.collect()
    }

    fn bad(list: &str) -> (String, String, String) {
        whole::bad(InputFormat::Csv, list.as_bytes(), ListRules::default())
    }

    fn header_error(list: &str) -> String {
        let read = whole::read(InputFormat::Csv, list.as_bytes(), ListRules::default());
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_column_that_is_almost_a_known_one_is_a_warning() {
        let warning = |header: &str, saves_files| {
            let names: Vec<_> = header
                .split(',')
                .map(|name| column(name.as_bytes()))
                .collect();
            let rules = ListRules {
                saves_files,
                ..ListRules::default()
            };
            let url = names.iter().position(|name| name == "url").unwrap();
            misnamed(&CsvHeader::new(names, url), &rules)
        };
        for (header, meant) in [
            (
                "url,Filename",
                "column Filename is ignored; did you mean file?",
            ),
            (
                "file_name,url",
                "column file_name is ignored; did you mean file?",
            ),
            (
                "url,SHA-256",
                "column SHA-256 is ignored; did you mean sha256?",
            ),
            (
                "url,methods,x",
                "column methods is ignored; did you mean method?",
            ),
            (
                "url,Mirror",
                "column Mirror is ignored; did you mean mirrors?",
            ),
        ] {
            assert_eq!(warning(header, true).as_deref(), Some(meant), "{header}");
        }
        for (header, meant) in [
            ("url,md5sum", "did you mean md5?"),
            ("url,SHA-512", "did you mean sha512?"),
            ("url,checksums", "did you mean checksum?"),
            (
                "url,blake3",
                "column blake3 looks like a hash but is not checked; known are md5, sha1, sha256, sha512 and \
                 checksum",
            ),
            (
                "url,methods,MD5,file_hash",
                "column methods is ignored; did you mean method?; column file_hash looks like a hash",
            ),
        ] {
            let warning = warning(header, true).unwrap_or_default();
            assert!(warning.contains(meant), "{header}: {warning}");
        }
        for header in [
            "url,check,share,md5,SHA1",
            "url,file,filename",
            "url,title,id,profile,side",
            "url,headers",
            "url,outcome,mirror",
        ] {
            assert_eq!(warning(header, true), None, "{header}");
        }
        assert_eq!(warning("url,filename", false), None, "nothing is saved");
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let list = format!(
            "\u{feff}id, File ,SHA256,Size,URL,method,body\n7, a/x ,{hash},3,http://a/,put,\" a\nb,\"\"c\"\n"
        );
        let job = whole::job(InputFormat::Csv, &list);
        let own_options = job.options.unwrap();
        assert_eq!(job.url.as_str(), "http://a/");
        assert_eq!(own_options.file.unwrap().as_str(), "a/x");
        assert_eq!(
            own_options.hashes.unwrap().sha256.unwrap().to_string(),
            hash
        );
        assert_eq!(
            (own_options.size, own_options.method.unwrap().as_str()),
            (Some(3), "PUT")
        );
        assert_eq!(own_options.body.unwrap(), " a\nb,\"c");
        let job = whole::job(InputFormat::Tsv, "url\tfile\nhttp://a/?x=1,2\tx\n");
        assert_eq!(job.url.as_str(), "http://a/?x=1,2");
        assert_eq!(job.options.unwrap().file.unwrap().as_str(), "x");
    }

    #[test]
    fn rows_have_the_number_of_their_first_line() {
        let list = "url,file\n\nhttp://a/,\"x\n\ny\"\n,\nhttp://b/,\n\n\nhttp://c/,";
        for list in [list.to_owned(), list.replace('\n', "\r\n")] {
            let lines: Vec<_> = urls(&list).into_iter().map(|(line, _)| line).collect();
            assert_eq!(lines, [3, 7, 10], "{list:?}");
        }
    }

    #[test]
    fn empty_rows_are_skipped_and_empty_cells_are_absent() {
        let found = read("url,file,size\n\n,,\n  \nhttp://a/,,\n");
        assert!(matches!(&found[..], [ListEntry::Job(job)] if job.options.is_none()));
        assert!(read("").is_empty() && read("url").is_empty() && read("\n\n").is_empty());
    }

    #[test]
    fn without_a_column_url_nothing_is_read() {
        let error = header_error("http://me:s3cret@a/\nhttp://b/\n");
        assert!(!error.contains("s3cret"), "{error}");
        let page = [
            header_error("src,File\nhttp://a/,x\n"),
            error,
            header_error("url,URL\n"),
        ];
        let page = page
            .into_iter()
            .chain(["id|title\n", "one;two\n"].map(header_error));
        insta::assert_snapshot!("headers", page.collect::<Vec<_>>().join("\n"));
        let error = header_error(&"x,".repeat(1000));
        assert!(error.ends_with(", x, …") && error.len() < 200, "{error}");
    }

    fn keeping(url: Option<&str>, names: &[&str]) -> ListRules {
        ListRules {
            columns: std::sync::Arc::new(ColumnRules {
                url: url.map(str::to_owned),
                keep: names.iter().map(|name| (*name).to_owned()).collect(),
            }),
            ..ListRules::default()
        }
    }

    fn columns(entry: &ListEntry) -> Option<&str> {
        let columns = match entry {
            ListEntry::Job(job) => job.options.as_ref()?.columns.as_ref(),
            ListEntry::Invalid(line) => line.columns.as_ref(),
            other => panic!("{other:?}"),
        };
        columns.map(Columns::as_json)
    }

    #[test]
    fn a_file_of_a_record_is_called_as_before() {
        let file = |job: &crate::model::Job| job.file_override().unwrap().to_string();
        for (cell, name) in [
            ("'=a", "=a"),
            ("' b", "' b"),
            (" b ", " b "),
            ("''+c", "'+c"),
        ] {
            let list = format!("url,outcome,file\nhttp://a/1,fetched,\"{cell}\"\n");
            let job = whole::job(InputFormat::Csv, &list);
            let raw = job.raw.as_ref().unwrap();
            let again = whole::job(InputFormat::JsonLines, std::str::from_utf8(raw).unwrap());
            assert_eq!([file(&job), file(&again)], [name, name]);
        }
        let job = whole::job(InputFormat::Csv, "url,file\nhttp://a/1, '=a \n");
        assert_eq!(file(&job), "'=a");
    }

    #[test]
    fn half_a_password_is_not_shown() {
        let (shown, ..) = bad("url,t\nhttp://me:s3cret,PW@host/a,x\n");
        assert_eq!(shown, "http://me:…");
    }

    #[test]
    fn columns_with_the_names_of_our_own_marks_have_no_effect_when_read_again() {
        for name in [URL_COLUMN_FIELD, INVALID_FIELD] {
            let list = format!("url,{name},x\nhttp://a/1,x,http://a/2\n");
            let raw = whole::job(InputFormat::Csv, &list).raw.unwrap();
            let again = whole::job(InputFormat::JsonLines, std::str::from_utf8(&raw).unwrap());
            assert_eq!(again.url.as_str(), "http://a/1");
        }
    }

    /// Spreadsheets write semicolons where a comma separates decimals.
    #[test]
    fn cells_may_be_separated_by_semicolons() {
        for list in [
            "id;url;size\n1;http://a/?x=1,2;3\n",
            "\"id\";\"link\"\r\n\"1;2\";\"http://a/?x=1,2\"\r\n",
            "sep=;\nid;image_url\n1;http://a/?x=1,2\n",
            "url;file\n\"http://a/?x=1,2\" ;x\n",
            "url,a;b;c;d\n\"http://a/?x=1,2\",x\n",
        ] {
            assert_eq!(urls(list)[0].1, "http://a/?x=1,2", "{list}");
            assert_eq!(whole::count(InputFormat::Csv, list.as_bytes()).unwrap(), 1);
        }
        let rows = "a;url\n\"open;http://a/\nx;http://b/;y\nz;http://c/\n";
        let found = read(rows);
        assert_eq!(found.len(), 3);
        assert!(matches!(&found[1], ListEntry::Invalid(bad)
            if bad.error.to_string().contains("semicolon")));
        assert!(matches!(&found[2], ListEntry::Job(_)));
        assert!(header_error("a;b;c\n").contains("a, b, c"));
    }

    /// Files in the form of LibreOffice (UTF-8, cells quoted as needed, or all texts) and of Excel
    /// ("CSV UTF-8", "CSV" and "Unicode Text"), with a comma or, where that separates decimals, a
    /// semicolon.
    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/fuzz/lists");
        for (name, format) in [
            ("libreoffice.csv", InputFormat::Csv),
            ("libreoffice-quoted.csv", InputFormat::Csv),
            ("excel-utf8.csv", InputFormat::Csv),
            ("excel-ansi.csv", InputFormat::Csv),
            ("excel-unicode.tsv", InputFormat::Tsv),
        ] {
            let table = std::fs::read(format!("{folder}/{name}")).unwrap();
            let is_utf8 = name != "excel-ansi.csv";
            let keep: &[_] = if is_utf8 { &["*"] } else { &["Nr"] };
            let found = whole::read(format, &table, keeping(None, keep)).unwrap();
            let urls = found.iter().map(|entry| match entry {
                ListEntry::Job(job) => job.url.path().to_owned() + job.url.query().unwrap_or(""),
                other => panic!("{name}: {other:?}"),
            });
            let urls: Vec<_> = urls.collect();
            assert_eq!(
                urls,
                ["/1.jpgw=1,5&h=2;3", "/2.jpg", "/3.jpg", "/4.jpg"],
                "{name}"
            );
            let kept = |number: usize| columns(&found[number]).unwrap();
            if is_utf8 {
                assert!(
                    kept(0).ends_with("\"Größe\":\"1,5\"}"),
                    "{name}: {}",
                    kept(0)
                );
                let quoted = r#"{"Nr":"2","Straße":"Haus \"Sonne\", Hof","#;
                assert!(kept(1).starts_with(quoted), "{name}: {}", kept(1));
                let lines = if format == InputFormat::Csv {
                    "zwei\\nZeilen"
                } else {
                    "zwei Zeilen"
                };
                assert!(kept(2).contains(lines), "{name}: {}", kept(2));
            } else {
                assert_eq!(kept(3), r#"{"Nr":"4"}"#);
                let all = whole::read(format, &table, keeping(None, &["*"]));
                assert!(all.unwrap_err().to_string().contains("iconv"));
            }
        }
    }

    #[test]
    fn a_cell_of_ten_megabytes_costs_its_own_row_at_most() {
        let huge = "x".repeat(10_000_000);
        let cell = format!("http://{}", "x".repeat(300_000));
        let list = format!(
            "url,id,note\nhttp://a/,1,{huge}\n{cell},2,\nhttp://b/,\"{cell}\",\nhttp://c/,4,\n"
        );
        let found = whole::read(InputFormat::Csv, list.as_bytes(), keeping(None, &["id"])).unwrap();
        let told = found.iter().map(|entry| match entry {
            ListEntry::Job(job) => job.url.to_string(),
            ListEntry::Invalid(bad) => bad.error.to_string(),
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                "http://a/",
                "invalid input: uri too long",
                "invalid input: columns exceed 256 KiB",
                "http://c/",
            ]
        );
    }

    #[test]
    fn a_first_line_may_name_the_delimiter() {
        for list in [
            "sep=,\nid,url\n1;2,http://a/\n",
            "SEP=,\r\nx;y,link\r\n1,http://a/\r\n",
            "\"sep=;\"\nid;url\n\"1,2\";http://a/\n",
            "\u{feff}sep=;\nurl;a,b,c\nhttp://a/;1\n",
            "sep=\t\nid\turl\n1,2\thttp://a/\n",
        ] {
            let found = urls(list);
            assert_eq!(found, [(3, "http://a/".to_owned())], "{list}");
            assert_eq!(whole::count(InputFormat::Csv, list.as_bytes()).unwrap(), 1);
        }
        for named in [";", ",", "\t"] {
            let tsv = format!("sep={named}\nurl\tid\nhttp://a/;,\t1\n");
            let rules = ListRules::default();
            let found = whole::read(InputFormat::Tsv, tsv.as_bytes(), rules).unwrap();
            let [ListEntry::Job(job)] = &found[..] else {
                panic!("{found:?}");
            };
            assert_eq!(job.url.as_str(), "http://a/;,");
        }
        assert!(header_error("sep=,\nsep=,\nurl\n").contains("sep="));
        insta::assert_snapshot!("unknown_delimiter", header_error("sep=|\nurl|id\n"));
    }

    /// Read with semicolons, such a row would have a URL with more than one cell in it.
    #[test]
    fn a_header_that_cannot_be_parsed_is_an_error() {
        let wide = format!("url{}\n", ",c".repeat(MAX_CELLS));
        for header in [
            "url,\"caption\n",
            "url,\"a\"b\n",
            "url,\"a\";b\n",
            "\"a\";b,url\n",
            &wide,
        ] {
            let error = header_error(&format!("{header}http://a/x,one\n"));
            assert!(error.starts_with("invalid header row: "), "{error}");
        }
    }

    #[test]
    fn a_name_that_contains_the_other_delimiter_is_not_split() {
        for list in [
            "link,\"x;y;z\"\nhttp://a/,1\n",
            "link,a;b;c\nhttp://a/,1\n",
            "url;Preis, EUR\nhttp://a/;1,5\n",
        ] {
            assert_eq!(urls(list), [(2, "http://a/".to_owned())], "{list}");
        }
    }

    #[test]
    fn kept_columns_are_those_of_the_row_also_of_a_failed_one() {
        let rules = keeping(None, &["ID", "caption"]);
        let list = "id,image_url,caption\n007,http://a/,\" say \"\"hi\"\"\"\n8,nonsense,\n9\n10,http://a/,a,b\n11,\"x\n";
        let found = whole::read(InputFormat::Csv, list.as_bytes(), rules.clone()).unwrap();
        assert_eq!(
            columns(&found[0]),
            Some(r#"{"id":"007","caption":" say \"hi\""}"#)
        );
        assert_eq!(columns(&found[1]), Some(r#"{"id":"8","caption":""}"#));
        assert_eq!(columns(&found[2]), Some(r#"{"id":"9"}"#));
        assert_eq!(columns(&found[3]), Some(r#"{"id":"10","caption":"a"}"#));
        assert_eq!(columns(&found[4]), None, "its cells are not known");
        let latin = whole::bad(
            InputFormat::Csv,
            b"url,caption\nhttp://a/,\xfc\n",
            rules.clone(),
        );
        assert!(
            latin.1.contains("caption is not valid UTF-8; "),
            "{}",
            latin.1
        );
        let long = format!(
            "url,caption\nhttp://a/,{}\nhttp://b/,x\n",
            "x".repeat(300 << 10)
        );
        let found = whole::read(InputFormat::Csv, long.as_bytes(), rules).unwrap();
        assert!(
            matches!(&found[..], [ListEntry::Invalid(bad), ListEntry::Job(_)]
            if bad.error.to_string().ends_with("columns exceed 256 KiB"))
        );
    }

    /// Old versions of Excel write the encoding of their country.
    #[test]
    fn a_header_in_latin1_is_an_error_only_if_such_a_column_may_be_meant() {
        let list = b"stra\xdfe;url\nM\xfchlweg;http://a/\nplain;http://b/\n";
        let found = |url, keep: &[&str]| {
            let found = whole::read(InputFormat::Csv, list, keeping(url, keep));
            found.map_err(|error| error.to_string())
        };
        for keep in [&[][..], &["url"]] {
            let found = found(None, keep).unwrap();
            assert!(matches!(&found[..], [ListEntry::Job(_), ListEntry::Job(_)]));
        }
        let mut page = vec![];
        for (url, keep) in [
            (None, &["*"][..]),
            (None, &["straße"]),
            (None, &["url", "straße"]),
            (Some("straße"), &[]),
        ] {
            page.push(found(url, keep).unwrap_err());
        }
        insta::assert_snapshot!("header_in_latin1", page.join("\n"));
    }

    #[test]
    fn another_column_than_url_is_the_url_if_it_is_named() {
        let rules = keeping(Some("Page"), &["*"]);
        let list = "url,page,file\nhttp://me:s3cret@a/,http://b/,x\n";
        let found = whole::read(InputFormat::Csv, list.as_bytes(), rules.clone()).unwrap();
        let [ListEntry::Job(job)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(job.url.as_str(), "http://b/");
        assert_eq!(
            columns(&found[0]),
            Some(r#"{"page":"http://b/","file":"x"}"#)
        );
        let raw = job.raw.as_deref().unwrap();
        for rules in [rules, ListRules::default()] {
            let again = whole::read(InputFormat::JsonLines, raw, rules).unwrap();
            assert!(matches!(&again[..], [ListEntry::Job(again)] if again.url == job.url));
        }
    }

    #[test]
    fn no_other_column_is_the_url_of_a_row_read_again() {
        for (url, list) in [
            (Some("page"), "page,link\nnonsense,http://b/\n"),
            (Some("page"), "page,link\n,http://b/\n"),
            (Some("file"), "file,url\nnonsense,http://b/\n"),
            (None, "url,link\n,http://b/\n"),
        ] {
            let rules = keeping(url, &[]);
            let (_, _, raw) = whole::bad(InputFormat::Csv, list.as_bytes(), rules);
            whole::bad(InputFormat::JsonLines, raw.as_bytes(), ListRules::default());
        }
    }

    #[test]
    fn two_columns_of_one_name_cannot_both_be_kept() {
        for (keep, header, is_fine) in [
            ("*", "url,c,C", false),
            ("c", "c,url,c", false),
            ("*", "url,c,,", true),
            ("d", "url,c,c,d", true),
        ] {
            let rules = keeping(None, &[keep]);
            let found = whole::read(InputFormat::Csv, header.as_bytes(), rules);
            assert_eq!(found.is_ok(), is_fine, "{header}");
            if let Err(error) = found {
                assert!(
                    error.to_string().starts_with("duplicate column "),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_column_to_keep_that_is_not_there_is_a_warning() {
        let warning = |keep: &[&str]| {
            let names = ["url", "ID", "caption"].map(str::to_owned).to_vec();
            header_warning(&CsvHeader::new(names, 0), &keeping(None, keep))
        };
        assert_eq!(
            warning(&["capton", "size"]).as_deref(),
            Some("no column capton to keep; did you mean caption?; no column size to keep")
        );
        assert_eq!(warning(&["*", "id"]), None);
    }

    #[test]
    fn a_row_of_tabs_gets_no_advice_on_quotes() {
        let list = b"url\tfile\nhttp://a/\t\"b\tc\"\n";
        let bad = whole::bad(InputFormat::Tsv, list, ListRules::default());
        assert!(
            bad.1
                .ends_with("3 cells, header has 2 (a tab ends a cell, even inside quotes)"),
            "{}",
            bad.1
        );
    }

    #[test]
    fn a_row_of_another_length_fails_alone() {
        let list = "url,file\nhttp://a/?1,2,x\nhttp://b/\nhttp://c/,c,,\n";
        let found = read(list);
        let [ListEntry::Invalid(long), ListEntry::Invalid(short)] = &found[..2] else {
            panic!("{} entries", found.len());
        };
        let page = format!("{}\n{}", long.error, short.error);
        insta::assert_snapshot!("rows_of_another_length", page);
        assert!(
            matches!(&found[2], ListEntry::Job(_)),
            "spreadsheets add empty cells"
        );
    }

    #[test]
    fn invalid_rows_have_a_reason() {
        let mut page = Vec::new();
        for row in [
            "example.com,,",
            ",x,",
            "http://a/,/x,",
            "http://a/,,+5",
            "http://a/,,many",
        ] {
            let (_, reason, _) = bad(&format!("url,file,size\n{row}\n"));
            page.push(format!("{row}\n{reason}"));
        }
        let latin = b"url,file\nhttp://a/,\xfc\n";
        let (shown, reason, _) = whole::bad(InputFormat::Csv, latin, ListRules::default());
        assert_eq!(shown, "http://a/");
        page.push(format!("in Latin-1\n{reason}"));
        insta::assert_snapshot!("wrong_rows", page.join("\n\n"));
    }

    #[test]
    fn blanks_separate_the_mirrors_of_a_row() {
        let list = "url,Mirrors\nhttp://a/,\" http://me:pw@b/  https://c/\n\"\nhttp://a/, \n";
        let [ListEntry::Job(job), ListEntry::Job(without)] = &read(list)[..] else {
            panic!("not two jobs");
        };
        let urls = job.mirrors().iter().map(|mirror| mirror.url.as_str());
        assert_eq!(urls.collect::<Vec<_>>(), ["http://b/", "https://c/"]);
        assert!(without.mirrors().is_empty());
        let raw = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        assert_eq!(
            raw,
            r#"{"mirrors":["http://me:pw@b/","https://c/"],"url":"http://a/"}"#
        );
        assert_eq!(whole::job(InputFormat::JsonLines, raw).options, job.options);
    }

    #[test]
    fn a_row_is_kept_as_an_equivalent_json_line() {
        let list =
            "URL,File,size,body,id,outcome,headers\nhttp://me:pw@a/, x ,007,\" b\n\",7,fetched,x\n";
        let job = whole::job(InputFormat::Csv, list);
        let raw = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        let again = whole::job(InputFormat::JsonLines, raw);
        assert_eq!((again.url, again.credentials), (job.url, job.credentials));
        assert_eq!(again.options, job.options);
        assert!(raw.contains(r#""id":"7""#), "{raw}");
        let own_options = job.options.unwrap();
        assert_eq!((own_options.size, own_options.body), (Some(7), None));

        let posted = bad("url,outcome,request\nhttp://a/,fetched,0011223344556677\n");
        let (_, reason, _) = whole::bad(
            InputFormat::JsonLines,
            posted.2.as_bytes(),
            ListRules::default(),
        );
        assert_eq!(reason, posted.1);

        // An invalid row is still invalid when read again.
        for row in ["http://a/,x,y", "http://a/,many", ",5"] {
            let (_, _, raw) = bad(&format!("url,size\n{row}\n"));
            let (_, reason, _) =
                whole::bad(InputFormat::JsonLines, raw.as_bytes(), ListRules::default());
            assert!(reason.starts_with("invalid input: "), "{raw}");
            assert!(row.split(',').all(|cell| raw.contains(cell)), "{raw}");
        }
    }

    #[test]
    fn a_large_cell_that_is_longer_as_text_is_kept_in_base64() {
        let cell = "\u{1}".repeat(1 << 20);
        for (column, field) in [
            ("body", "\"body_base64\":\""),
            ("note", "\"note\":{\"base64\":\""),
        ] {
            let list = format!("url,{column}\nhttp://a/,{cell}\n");
            let job = whole::job(InputFormat::Csv, &list);
            let raw = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
            assert!(raw.contains(field) && raw.len() < cell.len() * 3 / 2);
            let again = whole::job(InputFormat::JsonLines, raw);
            assert_eq!((&again.url, &again.options), (&job.url, &job.options));
        }
    }

    #[test]
    fn no_cell_of_a_row_is_lost() {
        let list = b"url,,,x,X,X 5,headers\nhttp://a/,1,caf\xe9,2,3,4,5\n";
        let found = whole::read(InputFormat::Csv, list, ListRules::default()).unwrap();
        let [ListEntry::Job(job)] = &found[..] else {
            panic!("{found:?}");
        };
        let raw = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        let fields: serde_json::Value = serde_json::from_str(raw).unwrap();
        let expected = json!({
            "url": "http://a/",
            "column 2": "1",
            "column 3": { "base64": "Y2Fm6Q==" },
            "x": "2",
            "X 5+": "3",
            "X 5": "4",
            "headers 7": "5",
        });
        assert_eq!(fields, expected);
        let again = whole::job(InputFormat::JsonLines, raw);
        assert_eq!((&again.url, &again.options), (&job.url, &job.options));
    }

    #[test]
    fn a_row_that_does_not_fit_fails_again_for_the_same_reason() {
        let keep = ListRules {
            columns: std::sync::Arc::new(ColumnRules {
                url: Some("url".to_owned()),
                keep: vec!["*".to_owned()],
            }),
            ..ListRules::default()
        };
        for rules in [ListRules::default(), keep] {
            for row in [
                b"http://a/,1\n".as_slice(),
                b"http://a/,1,2,3\n",
                b"http://a/,\"1,2\n",
                b"\"http://a/ x,1,2\n",
                b"http://a/\xe9,1,2\n",
            ] {
                let list = [b"url,file,id\n", row].concat();
                let found = whole::read(InputFormat::Csv, &list, rules.clone()).unwrap();
                let [ListEntry::Invalid(bad)] = &found[..] else {
                    panic!("{found:?}");
                };
                let again = whole::read(InputFormat::JsonLines, &bad.raw, rules.clone()).unwrap();
                let [ListEntry::Invalid(again)] = &again[..] else {
                    panic!("{again:?}");
                };
                assert_eq!(again.shown, bad.shown);
                assert_eq!(again.error.to_string(), bad.error.to_string());
                assert_eq!(again.error.hint(), bad.error.hint());
                assert_eq!(again.columns, bad.columns);
                assert_eq!(**again.raw, **bad.raw);
            }
        }
    }

    #[test]
    fn a_malformed_row_without_a_url_is_shown_up_to_its_secrets() {
        for (list, row) in [
            ("url,file\n\"nonsense,x\n", "\"nonsense,x"),
            ("file,body,url\nx,\"s3cret,http://a/\n", "x…"),
            ("body,url\n\"s3cret,http://a/\n", "…"),
            ("id,url\n7\n", "7"),
        ] {
            assert_eq!(bad(list).0, row);
        }
    }

    #[test]
    fn the_result_of_an_invalid_line_fails_again() {
        let list =
            "url,outcome,error,message\nhttp://a/b c,failed,invalid_url,invalid input: why\n";
        let (shown, reason, raw) = bad(list);
        assert_eq!((&*shown, &*reason), ("http://a/b c", "invalid input: why"));
        assert!(raw.contains("http://a/b c"), "{raw}");
    }

    #[test]
    fn a_row_that_is_too_long_fails_alone_and_its_lines_are_read_again() {
        let start = "url,file\nhttp://a/,\"";
        let mut list = start.as_bytes().to_vec();
        list.resize(2 * MAX_ROW_BYTES, b'\n');
        list.extend_from_slice(b"http://b/,\n");
        let found = whole::read(InputFormat::Csv, &list, ListRules::default()).unwrap();
        let [ListEntry::Invalid(bad), ListEntry::Job(job)] = &found[..] else {
            panic!("{} entries", found.len());
        };
        assert_eq!(bad.shown, "http://a/");
        insta::assert_snapshot!("endless_row", bad.error);
        let line = 2 + 2 * MAX_ROW_BYTES - start.len();
        assert_eq!(
            (job.url.as_str(), job.position.line),
            ("http://b/", line as u64)
        );
        let wide = format!("url\nhttp://a/{}\nhttp://b/\n", ",x".repeat(3 * MAX_CELLS));
        let found = urls(&wide);
        assert_eq!(
            found,
            [(2, "http://a/".to_owned()), (3, "http://b/".to_owned())]
        );
        let mut list = b"url,file\nhttp://a/,".to_vec();
        list.resize(2 * MAX_ROW_BYTES, b'x');
        list.extend_from_slice(b"\r\nhttp://b/,\n");
        let found = whole::read(InputFormat::Csv, &list, ListRules::default()).unwrap();
        assert!(
            matches!(&found[..], [ListEntry::Invalid(bad), ListEntry::Job(job)]
            if bad.raw.len() < 100_000 && job.position.line == 3)
        );
    }

    #[test]
    fn a_broken_row_fails_alone_and_the_line_after_its_first_is_read() {
        for (rows, expected) in [
            // Never closed.
            (
                "http://a/,\"x\nhttp://b/,y\n",
                [(2, true), (3, false)].as_slice(),
            ),
            // Closed by a later row, with text after it.
            (
                "http://a/,\"x\nhttp://b/,\"y\"\nhttp://c/,z\n",
                &[(2, true), (3, false), (4, false)],
            ),
            (
                "http://a/,\"x\rhttp://b/,\"y\"\rhttp://c/,z\r",
                &[(2, true), (3, false), (4, false)],
            ),
            // Text after a quote on the same line.
            ("http://a/,\"x\"y\r\nhttp://b/,z", &[(2, true), (3, false)]),
            ("http://a/,x\nhttp://b/,\"", &[(2, false), (3, true)]),
            // Well-formed rows may span lines, before and after a malformed one.
            (
                "http://a/,\"x\ny\"\nhttp://b/,\"z\nhttp://c/,\"a\n\nb\"\n",
                &[(2, false), (4, true), (5, false)],
            ),
        ] {
            let list = format!("url,file\n{rows}");
            for piece in [1, 3, 1000] {
                let pieces = SlowReader(io::Cursor::new(list.clone().into()), piece);
                let stream = InputStream::new(Box::new(pieces));
                let mut table = CsvList::new(stream, CellDelimiter::Comma, ListRules::default());
                let origin = EntryOrigin {
                    input: &"-".into(),
                    number: 0,
                };
                let mut found = Vec::new();
                loop {
                    match table.next(&origin).unwrap() {
                        ListStep::Found(ListEntry::Job(job)) => {
                            found.push((job.position.line, false))
                        }
                        ListStep::Found(ListEntry::Invalid(bad)) => {
                            let is_broken = bad.error.to_string().contains("quote");
                            found.push((bad.position.line, is_broken));
                        }
                        ListStep::Nothing => {}
                        ListStep::End => break,
                        _ => panic!("a sitemap"),
                    }
                }
                // A line break makes the file name invalid, but the row is still well-formed.
                assert_eq!(found, expected, "{rows:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_malformed_row_shows_its_url_if_that_can_be_found() {
        for (header, row, url) in [
            ("url,name", "http://me:s3cret@a/,\"x", "http://a/"),
            ("name,url", "\"old title,http://me:s3cret@a/", "http://a/"),
            ("name,url", "\"old title,\"http://a/\"", "http://a/"),
            (
                "name,url",
                "\"old, title,http://a/",
                "\"old, title,http://a/",
            ),
            ("body,url", "\"s3cret,http://a/?s3cret", "…"),
        ] {
            let list = format!("{header}\n{row}\n");
            let found = bad(&list);
            assert_eq!(found.0, url, "{row}");
            assert!(!found.1.contains("s3cret"), "{}", found.1);
            whole::bad(
                InputFormat::JsonLines,
                found.2.as_bytes(),
                ListRules::default(),
            );
        }
    }

    /// A cell as written in CSV, quoted if necessary.
    fn written(cell: &str) -> String {
        if cell.contains(['"', ',', '\n', '\r']) || cell.is_empty() {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    }

    /// Returns a few bytes per read, like a slow pipe.
    struct SlowReader(io::Cursor<Vec<u8>>, usize);

    impl io::Read for SlowReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.1);
            self.0.read(&mut buffer[..length])
        }
    }

    /// `(printf MARK; cat list.csv) | fetchall` delivers the mark in a read of its own.
    #[test]
    fn a_byte_order_mark_may_arrive_alone_or_in_parts() {
        let list = "\u{feff}url,size\nhttp://a/,5\n";
        let marks = list.as_bytes();
        for split in 1..6 {
            let (first, rest) = marks.split_at(split);
            let raw = io::Read::chain(first, rest);
            let mut table = CsvList::new(
                InputStream::new(Box::new(raw)),
                CellDelimiter::Comma,
                ListRules::default(),
            );
            assert!(
                matches!(table.skip(), Ok(ListStep::Nothing)),
                "split at {split}"
            );
            assert!(
                matches!(table.skip(), Ok(ListStep::Found(()))),
                "split at {split}"
            );
        }
        // Bytes that only start like a mark belong to the first name.
        let error = whole::read(InputFormat::Csv, b"\xef\xbbnote\n", ListRules::default());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("\u{fffd}note; the row is not valid UTF-8")
        );
        let only = whole::read(InputFormat::Csv, b"\xef\xbb\xbf", ListRules::default());
        assert!(only.unwrap().is_empty());
    }

    #[test]
    fn a_row_with_too_many_cells_fails_alone() {
        let cells = ",x".repeat(MAX_CELLS);
        let list = format!("url\n\"http://a/\"{cells}\nhttp://b/\n");
        let found = read(&list);
        let [ListEntry::Invalid(bad), ListEntry::Job(_)] = &found[..] else {
            panic!("{} entries", found.len());
        };
        assert_eq!(bad.shown, "http://a/");
        insta::assert_snapshot!("too_many_cells", bad.error);
    }

    #[test]
    fn a_row_kept_as_json_makes_the_same_request() {
        let list = "url,file,body,method\nhttp://a/\u{a0},x\u{a0}, ,\u{20}\n";
        let [ListEntry::Job(job)] = &read(list)[..] else {
            panic!("no job");
        };
        let kept = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
        let again = whole::job(InputFormat::JsonLines, kept);
        assert_eq!((&again.url, &again.options), (&job.url, &job.options));
        assert_eq!(job.url.as_str(), "http://a/%C2%A0");

        let (_, reason, kept) = whole::bad(
            InputFormat::Csv,
            b"url,note\nhttp://a/\xff,x\n",
            ListRules::default(),
        );
        insta::assert_snapshot!("url_not_utf_8", reason);
        whole::bad(
            InputFormat::JsonLines,
            kept.as_bytes(),
            ListRules::default(),
        );
    }

    proptest! {
        /// Whatever a spreadsheet separates cells with, every row has its columns.
        #[test]
        fn no_cell_of_a_kept_column_is_lost(
            rows in prop::collection::vec("[ -~\n\u{e9}]{0,20}", 0..20),
            semicolon in any::<bool>(),
        ) {
            let delimiter = if semicolon { ';' } else { ',' };
            let mut list = format!("caption{delimiter}image_url\n");
            for cell in &rows {
                let cell = cell.replace('"', "\"\"");
                list.push_str(&format!("\"{cell}\"{delimiter}http://a/\n"));
            }
            let found = whole::read(InputFormat::Csv, list.as_bytes(), keeping(None, &["caption"])).unwrap();
            prop_assert_eq!(found.len(), rows.len());
            for (entry, cell) in found.iter().zip(&rows) {
                let ListEntry::Job(job) = entry else { panic!("{entry:?}") };
                let columns = job.options.as_ref().unwrap().columns.as_ref().unwrap();
                let found = columns.get("caption");
                prop_assert_eq!(found.as_ref(), Some(cell));
            }
        }

        /// Whatever separates them, and however often a row is written and read again.
        #[test]
        fn no_mirror_is_lost_or_moved(
            paths in prop::collection::vec("[a-z]{0,8}", 0..17),
            blanks in prop::collection::vec("[ \t\n]{1,3}", 17),
        ) {
            let urls: Vec<_> = paths.iter().map(|path| format!("http://m/{path}")).collect();
            let cell: String = urls.iter().zip(&blanks).flat_map(|(url, blank)| [url.as_str(), blank]).collect();
            let list = format!("mirrors,url\n\"{cell}\",http://a/\n");
            let job = whole::job(InputFormat::Csv, &list);
            let found = job.mirrors().iter().map(|mirror| mirror.url.to_string());
            prop_assert_eq!(found.collect::<Vec<_>>(), urls);
            let raw = std::str::from_utf8(job.raw.as_deref().unwrap()).unwrap();
            prop_assert_eq!(whole::job(InputFormat::JsonLines, raw).options, job.options);
        }

        #[test]
        fn every_row_makes_one_entry_with_its_cells_unchanged(
            rows in prop::collection::vec(("[ -~\n\r]{0,20}", "[ -~\n\r]{0,20}"), 0..30),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut list = format!("body,url,file{end}");
            for (body, file) in &rows {
                list.push_str(&format!("{},http://a/,{}{end}", written(body), written(file)));
            }
            let found = whole::read(InputFormat::Csv, list.as_bytes(), ListRules::default()).unwrap();
            prop_assert_eq!(found.len(), rows.len());
            prop_assert_eq!(whole::count(InputFormat::Csv, list.as_bytes()).unwrap(), rows.len());
            for (entry, (body, _)) in found.iter().zip(&rows) {
                if let ListEntry::Job(job) = entry {
                    let found = job.options.as_ref().and_then(|own_options| own_options.body.clone());
                    let expected = Some(body).filter(|body| !body.trim().is_empty());
                    prop_assert_eq!(found.as_deref(), expected.map(|body| body.as_bytes()));
                }
            }
        }

        #[test]
        fn any_bytes_do_not_panic_and_counting_agrees_with_reading(bytes in prop::collection::vec(prop::sample::select(b"ab\",\n\r\t\xff ".to_vec()), 0..300), tsv in any::<bool>()) {
            let format = if tsv { InputFormat::Tsv } else { InputFormat::Csv };
            let mut list = b"url\tx,url\n".to_vec();
            list.extend(bytes);
            let found = whole::read(format, &list, ListRules::default()).unwrap();
            prop_assert_eq!(whole::count(format, &list).unwrap(), found.len());
        }
    }
}
