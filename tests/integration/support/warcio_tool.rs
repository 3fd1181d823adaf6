//! Python's warcio, which knows nothing of us. `FETCHALL_PYTHON` names a Python that has it;
//! with `FETCHALL_NEEDS_WARCIO` set, it is a failure when there is none.

use std::env;
use std::path::Path;
use std::process::Command;

/// A Python that has it.
pub fn python() -> Option<String> {
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

/// What it says of a file.
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
