//! Options whose values may be secrets. Every user of the machine can see a command line, so each
//! of them can also come from a file or the environment. They are parsed here instead of by clap,
//! whose messages repeat the value.
//!
//! The permissions of such a file are not checked. ssh does that for keys, but a password file is
//! often a shell pipe or a container mount, whose mode the user did not choose. Only a `.netrc`, which
//! has many passwords and is kept, gives a warning.

use std::env::VarError;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use fetchall::program::{CookieFileError, CookieFileSummary, CookieJar, Credentials, Netrc};
use http::{HeaderName, HeaderValue};

use super::fs_util::{is_readable_by_others, read_bytes, read_text};
use super::options::variable_of;
use super::value_parsers;

/// Alternative to `-u`.
pub(super) const USER_VARIABLE: &str = "FETCHALL_USER";
/// Password for the mail server.
pub(super) const SMTP_VARIABLE: &str = "FETCHALL_SMTP_PASSWORD";
/// Long names of the options whose values may hold a secret. `masked_values::masked` decides which
/// part may be shown, child processes do not inherit their variables, and their parsers never
/// repeat the value.
pub(super) const SECRET_OPTIONS: [&str; 11] = [
    "cert",
    "cookie",
    "user",
    "proxy-user",
    "header",
    "data",
    "proxy",
    "smtp",
    "notify-url",
    "notify-cmd",
    "pack-done",
];

/// Maximum size of a cookie file: above that of any jar that a run writes.
const MAX_COOKIE_FILE_BYTES: u64 = 16 << 20;

/// Returns the environment variables that may hold a secret.
pub(super) fn variables() -> impl Iterator<Item = String> {
    let options = SECRET_OPTIONS.into_iter().map(variable_of);
    options.chain([SMTP_VARIABLE.to_owned()])
}

/// Parses the value of one `-H`: `NAME: VALUE`, or `@FILE` with one header per line.
pub(super) fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    // No header name starts with an @ (RFC 9110 §5.6.2).
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

/// What `-b` names: cookies, or a file of them.
pub(super) enum CookieSource {
    Pairs(HeaderValue),
    File(PathBuf),
}

/// Parses the value of one `-b`. As in curl, text without an equals sign is a file.
pub(super) fn cookies(text: &str) -> Result<CookieSource, String> {
    if !text.contains('=') {
        let path = if text == "-" { "/dev/stdin" } else { text };
        return Ok(CookieSource::File(path.into()));
    }
    let mut value: HeaderValue = text
        .trim()
        .parse()
        .map_err(|_| "contains characters not allowed in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(CookieSource::Pairs(value))
}

/// Returns the warning about a cookie file with invalid lines, or with nothing to send.
fn cookie_warning(path: &Path, read: &CookieFileSummary) -> Option<String> {
    let Some(((first, flaw), more)) = read.left_out.split_first() else {
        let path = path.display();
        return read
            .is_expired
            .then(|| format!("{path}: all cookies have expired"));
    };
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{}: line {first}{more} left out: {flaw}",
        path.display()
    ))
}

/// Returns the warning about cookies whose text is also the name of a file.
pub(super) fn named_like_a_file(text: &str) -> Option<&'static str> {
    Path::new(text).is_file().then_some(
        "--cookie: sent as a cookie, although a file is called so; to read a file with = in its name: \
         -b - < FILE",
    )
}

/// Adds the cookies of a file to the jar, and returns a warning about invalid lines. A file that does
/// not exist yet is fine if the run writes it. Error messages do not repeat its name, which may be a
/// cookie without its name.
pub(super) fn read_cookies(
    path: &Path,
    jar: &CookieJar,
    may_be_absent: bool,
) -> Result<Option<String>, String> {
    match read_bytes(path, MAX_COOKIE_FILE_BYTES) {
        Ok(file) => match jar.read(&file) {
            Ok(read) => Ok(cookie_warning(path, &read)),
            // What a run has written that got no cookies.
            Err(CookieFileError::Empty) if may_be_absent => Ok(None),
            Err(error) => Err(format!("cannot use the cookie file: {error}")),
        },
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(format!("cannot read the cookie file: {error}"))
        }
        Err(error) => Err(format!(
            "cannot read the cookie file: {error}; a cookie is written NAME=VALUE"
        )),
    }
}

/// Parses `USER:PASSWORD`, or `USER:@FILE` with the password in the first line of the file.
pub(super) fn credentials(text: &str) -> Result<Credentials, String> {
    let Some((user, path)) = text.split_once(":@") else {
        return Ok(plain_credentials(text));
    };
    if user.contains(':') {
        // The :@ is a part of the password.
        return Ok(plain_credentials(text));
    }
    Ok(Credentials {
        user: user.to_owned(),
        password: password(path)?,
    })
}

