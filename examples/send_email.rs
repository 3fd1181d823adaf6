//! A slow job: a simulated e-mail that takes three seconds.

use std::io;

#[tokio::main]
async fn main() -> io::Result<()> {
    fetchall::send_email(&mut io::stdout()).await
}
