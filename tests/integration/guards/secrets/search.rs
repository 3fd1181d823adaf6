use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// With characters that differ in URLs and in base64.
pub const USER: &str = "us3r/pass%41+word";
pub const TOKEN: &str = "t0ken-of-the-header";
pub const COOKIE: &str = "c00kie-of-the-session";
pub const PROXY: &str = "pr0xy/pass%41word";
pub const LINE: &str = "l1ne/pass word";
pub const BEARER: &str = "b3arer-of-a-json-line";
pub const LOCATION: &str = "r3direct-from-the-server";
const SECRETS: [&str; 7] = [USER, TOKEN, COOKIE, PROXY, LINE, BEARER, LOCATION];

/// Percent-encodes a secret, as in a URL.
pub fn encoded(secret: &str) -> String {
    percent_encode(secret.as_bytes(), NON_ALPHANUMERIC).to_string()
}

/// Returns the forms in which a secret could be written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let for_urls = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![secret.to_owned(), encoded(secret), for_urls];
    forms.push(encoded(secret).to_lowercase());
    let mut userinfo = url::Url::parse("http://a/").unwrap();
    userinfo.set_password(Some(secret)).unwrap();
    forms.push(userinfo.password().unwrap().to_owned());
    // Within a longer text, base64 has three forms, depending on the position.
    for before in 0..3 {
        let text = [&b"xx"[..before], secret.as_bytes()].concat();
        let whole = text.len() / 3 * 4;
        let skipped = [0, 2, 3][before];
        for engine in [&STANDARD, &URL_SAFE] {
            forms.push(engine.encode(&text)[skipped..whole].to_owned());
        }
    }
    forms.into_iter().map(String::into_bytes).collect()
}

/// Returns the secrets that occur in a text.
pub fn found_in(text: &[u8]) -> Vec<&'static str> {
    let holds = |form: &Vec<u8>| memchr::memmem::find(text, form).is_some();
    let occurs = |secret: &&str| forms(secret).iter().any(holds);
    SECRETS.into_iter().filter(occurs).collect()
}

#[track_caller]
pub fn assert_none_in(what: &str, text: &[u8]) {
    let found = found_in(text);
    let shown = String::from_utf8_lossy(text);
    assert!(found.is_empty(), "{found:?} in {what}:\n{shown}");
}
