//! Inputs that are neither there nor URLs: what was meant?

use std::ffi::OsStr;
use std::path::Path;

use fetchall::FaultPlan;

use super::hints;

/// How close the name of a file must be to be suggested, as `strsim` measures it.
const CLOSE: f64 = 0.93;
/// Files looked at for such a name.
const MOST: usize = 10_000;

/// What is wrong with an input, where there is a good guess. `spec_is_missing`:
/// `--simulate-failure` has none.
pub fn of(input: &OsStr, spec_is_missing: bool) -> Option<String> {
    let text = input.to_str()?;
    if text == "-" || text.contains("://") || text.contains('@') || Path::new(text).exists() {
        // What may hold a password is not repeated.
        return None;
    }
    if let Some(meant) = hints::command(text) {
        return Some(format!(
            "{text}: there is no such file, and fetchall has no subcommands; you may mean {meant}"
        ));
    }
    if spec_is_missing && FaultPlan::parse(text, 0).is_ok() {
        return Some(format!(
            "{text}: there is no such file; a SPEC needs its =: '--simulate-failure={text}'"
        ));
    }
    for scheme in ["https", "http"] {
        let rest = text
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix([':', '/']));
        let rest = rest.map(|rest| rest.trim_start_matches([':', '/']));
        if let Some(rest) = rest.filter(|rest| rest.contains('.') || rest.starts_with("localhost"))
        {
            return Some(format!(
                "cannot read {}: there is no such file; did you mean {scheme}://{}?",
                text.escape_debug(),
                rest.escape_debug()
            ));
        }
    }
    let near = near_file(Path::new(text))?;
    Some(format!(
        "cannot read {}: there is no such file; did you mean {near}?",
        text.escape_debug()
    ))
}

/// A file beside it whose name is nearly the same.
fn near_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = folder.unwrap_or(Path::new(".")).read_dir().ok()?;
    let names = entries
        .take(MOST)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let (_, found) = names
        .map(|other| (strsim::jaro_winkler(name, &other), other))
        .filter(|(likeness, _)| *likeness > CLOSE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    let found = path.with_file_name(found);
    Some(found.display().to_string().escape_debug().to_string())
}
