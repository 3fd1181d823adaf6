//! Fetches several URLs at once. The results are in the order of the URLs, whichever finished
//! first.
//!
//! With arguments it fetches those URLs, without any it fetches pages of the built-in practice
//! server.

use std::io::{self, Write};

use fetchall::demo::PracticeServer;
use fetchall::{FetchError, FetchedPage, Fetcher};

/// Fetches all URLs at once and prints the result of each, in order.
pub async fn fetch_urls(
    fetcher: &Fetcher,
    urls: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let results = fetcher.fetch_all(urls).await.map_err(io::Error::other)?;
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
        let fetcher = Fetcher::builder().build().map_err(io::Error::other)?;
        return fetch_urls(&fetcher, &urls, &mut io::stdout()).await;
    }
    let server = PracticeServer::start().await?;
    let urls = [
        ("slow", "/1"),
        ("quick", "/1"),
        ("missing", "/page"),
        ("packed", "/page"),
    ]
    .map(|(host, path)| server.url(host, path));
    let fetcher = server.fetcher().build().map_err(io::Error::other)?;
    fetch_urls(&fetcher, &urls, &mut io::stdout()).await
}
