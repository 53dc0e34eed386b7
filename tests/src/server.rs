//! The real server, started as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{self, Response};
use crate::problem::expect_problem;
use crate::{PATIENCE, wait_for};

/// The name of the program.
pub const PROGRAM: &str = "ooblex-colab";

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The bundled demo clip.
pub fn demo_clip() -> PathBuf {
    let found = ["ooblex-colab/assets", "ooblex-colab/clips", "ooblex-colab/demo", "ooblex-colab/src"]
        .iter()
        .map(|folder| root().join(folder).join("astronaut_pan_640x480.mp4"))
        .find(|path| path.exists());
    found.expect("the demo clip lies in the checkout")
}

/// The program to test: `OOBLEX_BIN`, else the one beside the test binary, built first if it is missing or older than
/// one of its sources.
pub fn program() -> &'static Path {
    static PROGRAM_PATH: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM_PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("OOBLEX_BIN") {
            return PathBuf::from(path);
        }
        // target/PROFILE/deps/it-0123: the program lies one folder up.
        let here = std::env::current_exe().unwrap();
        let folder = here.parent().and_then(Path::parent).unwrap();
        let path = folder.join(PROGRAM);
        if !up_to_date(&path) {
            let status = Command::new(env!("CARGO"))
                .args(["build", "--release", "--package", PROGRAM])
                .current_dir(root())
                .env("CARGO_TARGET_DIR", folder.parent().unwrap())
                .status()
                .unwrap();
            assert!(status.success(), "{PROGRAM} does not build");
        }
        path
    })
}

/// Whether the program is newer than every source that cargo lists for it.
fn up_to_date(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let (Some(built), Ok(list)) = (modified(program), std::fs::read_to_string(program.with_extension("d")))
    else {
        return false;
    };
    list.lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, sources)| sources.split(' '))
        .all(|source| modified(Path::new(source)).is_some_and(|changed| changed <= built))
}

/// A running server. It is killed when this goes away; its log is printed when the test failed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    log: Arc<Mutex<String>>,
    /// From the start of the process to the first healthy answer.
    pub start_up: Duration,
}

impl Server {
    /// Starts a server without a stream, on a free port of the loopback, with additional arguments. Pictures pass as
    /// they are unless an argument says otherwise.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = command();
        if !arguments.contains(&"--model-name") {
            command.args(["--model-name", "none"]);
        }
        command.args(["--mjpeg-port", "0"]).args(arguments);
        Self::launch(command)
    }

    /// Starts a server with the given command, which must say that it listens on the loopback.
    #[track_caller]
    pub fn launch(mut command: Command) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &log);
        collect(child.stderr.take().unwrap(), &log);
        let addr = loop {
            if let Some(addr) = address(&log.lock().unwrap()) {
                break addr;
            }
            let exited = child.try_wait().unwrap();
            if exited.is_some() || started.elapsed() > PATIENCE {
                let _ = child.kill();
                std::thread::sleep(Duration::from_millis(100));
                panic!("no address, {exited:?}; log:\n{}", log.lock().unwrap());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut server = Self { child, addr, log, start_up: Duration::ZERO };
        loop {
            // A connection may be refused for a moment: the address is printed before the first accept.
            if TcpStream::connect(addr).is_ok() && server.get("/health").status == 200 {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "not healthy");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.start_up = started.elapsed();
        server
    }

    /// `http://127.0.0.1:PORT` followed by the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// What the server has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        http::send(self.addr, "GET", target, &[], &[])
    }

    /// GET of a JSON document.
    #[track_caller]
    pub fn json(&self, target: &str) -> Value {
        let response = self.get(target).expect(200);
        let kind = response.header("Content-Type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{target}: {kind:?}");
        response.json()
    }

    /// POST of bytes.
    #[track_caller]
    pub fn post(&self, target: &str, body: &[u8]) -> Response {
        http::send(self.addr, "POST", target, &[], body)
    }

    /// POST of a JSON document.
    #[track_caller]
    pub fn post_json(&self, target: &str, body: &Value) -> Response {
        http::send(
            self.addr,
            "POST",
            target,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// Uploads a picture that must be accepted; answers its sequence number.
    #[track_caller]
    pub fn upload(&self, stream: &str, picture: &[u8]) -> u64 {
        let response = self.post(&format!("/upload?stream={stream}"), picture).expect(200);
        assert_eq!(response.text(), "OK");
        assert_eq!(response.header("X-Ooblex-Stream"), Some(stream));
        response.header("X-Ooblex-Sequence").expect("a sequence number").parse().expect("a number")
    }

    /// Uploads a picture that must be refused with a problem of this status.
    #[track_caller]
    pub fn refused(&self, target: &str, body: &[u8], status: u16) -> Value {
        expect_problem(&self.post(target, body), status)
    }

    /// The entry of `/streams` for a stream.
    #[track_caller]
    pub fn stream(&self, id: &str) -> Option<Value> {
        self.json("/streams").as_array().expect("an array").iter().find(|entry| entry["id"] == id).cloned()
    }

    /// Waits until the entry of `/streams` for a stream satisfies a condition.
    #[track_caller]
    pub fn wait_for_stream(&self, id: &str, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Value {
        wait_for(what, || self.stream(id).filter(&mut condition))
    }

    /// Switches the effect of one stream.
    #[track_caller]
    pub fn set_effect(&self, stream: &str, effect: &str) -> Value {
        self.post_json(&format!("/streams/{stream}/effect"), &serde_json::json!({ "effect": effect }))
            .expect(200)
            .json()
    }

    /// The value of a series of `/metrics`, summed over its labels; `None` when there is no such series.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.get("/metrics").expect(200);
        let samples = crate::tools::parse_metrics(text.text());
        let matching: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels.iter().all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
            })
            .map(|sample| sample.value)
            .collect();
        (!matching.is_empty()).then(|| matching.iter().sum())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many threads and open files the process has.
    pub fn threads_and_files(&self) -> (usize, usize) {
        let count =
            |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).map_or(0, Iterator::count);
        (count("task"), count("fd"))
    }

    /// Resident memory in bytes, where the system tells.
    pub fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }

    /// Sends a signal such as `INT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the process to end; `None` when it did not in time.
    pub fn wait_for_exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for_exit(&mut self.child, patience)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}---", self.log());
        }
    }
}

/// The program, with nothing of the caller's configuration in its environment and a neutral working directory.
pub fn command() -> Command {
    neutral(Command::new(program()))
}

/// The same for a command that starts the program itself.
pub fn neutral(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OOBLEX_") {
            command.env_remove(name);
        }
    }
    command.current_dir(std::env::temp_dir());
    command
}

/// Sends a signal such as `INT` to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Waits for a process to end; `None` when it did not in time.
pub fn wait_for_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs the program to its end and answers (exit code, standard output, standard error).
#[track_caller]
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = command();
    command.args(arguments);
    finish(command)
}

/// Runs a command of the program that ends by itself.
#[track_caller]
pub fn finish(mut command: Command) -> (i32, String, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if wait_for_exit(&mut child, PATIENCE).is_none() {
        let _ = child.kill();
        panic!("{command:?} did not end: {:?}", child.wait_with_output());
    }
    let output = child.wait_with_output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Copies what a process writes into the log.
pub(crate) fn collect(from: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// The first loopback URL in a log; a server that listens everywhere calls itself localhost.
fn address(log: &str) -> Option<SocketAddr> {
    // Only whole lines: a port must not be read by halves.
    let log = &log[..=log.rfind('\n')?];
    let (_, rest) = log.split_once("http://127.0.0.1:").or_else(|| log.split_once("http://localhost:"))?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))
}
