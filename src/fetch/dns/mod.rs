//! From host names to addresses, with errors that tell "no such name" from "not now".

mod answer;
mod cache;
mod lookups;
mod system;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

pub use answer::LookupFailed;
use lookups::Lookups;

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
    lookups: Lookups,
    /// The port of the request that is being connected, when it is known.
    port: fn() -> Option<u16>,
}

impl Resolver {
    pub fn new(rules: Vec<ResolveRule>, port: fn() -> Option<u16>) -> Self {
        Self {
            rules: rules.into(),
            lookups: Lookups::new(Arc::new(system::look_up)),
            port,
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
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str();
        if let Some(addrs) = self.rule(host).or_else(|| of_localhost(host)) {
            return Box::pin(async move { Ok(with_port_0(addrs)) });
        }
        let answer = self.lookups.ask(host);
        Box::pin(async move { Ok(with_port_0(answer.await?)) })
    }
}

/// RFC 6761 §6.3: names below `localhost` are this machine, and no name server is asked.
/// Few systems' resolvers know it. `localhost` itself is left to them.
fn of_localhost(host: &str) -> Option<Vec<IpAddr>> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name.ends_with(".localhost")
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Port 0 stands for the port of the URL.
fn with_port_0(addrs: Vec<IpAddr>) -> Addrs {
    Box::new(addrs.into_iter().map(|addr| SocketAddr::new(addr, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_name_and_port_wins() {
        let rule = |host: Option<&str>, port, addr: &str| ResolveRule {
            host: host.map(str::to_owned),
            port,
            addrs: vec![addr.parse().unwrap()],
        };
        let rules = vec![
            rule(Some("a.test"), 80, "127.0.0.1"),
            rule(None, 80, "127.0.0.2"),
        ];
        let resolver = Resolver::new(rules.clone(), || Some(80));
        assert_eq!(resolver.rule("A.test"), Some(rules[0].addrs.clone()));
        assert_eq!(resolver.rule("b.test"), Some(rules[1].addrs.clone()));
        assert_eq!(Resolver::new(rules, || Some(81)).rule("a.test"), None);
    }

    #[test]
    fn names_below_localhost_are_this_machine() {
        assert!(of_localhost("a.LOCALHOST").is_some() && of_localhost("a.b.localhost.").is_some());
        for other in ["localhost", "notlocalhost", "localhost.example.com"] {
            assert_eq!(of_localhost(other), None, "{other}");
        }
    }
}
