//! The server: nginx as packaged by a distribution, with one process.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, User, getuid};
use tempfile::TempDir;

use crate::certificates;
use crate::support::launch;

const PROGRAM: &str = "nginx";
/// Debian installs it in a directory that is only in root's PATH.
const ELSEWHERE: &str = "/usr/sbin/nginx";
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// The response to `/tiny/…`.
pub const TINY: &str = "ok\n";
/// The response to `/packed/…`: a file, coded with Brotli.
pub const PACKED: &str = "page.br";
const LOG: &str = "requests.log";

/// A running server. It stops when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    plain: u16,
    tls: u16,
    /// How much of the log has been read.
    read: u64,
}

/// The responses of the server.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Answered {
    pub requests: u64,
    /// Bytes of the bodies, as in the files.
    pub bytes: u64,
    /// Responses other than 200.
    pub others: u64,
    /// Responses that were the first on their connection.
    pub connections: u64,
}

impl Nginx {
    /// Serves a directory at `/`, one with large files at `/large/`, and [`PACKED`] from there for
    /// every path below `/packed/`; over TLS at these addresses.
    pub fn start(pages: &Path, large: &Path, tls: &[Ipv4Addr]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        certificates::write(folder.path(), tls.iter().copied())?;
        let (plain, tls) = two_ports()?;
        let config = folder.path().join("nginx.conf");
        fs::write(
            &config,
            configuration(folder.path(), pages, large, plain, tls),
        )?;
        let spawn = |program| {
            let mut command = Command::new(program);
            command.arg("-c").arg(&config).arg("-p").arg(folder.path());
            command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let child = spawn(PROGRAM).or_else(|_| spawn(ELSEWHERE))?;
        let mut nginx = Self {
            child,
            folder,
            plain,
            tls,
            read: 0,
        };
        nginx.wait_until_up()?;
        Ok(nginx)
    }

    fn wait_until_up(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.plain)).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > until {
                let log = fs::read_to_string(self.folder.path().join("error.log"));
                return Err(io::Error::other(log.unwrap_or_default()));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    pub fn url(&self, address: Ipv4Addr, path: &str) -> String {
        format!("http://{address}:{}/{path}", self.plain)
    }

    pub fn tls_url(&self, address: Ipv4Addr, path: &str) -> String {
        format!("https://{address}:{}/{path}", self.tls)
    }

    /// Returns a file with the CAs that clients have to trust.
    pub fn authorities(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Restricts the server to these processors.
    pub fn pin(&self, processors: &str) -> io::Result<()> {
        let process = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        launch::pin(Pid::from_raw(process), processors)
    }

    /// Returns the responses since the last call. The log is some tenths of a second behind, so
    /// this waits for the expected number of requests.
    pub fn answered(&mut self, expected: u64) -> io::Result<Answered> {
        let until = Instant::now() + PATIENCE;
        let mut answered = Answered::default();
        loop {
            self.read_log(&mut answered)?;
            if answered.requests >= expected || Instant::now() > until {
                return Ok(answered);
            }
            thread::sleep(POLL);
        }
    }

    fn read_log(&mut self, answered: &mut Answered) -> io::Result<()> {
        let mut log = File::open(self.folder.path().join(LOG))?;
        log.seek(SeekFrom::Start(self.read))?;
        let mut log = BufReader::new(log);
        let mut line = String::new();
        while log.read_line(&mut line)? > 0 && line.ends_with('\n') {
            self.read += line.len() as u64;
            let mut words = line.split_ascii_whitespace();
            answered.requests += 1;
            answered.others += u64::from(words.next() != Some("200"));
            let bytes = words.next().and_then(|word| word.parse::<u64>().ok());
            answered.bytes += bytes.unwrap_or_default();
            answered.connections += u64::from(words.next() == Some("1"));
            line.clear();
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the version of the server.
pub fn version() -> String {
    let ask = |program| Command::new(program).arg("-v").output();
    let said = ask(PROGRAM).or_else(|_| ask(ELSEWHERE));
    let said = said.map(|output| output.stderr).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().rsplit('/').next();
    format!("nginx {}", version.unwrap_or_default())
}

/// Returns two ports that are free at this moment.
fn two_ports() -> io::Result<(u16, u16)> {
    let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
    let (one, other) = (bind()?, bind()?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// Returns a configuration that runs with this user's permissions, and with limits that no program
/// reaches.
fn configuration(folder: &Path, pages: &Path, large: &Path, plain: u16, tls: u16) -> String {
    let user = User::from_uid(getuid()).ok().flatten();
    let user = user.map_or_else(|| "root".to_owned(), |user| user.name);
    let (folder, pages, large) = (folder.display(), pages.display(), large.display());
    format!(
        r#"
daemon off;
master_process off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
    types {{ text/html html; application/octet-stream bin; }}
    default_type text/plain;
    log_format count '$status $body_bytes_sent $connection_requests';
    access_log {folder}/{LOG} count buffer=256k flush=100ms;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=20000 inactive=10m;
    open_file_cache_valid 10m;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 0.0.0.0:{plain} backlog=8192;
        listen 0.0.0.0:{tls} ssl http2 backlog=8192;
        ssl_certificate {folder}/$server_addr.crt;
        ssl_certificate_key {folder}/$server_addr.key;
        http2_max_concurrent_streams 256;
        location / {{ root "{pages}"; index no-index-page; }}
        location /large/ {{ alias "{large}/"; }}
        location /tiny/ {{ return 200 "{TINY}"; }}
        location /packed/ {{
            root "{large}";
            try_files /{PACKED} =404;
            add_header Content-Encoding br;
        }}
    }}
}}
"#
    )
}
