//! WebRTC publishers against the endpoint, both in this process, over loopback.
#![cfg(all(feature = "whip", feature = "h264"))]

#[allow(dead_code, reason = "shared by tests for decoders")]
#[path = "decode/clips.rs"]
mod clips;
mod publisher;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory, StreamState};
use ooblex_core::pipeline::Effect;
use ooblex_core::testing::CollectingSink;
use ooblex_core::{BoxError, FrameSink, PassThrough, Stage, StreamId};
use ooblex_http::Problem;
use ooblex_ingest::control::{Chosen, StreamControl};
use ooblex_ingest::ice::IceServers;
use ooblex_ingest::pattern;
use ooblex_ingest::webrtc::{
    CandidateKind, Fragment, IceCredentials, PublishError, PublishRequest, Published, PublisherId,
    SessionError, SessionState, TrickledCandidate, WebRtc, WebRtcConfig, WebRtcSource,
};
use publisher::{Codec, Pattern, Publisher, SOON};

/// Keeps every frame of every stream.
#[derive(Clone, Default)]
struct Sinks(Arc<Mutex<BTreeMap<StreamId, CollectingSink>>>);

impl StreamFactory for Sinks {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        let sink = CollectingSink::default();
        self.0.lock().expect("lock").insert(stream.id.clone(), sink.clone());
        vec![Box::new(sink)]
    }
}

impl Sinks {
    fn of(&self, stream: &str) -> CollectingSink {
        self.0.lock().expect("lock")[&StreamId::new(stream).expect("name")].clone()
    }

    /// The numbers in the pictures of a stream, in order.
    fn counters(&self, stream: &str) -> Vec<u32> {
        let read = |mut frame: ooblex_core::Frame| {
            let image = frame.image.pixels().expect("pixels").clone();
            pattern::read(&image.plane(0).expect("plane")).expect("an undamaged mark").counter
        };
        self.of(stream).frames().into_iter().map(read).collect()
    }
}

fn config() -> WebRtcConfig {
    let mut config = WebRtcConfig::default();
    config.network.loopback = true;
    config.network.bind = vec!["127.0.0.1".parse().expect("address")];
    config
}

fn endpoint(config: WebRtcConfig) -> (WebRtc, Sinks) {
    let sinks = Sinks::default();
    let mut limits = HubConfig::default();
    limits.target_fps = 0;
    let hub = Hub::new(limits, sinks.clone());
    (WebRtc::new(hub, config, IceServers::default()), sinks)
}

fn request(stream: &str, publisher: &str) -> PublishRequest {
    PublishRequest {
        stream: StreamId::new(stream).expect("name"),
        publisher: PublisherId::of_token(publisher),
        address: Some("192.0.2.1".parse().expect("address")),
    }
}

/// Publishes and waits until both sides are connected.
async fn publish(webrtc: &WebRtc, stream: &str, codec: Codec) -> (Publisher, Published) {
    let mut publisher = Publisher::new(codec).await;
    let offer = publisher.offer().await;
    let published = webrtc.publish(&offer, request(stream, "me")).await.expect("published");
    publisher.accept(&published.answer).await;
    publisher.connected().await;
    (publisher, published)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SOON, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn state(webrtc: &WebRtc, stream: &str) -> Option<StreamState> {
    let stream = webrtc.hub().get(&StreamId::new(stream).expect("name"))?;
    Some(stream.state(Instant::now()))
}

/// Sends pictures one at a time, so that none is superseded on its way.
async fn send(publisher: &mut Publisher, pattern: &mut Pattern, sinks: &Sinks, stream: &str, count: usize) {
    for _ in 0..count {
        let have = sinks.0.lock().expect("lock").get(stream).map_or(0, |sink| sink.frames().len());
        publisher.send(&pattern.unit()).await;
        until("the picture", || {
            sinks.0.lock().expect("lock").get(stream).is_some_and(|s| s.frames().len() > have)
        })
        .await;
    }
}

#[tokio::test]
async fn every_picture_arrives_in_order_with_its_times() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, published) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(640, 360);
    send(&mut publisher, &mut pattern, &sinks, "cam", 60).await;
    assert_eq!(sinks.counters("cam"), (1..=60).collect::<Vec<_>>());
    assert_eq!(publisher.asked(), 0, "nothing was lost, so nothing is asked for");

    let frames = sinks.of("cam").frames();
    for pair in frames.windows(2) {
        let pts = |i: usize| pair[i].pts.expect("media time").ticks;
        assert_eq!(pts(1) - pts(0), 3_000, "RTP time is unwrapped");
        assert!(pair[0].received < pair[1].received);
    }
    let stages: Vec<_> = frames[5].trace.marks().iter().map(|mark| mark.0).collect();
    assert_eq!(stages[..2], [Stage::Receive, Stage::Decode]);
    assert_eq!(frames[5].trace.marks()[0].1, frames[5].received);

    until("a report", || webrtc.session(&published.id).is_some_and(|info| info.counters.packets > 0)).await;
    let info = webrtc.session(&published.id).expect("running");
    assert_eq!((info.state, info.counters.frames_decoded), (SessionState::Live, 60));
    assert_eq!(info.codec.expect("known").as_str(), "H264");
    let path = info.path.expect("connected");
    assert_eq!((path.local, path.is_relayed(), path.protocol), (CandidateKind::Host, false, "udp"));
    assert!(webrtc.close(&published.id).await);
    webrtc.shutdown().await;
}

