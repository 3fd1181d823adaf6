//! A real mail server, Python's aiosmtpd. `FETCHALL_PYTHON` names a Python that has it; with
//! `FETCHALL_NEEDS_SMTP` set, it is a failure when there is none.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{Authority, Background};

/// The user that the server knows, and its password.
pub const USER: (&str, &str) = ("ann@example.com", "s3cret pass:word");

const PROGRAM: &str = include_str!("smtp.py");

/// A mail server. What it got is known once the program that sent it has ended.
pub struct MailServer {
    pub port: u16,
    pub authority: NamedTempFile,
    messages: Arc<Mutex<Vec<Value>>>,
    _files: [NamedTempFile; 3],
    _process: Background,
}

impl MailServer {
    /// One that speaks TLS from the start (`tls`), from STARTTLS on (`starttls`), or not at all
    /// (`plain`), and wants a password unless it is plain.
    pub fn start(mode: &str) -> Option<Self> {
        let python = python()?;
        let authority = Authority::new();
        let (certificate, key) = authority.files("localhost");
        let mut program = NamedTempFile::new().unwrap();
        program.write_all(PROGRAM.as_bytes()).unwrap();
        let (user, password) = if mode == "plain" { ("", "") } else { USER };
        let mut child = Command::new(python)
            .arg(program.path())
            .arg(mode)
            .args([certificate.path(), key.path()])
            .args([user, password])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self {
            port,
            authority: authority.file(),
            messages,
            _files: [certificate, key, program],
            _process: Background(child),
        })
    }

    /// The messages it got, once there are so many.
    pub fn messages(&self, count: usize) -> Vec<Value> {
        for _ in 0..1000 {
            let messages = self.messages.lock().unwrap();
            if messages.len() >= count {
                return messages.clone();
            }
            drop(messages);
            thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!(
            "{count} messages were expected: {:?}",
            self.messages.lock().unwrap()
        );
    }

    /// Those it got so far.
    pub fn messages_now(&self) -> usize {
        self.messages.lock().unwrap().len()
    }
}

fn python() -> Option<String> {
    let given = std::env::var("FETCHALL_PYTHON").ok();
    let python = given.unwrap_or_else(|| "python3".to_owned());
    let has_it = Command::new(&python)
        .args(["-c", "import aiosmtpd"])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_it {
        return Some(python);
    }
    assert!(
        std::env::var_os("FETCHALL_NEEDS_SMTP").is_none(),
        "{python} has no aiosmtpd"
    );
    println!("skipped: {python} has no aiosmtpd");
    None
}
