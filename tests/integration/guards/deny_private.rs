use std::env;
use std::process::Command;

use fetchall::{ErrorKind, Fetcher, Proxy};

use crate::support::{Connection, Run, Server, entry, pages, path, placeholders, response};

#[test]
fn inner_addresses_are_denied_before_anything_is_sent_however_they_are_spelt() {
    let server = pages();
    let port = server.addr.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
        "localhost",
        "a.localhost",
    ];
    let urls: Vec<_> = hosts
        .iter()
        .map(|host| format!("http://{host}:{port}/"))
        .collect();
    let done = Run::new()
        .args(["--deny-private", "--ordered"])
        .urls(&urls)
        .expect_exit(1);
    assert_eq!(done.records.len(), hosts.len());
    let mut page = String::new();
    for record in &done.records {
        let error = record.error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::Denied, "{}", record.url);
        assert!(!error.transient && record.attempts == 1, "{}", record.url);
        assert!(
            error.message.contains("--deny-private"),
            "{}",
            error.message
        );
        // The number of addresses of localhost differs from machine to machine.
        if !record.url.contains("localhost") {
            entry(&mut page, &record.url, &error.message);
        }
    }
    let shown = placeholders(&page, &[(&port.to_string(), "PORT")]);
    insta::assert_snapshot!("inner_addresses", shown);
    assert_eq!(server.connections(), 0);
    // Without the option, the URLs are fetched.
    Run::new()
        .urls([format!("http://0x7f.1:{port}/")])
        .expect_exit(0);
}

#[test]
fn addresses_of_resolve_are_checked_too_and_the_message_says_all_of_it() {
    let server = pages();
    let port = server.addr.port();
    let done = Run::new()
        .arg("--deny-private")
        .arg(format!("--resolve=inner.test:{port}:127.0.0.1,::1"))
        .urls([format!("http://inner.test:{port}/")])
        .expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Denied, 1));
    insta::assert_snapshot!("addresses_of_resolve", done.message());
    assert_eq!(server.connections(), 0);
}

#[test]
fn proxies_of_the_environment_are_not_used_and_one_on_the_command_line_is_refused() {
    let proxy = Server::http(|_| response("200 OK", &[], b"from the proxy"));
    let run = |args: &[&str]| {
        Run::new()
            .env("http_proxy", proxy.url(""))
            .env("ALL_PROXY", proxy.url(""))
            .args(["--resolve=far.test:80:127.0.0.1", "http://far.test/"])
            .args(args.iter().copied())
    };
    run(&[]).expect_exit(0);
    assert_eq!(proxy.connections(), 1);
    let done = run(&["--deny-private"]).expect_exit(1);
    assert_eq!(done.failure(), (ErrorKind::Denied, 1));
    let done = run(&["--deny-private", "-x", &proxy.url("")]).expect_exit(2);
    insta::assert_snapshot!("with_proxy", placeholders(&done.stderr, &[]));
    // An empty value means no proxy.
    run(&["--deny-private", "-x", ""]).expect_exit(1);
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn the_practice_server_can_not_be_reached_with_it() {
    let done = Run::new().args(["--demo", "--deny-private"]).expect_exit(2);
    insta::assert_snapshot!("with_demo", done.stderr);
}

#[tokio::test]
async fn the_library_has_the_same_guard() {
    let server = pages();
    let guarded = || Fetcher::builder().deny_private(true);
    let fetcher = guarded().build().unwrap();
    let pages = fetcher.fetch_all([server.url("/")]).await.unwrap();
    assert_eq!(pages[0].as_ref().unwrap_err().kind(), ErrorKind::Denied);

    let proxy = Proxy::Url("http://127.0.0.1:1".parse().unwrap());
    assert!(guarded().proxy(proxy).build().is_err());
    assert_eq!(server.connections(), 0);
}

/// Set when the test below runs inside its network namespace.
const INSIDE: &str = "FETCHALL_TEST_NETWORK";
/// Assigns public addresses in a network that contains only this machine.
const SETUP: &str = "ip link set lo up && ip addr add 8.8.8.8/32 dev lo \
                     && ip addr add 9.9.9.9/32 dev lo || exit 77; exec \"$0\" \"$@\"";
/// The exit code of a test program with a failed test.
const TEST_FAILED: i32 = 101;

/// Public addresses can only be tested where they lead nowhere: in an isolated network namespace.
/// If the system does not allow one, the test is skipped.
#[test]
fn public_addresses_are_fetched_and_lead_to_no_inner_one() {
    const NAME: &str =
        "guards::deny_private::public_addresses_are_fetched_and_lead_to_no_inner_one";
    if env::var_os(INSIDE).is_some() {
        return in_a_network_of_its_own();
    }
    let again = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", SETUP])
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(INSIDE, "1")
        .output();
    match again {
        Ok(output) if output.status.success() => {
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(told.contains("1 passed"), "{told}");
        }
        Ok(output) if output.status.code() == Some(TEST_FAILED) => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => println!("passed over: no network namespace can be made here"),
    }
}

/// Responds with the address that was connected to, or redirects to a private one.
fn tell_or_lead(connection: &mut Connection) -> std::io::Result<()> {
    let here = connection.stream.local_addr()?;
    let port = here.port();
    while let Some(request) = connection.request()? {
        let answer = match path(&request).strip_prefix("/to/") {
            Some(host) => {
                let location = format!("Location: http://{host}:{port}/");
                response("302 Found", &[&location], b"")
            }
            None => response("200 OK", &[], here.ip().to_string().as_bytes()),
        };
        connection.send(&answer)?;
    }
    Ok(())
}

fn in_a_network_of_its_own() {
    let server = Server::at("0.0.0.0:0", tell_or_lead);
    let port = server.addr.port();
    let run = |url: String| {
        Run::new()
            .args(["--deny-private", "--body"])
            .arg(format!("--resolve=mixed.test:{port}:127.0.0.1,8.8.8.8,::1"))
            .arg(format!("--resolve=inner.test:{port}:127.0.0.1"))
            .urls([url])
    };
    for (host, addr) in [
        ("8.8.8.8", "8.8.8.8"),
        ("134744072", "8.8.8.8"),
        ("[::ffff:8.8.8.8]", "8.8.8.8"),
        ("9.9.9.9", "9.9.9.9"),
        ("mixed.test", "8.8.8.8"),
        ("8.8.8.8:PORT/to/9.9.9.9", "9.9.9.9"),
        ("8.8.8.8:PORT/to/mixed.test", "8.8.8.8"),
    ] {
        let host = match host.contains("PORT") {
            true => host.replace("PORT", &port.to_string()),
            false => format!("{host}:{port}"),
        };
        let done = run(format!("http://{host}")).expect_exit(0);
        assert_eq!(done.record().body.as_deref(), Some(addr), "{host}");
    }
    let before = server.connections();
    let inner = [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "a.localhost",
        "inner.test",
        "169.254.169.254",
    ];
    for host in inner {
        let done = run(format!("http://8.8.8.8:{port}/to/{host}")).expect_exit(1);
        assert_eq!(done.failure(), (ErrorKind::Denied, 2), "{host}");
        assert_eq!(done.record().redirects, 1);
    }
    // One connection per run: the one to the public address.
    assert_eq!(server.connections(), before + inner.len());
}
