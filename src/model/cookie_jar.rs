//! The cookies of a run: shared by all its URLs, read from and written to files in the Netscape
//! format, as curl and wget do.

#[cfg(test)]
mod fuzz;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cookie_store::{Cookie, CookieDomain, CookieExpiration, CookieStore, RawCookie};
use http::{HeaderMap, header};
use url::{Host, Url};

use super::cookies::{
    MAX_COOKIE_BYTES, MAX_COOKIES, bytes_of, header_for, is_for_public_suffix, text_of,
};

/// Maximum bytes that servers add to the cookies of files. Beyond it, the sites that have gone unused
/// longest are forgotten.
const MAX_ADDED_BYTES: usize = 8 << 20;
/// The part of it that is left when sites have been forgotten, so that this is rare.
const KEPT_BYTES: usize = MAX_ADDED_BYTES / 8 * 7;
/// Maximum bytes of a rendered jar, as large as a file that is read may be. Without it, one that each
/// run reads and writes would grow with each.
const MAX_FILE_BYTES: usize = 16 << 20;
/// Estimated memory of a site beyond its cookies, and of a cookie beyond its text, in bytes.
const ENTRY_BYTES: usize = 512;
/// Latest expiry that can be written as a date, the end of the year 9999.
const MAX_EXPIRY_SECONDS: u64 = 253_402_300_799;
/// The first line of a cookie file. Programs recognize the format by it.
const TITLE: &str = "# Netscape HTTP Cookie File";
/// A byte order mark, which editors of Windows put in front.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// Marks a cookie that scripts do not see, before its domain.
const HTTP_ONLY: &str = "#HttpOnly_";

/// The cookies of a run. `Debug` does not show them.
#[derive(Default)]
pub struct CookieJar(Mutex<Sites>);

#[derive(Default)]
struct Sites {
    /// By registrable domain or address, so that a request looks at the cookies of its site only.
    by_name: HashMap<Box<str>, Site>,
    /// Counts what is sent and set, to know which site was used last.
    clock: u64,
    /// Bytes that servers have added to the cookies of files.
    added: usize,
}

#[derive(Default)]
struct Site {
    store: CookieStore,
    bytes: usize,
    bytes_of_files: usize,
    /// When it was used last; 0: never in this run.
    used_at: u64,
}

/// A cookie file is invalid. The message does not repeat its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CookieFileError {
    /// It is in another format.
    #[error(
        "not a cookie file in the Netscape format (cookies.txt), but JSON; export it as Netscape"
    )]
    Json,
    /// It has no cookie, valid or not.
    #[error("no cookie in it")]
    Empty,
    /// No line is a valid cookie: the first one, and what is wrong with it.
    #[error("line {0}: {1}")]
    Line(usize, CookieFlaw),
}

/// Why a line of a cookie file is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieFlaw {
    /// It does not have the fields of a cookie.
    #[error(
        "not a cookie in the Netscape format: expected domain, TRUE or FALSE, path, TRUE or FALSE, \
         expiry, name and value, separated by tabs"
    )]
    Fields,
    /// A flag is neither true nor false.
    #[error("expected TRUE or FALSE in its second and fourth field")]
    Flag,
    /// The expiry is not a number.
    #[error("expected a number of seconds as its expiry")]
    Expiry,
    /// A cookie without a name is not sent.
    #[error("its name is empty")]
    NoName,
    /// A character cannot be sent in a `Cookie` header, or would mean something else there.
    #[error("a semicolon or control character in it, or an equals sign in its name")]
    Character,
    /// The domain is not a host name or address.
    #[error("its domain is not valid")]
    Domain,
}

/// What was read from a cookie file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CookieFileSummary {
    /// The lines that are not valid cookies, from 1, and why.
    pub left_out: Vec<(usize, CookieFlaw)>,
    /// Whether all valid cookies have expired.
    pub is_expired: bool,
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar(…)")
    }
}

