//! Several URLs at once; the results come in the order of the URLs, whichever was first.
//!
//! With arguments it fetches those; without, pages of the built-in practice server.

use std::io::{self, Write};

use fetchall::demo::PracticeServer;
use fetchall::{Config, FetchError, FetchedPage, fetch_all_with};

/// Fetches all of them at once and tells what became of each, in order.
pub async fn fetch_urls(config: Config, urls: &[String], out: &mut impl Write) -> io::Result<()> {
    let results = fetch_all_with(config, urls).await;
    for (number, result) in results.iter().enumerate() {
        writeln!(out, "{}. {}", number + 1, tell(result))?;
    }
    Ok(())
}

fn tell(result: &Result<FetchedPage, FetchError>) -> String {
    match result {
        Ok(page) => format!("{} with {} bytes", page.status, page.body.len()),
        Err(error) => format!("failed: {error}"),
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let urls: Vec<_> = std::env::args().skip(1).collect();
    if !urls.is_empty() {
        return fetch_urls(Config::default(), &urls, &mut io::stdout()).await;
    }
    let server = PracticeServer::start().await?;
    let urls = [
        ("slow", "/1"),
        ("quick", "/1"),
        ("missing", "/page"),
        ("packed", "/page"),
    ]
    .map(|(host, path)| server.url(host, path));
    fetch_urls(server.config(), &urls, &mut io::stdout()).await
}
