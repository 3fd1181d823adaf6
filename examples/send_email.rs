//! The slow job: an e-mail that takes three seconds and then says that it was sent.

use std::io;

#[tokio::main]
async fn main() -> io::Result<()> {
    fetchall::send_email(&mut io::stdout()).await
}
