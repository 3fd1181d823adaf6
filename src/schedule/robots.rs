//! What the origins of a run allow: the rules of each robots.txt, in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use crate::model::{
    FetchError, GiveUpReason, HostKey, Outcome, RobotsBody, RobotsProblem, RobotsRules,
    deadline_after, elide_middle, is_product_token, is_robots_txt, now,
};

/// Rules are read again after this time (RFC 9309 §2.4).
const RULES_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long an origin counts as closed whose robots.txt could not be read, retries included.
const UNREAD_TTL: Duration = Duration::from_secs(5 * 60);
/// Memory of one half of the rules. Whenever it is used up, the other half is dropped: the origins
/// that were not asked for since. With few rules each, 300,000 origins fit.
const MAX_HALF_BYTES: usize = 16 << 20;
/// Memory of an origin without its rules, in bytes: its slot in a map that may be half empty.
const ENTRY_BYTES: usize = 96;
/// Maximum length of a pattern in a message, in characters.
const MAX_SHOWN_CHARS: usize = 100;
/// The product token of the program.
const PRODUCT_TOKEN: &str = "fetchall";

/// Whether and how a run obeys robots.txt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RobotsOptions {
    /// The product token whose groups apply. `fetchall` by default.
    pub agent: String,
    /// The longest `Crawl-delay` that is obeyed; a longer one counts as this. 30 s by default.
    pub crawl_delay_max: Duration,
}

impl Default for RobotsOptions {
    fn default() -> Self {
        Self {
            agent: PRODUCT_TOKEN.to_owned(),
            crawl_delay_max: Duration::from_secs(30),
        }
    }
}

impl RobotsOptions {
    /// Parses a product token: letters, digits, `_` and `-`. The error is a message.
    pub fn parse_agent(name: &str) -> Result<String, String> {
        match is_product_token(name) {
            true => Ok(name.to_owned()),
            false => Err("expected a product token: letters, digits, _ and -".to_owned()),
        }
    }
}

/// What is known of an origin when an attempt asks for a turn.
#[derive(Debug)]
pub(super) enum Permission {
    /// It may run. `None`: no rules apply, because it is a robots.txt itself or the run has no
    /// `--robots`.
    Granted(Option<HostRules>),
    /// The rules have to be read first.
    Unknown,
    /// It must not run.
    Denied(Denial),
}

/// Why an attempt must not run.
#[derive(Debug)]
pub(super) struct Denial {
    pub error: FetchError,
    /// Whether the reason is a simulated failure of the robots.txt.
    pub is_simulated: bool,
}

/// What the robots.txt of a host says about all its URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostRules {
    /// Until when the rules count.
    pub until: Instant,
    /// Minimum time between two starts.
    pub interval: Duration,
}

/// What a robots.txt says.
#[derive(Debug, Clone)]
pub(super) enum SiteRules {
    /// Nothing that concerns the run.
    Open,
    /// Its rules.
    Rules(Arc<RobotsRules>),
    /// It could not be read, so that nothing is allowed.
    Unread {
        error: Arc<FetchError>,
        is_simulated: bool,
    },
}

impl SiteRules {
    /// Reads the result of a robots.txt that was fetched, possibly after redirects.
    pub(super) fn read(
        body: &RobotsBody,
        outcome: &Outcome,
        (was_redirected, is_simulated): (bool, bool),
        agent: &str,
    ) -> Self {
        let unread = |error| Self::Unread {
            error: Arc::new(error),
            is_simulated,
        };
        let error = match outcome {
            Outcome::Failed(error) => error,
            Outcome::Fetched(_) | Outcome::Skipped => return Self::parse(body, agent),
        };
        match error {
            // The first 500 KiB were read; they count.
            FetchError::TooLarge { .. } => Self::parse(body, agent),
            FetchError::Status { status, .. } if is_unavailable(status.as_u16()) => Self::Open,
            // Redirects that lead nowhere are the answer of a site without the file (§2.3.1.2).
            FetchError::Redirect { .. } => Self::Open,
            // Another host is not reached; nothing is known of the one that sent there.
            error if was_redirected => unread(unread_robots(error)),
            error => unread(error_of_urls(error)),
        }
    }

    fn parse(body: &RobotsBody, agent: &str) -> Self {
        /// Long texts are read one after the other: meanwhile their rules take many times as much.
        static READING: Mutex<()> = Mutex::new(());

        let text = body.take();
        let _turn = text
            .is_long()
            .then(|| READING.lock().unwrap_or_else(PoisonError::into_inner));
        let rules = RobotsRules::parse(&text.bytes, agent);
        match rules.is_empty() {
            true => Self::Open,
            false => Self::Rules(Arc::new(rules)),
        }
    }

