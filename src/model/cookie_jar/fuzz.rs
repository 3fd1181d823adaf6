//! Fuzzes the parser of cookie files.

use http::HeaderValue;
use url::Url;

use super::{CookieFileError, CookieJar};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};

/// The corpus contains it as a value.
const SECRET: &str = "s3cr3tZ";
/// URLs whose cookies are looked up.
const URLS: [&str; 6] = [
    "https://example.com/",
    "http://www.example.com/x/y",
    "https://other.a.example.com/a/b",
    "http://127.0.0.1:81/",
    "http://[::1]/",
    "http://neighbour.co.uk/",
];

fn cookies_of(jar: &CookieJar) -> Vec<Option<Box<[u8]>>> {
    let urls = URLS.map(|url| Url::parse(url).unwrap());
    urls.iter().map(|url| jar.header_for(url)).collect()
}

fn try_cookie_file(input: &FuzzInput<'_>) -> FuzzVerdict {
    let jar = CookieJar::default();
    if let Err(error) = jar.read(input.bytes) {
        let message = error.to_string();
        hold!(!message.contains(SECRET), "shown: {message}");
        hold!(message.len() < 300, "too long: {message}");
        let sent = cookies_of(&jar);
        hold!(sent.iter().all(Option::is_none), "used in part: {message}");
        return Ok("rejected");
    }
    hold!(!format!("{jar:?}").contains(SECRET), "shown: {jar:?}");
    let sent = cookies_of(&jar);
    let is_header = |sent: &[u8]| HeaderValue::from_bytes(sent).is_ok();
    hold!(
        sent.iter().flatten().all(|sent| is_header(sent)),
        "no header: {sent:?}"
    );
    hold!(sent[5].is_none(), "for a public suffix: {sent:?}");
    let written = jar.render();
    let again = CookieJar::default();
    let text = written.escape_ascii();
    let read = again.read(&written);
    let is_whole = match &read {
        Ok(read) => read.left_out.is_empty(),
        Err(error) => *error == CookieFileError::Empty,
    };
    hold!(is_whole, "written, but {read:?}: {text}");
    hold!(again.render() == written, "written differently: {text}");
    hold!(cookies_of(&again) == sent, "sent differently: {text}");
    Ok(match sent.iter().flatten().count() {
        0 => "no cookies",
        _ => "cookies",
    })
}

const TOKENS: &[&[u8]] = &[
    b"\t",
    b"TRUE\t",
    b"FALSE\t",
    b"\tTRUE\t/\tFALSE\t0\t",
    b"#HttpOnly_",
    b"# ",
    b"example.com",
    b".example.com",
    b".www.example.com\t",
    b"co.uk",
    b"a.co.uk\tFALSE",
    b"127.0.0.1",
    b"[::1]",
    b"::1",
    b"/x\t",
    b"/a/b",
    b"4102444800",
    b"253402300800",
    b"-1\t",
    b"0.5",
    b"s3cr3tZ",
    b"\"s3cr3tZ\"",
    b"__Host-k",
    b"__Secure-k",
    b"k=v",
    b";",
    b",",
    b" ",
    b"\n",
    b"\r\n",
    b"\r",
    b"\xc3\xa9",
    b"\xff",
    b"%20",
    b"{",
];

#[test]
fn cookie_files() {
    let fuzz = FuzzCampaign {
        corpus: "cookie-files",
        tokens: TOKENS,
        inputs: 6_000,
        one_of: 2,
    };
    fuzz.run(try_cookie_file);
}