#[tokio::test]
async fn a_deleted_session_ends_its_stream_at_once() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, published) = publish(&webrtc, "cam", Codec::H264).await;
    send(&mut publisher, &mut Pattern::new(320, 240), &sinks, "cam", 3).await;
    let start = Instant::now();
    assert!(webrtc.close(&published.id).await);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(state(&webrtc, "cam"), Some(StreamState::Ended));
    assert!(!webrtc.close(&published.id).await, "it is gone");
    assert!(webrtc.sessions().is_empty());
    publisher.close().await;
}

#[tokio::test]
async fn a_publisher_that_closes_ends_its_stream_at_once() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, _) = publish(&webrtc, "cam", Codec::H264).await;
    send(&mut publisher, &mut Pattern::new(320, 240), &sinks, "cam", 3).await;
    let start = Instant::now();
    publisher.close().await;
    until("the end", || webrtc.sessions().is_empty()).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(state(&webrtc, "cam"), Some(StreamState::Ended));
}

#[tokio::test]
async fn the_same_publisher_takes_over_and_viewers_stay() {
    let mut config = config();
    config.takeover_after = Duration::from_millis(400);
    let (webrtc, sinks) = endpoint(config);
    let (mut old, first) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(320, 240);
    send(&mut old, &mut pattern, &sinks, "cam", 3).await;

    let mut new = Publisher::new(Codec::H264).await;
    let offer = new.offer().await;
    let refused = webrtc.publish(&offer, request("cam", "me")).await.expect_err("it still sends");
    assert!(matches!(refused, PublishError::NameTaken { retry_after: Some(_), .. }), "{refused}");
    tokio::time::sleep(Duration::from_millis(450)).await;
    let refused = webrtc.publish(&offer, request("cam", "a stranger")).await.expect_err("not its own");
    assert_eq!(Problem::from(refused).status(), 409);
    let stream = webrtc.hub().get("cam".parse::<StreamId>().as_ref().expect("name")).expect("live");
    let second = webrtc.publish(&offer, request("cam", "me")).await.expect("taken over");
    new.accept(&second.answer).await;
    new.connected().await;
    pattern.force_keyframe();
    send(&mut new, &mut pattern, &sinks, "cam", 3).await;
    assert_eq!(sinks.counters("cam"), [1, 2, 3, 4, 5, 6], "one stream, no picture lost");
    until("the old session's end", || webrtc.sessions().len() == 1).await;

    // What the old one still says does not concern the new one.
    assert!(!webrtc.close(&first.id).await);
    old.close().await;
    send(&mut new, &mut pattern, &sinks, "cam", 1).await;
    let same = webrtc.hub().get("cam".parse::<StreamId>().as_ref().expect("name")).expect("live");
    assert!(Arc::ptr_eq(&stream, &same));
    assert!(webrtc.close(&second.id).await);
    assert_eq!(state(&webrtc, "cam"), Some(StreamState::Ended));
}

