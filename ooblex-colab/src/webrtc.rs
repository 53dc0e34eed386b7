//! WebRTC publishers and viewers: the endpoint as the settings want it, and what is told about it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use ooblex_core::hub::Hub;
use ooblex_ingest::ice::provider::{ProviderReport, ProviderSpec};
use ooblex_ingest::ice::{IceServer, IceServers, ServerReport, Trust};
use ooblex_ingest::webrtc::{
    CandidatePath, FailedPath, NetworkConfig, PrivateAddresses, ReturnInfo, SessionId, SessionInfo,
    SessionState, ViewerInfo, WebRtc, WebRtcConfig,
};
use ooblex_ingest::whip::{self, WhipConfig};
use ooblex_live::{LiveHub, Whep};
use serde_json::{Value, json};

use crate::config::Config;
use crate::effect::EffectControl;
use crate::publisher::PublisherControl;

/// How long sessions have to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// WebRTC publishers and viewers, if they are wanted. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publishers(Option<Endpoint>);

#[derive(Clone)]
struct Endpoint {
    webrtc: WebRtc,
    router: Router,
}

impl Publishers {
    /// An endpoint that feeds `hub` and shows what `live` encodes; none if the settings say so.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn new(config: &Config, hub: &Hub, effects: &EffectControl, live: &LiveHub) -> Self {
        if !config.webrtc {
            return Self(None);
        }
        let control = Arc::new(PublisherControl { hub: hub.clone(), effects: effects.clone() });
        let ice = IceServers::start(providers(config), Trust::system());
        let webrtc = WebRtc::new(hub.clone(), endpoint_config(config), ice)
            .with_control(control.clone())
            .with_broadcast(Arc::new(Whep::new(hub.clone(), live.clone())));
        let router = whip::router(webrtc.clone(), control, WhipConfig::default());
        Self(Some(Endpoint { webrtc, router }))
    }

    /// The routes of publishers and viewers.
    pub(crate) fn router(&self) -> Option<Router> {
        self.0.as_ref().map(|endpoint| endpoint.router.clone())
    }

    /// Why there are none.
    pub(crate) fn absent(&self) -> Option<&'static str> {
        self.0.is_none().then_some("switched off by the setting webrtc")
    }

    /// Every session.
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        self.0.as_ref().map(|endpoint| endpoint.webrtc.sessions()).unwrap_or_default()
    }

    /// Sessions that are connected.
    pub(crate) fn connected(&self) -> usize {
        let counts = |s: &SessionInfo| !matches!(s.state, SessionState::Connecting | SessionState::Ended);
        self.sessions().iter().filter(|s| counts(s)).count()
    }

    /// What `/status` says beside whether it runs.
    pub(crate) fn status(&self) -> Value {
        let sessions: Vec<Value> = self.sessions().iter().map(describe).collect();
        let ice = self.0.as_ref().map(|endpoint| endpoint.webrtc.ice_servers().report()).unwrap_or_default();
        json!({"sessions": sessions, "ice": ice.iter().map(describe_provider).collect::<Vec<_>>()})
    }

    /// Every viewer's session.
    pub(crate) fn viewers(&self) -> Vec<ViewerInfo> {
        self.0.as_ref().map(|endpoint| endpoint.webrtc.viewers()).unwrap_or_default()
    }

    /// What `/status` says of viewers beside whether they can come.
    pub(crate) fn viewers_status(&self) -> Value {
        json!({"sessions": self.viewers().iter().map(describe_viewer).collect::<Vec<_>>()})
    }

    /// The servers that a page may know: those without credentials, or with ones that end soon.
    pub(crate) fn ice_servers(&self) -> Value {
        let told =
            self.0.as_ref().map(|endpoint| endpoint.webrtc.ice_servers().for_page()).unwrap_or_default();
        json!({"iceServers": told.iter().map(for_browser).collect::<Vec<_>>()})
    }

    /// The session that a response begins.
    pub(crate) fn begun(&self, response: &Response) -> Option<String> {
        response.extensions().get::<SessionId>().map(SessionId::to_string)
    }

    /// Whether a session is there.
    pub(crate) fn lives(&self, id: &str) -> bool {
        let (Some(endpoint), Ok(id)) = (&self.0, id.parse()) else { return false };
        endpoint.webrtc.session(&id).is_some() || endpoint.webrtc.viewer(&id).is_some()
    }

    /// Ends a session; false if there is none.
    pub(crate) async fn end(&self, id: &str) -> bool {
        let (Some(endpoint), Ok(id)) = (&self.0, id.parse()) else { return false };
        endpoint.webrtc.close(&id).await
    }

    /// Ends every session.
    pub(crate) async fn shutdown(&self) {
        if let Some(endpoint) = &self.0
            && tokio::time::timeout(GOODBYE, endpoint.webrtc.shutdown()).await.is_err()
        {
            tracing::warn!("WebRTC sessions did not end in time");
        }
    }
}

