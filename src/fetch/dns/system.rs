//! The system's resolver: `getaddrinfo`, which reads `/etc/hosts`, `resolv.conf` and any other
//! configuration of the machine, and blocks its thread.

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};

use super::types::{LookupResult, ResolveError};

/// Resolves a name. Blocks without a time limit of its own.
pub(super) fn look_up(host: &str) -> LookupResult {
    // Without a socket type, every address is returned once per socket type.
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
        // EAI_NONAME and EAI_NODATA are answers; any other error means that there was none.
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
    fn localhost_resolves_without_a_network() {
        let addrs = look_up("localhost").unwrap();
        assert!(!addrs.is_empty() && addrs.iter().all(IpAddr::is_loopback));
    }
}
