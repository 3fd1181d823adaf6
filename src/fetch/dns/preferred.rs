//! Remembers which address of a name worked last, to try it first, or failed last, to try it last.
//! Entries outlive the DNS cache.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::types::HostName;

/// Maximum number of names with a remembered address, some 100 bytes each. Most names need none,
/// because their first address works.
const MAX_NAMES: usize = 16_384;
/// Minimum share of the connect timeout per address. The connector divides its timeout among the
/// addresses of each family; with a smaller share, one lost packet would fail a healthy address.
const MIN_SHARE: Duration = Duration::from_secs(1);
/// Number of addresses per family that are tried even if their share is smaller.
const MIN_ADDRS: usize = 4;

tokio::task_local! {
    /// The addresses offered for the connection that this task is making.
    pub static OFFERS: AddressOffers;
}

/// The addresses offered for one connection: those of the host and, with a SOCKS proxy, also those
/// of the proxy.
pub(crate) type AddressOffers = Arc<Mutex<Vec<AddressOffer>>>;

/// The addresses offered for a name.
#[derive(Debug)]
pub(crate) struct AddressOffer {
    host: HostName,
    /// The first address in the order of the system.
    first: IpAddr,
    given: Vec<IpAddr>,
    /// The first address that was omitted.
    next: Option<IpAddr>,
}

/// Where to start in the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstAddress {
    /// At this one, which worked last.
    At(IpAddr),
    /// After this one, which failed last.
    After(IpAddr),
}

/// The preferred addresses by name.
#[derive(Debug, Default)]
pub(super) struct PreferredAddresses {
    by_host: Mutex<HashMap<HostName, FirstAddress>>,
}

impl PreferredAddresses {
    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, FirstAddress>> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses of a name in the order in which to try them, as many as can be tried
    /// within `limit`.
    pub(super) fn offer(&self, host: &str, mut addrs: Vec<IpAddr>, limit: Duration) -> Vec<IpAddr> {
        let (Some(first), true) = (addrs.first().copied(), addrs.len() > 1) else {
            return addrs;
        };
        let host = HostName::new(host);
        // Rotates instead of moving one address, so that those that failed before it come last.
        let found = self.lock().get(&host).and_then(|start| match start {
            FirstAddress::At(addr) => addrs.iter().position(|one| one == addr),
            FirstAddress::After(addr) => Some(addrs.iter().position(|one| one == addr)? + 1),
        });
        let start = found.unwrap_or(0) % addrs.len();
        addrs.rotate_left(start);
        let next = truncate_families(&mut addrs, max_addrs(limit));
        let _ = OFFERS.try_with(|offers| {
            let offer = AddressOffer {
                host,
                first,
                given: addrs.clone(),
                next,
            };
            lock(offers).push(offer);
        });
        addrs
    }

    /// Prefers `addr` from now on: it could be connected to. That says nothing new of one that
    /// failed later, unless it was connected to in spite of that, as the last one.
    pub(super) fn connected(&self, offers: &AddressOffers, addr: IpAddr) {
        for offer in lock(offers).iter() {
            let failed = self.lock().get(&offer.host) == Some(&FirstAddress::After(addr));
            let is_news = !failed || offer.given.first() != Some(&addr);
            if is_news && offer.given.contains(&addr) {
                let start = (addr != offer.first).then_some(FirstAddress::At(addr));
                self.set(&offer.host, start);
            }
        }
    }

    /// Prefers other addresses from now on: no connection was made. Those that were omitted come
    /// first; else the first one comes last, because it may have accepted the connection and then
    /// have been silent.
    pub(super) fn not_connected(&self, offers: &AddressOffers) {
        for offer in lock(offers).iter() {
            let first = offer.given.first().copied().map(FirstAddress::After);
            let start = offer.next.map(FirstAddress::At).or(first);
            self.set(&offer.host, start);
        }
    }

    /// Tries `addr` last from now on: a request failed there.
    pub(super) fn failed(&self, host: &str, addr: IpAddr) {
        self.set(&HostName::new(host), Some(FirstAddress::After(addr)));
    }

    fn set(&self, host: &HostName, start: Option<FirstAddress>) {
        let mut by_host = self.lock();
        match start {
            Some(start) => {
                if by_host.len() >= MAX_NAMES && !by_host.contains_key(host) {
                    by_host.clear();
                }
                by_host.insert(host.clone(), start);
            }
            None => {
                by_host.remove(host);
            }
        }
    }
}

fn lock(offers: &AddressOffers) -> MutexGuard<'_, Vec<AddressOffer>> {
    offers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how many addresses per family get a sufficient share of `limit`.
fn max_addrs(limit: Duration) -> usize {
    let shares = limit.as_nanos() / MIN_SHARE.as_nanos();
    usize::try_from(shares).unwrap_or(usize::MAX).max(MIN_ADDRS)
}

