use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn named(url: &str) -> String {
    file_path_for(&Url::parse(url).unwrap()).to_string()
}

/// Keeps the table in the module documentation up to date.
#[test]
fn the_documented_examples_are_correct() {
    let mut rows = 0;
    for line in include_str!("../file_names.rs").lines() {
        let cells: Vec<_> = line.split('`').collect();
        if let ["//! | ", url, " | ", file, " |"] = cells[..] {
            assert_eq!(named(url), file, "{url}");
            rows += 1;
        }
    }
    assert_eq!(rows, 10);
}

#[test]
fn common_urls_have_readable_names() {
    for (url, file) in [
        (
            "https://example.com/blog/post.html",
            "example.com/blog/post.html",
        ),
        ("https://example.com/a/b/c.jpg", "example.com/a/b/c.jpg"),
        ("https://example.com", "example.com/index+.html"),
        ("https://example.com/blog/", "example.com/blog/index+.html"),
        (
            "https://example.com/blog/index.html",
            "example.com/blog/index.html",
        ),
        (
            "https://example.com/v1.2/readme",
            "example.com/v1.2/readme+",
        ),
        (
            "https://arxiv.org/pdf/2101.00001v2",
            "arxiv.org/pdf/2101.00001v2",
        ),
        (
            "https://arxiv.org/pdf/2101.00001",
            "arxiv.org/pdf/2101.00001+",
        ),
        (
            "https://cdn.example.com/A/B/File.PDF",
            "cdn.example.com/A/B/File+1f1.PDF",
        ),
        (
            "https://en.wikipedia.org/wiki/Rust_(programming_language)",
            "en.wikipedia.org/wiki/Rust_(programming_language)+1",
        ),
        (
            "https://a.edu/~smith/paper.tar.gz",
            "a.edu/~smith/paper.tar.gz",
        ),
        (
            "https://a.com/.well-known/security.txt",
            "a.com/.well-known/security.txt",
        ),
        ("https://a.com/?page=2", "a.com/index++page=2.html"),
        ("https://a.com/Blog/", "a.com/Blog/index++1.html"),
        ("https://a.com/watch?v=dQw4", "a.com/watch+v=dQw4+80"),
        (
            "https://xn--bcher-kva.example/a.html",
            "xn--bcher-kva.example/a.html",
        ),
        ("http://example.com/a.html", "example.com+http/a.html"),
        ("https://example.com:8443/a.html", "example.com+8443/a.html"),
        ("http://[::1]:8080/a.html", "0--1+ipv6+http+8080/a.html"),
        ("http://127.0.0.1/a.html", "127.0.0.1+http/a.html"),
    ] {
        assert_eq!(named(url), file, "{url}");
    }
}

#[test]
fn hashed_names_stay_partly_readable() {
    for (url, file) in [
        (
            "https://ja.wikipedia.org/wiki/%E6%97%A5%E6%9C%AC",
            "ja.wikipedia.org/wiki/日本+HASH",
        ),
        (
            "https://a.com/search.php?q=two+words",
            "a.com/search_q=two_words+HASH.php",
        ),
        ("https://a.com/.git/config", "a.com/_git/config+HASH"),
        (
            "https://a.com/wiki/File:Cat.JPG",
            "a.com/wiki/File_Cat+HASH.JPG",
        ),
        ("https://a.com/con/nul.txt", "a.com/_con/_nul+HASH.txt"),
        ("https://a.com//x.html", "a.com/_/x+HASH.html"),
        ("https://a.com/docs?", "a.com/docs+HASH"),
        ("https://a.com/-rf", "a.com/_rf+HASH"),
        ("https://a.com/~1.txt", "a.com/_1+HASH.txt"),
        ("https://a.com/longna~1.txt", "a.com/longna_1+HASH.txt"),
        ("https://a.com/COM%C2%B9", "a.com/COM_+HASH"),
        ("https://a.com/a%2F..%2f%00%5C", "a.com/a_.._+HASH"),
    ] {
        let named = named(url);
        let (before, after) = file.split_once("HASH").unwrap();
        let hash = named
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after));
        let hash = hash.unwrap_or_else(|| panic!("{named} is not {file}"));
        assert_eq!(hash.len(), HASH_LETTERS, "{named}");
    }
}

