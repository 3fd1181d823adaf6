//! The lists to fetch.

use std::net::SocketAddr;

/// The kind of host that a URL belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// A normal host. The benchmark measures what the others cost it.
    Healthy,
    /// A slow, rate-limiting or failing host.
    Troubled,
    /// A host that never responds. The server does not see its requests.
    Dead,
}

pub struct Url {
    pub group: Group,
    pub text: String,
}

impl Url {
    pub fn new(group: Group, addr: SocketAddr, number: u32) -> Self {
        let text = format!("http://{addr}/{number}");
        Self { group, text }
    }
}

/// Shuffles a list, in the same way in every run.
pub fn shuffled(mut urls: Vec<Url>) -> Vec<Url> {
    fastrand::Rng::with_seed(7).shuffle(&mut urls);
    urls
}
