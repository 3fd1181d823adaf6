use std::net::SocketAddr;

use h2::Reason;
use http::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use super::search::{BEARER, LINE, LOCATION, encoded};
use crate::support::{Connection, path, response};

/// The first byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: [u8; 1] = [22];

/// Fails in every way a server can. Its own responses repeat nothing that it received, except the
/// junk that is not HTTP.
pub fn fail(connection: &mut Connection) -> std::io::Result<()> {
    let mut first = [0];
    if connection.stream.peek(&mut first)? == 1 && first == TLS_HANDSHAKE {
        return connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    while let Some(request) = connection.request()? {
        let page = path(&request).rsplit('/').next().unwrap_or_default();
        if let Some(location) = lead_away(page, connection.stream.local_addr()?) {
            let location = format!("Location: {location}");
            connection.send(&response("302 Found", &[&location], b""))?;
            continue;
        }
        match page {
            "junk" => {
                connection.send(request.as_bytes())?;
                return connection.reset();
            }
            "reset" => return connection.reset(),
            "hang" => return connection.hang(),
            "cut" => return connection.send(CUT),
            "large" => {
                connection.send(LARGE)?;
                return connection.hang();
            }
            _ if request.starts_with("CONNECT ") => {
                connection.send(&response("403 Forbidden", &[], b"no"))?;
            }
            page => connection.send(&answer(page))?,
        }
    }
    Ok(())
}

/// Returns where a malicious server redirects the client.
fn lead_away(page: &str, here: SocketAddr) -> Option<String> {
    let me = format!("eve:{LOCATION}");
    Some(match page {
        "to-userinfo" => format!("http://{me}@{here}/whole"),
        "to-missing" => format!("http://{me}@{here}/missing"),
        "to-loop" => format!("http://{me}@{here}/to-loop"),
        "to-ftp" => format!("ftp://{me}@{here}/"),
        "to-nowhere" => format!("http://{me}@"),
        "to-closed" => format!("http://{me}@127.0.0.1:1/"),
        "to-no-name" => format!("http://{me}@exa mple/"),
        _ => return None,
    })
}

const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"strong\"\r\nContent-Length: 99999\r\n\r\npart";
const LARGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n";

fn answer(page: &str) -> Vec<u8> {
    let realm = "WWW-Authenticate: Basic realm=\"x\"";
    match page {
        "missing" => response("404 Not Found", &[], b"no"),
        "unauthorized" => response("401 Unauthorized", &[realm], b"no"),
        "broken" => response("500 Internal Server Error", &[], b""),
        "decode" => response("200 OK", &["Content-Encoding: gzip"], b"no gzip"),
        "partial" => response("206 Partial Content", &[], b"par"),
        _ => response("200 OK", &["Set-Cookie: theirs=1"], b"whole"),
    }
}

const PAGES: [&str; 20] = [
    "whole",
    "missing",
    "unauthorized",
    "broken",
    "to-userinfo",
    "to-missing",
    "to-loop",
    "to-ftp",
    "to-nowhere",
    "to-closed",
    "to-no-name",
    "junk",
    "reset",
    "cut",
    "hang",
    "decode",
    "large",
    "partial",
    "whole?a=b",
    "missing?a=b",
];

/// Returns a list with every kind of error, with and without userinfo.
pub fn text_list(addr: SocketAddr) -> String {
    let line = encoded(LINE);
    let mut list = String::new();
    for page in PAGES {
        list.push_str(&format!("http://{addr}/{page}\n"));
        list.push_str(&format!("http://bob:{line}@{addr}/own/{page}\n"));
    }
    for bad in [
        format!("http://bob:{line}@exa mple/"),
        format!("http://bob:{line}@{addr}:99999/"),
        format!("ftp://bob:{line}@{addr}/"),
        format!("bob:{line}@{addr}/x"),
        format!("http:/\\bob:{line}@"),
        format!("https://bob:{line}@{addr}/no-tls"),
        format!("http://bob:{line}@127.0.0.1:1/refused"),
    ] {
        list.push_str(&bad);
        list.push('\n');
    }
    list
}

/// Returns lines with headers of their own, valid and malformed.
pub fn json_list(addr: SocketAddr) -> String {
    let headers = format!(r#""headers":{{"Authorization":"Bearer {BEARER}"}}"#);
    let mut list = String::new();
    for page in PAGES {
        let name = page.replace('?', "-");
        list.push_str(&format!(
            "{{\"url\":\"http://{addr}/json/{page}\",\"file\":\"json/{name}\",{headers}}}\n"
        ));
    }
    list.push_str(&format!("{{\"url\":\"http://{addr}/\",{headers},\n"));
    list.push_str(&format!("{{\"url\":\"gopher://{addr}/\",{headers}}}\n"));
    list
}

/// The same over HTTP/2, in short. Passes on the values of all received headers.
pub async fn serve_http2(stream: TcpStream, heard: UnboundedSender<String>) {
    let here = stream.local_addr().unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        for value in request.headers().values() {
            let _ = heard.send(format!("{}\n", value.to_str().unwrap()));
        }
        let page = request.uri().path().rsplit('/').next().unwrap_or_default();
        match page {
            "reset" => respond.send_reset(Reason::INTERNAL_ERROR),
            "junk" => respond.send_reset(Reason::PROTOCOL_ERROR),
            page => {
                let mut answer = Response::builder().status(StatusCode::OK);
                if page == "missing" {
                    answer = answer.status(StatusCode::NOT_FOUND);
                } else if let Some(location) = lead_away(page, here) {
                    answer = answer
                        .status(StatusCode::FOUND)
                        .header("location", location);
                }
                let _ = respond.send_response(answer.body(()).unwrap(), true);
            }
        }
    }
}
