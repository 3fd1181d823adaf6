//! From a URL to the path of its file.
use crate::model::RelPath;
use url::Url;
/// The path of a URL's body below the output folder.
pub fn path_of(url: &Url) -> RelPath {
    let p = format!("{}{}", url.host_str().unwrap_or(""), url.path());
    RelPath::parse(p.trim_matches('/')).unwrap_or_else(|_| RelPath::parse("index").unwrap())
}