#[tokio::test]
async fn after_a_loss_nothing_broken_is_shown_and_a_key_frame_is_asked_for() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, published) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(640, 360);
    send(&mut publisher, &mut pattern, &sinks, "cam", 5).await;
    publisher.send_lossy(&pattern.unit(), 3_000, None, |packet| packet == 0).await;
    let start = Instant::now();
    // The encoder goes on as if nothing had happened until it is asked.
    while publisher.asked() == 0 {
        assert!(start.elapsed() < SOON, "nobody asked");
        publisher.send(&pattern.unit()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(sinks.counters("cam"), [1, 2, 3, 4, 5], "nothing that refers to the lost one");
    pattern.force_keyframe();
    let key = pattern.counter + 1;
    send(&mut publisher, &mut pattern, &sinks, "cam", 5).await;
    assert_eq!(sinks.counters("cam")[5..], [key, key + 1, key + 2, key + 3, key + 4]);
    until("a report", || webrtc.session(&published.id).is_some_and(|i| i.counters.packets_lost > 0)).await;
    let info = webrtc.session(&published.id).expect("running");
    assert!(info.counters.keyframe_requests >= 1);
    assert_eq!(info.counters.decode_errors, 0, "the decoder never saw it");
    webrtc.shutdown().await;
}

#[tokio::test]
async fn a_first_frame_that_is_no_key_frame_is_answered_by_a_request_at_once() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, _) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(320, 240);
    drop(pattern.unit());
    publisher.send(&pattern.unit()).await;
    let start = Instant::now();
    until("a request", || publisher.asked() > 0).await;
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    pattern.force_keyframe();
    send(&mut publisher, &mut pattern, &sinks, "cam", 2).await;
    assert_eq!(sinks.counters("cam"), [3, 4]);
    webrtc.shutdown().await;
}

#[tokio::test]
async fn size_and_orientation_may_change_while_it_runs() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, _) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(640, 360);
    send(&mut publisher, &mut pattern, &sinks, "cam", 3).await;
    pattern.resize(320, 240);
    send(&mut publisher, &mut pattern, &sinks, "cam", 3).await;
    pattern.resize(640, 480);
    send(&mut publisher, &mut pattern, &sinks, "cam", 3).await;
    assert_eq!(sinks.counters("cam"), (1..=9).collect::<Vec<_>>());
    let sizes = |sinks: &Sinks| -> Vec<_> {
        sinks.of("cam").frames().iter().map(|f| (f.image.width(), f.image.height())).collect()
    };
    assert_eq!([sizes(&sinks)[2], sizes(&sinks)[3], sizes(&sinks)[8]], [(640, 360), (320, 240), (640, 480)]);
    for (turns, size) in [(1u8, (480, 640)), (2, (640, 480)), (0, (640, 480))] {
        let have = sinks.of("cam").frames().len();
        publisher.send_lossy(&pattern.unit(), 3_000, Some(turns), |_| false).await;
        until("the picture", || sinks.of("cam").frames().len() > have).await;
        assert_eq!(*sizes(&sinks).last().expect("one"), size, "{turns} quarter turns");
        if turns == 2 {
            // Upside down, so the mark is where it is not looked for.
            let image = sinks.of("cam").frames().pop().expect("one").image.pixels().expect("pixels").clone();
            assert!(pattern::read(&image.plane(0).expect("plane")).is_none());
        }
    }
    webrtc.shutdown().await;
}

#[tokio::test]
async fn vp8_is_decoded() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, published) = publish(&webrtc, "cam", Codec::Vp8).await;
    let clip = clips::ivf("vp8.ivf");
    for (n, (_, frame)) in clip.iter().enumerate() {
        publisher.send(frame).await;
        until("the picture", || {
            sinks.0.lock().expect("lock").get("cam").is_some_and(|s| s.frames().len() > n)
        })
        .await;
    }
    let checksums: Vec<_> = sinks
        .of("cam")
        .frames()
        .into_iter()
        .map(|mut frame| clips::checksum(frame.image.pixels().expect("pixels")))
        .collect();
    let reference: Vec<_> = clips::reference("vp8.crc").into_iter().map(|(_, sum)| sum).collect();
    assert_eq!(checksums, reference, "every picture to the bit");
    let codec = || webrtc.session(&published.id).and_then(|info| info.codec);
    until("a report", || codec().is_some()).await;
    assert_eq!(codec().expect("known").as_str(), "VP8");
    webrtc.shutdown().await;
}

