//! Fuzzes the parser of `--simulate-failure` SPECs.

use url::Url;

use super::super::fault_plan::FaultPlan;
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};

/// URLs of the requests whose faults are drawn.
const URLS: [&str; 6] = [
    "http://a/",
    "http://a:8080/",
    "https://example.com/x",
    "http://[::1]/",
    "http://127.0.0.1:80/",
    "https://b.test:443/",
];

fn try_spec(input: &FuzzInput<'_>) -> FuzzVerdict {
    let Ok(text) = std::str::from_utf8(input.bytes) else {
        // Arguments that are not UTF-8 are rejected earlier.
        return Ok("not UTF-8");
    };
    let seed = input.number;
    match FaultPlan::parse(text, seed) {
        Ok(plan) => {
            hold!(
                FaultPlan::parse(text, seed).as_ref() == Ok(&plan),
                "a different plan for the same SPEC"
            );
            for url in URLS.map(|url| Url::parse(url).unwrap()) {
                let most = plan.percent_for(&url);
                hold!((0.0..=100.0 + 1e-6).contains(&most), "{most} % at {url}");
                for ordinal in [0, 1, u32::MAX] {
                    let drawn = plan.draw(&url, ordinal);
                    hold!(drawn == plan.draw(&url, ordinal), "a different draw");
                    hold!(drawn.is_none() || most > 0.0, "{drawn:?} at 0 %");
                    hold!(drawn.is_some() || most < 100.0, "no fault at 100 %");
                }
            }
            Ok("a plan")
        }
        Err(error) => {
            let message = error.to_string();
            let mut lines = message.split('\n');
            let (sentence, shown, marks) = (lines.next(), lines.next(), lines.next());
            hold!(
                sentence.is_some() && shown.is_some() && marks.is_some() && lines.next().is_none(),
                "not three lines: {message:?}"
            );
            hold!(
                !message.chars().any(|c| c.is_control() && c != '\n'),
                "control characters: {message:?}"
            );
            let (shown, marks) = (shown.unwrap(), marks.unwrap());
            let is_mark = |c| matches!(c, ' ' | '^');
            hold!(
                marks.chars().all(is_mark)
                    && marks.ends_with('^')
                    && marks.chars().count() <= shown.chars().count() + 1,
                "misplaced marks: {message:?}"
            );
            Ok("rejected")
        }
    }
}

const TOKENS: &[&[u8]] = &[
    b"dns",
    b"refused",
    b"unreachable",
    b"connect_timeout",
    b"tls",
    b"timeout",
    b"stalled",
    b"reset",
    b"truncated",
    b"protocol",
    b"redirect",
    b"decode",
    b"slow",
    b"slow(2s)",
    b"429(1m)",
    b"503(0)",
    b"404",
    b"599",
    b"400",
    b"=10%",
    b"=0%",
    b"=100%",
    b"=33.3%",
    b"=1e1%",
    b"= 5 %",
    b"=-0%",
    b"=NaN%",
    b"=inf%",
    b",",
    b"@a",
    b"@a:8080",
    b"@[::1]",
    b"@127.0.0.1:80",
    b"@EXAMPLE.com",
    b"@example.com:443",
    b"@u:p@a",
    b":",
    b"(",
    b")",
    b"%",
    b"=",
    b"1h30m",
    b"1e400s",
    b" ",
    b"\t",
    b"\n",
    b"\x1b[31m",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"#",
    b"?",
    b"/",
    b"reset=5%,",
    b",dns=1%@a",
    b",429(5s)=2%",
    b"slow(1m)=3%@b.test:443,",
    b",502=0.1%@[::1]:80",
    b",tls=7%@a:8080",
];

#[test]
fn specs() {
    let fuzz = FuzzCampaign {
        corpus: "spec",
        tokens: TOKENS,
        inputs: 10_000,
        one_of: 1,
    };
    fuzz.run(try_spec);
}
