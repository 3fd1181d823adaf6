//! Decides, without I/O, whether and how a redirect is followed (RFC 9110 §15.4).

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_encode_byte;
use url::Url;

use super::EngineOptions;
use crate::model::{
    Attempt, ChainCookies, Hop, RedirectProblem, ResponseHead, is_same_origin, mask_inner_passwords,
};

/// Maximum times that one chain sends the same request, cookies included. More than once, because
/// sites set a cookie and redirect back, or need a moment to prepare a page.
const MAX_SAME_REQUESTS: usize = 3;

/// Redirects followed to a robots.txt (RFC 9309 §2.3.1.2), whatever is set for the list.
const MAX_ROBOTS_REDIRECTS: u32 = 5;

/// Maximum bytes of a scheme in a message. Registered schemes are shorter, but a server may send
/// one as long as a whole head.
const MAX_SCHEME_BYTES: usize = 40;

/// The next hop of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    hop: Box<Hop>,
    method: Method,
    with_body: bool,
    /// The cookies of the run's jar for it, as they were when it was checked for a loop.
    jar_cookies: Option<Box<[u8]>>,
}

/// Whether a response is a redirect to follow. A 300 is one if the server names its choice (RFC 9110
/// §15.4.1).
pub(super) fn is_redirect(head: &ResponseHead) -> bool {
    match head.status.as_u16() {
        300 => head.headers.contains_key(header::LOCATION),
        status => matches!(status, 301 | 302 | 303 | 307 | 308),
    }
}

/// Returns the next hop that a redirect response leads to.
///
/// # Errors
/// The reason why the redirect cannot or must not be followed.
pub(super) fn follow(
    attempt: &Attempt,
    head: &ResponseHead,
    options: &EngineOptions,
) -> Result<Redirect, RedirectProblem> {
    let max = max_redirects(attempt, options);
    let from = attempt.url();
    let to = resolve_location(from, head)?;
    if attempt.redirect_count() >= max {
        return Err(RedirectProblem::TooMany(max));
    }
    let (method, with_body) = method_after(head.status, attempt);
    let left_origin = !attempt.is_at_origin() || !is_same_origin(attempt.source_url(), &to);
    if with_body && left_origin {
        return Err(RedirectProblem::BodyAbroad {
            status: head.status,
        });
    }
    let (mut visited, mut requests, cookies) = match &attempt.hop {
        Some(hop) => (
            hop.visited.clone(),
            hop.requests.clone(),
            hop.cookies.after(from, &head.headers, &to),
        ),
        None => (
            Vec::new(),
            Vec::new(),
            ChainCookies::default().after(from, &head.headers, &to),
        ),
    };
    visited.push(from.clone());
    let is_trusted = attempt.may_send_credentials();
    let own = own_cookies(attempt, options, is_trusted);
    let sent = attempt.cookie_header(own);
    requests.push(fingerprint(attempt.method(), from, sent));
    let own = own_cookies(attempt, options, is_trusted && !left_origin);
    let jar = options.jar.as_ref();
    let jar_cookies = jar.and_then(|jar| jar.header_for(&to));
    let header = cookies.header_with(own, jar_cookies.as_deref());
    let next = fingerprint(&method, &to, header);
    if requests.iter().filter(|sent| **sent == next).count() >= MAX_SAME_REQUESTS {
        return Err(RedirectProblem::Loop(
            mask_inner_passwords(&to).into_owned(),
        ));
    }
    Ok(Redirect {
        hop: Box::new(Hop {
            url: to,
            visited,
            requests,
            cookies,
            left_origin,
        }),
        method,
        with_body,
        jar_cookies,
    })
}

fn max_redirects(attempt: &Attempt, options: &EngineOptions) -> u32 {
    match attempt.job.robots() {
        Some(_) => MAX_ROBOTS_REDIRECTS,
        None => options.max_redirects,
    }
}

