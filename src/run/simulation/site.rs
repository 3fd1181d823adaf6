//! The pages of a simulated site, as they are when nothing is in the way: pure functions of a seed.

use std::time::Duration;

use url::Url;

use super::draw::random;

/// The limit on the size of bodies.
pub(super) const MAX_SIZE: u64 = 600 << 10;

/// All pages of a case.
#[derive(Debug, Clone)]
pub(super) struct SimSite {
    seed: u64,
}

/// A page and its URL.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub url: Url,
    pub kind: PageKind,
}

/// What a URL is.
#[derive(Debug, Clone)]
pub(super) enum PageKind {
    /// A body.
    Body(PageBody),
    /// Always this status.
    Status(u16),
    /// A redirect to another page, which sets a cookie.
    Moved { status: u16, to: Url },
    /// A redirect to itself until the cookie that it sets comes back.
    Gate(PageBody),
    /// A redirect to itself, always.
    Loop,
    /// A 202 with `Retry-After` until this many requests have come.
    Pending(u32, PageBody),
    /// A body above the limit.
    TooLarge,
    /// `robots.txt`, with a path that it disallows.
    Robots(String),
    /// Of a host that does not exist.
    NoHost,
    /// Of a host on which nothing listens.
    NoServer,
}

/// How a body says which version it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validator {
    Strong,
    Weak,
    Date,
    Nothing,
}

/// A body.
#[derive(Debug, Clone)]
pub(super) struct PageBody {
    pub url: String,
    length: usize,
    pub validator: Validator,
    /// Whether it comes compressed.
    pub is_coded: bool,
    /// Whether its length is announced.
    pub is_sized: bool,
    /// The time after which it is another version.
    pub period: Option<Duration>,
}

impl PageBody {
    /// Returns the version at a time.
    pub(super) fn version(&self, at: Duration) -> u64 {
        let period = self
            .period
            .map_or(u128::MAX, |period| period.as_nanos().max(1));
        u64::try_from(at.as_nanos() / period).unwrap_or(u64::MAX)
    }

    /// Returns the bytes of a version. Those of two URLs or versions differ nearly everywhere.
    pub(super) fn bytes(&self, version: u64) -> Vec<u8> {
        let length = match self.length {
            0 => 0,
            length => length + version as usize % 7,
        };
        // Blocks of a length at which no piece begins, so that none can be exchanged.
        let mut state = random(version, &self.url);
        let block: Vec<u8> = (0..1021).map(|_| state.u8(..)).collect();
        let mut bytes = Vec::with_capacity(length + block.len());
        while bytes.len() < length {
            bytes.extend_from_slice(&block);
        }
        bytes.truncate(length);
        bytes
    }
}

impl SimSite {
    pub(super) fn of(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the page of a URL.
    pub(super) fn at(&self, url: &Url) -> Page {
        let number = |text: &str| text.get(1..).and_then(|digits| digits.parse().ok());
        let host = url
            .host_str()
            .and_then(|host| number(host.split('.').next()?));
        let (host, path) = (host.unwrap_or(0), url.path());
        if path == "/robots.txt" {
            let kind =
                PageKind::Robots(format!("/{}", random(self.seed, ("robots", host)).u8(..40)));
            let kind = self.host_problem(host).unwrap_or(kind);
            return Page {
                url: url.clone(),
                kind,
            };
        }
        self.page(host, number(path).unwrap_or(0))
    }

    /// Returns the path that the robots.txt of a host disallows.
    pub(super) fn disallowed(&self, url: &Url) -> String {
        let robots = url.join("/robots.txt").map(|robots| self.at(&robots).kind);
        match robots {
            Ok(PageKind::Robots(path)) => path,
            _ => String::new(),
        }
    }

    fn host_problem(&self, host: u64) -> Option<PageKind> {
        match random(self.seed, ("host", host)).u8(..24) {
            0 => Some(PageKind::NoHost),
            1 => Some(PageKind::NoServer),
            _ => None,
        }
    }

    /// Returns a page of a host by their numbers.
    pub(super) fn page(&self, host: u64, page: u64) -> Page {
        let url = Url::parse(&format!("http://h{host}.test/{page}")).unwrap();
        let mut rng = random(self.seed, ("page", host, page));
        let length = match rng.u8(..32) {
            0 | 1 => 0,
            2 => rng.usize(100_000..400_000),
            3..11 => rng.usize(5_000..40_000),
            _ => rng.usize(1..3_000),
        };
        let body = PageBody {
            url: url.to_string(),
            length,
            validator: match rng.u8(..4) {
                0 => Validator::Weak,
                1 => Validator::Date,
                2 => Validator::Nothing,
                _ => Validator::Strong,
            },
            is_coded: rng.u8(..12) == 0,
            is_sized: rng.u8(..4) > 0,
            period: (rng.u8(..5) == 0).then(|| Duration::from_secs(rng.u64(1..400))),
        };
        let kind = match rng.u8(..40) {
            0 => PageKind::Status([404, 410, 400, 401][rng.usize(..4)]),
            1 => PageKind::Status([500, 502, 504][rng.usize(..3)]),
            2..6 => PageKind::Moved {
                status: [301, 302, 303, 307, 308][rng.usize(..5)],
                to: Url::parse(&format!("http://h{}.test/{}", rng.u64(..6), rng.u64(..40)))
                    .unwrap(),
            },
            6 => PageKind::Gate(body),
            7 => PageKind::Loop,
            8 => PageKind::Pending(rng.u32(1..4), body),
            9 => PageKind::TooLarge,
            _ => PageKind::Body(body),
        };
        let kind = self.host_problem(host).unwrap_or(kind);
        Page { url, kind }
    }
}
