//! Uploads over real sockets, and the MJPEG puller against a scripted camera.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::testing::CollectingSink;
use ooblex_core::{BoxError, FrameSink, FrameSource, PassThrough, SourceError, StreamId};
use ooblex_ingest::http::{MjpegSource, router};
use ooblex_ingest::picture::PictureLimits;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

const SOON: Duration = Duration::from_secs(30);
const PLAIN: &[u8] = include_bytes!("data/plain.jpg");
const GPS: &[u8] = include_bytes!("data/gps.jpg");
#[cfg(feature = "turbojpeg")]
const TURNED: &[u8] = include_bytes!("data/orientation_6.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("data/progressive.jpg");
const PNG: &[u8] = include_bytes!("data/upright.png");
const LIMITS: PictureLimits = PictureLimits { max_bytes: 20_000, max_pixels: 10_000 };

#[derive(Clone, Default)]
struct Sinks(Arc<Mutex<BTreeMap<String, CollectingSink>>>);

impl StreamFactory for Sinks {
    fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        let sink = CollectingSink::default();
        self.0.lock().unwrap().insert(stream.id.to_string(), sink.clone());
        vec![Box::new(sink)]
    }
}

struct Server {
    hub: Hub,
    sinks: Sinks,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let mut config = HubConfig::default();
        (config.target_fps, config.max_streams) = (0, 2);
        let sinks = Sinks::default();
        let hub = Hub::new(config, sinks.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(hub.clone(), LIMITS);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { hub, sinks, address }
    }

    fn sink(&self, name: &str) -> CollectingSink {
        self.sinks.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}\r\n{headers}", body.len());
        self.send_raw(method, path, &length, body).await
    }

    async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", path, "", body).await
    }

    /// Writes everything before it reads anything, as simple clients do.
    async fn send_raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let mut answer = Vec::new();
        let exchange = async {
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(body).await.unwrap();
            socket.read_to_end(&mut answer).await.unwrap();
        };
        tokio::time::timeout(SOON, exchange).await.unwrap();
        Answer::parse(&answer)
    }

    async fn socket(&self, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.address);
        Socket(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn ok(&self, stream: &str) -> u64 {
        assert_eq!((self.status, self.body.as_str()), (200, "OK"), "{self:?}");
        assert!(self.head.lines().any(|l| l == format!("x-ooblex-stream: {stream}")));
        self.header("x-ooblex-sequence").parse().unwrap()
    }

    /// Checks the shape of a problem document and returns it.
    fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
        problem
    }
}

