//! 2,000 hosts in a list sorted by host, which should be as fast as the shuffled list.

use std::time::Duration;

use super::{Pair, ms};
use crate::list::{Group, shuffled};
use crate::program::Program;
use crate::run::Task;
use crate::server::{Host, Server};
use crate::table::Row;

const HOSTS: usize = 2000;
const URLS: u32 = 10;
const LATENCY: Duration = ms(5);

pub fn rows(scenario: &'static str, programs: &[Program]) -> Vec<Row> {
    let row = |program| {
        let pair = Pair::median(program, || task(Order::Shuffled), || task(Order::Sorted));
        pair.row(scenario, program).at_most(1.0 / 0.9)
    };
    programs.iter().map(row).collect()
}

enum Order {
    Sorted,
    Shuffled,
}

fn task(order: Order) -> Task {
    let server = Server::start((0..HOSTS).map(|_| Host::steady(Group::Healthy, LATENCY)));
    let urls = server.urls(Group::Healthy, URLS);
    let urls = match order {
        Order::Sorted => urls,
        Order::Shuffled => shuffled(urls),
    };
    Task::new(server, urls)
}
