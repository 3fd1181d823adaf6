use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Every block of the registries of special-purpose addresses (IPv4 and IPv6), multicast and
/// unassigned blocks, and whether we treat it as public.
const BLOCKS: &[(&str, u32, bool)] = &[
    ("0.0.0.0", 8, false),
    ("0.0.0.0", 32, false),
    ("10.0.0.0", 8, false),
    ("100.64.0.0", 10, false),
    ("127.0.0.0", 8, false),
    ("169.254.0.0", 16, false),
    ("172.16.0.0", 12, false),
    ("192.0.0.0", 24, false),
    ("192.0.0.0", 29, false),
    ("192.0.0.8", 32, false),
    // Globally reachable according to the registry: PCP and TURN anycast, which the nearest NAT
    // answers.
    ("192.0.0.9", 32, false),
    ("192.0.0.10", 32, false),
    ("192.0.0.170", 31, false),
    ("192.0.2.0", 24, false),
    ("192.31.196.0", 24, true),
    ("192.52.193.0", 24, true),
    ("192.88.99.0", 24, false),
    ("192.88.99.2", 32, false),
    ("192.168.0.0", 16, false),
    ("192.175.48.0", 24, true),
    ("198.18.0.0", 15, false),
    ("198.51.100.0", 24, false),
    ("203.0.113.0", 24, false),
    ("224.0.0.0", 4, false),
    ("240.0.0.0", 4, false),
    ("255.255.255.255", 32, false),
    ("::1", 128, false),
    ("::", 128, false),
    ("64:ff9b:1::", 48, false),
    ("100::", 64, false),
    ("100:0:0:1::", 64, false),
    ("2001::", 23, false),
    ("2001::", 32, false),
    // Globally reachable according to the registry, but never a web server.
    ("2001:1::1", 128, false),
    ("2001:1::2", 128, false),
    ("2001:1::3", 128, false),
    ("2001:2::", 48, false),
    ("2001:3::", 32, false),
    ("2001:4:112::", 48, false),
    ("2001:10::", 28, false),
    ("2001:20::", 28, false),
    ("2001:30::", 28, false),
    ("2001:db8::", 32, false),
    ("2620:4f:8000::", 48, true),
    ("3fff::", 20, false),
    ("5f00::", 16, false),
    ("fc00::", 7, false),
    ("fe80::", 10, false),
    ("fec0::", 10, false),
    ("ff00::", 8, false),
    // Unassigned.
    ("::", 8, false),
    ("200::", 7, false),
    ("400::", 6, false),
    ("800::", 5, false),
    ("1000::", 4, false),
    ("4000::", 3, false),
    ("6000::", 3, false),
    ("8000::", 3, false),
    ("a000::", 3, false),
    ("c000::", 3, false),
    ("e000::", 4, false),
    ("f000::", 5, false),
    ("f800::", 6, false),
    ("fe00::", 9, false),
];

/// Returns the first and the last address of a block.
fn ends(block: IpAddr, prefix: u32) -> [IpAddr; 2] {
    match block {
        IpAddr::V4(first) => {
            let last = first.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0);
            [first.into(), Ipv4Addr::from_bits(last).into()]
        }
        IpAddr::V6(first) => {
            let last = first.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0);
            [first.into(), Ipv6Addr::from_bits(last).into()]
        }
    }
}

#[test]
fn every_registered_block_is_classified_from_its_first_to_its_last_address() {
    for (block, prefix, public) in BLOCKS {
        for addr in ends(ip(block), *prefix) {
            assert_eq!(is_public(addr), *public, "{addr} of {block}/{prefix}");
        }
    }
}

/// Tests addresses next to the blocks and outside of all of them.
#[test]
fn addresses_next_to_the_blocks_are_public() {
    for addr in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.1.255",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
        "2003::",
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",
        "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert!(is_public(ip(addr)), "{addr}");
    }
}

#[test]
fn metadata_services_are_rejected_and_named() {
    for addr in [
        "169.254.169.254",
        "fd00:ec2::254",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ] {
        let range = range_of(ip(addr));
        assert!(
            range.is_some_and(|range| range.contains("metadata")),
            "{addr}"
        );
    }
    // Other services are in ranges that are rejected as a whole.
    for addr in [
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "fd20:ce::254",
    ] {
        assert!(!is_public(ip(addr)), "{addr}");
    }
}

#[test]
fn the_ipv4_host_behind_an_ipv6_address_decides() {
    for (inner, public) in [
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("169.254.169.254", false),
        ("0.0.0.0", false),
        ("255.255.255.255", false),
        ("8.8.8.8", true),
    ] {
        let IpAddr::V4(v4) = ip(inner) else {
            unreachable!()
        };
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low);
        let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
        let by_6to4 = Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5);
        for addr in [mapped, nat64, by_6to4] {
            assert_eq!(is_public(addr.into()), public, "{addr}");
        }
        // These are never public, whatever address they embed.
        let compatible = Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low);
        let translated = Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low);
        let local_nat64 = Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low);
        let teredo = Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low);
        for addr in [compatible, translated, local_nat64, teredo] {
            assert!(!is_public(addr.into()), "{addr}");
        }
    }
}

