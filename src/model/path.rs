//! A path below the output folder.

use std::fmt;

use super::Sha256;

/// Names at the top of the output folder that are ours: whatever their case, since some
/// disks don't tell it.
const OURS: [&str; 2] = [".fetchall", "fetchall.jsonl"];
/// Longest name of a file or folder on common file systems, in bytes.
const MAX_NAME: usize = 255;
/// Longest path below the output folder, in bytes. Systems allow 4096, the way to that
/// folder included.
const MAX_PATH: usize = 2048;

/// A path below the output folder, `/` between its names on every system. It stays below: no
/// name is empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Box<str>);

impl RelPath {
    /// Takes a path that somebody chose.
    ///
    /// # Errors
    /// In words, when it is empty, leads out of its folder, is one of our own files, or is
    /// none that the common systems can store.
    pub fn parse(text: &str) -> Result<Self, String> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// A path made of nothing but a hash: for what must have one, whatever it is.
    #[must_use]
    pub fn from_hash(hash: &Sha256) -> Self {
        Self(format!("+{hash}/{hash}+").into())
    }

    /// Whether a name at the top of the output folder is one of our own files.
    #[must_use]
    pub fn is_reserved(top: &str) -> bool {
        OURS.iter().any(|ours| ours.eq_ignore_ascii_case(top))
    }

    /// The path, `/` between its names.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it is in (empty: the output folder itself), and its last name.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl TryFrom<String> for RelPath {
    type Error = String;

    /// As [`RelPath::parse`], without a copy.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        check(&text)?;
        Ok(Self(text.into()))
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > MAX_PATH {
        return Err(format!("it is longer than {MAX_PATH} bytes"));
    }
    if text.starts_with('/') || text.get(1..2) == Some(":") {
        return Err("it is not relative to the output folder".to_owned());
    }
    let is_bad = |c: &char| c.is_control() || *c == '\\';
    // Most are ASCII; bytes are looked through faster than characters.
    let seems_bad = |byte: u8| !matches!(byte, b' '..=b'~') || byte == b'\\';
    if text.bytes().any(seems_bad)
        && let Some(c) = text.chars().find(is_bad)
    {
        return Err(format!("it contains {c:?}"));
    }
    for name in text.split('/') {
        match name {
            "" => return Err("it contains an empty name".to_owned()),
            // Windows takes dots and blanks at the end of a name away: `.. ` leads out there.
            _ if name.trim_matches(['.', ' ']).is_empty() => {
                return Err(format!("it contains {name:?}"));
            }
            _ if name.len() > MAX_NAME => {
                return Err(format!("a name in it is longer than {MAX_NAME} bytes"));
            }
            _ => {}
        }
    }
    let top = text.split('/').next().unwrap_or_default();
    if RelPath::is_reserved(top) {
        return Err(format!("{top} is used by fetchall itself"));
    }
    Ok(())
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_or_can_not_be_stored_is_refused() {
        for good in ["a", "a/b.html", "..a/b..", "x/.fetchall", "ü/ß", "a b"] {
            assert_eq!(RelPath::parse(good).unwrap().as_str(), good);
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
            "C:/a",
            "c:a",
            "a\\b",
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
    fn a_path_has_a_folder_and_a_name() {
        let split = |text| {
            let path = RelPath::parse(text).unwrap();
            let (folder, name) = path.split();
            (folder.to_owned(), name.to_owned())
        };
        assert_eq!(split("a/b/c"), ("a/b".to_owned(), "c".to_owned()));
        assert_eq!(split("c"), (String::new(), "c".to_owned()));
    }
}
