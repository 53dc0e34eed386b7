use std::time::Duration;

use ooblex_core::hub::{Beginning, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, BufferPool, ColorSpace, FrameSink, Image, PassThrough, Picture, PixelFormat};

use super::*;
use crate::output::LiveConfig;

const PATIENCE: Duration = Duration::from_secs(20);

struct Factory(LiveHub);

impl StreamFactory for Factory {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 1, Box::new(PassThrough))
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

fn hubs() -> (Hub, LiveHub) {
    let live = LiveHub::new(LiveConfig::default());
    (Hub::new(HubConfig::default(), Factory(live.clone())), live)
}

fn id(name: &str) -> StreamId {
    StreamId::new(name).expect("a name")
}

fn push(hub: &Hub, name: &str) {
    let pool = BufferPool::new(0);
    let image = Image::alloc(PixelFormat::I420, 64, 48, ColorSpace::BT601, &pool).expect("a size");
    let stream = hub.publish(&id(name), "test").expect("begins");
    stream.push(Picture::new(image, pool), None, None).expect("taken");
}

/// The next picture while frames come.
async fn next(feed: &mut StreamFeed, hub: &Hub, name: &str) -> FeedPicture {
    let frames = async {
        loop {
            push(hub, name);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let picture = async {
        tokio::select! {
            picture = feed.next() => picture,
            () = frames => None,
        }
    };
    tokio::time::timeout(PATIENCE, picture).await.expect("in time").expect("a picture")
}

fn feed(hub: &Hub, live: &LiveHub, wanted: Option<&str>) -> StreamFeed {
    StreamFeed::new(hub.clone(), live.clone(), wanted.map(id), crate::encode::supported()[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_stream_is_shown_to_its_end_and_encoded_while_somebody_watches() {
    let (hub, live) = hubs();
    push(&hub, "cam");
    let mut feed = feed(&hub, &live, Some("cam"));
    assert_eq!(live.encoders(), 0, "nothing before the first wait");
    assert!(next(&mut feed, &hub, "cam").await.is_key);
    assert_eq!((live.viewers(&id("cam")), feed.quality()), (1, (LADDER[1].max_height, LADDER[1].kbps)));
    hub.end(&id("cam"));
    // What is encoded already still comes.
    while tokio::time::timeout(PATIENCE, feed.next()).await.expect("ends").is_some() {}
    assert_eq!(live.viewers(&id("cam")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_the_newest_is_shown_and_then_the_next() {
    let (hub, live) = hubs();
    let mut feed = feed(&hub, &live, None);
    // Nothing is there yet: it waits, and takes what begins.
    assert!(next(&mut feed, &hub, "a").await.is_key);
    assert_eq!(live.viewers(&id("a")), 1);
    hub.end(&id("a"));
    loop {
        let picture = next(&mut feed, &hub, "b").await;
        if live.viewers(&id("b")) == 1 {
            assert!(picture.is_key, "another stream begins with a key frame");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_quality_takes_over_with_a_key_frame() {
    let (hub, live) = hubs();
    push(&hub, "cam");
    let mut feed = feed(&hub, &live, Some("cam"));
    next(&mut feed, &hub, "cam").await;
    let (mut at, mut feedback) = (Instant::now(), Feedback::default());
    (feedback.sent_kbps, feedback.loss) = (1_200, 0.5);
    while feed.next.is_none() {
        at += Duration::from_millis(500);
        feed.heed(&feedback, at);
    }
    let before = feed.quality();
    loop {
        let picture = next(&mut feed, &hub, "cam").await;
        if feed.quality() != before {
            assert!(picture.is_key && feed.next.is_none());
            assert_eq!(feed.quality(), (LADDER[2].max_height, LADDER[2].kbps));
            break;
        }
    }
    assert_eq!(live.viewers(&id("cam")), 1, "the one before is gone");
}
