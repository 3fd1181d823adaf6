//! Faulty mail servers, and runs that end abnormally.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Connection, MailServer, Run, Server, binary, placeholders, response, until};

/// The commands of a client to a server, line by line.
type Said = Arc<Mutex<Vec<String>>>;

/// A mail server without encryption that advertises these extensions and accepts everything.
fn talking(extensions: &'static [&'static str]) -> (Server, Said) {
    let said = Said::default();
    let kept = Arc::clone(&said);
    let server = Server::start(move |connection| talk(connection, extensions, &kept));
    (server, said)
}

fn talk(connection: &mut Connection, extensions: &[&str], said: &Said) -> io::Result<()> {
    let mut out = connection.stream.try_clone()?;
    let lines = BufReader::new(connection.stream.try_clone()?).lines();
    out.write_all(b"220 here\r\n")?;
    let (mut within_data, mut answers) = (false, 0);
    for line in lines {
        let line = line?;
        said.lock().unwrap().push(line.clone());
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." => "250 taken".to_owned(),
            _ if within_data => continue,
            "EHLO" => {
                let all: String = extensions
                    .iter()
                    .map(|name| format!("250-{name}\r\n"))
                    .collect();
                format!("{all}250 HELP")
            }
            "DATA" => "354 go on".to_owned(),
            "AUTH" => "334 VXNlcm5hbWU6".to_owned(),
            // The user and the password, each on a line of its own.
            _ if answers == 0 && is_answer(&line) => {
                answers += 1;
                "334 UGFzc3dvcmQ6".to_owned()
            }
            _ if is_answer(&line) => "235 welcome".to_owned(),
            _ => "250 well".to_owned(),
        };
        within_data = line == "DATA";
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// Whether a line is a response to a challenge (base64) instead of a command.
fn is_answer(line: &str) -> bool {
    !line.contains(' ') && !matches!(line, "QUIT" | "RSET" | "NOOP" | "DATA" | ".")
}

fn site() -> Server {
    Server::http(|_| response("200 OK", &[], b"body"))
}

fn has(said: &Said, start: &str) -> bool {
    let said = said.lock().unwrap();
    said.iter().any(|line| line.starts_with(start))
}

#[test]
fn all_recipients_have_one_limit_together_and_all_who_got_nothing_are_named() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = Duration::from_secs(2);
    let server = format!("smtp://{}?tls=none", silent.local_addr().unwrap());
    let server = fetchall::program::SmtpServer::parse(&server)
        .unwrap()
        .within(limit);
    let names = ["a@example.com", "b@example.com", "c@example.com"];
    let email = fetchall::program::Email {
        to: names.map(str::to_owned).into(),
        ..fetchall::program::Email::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let start = Instant::now();
    let told = runtime.block_on(server.send(&email)).unwrap_err();
    assert!(start.elapsed() < 2 * limit, "{:?}", start.elapsed());
    let told = told.to_string();
    for name in names {
        assert!(told.contains(name), "{told}");
    }
    insta::assert_snapshot!("all_who_got_nothing", placeholders(&told, &[]));
}

#[test]
fn what_a_mail_server_says_is_told_harmless() {
    let server = Server::start(|connection| {
        connection.send(b"554-\x1b[31mgo away\r\n554 \x1b]0;title\x07now\r\n")
    });
    let done = Run::new()
        .args(["-q", "--email-to=bob@example.com"])
        .arg(format!("--smtp=smtp://{}?tls=none", server.addr))
        .arg(site().url("/"))
        .expect_exit(0);
    assert!(!done.stderr.contains('\x1b'), "{:?}", done.stderr);
    insta::assert_snapshot!("harmless", placeholders(&done.stderr, &[]));
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}

#[test]
fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let (server, said) = talking(&["AUTH PLAIN LOGIN"]);
    let done = Run::new()
        .args(["-q", "--email-to=bob@example.com"])
        .arg(format!("--smtp=smtp://ann@{}", server.addr))
        .env("FETCHALL_SMTP_PASSWORD", "s3cret")
        .arg(site().url("/"))
        .expect_exit(0);
    insta::assert_snapshot!("without_starttls", placeholders(&done.stderr, &[]));
    assert!(has(&said, "EHLO"));
    assert!(!has(&said, "AUTH") && !has(&said, "MAIL"), "{said:?}");
}

#[test]
fn a_server_that_knows_only_login_gets_the_password_that_way() {
    let (server, said) = talking(&["AUTH LOGIN"]);
    Run::new()
        .args(["--email-to=bob@example.com"])
        .arg(format!("--smtp=smtp://ann@{}?tls=none", server.addr))
        .env("FETCHALL_SMTP_PASSWORD", "s3cret")
        .arg(site().url("/"))
        .expect_exit(0);
    assert!(
        has(&said, "AUTH LOGIN") && has(&said, "czNjcmV0"),
        "{said:?}"
    );
    assert!(has(&said, "RCPT TO:<bob@example.com>"), "{said:?}");
}