#[test]
fn hosts_that_are_no_valid_names_are_hashed() {
    for (host, readable) in [
        (".fetchall", "_fetchall+"),
        ("fetchall.jsonl", "fetchall.jsonl+"),
        ("con", "_con+"),
        ("com1.example.com", "_com1.example.com+"),
        ("example.com.", "example.com.+"),
        ("-a.com", "_a.com+"),
        ("a+http", "a_http+"),
        (&"x.".repeat(100), "x.x.x.x."),
    ] {
        let folder = named(&format!("https://{host}/a.html"));
        let folder = folder.strip_suffix("/a.html").unwrap();
        assert!(folder.starts_with(readable), "{folder}");
        assert!(is_hashed(folder), "{folder}");
    }
    assert!(named("http://con:81/a").ends_with("+http+81/a+"));
    assert_ne!(named("https://a+b/a.html"), named("https://a*b/a.html"));
}

#[test]
fn userinfo_and_fragment_are_left_out() {
    for rest in ["example.com/a.html", "example.com/a%20b?"] {
        let bare = named(&format!("https://{rest}"));
        assert_eq!(named(&format!("https://me:secret@{rest}")), bare);
        assert_eq!(named(&format!("https://me@{rest}#top")), bare);
    }
}

/// Users may get different pages, which must not overwrite each other.
#[test]
fn each_user_has_a_file() {
    let url = |text: &str| Url::parse(text).unwrap();
    let of = |text: &str, user| path_for_user(&url(text), user).to_string();
    let texts = [
        "https://a.test/x.html",
        "https://a.test/",
        "https://a.test/y@b/z",
    ];
    let users = [
        None,
        Some("ann"),
        Some("bob"),
        Some("a.test/y"),
        Some("y\0b"),
    ];
    let mut names = std::collections::HashSet::new();
    for text in texts {
        for user in users {
            let name = of(text, user);
            assert!(
                !name.contains("ann") && assert_legal(&name).is_ok(),
                "{name}"
            );
            assert!(is_hashed(&name) || user.is_none(), "{name}");
            assert!(names.insert(name));
        }
    }
    assert!(of(texts[0], Some("ann")).ends_with(".html"));
}

/// The same as `printf %s URL | openssl sha256 -binary | base32`, so that later versions of this
/// program find the file again.
#[test]
fn the_hash_is_the_documented_one() {
    let url = "https://example.com/my%20photo.jpg";
    let hash = digest(&SHA256, url.as_bytes());
    let mut bits = hash
        .as_ref()
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut written = String::new();
    for _ in 0..25 {
        let five = (0..5).fold(0, |five, _| five << 1 | usize::from(bits.next().unwrap()));
        written.push(char::from(b"abcdefghijklmnopqrstuvwxyz234567"[five]));
    }
    assert_eq!(named(url), format!("example.com/my_photo+{written}.jpg"));
}

#[test]
fn capitals_past_the_64th_letter_are_hashed() {
    let capital_after = |letters| named(&format!("https://a.com/{}X", "x".repeat(letters)));
    assert!(capital_after(63).ends_with("xX+8000000000000000"));
    assert!(is_hashed(&capital_after(64)));
}

#[test]
fn long_and_deep_paths_stay_short() {
    let long = "x".repeat(60_000);
    for url in [
        format!("https://a.com/{long}"),
        format!("https://a.com/{long}.html"),
        format!("https://a.com/{long}/{long}.{long}"),
        format!("https://a.com/a?q={long}"),
        format!("https://a.com/{}", "a/".repeat(30_000)),
        format!(
            "https://a.com/{}",
            format!("{}/", "x".repeat(100)).repeat(30)
        ),
        format!(
            "https://{}:8443/{}",
            "x".repeat(400),
            format!("{}/", "x".repeat(139)).repeat(9)
        ),
        format!("https://a.com/{}", "%E6%97%A5".repeat(1000)),
    ] {
        let path = named(&url);
        assert!(path.len() < 1000, "{} bytes", path.len());
        assert!(
            path.split('/').all(|name| name.len() <= MAX_NAME_BYTES + 1),
            "{path}"
        );
        assert!(is_hashed(&path), "{path}");
        assert_legal(&path).unwrap();
    }
    let limit = format!("https://a.com/{}.html", "x".repeat(134));
    assert!(!is_hashed(&named(&limit)));
    assert!(is_hashed(&named(&limit.replace(".html", "x.html"))));
}

