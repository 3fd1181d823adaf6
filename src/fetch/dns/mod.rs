//! From host names to addresses, with errors that tell "no such name" from "not now":
//! the rules of `--resolve` first, then what is remembered, then the system.

mod cache;
mod lookup_pool;
mod preferred;
mod system;
mod types;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::public_address::{NonPublicAddress, only_public};
use lookup_pool::{CachePolicy, LookupFn, LookupPool};
use preferred::PreferredAddresses;
pub use preferred::{AddressOffers, OFFERS};
pub use types::ResolveError;

/// One `--resolve HOST:PORT:ADDR[,ADDR]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRule {
    /// The name; `None` for any (`*`).
    pub host: Option<String>,
    /// The port of the URL it is for.
    pub port: u16,
    /// The addresses to connect to instead.
    pub addrs: Vec<IpAddr>,
}

/// The system's resolver, after the rules of `--resolve`.
pub struct Resolver {
    rules: Arc<[ResolveRule]>,
    lookups: LookupPool,
    /// The port of the request that is being connected, when it is known.
    port: fn() -> Option<u16>,
    /// Whether that request is to ask again where nobody could tell a moment ago.
    anew: fn() -> bool,
    /// Whether addresses that are not public are left out.
    only_public: bool,
    /// Which address of a name is tried first.
    preferred: Arc<PreferredAddresses>,
    /// The time for connecting to one of them.
    limit: Duration,
}

impl Resolver {
    pub fn new(rules: Vec<ResolveRule>, port: fn() -> Option<u16>) -> Self {
        Self::with_lookup(Box::new(system::look_up), rules, port)
    }

    fn with_lookup(look_up: LookupFn, rules: Vec<ResolveRule>, port: fn() -> Option<u16>) -> Self {
        Self {
            rules: rules.into(),
            lookups: LookupPool::new(look_up),
            port,
            anew: || false,
            only_public: false,
            preferred: Arc::default(),
            limit: Duration::MAX,
        }
    }

    /// Gives out as many addresses of a name as can be tried within this time.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// One of the addresses that were given out was connected to: it comes first next time.
    pub fn connected(&self, offers: &AddressOffers, addr: IpAddr) {
        self.preferred.connected(offers, addr);
    }

    /// None of the addresses that were given out was connected to in time.
    pub fn timed_out(&self, offers: &AddressOffers) {
        self.preferred.timed_out(offers);
    }

    /// Asks again for a name that nobody could tell a moment ago, for the requests of
    /// which `anew` is true.
    pub fn bypass_cache_when(self, anew: fn() -> bool) -> Self {
        Self { anew, ..self }
    }

    /// Leaves out addresses that are not public, wherever they come from. Those that are left
    /// are connected to and nothing else, so a name that changes its mind gains nothing.
    pub fn only_public(self, only_public: bool) -> Self {
        Self {
            only_public,
            ..self
        }
    }

    fn rule(&self, host: &str) -> Option<Vec<IpAddr>> {
        let port = (self.port)()?;
        let fits = |rule: &&ResolveRule| {
            rule.port == port
                && rule
                    .host
                    .as_deref()
                    .is_none_or(|name| name.eq_ignore_ascii_case(host))
        };
        self.rules.iter().find(fits).map(|rule| rule.addrs.clone())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, asked: Name) -> Resolving {
        let host = asked.as_str();
        let guard = AddressFilter {
            name: self.only_public.then(|| host.to_owned()),
        };
        let (preferred, limit, name) = (Arc::clone(&self.preferred), self.limit, host.to_owned());
        let give = move |addrs| {
            let addrs = guard.check(addrs)?;
            Ok(to_socket_addrs(preferred.offer(&name, addrs, limit)))
        };
        if let Some(addrs) = self.rule(host).or_else(|| localhost_addrs(host)) {
            return Box::pin(async move { give(addrs) });
        }
        let trust = if (self.anew)() {
            CachePolicy::Answers
        } else {
            CachePolicy::All
        };
        let answer = self.lookups.lookup(host, trust);
        Box::pin(async move { give(answer.await?) })
    }
}

/// Which addresses of a name may be connected to.
struct AddressFilter {
    /// The name, when only public ones may.
    name: Option<String>,
}

impl AddressFilter {
    fn check(&self, addrs: Vec<IpAddr>) -> Result<Vec<IpAddr>, NonPublicAddress> {
        match &self.name {
            Some(name) => only_public(name, addrs),
            None => Ok(addrs),
        }
    }
}

