//! A mock server, for what a well-formed server shows. What is broken, slow or counted in bytes
//! on the wire is for the raw one.

use wiremock::matchers::{any, method, path};
use wiremock::{Match, Mock, MockBuilder, MockServer, Request, ResponseTemplate};

use super::{Done, Run};

/// The program runs beside the mock server's own thread.
pub fn go(run: Run, code: i32) -> Done {
    tokio::task::block_in_place(|| run.expect_exit(code))
}

pub fn get(at: &str) -> MockBuilder {
    Mock::given(method("GET")).and(path(at))
}

pub fn status(code: u16) -> ResponseTemplate {
    ResponseTemplate::new(code)
}

/// 200 with this body.
pub fn page(body: impl AsRef<[u8]>) -> ResponseTemplate {
    status(200).set_body_bytes(body.as_ref())
}

pub fn redirect(to: impl AsRef<str>) -> ResponseTemplate {
    status(302).insert_header("location", to.as_ref())
}

/// Answers the first requests with these, one after the other, and all others with `last`.
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

/// A request with exactly this line of this header. `header` of wiremock takes a comma for the
/// end of a value, and there is one in every date.
pub struct HeaderLine(pub &'static str, pub &'static str);

impl Match for HeaderLine {
    fn matches(&self, request: &Request) -> bool {
        let lines: Vec<_> = request.headers.get_all(self.0).iter().collect();
        lines == [self.1]
    }
}

/// A request without this header.
pub struct Without(pub &'static str);

impl Match for Without {
    fn matches(&self, request: &Request) -> bool {
        !request.headers.contains_key(self.0)
    }
}

/// The paths that were asked for, as they came.
pub async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let paths = requests.iter().map(|request| request.url.path().to_owned());
    paths.collect()
}
