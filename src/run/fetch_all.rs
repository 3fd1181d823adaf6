//! Fetches a handful of URLs into memory and returns the results in the same order.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{EventTap, run_with};
use crate::config::{Config, SaveOptions};
use crate::input::Source;
use crate::model::{Cause, EngineEvent, FetchError, Outcome, SettledJob};

/// A successful response with its body.
#[derive(Debug, Clone)]
pub struct FetchedPage {
    /// The URL as it was parsed: without userinfo and fragment.
    pub url: String,
    /// The URL of the final response, after redirects.
    pub final_url: String,
    /// The status, always 2xx.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The whole body, decoded.
    pub body: Bytes,
}

/// Fetches all URLs concurrently and returns one result for each, in their order, as
/// `asyncio.gather(*requests, return_exceptions=True)` does in Python.
///
/// Uses the defaults of [`Config`]: 64 concurrent requests, adaptive concurrency per host, three
/// retries of transient failures, and bodies of up to 1 GiB in memory. For other options, see
/// [`fetch_all_with`]; for lists that do not fit into memory, see [`run`](crate::run).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let results = fetchall::fetch_all(["nonsense", "ftp://example.com/"]).await;
/// assert_eq!(results.len(), 2);
/// let error = results[1].as_ref().unwrap_err();
/// assert_eq!(error.kind(), fetchall::ErrorKind::InvalidUrl);
/// # }
/// ```
pub async fn fetch_all<I>(urls: I) -> Vec<Result<FetchedPage, FetchError>>
where
    I: IntoIterator,
    I::Item: Into<String>,
{
    fetch_all_with(Config::default(), urls).await
}

/// Fetches all URLs as [`fetch_all`] does, with options. `urls` replaces the inputs in `config`,
/// and nothing is saved to disk.
///
/// If the run itself fails, for example because `cacert` cannot be read, every URL without a
/// result fails with [`FetchError::Save`], whose message has the cause. [`run`](crate::run)
/// distinguishes the two by type.
pub async fn fetch_all_with<I>(mut config: Config, urls: I) -> Vec<Result<FetchedPage, FetchError>>
where
    I: IntoIterator,
    I::Item: Into<String>,
{
    // Bodies stay in memory.
    config.save = SaveOptions::default();
    config.input.sources = urls
        .into_iter()
        .map(|url| Source::Url(url.into()))
        .collect();
    let slots: Vec<_> = config.input.sources.iter().map(|_| None).collect();
    let slots = Arc::new(Mutex::new(slots));
    let tap = EventTap({
        let slots = Arc::clone(&slots);
        move |event: &EngineEvent| {
            let EngineEvent::Settled(settled) = event else {
                return;
            };
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            let number = usize::try_from(settled.place.number).unwrap_or(usize::MAX);
            if let Some(slot) = slots.get_mut(number) {
                *slot = Some(page(settled));
            }
        }
    });
    let never = std::future::pending;
    let end = run_with(config, vec![("the pages", Box::new(tap))], never(), never()).await;
    // URLs without a result are left because the run itself failed or ended early.
    let why = match end {
        Ok(_) => "the run ended early".to_owned(),
        Err(error) => error.to_string(),
    };
    let slots = std::mem::take(&mut *slots.lock().unwrap_or_else(PoisonError::into_inner));
    slots
        .into_iter()
        .map(|slot| slot.unwrap_or_else(|| Err(left(&why))))
        .collect()
}

fn page(settled: &SettledJob) -> Result<FetchedPage, FetchError> {
    match &settled.outcome {
        Outcome::Fetched(fetched) => Ok(FetchedPage {
            url: settled.record.url.clone(),
            final_url: settled
                .record
                .final_url
                .clone()
                .unwrap_or_else(|| settled.record.url.clone()),
            // The head is always there, since it is kept whenever bodies are.
            status: fetched
                .head
                .as_ref()
                .map_or(StatusCode::OK, |head| head.status),
            headers: fetched
                .head
                .as_ref()
                .map_or_else(HeaderMap::new, |head| HeaderMap::clone(&head.headers)),
            body: fetched.saved.body.clone().unwrap_or_default(),
        }),
        Outcome::Failed(error) => Err(error.clone()),
        Outcome::Skipped => Err(left("skipped")),
    }
}

/// Returns the error of a URL without a result.
fn left(why: &str) -> FetchError {
    FetchError::Save {
        cause: Cause::from_text(why),
        ends_run: false,
    }
}
