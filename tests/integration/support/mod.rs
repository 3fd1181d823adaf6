//! Test helpers: a runner for the program, and servers to run it against.

mod browser;
pub mod faults;
pub mod frames;
mod memory;
pub mod mock;
mod out;
mod run;
mod server;
mod smtp;
mod snapshots;
mod terminal;
mod texts;
mod tls;
mod warc;
mod warcio;
pub mod warcio_tool;

pub use browser::Browser;
pub use memory::peak;
pub use out::{Background, Out, records};
pub use run::{Done, Run, binary, limited};
pub use server::{
    Connection, Server, black_hole, black_hole_at, closed_port, header, pages, path, response,
    scripted, until,
};
pub use smtp::{MailServer, USER};
pub use snapshots::{entry, placeholders, times};
pub use terminal::Terminal;
pub use texts::{Texts, logged, said, same_everywhere};
pub use tls::{Authority, TlsServer, VERSIONS, self_signed, self_signed_pem, showing};
pub use warc::{Warc, WarcRecord};
pub use warcio::warcio_checks;
