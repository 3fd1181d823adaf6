//! Cases of RFC 9309, and those that Google publishes for its parser, in our words.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Whether a robots.txt lets a crawler fetch a path.
fn allows(text: &[u8], agent: &str, path: &str) -> bool {
    let url = Url::parse("http://a.test").unwrap().join(path).unwrap();
    RobotsRules::parse(text, agent).disallowing(&url).is_none()
}

/// Checks which paths a robots.txt allows to `foo`, and which it does not.
fn check(text: &str, allowed: &[&str], disallowed: &[&str]) {
    for path in allowed {
        assert!(allows(text.as_bytes(), "foo", path), "{path} with {text}");
    }
    for path in disallowed {
        assert!(!allows(text.as_bytes(), "foo", path), "{path} with {text}");
    }
}

/// The same for the rules of one group.
fn check_rules(rules: &str, allowed: &[&str], disallowed: &[&str]) {
    check(&format!("User-agent: foo\n{rules}\n"), allowed, disallowed);
}

#[test]
fn lines_are_read_as_they_are_meant() {
    check("", &["/"], &[]);
    check("foo: foo\nbar: /\n", &["/x"], &[]);
    check("<html><body>Not: found</body></html>", &["/x"], &[]);
    for group in [
        "user-agent: foo\ndisallow: /x",
        "USER-AGENT: FOO\nDISALLOW: /x",
        "uSeR-aGeNt : fOo \t\n\tdIsAlLoW:/x  # why",
        "user-agent foo\ndisallow /x",
        "useragent: foo\ndisalow: /x",
        "user agent: foo\ndissallow: /x",
        "user-agent: foo\r\ndisallow: /x\r\n",
        "user-agent: foo\rdisallow: /x\r",
        "user-agent: foo/2.1\ndisallow: /x",
        "user-agent: foo bar\ndisallow: /x",
        "\u{feff}user-agent: foo\ndisallow: /x",
        "user-agent: foo\n\n\n# all of it\nbe: nice\n\ndisallow: /x",
        "user-agent: foo\ndisallow: /x#y",
    ] {
        check(group, &["/", "/X"], &["/x", "/x/y"]);
    }
    check("user-agent foo bar\ndisallow: /", &["/x"], &[]);
    check(
        "user-agent: foo\n# disallow: /x\ndisallow\ndisallow: x",
        &["/x"],
        &[],
    );
}

#[test]
fn a_part_of_a_byte_order_mark_is_skipped_and_another_one_spoils_the_line() {
    let rules = b"user-agent: foo\ndisallow: /\n";
    for (start, is_allowed) in [
        (&b"\xEF\xBB\xBF"[..], false),
        (b"\xEF\xBB", false),
        (b"\xEF", false),
        (b"\xEF\x11\xBF", true),
        (b"\xFE\xFF", true),
    ] {
        let text = [start, rules].concat();
        assert_eq!(allows(&text, "foo", "/x"), is_allowed, "{start:?}");
    }
}

#[test]
fn groups_of_the_same_crawler_are_merged_and_others_are_not_for_it() {
    let text = "disallow: /early\n\
                user-agent: foo\nallow: /x/\ndisallow: /\n\
                user-agent: bar\ndisallow: /\nallow: /y/\n\n\nallow: /w/\n\
                user-agent: baz\n\nuser-agent: foo\nallow: /z/\ndisallow: /\n";
    check(text, &["/x/b", "/z/d"], &["/y/c", "/w/a", "/early"]);
    let of = |agent, path| allows(text.as_bytes(), agent, path);
    assert!(of("bar", "/y/c") && of("bar", "/w/a") && !of("bar", "/z/d"));
    assert!(of("baz", "/z/d") && !of("baz", "/x/b"));
    assert!(of("qux", "/early"), "rules outside groups");
}

#[test]
fn the_group_for_all_counts_only_without_an_own_one() {
    let text = "user-agent: *\ndisallow: /x\nuser-agent: foo\ndisallow: /y\n";
    check(text, &["/x"], &["/y"]);
    assert!(!allows(text.as_bytes(), "bar", "/x"));
    assert!(!allows(text.as_bytes(), "foo-news", "/x"), "another token");
    check(
        "user-agent: foo\nuser-agent: *\ndisallow: /x",
        &["/"],
        &["/x"],
    );
    check("user-agent: foo-news\ndisallow: /", &["/x"], &[]);
    check("user-agent: foo2\ndisallow: /", &["/x"], &[]);
    check(
        "user-agent: *\ndisallow: /\nuser-agent: foo\ndisallow:",
        &["/x"],
        &[],
    );
    check(
        "user-agent: *\ndisallow: /\nuser-agent: foo\n",
        &["/x"],
        &[],
    );
    check("user-agent: *bar\ndisallow: /", &["/x"], &[]);
    check("user-agent: * all\ndisallow: /", &[], &["/x"]);
}