fn endpoint_config(config: &Config) -> WebRtcConfig {
    let mut network = NetworkConfig::default();
    network.udp_ports = config.udp_ports.as_ref().map(|range| range.ports());
    network.external.clone_from(&config.external_ip);
    // Media comes by UDP from whoever got an answer, also where requests come through a proxy on this machine.
    let everywhere = config.bind.is_unspecified() || config.bind.to_canonical().is_loopback();
    network.bind = if everywhere { Vec::new() } else { vec![config.bind] };
    network.loopback = true;
    if !config.private_candidates {
        network.private = PrivateAddresses::Refuse;
    }
    let mut endpoint = WebRtcConfig::default();
    endpoint.network = network;
    endpoint.max_sessions = config.max_webrtc_sessions;
    endpoint.max_viewers = config.max_webrtc_viewers;
    endpoint.max_half_open = config.max_webrtc_half_open;
    endpoint.max_half_open_per_address = config.max_webrtc_half_open_per_address;
    endpoint
}

/// Where servers come from. Those of the default are other people's: they are left alone while nobody from outside
/// can be a publisher.
fn providers(config: &Config) -> Vec<ProviderSpec> {
    let is_default = config.ice_server == Config::default().ice_server;
    let left_alone = is_default && !config.reachable_from_outside();
    let servers = config.ice_server.iter().filter(|_| !left_alone).map(|server| server.expose());
    let all = servers.chain(config.turn.iter().map(|provider| provider.expose()));
    // Invariant: the settings were read by the same parser.
    all.filter_map(|text| text.parse().ok()).collect()
}

/// As `RTCPeerConnection` takes it.
fn for_browser(server: &IceServer) -> Value {
    let mut shown = json!({"urls": server.urls});
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        shown["username"] = username.as_str().into();
        shown["credential"] = credential.as_str().into();
    }
    shown
}

fn describe_provider(report: &ProviderReport) -> Value {
    json!({
        "name": report.name,
        "state": report.state.as_str(),
        "servers": report.servers,
        "expires_s": report.expires_in.map(|t| t.as_secs()),
        "error": report.error,
        "for_page": report.for_page,
    })
}

fn describe_server(report: &ServerReport) -> Value {
    json!({
        "url": report.url,
        "state": report.state.as_str(),
        "detail": report.detail,
        "round_trip_ms": report.round_trip.map(|t| tenths(t * 1000)),
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "dropped": report.dropped,
    })
}

/// One session, without what only its publisher may know.
fn describe(info: &SessionInfo) -> Value {
    let counters = &info.counters;
    json!({
        "stream": info.stream.to_string(),
        "state": info.state.as_str(),
        "codec": info.codec.map(|codec| codec.to_string()),
        "age_s": tenths(info.age),
        "silent_s": info.silent.map(tenths),
        "path": info.path.as_ref().map(describe_path),
        "failed": info.failed.iter().map(describe_failed).collect::<Vec<_>>(),
        "servers": info.servers.iter().map(describe_server).collect::<Vec<_>>(),
        "problem": info.problem,
        "held_back": info.held_back.total(),
        "bytes": counters.bytes,
        "packets": counters.packets,
        "packets_lost": counters.packets_lost,
        "packets_dropped": counters.packets_dropped,
        "frames": counters.frames,
        "frames_decoded": counters.frames_decoded,
        "frames_skipped": counters.frames_skipped,
        "decode_errors": counters.decode_errors,
        "keyframe_requests": counters.keyframe_requests,
        "returned": info.returned.as_ref().map(describe_sent),
    })
}

/// What a viewer gets, or a publisher back.
fn describe_sent(info: &ReturnInfo) -> Value {
    let (counters, (max_height, kbps)) = (&info.counters, info.quality);
    json!({
        "codec": info.codec.to_string(),
        "max_height": max_height,
        "kbps": kbps,
        "estimate_kbps": info.estimate_kbps,
        "loss": info.loss,
        "bytes": counters.bytes,
        "packets": counters.packets,
        "packets_asked_again": counters.packets_asked_again,
        "pictures": counters.pictures,
        "key_frames": counters.key_frames,
        "keyframe_requests": counters.key_requests,
    })
}

