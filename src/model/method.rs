//! Methods as people write them.

use http::Method;

/// Methods that are meant also when they are written in small letters (as the `fetch` of
/// browsers has it).
const COMMON: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// The method of a text: the common ones in any case, any other as it is written, since methods
/// are case-sensitive (RFC 9110 §9.1). `None`: it is no method.
#[must_use]
pub fn parse_method(text: &str) -> Option<Method> {
    let common = COMMON
        .into_iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(text));
    common.or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_methods_are_taken_in_any_case_and_others_as_they_are() {
        for (text, method) in [
            ("get", Some("GET")),
            ("Post", Some("POST")),
            ("GET", Some("GET")),
            ("Purge", Some("Purge")),
            ("connect", Some("connect")),
            ("a b", None),
            ("", None),
        ] {
            let parsed = parse_method(text);
            assert_eq!(parsed.as_ref().map(Method::as_str), method, "{text:?}");
        }
    }
}
