//! Derives the request of a job: the options of its input line override those of the run.

use http::Method;

use super::EngineOptions;
use crate::model::{Attempt, Job, Sha256};

/// Returns the method of a job and whether its request has a body. A line with only a body is a
/// POST, as with `-d`; a line that sets GET or HEAD does not inherit the run's body.
pub(super) fn request_for(job: &Job, options: &EngineOptions) -> (Method, bool) {
    if job.is_auxiliary() {
        return (Method::GET, false);
    }
    let is_bodiless = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
    let own_options = job.options.as_ref();
    let own_body = own_options.is_some_and(|own_options| own_options.body.is_some());
    match own_options.and_then(|own_options| own_options.method.as_ref()) {
        Some(own) => {
            let with_body = own_body || (options.with_body && !is_bodiless(own));
            (own.clone(), with_body)
        }
        // As after a redirect, the run's body is not for another origin.
        None if options.with_body && job.is_foreign() => (Method::GET, false),
        None if own_body && is_bodiless(&options.method) => (Method::POST, true),
        None => (options.method.clone(), own_body || options.with_body),
    }
}

/// Restarts a retry at the input URL, or its mirror, because the target of its redirects may be
/// what failed. Returns false, and keeps the current URL, if the original method is not idempotent:
/// its request was answered and must not be repeated.
pub(super) fn try_back_to_source(attempt: &mut Attempt, options: &EngineOptions) -> bool {
    let (method, with_body) = request_for(&attempt.job, options);
    let may_start_over = method.is_idempotent();
    if may_start_over {
        attempt.back_to_source(method, with_body);
    }
    may_start_over
}

/// Moves a job whose URL has failed for good on to its next mirror.
pub(super) fn begin_mirror(attempt: &mut Attempt, options: &EngineOptions) {
    let (method, with_body) = request_for(&attempt.job, options);
    attempt.begin_mirror(method, with_body);
}

/// Returns a digest that distinguishes the request of a job from others to the same URL; `None` for
/// a plain GET.
pub(crate) fn digest_of(job: &Job, options: &EngineOptions) -> Option<String> {
    let is_plain_run = options.method == Method::GET && !options.with_body;
    if is_plain_run && job.options.is_none() && job.credentials.is_none() {
        return None;
    }
    let (method, with_body) = request_for(job, options);
    let own = job
        .options
        .as_ref()
        .and_then(|own_options| own_options.body.as_ref());
    let body = match own {
        Some(own) => Some(Sha256::of(own)),
        None => options.body_digest,
    };
    job.request_digest(&method, body.filter(|_| with_body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LineOptions;

    fn job(own: Option<Method>, own_body: bool) -> Job {
        let own_options = LineOptions {
            method: own,
            body: own_body.then(|| "x".into()),
            ..LineOptions::default()
        };
        Job {
            options: Some(Box::new(own_options)),
            ..Job::plain("http://a.test/")
        }
    }

    fn options(method: Method, body: Option<&str>) -> EngineOptions {
        EngineOptions {
            method,
            with_body: body.is_some(),
            body_digest: body.map(|body| Sha256::of(body.as_bytes())),
            ..EngineOptions::default()
        }
    }

    #[test]
    fn options_of_a_line_override_those_of_the_run() {
        let request = |own: Option<Method>, own_body: bool, run: Method, run_body: bool| {
            request_for(&job(own, own_body), &options(run, run_body.then_some("y")))
        };
        let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
        for (own, own_body, run, run_body, expected) in [
            (None, false, get.clone(), false, (get.clone(), false)),
            (None, false, post.clone(), true, (post.clone(), true)),
            (None, true, get.clone(), false, (post.clone(), true)),
            (None, true, put.clone(), true, (put.clone(), true)),
            (Some(&put), false, get.clone(), false, (put.clone(), false)),
            (Some(&put), false, post.clone(), true, (put.clone(), true)),
            (Some(&get), false, post.clone(), true, (get.clone(), false)),
            (Some(&get), true, post.clone(), true, (get.clone(), true)),
        ] {
            assert_eq!(request(own.cloned(), own_body, run, run_body), expected);
        }
    }

    #[test]
    fn the_digest_is_the_same_whether_the_line_or_the_run_sets_the_request() {
        let digest = |own: Option<Method>, own_body, run, run_body| {
            digest_of(&job(own, own_body), &options(run, run_body))
        };
        let (get, post) = (Method::GET, Method::POST);
        assert_eq!(digest(None, false, get.clone(), None), None);
        assert_eq!(
            digest(Some(get.clone()), false, post.clone(), Some("x")),
            None
        );
        let of_run = digest(None, false, post.clone(), Some("x"));
        assert!(of_run.is_some());
        assert_eq!(digest(None, true, get.clone(), None), of_run);
        assert_eq!(digest(Some(post.clone()), true, get, Some("y")), of_run);
        assert_ne!(digest(None, false, post.clone(), Some("y")), of_run);
        assert_ne!(digest(None, false, post, None), of_run);
    }
}