#[test]
fn a_literal_is_rejected_however_it_is_spelled() {
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.01",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７。0.0.1",
        "0",
        "10.1",
        "[::1]",
        "[::]",
        "[0:0::0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let url = url::Url::parse(&format!("http://{host}/")).unwrap();
        assert!(check_literal(&url).is_err(), "{host} is {url}");
    }
    for host in ["8.8.8.8", "[2606:4700::1]", "localhost", "example.com"] {
        let url = url::Url::parse(&format!("http://{host}/")).unwrap();
        assert_eq!(check_literal(&url), Ok(()), "{host}");
    }
}

#[test]
fn the_message_names_the_address_and_its_range() {
    let addrs = vec![ip("10.0.0.7"), ip("::1"), ip("fe80::1")];
    let error = only_public("a.test", addrs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.test resolves to 10.0.0.7 (private, RFC 1918) and 2 other non-public addresses"
    );
    let text = error.to_string();
    let error = error.into_error();
    assert!(error.to_string().ends_with(&text), "{error}");
    assert_eq!(error.kind(), crate::model::ErrorKind::Denied);
    assert_eq!(error.hint(), Some(crate::model::Hint::AllowPrivate));
    assert!(!error.is_transient());
    assert_eq!(only_public("a.test", Vec::new()), Ok(Vec::new()));
}

/// The IPv4 rule a second time, by octets.
fn is_public_by_octets(addr: Ipv4Addr) -> bool {
    !matches!(
        addr.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [168, 63, 129, 16]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Addresses, many of them in or next to a special block.
fn near_blocks() -> impl Strategy<Value = IpAddr> {
    let near = (0..BLOCKS.len(), any::<u128>(), 0..2_u32).prop_map(|(block, noise, out)| {
        let (block, prefix, _) = BLOCKS[block];
        match ip(block) {
            IpAddr::V4(first) => {
                let noise = (noise as u32)
                    .checked_shr(prefix - out.min(prefix))
                    .unwrap_or(0);
                Ipv4Addr::from_bits(first.to_bits() ^ noise).into()
            }
            IpAddr::V6(first) => {
                let noise = noise.checked_shr(prefix - out.min(prefix)).unwrap_or(0);
                Ipv6Addr::from_bits(first.to_bits() ^ noise).into()
            }
        }
    });
    let anywhere = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
    ];
    prop_oneof![near, anywhere]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn nothing_that_std_calls_special_is_public(addr in near_blocks()) {
        let special = addr.is_loopback() || addr.is_multicast() || addr.is_unspecified() || match addr {
            IpAddr::V4(addr) => {
                addr.is_private() || addr.is_link_local() || addr.is_broadcast()
                    || addr.is_documentation()
            }
            IpAddr::V6(addr) => addr.is_unique_local() || addr.is_unicast_link_local(),
        };
        prop_assert!(!(special && is_public(addr)), "{}", addr);
        if let IpAddr::V4(addr) = addr {
            prop_assert_eq!(is_public(addr.into()), is_public_by_octets(addr));
            // Both forms connect to the same host.
            let mapped = IpAddr::from(addr.to_ipv6_mapped());
            prop_assert_eq!(is_public(mapped), is_public(mapped.to_canonical()));
        }
        if let IpAddr::V6(v6) = addr && is_public(addr) {
            let behind = v6.to_ipv4_mapped().is_some() || embedded(v6).is_some();
            prop_assert!(behind || v6.segments()[0] >> 13 == 1, "{}", addr);
        }
    }

    /// The check of a URL agrees with that of its address.
    #[test]
    fn literals_in_urls_are_classified_like_their_address(addr in near_blocks()) {
        let host = match addr {
            IpAddr::V4(addr) => format!("{:#x}", addr.to_bits()),
            IpAddr::V6(addr) => format!("[{addr}]"),
        };
        let url = url::Url::parse(&format!("http://{host}/")).unwrap();
        prop_assert_eq!(check_literal(&url).is_ok(), is_public(addr));
    }

    #[test]
    fn a_host_name_is_never_an_address_for_the_connector(
        host in "[0-9a-fx.:%\\[\\]]{1,20}"
    ) {
        if let Ok(url) = url::Url::parse(&format!("http://{host}/"))
            && let Some(url::Host::Domain(name)) = url.host()
        {
            prop_assert!(name.parse::<IpAddr>().is_err(), "{}", name);
        }
    }
}
