//! A proxy that behaves as tunnels do that pass some of HTTP and not all of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What is wrong with a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Upgrades are refused.
    NoWebSocket,
    /// Responses are passed on when they are complete, which a stream never is.
    HoldsStreams,
    /// Pictures, and what the server asks for as browsers do, are answered by a page of the tunnel's own unless a header
    /// skips it.
    Interstitial,
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

/// Starts a tunnel to a server; it ends with the process.
pub fn start(server: SocketAddr, flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // What goes wrong with one connection is what browsers have to live with.
            thread::spawn(move || drop(serve(client, server, flaw)));
        }
    });
    addr
}

fn serve(mut client: TcpStream, server: SocketAddr, flaw: Flaw) -> io::Result<()> {
    let (head, body) = read_head(&mut client)?;
    let lower = head.to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let upgrade = lower.contains("\r\nupgrade:");
    let streams = path.ends_with(".mjpg") || path.ends_with("/stream");
    let picture = [".mjpg", ".jpg", "/page"].iter().any(|end| path.ends_with(end));
    match flaw {
        Flaw::NoWebSocket | Flaw::Notebook | Flaw::NotebookWithPost if upgrade => {
            return refuse(client, "502 Bad Gateway");
        }
        Flaw::Notebook if lower.starts_with("post ") => return refuse(client, "500 Internal Server Error"),
        Flaw::Interstitial if picture && !lower.contains("\r\nngrok-skip-browser-warning:") => {
            let kind = "Content-Type: text/html\r\nConnection: close";
            let answer = format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len());
            return client.write_all(answer.as_bytes());
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(if upgrade { head.clone() } else { closing(&head) }.as_bytes())?;
    upstream.write_all(&body)?;
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
        Flaw::NotebookWithPost if streams => {
            drop(io::copy(&mut upstream.take(CUT), &mut client.try_clone()?))
        }
        _ => copy(upstream, client.try_clone()?),
    }
    let _ = client.shutdown(Shutdown::Both);
    drop(up.join());
    Ok(())
}

fn refuse(mut client: TcpStream, status: &str) -> io::Result<()> {
    // What the client still sends is read, or it would see a reset in place of the answer.
    client.write_all(
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
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
