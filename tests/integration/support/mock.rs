//! Helpers for wiremock, which mocks well-formed servers. For broken or slow responses, and to
//! count bytes on the wire, use the raw [`Server`](super::Server).

use wiremock::matchers::{any, method, path};
use wiremock::{Match, Mock, MockBuilder, MockServer, Request, ResponseTemplate};

use super::{Done, Run};

/// Runs the program, which must end with this exit code, without blocking the mock server.
pub fn go(run: Run, code: i32) -> Done {
    tokio::task::block_in_place(|| run.expect_exit(code))
}

pub fn get(at: &str) -> MockBuilder {
    Mock::given(method("GET")).and(path(at))
}

pub fn status(code: u16) -> ResponseTemplate {
    ResponseTemplate::new(code)
}

/// Returns a 200 with this body.
pub fn page(body: impl AsRef<[u8]>) -> ResponseTemplate {
    status(200).set_body_bytes(body.as_ref())
}

pub fn redirect(to: impl AsRef<str>) -> ResponseTemplate {
    status(302).insert_header("location", to.as_ref())
}

/// Starts a server that answers the first requests with `first`, in order, and all others with
/// `last`.
pub async fn site(first: Vec<ResponseTemplate>, last: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    for answer in first {
        Mock::given(any())
            .respond_with(answer)
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    Mock::given(any()).respond_with(last).mount(&server).await;
    server
}

/// Matches a request with exactly this one line of this header. wiremock's own `header` splits
/// values at commas, and every date contains one.
pub struct HeaderLine(pub &'static str, pub &'static str);

impl Match for HeaderLine {
    fn matches(&self, request: &Request) -> bool {
        let lines: Vec<_> = request.headers.get_all(self.0).iter().collect();
        lines == [self.1]
    }
}

/// Matches a request without this header.
pub struct Without(pub &'static str);

impl Match for Without {
    fn matches(&self, request: &Request) -> bool {
        !request.headers.contains_key(self.0)
    }
}

/// Returns the requested paths, in order of arrival.
pub async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let paths = requests.iter().map(|request| request.url.path().to_owned());
    paths.collect()
}
