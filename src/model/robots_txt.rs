//! The rules of a robots.txt for one crawler (RFC 9309): parsing and matching, without I/O.
//!
//! Only what concerns the own product token is kept, as lines in one buffer, because a run may
//! know the rules of hundreds of thousands of origins.

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

use memchr::memmem;
use url::{Position, Url};

/// Bytes of a robots.txt that count; the rest is ignored (RFC 9309 §2.5 asks for at least as many).
pub(crate) const MAX_ROBOTS_BYTES: usize = 500 * 1024;
/// Bytes of a line that count, as in Google's parser.
const MAX_LINE_BYTES: usize = 16_663;
/// How robots.txt is named at an origin.
pub(crate) const ROBOTS_PATH: &str = "/robots.txt";
/// Names of `Disallow` that are common by mistake; a site that misspells it means it.
const DISALLOW_NAMES: [&str; 6] = [
    "disallow",
    "dissallow",
    "dissalow",
    "disalow",
    "diasllow",
    "disallaw",
];

/// The rules of one origin for one crawler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RobotsRules {
    /// Patterns, one a line, each after `+` (allow) or `-` (disallow); the one that wins comes first.
    access: Box<[u8]>,
    /// A pattern, a blank and a value of `Content-Usage` a line, the longest pattern first.
    usage: Box<[u8]>,
    /// The longest `Crawl-delay`.
    pub crawl_delay: Option<Duration>,
}

impl RobotsRules {
    /// Reads the rules for a product token from a robots.txt. Whatever is not understood is
    /// ignored.
    #[must_use]
    pub(crate) fn parse(text: &[u8], agent: &str) -> Self {
        let mut groups = RuleGroups::new(agent);
        let text = text.get(..MAX_ROBOTS_BYTES).unwrap_or(text);
        // CRLF leaves an empty line, which means nothing.
        for line in without_bom(text).split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = line.get(..MAX_LINE_BYTES).unwrap_or(line);
            if let Some((name, value)) = directive(line) {
                groups.add(name, value);
            }
        }
        groups.into_rules()
    }

    /// Whether there are no rules, so that everything is allowed.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the memory of the rules, in bytes.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.access.len() + self.usage.len()
    }

    /// Returns the pattern that disallows a URL of the origin; `None` if it is allowed. The time is
    /// linear in the length of the rules times that of the URL, whatever the patterns are.
    #[must_use]
    pub(crate) fn disallowing(&self, url: &Url) -> Option<&str> {
        if self.access.is_empty() || is_robots_txt(url) {
            return None;
        }
        let target = target(url);
        let mut rules = lines(&self.access).filter_map(|line| line.split_first());
        let (kind, pattern) = rules.find(|(_, pattern)| is_match(pattern, &target))?;
        (*kind == b'-').then(|| std::str::from_utf8(pattern).unwrap_or_default())
    }

    /// Returns what the longest matching `Content-Usage` rule says about a URL of the origin.
    #[must_use]
    pub(crate) fn content_usage(&self, url: &Url) -> Option<&str> {
        if self.usage.is_empty() {
            return None;
        }
        let target = target(url);
        let mut rules = lines(&self.usage).filter_map(|line| split_at_blank(line));
        let (_, value) = rules.find(|(pattern, _)| is_match(pattern, &target))?;
        std::str::from_utf8(value).ok()
    }
}

/// Whether a URL is that of the rules themselves, which may always be fetched (RFC 9309 §2.2.2).
#[must_use]
pub(crate) fn is_robots_txt(url: &Url) -> bool {
    url.path() == ROBOTS_PATH && url.query().is_none()
}

/// Whether a name is a product token: letters, digits, `_` and `-`.
#[must_use]
pub(crate) fn is_product_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn lines(buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
    buffer.split(|byte| *byte == b'\n')
}

fn split_at_blank(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    Some((line.get(..blank)?, line.get(blank + 1..)?))
}

/// Removes a UTF-8 byte order mark, or the beginning of one.
fn without_bom(text: &[u8]) -> &[u8] {
    let is_bom = |(byte, expected): &(&u8, &u8)| byte == expected;
    let length = text.iter().zip(b"\xEF\xBB\xBF").take_while(is_bom).count();
    text.get(length..).unwrap_or_default()
}

