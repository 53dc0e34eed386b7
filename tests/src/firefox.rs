//! Headless Firefox, driven by its own protocol for tests, Marionette
//! (<https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html>): JSON over TCP, each message after its
//! length in bytes and a colon. Its commands are those of WebDriver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::browser::{Scripted, from_base64};
use crate::server::root;
use crate::tools::{Process, find};
use crate::{PATIENCE, wait_for, wait_for_up_to};

/// How a profile of tests differs from a new one.
const PREFERENCES: [(&str, &str); 10] = [
    // Firefox takes a free port and writes it into its profile.
    ("marionette.port", "0"),
    // A camera without a device: a plain colour that changes, and a stamp. Nobody is asked.
    ("media.navigator.streams.fake", "true"),
    ("media.navigator.permission.disabled", "true"),
    ("media.autoplay.default", "0"),
    // It stays alone: nothing is asked of, told to or fetched from its makers.
    ("app.normandy.enabled", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("toolkit.telemetry.enabled", "false"),
];
/// Longest message of Firefox that is taken: a screenshot.
const LONGEST: usize = 64 << 20;

/// A browser with one page, whose camera shows a colour that changes all the time.
#[derive(Debug)]
pub struct Firefox {
    connection: Mutex<Connection>,
    process: Process,
    _profile: tempfile::TempDir,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    last: u64,
}

/// Firefox, if it is installed.
pub fn installed() -> Option<PathBuf> {
    ["firefox-esr", "firefox"].iter().find_map(|name| find(name))
}

impl Firefox {
    /// Starts a browser with a new profile.
    #[track_caller]
    pub fn start(program: PathBuf) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let lines = PREFERENCES.map(|(name, value)| format!("user_pref(\"{name}\", {value});\n"));
        std::fs::write(profile.path().join("user.js"), lines.concat()).unwrap();
        let child = Command::new(program)
            // Without the last one scripts cannot ask the browser itself what its console holds.
            .args(["--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile"])
            .arg(profile.path())
            .env("HOME", profile.path())
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Firefox starts");
        let process = Process(child);
        let place = profile.path().join("MarionetteActivePort");
        // It makes a new profile first.
        let stream = wait_for_up_to(PATIENCE * 3, "Firefox to listen", || {
            let port: u16 = std::fs::read_to_string(&place).ok()?.trim().parse().ok()?;
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok()
        });
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        let mut connection = Connection { stream, last: 0 };
        let hello = connection.receive();
        assert_eq!(hello["marionetteProtocol"], 3, "{hello}");
        let firefox = Self { connection: Mutex::new(connection), process, _profile: profile };
        // A page with a live picture never finishes loading.
        firefox.command("WebDriver:NewSession", &json!({ "pageLoadStrategy": "none" }));
        let patience = PATIENCE.as_millis() as u64;
        firefox.command("WebDriver:SetTimeouts", &json!({ "script": patience, "pageLoad": patience }));
        firefox
    }

    #[track_caller]
    fn command(&self, name: &str, parameters: &Value) -> Value {
        // After a failed test the connection is still whole.
        let mut connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        connection.command(name, parameters).unwrap_or_else(|error| panic!("{name} {parameters}: {error}"))
    }

    /// What a script answers; nothing while one page takes the place of another.
    fn try_run(&self, script: &str) -> Option<Value> {
        let mut connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let parameters = json!({ "script": script, "args": [] });
        connection.command("WebDriver:ExecuteScript", &parameters).ok().map(|answer| answer["value"].clone())
    }

    /// Opens a page, which may take a token out of its address.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("WebDriver:Navigate", &json!({ "url": url }));
        let origin: String = url.split('/').take(3).collect::<Vec<_>>().join("/");
        wait_for("the page", || {
            // Scripts have run once, so what is clicked is heard.
            let ready = "return [location.href, performance.getEntriesByType('navigation')[0]?.domContentLoadedEventEnd]";
            let ready = self.try_run(ready)?;
            (ready[0].as_str()?.starts_with(&origin) && ready[1].as_f64()? > 0.0).then_some(())
        });
    }

    /// Saves what the page looks like to `target/screenshots/NAME.png`.
    #[track_caller]
    pub fn screenshot(&self, name: &str) {
        let picture = self.command("WebDriver:TakeScreenshot", &json!({ "full": false }));
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), from_base64(picture["value"].as_str().unwrap()))
            .unwrap();
    }

    /// What scripts of pages have thrown, and what the browser has against pages. What they say by `console` is not there:
    /// it never reaches the browser's own list.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let ask = "return Services.console.getMessageArray() \
            .filter((said) => said instanceof Ci.nsIScriptError && /^http/.test(said.sourceName)) \
            .map((said) => `${said.category}: ${said.errorMessage} (${said.sourceName}:${said.lineNumber})`)";
        self.command("Marionette:SetContext", &json!({ "value": "chrome" }));
        let told = self.run(ask);
        self.command("Marionette:SetContext", &json!({ "value": "content" }));
        told.as_array().unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Scripted for Firefox {
    fn run(&self, script: &str) -> Value {
        self.command("WebDriver:ExecuteScript", &json!({ "script": script, "args": [] }))["value"].clone()
    }
}

impl Connection {
    /// One command: `[0, id, name, parameters]` is answered by `[1, id, error, result]`.
    ///
    /// # Errors
    /// What Firefox says against it.
    #[track_caller]
    fn command(&mut self, name: &str, parameters: &Value) -> Result<Value, Value> {
        self.last += 1;
        let text = json!([0, self.last, name, parameters]).to_string();
        self.stream.write_all(format!("{}:{text}", text.len()).as_bytes()).unwrap();
        let mut answer = self.receive();
        assert_eq!((&answer[0], &answer[1]), (&json!(1), &json!(self.last)), "{name}: {answer}");
        if answer[2].is_null() { Ok(answer[3].take()) } else { Err(answer[2].take()) }
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut digit = [0];
            self.stream.read_exact(&mut digit).expect("a message of Firefox");
            match digit[0] {
                b':' => break,
                digit @ b'0'..=b'9' => length = 10 * length + usize::from(digit - b'0'),
                other => panic!("{other} in the length of a message"),
            }
            assert!(length <= LONGEST, "a message of {length} bytes");
        }
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).expect("a message of Firefox");
        serde_json::from_slice(&text).expect("JSON")
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Best effort: a second panic here would hide the first.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eprintln!("--- console of the page: {:#?}", self.complaints());
                self.screenshot("failed_firefox");
            }));
        }
        // Ends its other processes with it; what is left of it is killed after this.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.command("Marionette:Quit", &json!({ "flags": ["eForceQuit"] }));
            let _ = crate::server::wait_for_exit(&mut self.process.0, PATIENCE);
        }));
    }
}
