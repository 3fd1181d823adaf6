//! The key of a URL in an index: its host in reverse and its path, freed from what does not tell
//! pages apart. As Python's `surt` makes it, which pywb and the Wayback Machine look up.

/// Returns the key of an absolute URL: `com,example)/path?a=1`.
pub(super) fn surt(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut key = host_key(authority);
    key.push(')');
    key.push_str(&path_key(path));
    let query = query_key(query);
    if !query.is_empty() {
        key.push('?');
        key.push_str(&query);
    }
    key
}

/// Returns `com,example:8080` for `www.example.com:8080`. Default ports are gone already.
fn host_key(authority: &str) -> String {
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let authority = authority.get(host_at..).unwrap_or_default();
    if let Some((address, port)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return format!("{address}{port}");
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let host = host.to_ascii_lowercase().replace("..", ".");
    let host = without_www(host.trim_matches('.'));
    let parts: Vec<_> = host.rsplit('.').collect();
    parts.join(",") + port
}

fn without_www(host: &str) -> &str {
    let rest = host.strip_prefix("www");
    let rest = rest.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    rest.and_then(|rest| rest.strip_prefix('.')).unwrap_or(host)
}

fn path_key(path: &str) -> String {
    let path = normalized(&unescaped(path.as_bytes()));
    let path = without_path_session(escaped(&path).to_ascii_lowercase());
    match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter.to_owned(),
        _ => path,
    }
}

/// Resolves dots, and omits empty segments.
fn normalized(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        match segment {
            b"." => {}
            b".." if !kept.is_empty() => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let last = kept.pop().unwrap_or_default();
    let mut path = vec![b'/'];
    for segment in kept.into_iter().filter(|segment| !segment.is_empty()) {
        path.extend_from_slice(segment);
        path.push(b'/');
    }
    path.extend_from_slice(last);
    path
}

fn query_key(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let query = without_query_session(escaped(&unescaped(query.as_bytes()))).to_ascii_lowercase();
    if query.len() <= 1 {
        return query;
    }
    let mut arguments: Vec<_> = query.split('&').collect();
    arguments.sort_by_key(|argument| match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (*argument, None),
    });
    arguments.join("&")
}

/// Decodes percent-encoded bytes until there are none.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    loop {
        let decoded: Vec<u8> = percent_encoding::percent_decode(&text).collect();
        if decoded == text {
            return text;
        }
        text = decoded;
    }
}

/// Percent-encodes what is not printable ASCII, and `%` and `#`.
fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | b'#' | ..=b' ' | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            byte => out.push(char::from(*byte)),
        }
    }
    out
}

/// Removes the session id that ASP.NET puts into paths: `/(a(24 characters))/page.aspx`.
fn without_path_session(path: String) -> String {
    for is_session in [is_lettered_session, is_session_id] {
        for (at, _) in path.rmatch_indices('/') {
            let (before, rest) = path.split_at(at + 1);
            if let Some((segment, page)) = rest.split_once('/')
                && is_session(segment)
                && page.rfind(".aspx").is_some_and(|at| at > 0)
            {
                return without_path_session(format!("{before}{page}"));
            }
        }
    }
    path
}

