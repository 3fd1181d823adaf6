use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{
    Background, Run, Server, Terminal, binary, path, placeholders, response, times, until,
};

/// Responds at once, except to `/slow…`, which takes 2.5 s, and `/held`, whose host is on hold for
/// 3 s.
fn site() -> Server {
    let held = AtomicBool::new(false);
    Server::http(move |request| match path(request) {
        path if path.starts_with("/slow") => {
            thread::sleep(Duration::from_millis(2500));
            response("200 OK", &[], b"late")
        }
        "/held" if !held.swap(true, Ordering::SeqCst) => {
            response("429 Too Many Requests", &["Retry-After: 3"], b"")
        }
        "/gone" => response("404 Not Found", &[], b""),
        _ => response("200 OK", &[], &[b'x'; 2000]),
    })
}

fn command(urls: impl IntoIterator<Item = String>) -> Command {
    let mut command = binary();
    command.env("LC_ALL", "C.UTF-8").args(urls);
    command
}

#[test]
fn the_bar_shows_how_it_stands_and_leaves_nothing_behind() {
    let (server, other) = (site(), site());
    let urls = [
        "/1",
        "/2",
        "/gone",
        "/slow-with-a-long-name-that-goes-on-and-on-beyond-the-width-of-a-terminal",
    ];
    let urls = urls
        .map(|path| server.url(path))
        .into_iter()
        .chain([other.url("/held")]);
    let terminal = Terminal::start(command(urls), 80, false);
    let text = terminal.wait_for(&[
        "3 of 5 done",
        "in flight, 1 waiting to retry, 1 failed: 1 status",
        "no response for",
        "on hold: http://127.0.0.1:",
        "retry in",
    ]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("3 of 5 done"), "{text}");
    assert!(lines[0].starts_with('━'), "{text}");
    assert!(lines[1].contains("in flight"), "{text}");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(text.starts_with("5 URLs: 4 fetched, 1 failed\n"), "{text}");
    assert!(!text.contains("in flight") && !text.contains('━'), "{text}");
}

#[test]
fn results_and_log_lines_pass_above_the_bar() {
    let server = site();
    let mut urls: Vec<_> = (0..40).map(|n| server.url(&format!("/{n}"))).collect();
    urls.push(server.url("/slow"));
    urls.push(server.url("/held"));
    let mut command = command(urls);
    command.arg("-v");
    let terminal = Terminal::start(command, 100, true);
    let text = terminal.wait_for(&["no response for", " of 42 done"]);
    // The bar is below all results so far.
    let bar = text.lines().position(|line| line.contains(" of 42 done"));
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.starts_with("200 "));
    assert!(last < bar, "{text}");
    let (_, text) = terminal.end();
    assert!(!text.contains("in flight") && !text.contains('━'), "{text}");
    assert!(text.contains("42 URLs: 42 fetched, 0 failed"), "{text}");
    assert!(text.contains("retrying in"), "the log line is kept: {text}");
}

#[test]
fn a_window_that_gets_smaller_is_kept_clean() {
    let server = site();
    let urls = ["/1", "/slow-1", "/slow-2"].map(|path| server.url(path));
    let terminal = Terminal::start(command(urls), 120, false);
    terminal.wait_for(&["no response for"]);
    terminal.resize(45);
    thread::sleep(Duration::from_millis(300));
    let text = terminal.text();
    let (_, end) = terminal.end();
    assert!(
        text.lines().all(|line| line.chars().count() <= 45),
        "{text}"
    );
    assert_eq!(end.matches("in flight").count(), 0, "{end}");
    assert!(end.contains("3 URLs: 3 fetched"), "{end}");
}

#[test]
fn in_a_build_and_on_a_dumb_terminal_there_are_lines() {
    for (name, value) in [("CI", "true"), ("TERM", "dumb")] {
        let server = Server::http(|_| {
            thread::sleep(Duration::from_millis(3500));
            response("200 OK", &[], b"")
        });
        let mut command = command([server.url("/")]);
        command.arg("--progress=plain").env(name, value);
        let terminal = Terminal::start(command, 80, false);
        let (_, text) = terminal.end();
        assert!(
            text.contains("0 of 1 done") && !text.contains('━'),
            "{name}: {text}"
        );
    }
}

/// Also if no progress is drawn, as for a long run at night.
#[test]
fn sigusr1_asks_how_the_run_stands() {
    for args in [&[][..], &["-q"], &["--progress=none"]] {
        let told = Arc::new(AtomicBool::new(false));
        let server = Server::http({
            let told = Arc::clone(&told);
            move |request| {
                while path(request) == "/slow" && !told.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(10));
                }
                response("200 OK", &[], b"")
            }
        });
        let mut command = command([server.url("/1"), server.url("/slow")]);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = Background(command.spawn().unwrap());
        until("both are asked for", || server.requests().len() == 2);
        // A request is named once it has been running for a second.
        thread::sleep(Duration::from_millis(1200));
        let id = nix::unistd::Pid::from_raw(child.0.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGUSR1).unwrap();
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        told.store(true, Ordering::SeqCst);
        assert!(line.contains(&server.url("/slow")), "{args:?}: {line}");
        insta::assert_snapshot!("sigusr1", times(&placeholders(&line, &[])));
        lines.for_each(drop);
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
    }
}

/// While its list goes on, the check of a directory shows how far it is.
#[test]
fn a_check_of_files_shows_how_it_stands_and_leaves_nothing_behind() {
    let server = site();
    let out = crate::support::Out::new();
    let urls = ["/1", "/2", "/3"].map(|path| server.url(path));
    let done = out.run().urls(&urls).expect_exit(0);
    std::fs::write(out.file(done.of("/2")), "short").unwrap();
    let list = out.beside("list");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &list, fifo, 0o600.into(), 0).unwrap();
    let mut command = command([list.to_str().unwrap().to_owned()]);
    command.args(["--verify", "-o"]).arg(out.path());
    let terminal = Terminal::start(command, 80, false);
    let mut lines = std::fs::File::options().write(true).open(&list).unwrap();
    std::io::Write::write_all(&mut lines, (urls.join("\n") + "\n").as_bytes()).unwrap();
    terminal.wait_for(&["3 done", "1 failed: 1 checksum"]);
    drop(lines);
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(text.trim(), "3 bodies: 2 good, 0 missing, 1 changed");
}

#[test]
fn off_a_terminal_a_short_run_says_nothing_but_its_summary() {
    let server = site();
    let done = Run::new().arg(server.url("/1")).expect_exit(0);
    assert!(
        done.stderr.starts_with("1 URL: 1 fetched"),
        "{}",
        done.stderr
    );
}
