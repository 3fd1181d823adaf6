//! Checks that every test named in `SECURITY.md` exists.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the tests that the page names: `module::…::name`.
fn named(page: &str) -> Vec<&str> {
    let code = page.split('`').skip(1).step_by(2);
    code.filter(|code| code.contains("::") && !code.contains(' '))
        .collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a test of this name exists in a file whose path matches its modules.
fn is_there(test: &str, sources: &[PathBuf]) -> bool {
    let (modules, name) = test.rsplit_once("::").unwrap();
    let lies_there = |path: &&PathBuf| {
        let path = path.with_extension("");
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        // `mod tests` may be in the file itself.
        modules
            .split("::")
            .all(|module| module == "tests" || parts.contains(&module))
    };
    let declared = format!("fn {name}()");
    sources.iter().filter(lies_there).any(|path| {
        let text = fs::read_to_string(path).unwrap();
        let Some((before, _)) = text.split_once(&declared) else {
            return false;
        };
        // An ignored test proves nothing.
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        attributes.contains("test]") || attributes.contains("test(")
    })
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut files = Vec::new();
    for dir in ["src", "tests"] {
        sources(&root.join(dir), &mut files);
    }
    let tests = named(&page);
    assert!(tests.len() > 30, "{tests:?}");
    let missing: Vec<_> = tests
        .iter()
        .filter(|test| !is_there(test, &files))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(!is_there("environment::no_such_test", &files));
    assert!(!is_there(
        "guards::nothing_of_the_environment_is_needed",
        &files
    ));
}