/// Returns the `Cookie` headers of the user for a request of this job: those of its line, else
/// those of the run, and none where credentials must not go.
fn own_cookies<'a>(
    attempt: &'a Attempt,
    options: &'a EngineOptions,
    is_trusted: bool,
) -> impl Iterator<Item = &'a HeaderValue> {
    let line = attempt
        .job
        .options
        .as_ref()
        .map(|own_options| &own_options.headers);
    let line = line.filter(|headers| headers.contains_key(header::COOKIE));
    let (line, run) = match line {
        Some(headers) => (Some(headers.get_all(header::COOKIE).iter()), None),
        None => (None, Some(options.own_cookies.iter())),
    };
    let own = line.into_iter().flatten().chain(run.into_iter().flatten());
    own.filter(move |_| is_trusted)
}

/// Returns a hash that distinguishes the requests of one chain.
fn fingerprint(method: &Method, url: &Url, cookies: Option<HeaderValue>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (method, url, cookies).hash(&mut hasher);
    hasher.finish()
}

impl Redirect {
    /// Returns the bytes of the next hop's URL and cookies.
    #[must_use]
    pub(crate) fn length(&self) -> usize {
        let jar = self.jar_cookies.as_ref().map_or(0, |cookies| cookies.len());
        self.hop.url.as_str().len() + self.hop.cookies.weight() + jar
    }

    /// Moves an attempt to the next hop. It waits for its turn at the new host like any other.
    pub(crate) fn apply_to(self, attempt: &mut Attempt) {
        attempt.set_jar_cookies(self.jar_cookies);
        attempt.hop = Some(self.hop);
        attempt.set_method(self.method, self.with_body);
    }
}

fn resolve_location(from: &Url, head: &ResponseHead) -> Result<Url, RedirectProblem> {
    let none = RedirectProblem::NoLocation {
        status: head.status,
    };
    let location = head.headers.get(header::LOCATION).map(location_text);
    let location = location
        .as_deref()
        .map(|text| text.trim_matches(|c: char| c.is_ascii_whitespace()))
        .filter(|location| !location.is_empty())
        .ok_or_else(|| none.clone())?;
    let mut to = from.join(location).map_err(|_| none.clone())?;
    if !matches!(to.scheme(), "http" | "https") {
        let scheme = to.scheme();
        let begin = scheme.get(..MAX_SCHEME_BYTES).unwrap_or(scheme);
        return Err(RedirectProblem::Scheme(begin.to_owned()));
    }
    to.set_fragment(None);
    // Do not use credentials chosen by a server. Both calls fail only for URLs without a host.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    // The URL standard allows hosts that are invalid in a request.
    match to.as_str().parse::<http::Uri>() {
        Ok(_) => Ok(to),
        Err(_) => Err(none),
    }
}

/// Decodes a `Location`, which should be ASCII. UTF-8 is accepted as is. Otherwise the
/// charset is unknown, and each non-ASCII byte is percent-encoded, as browsers do.
fn location_text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .unwrap_or_else(|_| {
            let encoded = |byte: &u8| match byte {
                0..0x80 => char::from(*byte).to_string(),
                _ => percent_encode_byte(*byte).to_owned(),
            };
            Cow::Owned(bytes.iter().map(encoded).collect())
        })
}