/// RFC 6761 §6.3: names below `localhost` are this machine, and no name server is asked.
/// Few systems' resolvers know it. `localhost` itself is left to them.
fn localhost_addrs(host: &str) -> Option<Vec<IpAddr>> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name.ends_with(".localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Port 0 stands for the port of the URL.
fn to_socket_addrs(addrs: Vec<IpAddr>) -> Addrs {
    Box::new(addrs.into_iter().map(|addr| SocketAddr::new(addr, 0)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use super::*;

    /// The addresses that a resolver gives for a name.
    async fn resolve(resolver: &Resolver, host: &str) -> Vec<String> {
        let addrs = resolver.resolve(host.parse().unwrap()).await.unwrap();
        addrs.map(|addr| addr.to_string()).collect()
    }

    fn rule(host: Option<&str>, port: u16, addr: &str) -> ResolveRule {
        ResolveRule {
            host: host.map(str::to_owned),
            port,
            addrs: vec![addr.parse().unwrap()],
        }
    }

    #[test]
    fn the_first_rule_that_fits_name_and_port_wins() {
        let rules = vec![
            rule(Some("a.test"), 80, "127.0.0.1"),
            rule(None, 80, "127.0.0.2"),
        ];
        let resolver = Resolver::new(rules.clone(), || Some(80));
        assert_eq!(resolver.rule("A.test"), Some(rules[0].addrs.clone()));
        assert_eq!(resolver.rule("b.test"), Some(rules[1].addrs.clone()));
        assert_eq!(Resolver::new(rules, || Some(81)).rule("a.test"), None);
    }

    #[tokio::test]
    async fn rules_beat_what_a_look_up_found() {
        static PORT: AtomicU16 = AtomicU16::new(80);
        let found = Box::new(|_: &str| Ok(vec!["192.0.2.1".parse().unwrap()]));
        let rules = vec![rule(Some("a.test"), 81, "127.0.0.1")];
        let resolver = Resolver::with_lookup(found, rules, || Some(PORT.load(Relaxed)));
        assert_eq!(resolve(&resolver, "a.test").await, ["192.0.2.1:0"]);
        PORT.store(81, Relaxed);
        assert_eq!(resolve(&resolver, "a.test").await, ["127.0.0.1:0"]);
        PORT.store(80, Relaxed);
        assert_eq!(resolve(&resolver, "a.test").await, ["192.0.2.1:0"]);
    }

    /// The first wait before a retry is shorter than the failure is remembered.
    #[tokio::test]
    async fn a_retry_asks_again_where_nobody_could_tell() {
        static ASKED: AtomicU16 = AtomicU16::new(0);
        let look_up = |host: &str| match ASKED.fetch_add(1, Relaxed) {
            0 => Err(ResolveError::temporary(host)),
            _ => Ok(vec!["192.0.2.1".parse().unwrap()]),
        };
        let resolver = Resolver::with_lookup(Box::new(look_up), Vec::new(), || None);
        let first = resolver.resolve("a.test".parse().unwrap()).await;
        assert!(first.is_err());
        let resolver = resolver.bypass_cache_when(|| true);
        for _ in 0..2 {
            assert_eq!(resolve(&resolver, "a.test").await, ["192.0.2.1:0"]);
        }
        assert_eq!(ASKED.load(Relaxed), 2);
    }

    /// Of addresses of both kinds the public ones are left, at every look-up anew: a name that
    /// turns to an inner address later is refused then.
    #[tokio::test]
    async fn with_the_guard_only_public_addresses_come_out() {
        static ASKED: AtomicU16 = AtomicU16::new(0);
        let look_up = |host: &str| {
            let texts: &[&str] = match host {
                "mixed.test" => &["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1"],
                "turns.test" if ASKED.fetch_add(1, Relaxed) == 0 => &["8.8.8.8"],
                "turns.test" => &["169.254.169.254", "::1"],
                _ => &[],
            };
            match texts.is_empty() {
                true => Err(ResolveError::not_found(host)),
                false => Ok(texts.iter().map(|text| text.parse().unwrap()).collect()),
            }
        };
        let rules = vec![rule(Some("ruled.test"), 80, "127.0.0.1")];
        let resolver = Resolver::with_lookup(Box::new(look_up), rules.clone(), || Some(80));
        assert_eq!(resolve(&resolver, "mixed.test").await.len(), 4);
        let resolver = resolver.only_public(true);
        let public = ["8.8.8.8:0", "[2606:4700::1]:0"];
        assert_eq!(resolve(&resolver, "mixed.test").await, public);
        assert_eq!(resolve(&resolver, "turns.test").await, ["8.8.8.8:0"]);
        // As when what is remembered has run out.
        let resolver =
            Resolver::with_lookup(Box::new(look_up), rules, || Some(80)).only_public(true);
        for (host, addr) in [
            ("turns.test", "169.254.169.254"),
            ("ruled.test", "127.0.0.1"),
            ("a.localhost", "127.0.0.1"),
        ] {
            let error = resolver.resolve(host.parse().unwrap()).await.err().unwrap();
            let told = error
                .downcast_ref::<NonPublicAddress>()
                .unwrap()
                .to_string();
            assert!(told.starts_with(&format!("{host} is {addr} (")), "{told}");
        }
        let missing = resolver.resolve("none.test".parse().unwrap()).await;
        assert!(missing.err().unwrap().is::<ResolveError>());
    }

    #[tokio::test]
    async fn names_below_localhost_are_not_looked_up() {
        let nothing = Box::new(|host: &str| Err(ResolveError::not_found(host)));
        let resolver = Resolver::with_lookup(nothing, Vec::new(), || None);
        let here = ["127.0.0.1:0", "[::1]:0"];
        assert_eq!(resolve(&resolver, "a.localhost").await, here);
    }

    #[tokio::test]
    async fn a_failure_is_of_the_type_that_is_looked_for() {
        let look_up = Box::new(|host: &str| match host {
            "unsure.test" => Err(ResolveError::temporary(host)),
            _ => Err(ResolveError::not_found(host)),
        });
        let resolver = Resolver::with_lookup(look_up, Vec::new(), || None);
        for (host, not_found) in [("unsure.test", false), ("no-such-name.test", true)] {
            // Twice: from the look-up, and remembered.
            for _ in 0..2 {
                let resolving = resolver.resolve(host.parse().unwrap());
                let error = resolving.await.err().unwrap();
                let failed = error.downcast_ref::<ResolveError>().unwrap();
                assert_eq!((&*failed.host, failed.not_found), (host, not_found));
            }
        }
    }

    #[test]
    fn names_below_localhost_are_this_machine() {
        assert!(
            localhost_addrs("a.LOCALHOST").is_some() && localhost_addrs("a.b.localhost.").is_some()
        );
        for other in ["localhost", "notlocalhost", "localhost.example.com"] {
            assert_eq!(localhost_addrs(other), None, "{other}");
        }
    }
}
