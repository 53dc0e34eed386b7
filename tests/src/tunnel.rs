//! A proxy that behaves as tunnels do that pass some of HTTP and not all of it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong with a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Upgrades are refused.
    NoWebSocket,
    /// Responses are passed on when they are complete, which a stream never is.
    HoldsStreams,
    /// Streams pass once a snapshot has passed.
    LateStreams,
    /// Pictures, ends of sessions, and what the server asks for as browsers do, are answered by a page of the tunnel's own
    /// unless a header skips it.
    Interstitial,
    /// A connection on which nothing passes for [`IDLE`] is cut.
    CutsIdle,
    /// As the port proxy of Colab at its worst: no upgrades, 500 to every POST, and streams as with `HoldsStreams`.
    Notebook,
    /// As the port proxy of Colab at its best: no upgrades, and streams are cut after a while.
    NotebookWithPost,
}

impl Flaw {
    /// By its name as an argument of a program.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "no-websocket" => Self::NoWebSocket,
            "holds-streams" => Self::HoldsStreams,
            "interstitial" => Self::Interstitial,
            _ => return None,
        })
    }
}

/// Most bytes of a request's head.
const HEAD: usize = 64 * 1024;
/// Bytes of a stream that pass before it is cut.
const CUT: u64 = 300_000;
/// Most bytes of a stream that are kept.
const HELD: u64 = 1 << 20;
const PAGE: &str = "<!doctype html><title>You are about to visit</title>";

/// Time without a byte in either direction after which [`Flaw::CutsIdle`] cuts a connection.
pub const IDLE: Duration = Duration::from_secs(4);
/// How often a connection that may be idle is looked after, and something that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// A request that a tunnel has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and path, without the query.
    pub request: String,
    /// Whether it went on to the server, or was answered by the tunnel.
    pub passed: bool,
}

/// A tunnel that runs; it ends with the process.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Where it is reached.
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    open: Mutex<Vec<TcpStream>>,
    exhausted: AtomicBool,
    cut: AtomicBool,
}

impl Tunnel {
    /// Starts a tunnel to a server.
    pub fn start(server: SocketAddr, flaw: Flaw) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tunnel = Self { addr: listener.local_addr().unwrap(), state: Arc::default() };
        let state = tunnel.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = state.clone();
                // What goes wrong with one connection is what browsers have to live with.
                thread::spawn(move || drop(serve(client, server, flaw, &state)));
            }
        });
        tunnel
    }

    /// The requests so far, in their order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many of them begin so and did pass, or did not.
    pub fn count(&self, request: &str, passed: bool) -> usize {
        self.seen().iter().filter(|seen| seen.request.starts_with(request) && seen.passed == passed).count()
    }

    /// Whether a connection was cut because it was idle.
    pub fn has_cut(&self) -> bool {
        self.state.cut.load(Ordering::Relaxed)
    }

    /// Its quota is used up, or renewed. All connections end; new requests are answered with 429 as long as it is used up.
    pub fn exhaust(&self, exhausted: bool) {
        self.state.exhausted.store(exhausted, Ordering::Relaxed);
        self.cut();
    }

    /// Ends all connections that are open.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Starts a tunnel to a server of which nothing more is asked.
pub fn start(server: SocketAddr, flaw: Flaw) -> SocketAddr {
    Tunnel::start(server, flaw).addr
}

