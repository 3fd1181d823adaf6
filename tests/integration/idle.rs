use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustix::net::{RecvFlags, recv};

use crate::support::{Run, Server, response};

const HOSTS: usize = 1200;
const PAGES: usize = 3;

/// A server for all of 127.0.0.0/8 that counts the connections that are open, and the most that
/// ever were. Which the program has closed is asked of the system at each new one: the threads of
/// this server may come to it much later on a busy machine.
fn counting() -> (Server, Arc<AtomicUsize>) {
    let (open, most) = (Mutex::new(Vec::new()), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let server = Server::at("0.0.0.0:0", move |connection| {
        let stream = connection.stream.try_clone()?;
        let count = {
            let mut open = open.lock().unwrap();
            open.push(stream);
            open.retain(is_open);
            open.len()
        };
        seen.fetch_max(count, SeqCst);
        while connection.request()?.is_some() {
            connection.send(&response("200 OK", &[], b"ok"))?;
        }
        Ok(())
    });
    (server, most)
}

/// Whether the other side has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    match recv(stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, length)) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
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
        // 128, twice those of 16 requests and hosts, and what is on its way when it is looked at.
        let most = most.load(SeqCst);
        assert!(most < 250, "{most} were open at the same time");
        // A new client begins without connections: those of the requests under way come again.
        let made = server.connections();
        assert!(made < HOSTS * 5 / 4, "{made} for {HOSTS} hosts");
    }
}
