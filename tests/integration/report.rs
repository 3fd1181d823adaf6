use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Browser, Run, Server, binary, closed_port, entry, path, placeholders, response, until,
};

/// Pages of two hosts with every outcome: good, gone, moved, slow, refused, and a line that is
/// markup.
fn site() -> Server {
    Server::http(|request| match path(request) {
        "/slow" => {
            std::thread::sleep(Duration::from_millis(300));
            response("200 OK", &[], &[b'x'; 5000])
        }
        "/moved" => response("302 Found", &["Location: /1"], b""),
        path if path.starts_with("/gone") => response("404 Not Found", &[], b"no"),
        _ => response("200 OK", &[], b"body"),
    })
}

const MARKUP: &str = "<script>document.title='stolen'</script>";

fn report(dir: &Path) -> std::path::PathBuf {
    let server = site();
    let refused = format!("http://{}/", closed_port());
    let mut urls: Vec<_> = (0..30).map(|n| server.url(&format!("/{n}"))).collect();
    urls.extend(
        ["/slow", "/moved", "/gone-1", "/gone-2", "/gone?<b>x</b>"].map(|path| server.url(path)),
    );
    urls.push(refused);
    urls.push(MARKUP.to_owned());
    let file = dir.join("report.html");
    Run::new()
        .args(["--retries=1", "--report", file.to_str().unwrap()])
        .urls(urls)
        .expect_exit(1);
    file
}

