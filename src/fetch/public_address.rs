//! `--deny-private`: decides which addresses are public. The decision depends on the address alone
//! and is made for exactly the addresses that are then connected to, so nothing can change in
//! between.
//!
//! It is stricter than the IANA registries (RFC 6890), which list some addresses as globally
//! reachable although the nearest device of the local network answers them. It can't detect public
//! addresses that are routed internally (a company's own), or NAT64 prefixes that a network has
//! chosen itself (RFC 6052 §2.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Cause, FetchError, Hint};

/// A range of addresses: its first address, the length of its prefix, and its purpose.
type AddressRange<A> = (A, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The IPv4 ranges that are not public.
const NON_PUBLIC_V4: [AddressRange<Ipv4Addr>; 17] = [
    (v4(0, 0, 0, 0), 8, "this network, RFC 791"),
    (v4(10, 0, 0, 0), 8, "private, RFC 1918"),
    (v4(100, 64, 0, 0), 10, "carrier-grade NAT, RFC 6598"),
    (v4(127, 0, 0, 0), 8, "loopback, RFC 1122"),
    // Looks public, but is a metadata service that answers only inside a virtual machine.
    (v4(168, 63, 129, 16), 32, "cloud metadata service"),
    (
        v4(169, 254, 169, 254),
        32,
        "cloud metadata service, RFC 3927",
    ),
    (v4(169, 254, 0, 0), 16, "link-local, RFC 3927"),
    (v4(172, 16, 0, 0), 12, "private, RFC 1918"),
    // All of it: the nearest NAT answers its anycast addresses (RFC 7723, RFC 8155), and one cloud
    // has a metadata service there.
    (v4(192, 0, 0, 0), 24, "protocol assignments, RFC 6890"),
    (v4(192, 0, 2, 0), 24, "documentation, RFC 5737"),
    (v4(192, 88, 99, 0), 24, "6to4 relay, RFC 7526"),
    (v4(192, 168, 0, 0), 16, "private, RFC 1918"),
    (v4(198, 18, 0, 0), 15, "benchmarking, RFC 2544"),
    (v4(198, 51, 100, 0), 24, "documentation, RFC 5737"),
    (v4(203, 0, 113, 0), 24, "documentation, RFC 5737"),
    (v4(224, 0, 0, 0), 4, "multicast, RFC 5771"),
    // Includes the broadcast address (RFC 919).
    (v4(240, 0, 0, 0), 4, "reserved, RFC 1112"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// The IPv6 ranges that are not public, the more specific before the more general.
const NON_PUBLIC_V6: [AddressRange<Ipv6Addr>; 15] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified, RFC 4291"),
    (Ipv6Addr::LOCALHOST, 128, "loopback, RFC 4291"),
    (v6(0, 0, 0), 96, "IPv4-compatible, RFC 4291"),
    (v6(0x64, 0xff9b, 1), 48, "local-use NAT64, RFC 8215"),
    (v6(0x100, 0, 0), 64, "discard-only, RFC 6666"),
    // All of 2001::/23, including Teredo (RFC 4380), whose addresses embed those of IPv4 hosts,
    // and anycast that the nearest device answers.
    (v6(0x2001, 0, 0), 32, "Teredo, RFC 4380"),
    (v6(0x2001, 0, 0), 23, "protocol assignments, RFC 2928"),
    (v6(0x2001, 0xdb8, 0), 32, "documentation, RFC 3849"),
    (v6(0x3fff, 0, 0), 20, "documentation, RFC 9637"),
    (v6(0x5f00, 0, 0), 16, "segment routing, RFC 9602"),
    (v6(0xfd00, 0xec2, 0), 32, "cloud metadata service, RFC 4193"),
    (v6(0xfc00, 0, 0), 7, "unique local, RFC 4193"),
    (v6(0xfe80, 0, 0), 10, "link-local, RFC 4291"),
    (v6(0xfec0, 0, 0), 10, "site-local, RFC 3879"),
    (v6(0xff00, 0, 0), 8, "multicast, RFC 4291"),
];

/// The first three bits of 2000::/3. Nothing outside of it is assigned (RFC 4291 §2.4, RFC 3587
/// §3).
const GLOBAL_UNICAST: u16 = 0b001;

/// Whether an address is public.
pub(super) fn is_public(addr: IpAddr) -> bool {
    range_of(addr).is_none()
}

/// Returns the purpose of an address that is not public.
fn range_of(addr: IpAddr) -> Option<&'static str> {
    match addr {
        IpAddr::V4(addr) => range_of_v4(addr),
        IpAddr::V6(addr) => match embedded(addr) {
            Some(inner) => range_of_v4(inner),
            None => range_of_v6(addr),
        },
    }
}

fn range_of_v4(addr: Ipv4Addr) -> Option<&'static str> {
    let shared_bits = |start: Ipv4Addr| (addr.to_bits() ^ start.to_bits()).leading_zeros();
    find_range(&NON_PUBLIC_V4, shared_bits)
}