/// Returns whether the last name ends in a hash, apart from an extension.
pub(super) fn is_hashed(path: &str) -> bool {
    let Some((_, end)) = path.rsplit_once('+') else {
        return false;
    };
    let end = end.split('.').next().unwrap();
    end.len() == 25 && end.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

/// Checks that a path is legal on Windows, macOS and Linux, independently of the implementation.
pub(super) fn assert_legal(path: &str) -> Result<(), TestCaseError> {
    prop_assert!(RelPath::parse(path).is_ok(), "{}", path);
    prop_assert!(path.len() < 1000);
    let top = path.split('/').next().unwrap().to_lowercase();
    prop_assert!(top != ".fetchall" && top != "fetchall.jsonl");
    prop_assert!(path.contains('/'), "no directory for the host: {}", path);
    for name in path.split('/') {
        prop_assert!(!name.is_empty() && name.len() <= 143, "{}", path);
        prop_assert!(
            !name.ends_with(['.', ' ']) && !name.starts_with([' ', '-']),
            "{}",
            path
        );
        prop_assert!(
            !name.starts_with('.') || name.starts_with(".well-known"),
            "{}",
            path
        );
        let illegal = |c: char| c.is_control() || c.is_whitespace() || "<>:\"/\\|?*".contains(c);
        prop_assert!(!name.contains(illegal), "{:?}", path);
        let shell = |c: char| "$`;&!'{}[]#%^".contains(c);
        prop_assert!(!name.contains(shell), "{:?}", path);
        // `~` only as in `~smith`: never a short name such as LONGNA~1.TXT.
        prop_assert!(!name.chars().skip(1).any(|c| c == '~'), "{}", path);
        let home = name.strip_prefix('~').unwrap_or("a");
        prop_assert!(
            home.starts_with(|c: char| c.is_ascii_alphabetic()),
            "{}",
            path
        );
        let base = name.split('.').next().unwrap().trim_end().to_uppercase();
        let devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
        prop_assert!(!devices.contains(&base.as_str()), "{}", path);
        for port in ["COM", "LPT"] {
            let digit = base.strip_prefix(port).unwrap_or_default();
            prop_assert!(
                digit.chars().count() != 1 || !"0123456789¹²³".contains(digit),
                "{}",
                path
            );
        }
    }
    Ok(())
}

/// Returns variants of a path that a file system may treat as the same: without case, and with
/// letters beyond ASCII removed or replaced, as a worst case of normalization.
pub(super) fn folded(path: &str) -> [String; 3] {
    let ascii: String = path.chars().filter(char::is_ascii).collect();
    let kelvin: String = path
        .chars()
        .map(|c| if c.is_ascii() { c } else { 'k' })
        .collect();
    [
        path.to_lowercase(),
        ascii.to_lowercase(),
        kelvin.to_lowercase(),
    ]
}

/// Restores the URL from a lower-cased path. If this works for all names without a hash, no two
/// URLs share such a name.
pub(super) fn url_from(path: &str) -> String {
    let mut names: Vec<_> = path.split('/').collect();
    let (file, host) = (names.pop().unwrap(), names.remove(0));
    let mut url = host_from(host);
    let folders: Vec<_> = names
        .iter()
        .map(|name| name.strip_suffix('+').unwrap_or(name))
        .collect();
    let folders: String = folders.join("/");
    let (name, query, capitals) = file_from(file);
    let mut bit = 0;
    let mut restore = |text: &str| -> String {
        let restore = |c: char| {
            let capital =
                c.is_ascii_alphabetic() && capitals.checked_shr(bit).unwrap_or(0) & 1 == 1;
            bit += u32::from(c.is_ascii_alphabetic());
            if capital { c.to_ascii_uppercase() } else { c }
        };
        text.chars().map(restore).collect()
    };
    let name = restore(&name);
    let query = query.map(|query| restore(&query));
    for folder in restore(&folders)
        .split('/')
        .filter(|folder| !folder.is_empty())
    {
        url += &format!("/{folder}");
    }
    url += &format!("/{name}");
    url += &query.map(|query| format!("?{query}")).unwrap_or_default();
    url
}

fn host_from(folder: &str) -> String {
    let mut marks = folder.split('+');
    let mut host = marks.next().unwrap().to_owned();
    let (mut scheme, mut port) = ("https", String::new());
    for mark in marks {
        match mark {
            "ipv6" => {
                let address = host.replace('-', ":");
                let is_ours = address.starts_with("0::");
                host = format!("[{}]", if is_ours { &address[1..] } else { &address });
            }
            "http" => scheme = "http",
            number => port = format!(":{number}"),
        }
    }
    format!("{scheme}://{host}{port}")
}

/// Returns name, query, and the number for the capitals.
fn file_from(file: &str) -> (String, Option<String>, u64) {
    let (stem, marks) = match file.strip_prefix("index++") {
        Some(marks) => ("", marks),
        None if file == "index+.html" => return (String::new(), None, 0),
        None => file.split_once('+').unwrap_or((file, "")),
    };
    let (marks, extension) = match marks.split_once('.') {
        Some((marks, extension)) => (marks, format!(".{extension}")),
        None => (marks, String::new()),
    };
    let (mut query, mut capitals) = (None, 0);
    for mark in marks.split('+').filter(|mark| !mark.is_empty()) {
        if mark.contains('=') {
            query = Some(mark.replace(',', "&"));
        } else {
            capitals = u64::from_str_radix(mark, 16).unwrap();
        }
    }
    let name = if stem.is_empty() {
        String::new()
    } else {
        format!("{stem}{extension}")
    };
    (name, query, capitals)
}

const TOKENS: &[&str] = &[
    "a",
    "A",
    "b",
    "index",
    "docs",
    "html",
    ".html",
    ".HTML",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2F",
    "%2f",
    "%41",
    "~",
    "~1",
    "+",
    "++",
    "-",
    "_",
    ",",
    "=",
    "@",
    "(",
    "&",
    ":",
    "*",
    "|",
    "\"",
    "<",
    "\\",
    " ",
    "%20",
    "%00",
    "%0A",
    "con",
    "CON",
    "nul",
    ".txt",
    "com1",
    "lpt",
    "1",
    "%C2%B9",
    "é",
    "e%CC%81",
    "É",
    "%E6%97%A5",
    "\u{212a}",
    "k",
    "ﬁ",
    "ß",
    "%FF",
    "%",
    "v1.2",
    ".git",
    ".well-known",
    "index+",
    "index+.html",
    "+1",
    "+7f",
    "+q=1",
    "q=1",
    "tar.gz",
    "x.a1",
    "$",
    ";",
    "'",
    "[",
    "{",
    "\u{3164}",
    "aaaaaaaaaaaaaaaaaaaaaaaaa",
    "+aaaaaaaaaaaaaaaaaaaaaaaaa",
];
const SEGMENTS: &[&str] = &[
    "",
    "a",
    "A",
    "a.b",
    "A.B",
    "a.html",
    "index.html",
    "con",
    "v1.2",
    "docs",
    "index",
    "a+",
    "a%20",
];
const HOSTS: &[&str] = &[
    "a",
    "A.",
    "a.b",
    "a.b.",
    "con",
    "nul.txt",
    ".fetchall",
    "fetchall.jsonl",
    "a+http",
    "a*http",
    "a_http",
    "a+80",
    "a+ipv6",
    "[::1]",
    "[0:1::]",
    "0--1",
    "0--1+ipv6",
    "1.2.3.4",
    "_a",
    "-a",
    "bücher.example",
    "ipv6",
    "http",
    "a..b",
];
const QUERIES: &[&str] = &[
    "",
    "?",
    "?a",
    "?a=1",
    "?A=1",
    "?a=A",
    "?=",
    "?a=1&b=2",
    "?a=1,b=2",
    "?a=1.html",
    "?a=%20",
    "?a=1&",
    "?1",
    "?a+b=1",
    "?a=1+7f",
    "?a=aaaaaaaaaaaaaaaaaaaaaaa",
];

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(SEGMENTS).prop_map(str::to_owned),
        5 => prop::collection::vec(select(TOKENS), 0..4).prop_map(|tokens| tokens.concat()),
        3 => "[abAB][ab.AB]{0,2}",
        1 => (select(TOKENS), 20..200_usize).prop_map(|(token, times)| token.repeat(times)),
        1 => any::<String>(),
    ]
}

