//! Fuzzes file names with odd URLs: names are legal, and no two URLs share one.

use std::hash::{BuildHasher, RandomState};

use url::{Position, Url};

use super::file_path_for;
use super::tests::{assert_legal, folded, is_hashed, url_from};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};

/// Number of slots for names, of files and of directories; newer names replace older ones.
const MEMORY_SLOTS: usize = 1 << 20;

/// Maps names to URLs, both as hashes. A slot holds only the latest of the names that share it.
struct NameMemory(Vec<(u64, u64)>);

impl NameMemory {
    fn new() -> Self {
        Self(vec![(0, 0); MEMORY_SLOTS])
    }

    fn at(&self, name: u64) -> Option<u64> {
        let (known, url) = self.0[name as usize % MEMORY_SLOTS];
        (known == name).then_some(url)
    }

    fn put(&mut self, name: u64, url: u64) {
        self.0[name as usize % MEMORY_SLOTS] = (name, url);
    }
}

struct NameFuzz {
    files: NameMemory,
    folders: NameMemory,
    state: RandomState,
}

impl NameFuzz {
    /// Checks that all variants of the path, as file systems may see it, belong to this URL alone
    /// and are not directories.
    fn check_alone(&mut self, path: &str, url: &str) -> Result<(), String> {
        let url_hash = self.state.hash_one(url);
        for (number, folded) in folded(path).into_iter().enumerate() {
            let hash = |text: &str| self.state.hash_one((number, text));
            let file = hash(&folded);
            let other = self.files.at(file);
            hold!(
                other.is_none_or(|other| other == url_hash),
                "{path} of {url} also belongs to another URL"
            );
            hold!(
                self.folders.at(file).is_none(),
                "{path} of {url} is a directory of another URL"
            );
            for (end, _) in folded.match_indices('/') {
                let folder = hash(&folded[..end]);
                hold!(
                    self.files.at(folder).is_none(),
                    "a directory of {path} of {url} is a file of another URL"
                );
                self.folders.put(folder, 1);
            }
            self.files.put(file, url_hash);
        }
        Ok(())
    }

    fn check(&mut self, input: &FuzzInput<'_>) -> FuzzVerdict {
        let text = String::from_utf8_lossy(input.bytes);
        let Ok(mut url) = Url::parse(&text) else {
            return Ok("no URL");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Ok("other scheme");
        }
        let path = file_path_for(&url);
        url.set_fragment(Some("other"));
        hold!(file_path_for(&url) == path, "the fragment matters in {url}");
        url.set_fragment(None);
        // Both fail only without a host.
        let _ = url.set_username("other");
        let _ = url.set_password(Some("other"));
        hold!(file_path_for(&url) == path, "the userinfo matters in {url}");
        let _ = url.set_username("");
        let _ = url.set_password(None);
        hold!(file_path_for(&url) == path, "the userinfo matters in {url}");
        let path = path.as_str();
        assert_legal(path).map_err(|wrong| wrong.to_string())?;
        self.check_alone(path, url.as_str())?;
        let mut parts = path.split(['+', '/', '.']);
        if parts.any(|part| is_hashed(&format!("+{part}"))) {
            return Ok("hashed");
        }
        let empty_query = url.query() == Some("");
        if !empty_query {
            let again = url_from(&path.to_lowercase());
            hold!(
                again == url[..Position::AfterQuery],
                "{path} of {url} reads as {again}"
            );
        }
        Ok("faithful")
    }
}

const TOKENS: &[&[u8]] = &[
    b"https://a.com/",
    b"http://",
    b"https://",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"%2e%2e",
    b"%2F",
    b"%5C",
    b"%00",
    b"%20",
    b"%41",
    b"\\",
    b"?",
    b"?q=1&r=2",
    b"#",
    b"&",
    b"=",
    b"+",
    b"++",
    b"+1",
    b"+7f",
    b"+http",
    b"+ipv6",
    b"+80",
    b"index",
    b"index+.html",
    b"index.html",
    b".html",
    b".HTML",
    b".",
    b"..",
    b".git",
    b".well-known",
    b".fetchall",
    b"fetchall.jsonl",
    b"con",
    b"NUL.txt",
    b"com1",
    b"com\xc2\xb9",
    b"lpt9.html",
    b"~",
    b"~user",
    b"LONGNA~1.TXT",
    b"-",
    b"A",
    b"Z",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"\xe2\x84\xaa",
    b"\xef\xac\x81",
    b"\xc5\xbf",
    b"%C4%B0",
    b"\xe2\x80\x8b",
    b"\xe2\x80\xae",
    b"[::1]",
    b"[2001:db8::1]",
    b"127.0.0.1",
    b"0x7f.1",
    b"xn--bcher-kva",
    b":8080",
    b":443",
    b":80",
    b"user:pw@",
    b"aaaaaaaaaaaaaaaaaaaaaaaaa",
    b"+aaaaaaaaaaaaaaaaaaaaaaaaa",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    b"tar.gz",
    b"v1.2",
    b"docs",
    b"*",
    b"|",
    b"<",
    b":",
    b"\"",
    b" ",
    b"\xff",
];

#[test]
fn names() {
    let fuzz = FuzzCampaign {
        corpus: "names",
        tokens: TOKENS,
        inputs: 10_000,
        one_of: 1,
    };
    let mut names = NameFuzz {
        files: NameMemory::new(),
        folders: NameMemory::new(),
        state: RandomState::new(),
    };
    fuzz.run(move |input| names.check(input));
}
