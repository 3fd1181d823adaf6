//! A list whose format is only known, or only certain, from its first bytes.

use std::io::{self, BufRead};

use super::InputFormat;
use super::csv::CsvList;
use super::jsonl::JsonlList;
use super::lines::LineEnd;
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::manifest::ManifestList;
use super::row::CellDelimiter;
use super::sitemap::SitemapList;
use super::stream::InputStream;
use super::text::TextList;
use crate::model::{ListEntry, PartForm};

/// Beginnings of sitemaps and feeds.
const XML_STARTS: [&[u8]; 6] = [
    b"<?xml",
    b"<urlset",
    b"<sitemapindex",
    b"<rss",
    b"<feed",
    b"<rdf:",
];
/// The beginning of a JSON object. No header row and no hash begins like this.
const JSON_START: &[u8] = b"{\"";

/// A list that looks at its first bytes before it decides how the rest is read.
pub(super) struct DetectedList {
    unread: Option<(InputFormat, InputStream, ListRules)>,
    list: Option<Box<dyn InputList>>,
}

impl DetectedList {
    pub(super) fn new(format: InputFormat, stream: InputStream, rules: ListRules) -> Self {
        Self {
            unread: Some((format, stream, rules)),
            list: None,
        }
    }

    fn detect(&mut self) -> io::Result<Option<&mut Box<dyn InputList>>> {
        if let Some((format, mut stream, rules)) = self.unread.take() {
            let format = detected(format, stream.reader.fill_buf()?.trim_ascii_start());
            self.list = Some(open(format, stream, rules));
        }
        Ok(self.list.as_mut())
    }
}

/// Returns the format of a list that begins like this.
fn detected(format: InputFormat, head: &[u8]) -> InputFormat {
    // Of UTF-16 the first piece may be short. No text list begins like these.
    let begins = |start: &&[u8]| head.starts_with(start) || start.starts_with(head);
    match format {
        InputFormat::Auto if !head.is_empty() && XML_STARTS.iter().any(begins) => {
            InputFormat::Sitemap
        }
        InputFormat::Auto => InputFormat::Text,
        // What `--failed` wrote about such a list, read with the same options.
        InputFormat::Csv | InputFormat::Tsv | InputFormat::Manifest
            if head.starts_with(JSON_START) =>
        {
            InputFormat::JsonLines
        }
        format => format,
    }
}

fn open(format: InputFormat, stream: InputStream, rules: ListRules) -> Box<dyn InputList> {
    match format {
        InputFormat::Auto | InputFormat::Text => {
            Box::new(TextList::new(stream, LineEnd::Line, rules))
        }
        InputFormat::Sitemap => Box::new(SitemapList::new(stream, rules)),
        InputFormat::Nul => Box::new(TextList::new(stream.with_nuls(), LineEnd::Nul, rules)),
        InputFormat::JsonLines => Box::new(JsonlList::new(stream, rules)),
        InputFormat::Manifest => Box::new(ManifestList::new(stream, rules)),
        InputFormat::Csv => Box::new(CsvList::new(stream, CellDelimiter::Comma, rules)),
        InputFormat::Tsv => Box::new(CsvList::new(stream, CellDelimiter::Tab, rules)),
    }
}

/// Opens a stream as a list of this format, without reading anything yet.
pub(super) fn open_list(
    format: InputFormat,
    stream: InputStream,
    rules: &ListRules,
) -> Box<dyn InputList> {
    match format {
        InputFormat::Auto | InputFormat::Csv | InputFormat::Tsv | InputFormat::Manifest => {
            Box::new(DetectedList::new(format, stream, rules.clone()))
        }
        InputFormat::Text | InputFormat::JsonLines | InputFormat::Sitemap | InputFormat::Nul => {
            open(format, stream, rules.clone())
        }
    }
}

