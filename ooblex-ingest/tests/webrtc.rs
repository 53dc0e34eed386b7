//! WebRTC publishers against the endpoint, both in this process, over loopback.
#![cfg(all(feature = "whip", feature = "h264"))]

mod publisher;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory, StreamState};
use ooblex_core::pipeline::Effect;
use ooblex_core::testing::CollectingSink;
use ooblex_core::{BoxError, FrameSink, PassThrough, Stage, StreamId};
use ooblex_ingest::ice::IceServers;
use ooblex_ingest::pattern;
use ooblex_ingest::webrtc::{
    CandidateKind, PublishRequest, Published, PublisherId, SessionState, WebRtc, WebRtcConfig,
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
