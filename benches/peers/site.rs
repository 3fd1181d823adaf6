//! The content of the server, as lists of URLs.

use std::fs;
use std::io;
use std::path::Path;

/// A page below the directory.
pub struct Page {
    pub path: String,
    pub size: u64,
}

/// Returns this number of pages of a directory, evenly spaced in the order of their paths, so that
/// their sizes are distributed like those of all pages.
pub fn pages(folder: &Path, count: usize) -> io::Result<Vec<Page>> {
    let mut all = Vec::new();
    below(folder, folder, &mut all)?;
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let found = all.len();
    if found < count {
        return Err(io::Error::other(format!("only {found} pages are there")));
    }
    let mut taken = 0;
    let mut nth = 0..found;
    all.retain(|_| {
        let is_next = nth.next() == Some(taken * found / count);
        taken += usize::from(is_next);
        is_next
    });
    Ok(all)
}

fn below(root: &Path, folder: &Path, found: &mut Vec<Page>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            below(root, &path, found)?;
        } else if let Some(name) = page_name(root, &path) {
            let size = entry.metadata()?.len();
            found.push(Page { path: name, size });
        }
    }
    Ok(())
}

/// Returns the path of a page in a URL; `None` if it is not a page or would have to be encoded.
fn page_name(root: &Path, path: &Path) -> Option<String> {
    let is_page = path.extension().is_some_and(|ext| ext == "html");
    let name = path.strip_prefix(root).ok()?.to_str()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    (is_page && name.bytes().all(is_plain)).then(|| name.to_owned())
}
