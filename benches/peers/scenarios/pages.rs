//! Pages and tiny bodies of one host.

use std::net::Ipv4Addr;

use super::{Asked, Bench, compare};
use crate::programs::Tool;
use crate::table::Report;

const ALL: [Tool; 5] = [Tool::Ours, Tool::Bare, Tool::Oha, Tool::Curl, Tool::Aiohttp];
const TINY: u64 = 50_000;

/// The pages over HTTP/1.1.
pub fn pages(bench: &mut Bench) -> Report {
    let rounds = bench.run(&bench.pages(), &bench.peers.all(&ALL));
    let curl = Asked::cpu(Tool::Curl, bench.peers.of_curl(0.5, 0.65));
    let asked = [
        curl.wall(0.55),
        Asked::cpu(Tool::Bare, 1.2),
        Asked::cpu(Tool::Oha, 1.35),
        Asked::cpu(Tool::Aiohttp, 0.12),
    ];
    compare("10,000 pages", &rounds, &asked)
}

/// Bodies of a few bytes.
pub fn tiny(bench: &mut Bench) -> Report {
    let tools = [Tool::Ours, Tool::Bare, Tool::Oha, Tool::Curl];
    let rounds = bench.run(&bench.tiny(TINY), &bench.peers.all(&tools));
    let asked = [
        Asked::cpu(Tool::Curl, bench.peers.of_curl(0.4, 0.65)),
        Asked::cpu(Tool::Oha, 1.2),
    ];
    compare("50,000 tiny bodies", &rounds, &asked)
}

/// The pages over HTTP/2 with TLS.
pub fn http2(bench: &mut Bench) -> Report {
    let lists = bench.pages_of(|_, path| bench.nginx.tls_url(Ipv4Addr::LOCALHOST, path));
    let tools = [Tool::Ours, Tool::Bare, Tool::Curl];
    let rounds = bench.run(&lists, &bench.peers.all(&tools));
    let asked = [Asked::cpu(Tool::Curl, bench.peers.of_curl(0.5, 0.45))];
    compare("10,000 pages, HTTP/2 over TLS", &rounds, &asked)
}
