//! `-o`: names that can't be folders, or are hardly meant as one.

use std::io::ErrorKind::NotADirectory;
use std::path::{Path, is_separator};

use super::convert::UsageError;
use super::redact;

/// Extensions of files, with what writes such a file. A folder may be called after a host, so only
/// what files are commonly called is here.
const FILES: [(&[&str], &str); 5] = [
    (
        &["json", "jsonl", "ndjson"],
        "for records in a file write --json > FILE",
    ),
    (&["csv", "tsv"], "for a table in a file write --csv > FILE"),
    (&["warc"], "for all bodies in one file write --pack FILE"),
    (
        &["html", "htm"],
        "--report FILE writes a page about the run",
    ),
    (
        &[
            "txt", "log", "xml", "pdf", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "tar", "png",
            "jpg", "jpeg", "gif", "svg", "webp", "mp3", "mp4", "iso", "deb", "whl", "parquet",
            "yaml", "yml", "css", "js", "rss", "docx", "xlsx",
        ],
        "its files get names that their URLs make (--dry-run)",
    ),
];

/// Whether bodies can be saved below a folder of this name. A name that ends in a slash is one
/// whatever it is called.
pub fn check_output_dir(path: &Path) -> Result<(), UsageError> {
    let wrong = match (path.to_str(), path.metadata()) {
        (Some("-"), _) => {
            "-o names a folder that bodies are saved to; --json --body prints them".to_owned()
        }
        (Some("/dev/null"), _) => {
            "-o names a folder that bodies are saved to; without it they are not kept".to_owned()
        }
        (_, Ok(found)) if found.is_dir() => return Ok(()),
        (_, Ok(_)) => "it is a file, and -o needs a folder; name another place".to_owned(),
        (_, Err(error)) if error.kind() == NotADirectory => match file_above(path) {
            Some(file) => format!(
                "{} is a file, not a folder; name another place",
                redact::name(&file.to_string_lossy())
            ),
            None => "a part of its path is a file, not a folder; name another place".to_owned(),
        },
        (Some(text), Err(_)) if !text.ends_with(is_separator) => match instead(path) {
            Some(instead) => format!(
                "-o names a folder that bodies are saved to; {instead}; for a folder of this \
                 name write {text}/"
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

/// The part of a path that is a file where a folder is needed.
fn file_above(path: &Path) -> Option<&Path> {
    // Without the slash at its end, with which no file is found.
    let mut parts = path.components().as_path().ancestors();
    parts.find(|part| part.is_file())
}

/// Whether a path begins as a URL does. `./http:/x` is a path all the same.
pub fn is_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// What to write instead, if it is called like a file.
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
    fn what_is_called_like_a_file_is_hardly_meant_as_a_folder() {
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
