//! Telling a server of the user's about a run, with the certificates of the run.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use crate::fetch::{HttpOptions, TransportError, tls_config};
use crate::notify::{WebhookError, post_json};

/// Limit for each of the two tries.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Why nobody was told of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The client can't be set up.
    #[error(transparent)]
    Client(#[from] TransportError),
    /// The server was not told.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// Posts JSON to a server: with the certificates that `http` trusts, and nothing else of it.
/// Redirects are not followed; what fails for a reason that may pass is tried once more.
///
/// # Errors
/// When anything but a 2xx comes within 30 s.
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