#[test]
fn no_name_of_a_list_slips_a_header_in() {
    let (server, said) = talking(&[]);
    let dir = tempfile::tempdir().unwrap();
    let list = dir
        .path()
        .join("urls\r\nBcc: eve@example.com\r\n\r\nhi.txt");
    std::fs::write(&list, format!("{}\n", site().url("/"))).unwrap();
    let done = Run::new()
        .args(["--email-to=bob@example.com"])
        .arg(format!("--smtp=smtp://{}?tls=none", server.addr))
        .arg(list.to_str().unwrap())
        .go();
    insta::assert_snapshot!("sent", done.stderr.lines().last().unwrap());
    assert!(has(&said, "Subject: fetchall: "), "{said:?}");
    assert!(!has(&said, "Bcc:") && !has(&said, "hi.txt"), "{said:?}");
}

#[test]
fn nobody_is_told_of_a_dry_run() {
    let (server, said) = talking(&[]);
    let dir = tempfile::tempdir().unwrap();
    let summary = dir.path().join("summary.json");
    Run::new()
        .text()
        .args(["--dry-run", "--notify-cmd=echo told >&2"])
        .args(["-o", dir.path().join("out").to_str().unwrap()])
        .args(["--summary-json", summary.to_str().unwrap()])
        .arg("--email-to=bob@example.com")
        .arg(format!("--smtp=smtp://{}?tls=none", server.addr))
        .arg(site().url("/"))
        .expect_exit(0);
    assert!(said.lock().unwrap().is_empty() && !summary.exists());
}

fn start(args: &[String]) -> Child {
    binary()
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

#[test]
fn a_run_that_was_interrupted_is_told_of_all_the_same() {
    let (server, said) = talking(&[]);
    let slow = Server::start(|connection| {
        connection
            .request()
            .map(drop)
            .and_then(|()| connection.hang())
    });
    let dir = tempfile::tempdir().unwrap();
    let (told, summary) = (dir.path().join("told"), dir.path().join("summary.json"));
    let child = start(&[
        "--email-to=bob@example.com".into(),
        format!("--smtp=smtp://{}?tls=none", server.addr),
        format!(
            "--notify-cmd=echo $FETCHALL_RUN_OUTCOME > {}",
            told.display()
        ),
        format!("--summary-json={}", summary.display()),
        "--stall-timeout=1s".into(),
        "--retries=0".into(),
        "-j1".into(),
        slow.url("/1"),
        slow.url("/2"),
    ]);
    until("a request", || slow.requests().len() == 1);
    interrupt(&child);
    let (code, stderr) = end(child);
    assert_eq!(code, Some(130), "{stderr}");
    let subject = "Subject: fetchall: 1 of 2 URLs failed, 1 left, ended early";
    assert!(has(&said, subject), "{said:?}");
    assert_eq!(std::fs::read_to_string(told).unwrap(), "interrupted\n");
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!(summary["exit_code"], 130);
    assert_eq!(summary["end_reason"], "interrupted");
    insta::assert_snapshot!("ended_by_a_signal", summary["ended_by"].as_str().unwrap());
}

#[test]
fn ctrl_c_ends_the_wait_for_a_mail() {
    let silent = Server::start(Connection::hang);
    let site = site();
    let child = start(&[
        "--email-to=bob@example.com".into(),
        format!("--smtp=smtp://{}?tls=none", silent.addr),
        site.url("/"),
    ]);
    until("a connection", || silent.connections() == 1);
    let start = Instant::now();
    interrupt(&child);
    let (code, stderr) = end(child);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let last = stderr.lines().last().unwrap();
    insta::assert_snapshot!("interrupted", placeholders(last, &[]));
}

/// The message includes the cause that the TLS library reports.
#[test]
fn a_certificate_that_is_not_trusted_is_told_with_the_next_step() {
    let Some(server) = MailServer::start("starttls") else {
        return;
    };
    let done = Run::new()
        .args(["-q", "--email-to=bob@example.com"])
        .arg(format!(
            "--smtp=smtp://ann%40example.com@localhost:{}",
            server.port
        ))
        .env("FETCHALL_SMTP_PASSWORD", "s3cret")
        .env("RUST_LOG", "trace")
        .arg(site().url("/"))
        .expect_exit(0);
    assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
    insta::assert_snapshot!("not_trusted", placeholders(&done.stderr, &[]));
    assert_eq!(server.messages_now(), 0);
}
