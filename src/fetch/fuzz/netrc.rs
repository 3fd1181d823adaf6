//! Fuzzes the parser of `.netrc` files.

use url::Url;

use super::super::netrc::Netrc;
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::Credentials;

/// The corpus contains it as a password.
const SECRET: &str = "s3cr3tZ";
/// URLs whose credentials are looked up.
const URLS: [&str; 5] = [
    "http://a.test/",
    "https://b.test:8443/",
    "https://quoted.test/",
    "http://[::1]:80/",
    "http://127.0.0.1/",
];

/// Writes the only entry of a file, which must be read as these credentials.
fn written(credentials: &Credentials) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let (user, password) = (quoted(&credentials.user), quoted(&credentials.password));
    format!("default login \"{user}\" password \"{password}\"")
}

fn try_netrc(input: &FuzzInput<'_>) -> FuzzVerdict {
    let Ok(text) = std::str::from_utf8(input.bytes) else {
        return Ok("not UTF-8");
    };
    let netrc = match text.parse::<Netrc>() {
        Ok(netrc) => netrc,
        Err(error) => {
            let message = error.to_string();
            hold!(!message.contains(SECRET), "shown: {message}");
            hold!(message.len() < 100, "too long: {message}");
            return Ok("rejected");
        }
    };
    hold!(
        text.parse::<Netrc>().as_ref() == Ok(&netrc),
        "read differently the second time"
    );
    hold!(!format!("{netrc:?}").contains(SECRET), "shown: {netrc:?}");
    let mut found = 0;
    for url in URLS.map(|url| Url::parse(url).unwrap()) {
        let Some(credentials) = netrc.find(&url, None) else {
            continue;
        };
        found += 1;
        let Credentials { user, password } = &credentials;
        hold!(
            !(user.is_empty() && password.is_empty()),
            "nothing, for {url}"
        );
        hold!(
            netrc.find(&url, Some(user)).as_ref() == Some(&credentials),
            "another entry by its own login, for {url}"
        );
        let again = written(&credentials).parse::<Netrc>();
        let again = again.map(|again| again.find(&url, None));
        hold!(
            again == Ok(Some(credentials)),
            "written and read again, for {url}: {}",
            text.escape_debug()
        );
    }
    Ok(match found {
        0 => "no credentials",
        5 => "credentials for all",
        _ => "credentials for some",
    })
}

const TOKENS: &[&[u8]] = &[
    b"machine ",
    b"default ",
    b"login ",
    b"password ",
    b"account ",
    b"macdef ",
    b"port 80 ",
    b"a.test ",
    b"b.test",
    b"::1",
    b"[::1]",
    b"A.TEST",
    b"s3cr3tZ",
    b"\"",
    b"\\",
    b"\\\"",
    b"\"\" ",
    b"\\n",
    b"#",
    b" # ",
    b"\n\n",
    b"\r\n",
    b"\n",
    b"\t",
    b" ",
    b"\xc2\xa0",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
];

#[test]
fn netrc_files() {
    let fuzz = FuzzCampaign {
        corpus: "netrc",
        tokens: TOKENS,
        inputs: 10_000,
        one_of: 1,
    };
    fuzz.run(try_netrc);
}