#[tokio::test]
async fn publishers_without_usable_candidates_connect_by_their_checks() {
    let (webrtc, sinks) = endpoint(config());
    for (stream, hide) in [("none", None), ("mdns", Some("0d9f.local"))] {
        let mut publisher = Publisher::new(Codec::H264).await;
        let offer = publisher.offer().await;
        let lines = offer.lines().filter(|line| hide.is_some() || !line.starts_with("a=candidate"));
        let hidden = |line: &str| match hide {
            Some(name) if line.starts_with("a=candidate") => line.replace("127.0.0.1", name),
            _ => line.to_owned(),
        };
        let offer: String = lines.flat_map(|line| [hidden(line), "\r\n".to_owned()]).collect();
        let published = webrtc.publish(&offer, request(stream, stream)).await.expect("published");
        assert!(published.answer.contains("a=candidate:"), "the server names its own");
        publisher.accept(&published.answer).await;
        publisher.connected().await;
        send(&mut publisher, &mut Pattern::new(320, 240), &sinks, stream, 2).await;
        let path = || webrtc.session(&published.id).and_then(|info| info.path);
        until("a report", || path().is_some()).await;
        assert_eq!(path().expect("known").remote, CandidateKind::PeerReflexive);
        publisher.close().await;
    }
    webrtc.shutdown().await;
}

#[tokio::test]
async fn trickled_candidates_connect_and_tags_are_checked() {
    let (webrtc, sinks) = endpoint(config());
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let candidates: Vec<_> = offer.lines().filter_map(|line| line.strip_prefix("a=")).collect();
    let candidates = candidates.into_iter().filter(|line| line.starts_with("candidate:"));
    let candidates: Vec<_> =
        candidates.map(|line| TrickledCandidate { mid: Some("0".into()), candidate: line.into() }).collect();
    let without = |sdp: &str| -> String {
        sdp.lines().filter(|line| !line.starts_with("a=candidate")).flat_map(|line| [line, "\r\n"]).collect()
    };
    let published = webrtc.publish(&without(&offer), request("cam", "me")).await.expect("published");
    // The publisher knows no address of the server, so only the server's checks can begin.
    publisher.accept(&without(&published.answer)).await;
    let fragment = Fragment { candidates, ..Default::default() };
    let trickle =
        |tag: Option<String>| webrtc.trickle(&published.id, fragment.clone(), tag.as_deref().map(|_| "x"));
    assert_eq!(trickle(None).await, Err(SessionError::TagRequired));
    assert_eq!(trickle(Some(String::new())).await, Err(SessionError::TagMismatch));
    let other = Fragment {
        credentials: Some(IceCredentials { ufrag: "other".into(), pwd: "x".repeat(22) }),
        ..fragment.clone()
    };
    let refused = webrtc.trickle(&published.id, other, Some(&published.etag)).await;
    assert!(matches!(refused, Err(SessionError::Fragment(_))));
    webrtc.trickle(&published.id, fragment.clone(), Some(&published.etag)).await.expect("taken");
    publisher.connected().await;
    send(&mut publisher, &mut Pattern::new(320, 240), &sinks, "cam", 2).await;
    let many = Fragment { candidates: vec![fragment.candidates[0].clone(); 1_000], ..Default::default() };
    let refused = webrtc.trickle(&published.id, many, Some(&published.etag)).await;
    assert!(matches!(refused, Err(SessionError::Fragment(_))), "candidates are limited");
    webrtc.close(&published.id).await;
    assert_eq!(webrtc.trickle(&published.id, fragment, Some("*")).await, Err(SessionError::Unknown));
}

