//! Inputs that are neither there nor URLs: what was meant?

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;

use fetchall::FaultPlan;
use url::Url;

use super::flag_hints;

/// How close the name of a file must be to be suggested, as `strsim` measures it.
const MIN_SIMILARITY: f64 = 0.93;
/// Files looked at for such a name.
const MAX_FILES_COMPARED: usize = 10_000;

/// What is wrong with an input, where there is a good guess. `spec_is_missing`:
/// `--simulate-failure` has none.
pub fn of(input: &OsStr, spec_is_missing: bool) -> Option<String> {
    let text = input.to_str()?;
    if text == "-" || text.contains("://") || text.contains('@') || Path::new(text).exists() {
        // What may hold a password is not repeated.
        return None;
    }
    if let Some(meant) = flag_hints::command(text) {
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
    if let Some(meant) = near_address(text).or_else(|| near_file(Path::new(text))) {
        return Some(format!(
            "cannot read {}: there is no such file; did you mean {meant}?",
            text.escape_debug()
        ));
    }
    // What follows may be a secret.
    if text.starts_with(['{', '[']) {
        return Some(
            "there is no file whose name is JSON; -d DATA sends a body (--json takes none: it \
             prints records)"
                .to_owned(),
        );
    }
    let name = header_name(text)?;
    Some(format!(
        "{name}: …: there is no such file; did you mean -H '{name}: …'?"
    ))
}

/// The name of a header that lacks its `-H`. One letter is a drive of Windows.
fn header_name(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (name.len() > 1 && name.bytes().all(is_name)).then_some(name)
}

/// The URL of an address without a scheme, on this machine or the same network: `localhost:8080`,
/// `192.168.0.1/x`, `:8080`, `web:8080`. There it is seldom TLS, as it is for names with dots.
fn near_address(text: &str) -> Option<String> {
    let host = text.split(['/', '?', '#']).next()?;
    let is_port = |port: &&str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if is_port(&port) => (name, Some(port)),
        _ => (host, None),
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_near = address.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || (port.is_some()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    let scheme = if matches!(port, Some("443" | "8443")) {
        "https"
    } else {
        "http"
    };
    let host = if name.is_empty() { "localhost" } else { "" };
    let url = format!("{scheme}://{host}{text}");
    (is_near && Url::parse(&url).is_ok()).then(|| url.escape_debug().to_string())
}

/// A file beside it whose name is nearly the same.
fn near_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = folder.unwrap_or(Path::new(".")).read_dir().ok()?;
    let names = entries
        .take(MAX_FILES_COMPARED)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let (_, found) = names
        .map(|other| (strsim::jaro_winkler(name, &other), other))
        .filter(|(likeness, _)| *likeness > MIN_SIMILARITY)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    let found = path.with_file_name(found);
    Some(found.display().to_string().escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_scheme_are_told_with_one() {
        for (text, meant) in [
            ("localhost", Some("http://localhost")),
            ("localhost:8080", Some("http://localhost:8080")),
            ("localhost:8443/x", Some("https://localhost:8443/x")),
            ("a.localhost/x?y=:1", Some("http://a.localhost/x?y=:1")),
            ("127.0.0.1:8080/x", Some("http://127.0.0.1:8080/x")),
            ("192.168.0.1", Some("http://192.168.0.1")),
            ("[::1]:80", Some("http://[::1]:80")),
            (":8080", Some("http://localhost:8080")),
            ("web:3000", Some("http://web:3000")),
            ("web:99999", None),
            ("::1", None),
            ("8080", None),
            ("urls.txt", None),
            ("example.com:8080", None),
            ("note: 12", None),
            ("C:\\urls", None),
        ] {
            assert_eq!(near_address(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn what_belongs_behind_an_option_is_told_without_its_value() {
        let mut page = Vec::new();
        for text in ["Authorization: Bearer s3cret", "Authorization:s3cret"] {
            let told = of(OsStr::new(text), false).unwrap();
            assert!(!told.contains("s3cret"), "{told}");
            page.push(told);
        }
        let told = of(OsStr::new("{\"password\":\"s3cret\"}"), false).unwrap();
        assert!(!told.contains("s3cret"), "{told}");
        page.push(told);
        insta::assert_snapshot!("belongs_behind_an_option", page.join("\n"));
    }
}
