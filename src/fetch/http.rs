//! The transport over reqwest, with the client's own features turned off: no redirects, retries,
//! decoding or timeouts, except for the connect timeout.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use hyper_util::client::legacy::connect::HttpInfo;
use rustls::sign::CertifiedKey;
use url::Url;

use super::classify::{
    FailurePhase, classify_shared, connection_died, connection_of, is_broken_head,
    is_broken_tunnel, is_connect, is_http2, refuses_http1, wants_http1, was_over_http2,
    was_overwhelmed, was_throttled, was_turned_away,
};
use super::client_certificate;
use super::client_rotation::{ClientVariant, RotatingClient};
use super::coding_names::is_compressed;
use super::connect::{CALL, RequestContext};
use super::fd_budget::FdBudget;
use super::habits::{HostHabit, HostHabits};
use super::lenient::FlawedLength;
use super::netrc::Netrc;
use super::options::{HostRequestOptions, HttpOptions, HttpVersion, TransportError};
use super::proxy::basic_auth;
use super::public_address::{NonPublicAddress, check_literal};
use super::received::HttpBody;
use super::tunnel::{TunnelRefusal, shown};
use super::{RawResponse, Transport, upload};
use crate::model::{
    Attempt, Cause, DESCRIPTOR_TIMEOUT, FetchError, ResendCause, ResponseHead, SendMode,
    SentRequest, WireState,
};

/// The content codings that the engine can decode.
const ACCEPT_ENCODING: &str = "gzip, br, zstd, deflate";

/// The default `Content-Type` of a body from the list, the same as for `-d`.
const FORM_URLENCODED: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Failures over HTTP/2 after which a job goes on over HTTP/1.1. A server that wants HTTP/1.1 may say
/// so only when it closes the connection, and then the client reports nothing but the end.
const MAX_HTTP2_FAILURES: u32 = 2;

/// The transport over reqwest.
#[derive(Debug)]
pub(crate) struct HttpTransport {
    clients: RotatingClient,
    habits: Arc<HostHabits>,
    may_use_http1: bool,
    descriptors: FdBudget,
    body: Option<Bytes>,
    keeps_requests: bool,
    only_public: bool,
    /// Headers for the origins of the list.
    origin_headers: HeaderMap,
    netrc: Option<Arc<Netrc>>,
    certificate: Option<Arc<CertifiedKey>>,
    hosts: HashMap<String, HostRequest>,
    /// Headers for other origins, reached by a redirect.
    cross_origin_headers: HeaderMap,
}

impl HttpTransport {
    /// Creates a transport for this many threads, whose connection pools keep `idle_per_host` idle
    /// connections per host.
    ///
    /// # Errors
    /// When certificates can't be read or options conflict.
    pub(crate) fn new(
        options: HttpOptions,
        idle_per_host: usize,
        threads: usize,
    ) -> Result<Self, TransportError> {
        let descriptors = FdBudget::new();
        let habits = Arc::<HostHabits>::default();
        let clients = RotatingClient::new(&options, idle_per_host, threads, &descriptors, &habits)?;
        let (origin_headers, cross_origin_headers) = header_sets(&options);
        let certificate = options.certificate.as_ref();
        let certificate = certificate.map(client_certificate::read).transpose()?;
        Ok(Self {
            clients,
            habits,
            may_use_http1: options.version != HttpVersion::Http2PriorKnowledge,
            descriptors,
            body: options.body,
            keeps_requests: options.keep_requests,
            only_public: options.deny_private,
            netrc: options.netrc,
            certificate,
            hosts: host_requests(&options.hosts)?,
            origin_headers,
            cross_origin_headers,
        })
    }