impl CookieJar {
    fn lock(&self) -> MutexGuard<'_, Sites> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the cookies of a file in the Netscape format. Expired ones are left out, and so are
    /// invalid lines, which are returned.
    ///
    /// # Errors
    /// JSON; a file without a cookie; or the first line, if all are invalid.
    pub fn read(&self, file: &[u8]) -> Result<CookieFileSummary, CookieFileError> {
        let text = text_of(file.strip_prefix(UTF8_MARK).unwrap_or(file)).replace("\r\n", "\n");
        if text.trim_start().starts_with(['{', '[']) {
            return Err(CookieFileError::Json);
        }
        let lines = (1..)
            .zip(text.split(['\n', '\r']))
            .filter(|(_, line)| is_cookie(line));
        let (mut cookies, mut left_out) = (Vec::new(), Vec::new());
        for (number, line) in lines {
            match FileCookie::parse(line) {
                Ok(cookie) => cookies.push(cookie),
                Err(flaw) => left_out.push((number, flaw)),
            }
        }
        if cookies.is_empty() {
            return Err(match left_out.first() {
                Some((number, flaw)) => CookieFileError::Line(*number, *flaw),
                None => CookieFileError::Empty,
            });
        }
        let is_expired = cookies.iter().all(|cookie| cookie.is_expired);
        let mut sites = self.lock();
        for FileCookie { line, url, .. } in cookies {
            if let Some(name) = site_name(&url) {
                let site = sites.by_name.entry(name.into()).or_default();
                site.set(&line, &url, None);
            }
        }
        for site in sites.by_name.values_mut() {
            site.shrink();
            site.bytes_of_files = site.bytes;
        }
        sites.added = 0;
        Ok(CookieFileSummary {
            left_out,
            is_expired,
        })
    }

    /// Takes the cookies that a response from `from` sets or expires.
    pub fn take(&self, from: &Url, headers: &HeaderMap) {
        if !headers.contains_key(header::SET_COOKIE) {
            return;
        }
        let Some(name) = site_name(from) else {
            return;
        };
        let mut sites = self.lock();
        let Sites {
            by_name,
            clock,
            added,
        } = &mut *sites;
        let site = by_name.entry(name.into()).or_default();
        *clock += 1;
        site.used_at = *clock;
        for line in headers.get_all(header::SET_COOKIE) {
            if line.len() <= MAX_COOKIE_BYTES {
                site.set(&text_of(line.as_bytes()), from, Some(MAX_COOKIES));
            }
        }
        let before = site.added();
        site.shrink();
        *added = (*added + site.added()).saturating_sub(before);
        sites.shrink();
    }

    /// Returns the cookies to send to `url`, as in a `Cookie` header.
    #[must_use]
    pub fn header_for(&self, url: &Url) -> Option<Box<[u8]>> {
        let mut sites = self.lock();
        let Sites { by_name, clock, .. } = &mut *sites;
        let site = by_name.get_mut(site_name(url)?)?;
        let header = header_for(&site.store, url)?;
        *clock += 1;
        site.used_at = *clock;
        Some(bytes_of(&header))
    }

    /// Renders the cookies in the Netscape format, at most 16 MiB: beyond that, the sites that have
    /// gone unused longest are left out. Cookies that last until the end of a session are included,
    /// with 0 as their expiry, as in curl's files.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let sites = self.lock();
        let mut by_use: Vec<_> = sites.by_name.values().collect();
        by_use.sort_unstable_by_key(|site| Reverse(site.used_at));
        let title = format!("{TITLE}\n# Written by fetchall; curl and wget can read it.\n\n");
        let mut room = MAX_FILE_BYTES - title.len();
        let mut lines = Vec::new();
        for site in by_use {
            let cookies = site.store.iter_unexpired().filter_map(line_of);
            let of_site: Vec<_> = cookies.map(|line| bytes_of(&line)).collect();
            let length = of_site.iter().map(|line| line.len()).sum();
            let Some(left) = room.checked_sub(length) else {
                break;
            };
            room = left;
            lines.extend(of_site);
        }
        lines.sort_unstable();
        [title.into_bytes(), lines.concat()].concat()
    }
}

impl Sites {
    /// If servers have added too much, forgets sites to which they have, the least recently used
    /// ones first.
    fn shrink(&mut self) {
        if self.added <= MAX_ADDED_BYTES {
            return;
        }
        let grown = self.by_name.iter().filter(|(_, site)| site.added() > 0);
        let mut by_use: Vec<_> = grown
            .map(|(name, site)| (site.used_at, name.clone()))
            .collect();
        by_use.sort_unstable();
        for (_, name) in by_use {
            if self.added <= KEPT_BYTES {
                return;
            }
            let added = self.by_name.remove(&name).map_or(0, |site| site.added());
            self.added = self.added.saturating_sub(added);
        }
    }
}

