use super::*;
use crate::image::Image;
use crate::processor::PassThrough;
use crate::testing::{CollectingSink, ScriptedSource, Step};

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Factory {
    sinks: Arc<Mutex<BTreeMap<StreamId, CollectingSink>>>,
    patience: Arc<Mutex<Vec<Patience>>>,
    begun: Arc<Mutex<Vec<String>>>,
}

impl StreamFactory for Factory {
    fn effect(&self, stream: &StreamId) -> Result<Effect, BoxError> {
        if stream.as_str() == "broken" {
            return Err("no such effect".into());
        }
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        let sink = CollectingSink::default();
        lock(&self.patience).push(stream.patience);
        lock(&self.sinks).insert(stream.id.clone(), sink.clone());
        vec![Box::new(sink)]
    }
    fn begun(&self, stream: &Arc<Stream>) {
        lock(&self.begun).push(stream.id().to_string());
        assert!(tokio::runtime::Handle::try_current().is_ok(), "tasks may be started");
    }
}

fn id(name: &str) -> StreamId {
    StreamId::new(name).expect("valid")
}

fn hub(config: HubConfig) -> (Hub, Factory) {
    let factory = Factory::default();
    (Hub::new(config, factory.clone()), factory)
}

fn picture(value: u8) -> Picture {
    let pool = BufferPool::default();
    let mut image = Image::black(4, 4, &pool).expect("valid");
    image.plane_mut(0).expect("plane").fill(value);
    Picture::new(image, pool)
}

#[tokio::test]
async fn two_publishers_never_mix() {
    let (hub, factory) = hub(HubConfig { target_fps: 0, ..HubConfig::default() });
    let (a, b) =
        (hub.publish(&id("a"), "upload").expect("room"), hub.publish(&id("b"), "upload").expect("room"));
    for n in 1..=20 {
        assert_eq!(a.push(picture(1), None, None).expect("open").sequence(), n);
        b.push(picture(2), None, None).expect("open");
        // One at a time, so that nothing is superseded.
        for name in ["a", "b"] {
            let sink = lock(&factory.sinks)[&id(name)].clone();
            assert!(sink.wait_for(n as usize, SOON).await);
        }
    }
    for (name, value) in [("a", 1), ("b", 2)] {
        for mut frame in lock(&factory.sinks)[&id(name)].frames() {
            assert_eq!(frame.stream.as_str(), name);
            assert_eq!(frame.image.pixels().expect("pixels").plane(0).expect("plane").row(0)[0], value);
        }
    }
}

#[tokio::test]
async fn limits_and_names_are_kept() {
    let (hub, factory) = hub(HubConfig { max_streams: 2, ..HubConfig::default() });
    hub.publish(&id("a"), "upload").expect("room");
    hub.publish(&id("b"), "upload").expect("room");
    hub.publish(&id("a"), "upload").expect("already there");
    assert_eq!(*lock(&factory.begun), ["a", "b"], "told once of each");
    assert!(matches!(hub.publish(&id("c"), "upload"), Err(HubError::TooManyStreams { limit: 2 })));
    assert!(matches!(hub.publish(&id("a"), "webrtc"), Err(HubError::NameTaken { kind: "upload", .. })));
    assert!(hub.end(&id("b")));
    assert!(!hub.end(&id("b")), "already ended");
    hub.publish(&id("c"), "upload").expect("room again");
    assert!(hub.end(&id("c")));
    let error = hub.publish(&id("broken"), "upload").err().expect("refused").to_string();
    assert_eq!(error, "stream broken could not begin: no such effect");
    assert!(hub.get(&id("broken")).is_none());
}

#[tokio::test]
async fn silence_stalls_then_ends_then_forgets() {
    let clock = Clock::manual(Instant::now());
    let (hub, factory) = hub(HubConfig { clock: clock.clone(), ..HubConfig::default() });
    let stream = hub.publish(&id("a"), "upload").expect("room");
    stream.push(picture(1), None, None).expect("open");
    assert_eq!(stream.state(clock.now()), StreamState::Live);
    clock.advance(Duration::from_secs(2));
    assert_eq!(stream.state(clock.now()), StreamState::Stalled);
    stream.push(picture(1), None, None).expect("open");
    assert_eq!(stream.state(clock.now()), StreamState::Live);
    clock.advance(Duration::from_secs(30));
    hub.sweep(clock.now());
    assert_eq!(stream.state(clock.now()), StreamState::Ended);
    assert!(stream.push(picture(1), None, None).is_err());
    let sink = lock(&factory.sinks)[&id("a")].clone();
    while !sink.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.streams().len(), 1, "still listed");
    clock.advance(Duration::from_secs(30));
    hub.sweep(clock.now());
    assert!(hub.streams().is_empty());
    // The name is free again, and numbering begins anew.
    let again = hub.publish(&id("a"), "upload").expect("room");
    assert_eq!(again.push(picture(1), None, None).expect("open").sequence(), 1);
}

#[tokio::test]
async fn a_connected_publisher_decides_when_its_stream_ends() {
    let clock = Clock::manual(Instant::now());
    let (hub, factory) = hub(HubConfig { clock: clock.clone(), ..HubConfig::default() });
    let patience = Patience { stalled_after: Duration::from_secs(5), idle_after: None };
    let stream = hub.publish_with(&id("a"), "webrtc", patience).expect("room");
    assert_eq!(*lock(&factory.patience), [patience], "the factory is told");
    stream.push(picture(1), None, None).expect("open");
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(stream.state(clock.now()), StreamState::Live);
    clock.advance(Duration::from_millis(1));
    assert_eq!(stream.state(clock.now()), StreamState::Stalled);
    clock.advance(Duration::from_secs(600));
    hub.sweep(clock.now());
    assert_eq!(stream.state(clock.now()), StreamState::Stalled, "silence alone does not end it");
    assert!(hub.end(&id("a")));
    assert_eq!(stream.state(clock.now()), StreamState::Ended);
}

#[tokio::test]
async fn the_newest_stream_is_found_and_a_demo_counts_last() {
    let (hub, _) = hub(HubConfig::default());
    let newest = || hub.newest().map(|s| s.id().to_string());
    assert_eq!(newest(), None);
    hub.publish(&id("a"), "upload").expect("room");
    let gate = Arc::new(tokio::sync::Notify::new());
    hub.attach(&id("demo"), "file", ScriptedSource::new([Step::Wait(gate.clone())]), true).expect("room");
    assert_eq!(newest().as_deref(), Some("a"));
    hub.publish(&id("b"), "upload").expect("room");
    assert_eq!(newest().as_deref(), Some("b"));
    let mut watch = hub.watch();
    watch.mark_unchanged();
    hub.end(&id("b"));
    watch.changed().await.expect("told");
    hub.end(&id("a"));
    assert_eq!(newest().as_deref(), Some("demo"));
    gate.notify_one();
    let mut state = hub.get(&id("demo")).expect("listed").pipeline().watch_state();
    state.wait_for(PipelineState::is_over).await.expect("ends");
    assert_eq!(newest(), None);
}

#[tokio::test]
async fn a_shutdown_finishes_sinks_and_refuses_newcomers() {
    let (hub, factory) = hub(HubConfig::default());
    hub.publish(&id("a"), "upload").expect("room");
    assert_eq!(hub.shutdown(SOON).await, Ok(()));
    assert!(lock(&factory.sinks)[&id("a")].is_finished());
    assert!(matches!(hub.publish(&id("b"), "upload"), Err(HubError::ShuttingDown)));
    assert_eq!(hub.shutdown(SOON).await, Ok(()), "a second one is harmless");
}