impl InputList for DetectedList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        match self.detect()? {
            Some(list) => list.next(origin),
            None => Ok(ListStep::End),
        }
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        match self.detect()? {
            Some(list) => list.skip(),
            None => Ok(ListStep::End),
        }
    }

    fn take_warning(&mut self) -> Option<String> {
        self.list.as_mut()?.take_warning()
    }

    fn source(&self) -> &[u8] {
        self.list.as_ref().map_or(&[], |list| list.source())
    }

    fn form(&self) -> PartForm {
        let list = self.list.as_ref();
        list.map_or_else(|| lines_form("txt"), |list| list.form())
    }

    fn is_ready(&self) -> bool {
        self.list.as_ref().is_some_and(|list| list.is_ready())
    }

    fn position(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.position())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::input::columns::ColumnRules;
    use crate::input::whole;
    use crate::model::Job;

    fn rules(url: Option<&str>, keep: &[&str]) -> ListRules {
        ListRules {
            has_fields: true,
            base_url: "http://a/pub".parse().ok(),
            columns: Arc::new(ColumnRules {
                url: url.map(str::to_owned),
                keep: keep.iter().map(|name| (*name).to_owned()).collect(),
            }),
            ..ListRules::default()
        }
    }

    /// What a job asks for; of an invalid line, only that.
    fn request(entry: &ListEntry, with_columns: bool) -> String {
        let ListEntry::Job(Job { url, options, .. }) = entry else {
            return "invalid".to_owned();
        };
        let mut options = options.as_deref().cloned().unwrap_or_default();
        options.columns = options.columns.filter(|_| with_columns);
        format!("{url} {options:?}")
    }

    /// What the record of an invalid line says.
    fn failure(entry: &ListEntry) -> Option<(&str, String)> {
        match entry {
            ListEntry::Invalid(line) => Some((&line.shown, line.error.to_string())),
            _ => None,
        }
    }

    fn raw(entry: &ListEntry) -> Vec<u8> {
        match entry {
            ListEntry::Job(job) => job.raw.as_deref().unwrap().to_vec(),
            ListEntry::Invalid(line) => line.raw.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Lists of every format whose URL is in a column of this name, beside others that might be
    /// taken for it.
    fn lists(name: &str) -> Vec<(InputFormat, String)> {
        let others = ["url", "link", "file", "size", "note"].map(|other| match other {
            other if other.eq_ignore_ascii_case(name) => "other",
            other => other,
        });
        let [url, link, file, size, note] = others;
        let json = |value: &str| {
            format!(
                "{{\"{url}\":\"http://w/\",\"{link}\":\"http://x/\",\"{file}\":\"f\",\"{note}\":\"n\",{value}\"{size}\":7}}\n"
            )
        };
        let row = |value: &str| format!("http://w/,http://x/,f,7,{value},n\n");
        let values = ["http://a/ok", "nonsense", ""];
        let table = format!("{url},{link},{file},{size},{name},{note}\n")
            + &values.map(row).concat()
            + "http://w/,http://x/\n\"http://w/,\n";
        let fields = values.map(|value| json(&format!("\"{name}\":\"{value}\",")));
        let bad =
            " {\"url\":\"http://w/\",\"file\":\"a\",\"file\":\"b\"}\n{\"line\":\"http://w/\"}\n";
        vec![
            (InputFormat::Tsv, table.replace(',', "\t").replace('"', "")),
            (InputFormat::Csv, table),
            (InputFormat::JsonLines, fields.concat() + &json("") + bad),
            (InputFormat::Text, "http://a/ok\nnonsense\n".to_owned()),
            (
                InputFormat::Manifest,
                "b1946ac92492d2347c6235b4d2611184  x\nhttp://w/\n".to_owned(),
            ),
        ]
    }

    #[test]
    fn lines_for_failed_are_the_same_jobs_with_and_without_the_options_of_the_run() {
        for name in [
            "page", "Page", "file", "url", "URL", "link", "size", "body", "headers", "mirrors",
            "outcome", "line", "cells", "note", "sha256",
        ] {
            let same = rules(Some(name), &["*", "url"]);
            for (format, list) in lists(name) {
                let found = whole::read(format, list.as_bytes(), same.clone()).unwrap();
                assert!(matches!(found[0], ListEntry::Job(_)), "{list}");
                for entry in &found {
                    let line = raw(entry);
                    let shown = String::from_utf8_lossy(&line);
                    for (rules, with_columns) in [
                        (same.clone(), format == InputFormat::JsonLines),
                        (rules(None, &[]), false),
                        (rules(Some("note"), &[]), false),
                    ] {
                        let again = whole::read(InputFormat::JsonLines, &line, rules).unwrap();
                        assert_eq!(
                            request(entry, with_columns),
                            request(&again[0], with_columns),
                            "{name} {format:?}: {shown}"
                        );
                        assert_eq!(raw(&again[0]), line, "{name} {format:?}: {shown}");
                        if shown.contains("\"--invalid\"") {
                            assert_eq!(failure(entry), failure(&again[0]), "{name}: {shown}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_column_of_a_failed_row_is_kept_again() {
        let same = rules(Some("page"), &["*", "url"]);
        let list = b"url,page,file\nhttp://w/,http://a/,x\n";
        let found = whole::read(InputFormat::Csv, list, same.clone()).unwrap();
        let again = whole::read(InputFormat::Csv, &raw(&found[0]), same).unwrap();
        let columns = |entry: &ListEntry| match entry {
            ListEntry::Job(job) => job.options.clone().unwrap().columns.unwrap(),
            other => panic!("{other:?}"),
        };
        let (found, again) = (columns(&found[0]), columns(&again[0]));
        for name in ["url", "page", "file"] {
            assert_eq!(found.get(name), again.get(name), "{name}");
        }
    }

    #[test]
    fn json_lines_are_read_in_place_of_a_table_or_a_manifest() {
        let line = b"{\"url\":\"http://a/\"}\n";
        for format in [InputFormat::Csv, InputFormat::Tsv, InputFormat::Manifest] {
            let found = whole::read(format, line, rules(None, &[])).unwrap();
            assert!(matches!(&found[..], [ListEntry::Job(_)]), "{format:?}");
        }
    }
}
