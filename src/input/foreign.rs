//! Recognizes files that are not lists, such as workbooks and archives, by their first bytes. Read
//! as text, each of them would be thousands of invalid lines.

use std::borrow::Cow;
use std::io;

use memchr::memmem;

use super::flaw::ListFlaw;
use crate::model::Hint;

/// Number of bytes that are looked at, if they are there.
pub(super) const HEAD_BYTES: usize = 512;

/// What to do with a file, and whether a command in it writes a list.
type ForeignAdvice = (&'static str, Option<Hint>);

const LIST: Option<Hint> = Some(Hint::PipeList);
const CSV: Option<Hint> = Some(Hint::PipeCsv);

/// Formats with their first bytes and what to do with them. FILE stands for the name of the file.
/// Text may begin with the names of Parquet and Arrow, so the byte of thrift or the padding that
/// follows there counts, too.
const MAGICS: [(&[u8], ForeignAdvice); 13] = [
    (EMPTY_ZIP, ZIP_ADVICE),
    (
        b"Obj\x01",
        (
            "an Avro file, not a list; save it as CSV or JSON Lines first",
            None,
        ),
    ),
    (
        b"\x1f\x9d",
        ("compressed with compress; unpack it: gzip -dc FILE", LIST),
    ),
    (
        b"PAR1\x15",
        (
            "a Parquet file, not a list; convert it: duckdb -csv -c \"FROM read_parquet('FILE')\"",
            CSV,
        ),
    ),
    (
        b"ARROW1\0\0",
        (
            "an Arrow file, not a list; save it as CSV or JSON Lines first",
            None,
        ),
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        (
            "an old Office file, not a list; save the sheet as CSV first",
            None,
        ),
    ),
    (
        b"SQLite format 3\0",
        (
            "an SQLite database, not a list; select the URLs: sqlite3 -csv -header FILE 'SELECT url FROM …'",
            CSV,
        ),
    ),
    (
        b"\xfd7zXZ\0",
        ("compressed with xz; unpack it: xz -dc FILE", LIST),
    ),
    (
        b"BZh",
        ("compressed with bzip2; unpack it: bzip2 -dc FILE", LIST),
    ),
    (
        b"\x04\x22\x4d\x18",
        ("compressed with lz4; unpack it: lz4 -dc FILE", LIST),
    ),
    (
        b"7z\xbc\xaf\x27\x1c",
        ("a 7z archive, not a list; unpack it: 7z x -so FILE", LIST),
    ),
    (
        b"Rar!\x1a\x07",
        (
            "a RAR archive, not a list; unpack it: unrar p -inul FILE",
            LIST,
        ),
    ),
    (
        b"%PDF-",
        (
            "a PDF, not a list; extract its text: pdftotext FILE - | grep -oE 'https?://[^ ]+'",
            LIST,
        ),
    ),
];
/// How the data of a bzip2 file begins, after `BZh` and a digit: a block, or the end of an empty
/// file.
const BZIP2_BLOCKS: [&[u8]; 2] = [b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"];

const ZIP: &[u8] = b"PK\x03\x04";
/// An archive without entries has only the end of its directory (APPNOTE.TXT 4.3.16).
const EMPTY_ZIP: &[u8] = b"PK\x05\x06";
/// Where the header of a tar archive has its magic, and what follows the magic: a NUL, or a blank
/// in archives of old versions of GNU tar.
const TAR_MAGIC: (usize, [&[u8]; 2]) = (257, [b"ustar\0", b"ustar "]);
const TAR_ADVICE: ForeignAdvice = ("a tar archive, not a list; unpack it: tar -xOf FILE", LIST);
const ZIP_ADVICE: ForeignAdvice = ("a ZIP archive, not a list; unpack it: unzip -p FILE", LIST);
const EXCEL_ADVICE: ForeignAdvice = (
    "an Excel workbook, not a list; convert it: duckdb -csv -c \"FROM read_xlsx('FILE')\"",
    CSV,
);
const OPEN_DOCUMENT_ADVICE: ForeignAdvice = (
    "an OpenDocument file, not a list; save the sheet as CSV first",
    None,
);
/// The first entries of files that Excel and other programs write in its format.
const EXCEL_ENTRIES: [&[u8]; 4] = [b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/"];

const HTML_ADVICE: ForeignAdvice = (
    "an HTML page, not a list; extract its links: grep -oE \"https?://[^\\\"'<> ]+\" FILE",
    LIST,
);
/// How a page may begin.
const HTML_TAGS: [&str; 6] = [
    "<!doctype html",
    "<html",
    "<head",
    "<body",
    "<title",
    "<meta",
];

/// Whether more bytes are needed to recognize the format. Never for a list that begins like one, so
/// that a pipe with one short line is read without waiting for more.
pub(super) fn is_open(head: &[u8]) -> bool {
    let is_begun = |magic: &[u8]| magic.len() > head.len() && magic.starts_with(head);
    let text = text_of(head);
    text.is_empty()
        || text.starts_with(b"<")
        || is_tar_begun(head)
        || head.starts_with(ZIP)
        || is_begun(ZIP)
        || is_bzip2_begun(head)
        || MAGICS.iter().any(|(magic, _)| is_begun(magic))
}

/// Whether this is a file name with NULs behind it, cut off before the magic.
fn is_tar_begun(head: &[u8]) -> bool {
    let mut bytes = head.iter();
    let has_nuls = bytes.any(|byte| *byte == 0) && bytes.next() == Some(&0);
    has_nuls && head.len() < TAR_MAGIC.0 + TAR_MAGIC.1[0].len()
}

fn is_tar(head: &[u8]) -> bool {
    let (name, magic) = head.split_at_checked(TAR_MAGIC.0).unwrap_or_default();
    name.contains(&0) && TAR_MAGIC.1.iter().any(|it| magic.starts_with(it))
}

fn is_bzip2_begun(head: &[u8]) -> bool {
    matches!(head, [b'B', b'Z', b'h', rest @ ..] if rest.len() < 7)
}

/// Fails if the first bytes are those of a format that is not a list.
pub(super) fn check(head: &[u8]) -> io::Result<()> {
    match advice(head) {
        Some((advice, hint)) => Err(ListFlaw {
            reason: advice.to_owned(),
            hint,
        }
        .into_error()),
        None => Ok(()),
    }
}

fn advice(head: &[u8]) -> Option<ForeignAdvice> {
    if head.starts_with(ZIP) {
        return Some(zip_advice(head));
    }
    if is_html(&text_of(head)) {
        return Some(HTML_ADVICE);
    }
    if is_tar(head) {
        return Some(TAR_ADVICE);
    }
    let (magic, advice) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic))?;
    let is_text = *magic == b"BZh" && !is_bzip2(head);
    (!is_text).then_some(*advice)
}

/// Whether text that begins with `BZh` is compressed. A host name might begin so, too.
fn is_bzip2(head: &[u8]) -> bool {
    let block = head.get(4..).unwrap_or_default();
    matches!(head.get(3), Some(b'1'..=b'9')) && BZIP2_BLOCKS.iter().any(|it| block.starts_with(it))
}

/// Returns the advice for a ZIP file by the name of its first entry (APPNOTE.TXT 4.3.7).
fn zip_advice(head: &[u8]) -> ForeignAdvice {
    let name = head.get(30..).unwrap_or_default();
    if EXCEL_ENTRIES.iter().any(|entry| name.starts_with(entry)) {
        EXCEL_ADVICE
    } else if name.starts_with(b"mimetypeapplication/vnd.oasis.opendocument") {
        OPEN_DOCUMENT_ADVICE
    } else {
        ZIP_ADVICE
    }
}

/// Returns the text after a byte order mark and blanks. Of UTF-16, the low bytes are enough to
/// recognize a page.
fn text_of(head: &[u8]) -> Cow<'_, [u8]> {
    let every_second = |bytes: &[u8]| {
        let bytes: Vec<_> = bytes.iter().step_by(2).copied().collect();
        Cow::Owned(bytes.trim_ascii_start().to_vec())
    };
    match head {
        [0xff, 0xfe, rest @ ..] => every_second(rest),
        [0xfe, 0xff, _, rest @ ..] => every_second(rest),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest.trim_ascii_start()),
        _ => Cow::Borrowed(head.trim_ascii_start()),
    }
}

