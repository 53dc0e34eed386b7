//! Clients that take nothing, acknowledge nothing or send too much lose their connection, and nobody else notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use ooblex_core::{ColorSpace, PixelFormat, testing::random_image};
use ooblex_live::protocol::Header;
use ooblex_live::socket::SocketConfig;
use ooblex_live::{Codec, LADDER, encode};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Camera, Client, now_us};
use crate::server::{SOON, Server};

/// Far longer than a client that is well takes to acknowledge a picture.
const STALLED: Duration = Duration::from_secs(2);
/// Between two pictures, so that no client sends more messages a second than it may.
const PACE: Duration = Duration::from_millis(20);
/// What the client that stops reading lets its system keep for it.
const SMALL_BUFFER: u32 = 4096;

fn views(codec: Codec) -> Value {
    json!({"type": "hello", "view": {"codecs": [codec.as_str()]}})
}

fn publishes(codec: Codec) -> Value {
    json!({"type": "hello", "publish": {"codecs": [codec.as_str()]}})
}

/// A publisher of noise, of which a JPEG is larger than what a socket buffers.
struct Noise {
    client: Client,
    data: Bytes,
    sequence: u64,
}

impl Noise {
    async fn start(server: &Server) -> Self {
        let (client, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Jpeg)).await;
        let image = random_image(PixelFormat::I420, 1280, 720, ColorSpace::JPEG, 0, 1);
        let mut encoder = encode::open(Codec::Jpeg, LADDER[0]).unwrap();
        let data = encoder.encode(&image, Duration::ZERO, true).unwrap().unwrap().data;
        assert!(data.len() > 400_000, "{} bytes", data.len());
        Self { client, data, sequence: 0 }
    }

    /// Sends a picture and waits until it is in the stream: then its number.
    async fn send(&mut self) -> u64 {
        self.sequence += 1;
        let header =
            Header { codec: Codec::Jpeg, is_key: true, sequence: self.sequence, captured_us: now_us() };
        self.client.picture(header, &self.data).await;
        self.client.said("ack").await["frame"].as_u64().unwrap()
    }
}

/// A viewer that says hello and reads nothing of what follows the handshake.
async fn deaf(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let url = format!("ws://{address}/ws/view?stream=cam");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::Text(views(Codec::Jpeg).to_string().into())).await.unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_stops_reading_is_closed_and_little_waits_for_it() {
    let mut config = SocketConfig::default();
    // Nothing but its own buffers holds pictures back.
    (config.stalled_after, config.budget) = (STALLED, Duration::from_secs(60));
    let server = Server::with(config).await;
    let mut source = Noise::start(&server).await;
    let (mut well, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Jpeg)).await;
    let deaf = deaf(server.address).await;
    let begun = Instant::now();
    while server.sockets.report().viewing < 2 {
        assert!(begun.elapsed() < SOON, "the second viewer is not there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut seen = 0;
    while server.sockets.report().viewing == 2 {
        assert!(begun.elapsed() < SOON, "it is still there");
        tokio::time::sleep(PACE).await;
        let frame = source.send().await;
        loop {
            let (header, _) = well.shown().await;
            well.ack(&header).await;
            seen += 1;
            // The newest is sent once more when the encoder begins anew.
            assert!(header.sequence <= frame, "{} of {frame}", header.sequence);
            if header.sequence == frame {
                break;
            }
        }
    }
    // The system buffers up to 4 MB.
    let sent_to_the_deaf = server.sockets.counters().sent.get() - seen;
    assert!(sent_to_the_deaf <= 8, "{sent_to_the_deaf} of {seen} pictures were written for it");
    assert!(server.sockets.counters().behind.get() > 0, "and the others left out");
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_acknowledges_nothing_is_closed() {
    let mut config = SocketConfig::default();
    config.stalled_after = STALLED;
    let server = Server::with(config).await;
    let (mut publisher, _) =
        Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Vp8)).await;
    let mut camera = Camera::new(Codec::Vp8);
    let (mut well, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    let (mut silent, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    let mut closed = tokio::spawn(async move { silent.closed().await });
    let watching = tokio::spawn(async move {
        loop {
            let (header, _) = well.shown().await;
            well.ack(&header).await;
        }
    });
    let begun = Instant::now();
    while !closed.is_finished() {
        assert!(begun.elapsed() < SOON, "it is still there");
        tokio::time::sleep(PACE).await;
        let (header, data) = camera.take(false);
        publisher.picture(header, &data).await;
        publisher.said("ack").await;
    }
    let (code, reason) = (&mut closed).await.unwrap();
    assert_eq!(code, 1002, "{reason}");
    assert!(reason.starts_with("no picture was acknowledged for 2 s"), "{reason}");
    assert!(!watching.is_finished() && server.sockets.report().viewing == 1, "the other viewer stays");
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_does_not_wait_for_acknowledgements_is_closed_at_twice_the_window() {
    let mut config = SocketConfig::default();
    config.window = 1;
    let server = Server::with(config).await;
    let (mut other, _) = Client::hello(server.address, "/ws/live?stream=other", publishes(Codec::Vp8)).await;
    let (mut rude, welcome) =
        Client::hello(server.address, "/ws/live?stream=rude", publishes(Codec::Vp8)).await;
    assert_eq!(welcome["publish"]["window"], 1);
    let mut camera = Camera::new(Codec::Vp8);
    let burst: Vec<_> = (0..500).map(|_| camera.take(false)).collect();
    for (header, data) in &burst {
        rude.picture(*header, data).await;
    }
    let (code, reason) = rude.closed().await;
    assert_eq!(code, 1002, "{reason}");
    assert!(reason.starts_with("too many pictures at once; wait for acks, 1 may be"), "{reason}");
    let (header, data) = Camera::new(Codec::Vp8).take(true);
    other.picture(header, &data).await;
    assert_eq!(other.said("ack").await["frame"], 1, "the other publisher goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_never_reads_is_let_go_before_much_waits_for_it() {
    let mut config = SocketConfig::default();
    config.stalled_after = Duration::from_secs(600);
    let server = Server::with(config).await;
    let (_publisher, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Jpeg)).await;
    let mut deaf = deaf(server.address).await;
    let begun = Instant::now();
    while server.sockets.report().viewing == 0 {
        assert!(begun.elapsed() < SOON, "it is not there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ping = json!({"type": "ping", "t": "x".repeat(60_000)}).to_string();
    // No faster than messages are read. Each is answered with as many bytes.
    while server.sockets.report().viewing > 0 {
        assert!(begun.elapsed() < SOON, "it is still there");
        let _ = deaf.send(Message::Text(ping.clone().into())).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
