//! Many hosts with a few pages each, in an order that returns to a host only after all others.

use std::net::Ipv4Addr;

use super::{Asked, Bench, compare, memory};
use crate::nginx::Nginx;
use crate::programs::Tool;
use crate::table::{Report, peak};

const HOSTS: u32 = 2_000;
const TOOLS: [Tool; 3] = [Tool::Ours, Tool::Bare, Tool::Curl];
/// In MiB.
const MOST_MEMORY: f64 = 48.0;

/// Returns the addresses of the hosts; the first is localhost.
pub fn addresses() -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (first..first + HOSTS).map(Ipv4Addr::from).collect()
}

pub fn plain(bench: &mut Bench) -> Report {
    report(bench, "2,000 hosts", Nginx::url, 0.35)
}

/// With a TLS handshake per host.
pub fn tls(bench: &mut Bench) -> Report {
    report(bench, "2,000 hosts over TLS", Nginx::tls_url, 0.15)
}

fn report(
    bench: &mut Bench,
    work: &str,
    url: fn(&Nginx, Ipv4Addr, &str) -> String,
    of_curl: f64,
) -> Report {
    let hosts = addresses();
    let host = |number: usize| hosts.get(number % hosts.len()).copied();
    let lists = bench.pages_of(|number, path| {
        url(
            &bench.nginx,
            host(number).unwrap_or(Ipv4Addr::LOCALHOST),
            path,
        )
    });
    let rounds = bench.run(&lists, &bench.peers.all(&TOOLS));
    let mut report = compare(work, &rounds, &[Asked::cpu(Tool::Curl, of_curl)]);
    let ours = peak(rounds.tool(Tool::Ours).unwrap_or_default());
    report
        .limits
        .push(memory(work, "peak memory", ours, MOST_MEMORY));
    report
}