fn range_of_v6(addr: Ipv6Addr) -> Option<&'static str> {
    let shared_bits = |start: Ipv6Addr| (addr.to_bits() ^ start.to_bits()).leading_zeros();
    let [first, ..] = addr.segments();
    let is_unassigned = first >> 13 != GLOBAL_UNICAST;
    find_range(&NON_PUBLIC_V6, shared_bits).or(is_unassigned.then_some("reserved, RFC 4291"))
}

/// Returns the purpose of the first range with whose start the address shares the prefix.
fn find_range<A: Copy>(
    ranges: &[AddressRange<A>],
    shared_bits: impl Fn(A) -> u32,
) -> Option<&'static str> {
    let (_, _, purpose) = ranges
        .iter()
        .find(|(start, prefix, _)| shared_bits(*start) >= *prefix)?;
    Some(purpose)
}

/// Returns the IPv4 address embedded in an IPv6 address: IPv4-mapped (RFC 4291 §2.5.5.2), NAT64
/// (RFC 6052 §2.1) or 6to4 (RFC 3056 §2).
fn embedded(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = addr.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, [c, d, e, f]) {
        (0, 0, [0, 0, 0, 0xffff]) | (0x64, 0xff9b, [0, 0, 0, 0]) => Some(of(g, h)),
        (0x2002, high, [low, ..]) => Some(of(high, low)),
        _ => None,
    }
}

/// None of the addresses of a name or URL is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) struct NonPublicAddress {
    /// The name, or `None` if the URL contains the address itself.
    name: Option<String>,
    addr: IpAddr,
    /// Number of further addresses, none of them public.
    more: usize,
}

impl fmt::Display for NonPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} resolves to ")?;
        }
        write!(f, "{}", self.addr)?;
        if let Some(range) = range_of(self.addr) {
            write!(f, " ({range})")?;
        }
        match self.more {
            0 => {}
            1 => f.write_str(" and 1 other non-public address")?,
            more => write!(f, " and {more} other non-public addresses")?,
        }
        Ok(())
    }
}

impl NonPublicAddress {
    /// Converts to the error of a job. It is not retried, since another attempt gets the same
    /// result.
    pub(super) fn into_error(self) -> FetchError {
        FetchError::Denied(Cause::from_error(self).with_hint(Hint::AllowPrivate))
    }
}

/// Returns the public addresses of a name. An empty list is passed on: it is not a violation.
///
/// # Errors
/// When there are addresses, but none is public.
pub(super) fn only_public(
    name: &str,
    mut addrs: Vec<IpAddr>,
) -> Result<Vec<IpAddr>, NonPublicAddress> {
    let first = addrs.first().copied();
    let all = addrs.len();
    addrs.retain(|addr| is_public(*addr));
    match first {
        Some(addr) if addrs.is_empty() => Err(NonPublicAddress {
            name: Some(name.to_owned()),
            addr,
            more: all - 1,
        }),
        _ => Ok(addrs),
    }
}

/// Checks a URL whose host is an address, which no resolver sees. URL parsing has normalized every
/// spelling of it.
///
/// # Errors
/// When the address is not public.
pub(super) fn check_literal(url: &url::Url) -> Result<(), NonPublicAddress> {
    let addr: IpAddr = match url.host() {
        Some(url::Host::Ipv4(addr)) => addr.into(),
        Some(url::Host::Ipv6(addr)) => addr.into(),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    if is_public(addr) {
        return Ok(());
    }
    Err(NonPublicAddress {
        name: None,
        addr,
        more: 0,
    })
}

#[cfg(test)]
mod tests;