    fn weight(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Open => 0,
                Self::Rules(rules) => rules.weight(),
                Self::Unread { .. } => size_of::<FetchError>(),
            }
    }

    /// Returns why a URL must not be requested; `None` if it may.
    pub(super) fn denial(&self, url: &Url) -> Option<Denial> {
        match self {
            Self::Open => None,
            Self::Rules(rules) => {
                let pattern = elide_middle(rules.disallowing(url)?, MAX_SHOWN_CHARS);
                Some(Denial {
                    error: FetchError::Robots {
                        problem: RobotsProblem::Disallowed(pattern),
                    },
                    is_simulated: false,
                })
            }
            Self::Unread {
                error,
                is_simulated,
            } => Some(Denial {
                error: FetchError::clone(error),
                is_simulated: *is_simulated,
            }),
        }
    }
}

/// Whether a status says that there is no robots.txt (RFC 9309 §2.3.1.3). A 429 does not.
fn is_unavailable(status: u16) -> bool {
    (300..500).contains(&status) && status != 429
}

/// Returns the error of the URLs of an origin whose robots.txt failed with `error`. Where no
/// connection came about, that is what fails the URLs.
fn error_of_urls(error: &FetchError) -> FetchError {
    match error {
        FetchError::HostGivenUp { .. } => error.clone(),
        FetchError::Dns { .. }
        | FetchError::Refused { .. }
        | FetchError::Unreachable { .. }
        | FetchError::ConnectTimeout { .. }
        | FetchError::Tls { .. }
        | FetchError::Denied(_)
        | FetchError::Proxy { .. } => FetchError::HostGivenUp {
            error: Arc::new(error.clone()),
            why: GiveUpReason::RobotsUnread,
        },
        _ => unread_robots(error),
    }
}

fn unread_robots(error: &FetchError) -> FetchError {
    FetchError::Robots {
        problem: RobotsProblem::Unread(Arc::new(error.clone())),
    }
}

/// The rules of all origins.
#[derive(Debug)]
pub(super) struct RobotsRegistry {
    options: RobotsOptions,
    /// Origins are told apart by a keyed hash, which takes less memory than their names.
    hasher: RandomState,
    known: Mutex<KnownRules>,
}

#[derive(Debug, Default)]
struct KnownRules {
    recent: HashMap<u64, CachedRules>,
    older: HashMap<u64, CachedRules>,
    recent_bytes: usize,
}

#[derive(Debug, Clone)]
struct CachedRules {
    rules: SiteRules,
    until: Instant,
}

impl RobotsRegistry {
    pub(super) fn new(options: RobotsOptions) -> Self {
        Self {
            options,
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }

    pub(super) fn agent(&self) -> &str {
        &self.options.agent
    }

    fn lock(&self) -> MutexGuard<'_, KnownRules> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, origin: &str) -> Option<CachedRules> {
        let key = self.hasher.hash_one(origin);
        let found = self.lock().find(key)?;
        (found.until > now()).then_some(found)
    }

    /// Decides about a URL. The rules are matched without a lock: hostile ones take milliseconds.
    pub(super) fn permission(&self, url: &Url) -> Permission {
        if is_robots_txt(url) {
            return Permission::Granted(None);
        }
        let Some(found) = self.find(HostKey::key_str(url)) else {
            return Permission::Unknown;
        };
        match found.rules.denial(url) {
            Some(denial) => Permission::Denied(denial),
            None => Permission::Granted(Some(self.host_rules(&found))),
        }
    }

    fn host_rules(&self, found: &CachedRules) -> HostRules {
        let delay = match &found.rules {
            SiteRules::Rules(rules) => rules.crawl_delay.unwrap_or_default(),
            SiteRules::Open | SiteRules::Unread { .. } => Duration::ZERO,
        };
        HostRules {
            until: found.until,
            interval: delay.min(self.options.crawl_delay_max),
        }
    }

    /// Adds the rules of an origin.
    pub(super) fn insert(&self, origin: &str, rules: SiteRules) -> HostRules {
        let ttl = match rules {
            SiteRules::Unread { .. } => UNREAD_TTL,
            SiteRules::Open | SiteRules::Rules(_) => RULES_TTL,
        };
        let until = deadline_after(now(), ttl);
        let cached = CachedRules { rules, until };
        let host = self.host_rules(&cached);
        self.lock().insert(self.hasher.hash_one(origin), cached);
        host
    }

    /// Returns what the robots.txt of its origin says about the use of a URL, as far as known.
    pub(super) fn content_usage(&self, url: &Url) -> Option<String> {
        match self.find(HostKey::key_str(url))?.rules {
            SiteRules::Rules(rules) => rules.content_usage(url).map(str::to_owned),
            SiteRules::Open | SiteRules::Unread { .. } => None,
        }
    }
}