/// Splits a line into name and value, without the comment. Without a colon, a blank between two
/// words is taken for one.
fn directive(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
    let (name, value) = match memchr::memchr(b':', line) {
        Some(colon) => (line.get(..colon)?, line.get(colon + 1..)?),
        None => {
            let blank = line.iter().position(u8::is_ascii_whitespace)?;
            let (name, value) = line.split_at(blank);
            let value = value.trim_ascii();
            if value.iter().any(u8::is_ascii_whitespace) {
                return None;
            }
            (name, value)
        }
    };
    let (name, value) = (name.trim_ascii(), value.trim_ascii());
    (!name.is_empty()).then_some((name, value))
}

/// The groups of a file that may concern a crawler, while the file is read.
struct RuleGroups<'a> {
    agent: &'a str,
    /// The rules of all groups that name the crawler; `None` if none does.
    own: Option<RuleGroup>,
    /// The rules of all groups for `*`.
    others: RuleGroup,
    /// Whether the current group names the crawler, and whether it is for `*`.
    current: (bool, bool),
    /// Whether the last rule or name was a name, which further ones join.
    is_in_names: bool,
    /// The `Crawl-delay` of the current group, for names that join it later.
    delay: Option<Duration>,
}

/// The rules of groups that belong together.
#[derive(Default)]
struct RuleGroup {
    access: Vec<(Vec<u8>, bool)>,
    usage: Vec<(Vec<u8>, Vec<u8>)>,
    crawl_delay: Option<Duration>,
}

