//! A mail server: Python's aiosmtpd. `FETCHALL_PYTHON` is a Python that has it (default:
//! `python3`). If it is missing, tests are skipped, or fail with `FETCHALL_NEEDS_SMTP` set.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{Authority, Background};

/// The user name and password that the server accepts.
pub const USER: (&str, &str) = ("ann@example.com", "s3cret pass:word");

const PROGRAM: &str = include_str!("smtp.py");

/// A mail server.
pub struct MailServer {
    pub port: u16,
    pub authority: NamedTempFile,
    messages: Arc<Mutex<Vec<Value>>>,
    _files: [NamedTempFile; 3],
    _process: Background,
}

impl MailServer {
    /// Starts a server in a mode: TLS from the start (`tls`), after STARTTLS (`starttls`), or never
    /// (`plain`). All but `plain` require the password.
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

    /// Waits for `count` messages and returns all received ones.
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
            "expected {count} messages: {:?}",
            self.messages.lock().unwrap()
        );
    }

    /// Returns the number of messages received so far.
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
