//! Manifests of checksums, as `sha256sum` and its relatives write them: a hash and the name of a
//! file per line. The URL of a file is its name below a base URL.

use std::borrow::Cow;
use std::io;

use serde_json::json;

use super::flaw::ListFlaw;
use super::line_builder::{LineBuilder, NOT_UTF8, ParsedLine, bad_as_json, job, marked};
use super::lines::{InputLine, LineEnd, LineReader};
use super::list::{EntryOrigin, InputList, ListRules, ListStep, lines_form};
use super::stream::InputStream;
use super::url::{UrlParser, display_line, shown_cut};
use crate::model::{HashAlgorithm, InputPosition, ListEntry, PartForm};

/// Longest line, in bytes. File names have at most 4096 bytes on common systems.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Characters of names that are not allowed in the `file` of a line.
const NOT_IN_FILES: &[char] = if cfg!(windows) {
    &['\\', '\n', '\r']
} else {
    &['\n', '\r']
};
/// Why a manifest cannot be read.
pub(super) const NO_BASE_URL: &str = "a manifest needs the URL of the folder with its files";
const WITH_NUL: &str =
    "line contains NUL bytes, as sha256sum -z writes them; write the manifest without -z";
const FORM: &str = "expected a hash and a file name, as sha256sum writes them";

/// A manifest.
pub(super) struct ManifestList {
    lines: LineReader,
    rules: ListRules,
}

impl ManifestList {
    pub(super) fn new(stream: InputStream, rules: ListRules) -> Self {
        Self {
            lines: LineReader::new(stream, LineEnd::Line, MAX_LINE_BYTES)
                .keeping_source(rules.keeps_source),
            rules,
        }
    }
}

impl InputList for ManifestList {
    fn next(&mut self, origin: &EntryOrigin<'_>) -> io::Result<ListStep<ListEntry>> {
        let step = self.lines.step()?;
        Ok(step.map(|line| entry(&line, origin.line(line.number), &self.rules)))
    }

    fn skip(&mut self) -> io::Result<ListStep<()>> {
        Ok(self.lines.step()?.map(drop))
    }

    fn source(&self) -> &[u8] {
        self.lines.source()
    }

    fn form(&self) -> PartForm {
        lines_form("sha256sums")
    }

    fn is_ready(&self) -> bool {
        self.lines.has_line_ready()
    }

    fn position(&self) -> u64 {
        self.lines.position()
    }
}

fn entry(line: &InputLine<'_>, place: InputPosition, rules: &ListRules) -> ListEntry {
    let bytes = line.bytes();
    if memchr::memchr(0, bytes).is_some() {
        return bad_as_json(place, shown_cut(bytes), bytes, WITH_NUL);
    }
    if line.too_long {
        let reason = format!("line exceeds {} KiB", MAX_LINE_BYTES >> 10);
        return bad_as_json(place, shown_cut(bytes), bytes, reason);
    }
    match parse(bytes, rules) {
        Ok((parsed, raw)) => job(place, parsed, Some(raw)),
        Err(reason) => bad_as_json(place, display_line(bytes), bytes, reason),
    }
}

/// Parses a line, and returns it also as an equivalent JSON line.
fn parse(line: &[u8], rules: &ListRules) -> Result<(ParsedLine, Box<[u8]>), ListFlaw> {
    let base = rules.base_url.as_ref().ok_or(NO_BASE_URL)?;
    let text = std::str::from_utf8(line).map_err(|_| NOT_UTF8)?;
    let line = ManifestLine::split(text).ok_or(FORM)?;
    let field = line.algorithm()?.as_str();
    let name = line.name.strip_prefix("./").unwrap_or(&line.name);
    let url = base.join(name);
    let mut parser = UrlParser::default();
    let mut draft = LineBuilder::new(rules, &mut parser);
    let plain = name.replace(NOT_IN_FILES, "_");
    draft.file(&plain)?;
    if plain != name {
        // No file may be called so, and the body gets the name that its URL gives.
        draft.forget_file();
    }
    draft.hash(field, line.hash)?;
    draft.url(&url)?;
    let mut raw = json!({ "url": url, field: line.hash });
    if let Some(fields) = raw.as_object_mut().filter(|_| plain == name) {
        fields.insert("file".to_owned(), name.into());
    }
    Ok((draft.build()?, marked(&raw, text.len(), "url", rules)))
}

