//! Headless Chromium, driven through chromedriver with the W3C WebDriver protocol.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Environment variable that makes a missing browser a failure instead of skipping the test.
const NEEDED: &str = "FETCHALL_NEEDS_CHROMIUM";
/// Timeout for a command of the browser, even on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// A browser with one tab.
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    session: String,
    /// Directory for its profile and all other files it writes.
    home: TempDir,
}

impl Browser {
    /// Starts a browser. Returns `None`, with a note on stderr, if there is none and none is
    /// required.
    pub fn start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        // Chromium and chromedriver leave temporary files behind.
        let spawned = Command::new("chromedriver")
            .env("TMPDIR", home.path())
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = match spawned {
            Ok(driver) => driver,
            Err(error) if std::env::var_os(NEEDED).is_none() => {
                eprintln!("skipped: cannot run chromedriver: {error} (Debian: chromium-driver)");
                return None;
            }
            Err(error) => panic!("cannot run chromedriver: {error} ({NEEDED} is set)"),
        };
        let port = port_of(&mut driver);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(COMMAND_TIMEOUT);
        let mut browser = Self {
            driver,
            client: client.build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            session: format!("http://127.0.0.1:{port}/session"),
            home,
        };
        let profile = browser.home.path().join("profile");
        let profile = format!("--user-data-dir={}", profile.display());
        let args = [
            "--headless=new",
            // The sandbox does not work for root in the container of the tests.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            &profile,
        ];
        let made = browser.post(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": args},
                "goog:loggingPrefs": {"browser": "ALL"},
            }}}),
        );
        let id = made["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.client.post(url).body(body.to_string());
        let _inside = self.runtime.enter();
        let answer = self
            .runtime
            .block_on(async { request.send().await?.text().await });
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// Opens a file.
    pub fn open(&self, path: &Path) {
        let url = format!("file://{}", path.display());
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a script as the body of a function. Returns its result.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Returns the errors and warnings in the log of the browser.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().unwrap().iter();
        entries.map(ToString::to_string).collect()
    }

    /// Sets the width of the window and the color scheme (`light` or `dark`). Emulates a phone
    /// below 600 pixels.
    pub fn look(&self, width: u32, scheme: &str) {
        let device = json!({"width": width, "height": 900, "deviceScaleFactor": 1,
            "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", &device);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", &features);
    }

    fn command(&self, command: &str, params: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": params}),
        )
    }

    /// Presses keys, one after another, in the focused element.
    pub fn press(&self, keys: &[&str]) {
        for key in keys {
            for kind in ["rawKeyDown", "char", "keyUp"] {
                let text = if *key == "Enter" { "\r" } else { "" };
                if kind == "char" && text.is_empty() {
                    continue;
                }
                let code = match *key {
                    "Tab" => 9,
                    "Enter" => 13,
                    other => panic!("no code for {other}"),
                };
                let params = json!({"type": kind, "key": key, "code": key, "text": text,
                    "windowsVirtualKeyCode": code});
                self.command("Input.dispatchKeyEvent", &params);
            }
        }
    }

    /// Takes a screenshot of the whole page, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let params = json!({"captureBeyondViewport": true});
        let picture = self.command("Page.captureScreenshot", &params);
        let picture = picture["data"].as_str().unwrap();
        BASE64_STANDARD.decode(picture).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let request = self.client.delete(&self.session);
        let _inside = self.runtime.enter();
        let _ = self.runtime.block_on(request.send());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Reads the port from `ChromeDriver was started successfully on port 1234.`
fn port_of(driver: &mut Child) -> u16 {
    let stdout = driver.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let said = lines.find_map(|line| {
        let line = line.unwrap();
        let (_, port) = line.split_once("successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // Later output must not end chromedriver by a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    said.unwrap()
}