    fn request(&self, attempt: &Attempt, variant: ClientVariant) -> reqwest::Request {
        let mut request = reqwest::Request::new(attempt.method().clone(), attempt.url().clone());
        *request.headers_mut() = self.headers(attempt);
        if variant.lenient || self.descriptors.is_scarce() {
            // hyper removes it over HTTP/2, where it has no meaning.
            let close = HeaderValue::from_static("close");
            let headers = request.headers_mut();
            headers.entry(header::CONNECTION).or_insert(close);
        }
        if attempt.job.is_auxiliary() {
            remove_conditions(request.headers_mut());
        }
        add_conditions(request.headers_mut(), attempt);
        if is_compressed(attempt.url()) || is_compressed(&attempt.job.url) {
            request_no_coding(request.headers_mut());
        }
        let own_body = attempt
            .job
            .options
            .as_ref()
            .and_then(|own_options| own_options.body.as_ref());
        match own_body.or(self.body.as_ref()) {
            Some(body) if attempt.with_body => {
                *request.body_mut() = Some(body.clone().into());
                if let Some(kind) = self.content_type(attempt) {
                    request.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
            }
            Some(_) => {
                // A redirect turned the request into a GET, so the headers that describe the body
                // are removed, too (RFC 9110 §15.4.4).
                request.headers_mut().remove(header::CONTENT_TYPE);
                request.headers_mut().remove(header::CONTENT_LENGTH);
            }
            None => {}
        }
        request
    }

    fn headers(&self, attempt: &Attempt) -> HeaderMap {
        let is_trusted = attempt.may_send_credentials();
        let mut headers = if is_trusted {
            self.origin_headers.clone()
        } else {
            self.cross_origin_headers.clone()
        };
        let job = &attempt.job;
        if let Some(host) = self.host(attempt.url()) {
            replace_headers(&mut headers, &host.headers, |_| true);
        }
        if let Some(value) = self.url_auth(attempt) {
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(own_options) = &job.options {
            request_identity_for_range(&mut headers, &own_options.headers);
            let may_send = |name: &HeaderName| is_trusted || CROSS_ORIGIN_SAFE.contains(name);
            replace_headers(&mut headers, &own_options.headers, may_send);
        }
        if let Some(netrc) = &self.netrc
            && !headers.contains_key(header::AUTHORIZATION)
            && let Some(found) = netrc.find(attempt.url(), None)
            && let Some(value) = basic_auth(&found)
        {
            headers.insert(header::AUTHORIZATION, value);
        }
        if attempt.has_cookies() {
            let cookies = attempt.cookie_header(headers.get_all(header::COOKIE));
            match cookies {
                Some(cookies) => drop(headers.insert(header::COOKIE, cookies)),
                None => drop(headers.remove(header::COOKIE)),
            }
        }
        headers
    }

    /// Returns what the user set for the host of a URL.
    fn host(&self, url: &Url) -> Option<&HostRequest> {
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.get(url.host_str()?)
    }

    fn certificate(&self, url: &Url) -> Option<Arc<CertifiedKey>> {
        let own = self.host(url).and_then(|host| host.certificate.as_ref());
        own.or(self.certificate.as_ref()).cloned()
    }

    /// Returns the value of `Authorization` from the userinfo of a job's URL or mirror. A user name
    /// without a password gets that of the netrc entry with this login.
    fn url_auth(&self, attempt: &Attempt) -> Option<HeaderValue> {
        let own = attempt.credentials()?;
        let netrc = self.netrc.as_ref().filter(|_| own.password.is_empty());
        let found = netrc.and_then(|netrc| netrc.find(attempt.url(), Some(&own.user)));
        basic_auth(found.as_ref().unwrap_or(own))
    }

    /// Returns the `Content-Type` of a request's body: that of its input line, else that of the
    /// run. It is sent wherever the body is sent, to other origins, too.
    fn content_type(&self, attempt: &Attempt) -> Option<HeaderValue> {
        let own_options = attempt.job.options.as_ref();
        own_options
            .and_then(|own_options| own_options.headers.get(header::CONTENT_TYPE))
            .or_else(|| self.origin_headers.get(header::CONTENT_TYPE))
            .cloned()
            .or_else(|| own_options?.body.as_ref().map(|_| FORM_URLENCODED))
    }

    /// Adds what is known of the connection of a response.
    fn with_connection(
        &self,
        asked: SentRequest,
        attempt: &Attempt,
        response: &reqwest::Response,
    ) -> SentRequest {
        let url = attempt.url();
        let address = response.remote_addr().map(|address| address.ip());
        SentRequest {
            // With a proxy, it is the proxy's.
            address: address.filter(|_| !self.clients.is_proxied(url)),
            tls: self.clients.tls_version(url),
            ..asked
        }
    }

    /// Remembers how the host is to be asked from now on.
    fn learn(&self, attempt: &Attempt, variant: ClientVariant, response: &reqwest::Response) {
        let learned = match attempt.send_mode {
            // Also learned after a malformed body, which shows only when it is read.
            SendMode::Lenient => Some(HostHabit::LENIENT),
            SendMode::Bounded => Some(HostHabit::BOUNDED),
            // The server speaks HTTP/1.1, which was tried because HTTP/2 had failed.
            SendMode::Fresh if variant.http1 => Some(HostHabit::HTTP1),
            SendMode::Usual | SendMode::Fresh | SendMode::Unended => None,
        };
        // On a shared connection that body would be the response to the next request.
        let forbidden = announces_forbidden_body(response).then_some(HostHabit::LENIENT);
        for habit in learned.into_iter().chain(forbidden) {
            self.habits.add(attempt.url(), habit);
        }
    }

    fn variant(&self, attempt: &Attempt) -> ClientVariant {
        let habit = self.habits.of(attempt.url());
        let http2_fails = habit.overflows || attempt.history().http2_failures >= MAX_HTTP2_FAILURES;
        let http1 = habit.http1 || (http2_fails && !habit.http2_only);
        let http1 = http1 && self.may_use_http1;
        ClientVariant {
            http1,
            // The lenient client speaks no HTTP/2.
            lenient: self.may_use_http1
                && (habit.lenient
                    || habit.bounded
                    || !matches!(attempt.send_mode, SendMode::Usual | SendMode::Fresh)),
            bounded: habit.bounded || attempt.send_mode == SendMode::Bounded,
            // A request that must not be sent twice must not use a connection that the server
            // may be closing.
            fresh: attempt.send_mode == SendMode::Fresh
                || ((habit.closes || (habit.overflows && !http1))
                    && !attempt.method().is_idempotent()),
        }
    }

    async fn send(
        &self,
        mut request: reqwest::Request,
        variant: ClientVariant,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<reqwest::Response, FetchError> {
        let upload = upload::split_body(&mut request, attempt);
        let mut sent = self.send_request(request, variant, attempt, wire).await;
        if let (Some(upload), Ok(response)) = (upload, &mut sent) {
            upload.responded(response);
        }
        sent
    }

    async fn send_request(
        &self,
        request: reqwest::Request,
        variant: ClientVariant,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<reqwest::Response, FetchError> {
        let call = RequestContext {
            wire: Arc::clone(wire),
            port: request.url().port_or_known_default(),
            certificate: self.certificate(request.url()),
            is_retry: attempt.history().retries_used > 0,
            is_bounded: variant.bounded,
        };
        if variant.lenient {
            let sending = self.clients.lenient().execute(request);
            let sent = CALL.scope(call, sending).await;
            return sent.map_err(|error| self.failed(error.into(), variant, attempt, wire));
        }
        let client = self
            .clients
            .client(variant, wire.thread(), wire.connections_of_use())
            .map_err(|error| FetchError::Protocol {
                cause: Cause::from_error(error),
            })?;
        let sent = CALL.scope(call, client.execute(request)).await;
        sent.map_err(|error| self.failed(Arc::new(error), variant, attempt, wire))
    }

    /// Rejects the response of a proxy that requires other credentials for forwarding a request. It
    /// says nothing about the host.
    fn check_proxy(&self, status: StatusCode, attempt: &Attempt) -> Result<(), FetchError> {
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Ok(());
        }
        let proxies = self.clients.proxies();
        let Some(proxy) = proxies.and_then(|it| it.forwarding(attempt.url())) else {
            return Ok(());
        };
        let has_credentials = !proxy.username().is_empty();
        let refusal = TunnelRefusal::of_status(status, &shown(proxy), has_credentials);
        Err(FetchError::Proxy {
            status: Some(status),
            is_final: refusal.is_final,
            cause: Cause::from_text(refusal.text).with_hint(refusal.hint),
        })
    }

    /// Classifies the error of a request without a response, and records what it reveals.
    fn failed(
        &self,
        error: Arc<dyn Error + Send + Sync>,
        variant: ClientVariant,
        attempt: &Attempt,
        wire: &WireState,
    ) -> FetchError {
        self.note_failure(&*error, variant, attempt, wire);
        let phase = if is_connect(&*error) {
            FailurePhase::Connect
        } else {
            FailurePhase::Head
        };
        classify_shared(error, phase, wire.proxy().map(|proxy| &**proxy))
    }

    /// Sends a request again that failed for lack of a file descriptor: a file took the last free
    /// one and soon closes it. No byte was sent, so this is not another attempt.
    async fn send_when_free(
        &self,
        mut error: FetchError,
        variant: ClientVariant,
        attempt: &Attempt,
        wire: &Arc<WireState>,
    ) -> Result<reqwest::Response, FetchError> {
        while is_exhausted(&error) && wire.started().elapsed() < DESCRIPTOR_TIMEOUT {
            FdBudget::wait_before_resend(wire).await;
            let sent = self.send(self.request(attempt, variant), variant, attempt, wire);
            match sent.await {
                Ok(response) => return Ok(response),
                Err(next) => error = next,
            }
        }
        Err(error)
    }

    /// Records what a request without a response reveals about how to send this and later ones.
    fn note_failure(
        &self,
        error: &(dyn Error + 'static),
        variant: ClientVariant,
        attempt: &Attempt,
        wire: &WireState,
    ) {
        let add_habit = |habit| self.habits.add(attempt.url(), habit);
        if was_throttled(error) {
            wire.mark_throttled();
        } else if was_over_http2(error) {
            wire.mark_failed_over_http2();
        }
        if was_overwhelmed(error) {
            add_habit(HostHabit::OVERFLOWS);
            wire.mark_resendable(ResendCause::Http2Failed);
        } else if self.is_first_http1(variant, attempt, wire) && refuses_http1(error) {
            add_habit(HostHabit::HTTP2_ONLY);
            wire.mark_resendable(ResendCause::Http2Only);
        } else if was_turned_away(error) {
            wire.mark_resendable(ResendCause::GoAway);
        } else if self.may_use_http1 && wants_http1(error) {
            add_habit(HostHabit::HTTP1);
            wire.mark_resendable(ResendCause::Http1Required);
        } else if !is_connect(error) && connection_died(error) {
            self.note_death(error, attempt, wire);
        } else if !variant.lenient && (is_broken_head(error) || is_broken_tunnel(error)) {
            add_habit(HostHabit::LENIENT);
            wire.mark_resendable(match is_connect(error) {
                true => ResendCause::BrokenTunnel,
                false => ResendCause::Malformed,
            });
        }
    }

    /// Whether a connection was made for the request to find out if the host speaks HTTP/1.1.
    fn is_first_http1(&self, variant: ClientVariant, attempt: &Attempt, wire: &WireState) -> bool {
        variant.http1
            && !variant.lenient
            && wire.opened_connection()
            && !self.habits.of(attempt.url()).http1
    }

    /// Records what a connection that died before the head reveals.
    fn note_death(&self, error: &(dyn Error + 'static), attempt: &Attempt, wire: &WireState) {
        let connection = connection_of(error);
        let local_port = connection.as_ref().map(|info| info.local_addr().port());
        if !was_reused(local_port, wire) {
            // Behind a proxy, it is not known which address of the host was used.
            if let Some(info) = connection.filter(|_| wire.proxy().is_none()) {
                self.clients.avoid(attempt.url(), info.remote_addr().ip());
            }
        } else if is_http2(error) {
            wire.mark_resendable(ResendCause::StaleSharedConnection);
        } else {
            self.habits.add(attempt.url(), HostHabit::CLOSES);
            wire.mark_resendable(ResendCause::StaleConnection);
        }
    }
}

/// Whether the limit on open files of this machine was reached.
fn is_exhausted(error: &FetchError) -> bool {
    matches!(
        error,
        FetchError::Unreachable {
            exhausted: true,
            ..
        }
    )
}

/// Whether a request went over a connection, from this local port if known, that had been used
/// before.
fn was_reused(local_port: Option<u16>, wire: &WireState) -> bool {
    match local_port {
        Some(port) => !wire.has_made(port),
        None => !wire.opened_connection(),
    }
}

/// Whether a response is no answer to its request: many servers send a 408 before they close an
/// idle connection (RFC 9110 §15.5.9), and it may arrive just after the next request was sent.
fn ends_idle_connection(response: &reqwest::Response, wire: &WireState) -> bool {
    if response.status() != StatusCode::REQUEST_TIMEOUT {
        return false;
    }
    let info = response.extensions().get::<HttpInfo>();
    let connection = response.headers().get(header::CONNECTION);
    let closes = connection.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"close"));
    (closes || response.version() < Version::HTTP_11)
        && was_reused(info.map(|info| info.local_addr().port()), wire)
}

/// Whether a 204 announces a body, which it cannot have (RFC 9110 §8.6, RFC 9112 §6.1).
fn announces_forbidden_body(response: &reqwest::Response) -> bool {
    if response.status() != StatusCode::NO_CONTENT || response.version() >= Version::HTTP_2 {
        return false;
    }
    let headers = response.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Rejects a response whose body length is given by an invalid header line: the body could be
/// truncated, or still be chunked.
fn check_length(response: &reqwest::Response, attempt: &Attempt) -> Result<(), FetchError> {
    let status = response.status();
    let has_body = *attempt.method() != Method::HEAD && status != StatusCode::NO_CONTENT;
    match FlawedLength::in_response(response).filter(|_| has_body && status.is_success()) {
        None => Ok(()),
        Some(line) => Err(FetchError::Protocol {
            cause: Cause::from_text(format!(
                "header line \"{line}\" does not say where the body ends"
            )),
        }),
    }
}

/// Asks for an uncompressed body if the user set a range: it counts encoded bytes, so a content
/// coding would change what it means.
fn request_identity_for_range(headers: &mut HeaderMap, own: &HeaderMap) {
    if own.contains_key(header::RANGE) {
        let plain = HeaderValue::from_static("identity");
        headers.insert(header::ACCEPT_ENCODING, plain);
    }
}

/// Asks for the bytes of the file, unless the user asked for a coding.
fn request_no_coding(headers: &mut HeaderMap) {
    if let Some(coding) = headers.get_mut(header::ACCEPT_ENCODING)
        && coding == ACCEPT_ENCODING
    {
        *coding = HeaderValue::from_static("identity");
    }
}

/// Removes what the user set to get only a part of each body, or only a changed one: a file that the
/// run itself needs has to come whole.
fn remove_conditions(headers: &mut HeaderMap) {
    for name in [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        headers.remove(name);
    }
}

/// Makes the request conditional: to resume a partial body if it is unchanged (RFC 9110 §13.1.5),
/// or to fetch a saved one only if it changed (§13.1.2, §13.1.3).
fn add_conditions(headers: &mut HeaderMap, attempt: &Attempt) {
    if let Some(part) = attempt.resumable_part() {
        let last = part.request_end().map(|end| end.saturating_sub(1));
        let last = last.map_or_else(String::new, |last| last.to_string());
        if let Ok(range) = HeaderValue::try_from(format!("bytes={}-{last}", part.length)) {
            headers.insert(header::RANGE, range);
            headers.insert(header::IF_RANGE, part.version.validator.clone());
            // The length of the part counts decoded bytes, so the range must, too.
            let plain = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, plain);
        }
    } else if let Some(known) = attempt.revalidation() {
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
        wire: &Arc<WireState>,
    ) -> Result<RawResponse<HttpBody>, FetchError> {
        if self.only_public {
            // Covers every hop of a redirect chain. Names are checked when they are resolved.
            check_literal(attempt.url()).map_err(NonPublicAddress::into_error)?;
        }
        if let Some(proxy) = self.clients.proxies().and_then(|it| it.of(attempt.url())) {
            wire.set_proxy(shown(proxy));
        }
        let family = self.clients.check_family(attempt.url());
        family.map_err(|error| classify_shared(Arc::new(error), FailurePhase::Connect, None))?;
        let variant = self.variant(attempt);
        let request = self.request(attempt, variant);
        let asked = self.keeps_requests.then(|| SentRequest {
            at: SystemTime::now(),
            headers: request.headers().clone(),
            address: None,
            tls: None,
        });
        let mut response = match self.send(request, variant, attempt, wire).await {
            Err(error) if is_exhausted(&error) => {
                self.send_when_free(error, variant, attempt, wire).await?
            }
            sent => sent?,
        };
        if attempt.url().domain().is_some()
            && let Some(peer) = response.remote_addr()
        {
            wire.set_peer(peer.ip());
        }
        if ends_idle_connection(&response, wire) {
            self.habits.add(attempt.url(), HostHabit::CLOSES);
            wire.mark_resendable(ResendCause::StaleConnection);
        }
        check_length(&response, attempt)?;
        self.check_proxy(response.status(), attempt)?;
        self.learn(attempt, variant, &response);
        let asked = asked.map(|asked| Arc::new(self.with_connection(asked, attempt, &response)));
        let head = ResponseHead {
            status: response.status(),
            version: response.version(),
            headers: Arc::new(std::mem::take(response.headers_mut())),
            asked,
            kept_coding: None,
        };
        let may_be_repaired = !variant.lenient && head.version < Version::HTTP_2;
        let habits = Arc::clone(&self.habits);
        let body = HttpBody::new(response, &head, may_be_repaired, habits, Arc::clone(wire));
        Ok(RawResponse { head, body })
    }

    fn avoid_address(&self, attempt: &Attempt, wire: &WireState) {
        // Behind a proxy, it is not known which address of the host was used.
        if let Some(peer) = wire.peer().filter(|_| wire.proxy().is_none()) {
            self.clients.avoid(attempt.url(), peer);
        }
    }
}

/// What is sent to one host.
#[derive(Debug)]
struct HostRequest {
    headers: HeaderMap,
    certificate: Option<Arc<CertifiedKey>>,
}

fn host_requests(
    options: &HashMap<String, HostRequestOptions>,
) -> Result<HashMap<String, HostRequest>, TransportError> {
    let request = |(name, options): (&String, &HostRequestOptions)| {
        let mut headers = options.headers.clone();
        if let Some(value) = options.user.as_ref().and_then(basic_auth) {
            headers.entry(header::AUTHORIZATION).or_insert(value);
        }
        let certificate = options.certificate.as_ref();
        let certificate = certificate.map(client_certificate::read).transpose()?;
        let request = HostRequest {
            headers,
            certificate,
        };
        Ok((name.clone(), request))
    };
    options.iter().map(request).collect()
}

/// Replaces headers by those of the same name in `own`, as far as they may be sent.
fn replace_headers(
    headers: &mut HeaderMap,
    own: &HeaderMap,
    may_send: impl Fn(&HeaderName) -> bool,
) {
    for name in own.keys().filter(|name| may_send(name)) {
        headers.remove(name);
        for value in own.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// The user's headers that are also sent to other origins, since they describe what is requested
/// and not the user. Without the range, a redirect would turn ten bytes into a whole file.
const CROSS_ORIGIN_SAFE: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::IF_RANGE,
    header::RANGE,
    header::REFERER,
    header::USER_AGENT,
];

/// Returns the headers for the origins of the list and those for other origins.
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
    request_identity_for_range(&mut base, &options.headers);
    let mut cross_origin = base.clone();
    for name in CROSS_ORIGIN_SAFE {
        let values = options.headers.get_all(&name);
        if options.headers.contains_key(&name) {
            cross_origin.remove(&name);
        }
        for value in values {
            cross_origin.append(&name, value.clone());
        }
    }
    let mut origin = base;
    if let Some(value) = options.user.as_ref().and_then(basic_auth) {
        origin.insert(header::AUTHORIZATION, value);
    }
    for name in options.headers.keys() {
        origin.remove(name);
    }
    for (name, value) in &options.headers {
        origin.append(name, value.clone());
    }
    (origin, cross_origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Credentials;

    #[test]
    fn other_origins_do_not_get_the_users_private_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-secret", HeaderValue::from_static("1"));
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-9"));
        headers.insert(header::REFERER, HeaderValue::from_static("http://a/"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("mine"));
        let options = HttpOptions {
            headers,
            user: Some(Credentials {
                user: "me".into(),
                password: "secret".into(),
            }),
            ..HttpOptions::default()
        };
        let (origin, cross_origin) = header_sets(&options);
        assert_eq!(
            origin.get(header::AUTHORIZATION).unwrap(),
            "Basic bWU6c2VjcmV0"
        );
        assert!(origin.contains_key("x-secret") && origin.contains_key(header::COOKIE));
        let mut names: Vec<_> = cross_origin.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "accept-encoding",
                "accept-language",
                "range",
                "referer",
                "user-agent"
            ]
        );
        assert_eq!(cross_origin.get(header::USER_AGENT).unwrap(), "mine");
        assert_eq!(
            cross_origin.get(header::ACCEPT_ENCODING).unwrap(),
            "identity"
        );
    }
}