/// The parts of a line.
#[derive(Debug, PartialEq, Eq)]
struct ManifestLine<'a> {
    /// The algorithm, if the line names it.
    tag: Option<&'a str>,
    hash: &'a str,
    name: Cow<'a, str>,
}

impl<'a> ManifestLine<'a> {
    /// Splits a line. A backslash in front says that the name has escapes.
    fn split(line: &'a str) -> Option<Self> {
        let (is_escaped, line) = match line.strip_prefix('\\') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let (tag, hash, name) = split_gnu(line).or_else(|| split_bsd(line))?;
        let name = if is_escaped {
            Cow::Owned(unescaped(name)?)
        } else {
            Cow::Borrowed(name)
        };
        (!name.is_empty()).then_some(Self { tag, hash, name })
    }

    /// Returns the algorithm: the one that the line names, or else the one whose hashes are so
    /// long. Hashes of other algorithms may have the same length.
    fn algorithm(&self) -> Result<HashAlgorithm, String> {
        let digits = self.hash.len();
        match self.tag {
            Some(tag) => {
                // OpenSSL calls SHA-256 `SHA2-256`.
                let name = tag.replace("SHA2-", "SHA");
                HashAlgorithm::named(&name).ok_or_else(|| {
                    format!("unknown algorithm {tag}; known are MD5, SHA1, SHA256 and SHA512")
                })
            }
            None => HashAlgorithm::with_digits(digits).ok_or_else(|| {
                format!(
                    "no known hash has {digits} digits; MD5 has 32, SHA1 40, SHA256 64, SHA512 128"
                )
            }),
        }
    }
}

type LineParts<'a> = (Option<&'a str>, &'a str, &'a str);

/// `HASH  NAME`, `HASH *NAME` for a file that was read as binary, or `HASH NAME`, as `md5 -r` of
/// BSD systems writes it.
fn split_gnu(line: &str) -> Option<LineParts<'_>> {
    let (hash, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    is_hex(hash).then_some((None, hash, name))
}

/// `SHA256 (NAME) = HASH`, as BSD systems and `sha256sum --tag` write it, and without the blanks
/// around the brackets, as OpenSSL does.
fn split_bsd(line: &str) -> Option<LineParts<'_>> {
    let at = |end: &&str| {
        line.rsplit_once(*end)
            .filter(|(_, hash)| is_hex(hash.trim_ascii()))
    };
    let (name, hash) = [") = ", ")= "].iter().find_map(at)?;
    let (tag, name) = name.split_once('(')?;
    let tag = tag.strip_suffix(' ').unwrap_or(tag);
    let is_tag = tag
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/'));
    (is_tag && !tag.is_empty()).then_some((Some(tag), hash.trim_ascii(), name))
}

