//! Posts the summary of a run to a URL, with the TLS settings of the run.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use crate::fetch::{HttpOptions, TransportError, tls_config};
use crate::notify::{WebhookError, post_json};

/// Time limit of each of the two attempts.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Error of [`notify_url`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] TransportError),
    /// The POST failed.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// Posts JSON to `url`. Of `http`, only the TLS settings and the User-Agent are used. Redirects are
/// not followed. A transient failure is retried once.
///
/// # Errors
/// [`NotifyError`] when the last attempt gets no 2xx status within 30 s.
pub async fn notify_url(url: &Url, json: &str, http: &HttpOptions) -> Result<(), NotifyError> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls_config(http)?)
        .redirect(Policy::none())
        .timeout(WEBHOOK_TIMEOUT)
        .user_agent(http.user_agent.clone())
        .build()
        .map_err(|error| TransportError::Client(error.to_string()))?;
    Ok(post_json(&client, url, json).await?)
}
