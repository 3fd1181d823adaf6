//! `--deny-private`: which addresses are the public internet's. A pure rule over the address
//! alone, so that it can be asked of an address that is about to be connected to, and of
//! nothing that could change in between.
//!
//! It is stricter than the registries of IANA (RFC 6890) where these call globally reachable
//! what the nearest box of one's own network answers. Two things it can't know: addresses of
//! the public kind that are routed inside (a company's own), and prefixes that a network has
//! chosen itself for its NAT64 (RFC 6052 §2.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Cause, FetchError};

/// A range of addresses by its first one, the length of its prefix, and what it is for.
type AddressRange<A> = (A, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The IPv4 ranges that are not public.
const NON_PUBLIC_V4: [AddressRange<Ipv4Addr>; 17] = [
    (v4(0, 0, 0, 0), 8, "this network, RFC 791"),
    (v4(10, 0, 0, 0), 8, "private, RFC 1918"),
    (v4(100, 64, 0, 0), 10, "shared with the provider, RFC 6598"),
    (v4(127, 0, 0, 0), 8, "loopback, RFC 1122"),
    // It looks public, but answers only from within a virtual machine: a metadata service.
    (v4(168, 63, 129, 16), 32, "metadata of a cloud"),
    (v4(169, 254, 169, 254), 32, "metadata of a cloud, RFC 3927"),
    (v4(169, 254, 0, 0), 16, "link-local, RFC 3927"),
    (v4(172, 16, 0, 0), 12, "private, RFC 1918"),
    // Whole: the anycast addresses in it are answered by the nearest NAT (RFC 7723, RFC 8155),
    // and one cloud has a metadata service there.
    (v4(192, 0, 0, 0), 24, "protocol assignments, RFC 6890"),
    (v4(192, 0, 2, 0), 24, "documentation, RFC 5737"),
    (v4(192, 88, 99, 0), 24, "relays of 6to4, RFC 7526"),
    (v4(192, 168, 0, 0), 16, "private, RFC 1918"),
    (v4(198, 18, 0, 0), 15, "benchmarks, RFC 2544"),
    (v4(198, 51, 100, 0), 24, "documentation, RFC 5737"),
    (v4(203, 0, 113, 0), 24, "documentation, RFC 5737"),
    (v4(224, 0, 0, 0), 4, "multicast, RFC 5771"),
    // The broadcast address included (RFC 919).
    (v4(240, 0, 0, 0), 4, "reserved, RFC 1112"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// The IPv6 ranges that are not public, the more special before the more general.
const NON_PUBLIC_V6: [AddressRange<Ipv6Addr>; 15] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified, RFC 4291"),
    (Ipv6Addr::LOCALHOST, 128, "loopback, RFC 4291"),
    (v6(0, 0, 0), 96, "IPv4-compatible, RFC 4291"),
    (v6(0x64, 0xff9b, 1), 48, "NAT64 of this network, RFC 8215"),
    (v6(0x100, 0, 0), 64, "discarded, RFC 6666"),
    // Whole, with Teredo (RFC 4380) in it, whose addresses hold those of IPv4 hosts, and
    // anycast that the nearest box answers.
    (v6(0x2001, 0, 0), 32, "Teredo, RFC 4380"),
    (v6(0x2001, 0, 0), 23, "protocol assignments, RFC 2928"),
    (v6(0x2001, 0xdb8, 0), 32, "documentation, RFC 3849"),
    (v6(0x3fff, 0, 0), 20, "documentation, RFC 9637"),
    (v6(0x5f00, 0, 0), 16, "segment routing, RFC 9602"),
    (v6(0xfd00, 0xec2, 0), 32, "metadata of a cloud, RFC 4193"),
    (v6(0xfc00, 0, 0), 7, "unique local, RFC 4193"),
    (v6(0xfe80, 0, 0), 10, "link-local, RFC 4291"),
    (v6(0xfec0, 0, 0), 10, "site-local, RFC 3879"),
    (v6(0xff00, 0, 0), 8, "multicast, RFC 4291"),
];

/// Outside of 2000::/3 nothing is assigned to anybody (RFC 4291 §2.4, RFC 3587 §3).
const GLOBAL_UNICAST: u16 = 0b001;

/// Whether an address is the public internet's.
pub fn is_public(addr: IpAddr) -> bool {
    range_of(addr).is_none()
}

/// What an address is for that is not the public internet's.
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
    let is_in = |range: &&AddressRange<Ipv4Addr>| {
        let differs = addr.to_bits() ^ range.0.to_bits();
        differs.leading_zeros() >= range.1
    };
    NON_PUBLIC_V4.iter().find(is_in).map(|range| range.2)
}

fn range_of_v6(addr: Ipv6Addr) -> Option<&'static str> {
    let is_in = |range: &&AddressRange<Ipv6Addr>| {
        let differs = addr.to_bits() ^ range.0.to_bits();
        differs.leading_zeros() >= range.1
    };
    let [first, ..] = addr.segments();
    match NON_PUBLIC_V6.iter().find(is_in) {
        Some(range) => Some(range.2),
        None => (first >> 13 != GLOBAL_UNICAST).then_some("reserved, RFC 4291"),
    }
}

/// The IPv4 host that is behind an IPv6 address: mapped (RFC 4291 §2.5.5.2), by NAT64
/// (RFC 6052 §2.1) or by 6to4 (RFC 3056 §2).
fn embedded(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = addr.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, [c, d, e, f]) {
        (0, 0, [0, 0, 0, 0xffff]) | (0x64, 0xff9b, [0, 0, 0, 0]) => Some(of(g, h)),
        (0x2002, high, [low, ..]) => Some(of(high, low)),
        _ => None,
    }
}

/// Not one of the addresses of a name or URL is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NonPublicAddress {
    /// The name; `None` where the address itself stood in the URL.
    name: Option<String>,
    addr: IpAddr,
    /// Further addresses that are not public either.
    more: usize,
}

impl fmt::Display for NonPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} is ")?;
        }
        write!(f, "{}", self.addr)?;
        if let Some(range) = range_of(self.addr) {
            write!(f, " ({range})")?;
        }
        match self.more {
            0 => {}
            1 => f.write_str(" and 1 other address of that sort")?,
            more => write!(f, " and {more} other addresses of that sort")?,
        }
        f.write_str("; with --deny-private only public addresses are connected to")
    }
}

impl NonPublicAddress {
    /// The error of the job. It is final: the same list gets the same answer.
    pub fn into_error(self) -> FetchError {
        FetchError::Denied(Cause::from_error(self))
    }
}

/// The public ones of the addresses of a name. None at all is another matter: that is no
/// answer that could be refused.
///
/// # Errors
/// When there are addresses, but no public one.
pub fn only_public(name: &str, mut addrs: Vec<IpAddr>) -> Result<Vec<IpAddr>, NonPublicAddress> {
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

/// Checks a URL whose host is an address: no resolver is asked for it. However it was
/// spelt, parsing has made an address of it.
///
/// # Errors
/// When it is one that is not public.
pub fn check_literal(url: &url::Url) -> Result<(), NonPublicAddress> {
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
