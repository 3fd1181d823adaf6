//! Credentials by host, from a file in the format of `.netrc`, read as curl reads it.

use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use url::Url;

use crate::model::Credentials;

/// The entries of a `.netrc` file. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Netrc {
    entries: Vec<NetrcEntry>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct NetrcEntry {
    /// The host; `None` for `default`, which is any.
    host: Option<String>,
    login: String,
    password: String,
}

/// A `.netrc` file is invalid. The message does not repeat its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetrcError {
    /// A quote does not close.
    #[error("a quote does not close")]
    Quote,
    /// A keyword is the last word.
    #[error("ends after {0}; expected a value")]
    NoValue(&'static str),
    /// It has no entry.
    #[error("contains no entry; expected machine HOST login USER password PASSWORD")]
    Empty,
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netrc({} entries)", self.entries.len())
    }
}

impl Netrc {
    /// Returns the credentials for the host of a URL: those of the first entry that names the host,
    /// or of `default` if that comes first. With `login`, only entries with this login count.
    #[must_use]
    pub fn find(&self, url: &Url, login: Option<&str>) -> Option<Credentials> {
        let host = url.host_str()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let fits = |entry: &&NetrcEntry| {
            let is_host = |named: &String| named.eq_ignore_ascii_case(host);
            entry.host.as_ref().is_none_or(is_host)
                && login.is_none_or(|login| entry.login == login)
        };
        let entry = self.entries.iter().find(fits)?;
        let is_empty = entry.login.is_empty() && entry.password.is_empty();
        (!is_empty).then(|| Credentials {
            user: entry.login.clone(),
            password: entry.password.clone(),
        })
    }
}

impl FromStr for Netrc {
    type Err = NetrcError;

    fn from_str(text: &str) -> Result<Self, NetrcError> {
        let mut words = Words(text.chars().peekable());
        let mut entries: Vec<NetrcEntry> = Vec::new();
        while let Some(word) = words.keyword()? {
            let mut value = |keyword| words.next()?.ok_or(NetrcError::NoValue(keyword));
            match word.as_str() {
                "machine" => entries.push(NetrcEntry {
                    host: Some(value("machine")?),
                    ..NetrcEntry::default()
                }),
                "default" => entries.push(NetrcEntry::default()),
                "login" => {
                    let login = value("login")?;
                    if let Some(entry) = entries.last_mut() {
                        entry.login = login;
                    }
                }
                "password" => {
                    let password = value("password")?;
                    if let Some(entry) = entries.last_mut() {
                        entry.password = password;
                    }
                }
                "account" => drop(value("account")?),
                "macdef" => words.skip_macro(),
                // Other programs have words of their own, such as `port`.
                _ => {}
            }
        }
        match entries.is_empty() {
            true => Err(NetrcError::Empty),
            false => Ok(Self { entries }),
        }
    }
}

/// The words of a file: separated by white space, or between double quotes with `\` as the escape
/// character.
struct Words<'t>(Peekable<Chars<'t>>);

impl Words<'_> {
    /// Returns the next word where a keyword may be, and comments are skipped.
    fn keyword(&mut self) -> Result<Option<String>, NetrcError> {
        self.skip_blanks();
        while self.0.next_if_eq(&'#').is_some() {
            while self.0.next_if(|c| *c != '\n').is_some() {}
            self.skip_blanks();
        }
        self.next()
    }

    fn next(&mut self) -> Result<Option<String>, NetrcError> {
        self.skip_blanks();
        if self.0.next_if_eq(&'"').is_some() {
            return self.quoted().map(Some);
        }
        let mut word = String::new();
        while let Some(c) = self.0.next_if(|c| !c.is_ascii_whitespace()) {
            word.push(c);
        }
        Ok((!word.is_empty()).then_some(word))
    }

    fn quoted(&mut self) -> Result<String, NetrcError> {
        let mut word = String::new();
        loop {
            match self.0.next().ok_or(NetrcError::Quote)? {
                '"' => return Ok(word),
                '\\' => word.push(match self.0.next().ok_or(NetrcError::Quote)? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c => c,
                }),
                c => word.push(c),
            }
        }
    }

    fn skip_blanks(&mut self) {
        while self.0.next_if(char::is_ascii_whitespace).is_some() {}
    }

    /// Skips a macro: up to the first empty line.
    fn skip_macro(&mut self) {
        let mut line_is_empty = false;
        for c in self.0.by_ref() {
            match c {
                '\n' if line_is_empty => return,
                '\n' => line_is_empty = true,
                '\r' => {}
                _ => line_is_empty = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(file: &str, host: &str, login: Option<&str>) -> Option<(String, String)> {
        let url = Url::parse(&format!("https://{host}/")).unwrap();
        let found = file.parse::<Netrc>().unwrap().find(&url, login)?;
        Some((found.user, found.password))
    }

    const FILE: &str = "# mine\n\
        machine data.test login me password pa#ss account x\r\n\
        machine quoted.test\n\tlogin \"a b\"\n\tpassword \"q\\\"\\\\ \\t\" # not a word\n\
        macdef init\ncd /machine evil.test login x\nmachine data.test password no\n\n\
        machine two.test login one password 1\n\
        machine two.test login two password 2\n\
        machine ::1 login six port 80 password 6\n\
        machine open.test\n\
        default login any password thing\n\
        machine late.test login never password seen\n";

    #[test]
    fn the_first_entry_for_the_host_counts() {
        for (host, login, user, password) in [
            ("data.test", None, "me", "pa#ss"),
            ("DATA.test:8443", None, "me", "pa#ss"),
            ("quoted.test", None, "a b", "q\"\\ \t"),
            ("two.test", None, "one", "1"),
            ("two.test", Some("two"), "two", "2"),
            ("[::1]:80", None, "six", "6"),
            ("evil.test", None, "any", "thing"),
            ("late.test", None, "any", "thing"),
            ("sub.data.test", None, "any", "thing"),
        ] {
            let expected = Some((user.to_owned(), password.to_owned()));
            assert_eq!(found(FILE, host, login), expected, "{host} {login:?}");
        }
        assert_eq!(found(FILE, "open.test", None), None);
        assert_eq!(found(FILE, "data.test", Some("other")), None);
        assert_eq!(found("machine a.test login b", "b.test", None), None);
    }

    #[test]
    fn errors_do_not_repeat_the_file() {
        for (file, error) in [
            ("", NetrcError::Empty),
            ("s3cret\n", NetrcError::Empty),
            ("machine a password \"s3cret", NetrcError::Quote),
            (
                "machine a login s3cret password",
                NetrcError::NoValue("password"),
            ),
        ] {
            let found = file.parse::<Netrc>().unwrap_err();
            assert_eq!(found, error);
            assert!(!found.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", FILE.parse::<Netrc>().unwrap());
        assert!(!shown.contains("thing"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(file in "\\PC{0,100}|[machinedeflt\" \n\\\\#]{0,60}") {
            let _ = file.parse::<Netrc>();
        }

        #[test]
        fn a_quoted_password_reads_back(password in "[ -~]{1,20}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            let file = format!("machine a.test login me password \"{quoted}\"\n");
            prop_assert_eq!(found(&file, "a.test", None), Some(("me".to_owned(), password)));
        }
    }
}