#[test]
fn the_report_is_one_file_that_loads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(report(dir.path())).unwrap();
    assert!(!text.contains(MARKUP), "it is escaped");
    assert!(text.contains("&#60;script&#62;document") || text.contains("&lt;script&gt;document"));
    for name in [
        "http://fonts",
        "<link rel=\"stylesheet",
        "src=",
        "@import",
        "url(",
    ] {
        assert!(!text.contains(name), "{name}");
    }
    assert!(text.contains("<title>fetchall: 5 of 37 URLs failed</title>"));
    // No other file remains.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn in_a_browser_it_sorts_filters_and_shows_markup_as_text() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    browser.open(&report(dir.path()));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(
        browser.run("return document.title"),
        "fetchall: 5 of 37 URLs failed"
    );
    let scripts = browser.run("return document.querySelectorAll('script').length");
    assert_eq!(scripts, 1);
    let cells = "[...document.querySelectorAll('#failures-t tbody tr:not([hidden])')]";
    let urls = || {
        let script = format!("return {cells}.map(row => row.cells[1].textContent)");
        let urls = browser.run(&script);
        let urls = urls.as_array().unwrap().iter();
        urls.map(|url| url.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(urls().contains(&MARKUP.to_owned()), "{:?}", urls());
    assert_eq!(urls().len(), 5);

    // Sorts by URL, then in reverse.
    let click = "document.querySelectorAll('#failures-t th button')[1].click()";
    browser.run(click);
    let sorted = urls();
    assert!(
        sorted.is_sorted_by(|a, b| a.to_lowercase() <= b.to_lowercase()),
        "{sorted:?}"
    );
    browser.run(click);
    assert_eq!(urls(), sorted.iter().rev().cloned().collect::<Vec<_>>());
    let order = browser
        .run("return document.querySelectorAll('#failures-t th')[1].getAttribute('aria-sort')");
    assert_eq!(order, "descending");

    // Sorts hosts by number of requests, the largest first.
    browser.run("document.querySelectorAll('#hosts-t th button')[4].click()");
    let requests = browser.run(
        "return [...document.querySelectorAll('#hosts-t tbody tr')].map(row => Number(row.cells[4].dataset.v))",
    );
    let requests: Vec<_> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    assert_eq!(requests, [36, 2]);

    // Filters by text, then by kind.
    let filter = |text: &str, kind: &str| {
        browser.run(&format!(
            "const form = document.querySelector('form[data-of=failures-t]');
             form.querySelector('input').value = '{text}';
             form.querySelector('select').value = '{kind}';
             form.dispatchEvent(new Event('input'));
             return form.querySelector('output').textContent"
        ))
    };
    assert_eq!(filter("gone 404", ""), "3 of 5");
    assert!(urls().iter().all(|url| url.contains("gone")));
    assert_eq!(filter("", "refused"), "1 of 5");
    assert_eq!(filter("", ""), "5 of 5");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn in_a_browser_it_works_by_keyboard_and_on_a_phone() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    browser.open(&report(dir.path()));
    for scheme in ["light", "dark"] {
        browser.look(390, scheme);
        let overflow = browser.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        assert_eq!(overflow, 0, "{scheme}: it scrolls sideways");
        if let Some(pictures) = std::env::var_os("FETCHALL_PICTURES") {
            for (width, name) in [(390, "phone"), (1280, "desk")] {
                browser.look(width, scheme);
                let file = format!("report-{name}-{scheme}.png");
                std::fs::write(Path::new(&pictures).join(file), browser.picture()).unwrap();
            }
        }
    }
    // The contrast of text and background suffices (WCAG 2.2, 1.4.3: 4.5 to 1).
    for scheme in ["light", "dark"] {
        browser.look(1280, scheme);
        let contrast = browser.run(CONTRAST).as_f64().unwrap();
        assert!(contrast >= 4.5, "{scheme}: {contrast}");
    }
    browser.run("document.querySelector('#hosts-t th button').focus()");
    browser.press(&["Tab", "Enter"]);
    let sorted =
        browser.run("return document.querySelectorAll('#hosts-t th')[1].getAttribute('aria-sort')");
    assert_eq!(sorted, "descending");
}

/// Returns the lowest contrast of any visible text.
const CONTRAST: &str = "
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => {
        const [r, g, b] = rgb(color).map((part) => {
            part /= 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (color !== 'rgba(0, 0, 0, 0)') return color;
        }
        return 'rgb(255, 255, 255)';
    };
    let least = 21;
    for (const element of document.querySelectorAll('p, h1, h2, h3, td, th, li, li b, a, footer, button, output')) {
        if (!element.textContent.trim() || !element.offsetParent) continue;
        const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        least = Math.min(least, (pair[0] + 0.05) / (pair[1] + 0.05));
    }
    return least;
";

#[test]
fn a_report_that_can_t_be_written_ends_the_run_before_it_begins() {
    let server = site();
    let done = Run::new()
        .args(["--report=/nowhere/at/all.html", &server.url("/1")])
        .expect_exit(3);
    insta::assert_snapshot!("can_not_be_written", placeholders(&done.stderr, &[]));
    assert!(server.requests().is_empty());
}

#[test]
fn a_run_without_any_url_has_a_report_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("empty.html");
    Run::new()
        .args(["--report", file.to_str().unwrap()])
        .expect_exit(0);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("0 URLs, none failed") && text.contains("No request was sent."));
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// The options that write a file during the run or at its end.
const WRITTEN: [&str; 3] = ["--report", "--summary-json", "--failed"];

#[test]
fn what_is_written_for_others_goes_to_pipes_and_devices_too() {
    let server = site();
    for option in WRITTEN {
        for path in ["/1", "/gone"] {
            let dir = tempfile::tempdir().unwrap();
            let pipe_path = dir.path().join("pipe");
            pipe(&pipe_path);
            let reader = std::thread::spawn({
                let path = pipe_path.clone();
                // The reader opens the pipe later than the run, which waits for it.
                move || {
                    std::thread::sleep(Duration::from_millis(500));
                    std::fs::read_to_string(path).unwrap()
                }
            });
            let run = Run::new().args([option, pipe_path.to_str().unwrap()]);
            run.arg(server.url(path))
                .expect_exit(i32::from(path == "/gone"));
            let read = reader.join().unwrap();
            match option {
                "--report" => assert!(read.starts_with("<!"), "{read}"),
                "--summary-json" => assert!(read.contains("\"input\":1"), "{read}"),
                _ => assert_eq!(read.lines().count(), usize::from(path == "/gone")),
            }
            let run = Run::new().args([option, "/dev/null"]);
            run.arg(server.url(path))
                .expect_exit(i32::from(path == "/gone"));
        }
    }
}

#[test]
fn the_first_signal_ends_the_wait_for_a_reader() {
    let server = site();
    let mut page = String::new();
    for option in WRITTEN {
        let dir = tempfile::tempdir().unwrap();
        let pipe_path = dir.path().join("pipe");
        pipe(&pipe_path);
        let mut command = binary();
        command
            .args(["--json", option])
            .arg(&pipe_path)
            .arg(server.url("/gone"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let asked = server.requests().len();
        let child = command.spawn().unwrap();
        until("it asks", || server.requests().len() > asked);
        // By now the run waits for the reader.
        std::thread::sleep(Duration::from_millis(500));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        let (took, stderr) = (start.elapsed(), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(143), "{option}: {stderr}");
        assert!(took < Duration::from_secs(3), "{option}: {took:?}");
        let line = stderr.lines().find(|line| line.contains("/pipe"));
        entry(&mut page, option, line.unwrap());
    }
    insta::assert_snapshot!("nothing_reads_it", placeholders(&page, &[]));
}

#[test]
fn what_replaces_a_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let file = dir.path().join("file");
    for option in WRITTEN {
        // setuid is not kept, because the new content is not the old program.
        for old in [0o600, 0o640, 0o666, 0o4755] {
            std::fs::write(&file, "old").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(old)).unwrap();
            let run = Run::new().args([option, file.to_str().unwrap()]);
            run.arg(server.url("/gone")).expect_exit(1);
            assert_ne!(std::fs::read(&file).unwrap(), b"old");
            let expected = if option == "--failed" {
                0o600
            } else {
                old & 0o777
            };
            assert_eq!(mode(&file), expected, "{option}");
        }
    }
}

/// `fetchall --failed urls.txt </dev/null`: the list was meant to be read.
#[test]
fn an_empty_stdin_replaces_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("urls.txt");
    let named = file.to_str().unwrap();
    let server = site();
    let mut page = String::new();
    for option in WRITTEN {
        std::fs::write(&file, "http://127.0.0.1/\n").unwrap();
        for list in ["", "# no URL\n\n"] {
            let done = Run::new().args([option, named]).stdin(list).expect_exit(0);
            assert_eq!(std::fs::read(&file).unwrap(), b"http://127.0.0.1/\n");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            let warning = done.stderr.lines().next().unwrap();
            entry(&mut page, option, &warning.replace(named, "FILE"));
        }
        // With a URL, or with another list, it is replaced.
        let other = dir.path().join("other");
        std::fs::write(&other, "").unwrap();
        let run = Run::new().args([option, named, other.to_str().unwrap()]);
        let done = run.expect_exit(0);
        assert_ne!(std::fs::read(&file).unwrap(), b"http://127.0.0.1/\n");
        let warning = done.stderr.lines().next().unwrap();
        entry(&mut page, "other list", warning);
        std::fs::write(&file, "http://127.0.0.1/\n").unwrap();
        let run = Run::new().args([option, named]).urls([server.url("/1")]);
        assert!(!run.expect_exit(0).stderr.contains("is left"));
        assert_ne!(std::fs::read(&file).unwrap(), b"http://127.0.0.1/\n");
        std::fs::remove_file(other).unwrap();
    }
    insta::assert_snapshot!("empty_stdin", placeholders(&page, &[]));
}

