//! The transport over reqwest: a client that does nothing by itself. No redirects, no
//! retries, no decoding, no time-outs but the one over connecting.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::classify::{Phase, classify, connection_died, was_turned_away};
use super::clients::Clients;
use super::connect::{CALL, Call};
use super::descriptors::Descriptors;
use super::guard::{NotPublic, check_literal};
use super::options::{HttpOptions, TransportError};
use super::received::HttpBody;
use super::{Response, Transport};
use crate::model::{Asked, Attempt, Credentials, FetchError, ResponseHead, Unheard, Wire};

/// What the client can decode.
const ACCEPT_ENCODING: &str = "gzip, br, zstd, deflate";

/// What the body of a line is when nobody says: the same as that of `-d`.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The transport over reqwest.
#[derive(Debug)]
pub struct HttpTransport {
    clients: Clients,
    descriptors: Descriptors,
    body: Option<Bytes>,
    keeps_requests: bool,
    only_public: bool,
    /// Headers for the origins of the list.
    home: HeaderMap,
    /// Headers for other origins.
    abroad: HeaderMap,
}

impl HttpTransport {
    /// A transport with its connection pool, which keeps `idle_per_host` idle connections.
    ///
    /// # Errors
    /// When certificates can't be read or options do not go together.
    pub fn new(options: HttpOptions, idle_per_host: usize) -> Result<Self, TransportError> {
        let descriptors = Descriptors::new();
        let clients = Clients::new(&options, idle_per_host, &descriptors)?;
        let (home, abroad) = header_sets(&options);
        Ok(Self {
            clients,
            descriptors,
            body: options.body,
            keeps_requests: options.keep_requests,
            only_public: options.deny_private,
            home,
            abroad,
        })
    }

