//! The method of a request, as people write it.

use http::Method;

/// Methods that are meant whatever their case (as the `fetch` of browsers has it); any other is
/// taken as it stands, for methods are told apart by case (RFC 9110 §9.1).
const COMMON: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// Reads a method: `get` is `GET`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_method(text: &str) -> Result<Method, String> {
    let is_it = |method: &Method| method.as_str().eq_ignore_ascii_case(text);
    if let Some(common) = COMMON.into_iter().find(is_it) {
        return Ok(common);
    }
    if is_it(&Method::CONNECT) {
        return Err("CONNECT asks for a tunnel; nothing is fetched by it".to_owned());
    }
    text.parse()
        .map_err(|_| "no method; write GET, HEAD, POST or PUT, for example".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_methods_are_the_same_in_any_case_and_others_are_not() {
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
