//! 200 hosts, one of them slow: the run takes no longer than the other hosts alone plus the slow
//! host's minimum.

use super::ms;
use crate::list::{Group, Url, shuffled};
use crate::program::Program;
use crate::run::Task;
use crate::server::{Host, Server};
use crate::table::Row;
use std::time::Duration;

const QUICK_HOSTS: usize = 199;
const QUICK: Duration = ms(20);
/// The minimum for the slow host: its four URLs run concurrently.
const SLOW: Duration = ms(5000);

pub fn rows(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| {
        let rest = task(|server| server.urls(Group::Healthy, 10)).run(program);
        let ideal = rest.wall + SLOW;
        let all = task(all).ideal(ideal).run(program);
        Row::of(scenario, program, &all)
            .base(&rest)
            .ideal(ideal)
            .at_most(1.05)
    };
    programs.iter().map(row).collect()
}

fn all(server: &Server) -> Vec<Url> {
    let mut urls = server.urls(Group::Healthy, 10);
    urls.extend(server.urls(Group::Troubled, 4));
    urls
}

fn task(urls: impl Fn(&Server) -> Vec<Url>) -> Task {
    let mut hosts = vec![Host::steady(Group::Troubled, SLOW)];
    hosts.extend((0..QUICK_HOSTS).map(|_| Host::steady(Group::Healthy, QUICK)));
    let server = Server::start(hosts);
    let urls = shuffled(urls(&server));
    Task::new(server, urls)
}