fn url() -> impl Strategy<Value = Url> {
    let segments = prop_oneof![
        9 => prop::collection::vec(segment(), 0..4),
        1 => (segment(), 0..60_usize).prop_map(|(segment, times)| vec![segment; times]),
    ];
    let host = prop_oneof![5 => Just("a"), 5 => select(HOSTS)];
    let port = select(&["", "", "", ":80", ":443", ":8080"][..]);
    let query = prop_oneof![
        3 => Just(String::new()),
        3 => select(QUERIES).prop_map(str::to_owned),
        1 => segment().prop_map(|text| format!("?{text}")),
    ];
    (select(&["http", "https"][..]), host, port, segments, query).prop_filter_map(
        "no URL",
        |(scheme, host, port, segments, query)| {
            let path = segments.join("/");
            let mut url = Url::parse(&format!("{scheme}://{host}{port}/{path}{query}")).ok()?;
            url.set_fragment(None);
            Some(url)
        },
    )
}

/// Checks that distinct URLs have distinct files, and that no file has the name of a directory.
fn assert_apart(urls: &[Url]) -> Result<(), TestCaseError> {
    let mut owners = HashMap::new();
    let (mut files, mut folders) = (HashSet::new(), HashSet::new());
    for url in urls {
        let path = file_path_for(url);
        for (variant, path) in folded(path.as_str()).into_iter().enumerate() {
            if let Some(other) = owners.insert((variant, path.clone()), url) {
                prop_assert_eq!(url, other, "both in {}", path);
            }
            let mut names: Vec<_> = path.split('/').skip(1).map(str::to_owned).collect();
            files.extend(names.pop());
            folders.extend(names);
        }
    }
    let both: Vec<_> = files.intersection(&folders).collect();
    prop_assert!(both.is_empty(), "files and folders: {:?}", both);
    Ok(())
}

