//! A server with the routes, and a client that sees bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::testing::CollectingSink;
use ooblex_core::{BoxError, FrameSink, PassThrough, StreamId};
use ooblex_http::{Problem, ServeConfig, serve};
use ooblex_ingest::control::{self, StreamControl};
use ooblex_ingest::ice::provider::ProviderSpec;
use ooblex_ingest::ice::{IceServer, IceServers, Trust};
use ooblex_ingest::webrtc::{WebRtc, WebRtcConfig};
use ooblex_ingest::whip::{self, WhipConfig};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::publisher::SOON;

/// What OBS 30 sends, but for names and numbers: no candidates, audio first, a profile that means nothing.
pub(crate) const OBS: &str = include_str!("obs.sdp");
/// The media type of a fragment.
pub(crate) const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag\r\n";
pub(crate) const SDP: &str = "Content-Type: application/sdp\r\n";

/// Keeps every frame of every stream.
#[derive(Clone, Default)]
pub(crate) struct Sinks(Arc<Mutex<BTreeMap<String, CollectingSink>>>);

impl StreamFactory for Sinks {
    fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        let sink = CollectingSink::default();
        self.0.lock().expect("lock").insert(stream.id.to_string(), sink.clone());
        vec![Box::new(sink)]
    }
}

impl Sinks {
    /// How many frames a stream has had.
    pub(crate) fn frames(&self, stream: &str) -> usize {
        self.0.lock().expect("lock").get(stream).map_or(0, |sink| sink.frames().len())
    }
}

/// Knows a few effects, and remembers what was chosen.
#[derive(Default)]
pub(crate) struct Chosen(pub(crate) Mutex<Vec<(String, String)>>);

#[async_trait]
impl StreamControl for Chosen {
    async fn check(&self, chain: &str) -> Result<(), Problem> {
        let known = ["blur", "sepia", "blur|sepia", "broken", "slow"];
        if known.contains(&chain) {
            return Ok(());
        }
        let problem = Problem::new(404, "unknown_effect", format!("unknown effect {chain:?}"));
        Err(problem.field("effect").value(chain).known(known.map(str::to_owned)))
    }

    async fn set_effect(
        &self,
        stream: &StreamId,
        chain: &str,
        _params: Map<String, Value>,
    ) -> Result<control::Chosen, Problem> {
        match chain {
            "broken" => return Err(Problem::new(503, "effect_unavailable", "no weights")),
            "slow" => tokio::time::sleep(Duration::from_secs(600)).await,
            _ => {}
        }
        self.0.lock().expect("lock").push((stream.to_string(), chain.to_owned()));
        Ok(control::Chosen::default())
    }

    async fn enable(&self, _stream: &StreamId, _enabled: bool) -> Result<(), Problem> {
        Ok(())
    }
}

pub(crate) struct Server {
    pub(crate) webrtc: WebRtc,
    pub(crate) sinks: Sinks,
    pub(crate) chosen: Arc<Chosen>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(WhipConfig::default(), config(), Vec::new(), |router| router).await
    }

    pub(crate) async fn with(
        whip: WhipConfig,
        config: WebRtcConfig,
        ice: Vec<IceServer>,
        mount: impl FnOnce(Router) -> Router,
    ) -> Self {
        let sinks = Sinks::default();
        let mut limits = HubConfig::default();
        limits.target_fps = 0;
        let hub = Hub::new(limits, sinks.clone());
        let chosen = Arc::<Chosen>::default();
        let webrtc = WebRtc::new(hub, config, told(ice)).with_control(chosen.clone());
        let router = mount(whip::router(webrtc.clone(), chosen.clone(), whip));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, router, ServeConfig::default(), std::future::pending()));
        Self { webrtc, sinks, chosen, address }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}\r\n{headers}", body.len());
        self.send_raw(method, path, &length, body).await
    }

    /// Like [`send`](Self::send) without a length of the body.
    pub(crate) async fn send_raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.expect("connected");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let mut answer = Vec::new();
        let exchange = async {
            socket.write_all(head.as_bytes()).await.expect("sent");
            socket.write_all(body).await.expect("sent");
            socket.read_to_end(&mut answer).await.expect("answered");
        };
        tokio::time::timeout(SOON, exchange).await.expect("in time");
        Answer::parse(&answer)
    }

    /// `POST` of an offer.
    pub(crate) async fn offer(&self, path: &str, offer: &str) -> Answer {
        self.send("POST", path, SDP, offer.as_bytes()).await
    }
}

/// Loopback alone, and no waiting for anything.
pub(crate) fn config() -> WebRtcConfig {
    let mut config = WebRtcConfig::default();
    config.network.loopback = true;
    config.network.bind = vec!["127.0.0.1".parse().expect("an address")];
    config
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Every field of a name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The only field of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times", all.len());
        all.first().copied()
    }

    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 201, "{self:?}");
        self.header("location").expect("a Location")
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag").expect("an ETag")
    }

    /// The problem document, after checking that it is one.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let value: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(value["status"], self.status);
        let detail = value["detail"].as_str().expect("a detail");
        assert!(!detail.is_empty() && !detail.ends_with('.'), "{detail}");
        value
    }

    /// Checks that it is a problem with this status and code.
    pub(crate) fn expect(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let problem = self.problem();
        assert_eq!(problem["code"], code, "{self:?}");
        problem
    }
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SOON, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Servers that publishers are told with their credentials, but for those of the user `private`.
fn told(servers: Vec<IceServer>) -> IceServers {
    let spec = |server: IceServer| {
        let public = server.username.as_deref() != Some("private");
        ProviderSpec::Server { server, public }
    };
    IceServers::start(servers.into_iter().map(spec).collect(), Trust::system())
}
