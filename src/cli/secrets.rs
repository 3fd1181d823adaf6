//! Options whose values may be secrets. A command line is seen by everybody on the machine,
//! so each of them can come from a file or the environment instead. No message repeats a
//! value, as those of clap do: that is why they are read here.
//!
//! Who else may read such a file is not asked. ssh does so for keys, but a password file is
//! as often a pipe of the shell or a mount of a container, with modes that nobody chose.

use std::env::VarError;
use std::ffi::OsString;
use std::path::Path;

use fetchall::program::Credentials;
use http::{HeaderName, HeaderValue};

use super::fs_util::read_text;
use super::options::variable_of;
use super::value_parsers;

/// Where `-u` may come from instead.
pub const USER_VARIABLE: &str = "FETCHALL_USER";
/// Where the password for a mail server may come from.
pub const SMTP_VARIABLE: &str = "FETCHALL_SMTP_PASSWORD";
/// Options, by their long names, whose values may hold a secret. `shown::masked` says which part of
/// them may be seen, commands that are started get none of their variables, and what reads their
/// values never repeats them.
pub const SECRET_OPTIONS: [&str; 8] = [
    "user",
    "proxy-user",
    "header",
    "data",
    "proxy",
    "smtp",
    "notify-url",
    "notify-cmd",
];

/// The variables of the environment that may hold a secret.
pub fn variables() -> impl Iterator<Item = String> {
    let options = SECRET_OPTIONS.into_iter().map(variable_of);
    options.chain([SMTP_VARIABLE.to_owned()])
}

/// The headers of one `-H`: `NAME: VALUE`, or `@FILE` with one in each line.
pub fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    // No name of a header begins with it (RFC 9110 §5.6.2).
    let Some(path) = text.strip_prefix('@') else {
        return value_parsers::header(text).map(|header| vec![header]);
    };
    let lines = read_text(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let header = value_parsers::header(line);
            headers.push(header.map_err(|error| format!("{path}, line {number}: {error}"))?);
        }
    }
    Ok(headers)
}

/// `USER:PASSWORD`, or `USER:@FILE` with the password in the first line of the file.
pub fn credentials(text: &str) -> Result<Credentials, String> {
    let Some((user, path)) = text.split_once(":@") else {
        return Ok(plain_credentials(text));
    };
    if user.contains(':') {
        // It stands within the password.
        return Ok(plain_credentials(text));
    }
    Ok(Credentials {
        user: user.to_owned(),
        password: password(path)?,
    })
}

/// The password for a mail server: of the file that was named, or of the environment.
pub fn smtp_password(path: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = path else {
        return match std::env::var(SMTP_VARIABLE) {
            Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(format!("{SMTP_VARIABLE} is no UTF-8")),
        };
    };
    let shown = path.display();
    let text = read_text(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Some(password.to_owned())),
        _ => Err(format!("{shown} has no password in its first line")),
    }
}

/// The first line of a file. Its name is not repeated: it may be a password that begins
/// with an `@`.
fn password(path: &str) -> Result<String, String> {
    let hint = format!(
        "what follows :@ is the name of a file; a password that begins with @ goes into one, or \
         into {USER_VARIABLE}"
    );
    let text = read_text(path)
        .map_err(|error| format!("cannot read the password file: {error} ({hint})"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err("the first line of the password file is empty".to_owned()),
    }
}

/// What stands in the environment, if anything. It is taken as it is, so that a password may
/// begin with an `@`.
pub fn from_environment(value: Option<OsString>) -> Result<Option<Credentials>, String> {
    match value.map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) if text.is_empty() => Ok(None),
        Some(Ok(text)) => Ok(Some(plain_credentials(&text))),
        Some(Err(_)) => Err("it is not UTF-8".to_owned()),
    }
}

/// A URL, or an address without a scheme, with a mask instead of user and password.
pub fn without_userinfo(url: &str, mask: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{mask}@{host}"),
        None => url.to_owned(),
    }
}

/// A proxy without user and password; nothing where it is no proxy that could be read.
pub fn proxy_without_userinfo(text: &str) -> Option<String> {
    value_parsers::proxy(text).ok()?;
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + "://".len()),
        None => ("", text),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    Some(format!("{scheme}{host}"))
}

/// A URL with a mask instead of what follows its host.
pub fn without_path(url: &str, mask: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let path = url
        .get(start..)
        .and_then(|rest| rest.find(['/', '?', '#']))
        .and_then(|at| url.get(..start + at));
    path.map_or(url.to_owned(), |host| format!("{host}/{mask}"))
}

fn plain_credentials(text: &str) -> Credentials {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, String) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        (file, path)
    }

    #[test]
    fn a_file_of_headers_has_one_a_line() {
        let (_file, path) =
            file(b"\xef\xbb\xbf# for the tests\r\nX-Token:  abc \r\n\r\n  \nCookie: a=b; c=d");
        let headers = headers(&format!("@{path}")).unwrap();
        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(shown, [("x-token", "abc"), ("cookie", "a=b; c=d")]);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
    }

    #[test]
    fn what_is_wrong_with_a_file_of_headers_is_told_without_its_content() {
        let (_file, path) = file(b"A: b\ns3cret-without-colon\n");
        let error = headers(&format!("@{path}")).unwrap_err();
        assert!(error.contains(&path), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        let absent = headers("@/no/such/file").unwrap_err();
        let (_file, other) = file(b"X: \xff");
        let latin = headers(&format!("@{other}")).unwrap_err();
        let page = [
            error.replace(&path, "FILE"),
            absent,
            latin.replace(&other, "FILE"),
        ];
        insta::assert_snapshot!("wrong_files_of_headers", page.join("\n"));
    }

    #[test]
    fn a_password_stands_in_the_option_or_in_the_first_line_of_a_file() {
        let (_file, path) = file(b"@pass:word with blanks \r\nnot this\n");
        let from_file = credentials(&format!("me:@{path}")).unwrap();
        assert_eq!(from_file.user, "me");
        assert_eq!(from_file.password, "@pass:word with blanks ");
        for (text, user, password) in [
            ("me:pass", "me", "pass"),
            ("me", "me", ""),
            ("me:a:@b", "me", "a:@b"),
            ("me@host:pass", "me@host", "pass"),
        ] {
            let read = credentials(text).unwrap();
            assert_eq!((&*read.user, &*read.password), (user, password), "{text}");
        }
    }

    #[test]
    fn a_password_file_that_is_none_is_told_without_its_name() {
        let error = credentials("me:@s3cret").unwrap_err();
        assert!(error.contains(USER_VARIABLE), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        let device = credentials("me:@/dev/zero").unwrap_err();
        insta::assert_snapshot!("wrong_password_files", format!("{error}\n{device}"));
        let (_file, path) = file(b"\nsecond line");
        assert!(credentials(&format!("me:@{path}")).is_err());
    }

    #[test]
    fn the_environment_is_taken_as_it_is() {
        let read = |text: &str| from_environment(Some(text.into())).unwrap();
        let user = read("me:@pass").unwrap();
        assert_eq!((&*user.user, &*user.password), ("me", "@pass"));
        assert!(read("").is_none() && from_environment(None).unwrap().is_none());
    }
}