/// Removes addresses beyond `max` per family. Returns the first removed one.
fn truncate_families(addrs: &mut Vec<IpAddr>, max: usize) -> Option<IpAddr> {
    let (mut v4, mut v6, mut next) = (0, 0, None);
    addrs.retain(|addr| {
        let count = if addr.is_ipv4() { &mut v4 } else { &mut v6 };
        *count += 1;
        if *count > max && next.is_none() {
            next = Some(*addr);
        }
        *count <= max
    });
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn addrs(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Returns the offered addresses, and reports the outcome with `then`.
    async fn offer(
        preferred: &PreferredAddresses,
        all: &[IpAddr],
        then: impl FnOnce(&AddressOffers),
    ) -> Vec<IpAddr> {
        let offers = AddressOffers::default();
        let looking_up = async { preferred.offer("A.test", all.to_vec(), LIMIT) };
        let given = OFFERS.scope(Arc::clone(&offers), looking_up).await;
        then(&offers);
        given
    }

    #[tokio::test]
    async fn the_address_that_connected_last_is_tried_first() {
        let preferred = PreferredAddresses::default();
        let all = addrs(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"]);
        let third = all[2];
        let given = offer(&preferred, &all, |offers| {
            preferred.connected(offers, third)
        })
        .await;
        assert_eq!(given, all);
        let rotated = addrs(&["10.0.0.3", "::1", "10.0.0.1", "10.0.0.2"]);
        let keep = |_: &AddressOffers| {};
        assert_eq!(offer(&preferred, &all, keep).await, rotated);
        // Another lookup may return another order, or other addresses.
        let other = addrs(&["10.0.0.2", "10.0.0.3"]);
        assert_eq!(offer(&preferred, &other, keep).await[0], third);
        let gone = addrs(&["10.0.0.8", "10.0.0.9"]);
        assert_eq!(offer(&preferred, &gone, keep).await, gone);
        // The first address works again, so there is no preference.
        let first = all[0];
        offer(&preferred, &all, |offers| {
            preferred.connected(offers, first)
        })
        .await;
        assert_eq!(offer(&preferred, &all, keep).await, all);
        assert!(preferred.lock().is_empty());
    }

    #[tokio::test]
    async fn an_address_that_was_not_offered_is_ignored() {
        let preferred = PreferredAddresses::default();
        let all = addrs(&["10.0.0.1", "10.0.0.2"]);
        let proxy = "10.9.9.9".parse().unwrap();
        offer(&preferred, &all, |offers| {
            preferred.connected(offers, proxy)
        })
        .await;
        assert!(preferred.lock().is_empty());
    }

    #[tokio::test]
    async fn the_address_that_failed_last_is_tried_last() {
        let preferred = PreferredAddresses::default();
        let all = addrs(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let (first, second) = (all[0], all[1]);
        let keep = |_: &AddressOffers| {};
        // A connection that was begun earlier says nothing new.
        offer(&preferred, &all, |offers| {
            preferred.failed("a.TEST", first);
            preferred.connected(offers, first);
        })
        .await;
        let rotated = addrs(&["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
        assert_eq!(offer(&preferred, &all, keep).await, rotated);
        preferred.failed("a.test", second);
        let rotated = addrs(&["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(offer(&preferred, &all, keep).await, rotated);
        preferred.failed("a.test", all[2]);
        assert_eq!(offer(&preferred, &all, keep).await, all);
        // All others are dead now.
        preferred.failed("a.test", first);
        offer(&preferred, &all, |offers| {
            preferred.connected(offers, first)
        })
        .await;
        assert_eq!(offer(&preferred, &all, keep).await, all);
    }

    #[tokio::test]
    async fn an_address_that_accepts_and_is_silent_is_tried_last() {
        let preferred = PreferredAddresses::default();
        let all = addrs(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        for start in [0, 1, 2, 0] {
            let late = |offers: &AddressOffers| preferred.not_connected(offers);
            let given = offer(&preferred, &all, late).await;
            assert_eq!(given[0], all[start]);
        }
    }

    #[tokio::test]
    async fn of_many_addresses_the_omitted_ones_are_tried_next_time() {
        let preferred = PreferredAddresses::default();
        let all: Vec<IpAddr> = (1..=25)
            .flat_map(|n| {
                let v6: IpAddr = format!("fd00::{n}").parse().unwrap();
                [IpAddr::from([10, 0, 0, n]), v6]
            })
            .collect();
        let mut tried = Vec::new();
        for _ in 0..3 {
            let late = |offers: &AddressOffers| preferred.not_connected(offers);
            let given = offer(&preferred, &all, late).await;
            assert_eq!(given.len(), 20);
            assert!(given.iter().filter(|addr| addr.is_ipv4()).count() == 10);
            tried.extend(given);
        }
        assert!(all.iter().all(|addr| tried.contains(addr)), "{tried:?}");
    }

    #[test]
    fn every_address_gets_a_sufficient_share() {
        assert_eq!(max_addrs(Duration::from_secs(10)), 10);
        assert_eq!(max_addrs(Duration::from_millis(300)), 4);
        assert!(max_addrs(Duration::MAX) > 1_000_000);
    }

    #[test]
    fn the_number_of_preferences_is_bounded() {
        let preferred = PreferredAddresses::default();
        for n in 0..MAX_NAMES + 10 {
            preferred.failed(&format!("{n}.test"), [10, 0, 0, 1].into());
        }
        assert!(preferred.lock().len() <= MAX_NAMES);
    }
}