impl Site {
    fn added(&self) -> usize {
        self.bytes.saturating_sub(self.bytes_of_files)
    }

    /// Sets or expires a cookie, unless that would be more than `max`.
    fn set(&mut self, line: &str, from: &Url, max: Option<usize>) {
        let Ok(mut cookie) = RawCookie::parse(line) else {
            return;
        };
        let has_control = |text: &str| text.contains(|c: char| c.is_ascii_control());
        if has_control(cookie.name()) || has_control(cookie.value()) {
            // It could not be written to a file.
            return;
        }
        if is_for_public_suffix(&cookie) {
            if cookie.domain() != from.host_str() {
                return;
            }
            cookie.unset_domain();
        }
        let is_full = max.is_some_and(|max| self.store.iter_unexpired().count() >= max);
        let is_known = |known: &Cookie<'_>| known.name() == cookie.name();
        if !is_full || self.store.iter_unexpired().any(is_known) {
            // An error means that the cookie is not acceptable.
            let _ = self.store.insert_raw(&cookie, from);
        }
    }

    /// Drops expired cookies, and counts the bytes of the others.
    fn shrink(&mut self) {
        let expired: Vec<_> = self
            .store
            .iter_any()
            .filter(|cookie| cookie.is_expired())
            .map(|cookie| {
                let domain = String::from(&cookie.domain);
                (domain, String::from(&cookie.path), cookie.name().to_owned())
            })
            .collect();
        for (domain, path, name) in expired {
            self.store.remove(&domain, &path, &name);
        }
        let bytes = |cookie: &Cookie<'_>| {
            ENTRY_BYTES
                + cookie.name().len()
                + cookie.value().len()
                + String::from(&cookie.path).len()
        };
        self.bytes = ENTRY_BYTES + self.store.iter_any().map(bytes).sum::<usize>();
    }
}

/// Returns the name under which the cookies for a URL are kept: its registrable domain, or its host
/// if that is an address or a public suffix.
fn site_name(url: &Url) -> Option<&str> {
    match url.host()? {
        Host::Domain(_) => {
            let host = url.host_str()?;
            Some(psl::domain_str(host).unwrap_or(host))
        }
        Host::Ipv4(_) | Host::Ipv6(_) => url.host_str(),
    }
}

fn is_cookie(line: &str) -> bool {
    let is_comment = line.starts_with('#') && !line.starts_with(HTTP_ONLY);
    !is_comment && !line.trim().is_empty()
}

/// A line of a cookie file as the response that would set that cookie.
struct FileCookie {
    line: String,
    url: Url,
    is_expired: bool,
}

impl FileCookie {
    fn parse(line: &str) -> Result<Self, CookieFlaw> {
        let bare = line.strip_prefix(HTTP_ONLY);
        let mut fields = bare.unwrap_or(line).split('\t');
        let mut field = || fields.next().ok_or(CookieFlaw::Fields);
        let (domain, below, path, is_secure) = (field()?, field()?, field()?, field()?);
        let (expiry, name) = (field()?, field()?);
        // curl writes an empty value without its tab.
        let value = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return Err(CookieFlaw::Fields);
        }
        let (below, is_secure) = (flag(below)?, flag(is_secure)?);
        let expiry: f64 = expiry.parse().map_err(|_| CookieFlaw::Expiry)?;
        if name.trim().is_empty() {
            return Err(CookieFlaw::NoName);
        }
        let is_special = |c: char| c == ';' || c.is_ascii_control();
        if name.contains('=')
            || [domain, path, name, value]
                .iter()
                .any(|it| it.contains(is_special))
        {
            return Err(CookieFlaw::Character);
        }
        let url = Self::url(domain).ok_or(CookieFlaw::Domain)?;
        let domain = domain.trim_start_matches('.');
        let mut cookie = format!("{name}={value}; Path={path}");
        if below && url.domain().is_some() {
            cookie.push_str(&format!("; Domain={domain}"));
        }
        if is_secure {
            cookie.push_str("; Secure");
        }
        if bare.is_some() {
            cookie.push_str("; HttpOnly");
        }
        let mut is_expired = false;
        // 0 and, in some exports, -1: until the end of the session.
        if expiry > 0.0 {
            // Saturates; some exports have fractions.
            let seconds = (expiry as u64).min(MAX_EXPIRY_SECONDS);
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            cookie.push_str(&format!("; Expires={}", httpdate::fmt_http_date(at)));
            is_expired = at <= SystemTime::now();
        }
        Ok(Self {
            line: cookie,
            url,
            is_expired,
        })
    }

    /// Returns a URL of the host that a domain names.
    fn url(domain: &str) -> Option<Url> {
        // All dots: with one left, the cookie would not be written as it was read.
        let domain = domain.trim_start_matches('.');
        // In a URL, an `@` or `/` would make it another host.
        let host = match domain.parse() {
            Ok(addr) => Host::Ipv6(addr),
            Err(_) => Host::parse(domain).ok()?,
        };
        let url = Url::parse(&format!("https://{host}/")).ok()?;
        // Characters that do not count in names, such as soft hyphens, may be before a dot.
        let is_name = !url.host_str()?.starts_with('.');
        is_name.then_some(url)
    }
}

