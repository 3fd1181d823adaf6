use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::support::{
    Authority, Done, MailServer, Run, Server, USER, closed_port, entry, path, placeholders,
    response,
};

fn site() -> Server {
    Server::http(|request| match path(request) {
        "/gone" => response("404 Not Found", &[], b"no"),
        _ => response("200 OK", &[], b"body"),
    })
}

/// A run with three URLs: one is gone, and one contains markup.
fn run(site: &Server) -> Run {
    Run::new()
        .args(["--email-to=bob@example.com"])
        .urls([site.url("/1"), site.url("/gone")])
        .urls(["<script>alert(1)</script>"])
}

/// Returns the parts of a message, decoded.
fn text_of(message: &Value) -> String {
    let data = message["data"].as_str().unwrap();
    // Decodes soft line breaks and `=` of quoted-printable.
    data.replace("=\r\n", "").replace("=3D", "=")
}

/// Returns the warnings of a run, one per line.
fn warnings(done: &Done) -> String {
    let lines = done.stderr.lines();
    let lines: Vec<_> = lines.filter(|line| line.contains("warning: ")).collect();
    placeholders(&lines.join("\n"), &[])
}

#[test]
fn a_mail_tells_the_summary_and_the_failures_over_tls() {
    for (mode, scheme) in [("tls", "smtps"), ("starttls", "smtp")] {
        let Some(server) = MailServer::start(mode) else {
            return;
        };
        let site = site();
        let done = run(&site)
            .arg(format!(
                "--smtp={scheme}://ann%40example.com@localhost:{}",
                server.port
            ))
            .arg(format!("--cacert={}", server.authority.path().display()))
            .env("FETCHALL_SMTP_PASSWORD", USER.1)
            .expect_exit(1);
        insta::assert_snapshot!("mail_sent", done.stderr.lines().last().unwrap());
        let message = &server.messages(1)[0];
        assert_eq!(message["from"], "ann@example.com");
        assert_eq!(message["to"][0], "bob@example.com");
        assert_eq!(
            (&message["encrypted"], &message["login"]),
            (&true.into(), &true.into())
        );
        let text = text_of(message);
        assert!(
            text.contains("Subject: fetchall: 2 of 3 URLs failed (stdin)\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Auto-Submitted: auto-generated\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Content-Type: text/plain") && text.contains("Content-Type: text/html")
        );
        assert!(
            text.contains(&format!("404  {}", site.url("/gone"))),
            "{text}"
        );
        assert!(text.contains("&#60;script&#62;alert(1)"), "{text}");
        let html = text.split("Content-Type: text/html").nth(1).unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
}

#[test]
fn the_report_goes_along_and_everybody_gets_a_mail() {
    let Some(server) = MailServer::start("plain") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("run.html");
    let site = site();
    let done = Run::new()
        .args([
            "--email-to=bob@example.com,nobody@example.com",
            "--email-to=eve@example.com",
        ])
        .arg(format!("--smtp=smtp://127.0.0.1:{}?tls=none", server.port))
        .args([
            "--email-from=cron@example.com",
            "--report",
            report.to_str().unwrap(),
        ])
        .arg(site.url("/1"))
        .expect_exit(0);
    insta::assert_snapshot!("mail_refused", warnings(&done));
    let messages = server.messages(2);
    let to: Vec<_> = messages.iter().map(|message| &message["to"][0]).collect();
    assert_eq!(to, ["bob@example.com", "eve@example.com"]);
    assert_eq!(messages[0]["from"], "cron@example.com");
    let text = text_of(&messages[0]);
    assert!(
        text.contains("Content-Disposition: attachment; filename=\"run.html\""),
        "{text}"
    );
}

#[test]
fn the_password_comes_from_a_file_and_is_nowhere_to_be_seen() {
    let Some(server) = MailServer::start("tls") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let site = site();
    let mut page = String::new();
    for password in [USER.1, "wr0ng-one"] {
        std::fs::write(&file, format!("{password}\nnot this\n")).unwrap();
        let done = run(&site)
            .arg(format!(
                "--smtp=smtps://ann%40example.com@localhost:{}",
                server.port
            ))
            .arg(format!("--cacert={}", server.authority.path().display()))
            .arg(format!("--smtp-password-file={}", file.display()))
            .env("RUST_LOG", "trace")
            .expect_exit(1);
        let told = format!("{}{}", done.stdout, done.stderr);
        assert!(!told.contains(password), "{told}");
        let is_right = password == USER.1;
        let lines = done.stderr.lines().filter(|line| line.contains("email"));
        let lines: Vec<_> = lines.collect();
        let title = if is_right {
            "the right one"
        } else {
            "a wrong one"
        };
        entry(&mut page, title, &lines.join("\n"));
    }
    insta::assert_snapshot!("password_from_a_file", placeholders(&page, &[]));
    assert_eq!(server.messages_now(), 1);
}

#[test]
fn a_server_that_is_not_trusted_gets_no_mail() {
    let Some(server) = MailServer::start("tls") else {
        return;
    };
    let site = site();
    let other = Authority::new().file();
    let done = run(&site)
        .arg(format!(
            "--smtp=smtps://ann%40example.com@localhost:{}",
            server.port
        ))
        .arg(format!("--cacert={}", other.path().display()))
        .env("FETCHALL_SMTP_PASSWORD", USER.1)
        .expect_exit(1);
    assert!(!done.stderr.contains(USER.1), "{}", done.stderr);
    insta::assert_snapshot!("mail_server_not_trusted", warnings(&done));
    assert_eq!(server.messages_now(), 0);
}

#[test]
fn what_is_wrong_with_a_server_is_told_before_the_run() {
    let site = site();
    let mut page = String::new();
    for args in [
        vec!["--smtp=smtps://ann:s3cret@h"],
        vec!["--smtp=http://h"],
        vec!["--smtp=smtps://ann@h", "--smtp-password-file=/nowhere"],
        vec!["--smtp=smtp://h?password=s3cret"],
        vec!["--smtp=smtps://ann@h/s3cret"],
        vec!["--smtp=s3cret:x@h"],
        vec!["--notify-url=ftp://h/"],
    ] {
        let done = run(&site).args(args.clone()).expect_exit(2);
        assert!(!done.stderr.contains("s3cret"), "{args:?}: {}", done.stderr);
        entry(&mut page, &args.join(" "), &done.stderr);
    }
    insta::assert_snapshot!("wrong_servers", placeholders(&page, &[]));
    assert!(site.requests().is_empty());
}

/// Also with `-q`: otherwise the user would wait for a mail that was never sent.
#[test]
fn a_mail_that_can_t_be_sent_is_a_warning() {
    let site = site();
    let done = run(&site)
        .arg("-q")
        .arg(format!("--smtp=smtp://{}?tls=none", closed_port()))
        .expect_exit(1);
    insta::assert_snapshot!("mail_server_down", placeholders(&done.stderr, &[]));
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("smtp://{}?tls=none", silent.local_addr().unwrap());
    let server = fetchall::program::SmtpServer::parse(&server)
        .unwrap()
        .within(Duration::from_millis(300));
    let email = fetchall::program::Email {
        to: vec!["bob@example.com".into()],
        ..fetchall::program::Email::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut out = Vec::new();
    let delivery = fetchall::program::Delivery::Smtp(server);
    let sent = runtime.block_on(fetchall::program::deliver(&email, &delivery, &mut out));
    let told = sent.unwrap_err().to_string();
    insta::assert_snapshot!("mail_server_silent", placeholders(&told, &[]));
}

#[test]
fn a_command_is_told_of_the_run() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("told");
    let command = format!(
        "{{ cat; echo $FETCHALL_RUN_OUTCOME $FETCHALL_RUN_EXIT_CODE $FETCHALL_RUN_FAILED; }} > {}; echo said",
        file.display()
    );
    let done = Run::new()
        .args(["--notify-cmd", &command])
        .urls([site.url("/1"), site.url("/gone")])
        .expect_exit(1);
    let told = std::fs::read_to_string(file).unwrap();
    let (json, variables) = told.split_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&json["input"], &json["by_status"]["404"]),
        (&2.into(), &1.into())
    );
    assert_eq!(variables, "failed 1 1\n");
    assert!(
        done.stderr.ends_with("said\n") && !done.stdout.contains("said"),
        "{}",
        done.stderr
    );

    let done = Run::new()
        .args(["-q", "--notify-cmd=exit 7"])
        .arg(site.url("/1"))
        .expect_exit(0);
    insta::assert_snapshot!("command_failed", done.stderr);
}

