//! Hints for inputs that are neither existing files nor URLs: what was probably meant.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;

use fetchall::FaultPlan;
use fetchall::program::similar_name;
use url::Url;

use super::flag_hints;

/// Maximum number of directory entries that are compared.
const MAX_FILES_COMPARED: usize = 10_000;

/// Returns the error for an input that is most likely a mistake. `spec_is_missing` is whether
/// `--simulate-failure` was given without a SPEC.
pub(super) fn of(input: &OsStr, spec_is_missing: bool) -> Option<String> {
    let text = input.to_str()?;
    if text.is_empty() {
        return Some("an input is empty; expected a file, a URL, or - for stdin".to_owned());
    }
    if text == "-" || text.contains("://") || text.contains('@') || Path::new(text).exists() {
        // A text with an @ may hold a password, so it is not repeated.
        return None;
    }
    if let Some(meant) = flag_hints::command(text) {
        return Some(format!(
            "{text}: no such file, and fetchall has no subcommands; did you mean {meant}?"
        ));
    }
    if spec_is_missing && FaultPlan::parse(text, 0).is_ok() {
        return Some(format!(
            "{text}: no such file; a SPEC needs an equals sign: '--simulate-failure={text}'"
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
                "cannot read {}: no such file; did you mean {scheme}://{}?",
                text.escape_debug(),
                rest.escape_debug()
            ));
        }
    }
    if let Some(meant) = near_address(text).or_else(|| near_file(Path::new(text))) {
        return Some(format!(
            "cannot read {}: no such file; did you mean {meant}?",
            text.escape_debug()
        ));
    }
    // The rest may be a secret, so it is not repeated.
    if text.starts_with(['{', '[']) {
        return Some(
            "an input looks like JSON, not like a file or URL; -d DATA sends a request body \
             (--json takes no value: it prints records)"
                .to_owned(),
        );
    }
    let name = header_name(text)?;
    Some(format!(
        "{name}: …: no such file; did you mean -H '{name}: …'?"
    ))
}

/// Returns the name if the text looks like a header without its `-H`. A name of one letter is a
/// Windows drive.
fn header_name(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (name.len() > 1 && name.bytes().all(is_name)).then_some(name)
}

/// Returns the URL for an address without a scheme that is on this machine or the local network:
/// `localhost:8080`, `192.168.0.1/x`, `:8080`, `web:8080`. Those seldom use TLS, unlike names with
/// dots.
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

/// Returns the file in the same directory whose name is most similar, if any is similar enough.
fn near_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = folder.unwrap_or(Path::new(".")).read_dir().ok()?;
    let names: Vec<_> = entries
        .take(MAX_FILES_COMPARED)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let found = similar_name(name, names.iter().map(String::as_str))?;
    let found = path.with_file_name(found);
    Some(found.display().to_string().escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_scheme_get_one() {
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
    fn hints_at_a_missing_option_do_not_repeat_the_value() {
        let mut page = Vec::new();
        for text in ["Authorization: Bearer s3cret", "Authorization:s3cret"] {
            let message = of(OsStr::new(text), false).unwrap();
            assert!(!message.contains("s3cret"), "{message}");
            page.push(message);
        }
        let message = of(OsStr::new("{\"password\":\"s3cret\"}"), false).unwrap();
        assert!(!message.contains("s3cret"), "{message}");
        page.push(message);
        insta::assert_snapshot!("belongs_behind_an_option", page.join("\n"));
    }
}
