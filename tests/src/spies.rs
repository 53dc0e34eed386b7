//! Watchers on every way that pictures of a stream leave by: what did each of them get to see?

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::{Connection, send};
use crate::jpeg;
use crate::mark::Rgb;
use crate::ws::Socket;

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A mark with this counter: an unprocessed picture.
    Mark(u32),
    /// Nothing: the failure policy of a private effect.
    Black,
    /// One shade of grey all over: what the tests' private effect makes.
    Grey,
    /// Anything else: the placeholder.
    Other,
}

impl Shows {
    /// Looks at a picture.
    pub fn of(picture: &Rgb) -> Self {
        let all = |from: u8, to: u8| picture.data.iter().all(|value| (from..=to).contains(value));
        match picture.mark() {
            Some(mark) => Self::Mark(mark.counter),
            None if all(0, 8) => Self::Black,
            None if all(100, 156) => Self::Grey,
            None => Self::Other,
        }
    }
}

/// One thing that a spy saw, and by which route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The target of the request.
    pub route: String,
    /// What it showed; `None` for findings that name the secret.
    pub shows: Option<Shows>,
}

/// Threads that read every route of a stream until they are stopped.
#[derive(Debug)]
pub struct Spies {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where live video is watched, and the length of what stands before each picture (`docs/LIVE_PROTOCOL.md`).
const VIEW: &str = "/ws/view";
const HEADER: usize = 20;

/// The label of findings that must not leave.
pub const SECRET: &str = "the secret";

impl Spies {
    /// Begins to watch the stream, which must exist.
    pub fn on(addr: SocketAddr, stream: &str) -> Self {
        let mut spies = Self { stop: Arc::default(), seen: Arc::default(), threads: Vec::new() };
        let (viewing, findings) =
            (format!("/streams/{stream}/stream.mjpg"), format!("/streams/{stream}/annotations"));
        for route in [viewing.clone(), format!("{viewing}?advance_headers=1")] {
            spies.read(addr, route, &[], parts);
        }
        spies.read(addr, findings.clone(), &[("Accept", "text/event-stream")], lines);
        let snapshot = format!("/streams/{stream}/snapshot");
        for route in [
            format!("{snapshot}.jpg"),
            format!("{snapshot}.jpg?width=160"),
            format!("{snapshot}.png"),
            findings,
        ] {
            spies.ask(addr, route);
        }
        spies.view(addr, format!("{VIEW}?stream={stream}"));
        spies
    }

    /// Everything seen so far, in the order in which it was.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether every route of pictures has shown this since the first `from` things. Live video, which never repeats a
    /// picture, is left out: see [`live_saw`](Self::live_saw).
    pub fn all_saw(&self, from: usize, what: impl Fn(Shows) -> bool) -> bool {
        let seen = self.seen();
        let routes = seen[from..].iter().filter(|s| s.shows.is_some_and(&what)).map(|s| s.route.as_str());
        let routes: std::collections::BTreeSet<&str> =
            routes.filter(|route| !route.starts_with(VIEW)).collect();
        // Two streams and three kinds of snapshots.
        routes.len() == 5
    }

    /// Whether live video has shown this.
    pub fn live_saw(&self, what: Shows) -> bool {
        self.seen().iter().any(|s| s.route.starts_with(VIEW) && s.shows == Some(what))
    }

    /// Ends the watch and tells what was seen.
    pub fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Release);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.seen()
    }

    /// Reads a response that does not end.
    fn read(
        &mut self,
        addr: SocketAddr,
        route: String,
        headers: &'static [(&'static str, &'static str)],
        take: fn(&mut Vec<u8>) -> Vec<Option<Shows>>,
    ) {
        let (stop, seen) = (self.stop.clone(), self.seen.clone());
        self.threads.push(std::thread::spawn(move || {
            let mut connection = Connection::open(addr).unwrap();
            let (status, answer) = connection.start("GET", &route, headers, &[]).unwrap();
            assert_eq!(status, 200, "{route}");
            let mut body = connection.into_body(&answer);
            body.socket().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
            while !stop.load(Ordering::Acquire) {
                match body.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                    // The stream may be held up on purpose.
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        continue;
                    }
                    Err(error) => panic!("{route}: {error}"),
                }
                let shown = take(&mut bytes).into_iter();
                seen.lock().unwrap().extend(shown.map(|shows| Seen { route: route.clone(), shows }));
            }
        }));
    }

    /// Watches live video, as JPEG, which every viewer can decode.
    fn view(&mut self, addr: SocketAddr, route: String) {
        let (stop, seen) = (self.stop.clone(), self.seen.clone());
        self.threads.push(std::thread::spawn(move || {
            let mut socket = Socket::open(addr, &route).unwrap();
            socket.send_text(r#"{"type": "hello", "view": {"codecs": ["jpeg"]}}"#);
            while !stop.load(Ordering::Acquire) {
                let Some(message) = socket.binary_within(Duration::from_millis(100)) else { continue };
                let (header, jpeg) = message.split_at(HEADER);
                let shows = Some(Shows::of(&jpeg::decode(jpeg)));
                seen.lock().unwrap().push(Seen { route: route.clone(), shows });
                let sequence = u64::from_be_bytes(header[4..12].try_into().unwrap());
                socket.send_text(&format!(
                    r#"{{"type": "ack", "seq": {sequence}, "age_ms": 1, "shown": true}}"#
                ));
            }
        }));
    }

    /// Asks again and again.
    fn ask(&mut self, addr: SocketAddr, route: String) {
        let (stop, seen) = (self.stop.clone(), self.seen.clone());
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if let Some(shows) = look(addr, &route) {
                    seen.lock().unwrap().push(Seen { route: route.clone(), shows });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }));
    }
}

/// What one request shows now; `None` if there is nothing to see.
pub fn look(addr: SocketAddr, route: &str) -> Option<Option<Shows>> {
    let response = send(addr, "GET", route, &[], &[]);
    match response.header("Content-Type") {
        Some("image/jpeg") => Some(Some(Shows::of(&jpeg::decode(&response.body)))),
        Some("image/png") => Some(Some(Shows::of(&png(&response.body)))),
        _ => String::from_utf8_lossy(&response.body).contains(SECRET).then_some(None),
    }
}

/// Takes the whole parts out of what has been read of a multipart response.
fn parts(bytes: &mut Vec<u8>) -> Vec<Option<Shows>> {
    let mut shown = Vec::new();
    while let Some(end) = find(bytes, b"\r\n--frame") {
        let part: Vec<u8> = bytes.drain(..end + 9).collect();
        if let Some(start) = find(&part, &[0xFF, 0xD8]) {
            shown.push(Some(Shows::of(&jpeg::decode(&part[start..end]))));
        }
    }
    shown
}

/// Takes the whole lines out of what has been read of events.
fn lines(bytes: &mut Vec<u8>) -> Vec<Option<Shows>> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let whole: Vec<u8> = bytes.drain(..end).collect();
    vec![None; String::from_utf8_lossy(&whole).matches(SECRET).count()]
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn png(data: &[u8]) -> Rgb {
    let picture = image::load_from_memory_with_format(data, image::ImageFormat::Png).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Rgb { width, height, data: picture.into_raw() }
}
