//! Viewers: the newest pictures, for each as much as it can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ooblex_live::Codec;
use serde_json::{Value, json};

use crate::client::{Came, Camera, Client, Screen};
use crate::server::{SOON, Server};

fn views(codec: Codec) -> Value {
    json!({"type": "hello", "view": {"codecs": [codec.as_str()]}})
}

/// A publisher whose pictures go in one at a time.
struct Source {
    client: Client,
    camera: Camera,
}

impl Source {
    async fn start(server: &Server, stream: &str) -> Self {
        let hello = json!({"type": "hello", "publish": {"codecs": ["vp8"]}});
        let (client, _) = Client::hello(server.address, &format!("/ws/live?stream={stream}"), hello).await;
        Self { client, camera: Camera::new(Codec::Vp8) }
    }

    /// Sends a picture and waits until it is in the stream: then its number.
    async fn send(&mut self) -> u64 {
        let (header, data) = self.camera.take(false);
        self.client.picture(header, &data).await;
        let ack = self.client.said("ack").await;
        ack["frame"].as_u64().unwrap_or_else(|| panic!("{ack}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_a_kind_share_an_encoder_and_none_runs_without_them() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    for _ in 0..3 {
        source.send().await;
    }
    assert_eq!((server.live.encoders(), server.live.counters().encoded.get()), (0, 0));
    let mut viewers = Vec::new();
    for _ in 0..4 {
        viewers.push(Client::hello(server.address, "/ws/view?stream=cam", views(Codec::H264)).await.0);
    }
    for viewer in &mut viewers {
        viewer.said("quality").await_first(&mut source).await;
    }
    assert_eq!((server.live.encoders(), server.sockets.report().viewing), (1, 4));
    drop(viewers);
    server.until_nothing_is_encoded().await;
    assert_eq!(server.sockets.report().publishing, 1);
}

/// Pictures go in until something has come of it.
trait AwaitFirst: Future + Sized {
    async fn await_first(self, source: &mut Source) -> Self::Output {
        let mut this = std::pin::pin!(self);
        loop {
            tokio::select! {
                biased;
                output = &mut this => return output,
                () = tokio::time::sleep(Duration::from_millis(10)) => drop(source.send().await),
            }
        }
    }
}

impl<F: Future> AwaitFirst for F {}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_comes_later_begins_with_a_key_frame_of_the_newest_picture() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    let (mut early, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    let mut before = 0;
    for _ in 0..5 {
        let (header, _) = early.shown().await_first(&mut source).await;
        early.ack(&header).await;
        before = header.sequence;
    }
    let (mut late, welcome) = Client::hello(server.address, "/ws/view", views(Codec::Vp8)).await;
    assert_eq!(welcome["stream"], "cam", "the newest stream");
    let mut screen = Screen::new(Codec::Vp8);
    let (header, data) = late.shown().await_first(&mut source).await;
    assert!(header.is_key && header.sequence > before);
    assert_eq!(u64::from(screen.show(&data)), header.sequence);
    let (next, data) = late.shown().await_first(&mut source).await;
    // On a busy machine the encoder may have left some out, which it counts.
    let left_out = next.sequence - header.sequence - 1;
    assert!(!next.is_key && left_out <= server.live.counters().superseded.get(), "{next:?} after {header:?}");
    assert_eq!(u64::from(screen.show(&data)), next.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_does_not_acknowledge_is_brought_to_live_with_a_key_frame_and_disturbs_nobody() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    let (mut fast, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    let (mut slow, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    let seen = Arc::new(AtomicU32::new(0));
    let watching = tokio::spawn({
        let seen = seen.clone();
        async move {
            let mut screen = Screen::new(Codec::Vp8);
            loop {
                let (header, data) = fast.shown().await;
                fast.ack(&header).await;
                assert_eq!(u64::from(screen.show(&data)), header.sequence);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let first = slow.shown().await_first(&mut source).await.0;
    assert_eq!(server.live.encoders(), 1, "one encoder serves both");
    // Until the server leaves everything out for the slow one.
    while slow.said("stats").await_first(&mut source).await["skipped"]["behind"].as_u64().unwrap() < 5 {}
    // What was on its way is acknowledged now; then it goes on, from a key frame, with the newest picture.
    let before = source.camera.sequence;
    slow.ack(&first).await;
    let (header, data) = loop {
        let (header, data) = slow.shown().await_first(&mut source).await;
        slow.ack(&header).await;
        if header.sequence > before {
            break (header, data);
        }
    };
    assert!(header.is_key, "a gap ends with a key frame");
    assert!(server.sockets.counters().behind.get() > 0);
    assert_eq!(u64::from(Screen::new(Codec::Vp8).show(&data)), header.sequence);
    let begun = Instant::now();
    while seen.load(Ordering::Relaxed) < 20 {
        assert!(begun.elapsed() < SOON && !watching.is_finished(), "{seen:?} pictures of the other");
        source.send().await;
    }
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_viewer_choose_its_quality() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    let mut hello = views(Codec::Vp8);
    hello["view"]["max_kbps"] = json!(800);
    let (mut viewer, _) = Client::hello(server.address, "/ws/view?stream=cam", hello).await;
    let quality = viewer.said("quality").await_first(&mut source).await;
    assert_eq!((&quality["height"], &quality["kbps"]), (&json!(480), &json!(700)));
    viewer.say(json!({"type": "rate", "max_height": 240})).await;
    let quality = viewer.said("quality").await_first(&mut source).await;
    assert_eq!((&quality["height"], &quality["reason"]), (&json!(240), &json!("the viewer's limit")));
    let (header, data) = viewer.shown().await_first(&mut source).await;
    assert!(header.is_key, "another quality begins with a key frame");
    assert_eq!(u64::from(Screen::new(Codec::Vp8).show(&data)), header.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_tell_what_was_sent_and_acknowledged() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    let (mut viewer, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Vp8)).await;
    for _ in 0..5 {
        let (header, _) = viewer.shown().await_first(&mut source).await;
        viewer.ack(&header).await;
    }
    let stats = loop {
        let stats = viewer.said("stats").await;
        if stats["acked"] == 5 {
            break stats;
        }
    };
    // What went in while the fifth was waited for has come by now.
    assert_eq!(
        (&stats["sent"], &stats["skipped"]),
        (&json!(5 + viewer.waiting()), &json!({"behind": 0, "late": 0}))
    );
    assert!(stats["rtt_ms"].as_f64().unwrap() > 0.0 && stats["age_ms"]["p50"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_the_newest_stream_goes_on_to_the_next() {
    let server = Server::start().await;
    let (mut viewer, welcome) = Client::hello(server.address, "/ws/view", views(Codec::Vp8)).await;
    assert_eq!(welcome["stream"], Value::Null, "there is none yet");
    for name in ["one", "two"] {
        let mut source = Source::start(&server, name).await;
        assert_eq!(viewer.said("quality").await_first(&mut source).await["stream"], name);
        let (header, _) = viewer.shown().await_first(&mut source).await;
        assert!(header.is_key);
        source.client.send(tokio_tungstenite::tungstenite::Message::Close(None)).await;
        drop(source);
        viewer.said("end").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_when_the_server_ends() {
    let server = Server::start().await;
    let mut source = Source::start(&server, "cam").await;
    let (mut viewer, _) = Client::hello(server.address, "/ws/view?stream=cam", views(Codec::Jpeg)).await;
    server.sockets.shutdown();
    assert_eq!(source.client.closed().await.0, 1012);
    assert_eq!(viewer.closed().await.0, 1012);
    let Came::Closed(code, _) = Client::connect(server.address, "/ws/view").await.next().await else {
        panic!()
    };
    assert_eq!(code, 1012);
}
