//! Which address of a name is tried first: the one that was connected to last, where that is
//! not the first one anyway. It outlives what is remembered of a look-up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::types::HostName;

/// Names with a preferred address; some 100 bytes each. Most names need none: the first of
/// their addresses works.
const MAX_NAMES: usize = 16_384;
/// The connector divides its time among the addresses of each family. With a smaller share than
/// this a healthy address that lost a packet would fail, too.
const MIN_SHARE: Duration = Duration::from_secs(1);
/// Addresses of each family that are tried in any case.
const MIN_ADDRS: usize = 4;

tokio::task_local! {
    /// The addresses that were given out for the connection this task is making.
    pub static OFFERS: AddressOffers;
}

/// The addresses that were given out for one connection: of the host, and with a SOCKS proxy
/// also of that.
pub type AddressOffers = Arc<Mutex<Vec<AddressOffer>>>;

/// The addresses that were given out for a name.
#[derive(Debug)]
pub struct AddressOffer {
    host: HostName,
    /// The first one as the system has them.
    first: IpAddr,
    given: Vec<IpAddr>,
    /// The first one that was left out.
    next: Option<IpAddr>,
}

/// The preferred addresses.
#[derive(Debug, Default)]
pub struct PreferredAddresses {
    by_host: Mutex<HashMap<HostName, IpAddr>>,
}

impl PreferredAddresses {
    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, IpAddr>> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of a name in the order in which they are to be tried within `limit`.
    pub fn offer(&self, host: &str, mut addrs: Vec<IpAddr>, limit: Duration) -> Vec<IpAddr> {
        let (Some(first), true) = (addrs.first().copied(), addrs.len() > 1) else {
            return addrs;
        };
        let host = HostName::new(host);
        // Turned, not moved to the front: what failed before it then comes last.
        if let Some(preferred) = self.lock().get(&host)
            && let Some(at) = addrs.iter().position(|addr| addr == preferred)
        {
            addrs.rotate_left(at);
        }
        let next = leave_out(&mut addrs, max_addrs(limit));
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

    /// One of the addresses was connected to.
    pub fn connected(&self, offers: &AddressOffers, addr: IpAddr) {
        for offer in lock(offers).iter() {
            if offer.given.contains(&addr) {
                self.set(&offer.host, Some(addr).filter(|addr| *addr != offer.first));
            }
        }
    }

    /// None of them was connected to in time. Those that were left out come first next time.
    pub fn timed_out(&self, offers: &AddressOffers) {
        for offer in lock(offers).iter() {
            if offer.next.is_some() {
                self.set(&offer.host, offer.next);
            }
        }
    }

    fn set(&self, host: &HostName, addr: Option<IpAddr>) {
        let mut by_host = self.lock();
        match addr {
            Some(addr) => {
                if by_host.len() >= MAX_NAMES && !by_host.contains_key(host) {
                    by_host.clear();
                }
                by_host.insert(host.clone(), addr);
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

/// Addresses of one family that have a fair share of the time.
fn max_addrs(limit: Duration) -> usize {
    let shares = limit.as_nanos() / MIN_SHARE.as_nanos();
    usize::try_from(shares).unwrap_or(usize::MAX).max(MIN_ADDRS)
}

/// Leaves out what is more than `max` of a family; gives the first of them.
fn leave_out(addrs: &mut Vec<IpAddr>, max: usize) -> Option<IpAddr> {
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

    /// What is given out, and what is told of it afterwards.
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
    async fn what_was_connected_to_last_comes_first() {
        let preferred = PreferredAddresses::default();
        let all = addrs(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"]);
        let third = all[2];
        let given = offer(&preferred, &all, |offers| {
            preferred.connected(offers, third)
        })
        .await;
        assert_eq!(given, all);
        let turned = addrs(&["10.0.0.3", "::1", "10.0.0.1", "10.0.0.2"]);
        let keep = |_: &AddressOffers| {};
        assert_eq!(offer(&preferred, &all, keep).await, turned);
        // After another look-up the system may have them in another order, or others.
        let other = addrs(&["10.0.0.2", "10.0.0.3"]);
        assert_eq!(offer(&preferred, &other, keep).await[0], third);
        let gone = addrs(&["10.0.0.8", "10.0.0.9"]);
        assert_eq!(offer(&preferred, &gone, keep).await, gone);
        // The first one works again: nothing is remembered.
        let first = all[0];
        offer(&preferred, &all, |offers| {
            preferred.connected(offers, first)
        })
        .await;
        assert_eq!(offer(&preferred, &all, keep).await, all);
        assert!(preferred.lock().is_empty());
    }

    #[tokio::test]
    async fn an_address_of_somebody_else_says_nothing() {
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
    async fn of_many_addresses_some_are_tried_and_others_next_time() {
        let preferred = PreferredAddresses::default();
        let all: Vec<IpAddr> = (1..=25)
            .flat_map(|n| {
                let v6: IpAddr = format!("fd00::{n}").parse().unwrap();
                [IpAddr::from([10, 0, 0, n]), v6]
            })
            .collect();
        let mut tried = Vec::new();
        for _ in 0..3 {
            let late = |offers: &AddressOffers| preferred.timed_out(offers);
            let given = offer(&preferred, &all, late).await;
            assert_eq!(given.len(), 20);
            assert!(given.iter().filter(|addr| addr.is_ipv4()).count() == 10);
            tried.extend(given);
        }
        assert!(all.iter().all(|addr| tried.contains(addr)), "{tried:?}");
    }

    #[test]
    fn every_address_has_a_fair_share() {
        assert_eq!(max_addrs(Duration::from_secs(10)), 10);
        assert_eq!(max_addrs(Duration::from_millis(300)), 4);
        assert!(max_addrs(Duration::MAX) > 1_000_000);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let preferred = PreferredAddresses::default();
        let addr = Some([10, 0, 0, 1].into());
        for n in 0..MAX_NAMES + 10 {
            preferred.set(&HostName::new(&format!("{n}.test")), addr);
        }
        assert!(preferred.lock().len() <= MAX_NAMES);
    }
}