/// Reads a flag in any case, as curl does.
fn flag(text: &str) -> Result<bool, CookieFlaw> {
    let is_true = text.eq_ignore_ascii_case("TRUE");
    let is_flag = is_true || text.eq_ignore_ascii_case("FALSE");
    is_flag.then_some(is_true).ok_or(CookieFlaw::Flag)
}

/// Returns the line of a cookie in a file.
fn line_of(cookie: &Cookie<'_>) -> Option<String> {
    let (domain, below) = match &cookie.domain {
        CookieDomain::HostOnly(host) => (host.clone(), "FALSE"),
        CookieDomain::Suffix(domain) => (format!(".{domain}"), "TRUE"),
        CookieDomain::NotPresent | CookieDomain::Empty => return None,
    };
    let prefix = if cookie.http_only() == Some(true) {
        HTTP_ONLY
    } else {
        ""
    };
    let path = String::from(&cookie.path);
    let secure = if cookie.secure() == Some(true) {
        "TRUE"
    } else {
        "FALSE"
    };
    let expiry = match cookie.expires {
        CookieExpiration::AtUtc(at) => at.unix_timestamp().max(1),
        CookieExpiration::SessionEnd => 0,
    };
    let (name, value) = (cookie.name(), cookie.value());
    (!path.contains(|c: char| c.is_ascii_control())).then(|| {
        format!("{prefix}{domain}\t{below}\t{path}\t{secure}\t{expiry}\t{name}\t{value}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn setting(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn sent(jar: &CookieJar, to: &str) -> String {
        let header = jar.header_for(&url(to)).unwrap_or_default();
        String::from_utf8_lossy(&header).into_owned()
    }

    const FILE: &str = "# Netscape HTTP Cookie File\r\n\
        # a comment\n\n\
        .example.com\tTRUE\t/\tTRUE\t4102444800\tsession\ta b=c\n\
        #HttpOnly_www.example.com\tFALSE\t/x\tFALSE\t0\thost\t1\n\
        .example.com\tTRUE\t/\tFALSE\t1000000000\told\t1\n\
        example.com\tFALSE\t/\tFALSE\t-1\tempty\t\n\
        127.0.0.1\tFALSE\t/\tFALSE\t0\taddress\t4\n\
        .co.uk\tTRUE\t/\tFALSE\t0\tsuffix\t5\n";

    #[test]
    fn a_cookie_file_is_sent_where_each_line_says() {
        let jar = CookieJar::default();
        jar.read(FILE.as_bytes()).unwrap();
        for (to, cookies) in [
            ("https://example.com/", "empty=; session=a b=c"),
            ("http://example.com/", "empty="),
            ("https://www.example.com/x/y", "host=1; session=a b=c"),
            ("http://www.example.com/x", "host=1"),
            ("https://other.www.example.com/x", "session=a b=c"),
            ("https://badexample.com/", ""),
            ("http://127.0.0.1:81/", "address=4"),
            ("http://127.0.0.2/", ""),
            ("http://a.co.uk/", ""),
        ] {
            assert_eq!(sent(&jar, to), cookies, "{to}");
        }
    }

    #[test]
    fn a_file_that_was_written_reads_back_the_same() {
        let jar = CookieJar::default();
        jar.read(FILE.as_bytes()).unwrap();
        let lines = [
            "new=caf\u{e9}; Max-Age=1000; Domain=example.com; HttpOnly; Path=/p",
            "here=1",
        ];
        jar.take(&url("https://a.example.com/q/r"), &setting(&lines));
        let written = jar.render();
        let again = CookieJar::default();
        again.read(&written).unwrap();
        assert_eq!(again.render(), written);
        let text = text_of(&written);
        assert!(text.starts_with("# Netscape HTTP Cookie File\n"), "{text}");
        assert!(text.contains("#HttpOnly_www.example.com\tFALSE\t/x\tFALSE\t0\thost\t1\n"));
        assert!(text.contains(".example.com\tTRUE\t/\tTRUE\t4102444800\tsession\ta b=c\n"));
        assert!(
            text.contains("\na.example.com\tFALSE\t/q\tFALSE\t0\there\t1\n"),
            "{text}"
        );
        assert!(!text.contains("old"), "{text}");
    }

    #[test]
    fn servers_replace_and_expire_cookies_of_their_own_site_only() {
        let jar = CookieJar::default();
        jar.read(FILE.as_bytes()).unwrap();
        let from = "https://www.example.com/x";
        let lines = [
            "session=2; Domain=example.com; Path=/; Secure",
            "host=; Path=/x; Max-Age=0",
            "foreign=1; Domain=other.com",
            "tab=a\tb",
        ];
        jar.take(&url(from), &setting(&lines));
        assert_eq!(sent(&jar, from), "session=2");
        assert_eq!(sent(&jar, "https://other.com/"), "");
        assert!(!String::from_utf8_lossy(&jar.render()).contains("host\t"));
    }

    #[test]
    fn a_file_in_another_format_is_an_error_that_repeats_nothing() {
        let good = "a.test\tFALSE\t/\tFALSE\t0\tk\tv\n";
        for (file, error) in [
            ("[{\"name\": \"s3cret\"}]", CookieFileError::Json),
            ("", CookieFileError::Empty),
            ("# Netscape HTTP Cookie File\n\n", CookieFileError::Empty),
            ("s3cret", CookieFileError::Line(1, CookieFlaw::Fields)),
            (
                "Set-Cookie: k=s3cret",
                CookieFileError::Line(1, CookieFlaw::Fields),
            ),
            (
                "a.test\tFALSE\t/\tFALSE\t0\t\ts3cret",
                CookieFileError::Line(1, CookieFlaw::NoName),
            ),
            (
                "a.test\tFALSE\t/\tFALSE\t0\tk\ts3\u{1}cret",
                CookieFileError::Line(1, CookieFlaw::Character),
            ),
            (
                "a.test\tyes\t/\tFALSE\t0\tk\ts3cret",
                CookieFileError::Line(1, CookieFlaw::Flag),
            ),
            (
                "s3cret@a.test\tTRUE\t/\tFALSE\t0\tk\tv",
                CookieFileError::Line(1, CookieFlaw::Domain),
            ),
            (
                "a.test\tTRUE\t/\tFALSE\tsoon\tk\ts3cret",
                CookieFileError::Line(1, CookieFlaw::Expiry),
            ),
        ] {
            let jar = CookieJar::default();
            let found = jar.read(file.as_bytes()).unwrap_err();
            assert_eq!(found, error, "{file}");
            assert!(!found.to_string().contains("s3cret"));
        }
        let jar = CookieJar::default();
        let file = format!("{good}\nbad line\n");
        let expected = CookieFileSummary {
            left_out: vec![(3, CookieFlaw::Fields)],
            is_expired: false,
        };
        assert_eq!(jar.read(file.as_bytes()), Ok(expected));
        assert_eq!(sent(&jar, "http://a.test/"), "k=v");
        let jar = CookieJar::default();
        let found = jar.read(good.replace("\t0\t", "\t1000\t").as_bytes());
        assert!(found.unwrap().is_expired);
        let found = jar.read(good.replace("FALSE", "false").as_bytes());
        assert_eq!(found, Ok(CookieFileSummary::default()));
        assert_eq!(sent(&jar, "http://a.test/"), "k=v");
    }

    #[test]
    fn cookies_of_many_servers_take_bounded_memory() {
        let jar = CookieJar::default();
        let lines: Vec<_> = (0..60)
            .map(|n| format!("c{n}={}", "x".repeat(4000)))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let headers = setting(&lines);
        jar.read(FILE.as_bytes()).unwrap();
        for n in 0..60 {
            jar.take(&url(&format!("http://{n}.test/")), &headers);
            assert!(
                !sent(&jar, "http://0.test/").is_empty(),
                "in use all the time"
            );
        }
        let sites = jar.lock();
        let added: usize = sites.by_name.values().map(Site::added).sum();
        assert!(added <= MAX_ADDED_BYTES && sites.added == added, "{added}");
        assert!(sites.by_name.contains_key("example.com"), "from a file");
        assert!(!sites.by_name.contains_key("1.test") && sites.by_name.contains_key("59.test"));
        let most = sites
            .by_name
            .values()
            .map(|site| site.store.iter_any().count())
            .max();
        assert_eq!(most, Some(MAX_COOKIES));
    }

    /// One that runs read and write has what the last runs have used.
    #[test]
    fn a_jar_that_is_read_and_written_again_and_again_stays_bounded() {
        let value = "x".repeat(4000);
        let lines: Vec<_> = (0..50).map(|n| format!("c{n}={value}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let headers = setting(&lines);
        let mut file = FILE.as_bytes().to_vec();
        for run in 0..4 {
            let jar = CookieJar::default();
            jar.read(&file).unwrap();
            for n in 0..35 {
                jar.take(&url(&format!("http://{run}-{n}.test/")), &headers);
            }
            assert!(!sent(&jar, "https://example.com/").is_empty());
            file = jar.render();
        }
        assert!(file.len() <= MAX_FILE_BYTES, "{}", file.len());
        assert!(file.len() > MAX_FILE_BYTES / 8 * 7, "{}", file.len());
        let text = text_of(&file);
        assert!(text.contains("\n3-34.test\t") && text.contains("\n.example.com\t"));
    }

    /// A site that a file names has as little room as any other.
    #[test]
    fn what_servers_add_to_the_cookies_of_a_file_is_bounded() {
        let jar = CookieJar::default();
        let line = |n: usize| format!("{n}.test\tFALSE\t/\tFALSE\t0\ta\tb\n");
        let file: String = (0..80).map(line).collect();
        jar.read(file.as_bytes()).unwrap();
        let value = "x".repeat(4000);
        let lines: Vec<_> = (0..50).map(|n| format!("c{n}={value}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        for n in 0..60 {
            jar.take(&url(&format!("http://{n}.test/")), &setting(&lines));
        }
        let sites = jar.lock();
        let added: usize = sites.by_name.values().map(Site::added).sum();
        assert!(added <= MAX_ADDED_BYTES && sites.added == added, "{added}");
        assert!(
            sites.by_name.contains_key("79.test"),
            "nothing was added to it"
        );
    }

    #[test]
    fn cookies_that_come_and_go_take_no_memory() {
        let jar = CookieJar::default();
        let from = url("http://a.test/");
        for n in 0..200 {
            let (set, unset) = (format!("c{n}=1"), format!("c{n}=; Max-Age=0"));
            jar.take(&from, &setting(&[&set]));
            jar.take(&from, &setting(&[&unset]));
        }
        assert_eq!(jar.lock().added, ENTRY_BYTES);
        jar.take(&from, &setting(&["last=1"]));
        assert_eq!(sent(&jar, "http://a.test/"), "last=1");
    }

    #[test]
    fn debug_shows_no_cookie() {
        let jar = CookieJar::default();
        jar.read(FILE.as_bytes()).unwrap();
        assert_eq!(format!("{jar:?}"), "CookieJar(…)");
    }

    proptest! {
        #[test]
        fn whatever_is_set_reads_back(
            name in "[a-zA-Z0-9_#-]{1,8}",
            value in "[!#-+\\--:<-~]{0,12}",
            path in "/[a-z#]{0,6}",
            secure in any::<bool>(),
        ) {
            let jar = CookieJar::default();
            let secure = if secure { "; Secure" } else { "" };
            let line = format!("{name}={value}; Path={path}{secure}");
            jar.take(&url("https://a.example.com/"), &setting(&[&line]));
            let written = jar.render();
            let again = CookieJar::default();
            prop_assert_eq!(again.read(&written), Ok(CookieFileSummary::default()));
            prop_assert_eq!(again.render(), written);
        }

        #[test]
        fn no_file_makes_it_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CookieJar::default().read(&file);
        }
    }
}
