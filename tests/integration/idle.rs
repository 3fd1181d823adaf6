use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustix::net::{RecvFlags, recv};

use crate::support::{Run, Server, response};

const HOSTS: usize = 1200;
const PAGES: usize = 3;

/// A server for all of 127.0.0.0/8 that counts the open connections and their maximum. For each new
/// connection it asks the system which others the program has closed, because on a busy machine its
/// own threads may notice that much later.
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

/// Whether the other side has not closed the connection.
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

/// In any order of the list, a host gets a few requests in a row, and the connections of finished
/// hosts are closed.
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
        // 128, twice the 16 running requests, and connections that are just opening or closing.
        let most = most.load(SeqCst);
        assert!(most < 250, "{most} were open at the same time");
        // A new client starts without connections, so hosts with running requests connect again.
        let made = server.connections();
        assert!(made < HOSTS * 5 / 4, "{made} for {HOSTS} hosts");
    }
}

/// While a connection is on its way back to the pool, a request waits for it rather than open
/// another one, so there are no more connections than requests at once.
#[test]
fn there_are_no_more_connections_than_requests_at_once() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let urls: Vec<_> = (0..3000)
        .map(|page| server.url(&format!("/{page}")))
        .collect();
    let done = Run::new()
        .args(["-j=128", "--per-host=128", "--threads=1"])
        .urls(&urls)
        .expect_exit(0);
    assert_eq!(done.records.len(), urls.len());
    // A busy machine may hold a connection up for longer than the wait.
    assert!(server.connections() <= 140, "{}", server.connections());
}
