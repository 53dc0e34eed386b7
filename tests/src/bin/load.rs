//! A load generator: pre-encoded 720p pictures in at 30 a second, many viewers out, and what that costs the server.
//!
//! `cargo run --release -p ooblex-tests --bin load -- [--viewers 1,10,100,500] [--seconds 6] [-- SERVER ARGUMENTS]`
//!
//! For each number of viewers it starts a server of its own and prints one line: CPU of the server per delivered
//! frame (upload included; user and system time of all its threads), frames a second of the slowest and of the middle
//! viewer, median and 99th percentile of the gap between two frames of a viewer, the same of the time from the first
//! byte of an upload to the last byte at a viewer, and the server's memory. One thread reads for all viewers. It lets
//! the kernel throw the pictures away unread (`MSG_TRUNC`), because reader and server share the machine.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use ooblex_tests::http::Connection;
use ooblex_tests::jpeg;
use ooblex_tests::mark::{self, Mark};
use ooblex_tests::server::Server;

const FPS: u32 = 30;
/// Size of the uploaded pictures.
const BYTES: usize = 152_000;

fn main() {
    let mut viewers = vec![1, 10, 100, 500];
    let mut seconds = 6;
    let mut rest = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            "--viewers" => {
                viewers = value().split(',').map(|n| n.parse().unwrap_or_else(|_| usage())).collect()
            }
            "--seconds" => seconds = value().parse().unwrap_or_else(|_| usage()),
            "--" => rest.extend(arguments.by_ref()),
            _ => usage(),
        }
    }
    let pictures: Vec<Vec<u8>> = (0..10).map(picture).collect();
    println!("{} kB a picture, {FPS} a second, {seconds} s each", pictures[0].len() / 1000);
    println!("viewers  us/frame  fps min  fps p50  gap p50  gap p99  e2e p50  e2e p99   memory");
    for viewers in viewers {
        measure(viewers, Duration::from_secs(seconds), &pictures, &rest);
    }
}

fn usage() -> ! {
    eprintln!("usage: load [--viewers 1,10,100,500] [--seconds 6] [-- SERVER ARGUMENTS]");
    std::process::exit(2);
}

/// A picture of nearly [`BYTES`] bytes: as much noise as makes a file of that size.
fn picture(counter: u32) -> Vec<u8> {
    let mut picture = mark::draw(Mark { id: 1, counter }, 1280, 720);
    let (mut low, mut high) = (0.0, 1.0);
    let plain = picture.clone();
    let mut best = Vec::new();
    for _ in 0..12 {
        let amount = (low + high) / 2.0;
        picture.data.copy_from_slice(&plain.data);
        let mut state = 12_345u32;
        let start = picture.data.len() / 3;
        for value in &mut picture.data[start..] {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let noise = (f64::from(state >> 24) - 127.5) * amount;
            *value = (f64::from(*value) + noise).clamp(0.0, 255.0) as u8;
        }
        let file = jpeg::encode(&picture, 85);
        if file.len() <= BYTES {
            low = amount;
            best = file;
        } else {
            high = amount;
        }
    }
    best
}

/// What one viewer has got so far.
struct Watcher {
    socket: mio::net::TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the picture that are still to come, its line end and the next delimiter included.
    left: usize,
    sequence: u64,
    arrivals: Vec<(u64, Instant)>,
}