impl KnownRules {
    fn find(&mut self, key: u64) -> Option<CachedRules> {
        if let Some(found) = self.recent.get(&key) {
            return Some(found.clone());
        }
        let found = self.older.remove(&key)?;
        self.insert(key, found.clone());
        Some(found)
    }

    fn insert(&mut self, key: u64, rules: CachedRules) {
        self.older.remove(&key);
        self.recent_bytes += rules.rules.weight();
        if let Some(replaced) = self.recent.insert(key, rules) {
            self.recent_bytes -= replaced.rules.weight();
        }
        if self.recent_bytes > MAX_HALF_BYTES {
            self.older = mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::model::{Cause, FetchSuccess, RedirectProblem, SavedBody};

    fn registry() -> RobotsRegistry {
        RobotsRegistry::new(RobotsOptions::default())
    }

    fn rules(text: &str) -> SiteRules {
        let body = RobotsBody::default();
        body.append(text.as_bytes());
        let fetched = FetchSuccess {
            head: None,
            saved: SavedBody::default(),
        };
        SiteRules::read(
            &body,
            &Outcome::Fetched(Box::new(fetched)),
            (false, false),
            PRODUCT_TOKEN,
        )
    }

    /// Returns what a failed robots.txt means for the URLs of its origin.
    fn after(error: FetchError) -> Option<FetchError> {
        let url = Url::parse("http://a.test/x").unwrap();
        let outcome = Outcome::Failed(error);
        let rules = SiteRules::read(&RobotsBody::default(), &outcome, (false, false), "x");
        rules.denial(&url).map(|denial| denial.error)
    }

    fn status(code: u16) -> FetchError {
        FetchError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: None,
            note: None,
        }
    }

    #[test]
    fn a_robots_txt_that_is_not_there_allows_all_and_one_that_fails_nothing() {
        for code in [301, 400, 401, 403, 404, 410, 451, 499] {
            assert!(after(status(code)).is_none(), "{code}");
        }
        let redirect = FetchError::Redirect {
            problem: RedirectProblem::TooMany(5),
        };
        assert!(after(redirect).is_none());
        let cause = || Cause::from_text("x");
        for (error, kind) in [
            (status(429), "robots"),
            (status(500), "robots"),
            (status(503), "robots"),
            (status(599), "robots"),
            (FetchError::Reset { cause: cause() }, "robots"),
            (
                FetchError::Truncated {
                    received: 1,
                    expected: None,
                },
                "robots",
            ),
            (FetchError::Protocol { cause: cause() }, "robots"),
            (FetchError::Refused { cause: cause() }, "refused"),
            (FetchError::Tls { cause: cause() }, "tls"),
        ] {
            let is_final = !error.is_transient();
            let denied = after(error).unwrap();
            assert_eq!(denied.kind().as_str(), kind, "{denied}");
            assert!(
                denied.is_transient() || (is_final && kind == "tls"),
                "{denied}"
            );
        }
    }

    #[test]
    fn rules_are_forgotten_when_others_need_the_memory_unless_they_are_used() {
        let registry = registry();
        let origin = |number: usize| format!("http://{number}.test");
        let is_known = |number: usize| registry.find(&origin(number)).is_some();
        let fitting = MAX_HALF_BYTES / ENTRY_BYTES;
        for number in 0..=2 * fitting {
            registry.insert(&origin(number), SiteRules::Open);
            assert!(is_known(0));
        }
        assert!(is_known(2 * fitting) && is_known(fitting + 100) && !is_known(1));
        assert!(2 * fitting >= 300_000);
        let known = registry.lock();
        assert!(known.recent_bytes <= MAX_HALF_BYTES);
        assert!(known.recent.len() + known.older.len() <= 2 * fitting + 2);
    }

    #[test]
    fn what_is_known_of_an_origin_decides_about_its_urls() {
        let registry = registry();
        let ask = |url: &str| registry.permission(&Url::parse(url).unwrap());
        assert!(matches!(ask("http://a.test/x"), Permission::Unknown));
        assert!(matches!(
            ask("http://a.test/robots.txt"),
            Permission::Granted(None)
        ));
        let text = "user-agent: *\ndisallow: /x\ncrawl-delay: 99";
        let host = registry.insert("http://a.test", rules(text));
        assert_eq!(host.interval, Duration::from_secs(30), "bounded");
        assert!(matches!(ask("http://a.test/x"), Permission::Denied(_)));
        assert!(matches!(ask("http://a.test/"), Permission::Granted(Some(it)) if it == host));
        for other in ["https://a.test/", "http://a.test:81/", "http://b.test/"] {
            assert!(matches!(ask(other), Permission::Unknown), "{other}");
        }
    }
}
