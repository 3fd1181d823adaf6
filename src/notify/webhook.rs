//! `--notify-url`: posts the JSON summary to a URL.

use std::time::Duration;

use reqwest::{Client, StatusCode, header};
use url::Url;

use super::is_of_tls;
use crate::model::chain_text;

/// Backoff before the second attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why the POST failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// No response was received.
    #[error("cannot post the summary to {url}: {}", chain_text(cause))]
    Send {
        /// The origin of the URL; the rest may be secret.
        url: String,
        /// The cause.
        #[source]
        cause: reqwest::Error,
    },
    /// The status was not 2xx.
    #[error("cannot post the summary to {url}: server returned {status}")]
    Status {
        /// The origin of the URL; the rest may be secret.
        url: String,
        /// The status.
        status: StatusCode,
    },
}

impl WebhookError {
    /// Whether a retry may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Send { cause, .. } => !is_of_tls(cause),
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
        }
    }
}

/// Posts a summary as JSON, and retries a transient failure once. `client` must not follow
/// redirects and must have a timeout.
///
/// # Errors
/// [`WebhookError`] when the last attempt gets no 2xx status.
pub(crate) async fn post_json(client: &Client, url: &Url, json: &str) -> Result<(), WebhookError> {
    match post(client, url, json).await {
        Err(error) if error.is_transient() => {
            tokio::time::sleep(RETRY_PAUSE).await;
            post(client, url, json).await
        }
        done => done,
    }
}

async fn post(client: &Client, url: &Url, json: &str) -> Result<(), WebhookError> {
    // The path is often the only credential of such a URL, so it is not shown.
    let shown = || format!("{}/…", url.origin().ascii_serialization());
    let request = client
        .post(url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .body(json.to_owned());
    match request.send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(WebhookError::Status {
            url: shown(),
            status: response.status(),
        }),
        Err(error) => Err(WebhookError::Send {
            url: shown(),
            cause: error.without_url(),
        }),
    }
}
