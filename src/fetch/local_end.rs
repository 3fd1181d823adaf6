//! Where connections start: the address family, and the local address or network interface.

use std::net::{IpAddr, TcpListener};

use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::ClientBuilder;
use url::{Host, Url};

use super::dns::ResolveError;
use super::options::{HttpOptions, TransportError};

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFamily {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl AddressFamily {
    /// Returns the family of an address. One that is an IPv4 address mapped to IPv6 is reached over
    /// IPv4 (RFC 4291 §2.5.5.2).
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// Returns the addresses of this family.
    ///
    /// # Errors
    /// When the name has addresses, but none of this family.
    pub(super) fn filter(
        self,
        name: &str,
        mut addrs: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let had_any = !addrs.is_empty();
        addrs.retain(|addr| Self::of(*addr) == self);
        if had_any && addrs.is_empty() {
            return Err(self.absent(name, "it has no"));
        }
        Ok(addrs)
    }

    /// Checks a URL whose host is an address, which no resolver sees.
    ///
    /// # Errors
    /// When it is of the other family.
    pub(super) fn check_literal(self, url: &Url) -> Result<(), ResolveError> {
        let addr: IpAddr = match url.host() {
            Some(Host::Ipv4(addr)) => addr.into(),
            Some(Host::Ipv6(addr)) => addr.into(),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        match Self::of(addr) == self {
            true => Ok(()),
            false => Err(self.absent(&addr.to_canonical().to_string(), "it is no")),
        }
    }

    fn absent(self, host: &str, what: &str) -> ResolveError {
        let name = self.name();
        let reason = format!("{what} {name} address, and this run connects over {name} only");
        ResolveError::unusable(host, reason)
    }
}

/// The local end of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalEnd {
    /// An address of this machine. Only addresses of its family are connected to.
    Address(IpAddr),
    /// The name of a network interface, such as `eth0`. Linux only.
    Interface(String),
}

impl LocalEnd {
    /// Parses an address, with or without brackets, or else the name of an interface.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        match bare.unwrap_or(text).parse::<IpAddr>() {
            Ok(addr) => Self::Address(addr.to_canonical()),
            Err(_) => Self::Interface(text.to_owned()),
        }
    }

    /// Checks that sockets can use it, so that this fails once and not for every URL.
    pub(super) fn check(&self) -> Result<(), TransportError> {
        let (name, result) = match self {
            Self::Address(addr) => (addr.to_string(), TcpListener::bind((*addr, 0)).map(drop)),
            Self::Interface(name) => (name.clone(), try_interface(name)),
        };
        result.map_err(|cause| TransportError::LocalEnd { name, cause })
    }

    pub(super) fn apply_to_client(this: Option<&Self>, builder: ClientBuilder) -> ClientBuilder {
        match this {
            None => builder,
            Some(Self::Address(addr)) => builder.local_address(*addr),
            #[cfg(target_os = "linux")]
            Some(Self::Interface(name)) => builder.interface(name),
            #[cfg(not(target_os = "linux"))]
            Some(Self::Interface(_)) => builder,
        }
    }

    pub(super) fn apply_to_connector<R>(this: Option<&Self>, http: &mut HttpConnector<R>) {
        match this {
            None => {}
            Some(Self::Address(addr)) => http.set_local_address(Some(*addr)),
            #[cfg(target_os = "linux")]
            Some(Self::Interface(name)) => {
                http.set_interface(name.as_str());
            }
            #[cfg(not(target_os = "linux"))]
            Some(Self::Interface(_)) => {}
        }
    }
}

#[cfg(target_os = "linux")]
fn try_interface(name: &str) -> std::io::Result<()> {
    use socket2::{Domain, Socket, Type};
    Socket::new(Domain::IPV4, Type::STREAM, None)?.bind_device(Some(name.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn try_interface(_: &str) -> std::io::Result<()> {
    Err(std::io::Error::other(
        "interfaces by name are supported on Linux only; give an address",
    ))
}

/// Returns the only family to connect to: that of the options, or of the local address.
///
/// # Errors
/// When the two differ.
pub(super) fn family(options: &HttpOptions) -> Result<Option<AddressFamily>, TransportError> {
    let of_address = match &options.local_end {
        Some(LocalEnd::Address(addr)) => Some(AddressFamily::of(*addr)),
        _ => None,
    };
    match (options.family, of_address) {
        (Some(family), Some(other)) if family != other => Err(TransportError::LocalFamily {
            local: other.name(),
            family: family.name(),
        }),
        (family, other) => Ok(family.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_addresses_of_the_family_are_left() {
        let both = addrs(&["127.0.0.1", "::1", "127.0.0.2"]);
        let v4 = AddressFamily::V4.filter("a.test", both.clone());
        assert_eq!(v4.unwrap(), addrs(&["127.0.0.1", "127.0.0.2"]));
        let v6 = AddressFamily::V6.filter("a.test", both);
        assert_eq!(v6.unwrap(), addrs(&["::1"]));
        let none = AddressFamily::V6.filter("a.test", addrs(&["127.0.0.1"]));
        let none = none.unwrap_err();
        assert!(none.not_found);
        assert_eq!(
            none.to_string(),
            "it has no IPv6 address, and this run connects over IPv6 only"
        );
        assert!(AddressFamily::V6.filter("a.test", Vec::new()).is_ok());
    }

    #[test]
    fn an_address_in_a_url_has_to_be_of_the_family() {
        for (url, v4, v6) in [
            ("http://127.0.0.1/", true, false),
            ("http://0x7f.1/", true, false),
            ("http://[::1]:80/", false, true),
            ("http://[::ffff:127.0.0.1]/", true, false),
            ("http://a.test/", true, true),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(AddressFamily::V4.check_literal(&url).is_ok(), v4, "{url}");
            assert_eq!(AddressFamily::V6.check_literal(&url).is_ok(), v6, "{url}");
        }
    }

    #[test]
    fn a_local_address_sets_the_family() {
        let options = |family, end: Option<&str>| HttpOptions {
            family,
            local_end: end.map(LocalEnd::parse),
            ..HttpOptions::default()
        };
        let (v4, v6) = (Some(AddressFamily::V4), Some(AddressFamily::V6));
        for (given, end, expected) in [
            (None, None, None),
            (v4, None, v4),
            (None, Some("127.0.0.1"), v4),
            (None, Some("[::1]"), v6),
            (v6, Some("::1"), v6),
            (None, Some("::ffff:127.0.0.1"), v4),
            (v6, Some("lo"), v6),
        ] {
            assert_eq!(family(&options(given, end)).unwrap(), expected, "{end:?}");
        }
        assert!(family(&options(v6, Some("127.0.0.1"))).is_err());
    }

    #[test]
    fn an_address_or_interface_that_the_machine_lacks_is_an_error() {
        for (text, is_there) in [
            ("127.0.0.1", true),
            ("192.0.2.1", false),
            ("no-such-device", false),
        ] {
            assert_eq!(LocalEnd::parse(text).check().is_ok(), is_there, "{text}");
        }
    }
}
