//! The way into the library: options once, then any number of fetches over the same connections.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{
    EventTap, ExtraReporter, FetcherBuilder, List, Problem, RunError, Sink, run_with_faults,
};
use crate::config::{Config, ReportOptions, SaveOptions};
use crate::engine::EngineOptions;
use crate::fetch::{FaultPlan, HttpOptions, HttpTransport, TransportError};
use crate::model::{Cause, EndReason, EngineEvent, FetchError, Outcome, SettledJob, Summary};
use crate::report::Reporter;
use crate::schedule::{RetryPolicy, ScheduleOptions};

/// Results that a stream holds until they are taken.
const STREAM_RESULTS: usize = 64;

/// What a [`FetcherBuilder`] sets.
#[derive(Debug, Clone, Default)]
pub(super) struct FetcherOptions {
    pub engine: EngineOptions,
    pub schedule: ScheduleOptions,
    pub retry: RetryPolicy,
    pub http: HttpOptions,
    /// `None`: GET, or POST where there is a body.
    pub method: Option<Method>,
    pub faults: Option<FaultPlan>,
}

/// Fetches URLs concurrently, with retries, limits for each host and an exact result for each URL.
///
/// All methods need a tokio runtime with I/O and time. A clone shares the connections.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = fetchall::demo::PracticeServer::start().await?;
/// # let builder = server.fetcher();
/// # let urls = [server.url("quick", "/1"), server.url("missing", "/page")];
/// # /*
/// let builder = fetchall::Fetcher::builder();
/// # */
/// let fetcher = builder.concurrency(32).retries(3).build()?;
/// for page in fetcher.fetch_all(urls).await? {
///     match page {
///         Ok(page) => println!("{}: {} bytes", page.url, page.body.len()),
///         Err(error) => println!("{}: {error}", error.kind()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fetcher {
    options: Arc<FetcherOptions>,
    transport: Arc<HttpTransport>,
}

impl Fetcher {
    /// Options, to [`build`](FetcherBuilder::build) a fetcher of.
    pub fn builder() -> FetcherBuilder {
        FetcherBuilder::default()
    }

    pub(super) fn new(mut options: FetcherOptions) -> Result<Self, TransportError> {
        let http = &mut options.http;
        let has_body = http.body.is_some();
        if has_body {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            http.headers.entry(header::CONTENT_TYPE).or_insert(form);
        }
        let method = match has_body {
            true => Method::POST,
            false => Method::GET,
        };
        options.engine.method = options.method.clone().unwrap_or(method);
        let transport = Arc::new(super::transport(&options.config())?);
        let options = Arc::new(options);
        Ok(Self { options, transport })
    }

    /// Fetches all URLs, at most [`concurrency`](FetcherBuilder::concurrency) at a time, and gives
    /// one result for each, in their order: what
    /// `asyncio.gather(*requests, return_exceptions=True)` does in Python. All bodies are in
    /// memory at the end; [`stream`](Self::stream) is for more than that holds.
    ///
    /// # Errors
    /// When the run itself breaks off. A URL that fails is a [`FetchError`] among the results.
    pub async fn fetch_all<I>(
        &self,
        urls: I,
    ) -> Result<Vec<Result<FetchedPage, FetchError>>, RunError>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        let mut pages: Vec<_> = urls.iter().map(|_| None).collect();
        let mut stream = self.stream(urls);
        while let Some(FetchResult { index, result, .. }) = stream.next().await {
            if let Some(page) = usize::try_from(index).ok().and_then(|at| pages.get_mut(at)) {
                *page = Some(result);
            }
        }
        let summary = stream.finish().await?;
        let complete: Option<Vec<_>> = pages.into_iter().collect();
        complete.ok_or_else(|| {
            let reason = summary.ended_by.unwrap_or(EndReason::Shutdown);
            let problem = Problem::EndedEarly(reason);
            let summary = Box::new(summary);
            RunError { summary, problem }
        })
    }

    /// Fetches the URLs and gives each result as it settles. URLs are taken, and requests are sent,
    /// only as fast as results are taken from the stream; dropping it ends all requests.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// ```
    /// use futures::StreamExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = fetchall::demo::PracticeServer::start().await?;
    /// # let fetcher = server.fetcher().build()?;
    /// # let base = server.url("quick", "/1");
    /// let mut stream = fetcher.stream((0..1000).map(move |n| format!("{base}?n={n}")));
    /// while let Some(settled) = stream.next().await {
    ///     let body = settled.result?.body;
    ///     println!("{}: {} bytes", settled.url, body.len());
    /// #   break;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream<I>(&self, urls: I) -> FetchStream
    where
        I: IntoIterator<Item: Into<String> + 'static, IntoIter: Send + 'static>,
    {
        let names = Arc::new(Mutex::new(HashMap::new()));
        let given = (0..).zip(urls.into_iter().map(Into::<String>::into)).map({
            let names = Arc::clone(&names);
            move |(index, url): (u64, String)| {
                let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                names.insert(index, url.clone());
                url
            }
        });
        let (sender, results) = mpsc::channel(STREAM_RESULTS);
        let is_dropped = sender.clone();
        let tap = EventTap(move |event: &EngineEvent| {
            let EngineEvent::Settled(settled) = event else {
                return;
            };
            let index = settled.position.number;
            let url = names
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&index);
            let result = FetchResult {
                index,
                url: url.unwrap_or_else(|| settled.record.url.clone()),
                result: page(settled),
            };
            // A stream that was dropped ends the run.
            let _ = sender.blocking_send(result);
        });
        let config = self.config(List::urls(given), SaveOptions::default());
        let extra: Vec<ExtraReporter> = vec![("the stream", Box::new(tap) as Box<dyn Reporter>)];
        let transport = Arc::clone(&self.transport);
        let run = tokio::spawn(async move {
            let dropped = || is_dropped.closed();
            let run = run_with_faults(config, transport, extra, dropped(), dropped());
            run.await
        });
        FetchStream {
            results,
            run: Some(run),
        }
    }

    /// Fetches a list of any length: a record of each URL goes to the sink, in the order in which
    /// they settle, and the summary adds up to the list.
    ///
    /// When `shutdown` completes, no request is started any more, those in flight get 10 s to end,
    /// and the summary says how many URLs are left. Dropping the future ends everything at once.
    ///
    /// # Errors
    /// [`RunError`] when the run itself breaks off: the list cannot be read, or nothing be saved.
    /// URLs that fail are counted in the summary.
    ///
    /// ```
    /// use fetchall::{List, Sink};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = fetchall::demo::PracticeServer::start().await?;
    /// # let fetcher = server.fetcher().build()?;
    /// # let urls = [server.url("quick", "/1"), server.url("missing", "/page")];
    /// let list = List::urls(urls);
    /// let sink = Sink::records(|record| println!("{} {}", record.outcome, record.url));
    /// let summary = fetcher.run(list, sink, std::future::pending()).await?;
    /// assert_eq!((summary.fetched, summary.failed), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(
        &self,
        list: List,
        sink: Sink,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Summary, RunError> {
        let (on_record, save) = sink.into_parts();
        let mut config = self.config(list, save);
        config.report.on_record = on_record;
        // The transport at hand does not keep the requests that a pack holds.
        let transport = match config.save.pack.is_some() {
            true => Arc::new(super::transport(&config).map_err(Problem::from)?),
            false => Arc::clone(&self.transport),
        };
        run_with_faults(
            config,
            transport,
            Vec::new(),
            shutdown,
            std::future::pending(),
        )
        .await
    }

    fn config(&self, list: List, save: SaveOptions) -> Config {
        Config {
            input: list.into_options(),
            save,
            ..self.options.config()
        }
    }
}

