//! Shows why a long list needs N workers under `join_all`, and not `join_all` over its URLs.
//! Measures both against a server that responds after 50 ms.
//!
//! `cargo run --release --example long_list -- 10000`

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Number of workers, and so of concurrent requests.
const WORKERS: usize = 64;

/// The number of connections that are open at the server, and its maximum.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn answer(mut stream: TcpStream, open: Arc<Open>) -> io::Result<()> {
    open.most
        .fetch_max(open.now.fetch_add(1, Relaxed) + 1, Relaxed);
    let mut request = [0; 1024];
    while stream.read(&mut request).await? > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, open: Arc<Open>) {
    loop {
        // Without a free descriptor, accepting fails.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let open = Arc::clone(&open);
        tokio::spawn(async move {
            let _ = answer(stream, Arc::clone(&open)).await;
            open.now.fetch_sub(1, Relaxed);
        });
    }
}

async fn fetch(client: reqwest::Client, url: String) -> Result<usize, reqwest::Error> {
    Ok(client.get(url).send().await?.bytes().await?.len())
}

/// `join_all` over the URLs: everything starts at once. Returns the number of failures.
async fn all_at_once(client: &reqwest::Client, urls: &[String]) -> usize {
    let requests = urls.iter().map(|url| fetch(client.clone(), url.clone()));
    let results = join_all(requests).await;
    results.iter().filter(|result| result.is_err()).count()
}

/// `join_all` over workers, each of which takes the next URL when it has finished one. Returns the
/// number of failures.
async fn by_workers(client: &reqwest::Client, urls: &[String]) -> usize {
    let next = AtomicUsize::new(0);
    let worker = || async {
        let mut failed = 0;
        while let Some(url) = urls.get(next.fetch_add(1, Relaxed)) {
            failed += usize::from(fetch(client.clone(), url.clone()).await.is_err());
        }
        failed
    };
    join_all((0..WORKERS).map(|_| worker())).await.iter().sum()
}

/// Returns the peak memory of this process so far, in MiB (Linux only). The file is opened before
/// the run, because no descriptor may be free afterwards.
fn peak_memory(mut file: &File) -> Option<u64> {
    let mut status = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

fn report(name: &str, start: Instant, failed: usize, open: &Open, status: Option<&File>) {
    let memory = status
        .and_then(peak_memory)
        .map_or_else(|| "unknown".to_owned(), |mib| format!("{mib} MiB"));
    println!(
        "{name:<22} {:>6.2} s, {failed:>5} failed, {:>5} connections at once, peak memory {memory}",
        start.elapsed().as_secs_f64(),
        open.most.swap(0, Relaxed),
    );
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |count| count.parse())?;
    let status = File::open("/proc/self/status").ok();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let open = Arc::new(Open::default());
    tokio::spawn(serve(listener, Arc::clone(&open)));
    let urls: Vec<_> = (0..count).map(|n| format!("{base}/{n}")).collect();

    // The workers run first, because peak memory never decreases.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let start = Instant::now();
    let failed = by_workers(&client, &urls).await;
    report("64 workers", start, failed, &open, status.as_ref());

    let client = reqwest::Client::builder().no_proxy().build()?;
    let start = Instant::now();
    let failed = all_at_once(&client, &urls).await;
    report(
        "join_all over the URLs",
        start,
        failed,
        &open,
        status.as_ref(),
    );
    Ok(())
}
