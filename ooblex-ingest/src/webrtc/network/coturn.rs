//! Two peers and a real TURN server (coturn), over UDP, TCP and TLS. Skipped, visibly, where coturn is missing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::{
    RTCConfigurationBuilder, RTCIceTransportPolicy, setting_engine::SettingEngineBuilder,
};
use rtc::peer_connection::state::RTCIceGatheringState;
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
};

use super::*;
use crate::ice::provider::Coturn;
use crate::ice::{IceTransport, Secret, ServerReport, ServerState, Trust};

const SECRET: &str = "north-by-northwest";

/// A TURN server on loopback; ends with this.
struct Server {
    process: Child,
    port: u16,
    tls_port: u16,
    certificate: String,
    folder: TempDir,
}

impl Server {
    /// A running server, or `None` where there is no coturn.
    fn start() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        fs::write(&cert, &certificate).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let (port, tls_port) = (free_port(), free_port());
        let config = folder.path().join("turnserver.conf");
        let text = format!(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\ntls-listening-port={tls_port}\n\
             min-port=50000\nmax-port=59999\nuse-auth-secret\nstatic-auth-secret={SECRET}\nrealm=test\n\
             allow-loopback-peers\nverbose\nno-cli\nfingerprint\ncert={}\npkey={}\nlog-file=stdout\nuserdb={}\n\
             pidfile={}\nno-multicast-peers\n",
            cert.display(),
            key.display(),
            folder.path().join("db").display(),
            folder.path().join("pid").display(),
        );
        fs::write(&config, text).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let process = Command::new("turnserver")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                #[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
                {
                    eprintln!("SKIPPED: turnserver (coturn) is not installed");
                }
                return None;
            }
            Err(e) => panic!("turnserver: {e}"),
        };
        let server = Self { process, port, tls_port, certificate, folder };
        let end = Instant::now() + Duration::from_secs(10);
        while [port, tls_port].iter().any(|p| std::net::TcpStream::connect(("127.0.0.1", *p)).is_err()) {
            assert!(Instant::now() < end, "coturn does not listen: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn url(&self, transport: IceTransport) -> String {
        match transport {
            IceTransport::Udp => format!("turn:127.0.0.1:{}", self.port),
            IceTransport::Tcp => format!("turn:127.0.0.1:{}?transport=tcp", self.port),
            IceTransport::Tls => format!("turns:127.0.0.1:{}", self.tls_port),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Time-limited credentials; `ago` seconds in the past if they have expired.
    fn credentials(&self, transport: IceTransport, expired: Option<u64>) -> IceServer {
        let coturn = Coturn::new(vec![self.url(transport).parse().expect("url")], Secret::new(SECRET));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        match expired {
            Some(ago) => coturn.mint(now - ago, Duration::ZERO),
            None => coturn.mint(now, Duration::from_secs(600)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that is free for TCP and UDP now.
fn free_port() -> u16 {
    std::iter::repeat_with(|| TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()))
        .filter_map(Result::ok)
        .map(|address| address.port())
        .find(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

#[derive(Default)]
pub(super) struct Handler {
    pub(super) gathered: Notify,
    channel: Option<mpsc::UnboundedSender<Arc<dyn DataChannel>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        if let Some(sender) = &self.channel {
            let _ = sender.send(channel);
        }
    }
}

pub(super) struct Peer {
    pub(super) connection: Arc<dyn PeerConnection>,
    handler: Arc<Handler>,
    pub(super) session: Arc<Session>,
}

pub(super) async fn peer(
    config: NetworkConfig,
    servers: &[IceServer],
    relay_only: bool,
    handler: Handler,
) -> Peer {
    let opened = Network::new(config).open(servers).expect("a network");
    let handler = Arc::new(handler);
    let policy = if relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
    let settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_connection_attempts(Some(Duration::from_millis(20)), Some(200))
        // A publisher of this implementation would wait 2 s for something better than a relay; browsers do not.
        .with_relay_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .build();
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(opened.servers)
        .with_ice_transport_policy(policy)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(MediaEngine::default())
        .with_setting_engine(settings)
        .with_handler(Arc::clone(&handler) as Arc<dyn PeerConnectionEventHandler>)
        .with_runtime(opened.runtime)
        .with_udp_addrs(opened.udp_addrs)
        .build()
        .await
        .expect("a connection");
    Peer { connection: Arc::new(connection), handler, session: opened.session }
}

pub(super) fn loopback() -> NetworkConfig {
    NetworkConfig { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], loopback: true, ..NetworkConfig::default() }
}

/// How long gathering takes.
pub(super) async fn gather(peer: &Peer) -> Duration {
    let start = Instant::now();
    timeout(Duration::from_secs(3), peer.handler.gathered.notified()).await.expect("gathering ends");
    start.elapsed()
}

/// Answers the offer of a second peer on loopback, as a server answers a publisher, and receives bytes and sends some.
/// Times: gathering, from the offer to the open channel.
async fn talk(a: &Peer, mut channels: mpsc::UnboundedReceiver<Arc<dyn DataChannel>>) -> (Duration, Duration) {
    let b = peer(loopback(), &[], false, Handler::default()).await;
    let theirs = b.connection.create_data_channel("test", None).await.expect("a channel");
    let offer = b.connection.create_offer(None).await.expect("an offer");
    b.connection.set_local_description(offer).await.expect("set");
    gather(&b).await;
    let offer = b.connection.local_description().await.expect("an offer");
    let start = Instant::now();
    a.connection.set_remote_description(offer).await.expect("set");
    let answer = a.connection.create_answer(None).await.expect("an answer");
    a.connection.set_local_description(answer).await.expect("set");
    let gathering = gather(a).await;
    let answer = a.connection.local_description().await.expect("an answer");
    b.connection.set_remote_description(answer).await.expect("set");
    let exchange = async {
        let ours = channels.recv().await.expect("our channel");
        while let Some(event) = theirs.poll().await {
            if matches!(event, DataChannelEvent::OnOpen) {
                break;
            }
        }
        let connected = start.elapsed();
        for size in [1, 3, 1000, 60_000] {
            theirs.send(vec![7; size][..].into()).await.expect("sent");
            while let Some(event) = ours.poll().await {
                if let DataChannelEvent::OnMessage(message) = event {
                    assert!(message.data.len() == size && message.data.iter().all(|b| *b == 7));
                    break;
                }
            }
        }
        ours.send(b"back"[..].into()).await.expect("sent");
        loop {
            match theirs.poll().await {
                Some(DataChannelEvent::OnMessage(message)) => break assert_eq!(&message.data[..], b"back"),
                Some(_) => {}
                None => panic!("closed"),
            }
        }
        connected
    };
    let connected = timeout(Duration::from_secs(15), exchange).await.expect("connected");
    let _ = b.connection.close().await;
    (gathering, connected)
}

fn only(reports: &[ServerReport]) -> &ServerReport {
    assert_eq!(reports.len(), 1, "{reports:?}");
    &reports[0]
}

async fn relayed(transport: IceTransport, config: NetworkConfig) {
    let Some(server) = Server::start() else { return };
    let trust = Trust::pem(server.certificate.as_bytes()).expect("trust");
    let config = NetworkConfig { trust, ..config };
    let (sender, channels) = mpsc::unbounded_channel();
    let handler = Handler { channel: Some(sender), ..Handler::default() };
    let a = peer(config, &[server.credentials(transport, None)], true, handler).await;
    let (gathering, connected) = talk(&a, channels).await;
    let reports = a.session.report();
    let report = only(&reports);
    assert_eq!((report.state, report.detail.as_deref()), (ServerState::Working, None), "{}", server.log());
    assert!(report.bytes_received > 61_000 && report.bytes_sent > 1_000 && report.dropped == 0, "{report:?}");
    let relayed = report.address.expect("a relayed address");
    assert_eq!(a.session.relay_transport(relayed), Some(transport));
    // Seconds, on a busy machine; without the extra passes of the driver, several.
    assert!(connected < Duration::from_secs(2), "connecting took {connected:?}");
    #[allow(clippy::print_stderr, reason = "shown for failed tests only")]
    {
        eprintln!("{transport:?}: gathered in {gathering:?}, open after {connected:?}");
    }
    a.connection.close().await.expect("closed");
    // The server frees the address at once, not when it expires.
    let end = Instant::now() + Duration::from_secs(5);
    while !server.log().contains("lifetime=0") {
        assert!(Instant::now() < end, "no farewell: {}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_turn_by_udp() {
    relayed(IceTransport::Udp, loopback()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_turn_by_tcp() {
    relayed(IceTransport::Tcp, loopback()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_turn_by_tls() {
    relayed(IceTransport::Tls, loopback()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_turn_where_no_udp_socket_can_be_bound() {
    // An address of another machine, as on a host without a usable one.
    let bind = vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    relayed(IceTransport::Tcp, NetworkConfig { bind, ..loopback() }).await;
}

/// Gathers only; returns what is told of the server.
pub(super) async fn tried(config: NetworkConfig, servers: &[IceServer]) -> Vec<ServerReport> {
    let a = peer(config, servers, true, Handler::default()).await;
    a.connection.create_data_channel("test", None).await.expect("a channel");
    let offer = a.connection.create_offer(None).await.expect("an offer");
    a.connection.set_local_description(offer).await.expect("set");
    gather(&a).await;
    let reports = a.session.report();
    a.connection.close().await.expect("closed");
    reports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_credentials_are_refused_at_once_and_the_reason_is_told() {
    let Some(server) = Server::start() else { return };
    let trust = Trust::pem(server.certificate.as_bytes()).expect("trust");
    for transport in [IceTransport::Udp, IceTransport::Tcp, IceTransport::Tls] {
        let config = NetworkConfig { trust: trust.clone(), ..loopback() };
        let reports = tried(config, &[server.credentials(transport, Some(90))]).await;
        let detail = only(&reports).detail.clone().unwrap_or_default();
        assert_eq!(only(&reports).state, ServerState::Failed);
        assert!(detail.starts_with("the credentials expired 9") && detail.contains("401"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_or_of_a_stranger_is_refused() {
    let Some(server) = Server::start() else { return };
    let mut misnamed = server.credentials(IceTransport::Tls, None);
    misnamed.urls = vec![format!("turns:localhost:{}", server.tls_port)];
    let trust = Trust::pem(server.certificate.as_bytes()).expect("trust");
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let strange = Trust::pem(stranger.cert.pem().as_bytes()).expect("trust");
    for (trust, ice) in [(trust, misnamed), (strange, server.credentials(IceTransport::Tls, None))] {
        let reports = tried(NetworkConfig { trust, ..loopback() }, &[ice]).await;
        let detail = only(&reports).detail.clone().unwrap_or_default();
        assert!(detail.contains("no TLS") && detail.contains("certificate"), "{detail}");
    }
}