impl FetcherOptions {
    fn config(&self) -> Config {
        Config {
            engine: self.engine.clone(),
            schedule: self.schedule.clone(),
            retry: self.retry.clone(),
            http: self.http.clone(),
            faults: self.faults.clone(),
            report: ReportOptions::default(),
            ..Config::default()
        }
    }
}

/// A page that was fetched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchedPage {
    /// The URL as it was parsed: without userinfo and fragment.
    pub url: String,
    /// The URL that answered, after redirects.
    pub final_url: String,
    /// The status, always 2xx.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The whole body, decoded.
    pub body: Bytes,
}

/// What became of one URL of a [`FetchStream`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchResult {
    /// Which of the URLs it is, from 0.
    pub index: u64,
    /// The URL as it was given.
    pub url: String,
    /// The page, or the error of a failed URL.
    pub result: Result<FetchedPage, FetchError>,
}

/// Results as they settle, of [`Fetcher::stream`].
#[derive(Debug)]
pub struct FetchStream {
    results: mpsc::Receiver<FetchResult>,
    run: Option<JoinHandle<Result<Summary, RunError>>>,
}

impl FetchStream {
    /// The next result; `None` at the end.
    pub async fn next(&mut self) -> Option<FetchResult> {
        self.results.recv().await
    }

    /// The counts of the whole run, after the last result; results that were not taken are dropped.
    ///
    /// # Errors
    /// When the run itself broke off, which also ends the stream.
    pub async fn finish(mut self) -> Result<Summary, RunError> {
        while self.results.recv().await.is_some() {}
        match self.run.take() {
            Some(run) => run
                .await
                .unwrap_or_else(|error| Err(Problem::Internal(error.to_string()).into())),
            None => Ok(Summary::default()),
        }
    }
}

impl Stream for FetchStream {
    type Item = FetchResult;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FetchResult>> {
        self.results.poll_recv(cx)
    }
}

/// Fetches all URLs with the default options: [`Fetcher::fetch_all`] of a fetcher made for it.
///
/// # Errors
/// When the run itself breaks off, or no HTTP client can be set up. A URL that fails is a
/// [`FetchError`] among the results.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), fetchall::RunError> {
/// let results = fetchall::fetch_all(["nonsense", "ftp://example.com/"]).await?;
/// assert_eq!(results.len(), 2);
/// let error = results[1].as_ref().unwrap_err();
/// assert_eq!(error.kind(), fetchall::ErrorKind::InvalidUrl);
/// # Ok(())
/// # }
/// ```
pub async fn fetch_all<I>(urls: I) -> Result<Vec<Result<FetchedPage, FetchError>>, RunError>
where
    I: IntoIterator<Item: Into<String>>,
{
    let fetcher = Fetcher::new(FetcherOptions::default()).map_err(Problem::from)?;
    fetcher.fetch_all(urls).await
}

fn page(settled: &SettledJob) -> Result<FetchedPage, FetchError> {
    match &settled.outcome {
        Outcome::Fetched(fetched) => {
            // Bodies are kept here, and heads with them.
            let head = fetched.head.as_ref();
            let url = settled.record.url.clone();
            Ok(FetchedPage {
                final_url: settled
                    .record
                    .final_url
                    .clone()
                    .unwrap_or_else(|| url.clone()),
                url,
                status: head.map_or(StatusCode::OK, |head| head.status),
                headers: head.map_or_else(HeaderMap::new, |head| HeaderMap::clone(&head.headers)),
                body: fetched.saved.body.clone().unwrap_or_default(),
            })
        }
        Outcome::Failed(error) => Err(error.clone()),
        // Nothing is remembered of earlier runs here.
        Outcome::Skipped => Err(FetchError::Save {
            cause: Cause::from_text("it was skipped"),
            ends_run: false,
        }),
    }
}