#[test]
fn other_records_do_not_end_the_names_of_a_group() {
    for between in [
        "sitemap: http://a.test/s.xml",
        "crawl-delay: 5",
        "host: a.test",
        "",
    ] {
        let text = format!("user-agent: foo\n{between}\nuser-agent: bar\ndisallow: /x\n");
        check(&text, &["/"], &["/x"]);
    }
}

#[test]
fn the_longest_pattern_wins_and_allow_among_equals() {
    for (rules, allowed, disallowed) in [
        ("disallow: /x/p\nallow: /x/", &["/x/q"][..], &["/x/p"][..]),
        ("allow: /x/p\ndisallow: /x/", &["/x/p"], &["/x/"]),
        ("disallow:\nallow:", &["/x"], &[]),
        ("disallow: /\nallow: /", &["/x"], &[]),
        ("disallow: /x\nallow: /x/", &["/x/"], &["/x"]),
        ("disallow: /x/p.html\nallow: /x/p.html", &["/x/p.html"], &[]),
        (
            "allow: /page\ndisallow: /*.html",
            &["/page"],
            &["/page.html"],
        ),
        (
            "allow: /x/page.\ndisallow: /*.html",
            &["/x/page.html"],
            &["/x/y.html"],
        ),
        ("allow: /page\ndisallow: /*.htm", &["/page"], &["/page.htm"]),
        ("allow: /$\ndisallow: /", &["/"], &["/page.html"]),
        ("allow: /p\ndisallow: /", &["/page"], &["/q"]),
    ] {
        check_rules(rules, allowed, disallowed);
    }
}

#[test]
fn patterns_match_as_documented() {
    let any = [
        "/fish",
        "/fish.html",
        "/fish/salmon.html",
        "/fishheads/y",
        "/fish.html?id=a",
    ];
    let none = ["/bar", "/Fish.asp", "/catfish", "/?id=fish"];
    for (rule, allowed, disallowed) in [
        ("/fish", &any[..], &none[..]),
        ("/fish*", &any, &none),
        (
            "/fish/",
            &["/fish/", "/fish/?salmon", "/fish/s.html"],
            &["/fish", "/fish.html", "/Fish/s"],
        ),
        (
            "/*.php",
            &[
                "/f.php",
                "/d/f.php?p",
                "//d/a.php.f.html",
                "/f.php/",
                "/i?f=f.php/",
            ],
            &["/", "/php/", "/i?php", "/w.PHP"],
        ),
        (
            "/*.php$",
            &["/f.php", "/d/f.php"],
            &["/f.php?p", "/f.php/", "/f.php5", "/f?php", "/aaphpa"],
        ),
        (
            "/fish*.php",
            &["/fish.php", "/fishheads/c.php?p"],
            &["/Fish.PHP", "/fish.asp"],
        ),
        ("/a*$", &["/a", "/abc"], &["/b"]),
        ("*", &["/", "/x"], &[]),
        ("*/x", &["/x", "/y/x", "/y/xz"], &["/y"]),
        ("/a**b", &["/ab", "/a1b2"], &["/a"]),
        ("/*a*aa$", &["/aaa", "/baa-aa"], &["/aa", "/aab"]),
        ("/a$b", &["/a$b", "/a$bc", "/a%24b"], &["/a", "/ab"]),
        ("$", &[], &["/"]),
    ] {
        check_rules(&format!("disallow: /\nallow: {rule}"), allowed, &[]);
        let with = format!("User-agent: foo\nallow: {rule}");
        let rules = RobotsRules::parse(with.as_bytes(), "foo");
        for path in disallowed {
            let url = Url::parse("http://a.test").unwrap().join(path).unwrap();
            let target = target(&url);
            let mut patterns = lines(&rules.access).filter_map(|line| line.get(1..));
            assert!(
                !patterns.any(|one| is_match(one, &target)),
                "{rule} with {path}"
            );
        }
    }
    let slash = "disallow: /\nallow: /d/index.html";
    check_rules(
        slash,
        &["/d/", "/d/index.html"],
        &["/d/index.htm", "/e/", "/d/x"],
    );
    check_rules("disallow: /d/index.html", &["/d/"], &["/d/index.html"]);
}

#[test]
fn encoded_and_plain_octets_are_compared_as_the_rfc_says() {
    for (rule, allowed, disallowed) in [
        (
            "/b?q=t&z=http://a.b?t&p",
            &["/b?q=t&z=http://a.b?t&p"][..],
            &["/b"][..],
        ),
        (
            "/b/ツ",
            &["/b/%E3%83%84", "/b/ツ", "/b/%e3%83%84"],
            &["/b/"],
        ),
        ("/b/%E3%83%84", &["/b/ツ"], &["/b/%83"]),
        ("/b/%62%61%7A", &["/b/baz", "/b/%62az"], &["/b/"]),
        ("/b/baz", &["/b/b%61z"], &["/b/%42az"]),
        ("/a%2fb", &["/a%2Fb"], &["/a/b"]),
        ("/f-%2A.html", &["/f-*.html", "/f-%2A.html"], &["/f-x.html"]),
        ("/f-%24", &["/f-$", "/f-$x"], &["/f-"]),
        ("/a b", &["/a b", "/a%20b"], &["/a+b"]),
        ("/a%", &["/a%", "/a%zz"], &["/a"]),
        ("/\u{7f}<>\"", &["/%7F%3C%3E%22"], &["/"]),
    ] {
        check_rules(&format!("disallow: /\nallow: {rule}"), allowed, disallowed);
    }
}

