//! Runs Python's warcio, an independent WARC implementation. `FETCHALL_PYTHON` is a Python that has
//! it (default: `python3`). If it is missing, tests are skipped, or fail with
//! `FETCHALL_NEEDS_WARCIO` set.

use std::env;
use std::path::Path;
use std::process::Command;

/// Returns a Python that has warcio.
pub fn python() -> Option<String> {
    python_with("warcio")
}

/// Returns a Python that has these modules.
pub fn python_with(modules: &str) -> Option<String> {
    let given = env::var("FETCHALL_PYTHON").ok();
    let python = given.unwrap_or_else(|| "python3".to_owned());
    let has_it = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_it {
        return Some(python);
    }
    assert!(
        env::var_os("FETCHALL_NEEDS_WARCIO").is_none(),
        "{python} has no {modules}"
    );
    println!("skipped: {python} has no {modules}");
    None
}

/// Returns the output of a warcio command for a pack.
pub fn warcio(python: &str, args: &[&str], pack: &Path) -> String {
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
