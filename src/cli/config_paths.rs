//! `-o`: rejects names that cannot be directories, or most likely are not meant as one.

use std::io::ErrorKind::NotADirectory;
use std::path::{Path, is_separator};

use super::redact;
use super::usage_error::UsageError;

/// Common file extensions, with the option that writes such a file. The list is short on purpose:
/// a directory may be named after a host.
const FILES: [(&[&str], &str); 5] = [
    (
        &["json", "jsonl", "ndjson"],
        "to write records to a file, use --json > FILE",
    ),
    (
        &["csv", "tsv"],
        "to write a table to a file, use --csv > FILE",
    ),
    (&["warc"], "to save all bodies in one file, use --pack FILE"),
    (
        &["html", "htm"],
        "to write an HTML report, use --report FILE",
    ),
    (
        &[
            "txt", "log", "xml", "pdf", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "tar", "png",
            "jpg", "jpeg", "gif", "svg", "webp", "mp3", "mp4", "iso", "deb", "whl", "parquet",
            "yaml", "yml", "css", "js", "rss", "docx", "xlsx",
        ],
        "file names follow from the URLs (--dry-run shows them)",
    ),
];

/// Checks that `path` can be the output directory, and is meant as one. A name that ends in a slash
/// always is.
pub(super) fn check_output_dir(path: &Path) -> Result<(), UsageError> {
    let wrong = match (path.to_str(), path.metadata()) {
        (Some("-"), _) => {
            "expected a directory to save bodies in; to print bodies, use --json --body".to_owned()
        }
        (Some("/dev/null"), _) => {
            "expected a directory to save bodies in; without -o, bodies are discarded".to_owned()
        }
        (_, Ok(found)) if found.is_dir() => return Ok(()),
        (_, Ok(_)) => "is a file, not a directory; choose another location".to_owned(),
        (_, Err(error)) if error.kind() == NotADirectory => match file_above(path) {
            Some(file) => format!(
                "{} is a file, not a directory; choose another location",
                redact::name(&file.to_string_lossy())
            ),
            None => {
                "part of its path is a file, not a directory; choose another location".to_owned()
            }
        },
        (Some(text), Err(_)) if !text.ends_with(is_separator) => match instead(path) {
            Some(instead) => format!(
                "expected a directory to save bodies in; {instead}; for a directory of this name, \
                 write {text}/"
            ),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    Err(UsageError::OutputDir {
        path: path.to_owned(),
        wrong,
    })
}

/// Returns the ancestor of a path that is a file instead of a directory.
fn file_above(path: &Path) -> Option<&Path> {
    // `as_path` drops a trailing slash, with which no file would be found.
    let mut parts = path.components().as_path().ancestors();
    parts.find(|part| part.is_file())
}

/// Whether a path starts like a URL. `./http:/x` does not.
pub(super) fn is_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Returns what to use instead, if the path is named like a file.
fn instead(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name
        .strip_suffix(".warc.gz")
        .map_or(name.clone(), |stem| format!("{stem}.warc"));
    let (_, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    let found = FILES.iter().find(|(known, _)| known.contains(&extension));
    found.map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_from_a_path() {
        for url in ["https://h/x", "HTTP://h", "git+ssh://h"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["./http://h", "http:/h", "a b://c", "://", "pages"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_name_like_that_of_a_file_is_rejected() {
        let place = tempfile::tempdir().unwrap();
        let check = |name: &str| {
            let path = place.path().join(name);
            check_output_dir(&path).map_err(|error| error.to_string())
        };
        let mut page = Vec::new();
        for name in [
            "out.json",
            "a.b.JSONL",
            "out.csv",
            "page.html",
            "crawl.warc.gz",
            "urls.txt",
            "x.tar.gz",
        ] {
            let error = check(name).unwrap_err();
            assert!(error.contains(&format!("{name}/")), "{error}");
            page.push(error.replace(place.path().to_str().unwrap(), "TMP"));
            assert_eq!(check(&format!("{name}/")), Ok(()));
        }
        for name in [
            "pages",
            "example.com",
            "v1.2",
            "pages.2026",
            ".json",
            "json",
            "a.json/b",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        std::fs::create_dir(place.path().join("there.json")).unwrap();
        assert_eq!(check("there.json"), Ok(()));
        std::fs::write(place.path().join("file"), "").unwrap();
        for name in ["file", "file/", "file/below", "file/far/below"] {
            let error = check(name).unwrap_err();
            page.push(error.replace(place.path().to_str().unwrap(), "TMP"));
        }
        insta::assert_snapshot!("called_like_a_file", page.join("\n"));
        assert!(check_output_dir(Path::new("-")).is_err());
        assert!(check_output_dir(Path::new("/dev/null")).is_err());
    }
}