/// Returns the method of the next request, and whether it has a body. A 303 turns any method but
/// HEAD into GET; a 301 or 302 turns POST into GET, as all clients do (RFC 9110 §15.4.2–15.4.4).
/// 307 and 308 keep method and body.
fn method_after(status: StatusCode, attempt: &Attempt) -> (Method, bool) {
    let becomes_get = match status {
        StatusCode::SEE_OTHER => {
            *attempt.method() != Method::HEAD && *attempt.method() != Method::GET
        }
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *attempt.method() == Method::POST,
        _ => false,
    };
    if becomes_get {
        (Method::GET, false)
    } else {
        (attempt.method().clone(), attempt.with_body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Job;
    use http::{HeaderMap, HeaderValue};

    fn attempt(url: &str, method: Method) -> Attempt {
        let job = Job::plain(url);
        let with_body = matches!(method, Method::POST | Method::PUT);
        Attempt::new(job, method, with_body)
    }

    fn options() -> EngineOptions {
        EngineOptions::default()
    }

    fn head(status: u16, location: Option<&[u8]>) -> ResponseHead {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(header::LOCATION, HeaderValue::from_bytes(location).unwrap());
        }
        ResponseHead::http11(StatusCode::from_u16(status).unwrap(), headers)
    }

    fn step(attempt: &mut Attempt, status: u16, location: &str) -> Result<(), RedirectProblem> {
        follow(
            attempt,
            &head(status, Some(location.as_bytes())),
            &options(),
        )?
        .apply_to(attempt);
        Ok(())
    }

    #[test]
    fn a_location_is_taken_relative_to_its_hop_without_userinfo_and_fragment() {
        for (location, expected) in [
            ("/b?c", "http://a.test/b?c"),
            ("c", "http://a.test/x/c"),
            ("//b.test/", "http://b.test/"),
            ("https://me:pw@b.test/y#z", "https://b.test/y"),
            ("  /b ", "http://a.test/b"),
        ] {
            let mut attempt = attempt("http://a.test/x/y", Method::GET);
            step(&mut attempt, 302, location).unwrap();
            assert_eq!(attempt.url().as_str(), expected);
        }
    }

    #[test]
    fn a_location_that_cannot_be_followed_is_an_error() {
        let start = attempt("http://a.test/", Method::GET);
        let problem =
            |location: Option<&[u8]>| follow(&start, &head(302, location), &options()).unwrap_err();
        for location in [
            None,
            Some(b"".as_slice()),
            Some(b"http://"),
            Some(b"http://caf\xe9.test/"),
            Some(b"http://{x}/"),
        ] {
            assert!(
                matches!(problem(location), RedirectProblem::NoLocation { .. }),
                "{location:?}"
            );
        }
        for scheme in ["file", "ftp", "data", "javascript"] {
            let location = format!("{scheme}:x");
            assert_eq!(
                problem(Some(location.as_bytes())),
                RedirectProblem::Scheme(scheme.into())
            );
        }
        let endless = format!("{}:y", "x".repeat(100_000));
        let message = problem(Some(endless.as_bytes())).to_string();
        assert!(message.len() < 120, "{message}");
    }

    #[test]
    fn non_utf8_bytes_are_percent_encoded_one_by_one() {
        for (location, expected) in [
            (b"/caf\xe9".as_slice(), "http://a.test/caf%E9"),
            (
                b"/\xd6\xd0\xce\xc4.html?q=\xd6",
                "http://a.test/%D6%D0%CE%C4.html?q=%D6",
            ),
            (
                "/caf\u{e9}?q=\u{4e2d}".as_bytes(),
                "http://a.test/caf%C3%A9?q=%E4%B8%AD",
            ),
            (b"/a b\xff", "http://a.test/a%20b%FF"),
            (b"http://b.test/%41\xe9", "http://b.test/%41%E9"),
        ] {
            let start = attempt("http://a.test/", Method::GET);
            let mut next = start.clone();
            follow(&start, &head(302, Some(location)), &options())
                .unwrap()
                .apply_to(&mut next);
            assert_eq!(next.url().as_str(), expected);
        }
    }

    #[test]
    fn loops_and_endless_chains_end() {
        let mut there = attempt("http://a.test/1", Method::GET);
        for _ in 0..2 {
            step(&mut there, 302, "/2").unwrap();
            step(&mut there, 302, "/1").unwrap();
        }
        step(&mut there, 302, "/2").unwrap();
        assert_eq!(
            step(&mut there, 302, "/1"),
            Err(RedirectProblem::Loop("http://a.test/1".into()))
        );
        let mut on = attempt("http://a.test/0", Method::GET);
        for n in 1..=10 {
            step(&mut on, 302, &format!("/{n}")).unwrap();
        }
        assert_eq!(step(&mut on, 302, "/11"), Err(RedirectProblem::TooMany(10)));
    }

    #[test]
    fn the_same_url_with_another_cookie_is_no_loop() {
        let mut attempt = attempt("http://a.test/", Method::GET);
        for n in 0..10 {
            let mut head = head(302, Some(b"/"));
            let cookie = HeaderValue::try_from(format!("n={n}")).unwrap();
            std::sync::Arc::make_mut(&mut head.headers).insert(header::SET_COOKIE, cookie);
            follow(&attempt, &head, &options())
                .unwrap()
                .apply_to(&mut attempt);
            let sent = attempt.cookie_header([]).unwrap();
            assert_eq!(sent.as_bytes(), format!("n={n}").as_bytes());
        }
    }

    #[test]
    fn a_cookie_that_changes_nothing_in_the_request_does_not_hide_a_loop() {
        for (own, set, sent) in [
            (None, "a=; Max-Age=0", 3),
            (Some("b=1"), "a=; Max-Age=0", 3),
            // The first request has the user's cookie, the other three have none.
            (Some("a=1"), "a=; Max-Age=0", 4),
            (Some("a=1"), "a=1", 3),
            (None, "a=1", 4),
            (None, "a=1; Path=/elsewhere", 3),
        ] {
            let mut options = options();
            options.own_cookies = own.map(HeaderValue::from_static).into_iter().collect();
            let mut attempt = attempt("http://a.test/", Method::GET);
            let mut head = head(302, Some(b"/"));
            std::sync::Arc::make_mut(&mut head.headers)
                .insert(header::SET_COOKIE, HeaderValue::from_static(set));
            let mut requests = 1;
            while let Ok(next) = follow(&attempt, &head, &options) {
                next.apply_to(&mut attempt);
                requests += 1;
            }
            assert_eq!(requests, sent, "{own:?}, {set}");
        }
    }

    #[test]
    fn methods_change_as_the_rfc_says() {
        for (status, before, after) in [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (301, Method::PUT, Method::PUT),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
            (303, Method::HEAD, Method::HEAD),
            (302, Method::HEAD, Method::HEAD),
        ] {
            let mut attempt = attempt("http://a.test/", before.clone());
            step(&mut attempt, status, "/b").unwrap();
            assert_eq!(*attempt.method(), after, "{status} after {before}");
            assert_eq!(attempt.with_body, before == after && before != Method::HEAD);
        }
        let mut post = attempt("http://a.test/", Method::POST);
        step(&mut post, 303, "/").unwrap();
    }

    #[test]
    fn a_body_is_not_handed_to_another_host() {
        for (location, followed) in [
            ("/b", true),
            ("https://a.test/b", true),
            ("http://b.test/", false),
            ("https://b.test/", false),
            ("https://a.test:8443/", false),
        ] {
            let mut attempt = attempt("http://a.test/", Method::POST);
            assert_eq!(
                step(&mut attempt, 307, location).is_ok(),
                followed,
                "{location}"
            );
            // A 303 drops the body.
            assert!(step(&mut attempt, 303, location).is_ok() || followed);
        }
    }

    #[test]
    fn credentials_are_never_sent_again_after_leaving_the_origin() {
        let mut there = attempt("http://a.test/", Method::GET);
        step(&mut there, 302, "/b").unwrap();
        assert!(there.may_send_credentials());
        step(&mut there, 302, "https://a.test/").unwrap();
        assert!(
            there.may_send_credentials(),
            "an upgrade to https on the same host"
        );
        step(&mut there, 302, "https://a.test:8443/").unwrap();
        assert!(
            !there.may_send_credentials(),
            "another port is another origin"
        );
        step(&mut there, 302, "http://a.test/c").unwrap();
        assert!(!there.may_send_credentials());
    }
}
