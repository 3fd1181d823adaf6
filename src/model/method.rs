//! Parsing of request methods.

use http::Method;

/// Methods accepted in any case, much as browsers' `fetch` does. Any other method is used as
/// written, because methods are case-sensitive (RFC 9110 §9.1).
const COMMON: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// Parses a method: `get` is `GET`.
///
/// # Errors
/// A message that says what is wrong.
pub fn parse_method(text: &str) -> Result<Method, String> {
    let is_it = |method: &Method| method.as_str().eq_ignore_ascii_case(text);
    if let Some(common) = COMMON.into_iter().find(is_it) {
        return Ok(common);
    }
    if is_it(&Method::CONNECT) {
        return Err("CONNECT opens a tunnel and cannot fetch".to_owned());
    }
    text.parse()
        .map_err(|_| "expected a method such as GET, HEAD, POST or PUT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_methods_ignore_case_and_others_do_not() {
        for (text, method) in [
            ("get", "GET"),
            ("Head", "HEAD"),
            ("pOST", "POST"),
            ("put", "PUT"),
            ("delete", "DELETE"),
            ("options", "OPTIONS"),
            ("patch", "PATCH"),
            ("PROPFIND", "PROPFIND"),
            ("purge", "purge"),
            ("Purge", "Purge"),
        ] {
            assert_eq!(parse_method(text).unwrap().as_str(), method);
        }
        for bad in [
            "", " get", "GE T", "g\u{e9}t", "connect", "CONNECT", "a\r\nb",
        ] {
            assert!(parse_method(bad).is_err(), "{bad:?}");
        }
    }
}
