//! Fuzzes the parser of robots.txt.

use url::Url;

use super::{RobotsRules, is_match, lines, pattern};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};

/// URLs for which the rules are looked up.
const URLS: [&str; 4] = [
    "http://a.test/",
    "http://a.test/private/page.html?id=1",
    "http://a.test/%E3%83%84/a*b$",
    "http://a.test/robots.txt",
];

fn try_robots(input: &FuzzInput<'_>) -> FuzzVerdict {
    let rules = RobotsRules::parse(input.bytes, "fetchall");
    hold!(
        rules == RobotsRules::parse(input.bytes, "FetchAll"),
        "case counts"
    );
    hold!(
        rules.weight() <= size_of::<RobotsRules>() + 5 * input.bytes.len(),
        "{} bytes of rules",
        rules.weight()
    );
    for line in lines(&rules.access).filter(|line| !line.is_empty()) {
        let own = pattern(&line[1..]);
        hold!(
            own.as_deref() == Some(&line[1..]),
            "another form: {}",
            line.escape_ascii()
        );
        hold!(
            std::str::from_utf8(line).is_ok_and(|line| line.is_ascii()),
            "not ASCII"
        );
    }
    let urls = URLS.map(|url| Url::parse(url).unwrap());
    let denied = urls.iter().filter_map(|url| rules.disallowing(url));
    let patterns: Vec<_> = denied.collect();
    hold!(rules.disallowing(&urls[3]).is_none(), "robots.txt itself");
    hold!(
        patterns
            .iter()
            .all(|one| one.starts_with('*') || !is_match(one.as_bytes(), b"")),
        "matches nothing"
    );
    // Another line end changes nothing.
    let dos = input
        .bytes
        .iter()
        .map(|byte| if *byte == b'\n' { b'\r' } else { *byte });
    let dos: Vec<u8> = dos.collect();
    hold!(
        rules == RobotsRules::parse(&dos, "fetchall"),
        "line ends count"
    );
    Ok(match (rules.is_empty(), patterns.len()) {
        (true, _) => "no rules",
        (false, 0) => "allowed",
        (false, _) => "disallowed",
    })
}

const TOKENS: &[&[u8]] = &[
    b"User-agent: ",
    b"User-agent: *\n",
    b"User-agent: fetchall\n",
    b"Disallow: /",
    b"Allow: /",
    b"Crawl-delay: 1.5\n",
    b"Content-Usage: /a train-ai=n\n",
    b"Sitemap: ",
    b"\n",
    b"\r\n",
    b"*",
    b"$",
    b"#",
    b":",
    b"%2F",
    b"%61",
    b"%",
    b"index.html",
    b"\xEF\xBB\xBF",
    "\u{30c4}".as_bytes(),
];

#[test]
fn robots_files() {
    let fuzz = FuzzCampaign {
        corpus: "robots",
        tokens: TOKENS,
        inputs: 6_000,
        one_of: 2,
    };
    fuzz.run(try_robots);
}