/// Runs the program while the mock server runs on its own thread.
fn go(run: Run) -> Done {
    tokio::task::block_in_place(|| run.expect_exit(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_by_a_post_and_once_more_if_it_has_trouble() {
    let site = site();
    let hook = MockServer::start().await;
    let told = || {
        Mock::given(matchers::method("POST"))
            .and(matchers::path("/hook"))
            .and(matchers::header("content-type", "application/json"))
            .and(matchers::body_partial_json(json!({"fetched": 1})))
    };
    told()
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .expect(1)
        .mount(&hook)
        .await;
    told()
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&hook)
        .await;
    let url = format!("{}/hook", hook.uri());
    let done = go(Run::new().args(["--notify-url", &url]).arg(site.url("/1")));
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    assert_eq!(hook.received_requests().await.unwrap().len(), 2);

    // A redirect is not followed, and the warning does not repeat the password in the URL.
    let moved = MockServer::start().await;
    Mock::given(matchers::path("/hook"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", "/else"))
        .expect(1)
        .mount(&moved)
        .await;
    let url = format!("{}/hook", moved.uri()).replace("http://", "http://me:s3cret@");
    let done = go(Run::new().args(["--notify-url", &url]).arg(site.url("/1")));
    assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
    insta::assert_snapshot!("post_redirected", warnings(&done));
    assert_eq!(moved.received_requests().await.unwrap().len(), 1);

    // The path is a secret: with it, anyone may post to the hook.
    let url = format!("http://{}/t0ken", closed_port());
    let run = Run::new().args(["--notify-url", &url]);
    let done = go(run.env("RUST_LOG", "trace").arg(site.url("/1")));
    assert!(!done.stderr.contains("t0ken"), "{}", done.stderr);
    insta::assert_snapshot!("post_refused", warnings(&done));
}

#[test]
fn the_summary_is_written_however_the_run_ended() {
    let site = site();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("summary.json");
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    Run::new()
        .args(["--summary-json", file.to_str().unwrap()])
        .urls([site.url("/1"), site.url("/gone")])
        .expect_exit(1);
    let summary = read();
    assert_eq!(
        (&summary["schema"], &summary["failed"]),
        (&1.into(), &1.into())
    );
    assert!(summary.get("end_reason").is_none() && summary.get("ended_by").is_none());
    assert_eq!(summary["exit_code"], 1);
    assert!(
        summary["at"].as_str() < summary["ended_at"].as_str(),
        "{summary}"
    );
    // The summary is also written for a run that could not start. Otherwise the previous one would
    // be taken for its summary.
    Run::new()
        .args(["--summary-json", file.to_str().unwrap()])
        .args(["--cacert=/dev/null", &site.url("/1")])
        .expect_exit(2);
    assert_eq!(
        (&read()["exit_code"], &read()["input"]),
        (&2.into(), &0.into())
    );
    Run::new()
        .args(["--max-failures=0", "--summary-json", file.to_str().unwrap()])
        .urls((0..50).map(|_| site.url("/gone")))
        .expect_exit(1);
    assert_eq!(read()["end_reason"], "max_failures");
    insta::assert_snapshot!("ended_by_failures", read()["ended_by"].as_str().unwrap());

    let list = dir.path().join("urls.txt");
    std::fs::write(&list, site.url("/1")).unwrap();
    let done = Run::new()
        .args([
            "--summary-json",
            list.to_str().unwrap(),
            list.to_str().unwrap(),
        ])
        .expect_exit(2);
    let mut page = String::new();
    entry(&mut page, "a list", &done.stderr);
    let same = file.to_str().unwrap();
    let done = Run::new()
        .args(["--report", same, "--summary-json", same])
        .arg(site.url("/1"))
        .expect_exit(2);
    entry(&mut page, "the report", &done.stderr);
    // Also by another name, before either exists.
    std::os::unix::fs::symlink("new", dir.path().join("link")).unwrap();
    let new = dir.path().join("new").display().to_string();
    for other in ["./new", "../{DIR}/new", "link"] {
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let other = dir.path().join(other.replace("{DIR}", name));
        for first in ["--report", "--pack", "--journal", "--failed"] {
            let first = match first {
                "--pack" => [first, &format!("{new}.warc")],
                _ => [first, &new],
            };
            let other = match first[0] {
                "--pack" => format!("{}.warc", other.display()),
                _ => other.display().to_string(),
            };
            if first[0] == "--pack" && other.ends_with("link.warc") {
                continue;
            }
            let run = Run::new().args(first).args(["--summary-json", &other]);
            run.arg(site.url("/1")).expect_exit(2);
        }
    }
    let folder = dir.path().join("folder");
    let late = folder.join("summary.json");
    std::fs::create_dir(&folder).unwrap();
    let removing = Server::http(move |_| {
        let _ = std::fs::remove_dir(&folder);
        response("200 OK", &[], b"body")
    });
    let done = Run::new()
        .args(["--summary-json", late.to_str().unwrap()])
        .args(["--notify-cmd", "echo $FETCHALL_RUN_EXIT_CODE"])
        .arg(removing.url("/1"))
        .expect_exit(3);
    let told = done
        .stderr
        .lines()
        .find(|line| line.contains("folder/summary.json"));
    entry(&mut page, "a folder that went away", told.unwrap());
    assert!(done.stderr.ends_with("\n3\n"), "{}", done.stderr);
    for args in [
        vec!["--summary-json=-"],
        vec!["--summary-json", same, "--journal", same],
    ] {
        let done = Run::new()
            .args(args.clone())
            .arg(site.url("/1"))
            .expect_exit(2);
        entry(&mut page, &args.join(" "), &done.stderr);
    }
    let done = Run::new()
        .args(["--summary-json=/nowhere/s.json"])
        .arg(site.url("/1"))
        .expect_exit(3);
    entry(&mut page, "a folder that is not there", &done.stderr);
    insta::assert_snapshot!("summaries_that_can_not_be", placeholders(&page, &[]));
}

/// Programs started by the command would inherit them, and `env` prints them.
#[test]
fn a_command_gets_no_secret_of_the_run() {
    let site = site();
    let hook = Server::http(|_| response("204 No Content", &[], b""));
    let secrets = [
        ("FETCHALL_USER", "me:s3cret".to_owned()),
        ("FETCHALL_HEADER", "X-Token: s3cret".to_owned()),
        ("FETCHALL_DATA", "s3cret".to_owned()),
        ("FETCHALL_PROXY", String::new()),
        ("FETCHALL_PROXY_USER", "me:s3cret".to_owned()),
        ("FETCHALL_SMTP", "smtps://s3cret@mail.example".to_owned()),
        ("FETCHALL_SMTP_PASSWORD", "s3cret".to_owned()),
        ("FETCHALL_NOTIFY_URL", hook.url("/s3cret")),
        ("FETCHALL_NOTIFY_CMD", "env; : s3cret".to_owned()),
        // These variables have no effect, but probably contain secrets.
        ("FETCHALL_PASSWORD", "s3cret".to_owned()),
        ("fetchall_cookie", "s3cret".to_owned()),
        ("FETCHALL_RUN_TOKEN", "s3cret".to_owned()),
        // The user forgot the host.
        ("ftp_proxy", "me:s3cret".to_owned()),
    ];
    let names = secrets.each_ref().map(|(name, _)| *name);
    let run = secrets
        .into_iter()
        .fold(Run::new(), |run, (name, value)| run.env(name, value));
    let done = run
        .env("FETCHALL_RETRIES", "2")
        .env("HOOK_TOKEN", "the command's own")
        .env("HTTPS_PROXY", "http://me:s3cret@127.0.0.1:1")
        .env("all_proxy", "me:s3cret@127.0.0.1:1")
        .env("Rsync_Proxy", "127.0.0.1:1")
        .env("NO_PROXY", "127.0.0.1,example.com")
        .arg(site.url("/1"))
        .expect_exit(0);
    let stderr = &done.stderr;
    for name in names {
        assert!(!stderr.contains(&format!("{name}=")), "{stderr}");
    }
    for kept in [
        "FETCHALL_RETRIES=2\n",
        "FETCHALL_RUN_OUTCOME=ok\n",
        "HOOK_TOKEN=the command's own\n",
        "HTTPS_PROXY=http://127.0.0.1:1\n",
        "all_proxy=127.0.0.1:1\n",
        "Rsync_Proxy=127.0.0.1:1\n",
        "NO_PROXY=127.0.0.1,example.com\n",
    ] {
        assert!(stderr.contains(kept), "{stderr}");
    }
    assert!(!stderr.contains("s3cret"), "{stderr}");
    assert_eq!(hook.requests().len(), 1);
}

/// The command may contain a token.
#[test]
fn a_command_that_fails_is_not_repeated() {
    let site = site();
    let done = Run::new()
        .args(["--notify-cmd", "TOKEN=s3cret; exit 7"])
        .arg(site.url("/1"))
        .expect_exit(0);
    assert!(!done.stderr.contains("s3cret"), "{}", done.stderr);
    insta::assert_snapshot!("command_failed_with_a_token", warnings(&done));
}