fn is_html(text: &[u8]) -> bool {
    if !text.starts_with(b"<") {
        return false;
    }
    let text = text.to_ascii_lowercase();
    let starts = |tag: &&str| text.starts_with(tag.as_bytes());
    let contains = |tag: &&str| memmem::find(&text, tag.as_bytes()).is_some();
    // XHTML begins with an XML declaration, and any page may begin with a comment.
    let is_preceded = text.starts_with(b"<?xml") || text.starts_with(b"<!--");
    HTML_TAGS.iter().any(starts) || (is_preceded && HTML_TAGS.iter().take(2).any(contains))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::list::ListRules;
    use crate::input::whole;
    use crate::input::{InputFormat, compressed::packed};
    use proptest::prelude::*;

    /// Files as other programs write them.
    const FILES: [(&str, &[u8]); 10] = [
        ("7z", include_bytes!("../../fixtures/lists/urls.7z")),
        ("bz2", include_bytes!("../../fixtures/lists/urls.txt.bz2")),
        ("html", include_bytes!("../../fixtures/lists/page.html")),
        ("lz4", include_bytes!("../../fixtures/lists/urls.txt.lz4")),
        ("ods", include_bytes!("../../fixtures/lists/urls.ods")),
        (
            "parquet",
            include_bytes!("../../fixtures/lists/urls.parquet"),
        ),
        ("sqlite", include_bytes!("../../fixtures/lists/urls.sqlite")),
        ("xlsx", include_bytes!("../../fixtures/lists/urls.xlsx")),
        ("xz", include_bytes!("../../fixtures/lists/urls.txt.xz")),
        ("zip", include_bytes!("../../fixtures/lists/urls.zip")),
    ];
    const FORMATS: [InputFormat; 5] = [
        InputFormat::Text,
        InputFormat::Nul,
        InputFormat::Csv,
        InputFormat::Tsv,
        InputFormat::JsonLines,
    ];

    #[test]
    fn files_of_other_programs_are_one_error_with_advice() {
        let mut page = Vec::new();
        for (name, bytes) in FILES {
            let mut found = Vec::new();
            for format in FORMATS {
                for bytes in [bytes.to_vec(), packed::gzip(bytes), packed::zstd(bytes)] {
                    let error = whole::read(format, &bytes, ListRules::default()).unwrap_err();
                    found.push(error.to_string());
                }
            }
            found.dedup();
            page.push(format!("{name}\n{}", found.join("\n")));
        }
        insta::assert_snapshot!("other_files", page.join("\n\n"));
    }

    /// Only the fields of a header that matter here (POSIX.1-2017, pax, ustar interchange format).
    fn tar(name: &str, magic: &[u8]) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(TAR_MAGIC.0, 0);
        bytes.extend_from_slice(magic);
        bytes.resize(512, 0);
        bytes.extend_from_slice(b"http://a/\n");
        bytes.resize(2048, 0);
        bytes
    }

    #[test]
    fn archives_are_not_read_as_lists() {
        for (bytes, advice) in [
            (tar("urls.txt", b"ustar\x0000"), TAR_ADVICE),
            (tar("u", b"ustar  \0"), TAR_ADVICE),
            (tar(&"long".repeat(25), b"ustar\x0000"), TAR_ADVICE),
            (b"PK\x05\x06\0\0\0\0".to_vec(), ZIP_ADVICE),
            (b"Obj\x01\x04\x14avro.codec".to_vec(), MAGICS[1].1),
            (b"\x1f\x9d\x90\x68\xe8".to_vec(), MAGICS[2].1),
        ] {
            for format in FORMATS {
                for bytes in [bytes.clone(), packed::gzip(&bytes), packed::zstd(&bytes)] {
                    let error = whole::read(format, &bytes, ListRules::default()).unwrap_err();
                    assert_eq!(error.to_string(), advice.0, "{format:?}");
                    assert_eq!(ListFlaw::hint_of(&error), advice.1);
                }
            }
        }
    }

    #[test]
    fn a_page_may_be_utf_16() {
        let page = "\u{feff}\r\n<!DOCTYPE html>";
        let little: Vec<_> = page.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<_> = page.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            let error = whole::read(InputFormat::Text, &bytes, ListRules::default());
            assert_eq!(error.unwrap_err().to_string(), HTML_ADVICE.0);
        }
    }

    #[test]
    fn pages_are_recognized_after_blanks_marks_and_declarations() {
        for text in [
            "\u{feff} \r\n<HTML lang=en>",
            "<!DOCTYPE html PUBLIC \"x\">",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html>",
            "<!-- saved --><html>",
        ] {
            assert_eq!(advice(text.as_bytes()), Some(HTML_ADVICE), "{text}");
        }
        for text in [
            "BZh.example.com/1AY&SY",
            "BZh9.example.com/",
            "PK,url",
            "<?xml version=\"1.0\"?><urlset>",
            "<http://a/>",
            "# <html>",
        ] {
            assert_eq!(advice(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// Bytes are waited for only where a format needs them.
        #[test]
        fn a_format_is_recognized_however_its_bytes_arrive(file in 0..FILES.len(), piece in 1..40usize) {
            let (name, bytes) = FILES[file];
            let mut length = 0;
            while length == 0 || (is_open(&bytes[..length]) && length < HEAD_BYTES) {
                length = (length + piece).min(bytes.len());
                if length == bytes.len() {
                    break;
                }
            }
            prop_assert!(advice(&bytes[..length]).is_some(), "{}", name);
        }

        #[test]
        fn a_line_of_a_list_waits_for_nothing(line in "(http|#|\\{|url,|x)[ -;=-~]{0,30}") {
            prop_assert!(!is_open(line.as_bytes()) && advice(line.as_bytes()).is_none());
        }
    }
}
