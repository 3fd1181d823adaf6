//! `--notify-url`: a server of the user's, told of the run by a POST.

use std::time::Duration;

use reqwest::{Client, StatusCode, header};
use url::Url;

use super::is_of_tls;
use crate::model::chain_text;

/// Time between the two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// It was not reached, or gave no answer.
    #[error("cannot post the summary to {url}: {}", chain_text(cause))]
    Send {
        /// Where to, without what may be secret.
        url: String,
        /// Why not.
        #[source]
        cause: reqwest::Error,
    },
    /// It answered that it would not.
    #[error("cannot post the summary to {url}: it answered {status}")]
    Status {
        /// Where to, without what may be secret.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
}

impl WebhookError {
    /// Whether another try may work.
    fn is_transient(&self) -> bool {
        match self {
            Self::Send { cause, .. } => !is_of_tls(cause),
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
        }
    }
}

/// Posts a summary as JSON; once more when that fails for a reason that may pass. `client` follows
/// no redirects, and has its time limit.
///
/// # Errors
/// [`WebhookError`] when anything but a 2xx comes.
pub async fn post_json(client: &Client, url: &Url, json: &str) -> Result<(), WebhookError> {
    match post(client, url, json).await {
        Err(error) if error.is_transient() => {
            tokio::time::sleep(RETRY_PAUSE).await;
            post(client, url, json).await
        }
        done => done,
    }
}

async fn post(client: &Client, url: &Url, json: &str) -> Result<(), WebhookError> {
    // Who knows the path of such a URL may post there: it is as good as a password.
    let shown = || format!("{}/…", url.origin().ascii_serialization());
    let request = client
        .post(url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .body(json.to_owned());
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(WebhookError::Status {
            url: shown(),
            status: answer.status(),
        }),
        Err(error) => Err(WebhookError::Send {
            url: shown(),
            cause: error.without_url(),
        }),
    }
}
