//! A hub with the routes over real sockets, and a viewer that reads byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ooblex_core::hub::{Beginning, Hub, HubConfig, Stream, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Encoded, FrameSink, Image, ImageCodec, PassThrough, Picture,
    PictureDecoder, PixelFormat, StreamId, Want,
};
use ooblex_http::{ConnectionLimits, ServeConfig, serve};
use ooblex_mjpeg::encode::jpeg_encoder;
use ooblex_mjpeg::{MjpegConfig, MjpegHub, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything that works takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

struct Factory(MjpegHub);

impl StreamFactory for Factory {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

/// Decodes for real, so that a picture that should not be decoded shows in the counters, not in a failure.
pub(crate) struct Turbo;

impl PictureDecoder for Turbo {
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        let image = turbojpeg::decompress(&encoded.data, turbojpeg::PixelFormat::RGB)?;
        let (width, height) = (image.width as u32, image.height as u32);
        let full = Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, image.pixels)?;
        match want {
            Want::Reduced(factor) => Ok(ooblex_core::convert::reduce(&full, factor, pool)?),
            _ => Ok(full),
        }
    }
}

pub(crate) struct Site {
    pub(crate) hub: Hub,
    pub(crate) mjpeg: MjpegHub,
    pub(crate) limits: ConnectionLimits,
    /// Served by `ooblex_http::serve`, which hands sockets over.
    pub(crate) address: SocketAddr,
    /// Served by axum's own loop, which does not.
    pub(crate) plain: SocketAddr,
}

impl Site {
    pub(crate) async fn start(change: impl FnOnce(&mut MjpegConfig)) -> Self {
        let mut config = MjpegConfig::default();
        change(&mut config);
        let (clock, stalled_after) = (config.clock.clone(), config.placeholder_after);
        let mjpeg = MjpegHub::new(config).expect("starts");
        let mut hub_config = HubConfig::default();
        hub_config.target_fps = 0;
        hub_config.clock = clock;
        hub_config.stalled_after = stalled_after;
        let hub = Hub::new(hub_config, Factory(mjpeg.clone()));
        let routes = router(hub.clone(), mjpeg.clone());
        let (listener, address) = bind().await;
        let serving = ServeConfig::default();
        let limits = serving.limits.clone();
        tokio::spawn(serve(listener, routes.clone(), serving, std::future::pending()));
        let (listener, plain) = bind().await;
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { hub, mjpeg, limits, address, plain }
    }

    pub(crate) fn publish(&self, name: &str) -> Arc<Stream> {
        self.hub.publish(&id(name), "test").expect("a stream")
    }

    pub(crate) async fn viewer(&self, path: &str) -> Viewer {
        Viewer::open(self.address, path).await
    }

    /// One request on a connection of its own: status line, headers, body.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut all = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut all)).await.expect("in time").expect("reads");
        Answer::parse(&all)
    }

    /// Waits until the sink of the stream `cam` has taken this frame.
    pub(crate) async fn taken(&self, sequence: u64) {
        self.until("the frame", || self.mjpeg.newest_sequence(&id("cam")) >= Some(sequence)).await;
    }

    /// Waits until `ready` holds.
    pub(crate) async fn until(&self, what: &str, ready: impl Fn() -> bool) {
        let waiting = async {
            while !ready() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what} did not happen"));
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

pub(crate) fn id(name: &str) -> StreamId {
    StreamId::new(name).expect("a name")
}

/// A JPEG that differs with `seed`.
pub(crate) fn jpeg(seed: u64) -> Bytes {
    let image = ooblex_core::testing::random_image(PixelFormat::I420, 64, 48, ColorSpace::JPEG, 0, seed);
    jpeg_encoder().expect("initialises").encode(&image, 85).expect("encodes")
}

pub(crate) fn encoded(data: Bytes) -> Picture {
    let header = turbojpeg::read_header(&data).expect("a JPEG");
    let (width, height) = (header.width as u32, header.height as u32);
    let encoded = Encoded { codec: ImageCodec::Jpeg, data, width, height };
    Picture::encoded(encoded, Arc::new(Turbo), BufferPool::default())
}

/// A picture that has to be encoded.
pub(crate) fn pixels(seed: u64) -> Picture {
    let image = ooblex_core::testing::random_image(PixelFormat::I420, 64, 48, ColorSpace::BT601, 0, seed);
    Picture::new(image, BufferPool::default())
}

pub(crate) fn push(stream: &Stream, picture: Picture) -> u64 {
    stream
        .push(picture, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1234)), None)
        .expect("taken")
        .sequence()
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(all: &[u8]) -> Self {
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Self { status, head, body: all[end..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
        line.map(str::to_owned)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One part as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) sequence: u64,
    pub(crate) jpeg: Bytes,
}

pub(crate) struct Viewer {
    pub(crate) stream: BufReader<TcpStream>,
    pub(crate) head: String,
}

impl Viewer {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        Self::ask(stream, path).await
    }

    /// Asks on a connection that is open already.
    pub(crate) async fn ask(mut stream: TcpStream, path: &str) -> Self {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("writes");
        let mut viewer = Self { stream: BufReader::new(stream), head: String::new() };
        viewer.head = viewer.line_block().await;
        viewer
    }

    /// Lines up to an empty one.
    pub(crate) async fn line_block(&mut self) -> String {
        self.until(b"\r\n\r\n").await
    }

    async fn until(&mut self, end: &[u8]) -> String {
        let mut all = Vec::new();
        let reading = async {
            while !all.ends_with(end) {
                all.push(self.stream.read_u8().await.expect("more bytes"));
            }
        };
        if tokio::time::timeout(SOON, reading).await.is_err() {
            panic!("only {:?} came", String::from_utf8_lossy(&all));
        }
        String::from_utf8(all).expect("text")
    }

    pub(crate) async fn exactly(&mut self, want: &[u8]) {
        let got = self.take(want.len()).await;
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
    }

    async fn take(&mut self, len: usize) -> Vec<u8> {
        let mut got = vec![0; len];
        tokio::time::timeout(SOON, self.stream.read_exact(&mut got)).await.expect("in time").expect("reads");
        got
    }

    /// The beginning of the body, which comes before any picture.
    pub(crate) async fn preamble(mut self) -> Self {
        self.exactly(b"--frame\r\n").await;
        self
    }

    /// A part with the delimiter behind it, which must be there without a next picture.
    pub(crate) async fn part(&mut self) -> Seen {
        let head = self.line_block().await;
        let number = |name: &str| {
            let line = head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
            line.and_then(|v| v.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {head}"))
        };
        let jpeg = self.take(number("Content-Length") as usize).await.into();
        self.exactly(b"\r\n--frame\r\n").await;
        Seen { sequence: number("X-Ooblex-Sequence"), jpeg, head }
    }

    /// Reads parts until one has this number.
    pub(crate) async fn part_number(&mut self, sequence: u64) -> Seen {
        loop {
            let part = self.part().await;
            if part.sequence == sequence {
                return part;
            }
        }
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let reading = self.stream.read_to_end(&mut all);
        // A reset is an end, too.
        let _ = tokio::time::timeout(SOON, reading).await.expect("closes in time");
        all
    }
}

/// A body without its chunk sizes.
pub(crate) fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").expect("a chunk size");
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
        let size = size.expect("a size");
        out.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
        if size == 0 {
            return out;
        }
    }
}