    fn request(&self, attempt: &Attempt) -> reqwest::Request {
        let mut request = reqwest::Request::new(attempt.method.clone(), attempt.url().clone());
        *request.headers_mut() = self.headers(attempt);
        add_conditions(request.headers_mut(), attempt);
        let own_body = attempt
            .job
            .wish
            .as_ref()
            .and_then(|wish| wish.body.as_ref());
        match own_body.or(self.body.as_ref()) {
            Some(body) if attempt.with_body => {
                *request.body_mut() = Some(body.clone().into());
                if let Some(kind) = self.content_type(attempt) {
                    request.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
            }
            Some(_) => {
                // The redirect turned it into a GET: what describes the body goes too
                // (RFC 9110 §15.4.4).
                request.headers_mut().remove(header::CONTENT_TYPE);
                request.headers_mut().remove(header::CONTENT_LENGTH);
            }
            None => {}
        }
        request
    }

    fn headers(&self, attempt: &Attempt) -> HeaderMap {
        let at_home = attempt.at_home();
        let mut headers = if at_home { &self.home } else { &self.abroad }.clone();
        let job = &attempt.job;
        if at_home && let Some(value) = job.credentials.as_deref().and_then(basic) {
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(wish) = &job.wish {
            let may_go = |name: &HeaderName| at_home || HARMLESS.contains(name);
            for name in wish.headers.keys().filter(|name| may_go(name)) {
                headers.remove(name);
                for value in wish.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        if self.descriptors.are_scarce() {
            // On HTTP/2, where it means nothing, hyper takes it out.
            let close = HeaderValue::from_static("close");
            headers.entry(header::CONNECTION).or_insert(close);
        }
        headers
    }

    /// What the body of a request is: as its line says, else as the run does. It goes
    /// along wherever the body goes.
    fn content_type(&self, attempt: &Attempt) -> Option<HeaderValue> {
        let wish = attempt.job.wish.as_ref();
        wish.and_then(|wish| wish.headers.get(header::CONTENT_TYPE))
            .or_else(|| self.home.get(header::CONTENT_TYPE))
            .cloned()
            .or_else(|| wish?.body.as_ref().map(|_| FORM))
    }

    async fn send(
        &self,
        request: reqwest::Request,
        attempt: &Attempt,
        wire: &Arc<Wire>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let call = Call {
            wire: Arc::clone(wire),
            port: request.url().port_or_known_default(),
            is_retry: attempt.before().retries_used > 0,
        };
        let client = self.clients.for_request(wire.connections_of_use());
        CALL.scope(call, client.execute(request)).await
    }
}

/// Asks for the rest of what is here, if it is still the same (RFC 9110 §13.1.5), or for what
/// has changed (§13.1.2, §13.1.3).
fn add_conditions(headers: &mut HeaderMap, attempt: &Attempt) {
    if let Some(part) = attempt.continued() {
        if let Ok(range) = HeaderValue::try_from(format!("bytes={}-", part.length)) {
            headers.insert(header::RANGE, range);
            headers.insert(header::IF_RANGE, part.version.validator.clone());
            // The bytes of a coding can't be counted against those of the part.
            let plain = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, plain);
        }
    } else if let Some(known) = attempt.if_changed() {
        if let Some(etag) = &known.etag {
            headers.insert(header::IF_NONE_MATCH, etag.clone());
        }
        if let Some(date) = &known.last_modified {
            headers.insert(header::IF_MODIFIED_SINCE, date.clone());
        }
    }
}

impl Transport for HttpTransport {
    type Body = HttpBody;

    async fn open(
        &self,
        attempt: &Attempt,
        wire: &Arc<Wire>,
    ) -> Result<Response<HttpBody>, FetchError> {
        if self.only_public {
            // Every hop comes by here. Names are checked where they are resolved.
            check_literal(attempt.url()).map_err(NotPublic::into_error)?;
        }
        let request = self.request(attempt);
        let asked = self.keeps_requests.then(|| {
            Arc::new(Asked {
                at: SystemTime::now(),
                headers: request.headers().clone(),
            })
        });
        let sent = self.send(request, attempt, wire).await;
        let mut response = sent.map_err(|error| {
            if was_turned_away(&error) {
                wire.mark_unheard(Unheard::TurnedAway);
            } else if !wire.is_fresh() && connection_died(&error) {
                wire.mark_unheard(Unheard::Stale);
            }
            let phase = if error.is_connect() {
                Phase::Connect
            } else {
                Phase::Head
            };
            classify(error, phase)
        })?;
        let head = ResponseHead {
            status: response.status(),
            version: response.version(),
            headers: Arc::new(std::mem::take(response.headers_mut())),
            asked,
            kept_coding: None,
        };
        let body = HttpBody::new(response, &head);
        Ok(Response { head, body })
    }
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let plain = format!("{}:{}", credentials.user, credentials.password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Headers that tell another origin nothing about the user.
const HARMLESS: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];

fn header_sets(options: &HttpOptions) -> (HeaderMap, HeaderMap) {
    let mut base = HeaderMap::new();
    base.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let coding = if options.compression {
        ACCEPT_ENCODING
    } else {
        "identity"
    };
    base.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    if !options.user_agent.is_empty() {
        base.insert(header::USER_AGENT, options.user_agent.clone());
    }
    let mut abroad = base.clone();
    for name in HARMLESS {
        if let Some(value) = options.headers.get(&name) {
            abroad.insert(name, value.clone());
        }
    }
    let mut home = base;
    if let Some(value) = options.user.as_ref().and_then(basic) {
        home.insert(header::AUTHORIZATION, value);
    }
    for name in options.headers.keys() {
        home.remove(name);
    }
    for (name, value) in &options.headers {
        home.append(name, value.clone());
    }
    (home, abroad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_origins_get_nothing_that_is_the_users() {
        let mut headers = HeaderMap::new();
        headers.insert("x-secret", HeaderValue::from_static("1"));
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        let options = HttpOptions {
            headers,
            user: Some(Credentials {
                user: "me".into(),
                password: "secret".into(),
            }),
            ..HttpOptions::default()
        };
        let (home, abroad) = header_sets(&options);
        assert_eq!(
            home.get(header::AUTHORIZATION).unwrap(),
            "Basic bWU6c2VjcmV0"
        );
        assert!(home.contains_key("x-secret") && home.contains_key(header::COOKIE));
        let mut names: Vec<_> = abroad.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "accept-encoding", "accept-language", "user-agent"]
        );
    }
}