#[tokio::test]
async fn ice_restarts_while_pictures_come() {
    let (webrtc, sinks) = endpoint(config());
    let (mut publisher, published) = publish(&webrtc, "cam", Codec::H264).await;
    let mut pattern = Pattern::new(320, 240);
    send(&mut publisher, &mut pattern, &sinks, "cam", 3).await;
    let stale = Fragment::default();
    assert!(matches!(webrtc.restart(&published.id, stale).await, Err(SessionError::Fragment(_))));

    publisher.connection.restart_ice().await.expect("a restart");
    let offer = publisher.offer().await;
    let find = |name: &str| offer.lines().find_map(|line| line.strip_prefix(name)).expect(name).to_owned();
    let candidates =
        offer.lines().filter_map(|line| line.strip_prefix("a=")).filter(|l| l.starts_with("candidate:"));
    let fragment = Fragment {
        credentials: Some(IceCredentials { ufrag: find("a=ice-ufrag:"), pwd: find("a=ice-pwd:") }),
        candidates: candidates.map(|line| TrickledCandidate { mid: None, candidate: line.into() }).collect(),
        end_of_candidates: true,
    };
    let restarted = webrtc.restart(&published.id, fragment).await.expect("restarted");
    assert_ne!(restarted.etag, published.etag);
    assert!(restarted.media.starts_with("video ") && !restarted.candidates.is_empty());
    let answer: String = published
        .answer
        .lines()
        .filter(|line| !line.starts_with("a=candidate"))
        .map(|line| match line.split_once(':') {
            Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{}\r\n", restarted.credentials.ufrag),
            Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{}\r\n", restarted.credentials.pwd),
            _ => format!("{line}\r\n"),
        })
        .chain(restarted.candidates.iter().map(|candidate| format!("a={candidate}\r\n")))
        .collect();
    publisher.accept(&answer).await;
    publisher.connected().await;
    // What is sent before both sides have chosen a pair is lost, so the picture is sent until it arrives.
    let have = sinks.of("cam").frames().len();
    while sinks.of("cam").frames().len() == have {
        pattern.force_keyframe();
        publisher.send(&pattern.unit()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    send(&mut publisher, &mut pattern, &sinks, "cam", 10).await;
    assert_eq!(sinks.counters("cam").last(), Some(&pattern.counter));
    let refused = webrtc.trickle(&published.id, Fragment::default(), Some(&published.etag)).await;
    assert_eq!(refused, Err(SessionError::TagMismatch), "the old ICE session is gone");
    webrtc.shutdown().await;
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl StreamControl for Recorder {
    async fn check(&self, _chain: &str) -> Result<(), Problem> {
        Ok(())
    }
    async fn set_effect(
        &self,
        stream: &StreamId,
        chain: &str,
        _params: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Chosen, Problem> {
        self.0.lock().expect("lock").push(format!("{stream}: {chain}"));
        Ok(Chosen::default())
    }
    async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem> {
        self.0.lock().expect("lock").push(format!("{stream}: {enabled}"));
        Ok(())
    }
}

#[tokio::test]
async fn the_publisher_chooses_its_effect_over_a_data_channel() {
    use webrtc::data_channel::DataChannelEvent;
    let control = Arc::<Recorder>::default();
    let (webrtc, _) = endpoint(config());
    let webrtc = webrtc.with_control(control.clone());
    let mut publisher = Publisher::new(Codec::H264).await;
    let channel = publisher.data_channel().await;
    let offer = publisher.offer().await;
    let published = webrtc.publish(&offer, request("cam", "me")).await.expect("published");
    publisher.accept(&published.answer).await;
    publisher.connected().await;
    let mut replies = Vec::new();
    let talk = async {
        while let Some(event) = channel.poll().await {
            match event {
                DataChannelEvent::OnOpen => {
                    for text in [
                        r#"{"type":"set_transform","name":"blur|sepia"}"#,
                        r#"{"type":"toggle_transform","enabled":false}"#,
                        "nonsense",
                    ] {
                        channel.send_text(text).await.expect("sent");
                    }
                }
                DataChannelEvent::OnMessage(message) => {
                    replies.push(serde_json::from_slice::<serde_json::Value>(&message.data).expect("JSON"));
                    if replies.len() == 3 {
                        break;
                    }
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, talk).await.expect("in time");
    assert_eq!(replies[0], serde_json::json!({"type": "ack", "command": "set_transform", "status": "ok"}));
    assert_eq!(replies[1]["command"], "toggle_transform");
    assert_eq!((replies[2]["type"].as_str(), replies[2]["status"].as_u64()), (Some("error"), Some(400)));
    assert_eq!(*control.0.lock().expect("lock"), ["cam: blur|sepia", "cam: false"]);
    webrtc.shutdown().await;
}

#[tokio::test]
async fn whoever_never_connects_is_removed_and_leaves_no_stream() {
    let mut config = config();
    config.connect_timeout = Duration::from_millis(300);
    config.max_half_open_per_address = 1;
    let (webrtc, _) = endpoint(config);
    let offer = Publisher::new(Codec::H264).await.offer().await;
    webrtc.publish(&offer, request("a", "me")).await.expect("published");
    assert_eq!(webrtc.sessions()[0].state, SessionState::Connecting);
    let refused = webrtc.publish(&offer, request("b", "me")).await.expect_err("one at a time");
    let problem = Problem::from(refused);
    assert_eq!((problem.status().as_u16(), problem.retry_after_secs().is_some()), (429, true));
    until("the end", || webrtc.sessions().is_empty()).await;
    assert!(webrtc.hub().streams().is_empty(), "a stream begins when its publisher has connected");
    webrtc.publish(&offer, request("b", "me")).await.expect("there is room again");
    webrtc.shutdown().await;
    assert!(webrtc.sessions().is_empty());
    let refused = webrtc.publish(&offer, request("c", "me")).await.expect_err("closed");
    assert_eq!(Problem::from(refused).status(), 503);
}

#[tokio::test]
async fn names_of_other_streams_and_the_hubs_limit_are_kept() {
    let sinks = Sinks::default();
    let mut limits = HubConfig::default();
    limits.max_streams = 2;
    let hub = Hub::new(limits, sinks);
    let webrtc = WebRtc::new(hub.clone(), config(), IceServers::default());
    hub.publish(&"upload".parse().expect("name"), "upload").expect("room");
    let offer = Publisher::new(Codec::H264).await.offer().await;
    let refused = webrtc.publish(&offer, request("upload", "me")).await.expect_err("taken");
    assert_eq!(Problem::from(refused).status(), 409);
    webrtc.publish(&offer, request("a", "me")).await.expect("the second stream");
    let refused = webrtc.publish(&offer, request("b", "me")).await.expect_err("the third");
    assert_eq!(Problem::from(refused).code(), "too_many_streams");
    webrtc.shutdown().await;
}

#[tokio::test]
async fn publishers_with_rsa_certificates_connect() {
    use webrtc::peer_connection::{RTCCertificate, crypto};
    let key = rcgen::KeyPair::from_pem(include_str!("data/rsa.pem")).expect("a key");
    let params = rcgen::CertificateParams::new(vec!["publisher".to_owned()]).expect("a name");
    let chain = vec![params.self_signed(&key).expect("a certificate").der().clone()];
    let expires = std::time::SystemTime::now() + Duration::from_secs(3_600);
    let (provider, scheme) =
        (crypto::default_provider().expect("crypto"), crypto::SignatureScheme::RsaPkcs1Sha256);
    let certificate =
        RTCCertificate::from_pkcs8(provider.crypto(), scheme, chain, &key.serialize_der(), expires)
            .expect("usable");
    let (webrtc, sinks) = endpoint(config());
    // On either side of the DTLS handshake: most publishers leave the choice to us, some insist on beginning.
    for (stream, offered, answered) in [("server", "actpass", "active"), ("client", "active", "passive")] {
        let mut publisher = Publisher::with_certificate(Codec::H264, Some(certificate.clone())).await;
        let offer = publisher.offer().await.replace("a=setup:actpass", &format!("a=setup:{offered}"));
        let published = webrtc.publish(&offer, request(stream, stream)).await.expect("published");
        assert!(published.answer.contains(&format!("a=setup:{answered}\r\n")), "{}", published.answer);
        publisher.accept(&published.answer).await;
        publisher.connected().await;
        send(&mut publisher, &mut Pattern::new(320, 240), &sinks, stream, 2).await;
    }
    webrtc.shutdown().await;
}

#[tokio::test]
async fn a_source_yields_frames_until_its_publisher_goes() {
    use ooblex_core::FrameSource as _;
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let (mut source, answer) = WebRtcSource::answer(&offer, &config(), &[]).await.expect("answered");
    publisher.accept(&answer).await;
    publisher.connected().await;
    let mut pattern = Pattern::new(320, 240);
    for n in 1..=5 {
        publisher.send(&pattern.unit()).await;
        let frame =
            tokio::time::timeout(SOON, source.next_frame()).await.expect("in time").expect("no error");
        let image = frame.expect("a frame").image.pixels().expect("pixels").clone();
        assert_eq!(pattern::read(&image.plane(0).expect("plane")).expect("a mark").counter, n);
    }
    assert_eq!(source.info().state, SessionState::Live);
    publisher.close().await;
    let end = tokio::time::timeout(SOON, source.next_frame()).await.expect("in time").expect("no error");
    assert!(end.is_none());
    assert_eq!(source.info().state, SessionState::Ended);

    let refused = WebRtcSource::answer("nonsense", &config(), &[]).await.err().expect("refused");
    assert_eq!(Problem::from(refused).status(), 400);
}

#[tokio::test]
async fn dropping_a_source_ends_its_connection() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let before = tasks();
    let (source, _) = WebRtcSource::answer(&offer, &config(), &[]).await.expect("answered");
    assert!(tasks() > before);
    drop(source);
    until("the end", || tasks() == before).await;
}
