//! Headless Chromium, driven through chromedriver over plain HTTP (W3C WebDriver and its DevTools extension).

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http;
use crate::mark::{self, Mark, Rgb};
use crate::server::{collect, root};
use crate::tools::{Process, find};
use crate::wait_for;

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Process,
    _profile: tempfile::TempDir,
}

/// A page of whatever browser, in which scripts can be run.
pub trait Scripted {
    /// Runs the body of a JavaScript function and answers what it returns; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    fn run(&self, script: &str) -> Value;

    /// The mark that an element shows at this moment, and how colourful its lower half is.
    fn mark(&self, selector: &str) -> Option<(Mark, f64)> {
        let script = format!(
            "{} const element = document.querySelector({}); const mark = element && readMark(element); \
             return mark && {{ ...mark, colour: colourOf(element) }}",
            mark::READ_MARK_JS,
            json!(selector)
        );
        let found = self.run(&script);
        let number = |name: &str| found[name].as_u64();
        let mark = Mark { id: number("id")? as u8, counter: number("counter")? as u32 };
        Some((mark, found["colour"].as_f64()?))
    }
}

impl Scripted for Browser {
    fn run(&self, script: &str) -> Value {
        Self::run(self, script)
    }
}

/// Chromium and chromedriver, if both are installed.
pub fn installed() -> Option<(PathBuf, PathBuf)> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| find(name))?;
    Some((chromium, find("chromedriver")?))
}

impl Browser {
    /// Starts a browser whose camera shows the given Y4M file, over and over.
    #[track_caller]
    pub fn start(programs: (PathBuf, PathBuf), camera: Option<&Path>) -> Self {
        Self::start_with(programs, camera, &[])
    }

    /// The same with more arguments.
    #[track_caller]
    pub fn start_with(
        (chromium, chromedriver): (PathBuf, PathBuf),
        camera: Option<&Path>,
        more: &[String],
    ) -> Self {
        let mut child = Command::new(chromedriver)
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &log);
        let process = Process(child);
        let port: u16 = wait_for("chromedriver's port", || {
            let log = log.lock().unwrap();
            let (_, rest) = log.split_once("started successfully on port ")?;
            rest.split('.').next()?.parse().ok()
        });
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-background-timer-throttling",
            "--window-size=1280,900",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        if let Some(camera) = camera {
            arguments.push(format!("--use-file-for-fake-video-capture={}", camera.display()));
        }
        arguments.extend_from_slice(more);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 20_000, "pageLoad": 20_000 },
        } } });
        let answer = call(driver, "POST", "/session", &capabilities);
        let session = answer["sessionId"].as_str().expect("a session").to_owned();
        Self { driver, session, _process: process, _profile: profile }
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        call(self.driver, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page. A page that never finishes loading, as one with a live `<img>`, is fine, and so is one that takes a
    /// token out of its address.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.devtools("Page.navigate", &json!({ "url": url }));
        let without_token = url.split_once("/t/").and_then(|(base, rest)| {
            let (_, page) = rest.split_once('/')?;
            Some(format!("{base}/{page}"))
        });
        wait_for("the page", || {
            let ready = self.run("return [location.href, document.readyState]");
            let at = ready[0].as_str()?;
            let arrived = at.starts_with(url) || without_token.as_deref() == Some(at);
            (arrived && ready[1] != "loading").then_some(())
        });
    }

    /// Runs the body of a JavaScript function and answers what it returns; a promise is waited for.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Turns to the page in a frame: from now on all is about it.
    #[track_caller]
    pub fn enter(&self, frame: &str) {
        let found = self.command("POST", "/element", &json!({ "using": "css selector", "value": frame }));
        self.command("POST", "/frame", &json!({ "id": found }));
    }

    /// Turns back to the page that holds the frames.
    #[track_caller]
    pub fn leave(&self) {
        self.command("POST", "/frame", &json!({ "id": null }));
    }

    /// A DevTools command.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// The mark that an element shows at this moment, and how colourful its lower half is.
    #[track_caller]
    pub fn mark(&self, selector: &str) -> Option<(Mark, f64)> {
        Scripted::mark(self, selector)
    }

    /// Pretends to be a phone of this width, or a desktop again.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32, phone: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Saves what the page looks like to `target/screenshots/NAME.png`.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        let picture = self.command("GET", "/screenshot", &Value::Null);
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = from_base64(picture.as_str().unwrap());
        std::fs::File::create(folder.join(format!("{name}.png"))).unwrap().write_all(&bytes).unwrap();
    }

    /// Warnings and errors on the console since the last call.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        log.as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING")
            .map(ToString::to_string)
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Best effort: a second panic here would hide the first.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eprintln!("--- console of the page: {:#?}", self.complaints());
                self.screenshot("failed");
            }));
        }
        // Ends Chromium; chromedriver itself is killed after this.
        let path = format!("/session/{}", self.session);
        let _ = http::Connection::open(self.driver)
            .and_then(|mut connection| connection.request("DELETE", &path, &[("Connection", "close")], &[]));
    }
}

/// One WebDriver command. chromedriver answers `{"value": ...}`.
#[track_caller]
fn call(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let text = if method == "GET" { String::new() } else { body.to_string() };
    let mut connection = http::Connection::open(driver).unwrap();
    connection.socket().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let headers = [("Connection", "close"), ("Content-Type", "application/json")];
    let answer = connection.request(method, path, &headers, text.as_bytes()).unwrap();
    let document = answer.json();
    assert_eq!(answer.status, 200, "{method} {path}: {document}");
    document["value"].clone()
}

/// Decodes base64 with padding.
pub fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{c} is no base64"),
    };
    let digits: Vec<u8> =
        text.bytes().filter(|c| *c != b'=' && !c.is_ascii_whitespace()).map(value).collect();
    digits
        .chunks(4)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit))
                << (6 * (4 - chunk.len()));
            bits.to_be_bytes()[1..chunk.len()].to_vec()
        })
        .collect()
}

/// Encodes base64 with padding.
pub fn to_base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

/// Writes a Y4M file of marked pictures.
pub fn write_camera(path: &Path, id: u8, frames: u32, width: usize, height: usize) {
    write_film(path, frames, width, height, |counter| mark::draw(Mark { id, counter }, width, height));
}

/// Writes a Y4M file of pictures that are drawn, 4:2:0, limited range.
pub fn write_film(path: &Path, frames: u32, width: usize, height: usize, draw: impl Fn(u32) -> Rgb) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    writeln!(file, "YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg").unwrap();
    for counter in 0..frames {
        let picture = draw(counter);
        file.write_all(b"FRAME\n").unwrap();
        let luma: Vec<u8> = picture.luma().iter().map(|v| (16 + u32::from(*v) * 219 / 255) as u8).collect();
        file.write_all(&luma).unwrap();
        for plane in 0..2 {
            for y in (0..height).step_by(2) {
                for x in (0..width).step_by(2) {
                    let [r, g, b] = picture.at(x, y).map(f64::from);
                    let chroma = if plane == 0 {
                        -0.148 * r - 0.291 * g + 0.439 * b
                    } else {
                        0.439 * r - 0.368 * g - 0.071 * b
                    };
                    file.write_all(&[(128.0 + chroma).round() as u8]).unwrap();
                }
            }
        }
    }
    file.flush().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_after_rfc_4648() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(to_base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text), plain.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(&to_base64(&all)), all);
    }
}