struct Socket(tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn send(&mut self, data: &[u8]) {
        self.0.send(Message::Binary(data.to_vec().into())).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        tokio::time::timeout(SOON, self.0.next()).await.unwrap().expect("open").unwrap()
    }

    async fn reply(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> CloseCode {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_routes_take_pictures() {
    let server = Server::start().await;
    let data_url = format!("data:image/png;base64,{}", STANDARD.encode(PNG));
    let plain_text = STANDARD.encode(PLAIN);
    let lines: String = plain_text
        .as_bytes()
        .chunks(76)
        .map(|l| format!("{}\r\n", std::str::from_utf8(l).unwrap()))
        .collect();
    let bodies: [(&str, &[u8]); 7] = [
        ("/upload", PLAIN),
        ("/upload_frame?unknown=1", PNG),
        ("/upload", include_bytes!("data/lossy.webp")),
        ("/frame", data_url.as_bytes()),
        ("/frame", plain_text.as_bytes()),
        ("/frame", lines.as_bytes()),
        ("/upload?stream=default", GPS),
    ];
    for (n, (path, body)) in bodies.into_iter().enumerate() {
        assert_eq!(server.post(path, body).await.ok("default"), n as u64 + 1);
        assert!(server.sink("default").wait_for(n + 1, SOON).await, "{path}");
    }
    let frames = server.sink("default").frames();
    let codecs: Vec<_> = frames.iter().map(|f| f.image.as_encoded().unwrap().codec.to_string()).collect();
    assert_eq!(codecs, ["JPEG", "PNG", "WebP", "PNG", "JPEG", "JPEG", "JPEG"]);
    assert_eq!(frames[0].image.as_encoded().unwrap().data, PLAIN);
    assert_eq!(frames[4].image.as_encoded().unwrap().data, PLAIN);
    let last = &frames[6].image.as_encoded().unwrap().data;
    assert!(!last.windows(4).any(|w| w == b"Exif"));
    assert_eq!(server.hub.get(&StreamId::default()).unwrap().kind(), "upload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_streams_never_mix() {
    let server = Server::start().await;
    for n in 1..=10 {
        for (name, body) in [("a", PLAIN), ("b", PNG)] {
            let sequence = server.post(&format!("/upload?stream={name}"), body).await.ok(name);
            assert_eq!(sequence, n, "{name}");
            assert!(server.sink(name).wait_for(n as usize, SOON).await);
        }
    }
    for (name, body) in [("a", PLAIN), ("b", PNG)] {
        for frame in server.sink(name).frames() {
            assert_eq!(frame.stream.as_str(), name);
            assert_eq!(frame.image.as_encoded().unwrap().data, body);
        }
    }
}

#[cfg(feature = "turbojpeg")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turned_picture_arrives_upright() {
    let server = Server::start().await;
    server.post("/upload", TURNED).await.ok("default");
    let sink = server.sink("default");
    assert!(sink.wait_for(1, SOON).await);
    let frame = &sink.frames()[0];
    assert_eq!((frame.image.width(), frame.image.height()), (96, 64));
    assert!(frame.image.as_encoded().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_as_the_contract_says_and_leave_no_trace() {
    let server = Server::start().await;
    server.post("/upload?stream=other", PLAIN).await.ok("other");
    let big = vec![0xFF; LIMITS.max_bytes + 1];
    let long_name = format!("/upload?stream={}", "x".repeat(65));
    let mut wide = PNG.to_vec();
    wide[18..20].copy_from_slice(&[1, 0]);
    let crc = crc(&wide[12..29]).to_be_bytes();
    wide[29..33].copy_from_slice(&crc);
    let cases: [(&str, &[u8], u16, &str); 12] = [
        ("/upload", b"", 400, "empty_body"),
        ("/frame", b" \n", 400, "empty_body"),
        ("/frame", b"!!!", 400, "bad_base64"),
        ("/frame", b"data:image/jpeg;base64", 400, "bad_base64"),
        ("/upload?stream=a%2Fb", PLAIN, 400, "bad_name"),
        ("/upload?stream=", PLAIN, 400, "bad_name"),
        ("/upload?stream=snapshot", PLAIN, 400, "bad_name"),
        (&long_name, PLAIN, 400, "bad_name"),
        ("/upload?stream=a&stream=b", PLAIN, 400, "bad_query"),
        ("/upload", &big, 413, "body_too_large"),
        ("/upload", &wide, 413, "too_many_pixels"),
        ("/upload", b"GIF89a", 415, "unsupported_type"),
    ];
    for (path, body, status, code) in cases {
        server.post(path, body).await.problem(status, code);
    }
    server.post("/upload", &PLAIN[..2000]).await.problem(422, "truncated");
    server.post("/frame", STANDARD.encode(&PLAIN[..2000]).as_bytes()).await.problem(422, "truncated");
    let problem = server.post("/upload", &big).await.problem(413, "body_too_large");
    assert_eq!(problem["value"], 20_001);
    assert_eq!(problem["limit"], 20_000);
    assert_eq!(problem["detail"], "body is 20001 bytes, limit 20000");
    let answer = server.send("GET", "/upload", "", b"").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "post");
    server.send("GET", "/ws/upload", "", b"").await.problem(400, "not_a_websocket");
    let bad = "X-Ooblex-Captured-Ms: yesterday\r\n";
    server.send("POST", "/upload", bad, PLAIN).await.problem(422, "bad_captured_time");
    // Nothing of all that began a stream or reached the other one.
    assert!(server.hub.get(&StreamId::default()).is_none());
    assert_eq!(server.hub.streams().len(), 1);
    assert!(server.sink("other").wait_for(1, SOON).await);
    assert_eq!(server.sink("other").frames().len(), 1);
}

/// CRC-32, bit by bit.
fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_far_too_much_still_reads_why() {
    let server = Server::start().await;
    let big = vec![0u8; LIMITS.max_bytes * 3];
    server.post("/upload", &big).await.problem(413, "body_too_large");
    // In chunks, so that nobody knows the length before.
    let chunk = [b"1000\r\n".to_vec(), vec![0; 0x1000], b"\r\n".to_vec()].concat();
    let chunked = [chunk.repeat(15), b"0\r\n\r\n".to_vec()].concat();
    let headers = "Transfer-Encoding: chunked\r\n";
    let problem = server.send_raw("POST", "/upload", headers, &chunked).await.problem(413, "body_too_large");
    assert!(problem["value"].as_u64().unwrap() > 20_000);
    // Announced as endless: refused before anything of it is read.
    let headers = "Content-Length: 99999999999\r\nExpect: 100-continue\r\n";
    let problem = server.send_raw("POST", "/upload", headers, b"").await.problem(413, "body_too_large");
    assert_eq!(problem["value"], 99_999_999_999u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_picture_and_its_capture_time_arrive() {
    let server = Server::start().await;
    let mut body = Vec::new();
    for piece in PLAIN.chunks(700) {
        body.extend(format!("{:x}\r\n", piece.len()).bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let headers = "Transfer-Encoding: chunked\r\nX-Ooblex-Captured-Ms: 1700000000123\r\n";
    server.send_raw("POST", "/upload", headers, &body).await.ok("default");
    let sink = server.sink("default");
    assert!(sink.wait_for(1, SOON).await);
    let frame = &sink.frames()[0];
    assert_eq!(frame.image.as_encoded().unwrap().data, PLAIN);
    assert_eq!(frame.captured, UNIX_EPOCH.checked_add(Duration::from_millis(1_700_000_000_123)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_hub_have_their_codes() {
    let server = Server::start().await;
    server.post("/upload?stream=a", PLAIN).await.ok("a");
    let source =
        ooblex_core::testing::ScriptedSource::new([ooblex_core::testing::Step::Wait(Arc::default())]);
    server.hub.attach(&StreamId::new("file").unwrap(), "file", source, false).unwrap();
    server.post("/upload?stream=file", PLAIN).await.problem(409, "name_taken");
    let answer = server.post("/upload?stream=c", PLAIN).await;
    assert_eq!(answer.problem(429, "too_many_streams")["limit"], 2);
    assert_eq!(answer.header("retry-after"), "30");
    // A live stream goes on at the limit.
    assert_eq!(server.post("/upload?stream=a", PLAIN).await.ok("a"), 2);

    let mut socket = server.socket("/ws/upload?stream=c").await;
    socket.send(PLAIN).await;
    assert_eq!(socket.reply().await["code"], "too_many_streams");
    assert_eq!(socket.closed().await, CloseCode::Again);
    let mut socket = server.socket("/ws/upload?stream=file").await;
    socket.send(PLAIN).await;
    assert_eq!(socket.reply().await["code"], "name_taken");
    assert_eq!(socket.closed().await, CloseCode::Policy);

    server.hub.shutdown(SOON).await.unwrap();
    server.post("/upload?stream=a", PLAIN).await.problem(503, "shutting_down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_gets_one_reply_a_picture_and_survives_bad_ones() {
    let server = Server::start().await;
    let mut socket = server.socket("/ws/upload?stream=cam").await;
    for n in 1..=3 {
        socket.send(PLAIN).await;
        assert_eq!(socket.reply().await, serde_json::json!({"type": "ack", "seq": n}));
    }
    socket.send(b"GIF89a").await;
    let reply = socket.reply().await;
    assert_eq!((reply["type"].as_str(), reply["status"].as_u64()), (Some("error"), Some(415)));
    assert_eq!(reply["code"], "unsupported_type");
    socket.send(b"").await;
    assert_eq!(socket.reply().await["code"], "empty_body");
    socket.0.send(Message::Text("hello".into())).await.unwrap();
    assert_eq!(socket.reply().await["code"], "not_a_picture");
    socket.0.send(Message::Ping(vec![1, 2].into())).await.unwrap();
    assert_eq!(socket.next().await, Message::Pong(vec![1, 2].into()));
    socket.send(PNG).await;
    assert_eq!(socket.reply().await["seq"], 4);
    assert!(server.sink("cam").wait_for(1, SOON).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pictures_is_answered_in_full_and_the_newest_wins() {
    let server = Server::start().await;
    let mut socket = server.socket("/ws/upload").await;
    for _ in 0..200 {
        socket.0.feed(Message::Binary(PLAIN.to_vec().into())).await.unwrap();
    }
    socket.send(PNG).await;
    let (mut last, mut acknowledged, mut dropped) = (0, 0, 0);
    for _ in 0..201 {
        let reply = socket.reply().await;
        assert_eq!(reply["type"], "ack");
        match reply["seq"].as_u64() {
            Some(seq) => {
                assert_eq!(seq, last + 1, "numbers rise by one");
                last = seq;
                acknowledged += 1;
            }
            None => {
                assert_eq!(reply["dropped"], true);
                dropped += 1;
            }
        }
    }
    assert_eq!(acknowledged + dropped, 201);
    let newest = async {
        while server.sink("default").frames().last().is_none_or(|f| f.sequence != last) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, newest).await.expect("the newest picture arrives");
    let frames = server.sink("default").frames();
    assert_eq!(frames.last().unwrap().image.as_encoded().unwrap().data, PNG);
    let stats = server.hub.get(&StreamId::default()).unwrap().stats().clone();
    assert_eq!(stats.received.get(), 201, "every picture is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_beyond_the_limit_closes_with_1009() {
    let server = Server::start().await;
    for size in [LIMITS.max_bytes + 1, LIMITS.max_bytes * 2 - 10] {
        let mut socket = server.socket("/ws/upload").await;
        socket.send(&vec![0xFF; size]).await;
        assert_eq!(socket.closed().await, CloseCode::Size);
    }
    let mut socket = server.socket("/ws/upload").await;
    socket.send(PLAIN).await;
    assert_eq!(socket.reply().await["seq"], 1);
}

/// A camera that plays one script a connection and then closes it.
async fn camera(scripts: Vec<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    tokio::spawn(async move {
        for script in scripts {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            let _ = socket.write_all(&script).await;
            let _ = socket.shutdown().await;
            let _ = socket.read_u8().await;
        }
    });
    (address, requests)
}

fn stream(content_type: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n").into_bytes();
    for part in parts {
        out.extend_from_slice(b"--cam\r\nContent-Type: image/jpeg\r\n\r\n");
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--cam\r\n");
    out
}

const MULTIPART: &str = "multipart/x-mixed-replace; boundary=\"--cam\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_is_pulled_and_pulled_again_after_it_went_away() {
    let broken = &PLAIN[..900];
    let (address, requests) =
        camera(vec![stream(MULTIPART, &[PLAIN]), stream(MULTIPART, &[broken]), stream(MULTIPART, &[GPS])])
            .await;
    let url = format!("http://us%65r:p%40ss@{address}/video.cgi?fps=5");
    let mut source = MjpegSource::new(&url, LIMITS).unwrap();
    let frame = source.next_frame().await.unwrap().unwrap();
    assert_eq!(frame.image.as_encoded().unwrap().data, PLAIN);
    let error = source.next_frame().await.unwrap_err();
    assert!(matches!(error, SourceError::Transient(_)), "{error}");
    assert!(!error.to_string().contains("ss"), "no credentials in {error}");
    source.reopen().await.unwrap();
    assert!(
        matches!(source.next_frame().await, Err(SourceError::Frame(_))),
        "one bad picture is one lost frame"
    );
    assert!(matches!(source.next_frame().await, Err(SourceError::Transient(_))));
    let frame = source.next_frame().await.unwrap().unwrap();
    assert!(!frame.image.as_encoded().unwrap().data.windows(4).any(|w| w == b"Exif"));
    let requests = requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /video.cgi?fps=5 HTTP/1.1\r\n"), "{}", requests[0]);
    let basic = format!("authorization: Basic {}", STANDARD.encode("user:p@ss"));
    assert!(requests[0].contains(&basic), "{}", requests[0]);
    assert!(requests[0].contains(&format!("host: {address}\r\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_of_several_waiting_pictures_wins() {
    let many: Vec<&[u8]> = std::iter::repeat_n(PLAIN, 50).chain([PROGRESSIVE]).collect();
    let (address, _) = camera(vec![stream(MULTIPART, &many)]).await;
    let mut source = MjpegSource::new(&format!("http://{address}/"), LIMITS).unwrap();
    let mut shown = 0;
    loop {
        let frame = source.next_frame().await.unwrap().unwrap();
        shown += 1;
        if frame.image.as_encoded().unwrap().data == PROGRESSIVE {
            break;
        }
    }
    assert_eq!(shown + source.skipped(), 51, "every picture was shown or counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_mjpeg_stream_is_refused_with_a_reason() {
    let head = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let cases: [(Vec<u8>, bool, &str); 6] = [
        (head("401 Unauthorized"), true, "user and password"),
        (head("302 Found\r\nLocation: /other"), true, "/other"),
        (head("200 OK\r\nContent-Type: image/jpeg"), true, "image/jpeg"),
        (head("404 Not Found"), false, "404"),
        (head("503 Service Unavailable"), false, "503"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), false, "127.0.0.1"),
    ];
    for (script, fatal, part) in cases {
        let (address, _) = camera(vec![script]).await;
        let mut source = MjpegSource::new(&format!("http://{address}/x"), LIMITS).unwrap();
        let error = source.next_frame().await.unwrap_err();
        assert_eq!(matches!(error, SourceError::Fatal(_)), fatal, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    // Too large a picture ends the connection before it fills the memory.
    let large = vec![0xAA; LIMITS.max_bytes * 3];
    let (address, _) = camera(vec![stream(MULTIPART, &[&large])]).await;
    let mut source = MjpegSource::new(&format!("http://{address}/"), LIMITS).unwrap();
    let error = source.next_frame().await.unwrap_err();
    assert!(error.to_string().contains("limit of 20000"), "{error}");
    // Nobody there.
    let mut source = MjpegSource::new("http://127.0.0.1:1/", LIMITS).unwrap();
    assert!(matches!(source.next_frame().await, Err(SourceError::Transient(_))));
}