fn is_session_id(segment: &str) -> bool {
    let id = segment
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    id.is_some_and(|id| id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_lettered_session(segment: &str) -> bool {
    let ids = segment
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let is_one = |one: &[u8]| {
        let (letter, id) = one.split_at(1.min(one.len()));
        let id = std::str::from_utf8(id).unwrap_or_default();
        one.len() == 27 && letter.iter().all(u8::is_ascii_alphabetic) && is_session_id(id)
    };
    ids.is_some_and(|ids| !ids.is_empty() && ids.as_bytes().chunks(27).all(is_one))
}

/// Returns how long the value of a session id is that a text begins with.
type SessionLength = fn(&str) -> Option<usize>;

/// Removes the session ids of Java, PHP, ASP and ColdFusion.
fn without_query_session(mut query: String) -> String {
    let number: SessionLength = |text| value_length(text, 32, u8::is_ascii_alphanumeric);
    let lengths: [(&str, SessionLength); 5] = [
        ("jsessionid=", number),
        ("phpsessid=", number),
        ("sid=", number),
        ("aspsessionid", |text| {
            let name = value_length(text, 8, u8::is_ascii_alphabetic)?;
            let value = text.get(name..)?.strip_prefix('=')?;
            Some(name + 1 + value_length(value, 24, u8::is_ascii_alphabetic)?)
        }),
        ("cfid=", |text| {
            let (id, rest) = text.split_once('&')?;
            let token = rest.to_ascii_lowercase();
            let token = token.strip_prefix("cftoken=")?;
            let token = token.split('&').next().filter(|token| !token.is_empty())?;
            (!id.is_empty()).then_some(id.len() + 1 + "cftoken=".len() + token.len())
        }),
    ];
    for (name, length) in lengths {
        let lower = query.to_ascii_lowercase();
        let found = lower.rmatch_indices(name).find_map(|(at, _)| {
            let rest = query.get(at + name.len()..)?;
            let rest = rest.get(length(rest)?..)?;
            match rest.strip_prefix('&') {
                Some(rest) => Some((at, rest.to_owned())),
                None => rest.is_empty().then(|| (at, String::new())),
            }
        });
        if let Some((at, rest)) = found {
            query.truncate(at);
            query.push_str(&rest);
        }
    }
    query
}

/// Returns `length` if the text begins with that many bytes of a kind.
fn value_length(text: &str, length: usize, is_kind: fn(&u8) -> bool) -> Option<usize> {
    text.get(..length)?
        .bytes()
        .all(|byte| is_kind(&byte))
        .then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `surt` 0.3.1 makes them.
    #[test]
    fn keys_are_those_of_python() {
        for (url, key) in [
            (
                "http://www2.example.com:8080/A/b/?b=2&a=1&c",
                "com,example:8080)/a/b?a=1&b=2&c",
            ),
            ("http://127.0.0.1:8081/", "1,0,0,127:8081)/"),
            ("http://[::1]/x", "::1)/x"),
            ("http://[::1]:8080/x", "::1:8080)/x"),
            (
                "http://example.com/a%20b/%c3%a9/..//c?x=%2541&Y",
                "com,example)/a%20b/c?x=a&y",
            ),
            ("https://example.com/?", "com,example)/"),
            ("http://example.com/x/?", "com,example)/x"),
            (
                "http://example.com/(a(4hqa0555fwsecu455xqckv45))/mileg.aspx?page=x",
                "com,example)/mileg.aspx?page=x",
            ),
            (
                "http://example.com/(4hqa0555fwsecu455xqckv45)/mileg.aspx",
                "com,example)/mileg.aspx",
            ),
            (
                "http://example.com/x?jsessionid=0123456789abcdefghijklemopqrstuv&x=y",
                "com,example)/x?x=y",
            ),
            (
                "http://example.com/x?a=b&CFID=3&CFTOKEN=4",
                "com,example)/x?&a=b",
            ),
            ("http://a.b../x", "b,a)/x"),
            ("http://www.com/", "com)/"),
            ("http://x.org/a?%26=1&b", "org,x)/a?&=1&b"),
            ("http://x.org//a//b//", "org,x)/a/b"),
            ("http://x.org/?=&", "org,x)/?&="),
            ("http://x.org/a+b%2Bc?q=a+b", "org,x)/a+b+c?q=a+b"),
            (
                "http://x.org/%7Ea/|^`{}<>%23%25%00%FF",
                "org,x)/~a/|^`{}<>%23%25%00%ff",
            ),
        ] {
            assert_eq!(surt(url), key, "{url}");
        }
    }
}
