//! Publishers: what they send is the stream, in order; what cannot be used is said so; and they get their stream back.

use std::time::{Duration, Instant};

use ooblex_live::Codec;
use ooblex_live::protocol::Header;
use ooblex_live::socket::SocketConfig;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Came, Camera, Client, Screen, now_us};
use crate::server::Server;

fn publishes(codec: Codec) -> Value {
    json!({"type": "hello", "publish": {"codecs": [codec.as_str()]}})
}

/// Publishes and views, one picture at a time.
async fn there_and_back(up: Codec, down: Codec) {
    let server = Server::start().await;
    let mut hello = publishes(up);
    hello["view"] = json!({"codecs": [down.as_str()]});
    let (mut client, welcome) = Client::hello(server.address, "/ws/live?stream=cam", hello).await;
    assert_eq!(welcome["stream"], "cam");
    assert_eq!(
        (&welcome["publish"]["codec"], &welcome["view"]["codec"]),
        (&json!(up.as_str()), &json!(down.as_str()))
    );
    assert!(welcome["time"].as_u64().unwrap().abs_diff(now_us()) < 60_000_000);
    let (mut camera, mut screen) = (Camera::new(up), Screen::new(down));
    let mut seen: Vec<(u64, u32)> = Vec::new();
    for n in 1..=20 {
        let (header, data) = camera.take(false);
        client.picture(header, &data).await;
        let ack = client.said("ack").await;
        assert_eq!((ack["seq"].as_u64(), ack["frame"].as_u64()), (Some(n), Some(n)), "{ack}");
        let (shown, data) = client.shown().await;
        assert_eq!((shown.codec, shown.sequence), (down, n));
        assert_eq!(shown.is_key, n == 1 || down == Codec::Jpeg);
        assert_eq!(shown.captured_us, header.captured_us, "the capture time comes back");
        client.ack(&shown).await;
        seen.push((shown.sequence, screen.show(&data)));
    }
    assert_eq!(seen, (1..=20).map(|n| (n, n as u32)).collect::<Vec<_>>());
    let quality = client.said("quality").await;
    assert_eq!((&quality["stream"], &quality["reason"]), (&json!("cam"), &json!("start")));
    drop(client);
    server.until_nothing_is_encoded().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_goes_there_and_back_in_order() {
    there_and_back(Codec::H264, Codec::H264).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_goes_there_and_back_in_order() {
    there_and_back(Codec::Vp8, Codec::Vp8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_becomes_every_other() {
    there_and_back(Codec::Jpeg, Codec::H264).await;
    there_and_back(Codec::H264, Codec::Jpeg).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_and_the_server_agree_on_the_first_kind_that_both_have() {
    let server = Server::start().await;
    let hello = json!({"type": "hello", "publish": {"codecs": ["av1", "vp8", "h264"]}, "view": {"codecs": ["vp9", "jpeg"]}});
    let (_, welcome) = Client::hello(server.address, "/ws/live", hello).await;
    assert_eq!((&welcome["publish"]["codec"], &welcome["view"]["codec"]), (&json!("vp8"), &json!("jpeg")));
    assert!(welcome["stream"].as_str().unwrap().starts_with("camera-"), "a name is made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_before_a_key_frame_and_one_is_asked_for() {
    let server = Server::start().await;
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Vp8)).await;
    let mut camera = Camera::new(Codec::Vp8);
    camera.take(true);
    let (header, data) = camera.take(false);
    assert!(!header.is_key);
    client.picture(header, &data).await;
    let ack = client.said("ack").await;
    assert_eq!((ack["seq"].as_u64(), ack["dropped"].as_str()), (Some(2), Some("no_key")));
    client.said("key").await;
    let (header, data) = camera.take(true);
    client.picture(header, &data).await;
    assert_eq!(client.said("ack").await["frame"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_video_is_said_so_and_mended_by_the_key_frame_that_is_asked_for() {
    for codec in [Codec::H264, Codec::Vp8] {
        let server = Server::start().await;
        let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(codec)).await;
        let mut camera = Camera::new(codec);
        let (header, _) = camera.take(true);
        // A key frame by its first bytes, and nothing of what it needs.
        client.picture(header, &[0, 0, 0, 1, 0x65, 0x88, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]).await;
        assert_eq!(client.said("ack").await["dropped"], "undecodable");
        assert_eq!(client.said("error").await["code"], "undecodable");
        client.said("key").await;
        let (header, data) = camera.take(false);
        client.picture(header, &data).await;
        assert_eq!(client.said("ack").await["dropped"], "no_key");
        let (header, data) = camera.take(true);
        client.picture(header, &data).await;
        assert_eq!(client.said("ack").await["frame"], 1, "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_jpeg_leaves_the_next_one_alone() {
    let server = Server::start().await;
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Jpeg)).await;
    let mut camera = Camera::new(Codec::Jpeg);
    let (header, _) = camera.take(true);
    client.picture(header, b"GIF89a").await;
    assert_eq!(client.said("ack").await["dropped"], "undecodable");
    let error = client.said("error").await;
    assert!(error["detail"].as_str().unwrap().contains("begins with 47 49 46 38"), "{error}");
    let (header, data) = camera.take(true);
    client.picture(header, &data).await;
    assert_eq!(client.said("ack").await["frame"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_picture_of_a_burst_is_acknowledged_once_and_in_order_of_use() {
    let config = SocketConfig::default();
    let server = Server::with(config).await;
    let (mut client, welcome) =
        Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Jpeg)).await;
    let window = welcome["publish"]["window"].as_u64().unwrap();
    let mut camera = Camera::new(Codec::Jpeg);
    let mut frames = Vec::new();
    for _ in 0..20 {
        for _ in 0..window {
            let (header, data) = camera.take(true);
            client.picture(header, &data).await;
        }
        let mut seqs = Vec::new();
        for _ in 0..window {
            let ack = client.said("ack").await;
            seqs.push(ack["seq"].as_u64().unwrap());
            match ack["frame"].as_u64() {
                Some(frame) => frames.push(frame),
                None => assert_eq!(ack["dropped"], "superseded"),
            }
        }
        seqs.sort();
        let last = camera.sequence;
        assert_eq!(seqs, (last + 1 - window..=last).collect::<Vec<_>>());
    }
    assert_eq!(frames, (1..=frames.len() as u64).collect::<Vec<_>>(), "used ones are numbered without gaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_chosen_in_the_hello_and_later() {
    let server = Server::start().await;
    let mut hello = publishes(Codec::Vp8);
    (hello["effect"], hello["params"]) = (json!("blur"), json!({"blur": {"size": 9}}));
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", hello).await;
    assert_eq!(*server.chose.0.lock().unwrap(), [r#"cam blur {"blur":{"size":9}}"#]);
    client.say(json!({"type": "effect", "effect": "sepia", "id": "a"})).await;
    let switched = client.said("effect").await;
    assert_eq!(switched, json!({"type": "effect", "effect": "sepia", "generation": 2, "id": "a"}));
    client.say(json!({"type": "effect", "effect": "nonsense", "id": 7})).await;
    let error = client.said("error").await;
    assert_eq!(
        (&error["status"], &error["code"], &error["id"]),
        (&json!(404), &json!("unknown_effect"), &json!(7))
    );
    client.say(json!({"type": "ping", "t": {"a": 1}})).await;
    assert_eq!(client.said("pong").await["t"], json!({"a": 1}), "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_connection_broke_gets_its_stream_back_and_viewers_do_not_notice() {
    let server = Server::start().await;
    let (mut client, welcome) = Client::hello(server.address, "/ws/live", publishes(Codec::Vp8)).await;
    let (name, token) = (welcome["stream"].as_str().unwrap(), &welcome["resume"]);
    let mut camera = Camera::new(Codec::Vp8);
    let view = json!({"type": "hello", "view": {"codecs": ["vp8"]}});
    let (mut viewer, _) = Client::hello(server.address, &format!("/ws/view?stream={name}"), view).await;
    let (header, data) = camera.take(true);
    client.picture(header, &data).await;
    assert_eq!(viewer.shown().await.0.sequence, 1);
    // Somebody else may not have the name.
    let target = format!("/ws/live?stream={name}");
    let mut other = Client::connect(server.address, &target).await;
    other.say(publishes(Codec::Vp8)).await;
    let Came::Said(error) = other.next().await else { panic!("no error") };
    assert_eq!((&error["status"], &error["code"]), (&json!(409), &json!("name_taken")));
    assert_eq!(other.closed().await.0, 1008);
    // The same connection again, before the server has noticed that the first one broke.
    let mut hello = publishes(Codec::Vp8);
    hello["resume"] = token.clone();
    let (mut again, second) = Client::hello(server.address, "/ws/live", hello.clone()).await;
    assert_eq!(second["stream"], name);
    assert_eq!(client.closed().await.0, 1000);
    let mut camera = Camera::new(Codec::Vp8);
    let (header, data) = camera.take(true);
    again.picture(header, &data).await;
    assert_eq!(again.said("ack").await["frame"], 2, "the stream goes on");
    let (header, _) = viewer.shown().await;
    assert_eq!(header.sequence, 2);
    // And after it has noticed.
    drop(again);
    hello["resume"] = second["resume"].clone();
    let (mut third, welcome) = Client::hello(server.address, "/ws/live", hello).await;
    assert_eq!(welcome["stream"], name);
    let (header, data) = Camera::new(Codec::Vp8).take(true);
    third.picture(header, &data).await;
    assert_eq!(third.said("ack").await["frame"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_publisher_and_after_a_while_without_it() {
    for clean in [true, false] {
        let mut config = SocketConfig::default();
        config.grace = if clean { Duration::from_secs(600) } else { Duration::from_millis(50) };
        let server = Server::with(config).await;
        let (mut client, _) =
            Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Vp8)).await;
        let view = json!({"type": "hello", "view": {"codecs": ["vp8"]}});
        let (mut viewer, _) = Client::hello(server.address, "/ws/view?stream=cam", view).await;
        let (header, data) = Camera::new(Codec::Vp8).take(true);
        client.picture(header, &data).await;
        viewer.shown().await;
        if clean {
            client.send(Message::Close(None)).await;
        }
        drop(client);
        assert!(viewer.said("end").await["reason"].as_str().unwrap().contains("cam"));
        assert_eq!(viewer.closed().await.0, 1000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_a_publisher_that_closes_because_something_broke() {
    let server = Server::start().await;
    let (mut client, welcome) = Client::hello(server.address, "/ws/live", publishes(Codec::Vp8)).await;
    let (header, data) = Camera::new(Codec::Vp8).take(true);
    client.picture(header, &data).await;
    assert_eq!(client.said("ack").await["frame"], 1);
    let frame = CloseFrame { code: CloseCode::Library(4000), reason: "the camera was unplugged".into() };
    client.send(Message::Close(Some(frame))).await;
    client.closed().await;
    let mut hello = publishes(Codec::Vp8);
    hello["resume"] = welcome["resume"].clone();
    let (mut again, _) = Client::hello(server.address, "/ws/live", hello).await;
    again.picture(header, &data).await;
    assert_eq!(again.said("ack").await["frame"], 2, "the stream goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_frames_are_asked_for_until_one_comes_but_not_all_the_time() {
    let server = Server::start().await;
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", publishes(Codec::Vp8)).await;
    let mut camera = Camera::new(Codec::Vp8);
    camera.take(true);
    let begun = Instant::now();
    for _ in 0..50 {
        let (header, data) = camera.take(false);
        client.picture(header, &data).await;
        assert_eq!(client.said("ack").await["dropped"], "no_key");
    }
    client.say(json!({"type": "ping"})).await;
    client.said("pong").await;
    let asked = client.heard("key");
    let most = 1 + begun.elapsed().as_millis() / 500;
    assert!((1..=most).contains(&(asked as u128)), "{asked} times in {:?}", begun.elapsed());
    // Without another picture, too.
    client.said("key").await;
    client.said("key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_times_that_cannot_be_are_not_believed() {
    let server = Server::start().await;
    let mut hello = publishes(Codec::Jpeg);
    hello["view"] = json!({"codecs": ["jpeg"]});
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=cam", hello).await;
    let mut camera = Camera::new(Codec::Jpeg);
    for captured_us in [0, u64::MAX, now_us() + 3_600_000_000] {
        let (header, data) = camera.take(true);
        client.picture(Header { captured_us, ..header }, &data).await;
        let (shown, _) = client.shown().await;
        client.ack(&shown).await;
        let age = now_us().checked_sub(shown.captured_us).expect("not in the future");
        assert!(age < 30_000_000, "{age} us");
    }
}