impl<'a> RuleGroups<'a> {
    fn new(agent: &'a str) -> Self {
        Self {
            agent,
            own: None,
            others: RuleGroup::default(),
            current: (false, false),
            is_in_names: false,
            delay: None,
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("user-agent") || is("useragent") || is("user agent") {
            self.add_name(value);
        } else if is("allow") {
            self.add_access(value, true);
        } else if DISALLOW_NAMES.into_iter().any(is) {
            self.add_access(value, false);
        } else if is("content-usage") {
            self.add_usage(value);
        } else if is("crawl-delay") || is("crawldelay") {
            self.add_delay(value);
        }
        // Other records, such as `Sitemap`, neither belong to a group nor end one (§2.2.4).
    }

    fn add_name(&mut self, value: &[u8]) {
        if !std::mem::replace(&mut self.is_in_names, true) {
            self.current = (false, false);
            self.delay = None;
        }
        let end = value.iter().position(|byte| !is_token_byte(*byte));
        let token = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        if token.eq_ignore_ascii_case(self.agent.as_bytes()) {
            self.current.0 = true;
            // A group without rules counts, too: the crawler then has no others.
            self.own.get_or_insert_default();
        }
        let is_star = value.strip_prefix(b"*");
        self.current.1 |=
            is_star.is_some_and(|rest| rest.first().is_none_or(|byte| byte.is_ascii_whitespace()));
        self.apply_delay();
    }

    /// Adds to the groups that the current one belongs to.
    fn each(&mut self, change: impl Fn(&mut RuleGroup)) {
        if let (true, Some(own)) = (self.current.0, &mut self.own) {
            change(own);
        }
        if self.current.1 {
            change(&mut self.others);
        }
    }

    fn add_access(&mut self, value: &[u8], is_allowed: bool) {
        self.is_in_names = false;
        let Some(pattern) = pattern(value) else {
            return;
        };
        let directory = directory_of_index(&pattern).filter(|_| is_allowed);
        self.each(|group| {
            group.access.push((pattern.clone(), is_allowed));
            group.access.extend(directory.clone().map(|it| (it, true)));
        });
    }

    fn add_usage(&mut self, value: &[u8]) {
        self.is_in_names = false;
        let (path, usage) = match value.first() {
            Some(b'/') => split_at_blank(value).unwrap_or((value, b"")),
            _ => (&b"/"[..], value),
        };
        let usage = usage.trim_ascii();
        if usage.is_empty() || std::str::from_utf8(usage).is_err() {
            return;
        }
        if let Some(pattern) = pattern(path) {
            self.each(|group| group.usage.push((pattern.clone(), usage.to_vec())));
        }
    }

    /// `Crawl-delay` is not in the RFC, so that it does not end the names of a group.
    fn add_delay(&mut self, value: &[u8]) {
        let seconds = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let delay = seconds
            .filter(|seconds: &f64| *seconds >= 0.0 && seconds.is_finite())
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        self.delay = self.delay.max(delay);
        self.apply_delay();
    }

    fn apply_delay(&mut self) {
        let delay = self.delay;
        self.each(|group| group.crawl_delay = group.crawl_delay.max(delay));
    }

    fn into_rules(self) -> RobotsRules {
        let RuleGroup {
            mut access,
            mut usage,
            crawl_delay,
        } = self.own.unwrap_or(self.others);
        // The longest pattern wins, and of equally long ones that which allows (§2.2.2).
        access.sort_by_key(|(pattern, is_allowed)| (Reverse(pattern.len()), !is_allowed));
        access.dedup();
        let access = access.into_iter().map(|(pattern, is_allowed)| {
            let kind = if is_allowed { b"+" } else { b"-" };
            [kind.as_slice(), &pattern].concat()
        });
        usage.sort_by_key(|(pattern, _)| Reverse(pattern.len()));
        let usage = usage
            .into_iter()
            .map(|(pattern, value)| [pattern, value].join(&b' '));
        RobotsRules {
            access: access.collect::<Vec<_>>().join(&b'\n').into(),
            usage: usage.collect::<Vec<_>>().join(&b'\n').into(),
            crawl_delay: crawl_delay.filter(|delay| !delay.is_zero()),
        }
    }
}

/// Returns the pattern of a rule in the form that is compared. A value that is no path matches
/// nothing.
fn pattern(value: &[u8]) -> Option<Vec<u8>> {
    let (body, end) = match value.strip_suffix(b"$") {
        Some(body) => (body, &b"$"[..]),
        None => (value, &b""[..]),
    };
    matches!(value.first(), Some(b'/' | b'*')).then(|| {
        let parts = body.split(|byte| *byte == b'*').map(normalized);
        let mut pattern = parts.collect::<Vec<_>>().join(&b'*');
        pattern.extend_from_slice(end);
        pattern
    })
}

/// Returns the pattern of a directory whose `index.html` a pattern names. Google's parser allows
/// one with the other.
fn directory_of_index(pattern: &[u8]) -> Option<Vec<u8>> {
    let directory = pattern.strip_suffix(b"index.html")?;
    directory
        .ends_with(b"/")
        .then(|| [directory, b"$"].concat())
}

/// Returns path and query of a URL in the form that is compared.
fn target(url: &Url) -> Vec<u8> {
    normalized(url[Position::BeforePath..Position::AfterQuery].as_bytes())
}

/// Percent-encodes what is not in RFC 3986's character set, and the characters with a meaning in
/// patterns; decodes what need not be encoded (§2.2.2).
fn normalized(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let escaped = (*byte == b'%').then(|| hex_pair(after)).flatten();
        match escaped {
            Some(decoded) => {
                rest = after.get(2..).unwrap_or_default();
                push_octet(&mut result, decoded, is_unreserved(decoded));
            }
            None => push_octet(&mut result, *byte, is_plain(*byte)),
        }
    }
    result
}

fn push_octet(text: &mut Vec<u8>, octet: u8, is_literal: bool) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    if is_literal {
        return text.push(octet);
    }
    text.push(b'%');
    let digits = [octet >> 4, octet & 15].map(|digit| HEX.get(usize::from(digit)).copied());
    text.extend(digits.into_iter().flatten());
}

/// Returns the octet that two hexadecimal digits stand for.
fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether a byte stands for itself. An asterisk or a dollar sign in a URL is no pattern, so that
/// it is compared in its encoded form.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b":/?#[]@!&'()+,;=".contains(&byte)
}

/// Whether a pattern matches the beginning of a target, or all of it with a `$` at the end. Each part
/// between asterisks is looked for once, after the one before it, and none is looked for again.
fn is_match(pattern: &[u8], target: &[u8]) -> bool {
    let (pattern, is_anchored) = match pattern.strip_suffix(b"$") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split(|byte| *byte == b'*').peekable();
    let Some(mut rest) = parts.next().and_then(|first| target.strip_prefix(first)) else {
        return false;
    };
    if parts.peek().is_none() {
        return !is_anchored || rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if is_anchored && parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = memmem::find(rest, part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}
