//! Redirect chains: where a retry starts, which headers follow, and when a chain is a loop.

use fetchall::{ContentChange, ErrorKind};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::mock::{Without, asked, get, go, redirect};
use crate::support::{Out, Run};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_asks_the_url_of_the_list_and_not_the_node_that_is_down() {
    let server = MockServer::start().await;
    let dead = ResponseTemplate::new(503);
    get("/lb")
        .respond_with(redirect("/node1"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    get("/lb")
        .respond_with(redirect("/node2"))
        .mount(&server)
        .await;
    get("/node1")
        .respond_with(dead)
        .expect(1)
        .mount(&server)
        .await;
    get("/node2")
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let done = go(Run::new().arg(format!("{}/lb", server.uri())), 0);
    assert_eq!(asked(&server).await, ["/lb", "/node1", "/lb", "/node2"]);
    let record = done.record();
    assert_eq!((record.attempts, record.redirects), (4, 1));
    assert!(record.final_url.as_ref().unwrap().ends_with("/node2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_reached_is_left_at_the_next_retry_even_when_it_was_given_up() {
    let server = MockServer::start().await;
    let dead = format!("http://{}/", crate::support::closed_port());
    // The first requests lead to a host that is soon given up.
    get("/lb")
        .respond_with(redirect(&dead))
        .up_to_n_times(40)
        .mount(&server)
        .await;
    get("/lb")
        .respond_with(redirect("/alive"))
        .mount(&server)
        .await;
    get("/alive")
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let urls = (0..40).map(|n| format!("{}/lb?{n}", server.uri()));
    let done = go(Run::new().arg("-j40").urls(urls), 0);
    assert!(done.records.iter().all(|record| record.redirects == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_was_answered_is_not_sent_again_for_what_its_redirect_led_to() {
    let server = MockServer::start().await;
    let see_other = ResponseTemplate::new(303).insert_header("location", "/result");
    Mock::given(method("POST"))
        .respond_with(see_other)
        .expect(1)
        .mount(&server)
        .await;
    get("/result")
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    get("/result")
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let done = go(Run::new().args(["-dx", &server.uri()]), 0);
    assert_eq!(done.record().attempts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_gets_what_says_what_is_wanted_and_nothing_else() {
    let (home, abroad) = (MockServer::start().await, MockServer::start().await);
    let partial = ResponseTemplate::new(206).insert_header("content-range", "bytes 0-9/1000");
    get("/cdn")
        .and(header("range", "bytes=0-9"))
        .and(header("user-agent", "Mozilla/5.0"))
        .and(header("referer", "http://page.test/"))
        .and(header("accept", "text/csv"))
        .and(header("accept-language", "de"))
        .and(Without("x-token"))
        .and(Without("authorization"))
        .and(Without("cookie"))
        .respond_with(partial.set_body_bytes(*b"0123456789"))
        .expect(2)
        .mount(&abroad)
        .await;
    get("/")
        .respond_with(redirect(format!("{}/cdn", abroad.uri())))
        .mount(&home)
        .await;
    let headers = [
        ("Range", "bytes=0-9"),
        ("User-Agent", "Mozilla/5.0"),
        ("Referer", "http://page.test/"),
        ("Accept", "text/csv"),
        ("Accept-Language", "de"),
        ("X-Token", "secret"),
        ("Authorization", "secret"),
        ("Cookie", "secret=1"),
    ];
    let of_run = headers.map(|(name, value)| format!("-H{name}: {value}"));
    let done = go(Run::new().args(of_run).arg(home.uri()), 0);
    assert_eq!(
        (done.record().status, done.record().bytes),
        (Some(206), Some(10))
    );
    let of_line = headers
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .join(",");
    let line = format!("{{\"url\":\"{}\",\"headers\":{{{of_line}}}}}", home.uri());
    let done = go(Run::new().arg("--input-format=jsonl").stdin(line), 0);
    assert_eq!(
        (done.record().status, done.record().bytes),
        (Some(206), Some(10))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_of_bytes_that_are_not_coded() {
    let server = MockServer::start().await;
    get("/")
        .and(header("accept-encoding", "identity"))
        .respond_with(ResponseTemplate::new(206))
        .expect(1)
        .mount(&server)
        .await;
    go(Run::new().args(["-HRange: bytes=0-9", &server.uri()]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_a_redirect_sets_opens_the_wall_it_leads_back_to() {
    let server = MockServer::start().await;
    let wall = redirect("/wall").insert_header("set-cookie", "sess=1; Path=/");
    get("/wall")
        .and(Without("cookie"))
        .respond_with(wall)
        .mount(&server)
        .await;
    get("/wall")
        .and(header("cookie", "sess=1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    // `/login` sets the cookie and redirects back.
    get("/sso")
        .and(Without("cookie"))
        .respond_with(redirect("/login"))
        .mount(&server)
        .await;
    let login = redirect("/sso").insert_header("set-cookie", "sess=1; Path=/");
    get("/login").respond_with(login).mount(&server).await;
    get("/sso")
        .and(header("cookie", "sess=1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    for (at, attempts) in [("/wall", 2), ("/sso", 3), ("/wall", 2)] {
        let url = format!("{}{at}", server.uri());
        assert_eq!(go(Run::new().arg(url), 0).record().attempts, attempts);
    }
    // Neither another URL nor another line with the same URL gets the cookie.
    let urls = [
        format!("{}/wall", server.uri()),
        format!("{}/wall", server.uri()),
    ];
    let done = go(Run::new().arg("-j1").urls(urls), 0);
    assert!(done.records.iter().all(|record| record.attempts == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_was_set_takes_the_place_of_the_users_own() {
    let server = MockServer::start().await;
    let set = redirect("/there").insert_header("set-cookie", "sess=new; Path=/");
    get("/")
        .and(header("cookie", "sess=old; x=1"))
        .respond_with(set)
        .expect(1)
        .mount(&server)
        .await;
    get("/there")
        .and(header("cookie", "x=1; sess=new"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    go(
        Run::new().args(["-HCookie: sess=old; x=1", &server.uri()]),
        0,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_a_redirect_takes_away_is_not_sent_even_if_it_is_the_users_own() {
    let server = MockServer::start().await;
    let fresh = redirect("/x").insert_header("set-cookie", "sess=; Path=/; Max-Age=0");
    get("/x")
        .and(header("cookie", "sess=stale; own=1"))
        .respond_with(fresh)
        .expect(1)
        .mount(&server)
        .await;
    get("/x")
        .and(header("cookie", "own=1"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let url = format!("{}/x", server.uri());
    go(Run::new().args(["-HCookie: sess=stale; own=1", &url]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_goes_to_no_other_site() {
    let (home, abroad) = (MockServer::start().await, MockServer::start().await);
    // Ports do not tell cookies apart (RFC 6265 §8.5), hosts do.
    let port = abroad.address().port();
    let to = format!("http://other.test:{port}/there");
    let set = redirect(to).insert_header("set-cookie", "sess=1; Path=/");
    get("/").respond_with(set).mount(&home).await;
    get("/there")
        .and(Without("cookie"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&abroad)
        .await;
    let resolve = format!("--resolve=other.test:{port}:127.0.0.1");
    go(Run::new().args([&resolve, &home.uri()]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_sent_three_times_and_then_it_is_a_loop() {
    let server = MockServer::start().await;
    get("/")
        .respond_with(redirect("/"))
        .expect(3)
        .mount(&server)
        .await;
    let done = go(Run::new().arg(server.uri()), 1);
    assert_eq!(done.failure(), (ErrorKind::Redirect, 3));
    // A page that is ready only after two redirects to itself.
    let server = MockServer::start().await;
    get("/")
        .respond_with(redirect("/"))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    get("/")
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(go(Run::new().arg(server.uri()), 0).record().attempts, 3);
    // With a new cookie each time, the redirects are followed up to --max-redirects.
    let server = MockServer::start().await;
    for n in 0..10 {
        let next = redirect("/").insert_header("set-cookie", format!("n={n}"));
        get("/")
            .respond_with(next)
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    get("/")
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(go(Run::new().arg(server.uri()), 0).record().redirects, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hop_of_a_refresh_is_asked_whether_it_has_changed() {
    let server = MockServer::start().await;
    // The redirect leads to a different URL each time. The second one accepts the validator of the
    // first.
    get("/latest")
        .respond_with(redirect("/signed/1"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    get("/latest")
        .respond_with(redirect("/signed/2"))
        .mount(&server)
        .await;
    get("/signed/1")
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("etag", "\"v1\"")
                .set_body_string("one"),
        )
        .expect(1)
        .mount(&server)
        .await;
    get("/signed/2")
        .and(header("if-none-match", "\"v1\""))
        .respond_with(ResponseTemplate::new(304))
        .expect(1)
        .mount(&server)
        .await;
    let (out, url) = (Out::new(), format!("{}/latest", server.uri()));
    go(out.run().arg(&url), 0);
    let done = go(out.run().args(["--refresh", &url]), 0);
    assert_eq!(done.record().change, Some(ContentChange::Unchanged));
    assert_eq!(out.body(done.record()), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misdirected_request_is_asked_once_more_over_a_connection_of_its_own() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(421))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let done = go(Run::new().args(["--retries=0", "-dx", &server.uri()]), 0);
    assert_eq!(done.record().attempts, 1);
    let always = MockServer::start().await;
    get("/")
        .respond_with(ResponseTemplate::new(421))
        .expect(2)
        .mount(&always)
        .await;
    let done = go(Run::new().arg(always.uri()), 1);
    assert_eq!(
        (done.failure(), done.record().status),
        ((ErrorKind::Status, 1), Some(421))
    );
}

/// A list with such a URL is rejected, but a server may redirect anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_url_with_a_password_inside_is_followed_and_does_not_show_it() {
    let server = MockServer::start().await;
    let inner = "/to?u=http://me:s3cret@host/&x=1";
    let encoded = "/web/http%3A%2F%2Fme%3As3cret%40host";
    for (from, to) in [("/a", inner), ("/b", encoded)] {
        let to = redirect(to);
        get(from).respond_with(to).mount(&server).await;
    }
    get("/to")
        .respond_with(redirect("/web/http://me:s3cret@host"))
        .mount(&server)
        .await;
    get("/web/http://me:s3cret@host")
        .respond_with(redirect("/round/http://me:s3cret@host"))
        .mount(&server)
        .await;
    get("/round/http://me:s3cret@host")
        .respond_with(redirect("/round/http://me:s3cret@host"))
        .mount(&server)
        .await;
    let body = ResponseTemplate::new(200).set_body_string("whole");
    get(encoded).respond_with(body).mount(&server).await;
    let run = || {
        let urls = ["/a", "/b"].map(|path| format!("{}{path}", server.uri()));
        Run::new().args(["--ordered", "--timeline"]).args(urls)
    };
    let done = go(run().env("RUST_LOG", "fetchall=trace"), 1);
    let shown = format!("{}{}", done.stdout, done.stderr);
    assert!(!shown.contains("s3cret"), "{shown}");
    let ends = done.records.iter().map(|record| record.final_url.clone());
    let ends: Vec<_> = ends.map(Option::unwrap_or_default).collect();
    let masked = format!("{}/***", server.uri());
    assert_eq!(ends, [masked.clone(), masked]);
    assert!(done.records[1].ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_of_the_server_is_followed() {
    let server = MockServer::start().await;
    let choice = ResponseTemplate::new(300).insert_header("location", "/chosen");
    get("/many").respond_with(choice).mount(&server).await;
    let open = ResponseTemplate::new(300);
    get("/open").respond_with(open).mount(&server).await;
    let page = ResponseTemplate::new(200);
    get("/chosen").respond_with(page).mount(&server).await;
    let url = |path| format!("{}{path}", server.uri());
    let done = go(Run::new().arg(url("/many")), 0);
    assert_eq!(done.record().final_url, Some(url("/chosen")));
    let done = go(Run::new().arg(url("/open")), 1);
    assert_eq!(done.failure(), (ErrorKind::Status, 1));
}
