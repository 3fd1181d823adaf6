use std::sync::{Arc, Mutex};

use crate::support::{
    Authority, Run, Server, TlsServer, faults, header, path, response, same_everywhere,
};

#[test]
fn nothing_of_the_users_goes_to_another_origin() {
    let other = Server::http(|_| response("200 OK", &[], b""));
    let to = other.url("/landed").replace("http://", "http://evil:pw@");
    let home = Server::http(move |_| response("302 Found", &[&format!("Location: {to}")], b""));
    let url = home
        .url("/?token=abc")
        .replace("http://", "http://own:userinfo@");
    Run::new()
        .args([
            "-ume:secret",
            "-HCookie: a=b",
            "-HX-Api-Key: k",
            "-HAccept-Language: de",
            &url,
        ])
        .expect_exit(0);
    let at_home = &home.requests()[0];
    assert!(
        at_home.contains("cookie: a=b") && at_home.contains("x-api-key: k"),
        "{at_home}"
    );
    assert!(
        at_home.contains("authorization: Basic b3duOnVzZXJpbmZv"),
        "userinfo beats -u: {at_home}"
    );
    let abroad = other.requests()[0].to_lowercase();
    for secret in [
        "authorization",
        "cookie",
        "x-api-key",
        "referer",
        "token",
        "evil",
    ] {
        assert!(!abroad.contains(secret), "{secret} in {abroad}");
    }
    assert!(abroad.contains("accept-language: de"), "{abroad}");
}

