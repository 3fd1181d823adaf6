//! Resolves host names: by the rules of `--resolve` first, then from the cache, then by the
//! system. Errors distinguish "no such name" from temporary failures.

mod cache;
mod lookup_pool;
mod preferred;
mod system;
mod types;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::connection_info::BoxError;
use super::local_end::AddressFamily;
use super::public_address::only_public;
use lookup_pool::{CachePolicy, LookupFn, LookupPool};
use preferred::PreferredAddresses;
pub(super) use preferred::{AddressOffers, OFFERS};
pub(super) use types::ResolveError;

/// One `--resolve HOST:PORT:ADDR[,ADDR]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRule {
    /// The host name; `None` for any (`*`).
    pub host: Option<String>,
    /// The port in the URL.
    pub port: u16,
    /// The addresses to connect to instead of those of the host.
    pub addrs: Vec<IpAddr>,
}

/// Resolves by the rules of `--resolve`, else by the system.
pub(super) struct Resolver {
    rules: Arc<[ResolveRule]>,
    lookups: LookupPool,
    /// Returns the port of the request that is connecting, if known.
    port: fn() -> Option<u16>,
    /// Whether that request ignores cached failures.
    bypass_cache: fn() -> bool,
    /// Whether non-public addresses are removed.
    only_public: bool,
    /// The only IP version whose addresses are used.
    family: Option<AddressFamily>,
    /// Which address of a name is tried first.
    preferred: Arc<PreferredAddresses>,
    /// The timeout that all addresses of a name share.
    limit: Duration,
}

impl Resolver {
    pub(super) fn new(rules: Vec<ResolveRule>, port: fn() -> Option<u16>) -> Self {
        Self::with_lookup(Box::new(system::look_up), rules, port)
    }

    fn with_lookup(look_up: LookupFn, rules: Vec<ResolveRule>, port: fn() -> Option<u16>) -> Self {
        Self {
            rules: rules.into(),
            lookups: LookupPool::new(look_up),
            port,
            bypass_cache: || false,
            only_public: false,
            family: None,
            preferred: Arc::default(),
            limit: Duration::MAX,
        }
    }

    /// Limits the addresses of a name to those that can be tried within this time.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Reports that one of the offered addresses connected. It is tried first next time.
    pub(super) fn connected(&self, offers: &AddressOffers, addr: IpAddr) {
        self.preferred.connected(offers, addr);
    }

    /// Reports that no connection was made to any of the offered addresses.
    pub(super) fn not_connected(&self, offers: &AddressOffers) {
        self.preferred.not_connected(offers);
    }

    /// Reports that a request to this host failed at this address. It is tried last next time.
    pub(super) fn failed(&self, host: &str, addr: IpAddr) {
        self.preferred.failed(host, addr);
    }

    /// Ignores cached failures for the requests for which `bypass_cache` returns true.
    pub(super) fn bypass_cache_when(self, bypass_cache: fn() -> bool) -> Self {
        Self {
            bypass_cache,
            ..self
        }
    }

    /// Removes non-public addresses, whatever their source. Only the remaining ones are connected
    /// to, so DNS rebinding (a name that later resolves to a private address) has no effect.
    pub(super) fn only_public(self, only_public: bool) -> Self {
        Self {
            only_public,
            ..self
        }
    }

    /// Removes addresses of the other IP version, whatever their source.
    pub(super) fn only_family(self, family: Option<AddressFamily>) -> Self {
        Self { family, ..self }
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
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str();
        let filter = AddressFilter {
            name: host.to_owned(),
            only_public: self.only_public,
            family: self.family,
        };
        let (preferred, limit) = (Arc::clone(&self.preferred), self.limit);
        let offer = move |addrs| {
            let addrs = filter.check(addrs)?;
            Ok(to_socket_addrs(preferred.offer(&filter.name, addrs, limit)))
        };
        if let Some(addrs) = self.rule(host).or_else(|| localhost_addrs(host)) {
            return Box::pin(async move { offer(addrs) });
        }
        let policy = if (self.bypass_cache)() {
            CachePolicy::Answers
        } else {
            CachePolicy::All
        };
        let answer = self.lookups.lookup(host, policy);
        Box::pin(async move { offer(answer.await?) })
    }
}

/// Which addresses of a name may be connected to.
struct AddressFilter {
    name: String,
    only_public: bool,
    family: Option<AddressFamily>,
}

impl AddressFilter {
    fn check(&self, mut addrs: Vec<IpAddr>) -> Result<Vec<IpAddr>, BoxError> {
        if let Some(family) = self.family {
            addrs = family.filter(&self.name, addrs)?;
        }
        if self.only_public {
            addrs = only_public(&self.name, addrs)?;
        }
        Ok(addrs)
    }
}

/// Returns the loopback addresses for names below `localhost`, which must not be sent to DNS
/// servers (RFC 6761 §6.3). Few system resolvers implement this. `localhost` itself is left to
/// them.
fn localhost_addrs(host: &str) -> Option<Vec<IpAddr>> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name.ends_with(".localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Port 0 means the port of the URL.
fn to_socket_addrs(addrs: Vec<IpAddr>) -> Addrs {
    Box::new(addrs.into_iter().map(|addr| SocketAddr::new(addr, 0)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use super::*;

    /// Returns the addresses that a resolver offers for a name.
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
    fn the_first_rule_that_matches_name_and_port_wins() {
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
    async fn rules_override_a_cached_lookup() {
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

    /// The first backoff can be shorter than the time for which a failure is cached.
    #[tokio::test]
    async fn a_retry_ignores_a_cached_failure() {
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

    /// Every lookup is filtered, so a name that later resolves to a private address is rejected
    /// then.
    #[tokio::test]
    async fn only_public_removes_non_public_addresses() {
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
        // A new resolver, as if the cached result had expired.
        let resolver =
            Resolver::with_lookup(Box::new(look_up), rules, || Some(80)).only_public(true);
        for (host, addr) in [
            ("turns.test", "169.254.169.254"),
            ("ruled.test", "127.0.0.1"),
            ("a.localhost", "127.0.0.1"),
        ] {
            let error = resolver.resolve(host.parse().unwrap()).await.err().unwrap();
            let error = error
                .downcast_ref::<super::super::public_address::NonPublicAddress>()
                .unwrap();
            let start = format!("{host} resolves to {addr} (");
            assert!(error.to_string().starts_with(&start), "{error}");
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
    async fn a_failure_has_the_type_that_classification_expects() {
        let look_up = Box::new(|host: &str| match host {
            "unsure.test" => Err(ResolveError::temporary(host)),
            _ => Err(ResolveError::not_found(host)),
        });
        let resolver = Resolver::with_lookup(look_up, Vec::new(), || None);
        for (host, not_found) in [("unsure.test", false), ("no-such-name.test", true)] {
            // Twice: from the lookup, and from the cache.
            for _ in 0..2 {
                let resolving = resolver.resolve(host.parse().unwrap());
                let error = resolving.await.err().unwrap();
                let failed = error.downcast_ref::<ResolveError>().unwrap();
                assert_eq!((&*failed.host, failed.not_found), (host, not_found));
            }
        }
    }

    #[test]
    fn names_below_localhost_are_loopback() {
        assert!(
            localhost_addrs("a.LOCALHOST").is_some() && localhost_addrs("a.b.localhost.").is_some()
        );
        for other in ["localhost", "notlocalhost", "localhost.example.com"] {
            assert_eq!(localhost_addrs(other), None, "{other}");
        }
    }
}
