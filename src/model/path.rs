//! A path below the output directory.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Sha256;
use super::text::is_control;

/// Names at the top of the output directory that are reserved, in any case: some file systems
/// ignore case.
const RESERVED: [&str; 2] = [".fetchall", "fetchall.jsonl"];
/// What separates names on this system.
const SEPARATORS: &[u8] = if cfg!(windows) { b"/\\" } else { b"/" };
/// Longest file or directory name on common file systems, in bytes.
const MAX_NAME: usize = 255;
/// Longest path below the output directory, in bytes. Systems allow 4096 bytes, including the
/// path of the output directory.
const MAX_PATH: usize = 2048;

/// A path below the output directory, with `/` as separator on every system. It cannot lead out
/// of it: no component is empty, `.` or `..`. A backslash belongs to a name, except on Windows, where
/// it is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Box<str>);

impl RelPath {
    /// Parses a path from a list.
    ///
    /// # Errors
    /// A message if the path is empty, leads out of the output directory, is reserved, or cannot
    /// be stored on the common file systems.
    pub fn parse(text: &str) -> Result<Self, String> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Returns a path made of a hash only: the fallback if no readable name is possible.
    #[must_use]
    pub fn from_hash(hash: &Sha256) -> Self {
        Self(format!("+{hash}/{hash}+").into())
    }

    /// Whether a name at the top of the output directory is reserved for fetchall's own files.
    #[must_use]
    pub fn is_reserved(top: &str) -> bool {
        RESERVED.iter().any(|name| name.eq_ignore_ascii_case(top))
    }

    /// Returns the path, with `/` as separator.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits the path into its parent directory (empty: the output directory) and its file name.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl TryFrom<String> for RelPath {
    type Error = String;

    /// Like [`RelPath::parse`], without a copy.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        check(&text)?;
        Ok(Self(text.into()))
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > MAX_PATH {
        return Err(format!("longer than {MAX_PATH} bytes"));
    }
    let is_drive = cfg!(windows) && text.get(1..2) == Some(":");
    if text.starts_with('/') || is_drive {
        return Err("must be relative to the output directory".to_owned());
    }
    let is_bad = |c: &char| is_control(*c) || (cfg!(windows) && *c == '\\');
    // Most paths are ASCII, and checking all bytes without branching is faster than decoding
    // characters.
    let seems_bad = |byte: u8| !matches!(byte, b' '..=b'~') | (byte == b'\\');
    if text.bytes().fold(false, |bad, byte| bad | seems_bad(byte))
        && let Some(c) = text.chars().find(is_bad)
    {
        return Err(format!("contains {c:?}"));
    }
    // Names are short, so splitting bytes is faster than searching the text for each separator.
    for name in text.as_bytes().split(|byte| SEPARATORS.contains(byte)) {
        match name {
            b"" => return Err("contains an empty name".to_owned()),
            // Windows strips trailing dots and spaces from names, so `.. ` would lead out.
            _ if name.iter().all(|byte| matches!(byte, b'.' | b' ')) => {
                return Err(format!("contains {:?}", String::from_utf8_lossy(name)));
            }
            _ => {}
        }
    }
    let mut names = text.as_bytes().split(|byte| *byte == b'/');
    if names.any(|name| name.len() > MAX_NAME) {
        return Err(format!("contains a name longer than {MAX_NAME} bytes"));
    }
    let top = text.split('/').next().unwrap_or(text);
    if RelPath::is_reserved(top) {
        return Err(format!("{top} is reserved by fetchall"));
    }
    Ok(())
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the path with a dot and `extension` after its name, as `Path::with_added_extension` does
/// from Rust 1.91 on.
#[must_use]
pub fn add_extension(path: &Path, extension: &str) -> PathBuf {
    let mut longer = path.as_os_str().to_owned();
    longer.push(".");
    longer.push(extension);
    longer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_added_to_those_that_are_there() {
        let path = add_extension(Path::new("a.b/x-1.warc.gz"), "jsonl");
        assert_eq!(path, Path::new("a.b/x-1.warc.gz.jsonl"));
    }

    #[test]
    fn paths_that_lead_out_or_cannot_be_stored_are_rejected() {
        for good in ["a", "a/b.html", "..a/b..", "x/.fetchall", "ü/ß", "a b"] {
            assert_eq!(RelPath::parse(good).unwrap().as_str(), good);
        }
        for of_unix in [
            "a\\b",
            "a\\..\\b",
            "..\\b",
            "a\\",
            "\\\\a\\b",
            ".fetchall\\x",
            "C:\\a",
            "c:a",
            "C:/a",
        ] {
            assert_eq!(RelPath::parse(of_unix).is_ok(), !cfg!(windows), "{of_unix}");
        }
        let long = "x".repeat(256);
        for bad in [
            "",
            "/a",
            "a//b",
            "a/",
            "..",
            "a/../b",
            "a/.. /b",
            "a/.../b",
            "a/ /b",
            "./a",
            "a/.",
            "a\\b/../c",
            "a\0",
            "a\nb",
            ".fetchall",
            ".FetchAll/x",
            "fetchall.jsonl",
            long.as_str(),
        ] {
            assert!(RelPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_is_always_a_path() {
        let path = RelPath::from_hash(&Sha256([7; 32]));
        assert_eq!(RelPath::parse(path.as_str()), Ok(path.clone()));
        assert_eq!(RelPath::try_from(path.to_string()), Ok(path));
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        let split = |text| {
            let path = RelPath::parse(text).unwrap();
            let (directory, name) = path.split();
            (directory.to_owned(), name.to_owned())
        };
        assert_eq!(split("a/b/c"), ("a/b".to_owned(), "c".to_owned()));
        assert_eq!(split("c"), (String::new(), "c".to_owned()));
    }
}
