use std::fs::{File, OpenOptions};
use std::io::{Read, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Run, Server, binary, response};

fn quick() -> Server {
    Server::http(|_| response("200 OK", &[], b"ok"))
}

/// A reader that pauses finds every record, and the counts are those of the records.
#[test]
fn a_pipe_that_does_not_block_loses_nothing() {
    let server = quick();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let urls: String = (0..2000).map(|n| server.url(&format!("/{n}\n"))).collect();
    std::fs::write(&list, urls).unwrap();
    let (mut reader, writer) = pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut child = binary()
        .args(["-q", "--json"])
        .arg(&list)
        .stdout(writer)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut records = String::new();
    reader.read_to_string(&mut records).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(records.lines().count(), 2000);
}

/// Log lines are for people; when nobody reads them, they are lost, and nothing else is.
#[test]
fn a_log_that_nobody_reads_ends_no_run() {
    let server = quick();
    let (_reader, writer) = pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let done = binary()
        .args(["-vv", "--json"])
        .args((0..1500).map(|n| server.url(&format!("/{n}"))))
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0));
    let records = done.stdout.iter().filter(|byte| **byte == b'\n');
    assert_eq!(records.count(), 1500);
}

#[test]
fn results_that_nobody_can_get_are_an_error() {
    let server = quick();
    let done = binary()
        .arg(server.url("/"))
        .stdout(File::open("/dev/null").unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("stdout is open for reading alone"));
    assert!(server.requests().is_empty());
}

#[test]
fn a_list_that_nobody_can_read_is_an_error() {
    let for_writing = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let done = binary()
        .arg("-")
        .stdin(for_writing)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("stdin can't be read"));
}

/// `ulimit -f`: the signal that comes with it must not end the program without a word.
#[test]
fn a_file_that_may_grow_no_more_is_an_error_with_its_name() {
    let server = Server::http(|_| response("200 OK", &[], &[b'x'; 9000]));
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new("sh")
        .args(["-c", "ulimit -f 8 && exec \"$0\" \"$@\""])
        .arg(binary().get_program())
        .args(["-o", "out", "--retries=0"])
        .arg(server.url("/large"))
        .current_dir(dir.path())
        .process_group(0)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("out"), "{stderr}");
}

/// It would be passed over, and the request go out directly.
#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_an_error() {
    for value in [
        "http://me:secret@ho st:3128",
        "bad://me:secret@host",
        "http://host:99999",
    ] {
        let server = quick();
        let done = Run::new()
            .env("http_proxy", value)
            .urls([server.url("/")])
            .expect_exit(2);
        assert!(done.stderr.contains("http_proxy"), "{}", done.stderr);
        assert!(!done.stderr.contains("secret"), "{}", done.stderr);
        assert!(server.requests().is_empty());
    }
}