#[test]
fn robots_txt_itself_is_always_allowed() {
    check_rules(
        "disallow: /",
        &["/robots.txt"],
        &["/robots.txt.gz", "/robots.txt?x"],
    );
}

#[test]
fn long_lines_and_files_are_cut() {
    let long = format!("/x/{}", "a".repeat(16_649));
    let url = |end: &str| format!("{long}{end}");
    check_rules(&format!("disallow: {long}/qux"), &["/fux"], &[&url("/fux")]);
    check_rules(
        &format!("disallow: /\nallow: {long}aaa/qux"),
        &[&url("aaa/fux")],
        &["/"],
    );
    let filler = "#\n".repeat(MAX_ROBOTS_BYTES / 2);
    check(
        &format!("user-agent: foo\ndisallow: /x\n{filler}disallow: /y"),
        &["/y"],
        &["/x"],
    );
}

#[test]
fn the_longest_crawl_delay_of_the_groups_counts() {
    for (text, seconds) in [
        ("user-agent: foo\ncrawl-delay: 5", Some(5.0)),
        ("user-agent: *\nCrawl-Delay: 0.5", Some(0.5)),
        (
            "user-agent: *\ncrawl-delay: 9\nuser-agent: foo\nallow: /",
            Some(9.0),
        ),
        (
            "user-agent: *\ncrawl-delay: 9\nallow: /\nuser-agent: foo\nallow: /",
            None,
        ),
        (
            "user-agent: foo\ncrawl-delay: 1\ndisallow:\nuser-agent: foo\ncrawl-delay: 3",
            Some(3.0),
        ),
        (
            "user-agent: foo\ncrawl-delay: x\ncrawl-delay: -1\ncrawl-delay: NaN\ncrawl-delay: inf",
            None,
        ),
        ("user-agent: foo\ncrawl-delay: 0", None),
        ("user-agent: foo\ncrawl-delay: 1e30", Some(u64::MAX as f64)),
        ("crawl-delay: 5", None),
    ] {
        let rules = RobotsRules::parse(text.as_bytes(), "foo");
        assert_eq!(
            rules.crawl_delay,
            seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
            "{text}"
        );
    }
}

#[test]
fn content_usage_is_that_of_the_longest_path() {
    let text = "user-agent: *\ncontent-usage: bots=y\n\
                user-agent: foo\nallow: /\nContent-Usage: train-ai=n\n\
                Content-Usage: /ai/ train-ai=y, search=y\nContent-Usage: /empty\n";
    let rules = RobotsRules::parse(text.as_bytes(), "foo");
    let of = |path| rules.content_usage(&Url::parse(path).unwrap());
    assert_eq!(of("http://a.test/"), Some("train-ai=n"));
    assert_eq!(of("http://a.test/ai/x"), Some("train-ai=y, search=y"));
    assert_eq!(of("http://a.test/empty"), Some("train-ai=n"));
    assert_eq!(
        RobotsRules::default().content_usage(&Url::parse("http://a.test/").unwrap()),
        None
    );
}

#[test]
fn hostile_patterns_take_no_longer_than_they_are() {
    let text = format!("user-agent: *\ndisallow: /{}b\n", "*a".repeat(8000));
    let url = Url::parse(&format!("http://a.test/{}", "a".repeat(100_000))).unwrap();
    let rules = RobotsRules::parse(text.as_bytes(), "foo");
    let start = Instant::now();
    assert_eq!(rules.disallowing(&url), None);
    // Milliseconds; backtracking would take longer than the universe lasts.
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// Matches by trying everything.
fn matches_slowly(pattern: &[u8], target: &[u8]) -> bool {
    match pattern.split_first() {
        None => true,
        Some((b'$', [])) => target.is_empty(),
        Some((b'*', rest)) => (0..=target.len()).any(|at| matches_slowly(rest, &target[at..])),
        Some((byte, rest)) => target.first() == Some(byte) && matches_slowly(rest, &target[1..]),
    }
}

proptest! {
    #[test]
    fn matching_is_what_trying_everything_finds(pattern in "/[ab*]{0,8}\\$?", target in "/[ab]{0,10}") {
        let (pattern, target) = (pattern.as_bytes(), target.as_bytes());
        prop_assert_eq!(is_match(pattern, target), matches_slowly(pattern, target));
    }

    #[test]
    fn a_form_that_is_compared_is_its_own_form(text in prop::collection::vec(any::<u8>(), 0..40)) {
        let once = normalized(&text);
        prop_assert_eq!(normalized(&once), once);
    }
}