/// Returns URLs crafted to collide with the file at `path`.
fn forged(path: &str) -> Vec<Url> {
    let (host, rest) = path.split_once('/').unwrap();
    let plain_host = host.split('+').next().unwrap();
    let rests = [
        rest.to_owned(),
        rest.replace('+', "%2B"),
        rest.replace('+', "%2b"),
        rest.replace('+', " "),
        rest.replacen('+', "?", 1),
        rest.replacen('+', "?", 1).replace(',', "&"),
        rest.replace('+', ""),
        rest.to_uppercase(),
        format!("{rest}/"),
        format!("{rest}/a.html"),
    ];
    let mut urls = Vec::new();
    for scheme in ["http", "https"] {
        for host in [host, plain_host] {
            for rest in &rests {
                urls.extend(Url::parse(&format!("{scheme}://{host}/{rest}")));
            }
        }
    }
    urls
}

proptest! {
    #[test]
    fn distinct_urls_have_distinct_files_and_no_file_is_a_folder(urls in prop::collection::vec(url(), 2..40)) {
        assert_apart(&urls)?;
    }

    #[test]
    fn every_file_is_legal_on_every_disk(urls in prop::collection::vec(url(), 10)) {
        for url in urls {
            assert_legal(file_path_for(&url).as_str())?;
        }
    }

    #[test]
    fn the_url_can_be_restored_from_a_name_without_hash(urls in prop::collection::vec(url(), 10)) {
        for url in urls {
            let path = file_path_for(&url).as_str().to_lowercase();
            if !path.split(['+', '/', '.']).any(|part| part.len() == 25 && is_hashed(&format!("+{part}"))) {
                prop_assert_eq!(url_from(&path), url.as_str(), "{}", path);
            }
        }
    }

    #[test]
    fn urls_that_differ_in_one_component_have_different_files(url in url(), other in url()) {
        let mut urls = vec![url.clone()];
        let mut vary = |change: &dyn Fn(&mut Url)| {
            let mut varied = url.clone();
            change(&mut varied);
            urls.push(varied);
        };
        vary(&|url| url.set_query(other.query()));
        vary(&|url| url.set_query(None));
        vary(&|url| url.set_query(Some("")));
        vary(&|url| url.set_path(other.path()));
        vary(&|url| url.set_path(&url.path().to_lowercase()));
        vary(&|url| url.set_path(&url.path().to_uppercase()));
        vary(&|url| url.set_path(&format!("{}/", url.path())));
        vary(&|url| url.set_path(&format!("{}.html", url.path())));
        vary(&|url| url.set_port(other.port()).unwrap());
        vary(&|url| url.set_scheme(other.scheme()).unwrap());
        vary(&|url| url.set_host(other.host_str()).unwrap());
        assert_apart(&urls)?;
    }
}

proptest! {
    // Each case creates hundreds of URLs.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_name_can_not_be_forged(url in url()) {
        let mut urls = forged(file_path_for(&url).as_str());
        let again: Vec<_> = urls.iter().step_by(7).flat_map(|url| forged(file_path_for(url).as_str())).collect();
        urls.extend(again);
        urls.push(url);
        assert_apart(&urls)?;
    }
}