/// One viewer's session.
fn describe_viewer(info: &ViewerInfo) -> Value {
    let mut all = describe_sent(&info.sent());
    all["stream"] = json!(info.stream.as_ref().map(ToString::to_string));
    all["state"] = json!(info.state.as_str());
    all["age_s"] = json!(tenths(info.age));
    all["path"] = json!(info.path.as_ref().map(describe_path));
    all["failed"] = info.failed.iter().map(describe_failed).collect();
    all["servers"] = info.servers.iter().map(describe_server).collect();
    all["held_back"] = json!(info.held_back.total());
    all
}

fn describe_path(path: &CandidatePath) -> Value {
    json!({
        "local": path.local.as_str(),
        "remote": path.remote.as_str(),
        "protocol": path.protocol,
        "relayed": path.is_relayed(),
        "relay": path.relay,
        "rung": path.rung(),
        "round_trip_ms": path.round_trip.map(|t| tenths(t * 1000)),
    })
}

fn describe_failed(failed: &FailedPath) -> Value {
    json!({
        "local": failed.local.as_str(),
        "remote": failed.remote.as_str(),
        "pairs": failed.pairs,
        "reason": failed.reason,
    })
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(config: &Config) -> Vec<String> {
        providers(config).iter().map(ProviderSpec::name).collect()
    }

    #[test]
    fn public_servers_are_left_alone_while_nobody_from_outside_can_publish() {
        let mut config = Config::default();
        assert_eq!(names(&config), [""; 0]);
        config.bind = "0.0.0.0".parse().expect("an address");
        assert_eq!(names(&config).len(), 3);
        config.bind = "127.0.0.1".parse().expect("an address");
        config.turn = vec!["coturn:t.example,swordfish".parse().expect("a provider")];
        assert_eq!(names(&config), ["coturn t.example"]);
        config.ice_server = vec!["stun:s.example".parse().expect("a server")];
        assert_eq!(names(&config), ["stun:s.example", "coturn t.example"]);
    }

    #[tokio::test]
    async fn pages_get_credentials_that_end_soon_and_no_others() {
        let config = Config {
            ice_server: vec!["stun:s.example".parse().expect("a server")],
            turn: vec![
                "turn:long.example,me,swordfish".parse().expect("a server"),
                "coturn:soon.example,swordfish".parse().expect("a provider"),
            ],
            ..Config::default()
        };
        let ice = IceServers::start(providers(&config), Trust::system());
        let told: Vec<Value> = ice.for_page().iter().map(for_browser).collect();
        let text = Value::from(told.clone()).to_string();
        assert!(!text.contains("long.example") && !text.contains("swordfish"), "{text}");
        assert_eq!(told[0], json!({"urls": ["stun:s.example"]}));
        assert!(told[1]["username"].is_string() && told[1]["credential"].is_string(), "{text}");
        let reports: Vec<Value> = ice.report().iter().map(describe_provider).collect();
        assert_eq!(reports.len(), 3);
        assert!(!Value::from(reports).to_string().contains("swordfish"));
    }

    #[test]
    fn the_settings_reach_the_endpoint() {
        let config = Config {
            bind: "192.0.2.1".parse().expect("an address"),
            udp_ports: Some("50000-50010".parse().expect("ports")),
            external_ip: vec!["198.51.100.1".parse().expect("an address")],
            private_candidates: false,
            max_webrtc_sessions: 5,
            max_webrtc_viewers: 6,
            max_webrtc_half_open: 4,
            max_webrtc_half_open_per_address: 3,
            ..Config::default()
        };
        let endpoint = endpoint_config(&config);
        assert_eq!(
            (
                endpoint.max_sessions,
                endpoint.max_viewers,
                endpoint.max_half_open,
                endpoint.max_half_open_per_address
            ),
            (5, 6, 4, 3)
        );
        assert_eq!(endpoint.network.udp_ports, Some(50_000..=50_010));
        assert_eq!(
            (endpoint.network.external, endpoint.network.bind),
            (config.external_ip, vec![config.bind])
        );
        assert_eq!(endpoint.network.private, PrivateAddresses::Refuse);
        let network = endpoint_config(&Config::default()).network;
        assert!(network.bind.is_empty() && network.private == PrivateAddresses::Allow);
    }
}
