//! A client that encodes a numbered test pattern and decodes what comes back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat};
use ooblex_ingest::decode::{self, VideoCodec, VideoDecoder};
use ooblex_ingest::pattern::{self, Mark};
use ooblex_live::encode::{self, VideoEncoder};
use ooblex_live::protocol::{HEADER_LEN, Header};
use ooblex_live::{Codec, LADDER};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::server::SOON;

pub(crate) const SIZE: (u32, u32) = (320, 240);

pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) enum Came {
    Said(Value),
    Picture(Header, Bytes),
    Closed(u16, String),
}

/// One end of a socket.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What came while something else was waited for.
    said: VecDeque<Value>,
    pictures: VecDeque<(Header, Bytes)>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, target: &str) -> Self {
        Self::try_connect(address, target, Some("ooblex.live.1")).await.unwrap()
    }

    pub(crate) async fn try_connect(
        address: SocketAddr,
        target: &str,
        protocol: Option<&str>,
    ) -> Result<Self, Box<Error>> {
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let connected =
            tokio_tungstenite::connect_async_with_config(request, None, true).await.map_err(Box::new)?;
        if let Some(protocol) = protocol {
            assert_eq!(connected.1.headers()["sec-websocket-protocol"], *protocol);
        }
        Ok(Self { socket: connected.0, said: VecDeque::new(), pictures: VecDeque::new() })
    }

    /// Connects, says hello, and waits for the welcome.
    pub(crate) async fn hello(address: SocketAddr, target: &str, hello: Value) -> (Self, Value) {
        let mut client = Self::connect(address, target).await;
        client.say(hello).await;
        match client.next().await {
            Came::Said(welcome) if welcome["type"] == "welcome" => (client, welcome),
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, value: Value) {
        self.send(Message::Text(value.to_string().into())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    pub(crate) async fn picture(&mut self, header: Header, data: &[u8]) {
        let message = [&header.encode()[..], data].concat();
        self.send(Message::Binary(message.into())).await;
    }

    /// The next thing that comes.
    pub(crate) async fn next(&mut self) -> Came {
        let soon = tokio::time::Instant::now() + SOON;
        loop {
            let message = tokio::time::timeout_at(soon, self.socket.next()).await.expect("something soon");
            match message {
                Some(Ok(Message::Text(text))) => return Came::Said(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(message))) => {
                    let header = Header::decode(&message).unwrap();
                    return Came::Picture(header, message.slice(HEADER_LEN..));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Came::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                other => return Came::Closed(0, format!("{other:?}")),
            }
        }
    }

    /// The next message of a type; what else comes is kept.
    pub(crate) async fn said(&mut self, kind: &str) -> Value {
        if let Some(place) = self.said.iter().position(|value| value["type"] == kind) {
            return self.said.remove(place).unwrap();
        }
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < SOON, "no {kind}");
            match self.next().await {
                Came::Said(value) if value["type"] == kind => return value,
                Came::Said(value) => self.said.push_back(value),
                Came::Picture(header, data) => self.pictures.push_back((header, data)),
                closed @ Came::Closed(..) => panic!("no {kind}: {closed:?}"),
            }
        }
    }

    /// How many messages of a type came while others were waited for; they are forgotten.
    pub(crate) fn heard(&mut self, kind: &str) -> usize {
        let before = self.said.len();
        self.said.retain(|value| value["type"] != kind);
        before - self.said.len()
    }

    /// How many pictures came while something else was waited for.
    pub(crate) fn waiting(&self) -> usize {
        self.pictures.len()
    }

    /// The next picture; what else comes is kept.
    pub(crate) async fn shown(&mut self) -> (Header, Bytes) {
        if let Some(picture) = self.pictures.pop_front() {
            return picture;
        }
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < SOON, "no picture; {:?}", self.said);
            match self.next().await {
                Came::Picture(header, data) => return (header, data),
                Came::Said(value) => self.said.push_back(value),
                closed @ Came::Closed(..) => panic!("no picture: {closed:?}"),
            }
        }
    }

    /// How the socket is closed; everything before is passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let begun = Instant::now();
        loop {
            if let Came::Closed(code, reason) = self.next().await {
                return (code, reason);
            }
            assert!(begun.elapsed() < 2 * SOON, "it is still open");
        }
    }

    pub(crate) async fn ack(&mut self, header: &Header) {
        let age = now_us().saturating_sub(header.captured_us) as f64 / 1e3;
        self.say(json!({"type": "ack", "seq": header.sequence, "age_ms": age, "shown": true})).await;
    }
}

/// Encodes the test pattern, whose pictures have numbers that are read back after decoding.
pub(crate) struct Camera {
    encoder: Box<dyn VideoEncoder>,
    codec: Codec,
    pub(crate) sequence: u64,
    pub(crate) counter: u32,
}

impl Camera {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { encoder: encode::open(codec, LADDER[0]).unwrap(), codec, sequence: 0, counter: 0 }
    }

    /// The next picture.
    pub(crate) fn take(&mut self, key: bool) -> (Header, Bytes) {
        let pool = BufferPool::new(0);
        let (width, height) = SIZE;
        let mut image = Image::alloc(PixelFormat::I420, width, height, ColorSpace::BT601, &pool).unwrap();
        let grey = |plane: usize| if plane == 0 { 90 } else { 128 };
        (0..3).for_each(|plane| image.plane_mut(plane).unwrap().fill(grey(plane)));
        self.counter += 1;
        self.sequence += 1;
        pattern::draw(&mut image, Mark { counter: self.counter, timecode_ms: 0 }).unwrap();
        let at = Duration::from_millis(u64::from(self.counter) * 33);
        let encoded = self.encoder.encode(&image, at, key || self.counter == 1).unwrap().unwrap();
        let captured_us = now_us();
        let header =
            Header { codec: self.codec, is_key: encoded.is_key, sequence: self.sequence, captured_us };
        (header, encoded.data)
    }
}

/// Decodes what comes, and reads the numbers in it.
pub(crate) enum Screen {
    Video(Box<dyn VideoDecoder>),
    Jpeg(ooblex_ingest::picture::PictureLimits),
}

impl Screen {
    pub(crate) fn new(codec: Codec) -> Self {
        let open = |codec| Self::Video(decode::open(codec, BufferPool::new(4)).unwrap());
        match codec {
            Codec::H264 => open(VideoCodec::H264),
            Codec::Vp8 => open(VideoCodec::Vp8),
            Codec::Jpeg => Self::Jpeg(Default::default()),
        }
    }

    /// The number in a picture.
    pub(crate) fn show(&mut self, data: &Bytes) -> u32 {
        let read = |image: &Image| pattern::read(&image.plane(0).unwrap()).expect("a readable mark").counter;
        match self {
            Self::Video(decoder) => {
                let mut decoded = Vec::new();
                decoder.decode(data, 0, &mut decoded).expect("decodes");
                read(&decoded.pop().expect("a picture").image)
            }
            Self::Jpeg(limits) => {
                let pool = BufferPool::new(0);
                let mut picture = ooblex_ingest::picture::accept(data.clone(), limits, &pool).unwrap();
                read(picture.pixels().unwrap())
            }
        }
    }
}
