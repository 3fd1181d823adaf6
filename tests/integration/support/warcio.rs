//! Python's warcio, which knows nothing of us. `FETCHALL_PYTHON` names a Python that has it;
//! with `FETCHALL_NEEDS_WARCIO` set, it is a failure when there is none.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;

fn python() -> Option<String> {
    let given = env::var("FETCHALL_PYTHON").ok();
    let python = given.unwrap_or_else(|| "python3".to_owned());
    let has_it = Command::new(&python)
        .args(["-c", "import warcio"])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_it {
        return Some(python);
    }
    assert!(
        env::var_os("FETCHALL_NEEDS_WARCIO").is_none(),
        "{python} has no warcio"
    );
    println!("skipped: {python} has no warcio");
    None
}

fn warcio(python: &str, args: &[&str], pack: &Path) -> String {
    let output = Command::new(python)
        .args(["-m", "warcio.cli"])
        .args(args)
        .arg(pack)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {shown}{errors}");
    shown
}

/// All digests are right, and there are a request, a response and a metadata record for each of
/// these targets, in any order.
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
            let key = (line["warc-type"].clone(), line["warc-target-uri"].clone());
            *found.entry(key).or_insert(0) += 1;
        }
    }
    found
}