fn measure(viewers: usize, time: Duration, pictures: &[Vec<u8>], arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start(&arguments);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(Mutex::new(HashMap::new()));
    let uploader = upload(&server, pictures, &stop, &sent);
    server.wait_for_stream("load", "the stream", |_| true);

    let mut poll = Poll::new().unwrap();
    let mut watchers: Vec<Watcher> = (0..viewers)
        .map(|number| {
            let mut socket = TcpStream::connect(server.addr).unwrap();
            socket.write_all(b"GET /load.mjpg HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut socket = mio::net::TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE).unwrap();
            Watcher { socket, buffer: Vec::new(), left: 0, sequence: 0, arrivals: Vec::new() }
        })
        .collect();
    let warm_up = Instant::now();
    watch(&mut poll, &mut watchers, warm_up + Duration::from_secs(1));
    watchers.iter_mut().for_each(|watcher| watcher.arrivals.clear());
    let cpu = cpu(server.pid());
    let start = Instant::now();
    watch(&mut poll, &mut watchers, start + time);
    let elapsed = start.elapsed().as_secs_f64();
    let spent = self::cpu(server.pid()) - cpu;
    let memory = server.memory_bytes().unwrap_or(0);
    stop.store(true, Ordering::SeqCst);
    uploader.join().unwrap();

    let sent = sent.lock().unwrap();
    let frames: usize = watchers.iter().map(|watcher| watcher.arrivals.len()).sum();
    let mut rates: Vec<f64> =
        watchers.iter().map(|watcher| watcher.arrivals.len() as f64 / elapsed).collect();
    let mut gaps: Vec<f64> = watchers
        .iter()
        .flat_map(|watcher| {
            watcher.arrivals.windows(2).map(|pair| (pair[1].1 - pair[0].1).as_secs_f64() * 1000.0)
        })
        .collect();
    let mut delays: Vec<f64> = watchers
        .iter()
        .flat_map(|watcher| &watcher.arrivals)
        .filter_map(|(sequence, at)| {
            sent.get(sequence).map(|sent: &Instant| (*at - *sent).as_secs_f64() * 1000.0)
        })
        .collect();
    println!(
        "{viewers:7}  {:8.1}  {:7.1}  {:7.1}  {:7.1}  {:7.1}  {:7.2}  {:7.2}  {:4.0} MB",
        spent.as_secs_f64() * 1e6 / frames.max(1) as f64,
        quantile(&mut rates, 0.0),
        quantile(&mut rates, 0.5),
        quantile(&mut gaps, 0.5),
        quantile(&mut gaps, 0.99),
        quantile(&mut delays, 0.5),
        quantile(&mut delays, 0.99),
        memory as f64 / 1e6,
    );
}

fn upload(
    server: &Server,
    pictures: &[Vec<u8>],
    stop: &Arc<AtomicBool>,
    sent: &Arc<Mutex<HashMap<u64, Instant>>>,
) -> std::thread::JoinHandle<()> {
    let (addr, pictures) = (server.addr, pictures.to_vec());
    let (stop, sent) = (Arc::clone(stop), Arc::clone(sent));
    std::thread::spawn(move || {
        let mut connection = Connection::open(addr).unwrap();
        let start = Instant::now();
        for count in 0.. {
            std::thread::sleep(
                (start + Duration::from_secs(1) * count / FPS).saturating_duration_since(Instant::now()),
            );
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let picture = &pictures[count as usize % pictures.len()];
            let begun = Instant::now();
            let answer = connection.request("POST", "/upload?stream=load", &[], picture).unwrap().expect(200);
            let sequence = answer.header("X-Ooblex-Sequence").unwrap().parse().unwrap();
            sent.lock().unwrap().insert(sequence, begun);
        }
    })
}

/// Reads for all viewers until the given time.
fn watch(poll: &mut Poll, watchers: &mut [Watcher], end: Instant) {
    let mut events = Events::with_capacity(1024);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        poll.poll(&mut events, Some(left)).unwrap();
        for event in &events {
            watchers[event.token().0].drain();
        }
    }
}

impl Watcher {
    /// Reads until the socket has nothing more.
    fn drain(&mut self) {
        let mut scratch = [0; 2048];
        loop {
            let read = if self.left > 0 {
                let mut unread = [0; 1 << 18];
                let wanted = self.left.min(unread.len());
                // The kernel drops the bytes instead of copying them.
                rustix::net::recv(&self.socket, &mut unread[..wanted], rustix::net::RecvFlags::TRUNC)
                    .map(|(_, length)| length)
                    .map_err(std::io::Error::from)
            } else {
                self.socket.read(&mut scratch)
            };
            match read {
                Ok(0) => panic!("the server closed a viewer"),
                Ok(read) if self.left > 0 => {
                    self.left -= read;
                    if self.left == 0 {
                        self.arrivals.push((self.sequence, Instant::now()));
                    }
                }
                Ok(read) => self.head(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes bytes that are not known to belong to a picture.
    fn head(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while let Some(at) = find(&self.buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
            let field = |name: &str| {
                head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
            };
            let Some(length) = field("Content-Length:") else {
                // The head of the response.
                self.buffer.drain(..at + 4);
                continue;
            };
            self.sequence = field("X-Ooblex-Sequence:").unwrap_or(0);
            let rest = self.buffer.len() - (at + 4);
            let whole = length as usize + b"\r\n--frame".len();
            if rest < whole {
                self.left = whole - rest;
                self.buffer.clear();
                return;
            }
            self.arrivals.push((self.sequence, Instant::now()));
            self.buffer.drain(..at + 4 + whole);
        }
    }
}

fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    data.windows(needle.len()).position(|window| window == needle)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// User and system time of all threads of a process, in nanoseconds' resolution.
fn cpu(pid: u32) -> Duration {
    let nanoseconds: u64 = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}
