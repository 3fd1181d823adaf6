//! Shards: which lines of a list belong to which of several runs.
//!
//! Runs on different machines, and of different versions, have to agree on it. So neither the hash
//! nor what is hashed may ever change without a new [`SHARD_VERSION`].

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{RecentMap, Sha256};

/// Version of the assignment of lines to shards.
pub(crate) const SHARD_VERSION: u32 = 1;

/// Hosts whose shards are known at the same time.
const KNOWN_HOSTS: usize = 1 << 14;

/// What decides to which shard a URL belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShardBy {
    /// Its host name: one shard has all URLs of a host, so limits per host hold.
    #[default]
    Host,
    /// All of it: the URLs of a host are spread over all shards.
    Url,
}

impl ShardBy {
    /// Returns the part of the URL that is hashed: the host name in the form of a URL (lower case,
    /// IDNs in ASCII) without a dot at its end, or the whole URL without userinfo and fragment.
    fn key(self, url: &Url) -> &str {
        match self {
            Self::Host => shard_host(url),
            Self::Url => url.as_str(),
        }
    }
}

/// Returns the host name of a URL, without a dot at its end.
#[must_use]
pub(crate) fn shard_host(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host)
}

/// One of the runs that share a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    version: u32,
    index: u32,
    of: NonZeroU32,
    by: ShardBy,
}

impl Shard {
    /// Returns the shard with this number, from 0; `None` if there are not so many.
    #[must_use]
    pub fn new(index: u32, of: NonZeroU32, by: ShardBy) -> Option<Self> {
        let version = SHARD_VERSION;
        (index < of.get()).then_some(Self {
            version,
            index,
            of,
            by,
        })
    }

    /// Its number, from 0.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// The number of all shards.
    #[must_use]
    pub fn of(self) -> NonZeroU32 {
        self.of
    }

    /// What decides which URLs belong to it.
    #[must_use]
    pub fn by(self) -> ShardBy {
        self.by
    }

    /// Whether another one is of the same division of the list.
    #[must_use]
    pub(crate) fn is_sibling(self, other: Self) -> bool {
        let index = other.index;
        Self { index, ..self } == other
    }

    /// Whether the number is one of so many. A shard that was read from a file need not be.
    #[must_use]
    pub(crate) fn is_valid(self) -> bool {
        self.index < self.of.get()
    }

    /// Returns what assigns lines to this one and its siblings.
    #[must_use]
    pub(crate) fn assigner(self) -> ShardAssigner {
        ShardAssigner::new(self.of, self.by)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            index,
            of,
            by,
        } = self;
        write!(f, "{index}/{of}")?;
        if *by == ShardBy::Url {
            f.write_str(" by URL")?;
        }
        if *version != SHARD_VERSION {
            write!(f, " (version {version})")?;
        }
        Ok(())
    }
}

/// What a journal says about its shard: first which one it is, and after each run that read the
/// whole list, how many lines there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardMark {
    /// The shard whose results the journal has.
    pub shard: Shard,
    /// The lines of the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// The lines of the whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_lines: Option<u64>,
}

/// Assigns lines to shards.
#[derive(Debug)]
pub(crate) struct ShardAssigner {
    of: NonZeroU32,
    by: ShardBy,
    /// The shards of hosts: in most lists many URLs have the same one.
    known: RecentMap<Option<u32>>,
}

impl ShardAssigner {
    /// Assigns lines to shards `0..of`.
    #[must_use]
    pub(crate) fn new(of: NonZeroU32, by: ShardBy) -> Self {
        Self {
            of,
            by,
            known: RecentMap::with_places(match by {
                ShardBy::Host => KNOWN_HOSTS,
                ShardBy::Url => 0,
            }),
        }
    }

    /// Returns the shard of a URL.
    pub(crate) fn of_url(&mut self, url: &Url) -> u32 {
        let key = self.by.key(url);
        let mut place = self.known.place_of(key);
        let known = place.as_ref().filter(|known| known.text == key);
        if let Some(shard) = known.and_then(|known| known.value) {
            return shard;
        }
        let shard = shard_of(key.as_bytes(), self.of);
        if let Some(place) = &mut place {
            place.set(key, Some(shard));
        }
        shard
    }

    /// Returns the shard of a line that is no URL.
    #[must_use]
    pub(crate) fn of_text(&self, line: &[u8]) -> u32 {
        shard_of(line.trim_ascii(), self.of)
    }
}

/// Returns the shard of a key: the first eight bytes of its SHA-256, as a big-endian number, modulo
/// the number of shards. Any language can compute it.
fn shard_of(key: &[u8], of: NonZeroU32) -> u32 {
    let Sha256(hash) = Sha256::of(key);
    let number = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
    u32::try_from(number % u64::from(of.get())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shards(of: u32) -> ShardAssigner {
        ShardAssigner::new(NonZeroU32::new(of).unwrap(), ShardBy::Host)
    }

    fn of_url(of: u32, url: &str) -> u32 {
        shards(of).of_url(&url.parse().unwrap())
    }

    /// Computed by `int(hashlib.sha256(host).hexdigest()[:16], 16) % 1000` in Python. If one of these
    /// changes, shards of different versions miss lines.
    #[test]
    fn the_assignment_never_changes() {
        assert_eq!(SHARD_VERSION, 1);
        for (url, shard) in [
            ("http://example.com/", 309),
            ("https://www.example.org/a?b", 527),
            ("http://127.0.0.1:8080/", 852),
            ("http://[::1]/", 709),
            ("http://bücher.example/", 160),
        ] {
            assert_eq!(of_url(1000, url), shard, "{url}");
        }
        assert_eq!(shards(1000).of_text(b" no url\r"), 757);
        let by_url = ShardAssigner::new(NonZeroU32::new(1000).unwrap(), ShardBy::Url);
        let url = Url::parse("http://example.com/").unwrap();
        assert_eq!({ by_url }.of_url(&url), 367);
    }

    #[test]
    fn scheme_port_user_case_and_a_last_dot_do_not_count() {
        let expected = of_url(1000, "http://example.com/");
        for url in [
            "https://example.com/x",
            "http://example.com:8080/?q#f",
            "http://me:pw@EXAMPLE.com/",
            "http://example.com./",
            "http://ex%61mple.com/",
        ] {
            assert_eq!(of_url(1000, url), expected, "{url}");
        }
        assert_eq!(
            of_url(1000, "http://127.1/"),
            of_url(1000, "http://127.0.0.1/")
        );
        assert_eq!(
            of_url(1000, "http://[0:0::1]/"),
            of_url(1000, "http://[::1]/")
        );
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        let four = NonZeroU32::new(4).unwrap();
        assert_eq!(Shard::new(4, four, ShardBy::Host), None);
        let shard = Shard::new(3, four, ShardBy::Url).unwrap();
        assert_eq!(shard.to_string(), "3/4 by URL");
        let json = serde_json::to_string(&shard).unwrap();
        assert_eq!(json, r#"{"version":1,"index":3,"of":4,"by":"url"}"#);
        assert_eq!(serde_json::from_str::<Shard>(&json).unwrap(), shard);
    }

    proptest! {
        #[test]
        fn hosts_are_spread_evenly(seed in any::<u32>()) {
            let mut lines = [0; 8];
            let mut assigner = shards(8);
            for n in 0..4000 {
                let url = format!("http://h{seed}-{n}.example/").parse().unwrap();
                lines[assigner.of_url(&url) as usize] += 1;
            }
            // 500 each, with a standard deviation of 21.
            prop_assert!(lines.iter().all(|n| (350..650).contains(n)), "{lines:?}");
        }
    }
}
