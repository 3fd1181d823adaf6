//! The system's resolver: `getaddrinfo`, which knows `/etc/hosts`, `resolv.conf` and
//! whatever else the machine is set up with, and blocks its thread until it knows.

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};

use super::types::{LookupResult, ResolveError};

/// Asks the system for the addresses of a name. Takes as long as the system likes.
pub fn look_up(host: &str) -> LookupResult {
    // Without a socket type every address comes once for each of them.
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let infos = dns_lookup::getaddrinfo(Some(host), None, Some(hints))
        .map_err(|error| failure(host, error))?;
    Ok(infos.flatten().map(|info| info.sockaddr.ip()).collect())
}

fn failure(host: &str, error: LookupError) -> ResolveError {
    match error.kind() {
        // EAI_NONAME and EAI_NODATA are answers; everything else is the lack of one.
        LookupErrorKind::NoName | LookupErrorKind::NoData => ResolveError::not_found(host),
        _ => {
            let reason = crate::model::chain_text(&std::io::Error::from(error));
            ResolveError::without_answer(host, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn localhost_is_known_without_a_network() {
        let addrs = look_up("localhost").unwrap();
        assert!(!addrs.is_empty() && addrs.iter().all(IpAddr::is_loopback));
    }
}
