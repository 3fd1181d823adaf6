use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::support::{Run, Server, response};

const HOSTS: usize = 1200;
const PAGES: usize = 3;

/// A server for all of 127.0.0.0/8 that counts the connections that are open, and the most that
/// ever were.
fn counting() -> (Server, Arc<AtomicUsize>) {
    let (open, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let server = Server::at("0.0.0.0:0", move |connection| {
        seen.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
        let served = (|| {
            while connection.request()?.is_some() {
                connection.send(&response("200 OK", &[], b"ok"))?;
            }
            Ok(())
        })();
        open.fetch_sub(1, SeqCst);
        served
    });
    (server, most)
}

fn url(server: &Server, host: usize, page: usize) -> String {
    let port = server.addr.port();
    format!(
        "http://127.1.{}.{}:{port}/{page}",
        host / 250,
        host % 250 + 1
    )
}

/// However the list is sorted: a host is asked for a few pages in a row, and the connections of
/// those that are done are closed.
#[test]
fn many_hosts_need_few_connections() {
    let in_turn = |n: usize| (n % HOSTS, n / HOSTS);
    let in_a_row = |n: usize| (n / PAGES, n % PAGES);
    for order in [in_turn as fn(usize) -> (usize, usize), in_a_row] {
        let (server, most) = counting();
        let urls = (0..HOSTS * PAGES).map(|n| {
            let (host, page) = order(n);
            url(&server, host, page)
        });
        let done = Run::new().arg("-j16").urls(urls).expect_exit(0);
        assert_eq!(done.records.len(), HOSTS * PAGES);
        // 128, twice those of 16 requests and hosts, and those whose end the threads of this server
        // have not come to: a busy machine lets them wait. Without a limit they are 1,200.
        let most = most.load(SeqCst);
        assert!(most < 600, "{most} were open at the same time");
        // A new client begins without connections: those of the requests under way come again.
        let made = server.connections();
        assert!(made < HOSTS * 5 / 4, "{made} for {HOSTS} hosts");
    }
}
