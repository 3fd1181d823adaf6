//! Checks packs with Python's warcio.

use std::collections::BTreeMap;
use std::path::Path;

use super::warcio_tool::{python, warcio};

/// Checks that all digests are right, and that the pack contains exactly a request, a response (or
/// a revisit) and a metadata record for each of these targets, in any order.
pub fn warcio_checks<'a>(pack: &Path, targets: impl IntoIterator<Item = &'a str>) {
    let Some(python) = python() else { return };
    warcio(&python, &["check"], pack);
    let mut expected = BTreeMap::new();
    for target in targets {
        for kind in ["request", "response", "metadata"] {
            let key = (kind.to_owned(), target.to_owned());
            *expected.entry(key).or_insert(0) += 1;
        }
    }
    assert_eq!(indexed(&python, pack), expected);
}

fn indexed(python: &str, pack: &Path) -> BTreeMap<(String, String), usize> {
    let index = warcio(python, &["index", "-f", "warc-type,warc-target-uri"], pack);
    let mut found = BTreeMap::new();
    for line in index.lines() {
        let line: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        if line["warc-type"] != "warcinfo" {
            let kind = line["warc-type"].replace("revisit", "response");
            let key = (kind, line["warc-target-uri"].clone());
            *found.entry(key).or_insert(0) += 1;
        }
    }
    found
}