/// Those of another program look almost the same.
#[test]
fn an_empty_stdin_replaces_no_other_page_or_object() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine");
    let nested =
        "[{\"schema\":1,\"input\":1,\"fetched\":1,\"skipped\":0,\"left\":0,\"list_ended\":true}]";
    for (option, text) in [
        ("--report", "<!DOCTYPE html>\n<p>my thesis"),
        ("--summary-json", "{\"schema\":1,\"notes\":\"mine\"}"),
        ("--summary-json", nested),
    ] {
        std::fs::write(&file, text).unwrap();
        let done = Run::new().args([option, file.to_str().unwrap()]);
        assert!(done.expect_exit(0).stderr.contains("is left as it was"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn an_empty_stdin_replaces_the_report_and_summary_of_an_earlier_run() {
    let dir = tempfile::tempdir().unwrap();
    let [page, summary] = ["page.html", "summary.json"].map(|name| dir.path().join(name));
    let run = || {
        let files = [page.to_str().unwrap(), summary.to_str().unwrap()];
        Run::new().args(["--report", files[0], "--summary-json", files[1]])
    };
    run().urls([site().url("/1")]).expect_exit(0);
    let done = run().expect_exit(0);
    assert!(!done.stderr.contains("left as"), "{}", done.stderr);
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.contains("0 URLs, none failed"));
    let text = std::fs::read_to_string(summary).unwrap();
    assert!(text.contains("\"input\":0"), "{text}");
}

/// What was interrupted before its first result has a list, which failed nowhere so far.
#[test]
fn the_failed_lines_of_an_earlier_run_go_when_a_list_was_read() {
    let server = Server::http(|_| {
        std::thread::sleep(Duration::from_secs(60));
        response("200 OK", &[], b"")
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("failed.txt");
    std::fs::write(&file, "http://127.0.0.1/\n").unwrap();
    let mut command = binary();
    command.arg("--failed").arg(&file);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", server.url("/")).unwrap();
    until("it asks", || !server.requests().is_empty());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    // Two signals at once would count as one.
    std::thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

#[test]
fn each_input_is_named_once() {
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.html");
    let urls = |n| (0..n).map(|n| server.url(&format!("/{n}")));
    Run::new()
        .args(["--ordered", "--report", file.to_str().unwrap(), "-"])
        .args(urls(2))
        .urls(urls(5))
        .expect_exit(0);
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.contains("stdin")).unwrap();
    assert!(line.contains(">stdin, argument ·"), "{line}");
}
