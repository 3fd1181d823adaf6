//! The lists that are fetched.

use std::net::SocketAddr;

/// What kind of host a URL belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Nothing is wrong with it; what the others cost it is measured.
    Healthy,
    /// Slow, limited or failing.
    Troubled,
    /// It never answers, and the server never hears of it.
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

/// The same mixture in every run.
pub fn shuffled(mut urls: Vec<Url>) -> Vec<Url> {
    fastrand::Rng::with_seed(7).shuffle(&mut urls);
    urls
}