#[test]
fn nothing_of_a_line_goes_to_another_origin() {
    let other = Server::http(|_| response("200 OK", &[], b""));
    let to = other.url("/landed");
    let home = Server::http(move |request| match request.contains("/see-other") {
        true => response("303 See Other", &[&format!("Location: {to}")], b""),
        false => response("307 Temporary Redirect", &[&format!("Location: {to}")], b""),
    });
    let line = |path: &str, more: &str| format!("{{\"url\":\"{}\",{more}}}", home.url(path));
    let headers = r#""headers":{"Cookie":"s3cret","X-Token":"s3cret","Accept":"text/x"}"#;
    let done = Run::new()
        .arg("--input-format=jsonl")
        .stdin(
            [
                line("/get", headers),
                line("/see-other", &format!(r#"{headers},"body":"s3cret""#)),
                line("/post", &format!(r#"{headers},"body":"s3cret""#)),
            ]
            .join("\n"),
        )
        .expect_exit(1);
    assert!(done.of("/get").ok && done.of("/see-other").ok);
    let error = done.of("/post").error.as_ref().unwrap();
    insta::assert_snapshot!("body_to_another_origin", same_everywhere(&error.message));
    assert!(
        home.requests()
            .iter()
            .all(|request| request.contains("cookie: s3cret"))
    );
    let abroad = other.requests();
    assert_eq!(abroad.len(), 2);
    for request in abroad {
        assert!(
            request.starts_with("GET ") && request.contains("accept: text/x"),
            "{request}"
        );
        assert!(
            !request.contains("s3cret") && !request.contains("content-type"),
            "{request}"
        );
    }
}

/// Everything that identifies the user, on the command line and in the line itself.
fn with_secrets(url: &str) -> Run {
    let url = url.replace("://", "://own:s3cret@");
    let headers = r#"{"Cookie":"s3cret","X-Line":"s3cret","Proxy-Authorization":"s3cret"}"#;
    let line = format!(r#"{{"url":"{url}","headers":{headers}}}"#);
    Run::new()
        .args([
            "-ume:s3cret",
            "-HX-Run: s3cret",
            "-HReferer: http://page.test/",
        ])
        .arg("--input-format=jsonl")
        .stdin(line)
}

#[test]
fn another_port_host_or_scheme_is_another_origin_also_on_the_way_back() {
    let authority = Authority::new();
    let back = Arc::new(Mutex::new(String::new()));
    let way_back = |back: &Arc<Mutex<String>>| {
        let back = Arc::clone(back);
        move |_: &str| {
            let to = format!("Location: {}", back.lock().unwrap());
            response("302 Found", &[&to, "Connection: close"], b"")
        }
    };
    let other_port = Server::http(way_back(&back));
    let config = authority.config("home.test", |_| {});
    let other_scheme = TlsServer::answering(config, way_back(&back));
    // One server under two names.
    let away = Arc::new(Mutex::new(String::new()));
    let (to, answer) = (Arc::clone(&away), way_back(&back));
    let home = Server::http(
        move |request| match (path(request), header(request, "host")) {
            ("/start", _) => {
                let to = format!("Location: {}", to.lock().unwrap());
                response("302 Found", &[&to], b"")
            }
            (_, Some(host)) if host.starts_with("away.test:") => answer(request),
            _ => response("200 OK", &[], b"home again"),
        },
    );
    let port = home.addr.port();
    *back.lock().unwrap() = format!("http://home.test:{port}/back");
    let file = authority.file();
    for abroad in [
        other_port.url("/abroad"),
        format!("http://away.test:{port}/abroad"),
        format!("https://home.test:{}/abroad", other_scheme.addr.port()),
    ] {
        away.lock().unwrap().clone_from(&abroad);
        let before = home.requests().len();
        let resolve = [port, other_scheme.addr.port()].map(|port| {
            let names = ["home.test", "away.test"];
            names.map(|name| format!("--resolve={name}:{port}:127.0.0.1"))
        });
        let done = with_secrets(&format!("http://home.test:{port}/start"))
            .args(resolve.as_flattened())
            .arg(format!("--cacert={}", file.path().display()))
            .expect_exit(0);
        assert_eq!(done.record().redirects, 2, "{abroad}");
        assert!(!done.stdout.contains("s3cret") && !done.stderr.contains("s3cret"));
        let mut seen = home.requests().split_off(before);
        let start = seen.remove(0);
        // `own:s3cret` in the URL takes precedence over `-u`.
        for part in ["Basic b3duOnMzY3JldA==", "cookie: s3cret", "x-run: s3cret"] {
            assert!(start.contains(part), "{part} in {start}");
        }
        seen.extend(other_port.requests());
        seen.extend(other_scheme.requests());
        assert!(seen.iter().any(|request| path(request) == "/abroad"));
        assert!(seen.iter().any(|request| path(request) == "/back"));
        for request in &seen {
            let small = request.to_lowercase();
            for secret in ["authorization", "cookie", "s3cret", "x-line"] {
                assert!(
                    !small.contains(secret),
                    "{secret} went to {abroad}: {request}"
                );
            }
        }
    }
}

#[test]
fn the_secrets_of_a_line_are_for_no_other_line() {
    let one = Server::http(|_| response("200 OK", &[], b""));
    let two = Server::http(|_| response("200 OK", &[], b""));
    let with = one.url("/").replace("://", "://own:s3cret@");
    let lines = format!(
        "{{\"url\":\"{with}\",\"headers\":{{\"Cookie\":\"s3cret\"}}}}\n\
         {{\"url\":\"{}\"}}\n{{\"url\":\"{}\"}}\n",
        one.url("/other"),
        two.url("/"),
    );
    Run::new()
        .args(["-j1", "--input-format=jsonl"])
        .stdin(lines)
        .expect_exit(0);
    let mut requests = one.requests();
    requests.extend(two.requests());
    for request in &requests {
        let is_first =
            path(request) == "/" && header(request, "host") == Some(&one.addr.to_string());
        for secret in ["authorization", "cookie"] {
            assert_eq!(header(request, secret).is_some(), is_first, "{request}");
        }
    }
    assert_eq!(requests.len(), 3);
}

#[test]
fn a_cookie_that_a_server_sets_stays_in_the_chain_of_its_url() {
    let server = Server::http(|request| match path(request) {
        "/start" => response("302 Found", &["Set-Cookie: a=b", "Location: /there"], b""),
        _ => response("200 OK", &["Set-Cookie: c=d; Domain=.test"], b""),
    });
    Run::new()
        .arg("-j1")
        .urls(["/start", "/there"].map(|path| server.url(path)))
        .expect_exit(0);
    let requests = server.requests();
    let mut cookies: Vec<_> = requests
        .iter()
        .map(|request| (path(request), header(request, "cookie")))
        .collect();
    cookies.sort_unstable();
    assert_eq!(
        cookies,
        [("/start", None), ("/there", None), ("/there", Some("a=b"))]
    );
}

#[test]
fn credentials_that_a_redirect_hands_out_are_neither_used_nor_shown() {
    let server = faults::server();
    let done = Run::new()
        .arg(server.url("/redirect-to-userinfo/1"))
        .expect_exit(0);
    assert_eq!(done.record().final_url, Some(server.url("/good/page")));
    assert!(!done.stdout.contains("evil") && !done.stderr.contains("evil"));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(header(request, "authorization"), None, "{request}");
    }
}
