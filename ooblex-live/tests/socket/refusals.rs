//! What the protocol does not have closes the socket with its code and a reason, and disturbs nobody else.

use std::time::Duration;

use ooblex_live::Codec;
use ooblex_live::protocol::Header;
use ooblex_live::socket::SocketConfig;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Camera, Client};
use crate::server::Server;

fn both() -> Value {
    json!({"type": "hello", "publish": {"codecs": ["vp8"]}, "view": {"codecs": ["vp8"]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_violation_has_its_code() {
    let mut config = SocketConfig::default();
    config.pictures.max_bytes = 100_000;
    let server = Server::with(config).await;
    let text = |value: Value| Message::Text(value.to_string().into());
    let binary = |bytes: &[u8]| Message::Binary(bytes.to_vec().into());
    let picture = |at: usize, value: u8| {
        let header = Header { codec: Codec::Vp8, is_key: true, sequence: 1, captured_us: 0 };
        let mut message = [&header.encode()[..], &[0; 10]].concat();
        message[at] = value;
        Message::Binary(message.into())
    };
    let view = || json!({"type": "hello", "view": {"codecs": ["vp8"]}});
    let publish = || json!({"type": "hello", "publish": {"codecs": ["vp8"]}});
    let named = "/ws/live?stream=cam";
    let before = [
        (named, binary(&[0; 30]), 1002, "before hello"),
        (named, text(json!({"type": "key"})), 1002, "before hello"),
        (named, text(json!({"type": "hello"})), 1002, "publishes, or views"),
        (named, text(json!({"type": "reboot"})), 1007, "reboot"),
        (named, text(json!([])), 1007, "not a message"),
        (named, text(json!({"type": "hello", "publish": {"codecs": ["av1"]}})), 1003, "vp8"),
        (named, text(json!({"type": "hello", "view": {"codecs": []}})), 1003, "h264"),
        (
            named,
            text(json!({"type": "hello", "publish": {"codecs": ["vp8"]}, "effect": "nonsense"})),
            1000,
            "nonsense",
        ),
        ("/ws/view", text(publish()), 1008, "/ws/live"),
        ("/ws/view?stream=nobody", text(view()), 1000, "nobody"),
        (named, binary(&[0; 300_000]), 1009, "too large"),
    ];
    for (target, message, code, why) in before {
        let mut client = Client::connect(server.address, target).await;
        client.send(message.clone()).await;
        let (got, reason) = client.closed().await;
        assert_eq!(got, code, "{message:?}: {reason}");
        assert!(reason.contains(why), "{message:?}: {reason}");
    }
    let after = [
        (both(), text(both()), 1002, "second time"),
        (both(), binary(&[]), 1002, "20 bytes"),
        (both(), picture(0, 2), 1002, "version 1"),
        (both(), picture(1, 9), 1002, "byte 1"),
        (both(), picture(2, 4), 1002, "byte 2"),
        (both(), picture(3, 1), 1002, "byte 3"),
        (both(), picture(1, 1), 1003, "h264 was sent"),
        (view(), picture(0, 1), 1003, "nothing of publishing"),
        (publish(), text(json!({"type": "ack", "seq": 1})), 1002, "nothing of viewing"),
        (publish(), text(json!({"type": "rate"})), 1002, "nothing of viewing"),
        (both(), text(json!({"type": "ack", "seq": 99})), 1002, "never sent"),
        (both(), Message::Text("{".into()), 1007, "not a message"),
        (both(), text(json!({"type": "ping", "t": "x".repeat(70_000)})), 1007, "65536"),
        (both(), binary(&[1; 200_000]), 1009, "too large"),
    ];
    for (number, (hello, message, code, why)) in after.into_iter().enumerate() {
        // A viewer needs a stream.
        let publisher = json!({"type": "hello", "publish": {"codecs": ["vp8"]}});
        let (_held, _) =
            Client::hello(server.address, &format!("/ws/live?stream=held{number}"), publisher).await;
        let target = match hello.get("publish") {
            Some(_) => format!("/ws/live?stream=cam{number}"),
            None => format!("/ws/view?stream=held{number}"),
        };
        let (mut client, _) = Client::hello(server.address, &target, hello).await;
        client.send(message).await;
        let (got, reason) = client.closed().await;
        assert_eq!(got, code, "{number}: {reason}");
        assert!(reason.contains(why) && reason.len() <= 123, "{number}: {reason}");
    }
    server.until_nothing_is_encoded().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_missing_in_one_direction_only() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/unseen/ws/live?stream=cam").await;
    client.say(both()).await;
    assert_eq!(client.said("error").await["code"], "right_missing");
    assert_eq!(client.closed().await.0, 1008);
    let publish = json!({"type": "hello", "publish": {"codecs": ["vp8"]}});
    Client::hello(server.address, "/unseen/ws/live?stream=cam", publish).await;
    let view = json!({"type": "hello", "view": {"codecs": ["vp8"]}});
    let (mut viewer, _) = Client::hello(server.address, "/ws/view?stream=cam", view).await;
    viewer.say(json!({"type": "effect", "effect": "blur", "id": 5})).await;
    let error = viewer.said("error").await;
    assert_eq!((&error["status"], &error["id"]), (&json!(403), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_rise_by_one_and_no_more_are_on_their_way_than_agreed() {
    let server = Server::start().await;
    let hello = || json!({"type": "hello", "publish": {"codecs": ["vp8"]}});
    let (mut client, _) = Client::hello(server.address, "/ws/live?stream=a", hello()).await;
    let mut camera = Camera::new(Codec::Vp8);
    let (header, data) = camera.take(true);
    client.picture(header, &data).await;
    client.picture(Header { sequence: header.sequence + 2, ..header }, &data).await;
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), (1002, "picture 3 follows 1; numbers rise by 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_may_have_so_many_bytes_and_no_more() {
    // Less than a text may have, so that the message as a whole is not too large.
    let mut config = SocketConfig::default();
    config.pictures.max_bytes = 1000;
    let server = Server::with(config).await;
    let hello = json!({"type": "hello", "publish": {"codecs": ["jpeg"]}});
    let (mut client, welcome) = Client::hello(server.address, "/ws/live?stream=a", hello).await;
    assert_eq!(welcome["publish"]["max_bytes"], 1000);
    let header = Header { codec: Codec::Jpeg, is_key: true, sequence: 1, captured_us: 0 };
    client.picture(header, &[0; 1000]).await;
    assert_eq!(client.said("ack").await["dropped"], "undecodable");
    client.picture(Header { sequence: 2, ..header }, &[0; 1001]).await;
    assert_eq!(client.closed().await, (1009, "a picture may have 1000 bytes".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_connections_are_limited() {
    let mut config = SocketConfig::default();
    (config.max_sessions, config.max_sessions_per_caller) = (3, 2);
    let server = Server::with(config).await;
    let (mut first, _) = Client::hello(server.address, "/ws/live?stream=a", both()).await;
    let (_second, _) = Client::hello(server.address, "/ws/live?stream=b", both()).await;
    let (code, reason) = Client::connect(server.address, "/ws/live?stream=c").await.closed().await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("2 live connections are open"), "{reason}");
    for _ in 0..2_000 {
        first.say(json!({"type": "ping"})).await;
    }
    let (code, reason) = first.closed().await;
    assert_eq!(code, 1013, "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let mut config = SocketConfig::default();
    config.hello_within = Duration::from_millis(50);
    let server = Server::with(config).await;
    let (code, reason) = Client::connect(server.address, "/ws/live").await.closed().await;
    assert_eq!(code, 1002);
    assert!(reason.starts_with("no hello came"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subprotocols_are_agreed_on_or_refused() {
    let server = Server::start().await;
    assert!(Client::try_connect(server.address, "/ws/live", None).await.is_ok());
    for (target, protocol) in
        [("/ws/live", Some("soap")), ("/ws/live?stream=a/b", None), ("/ws/live?stream=a&stream=b", None)]
    {
        match Client::try_connect(server.address, target, protocol).await.err().map(|e| *e) {
            Some(Error::Http(answer)) => assert_eq!(answer.status(), 400, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
}
