//! An address where connecting hangs.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A listener whose queue is full, so that every further SYN is dropped, until this is dropped.
pub struct BlackHole {
    addr: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    /// Creates the nth black hole: 127.2.0.n.
    pub fn new(n: u8) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::new(127, 2, 0, n), 0));
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("a listener");
        let bound = listener.local_addr().expect("bound");
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            client.set_nonblocking(true).expect("a mode");
            let _ = client.connect(&bound);
            sockets.push(client);
        }
        Self {
            addr: bound.as_socket().expect("an address of IPv4"),
            _sockets: sockets,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