/// Returns the netrc file of these options: `--netrc-file`, or that of the user with `--netrc`.
pub(super) fn netrc_path(file: Option<&Path>, netrc: bool) -> Option<PathBuf> {
    let home = || {
        let (variable, name) = match cfg!(windows) {
            true => ("USERPROFILE", "_netrc"),
            false => ("HOME", ".netrc"),
        };
        let home = std::env::var_os(variable).filter(|home| !home.is_empty());
        // Without it the error names the file.
        PathBuf::from(home.unwrap_or_else(|| "~".into())).join(name)
    };
    file.map(Path::to_owned).or_else(|| netrc.then(home))
}

/// Reads the credentials by host. Messages do not repeat the content.
pub(super) fn netrc(path: &Path) -> Result<Netrc, String> {
    let shown = path.display();
    let text = read_text(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let netrc = text.parse::<Netrc>();
    netrc.map_err(|error| format!("{shown}: {error}"))
}

/// Warns of a netrc file that other users can read.
pub(super) fn netrc_warning(path: &Path) -> Option<String> {
    is_readable_by_others(path).then(|| {
        let shown = path.display();
        format!("{shown} has passwords that other users can read; chmod 600 it")
    })
}

/// Returns the file of a client certificate. curl's form `FILE:PASSWORD` is an error, which does not
/// repeat the password.
pub(super) fn certificate(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match text.rsplit_once(':') {
        Some((file, _)) if !path.exists() && !file.is_empty() => Err(
            "no such file; for FILE:PASSWORD, decrypt the key into a file that only you can read: \
             openssl pkey -in FILE -out KEY.pem, then add --key KEY.pem"
                .to_owned(),
        ),
        _ => Ok(path),
    }
}

/// Reads the password for the mail server from the file, else from the environment.
pub(super) fn smtp_password(path: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = path else {
        return match std::env::var(SMTP_VARIABLE) {
            Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(format!("{SMTP_VARIABLE} is not UTF-8")),
        };
    };
    let shown = path.display();
    let text = read_text(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Some(password.to_owned())),
        _ => Err(format!(
            "{shown}: the first line is empty; expected a password"
        )),
    }
}

/// Reads the first line of a file. Messages do not repeat its name, which may be a password that
/// starts with an `@`.
fn password(path: &str) -> Result<String, String> {
    let hint = format!(
        "after :@ comes a file name; put a password that starts with @ into a file or \
         {USER_VARIABLE}"
    );
    let text = read_text(path)
        .map_err(|error| format!("cannot read the password file: {error}; {hint}"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err("password file: the first line is empty; expected a password".to_owned()),
    }
}

/// Parses the value of `FETCHALL_USER`. It is taken literally, so that a password may start with
/// an `@`.
pub(super) fn from_environment(value: Option<OsString>) -> Result<Option<Credentials>, String> {
    match value.map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) if text.is_empty() => Ok(None),
        Some(Ok(text)) => Ok(Some(plain_credentials(&text))),
        Some(Err(_)) => Err("not UTF-8".to_owned()),
    }
}

/// Returns a URL, or an address without a scheme, with its user and password masked.
pub(super) fn without_userinfo(url: &str, mask: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{mask}@{host}"),
        None => url.to_owned(),
    }
}

/// Returns a proxy without its user and password; `None` if it is invalid.
pub(super) fn proxy_without_userinfo(text: &str) -> Option<String> {
    value_parsers::proxy(text).ok()?;
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + "://".len()),
        None => ("", text),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    Some(format!("{scheme}{host}"))
}

/// Returns a URL with everything after its host masked.
pub(super) fn without_path(url: &str, mask: &str) -> String {
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
    fn a_header_file_has_one_header_per_line() {
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
    fn errors_of_a_header_file_do_not_repeat_its_content() {
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

    /// A run may write a jar of 8 MiB.
    #[test]
    fn a_cookie_file_of_many_mib_is_read_but_no_endless_one() {
        let comment = format!("# {}\n", "x".repeat(1 << 10));
        let cookie = "a.test\tFALSE\t/\tFALSE\t0\tk\tv\n";
        let (_file, path) = file((comment.repeat(12 << 10) + cookie).as_bytes());
        let jar = CookieJar::default();
        read_cookies(Path::new(&path), &jar, false).unwrap();
        let error = read_cookies(Path::new("/dev/zero"), &jar, false).unwrap_err();
        assert_eq!(error, "cannot read the cookie file: larger than 16 MiB");
    }

    #[test]
    fn a_password_comes_from_the_option_or_the_first_line_of_a_file() {
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
    fn errors_of_a_password_file_do_not_repeat_its_name() {
        let error = credentials("me:@s3cret").unwrap_err();
        assert!(error.contains(USER_VARIABLE), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        let device = credentials("me:@/dev/zero").unwrap_err();
        insta::assert_snapshot!("wrong_password_files", format!("{error}\n{device}"));
        let (_file, path) = file(b"\nsecond line");
        assert!(credentials(&format!("me:@{path}")).is_err());
    }

    #[test]
    fn the_environment_is_taken_literally() {
        let read = |text: &str| from_environment(Some(text.into())).unwrap();
        let user = read("me:@pass").unwrap();
        assert_eq!((&*user.user, &*user.password), ("me", "@pass"));
        assert!(read("").is_none() && from_environment(None).unwrap().is_none());
    }
}