/// What a tunnel answers in place of the server.
enum Answer {
    Status(&'static str),
    Page(&'static str),
}

fn serve(mut client: TcpStream, server: SocketAddr, flaw: Flaw, state: &State) -> io::Result<()> {
    let (head, body) = read_head(&mut client)?;
    let lower = head.to_ascii_lowercase();
    let method = head.split(' ').next().unwrap_or_default();
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let upgrade = lower.contains("\r\nupgrade:");
    let streams = path.ends_with(".mjpg") || path.ends_with("/stream");
    let fronted = method == "DELETE" || [".mjpg", ".jpg", "/page"].iter().any(|end| path.ends_with(end));
    let answer = match flaw {
        _ if state.exhausted.load(Ordering::Relaxed) => Some(Answer::Page("429 Too Many Requests")),
        Flaw::NoWebSocket | Flaw::Notebook | Flaw::NotebookWithPost if upgrade => {
            Some(Answer::Status("502 Bad Gateway"))
        }
        Flaw::Notebook if method == "POST" => Some(Answer::Status("500 Internal Server Error")),
        Flaw::Interstitial if fronted && !lower.contains("\r\nngrok-skip-browser-warning:") => {
            Some(Answer::Page("200 OK"))
        }
        _ => None,
    };
    let request = format!("{method} {path}");
    state.seen.lock().unwrap().push(Seen { request, passed: answer.is_none() });
    match answer {
        Some(Answer::Status(status)) => return refuse(client, status, ""),
        Some(Answer::Page(status)) => return refuse(client, status, PAGE),
        None => {}
    }
    state.open.lock().unwrap().push(client.try_clone()?);
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(if upgrade { head.clone() } else { closing(&head) }.as_bytes())?;
    upstream.write_all(&body)?;
    if flaw == Flaw::CutsIdle {
        return cut_when_idle(client, upstream, state);
    }
    let (from_client, to_server) = (client.try_clone()?, upstream.try_clone()?);
    let up = thread::spawn(move || copy(from_client, to_server));
    match flaw {
        Flaw::HoldsStreams | Flaw::Notebook if streams => {
            // Read and kept until the end, which does not come with streams of pictures: then little of it is enough.
            let (mut held, rest) = (Vec::new(), upstream.try_clone()?);
            upstream.take(HELD).read_to_end(&mut held)?;
            copy(rest, io::sink());
            client.write_all(&held)?;
        }
        Flaw::LateStreams if streams => {
            let passed = |seen: &Seen| seen.passed && seen.request.ends_with(".jpg");
            while !state.seen.lock().unwrap().iter().any(passed) {
                thread::sleep(LOOK);
            }
            copy(upstream, client.try_clone()?);
        }
        Flaw::NotebookWithPost if streams => {
            drop(io::copy(&mut upstream.take(CUT), &mut client.try_clone()?))
        }
        _ => copy(upstream, client.try_clone()?),
    }
    let _ = client.shutdown(Shutdown::Both);
    drop(up.join());
    Ok(())
}

/// Passes bytes in both directions until one ends, or nothing passes for [`IDLE`].
fn cut_when_idle(client: TcpStream, upstream: TcpStream, state: &State) -> io::Result<()> {
    let passed = Mutex::new(Instant::now());
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        let mut buffer = [0; 16 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(read @ 1..) if to.write_all(&buffer[..read]).is_ok() => {
                    *passed.lock().unwrap() = Instant::now();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if passed.lock().unwrap().elapsed() > IDLE {
                        state.cut.store(true, Ordering::Relaxed);
                        break;
                    }
                }
                _ => break,
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    };
    client.set_read_timeout(Some(LOOK))?;
    upstream.set_read_timeout(Some(LOOK))?;
    let (from_client, to_server) = (client.try_clone()?, upstream.try_clone()?);
    thread::scope(|both| {
        both.spawn(|| pump(from_client, to_server));
        pump(upstream, client);
    });
    Ok(())
}

fn refuse(mut client: TcpStream, status: &str, page: &str) -> io::Result<()> {
    let kind = if page.is_empty() { "" } else { "Content-Type: text/html\r\n" };
    let length = page.len();
    // What the client still sends is read, or it would see a reset in place of the answer.
    client.write_all(
        format!("HTTP/1.1 {status}\r\n{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{page}")
            .as_bytes(),
    )?;
    client.shutdown(Shutdown::Write)?;
    copy(client, io::sink());
    Ok(())
}

/// The head of a request with its blank line, and what came of the body with it.
fn read_head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        let read = client.read(&mut buffer)?;
        if read == 0 || bytes.len() > HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// A head that asks for one answer alone, so that each request is looked at.
fn closing(head: &str) -> String {
    let mut lines: Vec<&str> = head
        .trim_end()
        .split("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    lines.push("Connection: close");
    lines.join("\r\n") + "\r\n\r\n"
}

fn copy(mut from: TcpStream, mut to: impl Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}