/// Whether a text may be a hash. The shortest one, of CRC-32, has 8 digits.
fn is_hex(hash: &str) -> bool {
    hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Replaces `\\`, `\n` and `\r`; any other escape is invalid.
fn unescaped(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputFormat::Manifest as FORMAT;
    use crate::input::whole;
    use crate::model::Job;
    use proptest::prelude::*;

    /// Of `hello` and a line feed.
    const MD5: &str = "b1946ac92492d2347c6235b4d2611184";
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn rules() -> ListRules {
        ListRules {
            base_url: Some("https://a.test/pub".parse().unwrap()),
            has_fields: true,
            ..ListRules::default()
        }
    }

    fn jobs(list: &[u8]) -> Vec<Job> {
        let found = whole::read(FORMAT, list, rules()).unwrap();
        let found = found.into_iter().map(|entry| match entry {
            ListEntry::Job(job) => job,
            ListEntry::Invalid(bad) => panic!("{}: {}", bad.shown, bad.error),
            other => panic!("{other:?}"),
        });
        found.collect()
    }

    fn parts(job: &Job) -> (&str, &str, String) {
        let own_options = job.options.as_ref().unwrap();
        let hashes = own_options.hashes.as_ref().unwrap();
        let algorithms: Vec<_> = hashes.algorithms().map(|hash| hash.to_string()).collect();
        let file = own_options.file.as_ref();
        let file = file.map_or("(of the URL)", |file| file.as_str());
        (job.url.as_str(), file, algorithms.join(" "))
    }

    /// The manifests of the corpus are output of the tools themselves.
    #[test]
    fn manifests_are_read_as_the_tools_write_them() {
        let mut page = String::new();
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz/lists");
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("sums")
            })
            .collect();
        paths.sort();
        assert!(paths.len() >= 8, "{paths:?}");
        for path in paths {
            page += &format!("{}\n", path.file_name().unwrap().to_str().unwrap());
            let list = std::fs::read(path).unwrap();
            for entry in whole::read(FORMAT, &list, rules()).unwrap() {
                page += &match entry {
                    ListEntry::Job(job) => {
                        let (url, file, hash) = parts(&job);
                        format!("  {hash} {file} {url}\n")
                    }
                    ListEntry::Invalid(bad) => format!("  {}\n", bad.error),
                    other => panic!("{other:?}"),
                };
            }
        }
        insta::assert_snapshot!("manifests_of_tools", page);
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let mut page = Vec::new();
        for line in [
            "http://a/".to_owned(),
            MD5.to_owned(),
            format!("{MD5}  "),
            format!("{}  x", &MD5[1..]),
            format!("{MD5}  ../x"),
            format!("{MD5}  /etc/passwd"),
            format!("\\{MD5}  a\\x"),
            format!("\\{MD5}  a\\n/../b"),
            format!("MD5 (x) = {SHA256}"),
            format!("BLAKE2b-256 (x) = {SHA256}"),
            format!("SHA512/256 (x) = {SHA256}"),
            "CRC32 (x) = 363a3020".to_owned(),
            "363a3020  x".to_owned(),
            "-----BEGIN PGP SIGNED MESSAGE-----".to_owned(),
            format!("{MD5}  a\0{MD5}  b\0"),
        ] {
            let (_, reason, _) = whole::bad(FORMAT, line.as_bytes(), rules());
            let line = line.replace('\0', "NUL");
            page.push(format!("{line}\n{reason}"));
        }
        insta::assert_snapshot!("wrong_manifest_lines", page.join("\n\n"));
        let long = format!("{MD5}  {}", "x".repeat(MAX_LINE_BYTES));
        let (_, reason, _) = whole::bad(FORMAT, long.as_bytes(), rules());
        assert!(reason.ends_with("line exceeds 64 KiB"), "{reason}");
    }

    /// `sha256sum -c` finds them, too.
    #[cfg(not(windows))]
    #[test]
    fn a_backslash_is_a_part_of_a_name() {
        for name in ["dir\\..\\x", "..\\x", "C:\\x", ".fetchall\\x"] {
            let found = jobs(format!("{SHA256}  {name}\n").as_bytes());
            assert_eq!(parts(&found[0]).1, name);
        }
    }

    #[test]
    fn a_line_can_be_run_again_as_json() {
        let list = format!("# of today\n\n{SHA256} *./d/50% \u{fc} #1?.txt\r\n");
        let job = jobs(list.as_bytes()).pop().unwrap();
        let url = "https://a.test/pub/d/50%25%20%C3%BC%20%231%3F.txt";
        let expected = (url, "d/50% \u{fc} #1?.txt", "sha256".to_owned());
        assert_eq!(parts(&job), expected);
        assert_eq!(job.position.line, 3);
        let raw = String::from_utf8(job.raw.as_ref().unwrap().to_vec()).unwrap();
        let again = whole::job(crate::input::InputFormat::JsonLines, &raw);
        assert_eq!(parts(&again), expected);
    }

    proptest! {
        /// As GNU coreutils escapes names.
        #[test]
        fn no_name_is_lost_or_changed(names in prop::collection::vec("[a-z][ -~\u{e4}\u{6c34}]{0,9}[a-z]", 1..20)) {
            let mut list = String::new();
            for (number, name) in names.iter().enumerate() {
                let is_escaped = name.contains('\\');
                let mark = if is_escaped { "\\" } else { "" };
                let written = name.replace('\\', "\\\\");
                list += &match number % 2 {
                    0 => format!("{mark}{SHA256}  {written}\n"),
                    _ => format!("{mark}SHA256 ({written}) = {SHA256}\n"),
                };
            }
            let found = whole::read(FORMAT, list.as_bytes(), rules()).unwrap();
            prop_assert_eq!(found.len(), names.len());
            for (entry, name) in found.iter().zip(&names) {
                if let ListEntry::Job(job) = entry {
                    let file = job.file_override().map(|file| file.as_str());
                    prop_assert_eq!(file, Some(name.as_str()));
                    let path = percent_encoding::percent_decode_str(job.url.path());
                    let path = path.decode_utf8().unwrap();
                    prop_assert_eq!(path.strip_prefix("/pub/").unwrap(), name);
                }
            }
        }
    }
}
