//! What a token has let in ends when it is replaced or taken back, whatever it is, and nothing else does.

use std::time::Duration;

use ooblex_tests::http::{self, Response};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::ws::{Reply, Socket};
use ooblex_tests::{PATIENCE, peers, sdp, skip, wait_for};
use serde_json::{Value, json};

use crate::marked;

const PUBLISH: &str = "publish-0123456789abcdef";
const VIEW: &str = "view-0123456789abcdef";
const CONTROL: &str = "control-0123456789abcdef";
const ACTIONS: [&str; 2] = ["revoke", "rotate"];
/// The kind of a picture of the live protocol that is a JPEG.
const JPEG: u8 = 3;
const KEY: u8 = 1;

fn with(server: &Server, token: &str, method: &str, target: &str) -> Response {
    let bearer = format!("Bearer {token}");
    http::send(server.addr, method, target, &[("Authorization", &bearer)], &[])
}

/// Begins a WebRTC session that nobody is behind; gives its place.
#[track_caller]
fn session(server: &Server, token: &str, target: &str) -> String {
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/sdp"), ("Authorization", &*bearer)];
    let offer = sdp::offer();
    let offer = if target.starts_with("/whep") { offer.replace("a=sendonly", "a=recvonly") } else { offer };
    let answer = http::send(server.addr, "POST", target, &headers, offer.as_bytes()).expect(201);
    answer.header("Location").expect("a place").to_owned()
}

/// A picture of the live protocol (`docs/LIVE_PROTOCOL.md`) whose time of capture is not known.
fn live_picture(sequence: u64) -> Vec<u8> {
    [&[1, JPEG, KEY, 0][..], &sequence.to_be_bytes(), &[0; 8], &marked(1, sequence as u32)].concat()
}

/// A publisher by the live protocol, one picture of whom was taken.
#[track_caller]
fn live_publisher(server: &Server, token: &str, stream: &str) -> Socket {
    let mut socket = Socket::open(server.addr, &format!("/t/{token}/ws/live?stream={stream}")).unwrap();
    socket.send_text(r#"{"type": "hello", "publish": {"codecs": ["jpeg"]}}"#);
    assert_eq!(socket.json()["type"], "welcome");
    publish(&mut socket, 1);
    socket
}

#[track_caller]
fn publish(socket: &mut Socket, sequence: u64) {
    socket.send(&live_picture(sequence)).unwrap();
    loop {
        match socket.reply() {
            Reply::Json(told) if told["type"] == "ack" && told["seq"] == sequence => return,
            Reply::Json(_) => {}
            closed @ Reply::Closed(..) => panic!("{closed:?}"),
        }
    }
}

/// A viewer by the live protocol who has got a picture.
#[track_caller]
fn live_viewer(server: &Server, target: &str) -> Socket {
    let mut socket = Socket::open(server.addr, target).unwrap();
    socket.send_text(r#"{"type": "hello", "view": {"codecs": ["jpeg"]}}"#);
    socket.binary_within(PATIENCE).expect("a picture");
    socket
}

/// Replaces a token or takes it back; gives the answer.
#[track_caller]
fn take_back(server: &Server, kind: &str, action: &str) -> Value {
    let told = with(server, CONTROL, "POST", &format!("/tokens/{kind}/{action}")).expect(200).json();
    assert_eq!(told["token"].is_string(), action == "rotate", "{told}");
    told
}

fn is_closed(line: &Value) -> bool {
    line["event"] == "state" && line["state"] == "closed"
}

#[test]
fn every_way_of_watching_ends_with_the_view_token() {
    for action in ACTIONS {
        let server = Server::start(&["--view-token", VIEW, "--control-token", CONTROL]);
        let publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
        wait_for("pictures", || {
            (with(&server, VIEW, "GET", "/streams/cam/snapshot.jpg").status == 200).then_some(())
        });
        let peer = match peers::watch_aiortc(&[&server.url("/whep/cam"), "--loopback", "--token", VIEW]) {
            Ok(peer) => peer,
            Err(reason) => skip!("{reason}"),
        };
        peer.line("a picture", 0, |line| line["event"] == "seen" && line["counter"].is_u64());
        let [mut mjpeg, mut others_mjpeg] = [VIEW, CONTROL].map(|token| {
            let mut viewer = Viewer::open(server.addr, &format!("/t/{token}/cam.mjpg"));
            viewer.next();
            viewer
        });
        let [mut socket, mut others_socket] =
            [VIEW, CONTROL].map(|token| live_viewer(&server, &format!("/t/{token}/ws/view?stream=cam")));
        let [place, others_place] = [VIEW, CONTROL].map(|token| session(&server, token, "/whep/cam"));

        let told = take_back(&server, "view", action);
        assert_eq!(told["sessions"], 2, "the one with somebody behind it, and the other: {told}");
        assert!(told["connections"].as_u64() >= Some(2), "{told}");
        assert!(mjpeg.closed_within(PATIENCE), "{action}: MJPEG goes on");
        assert!(socket.ends_within(PATIENCE), "{action}: /ws/view goes on");
        peer.line("the end of WHEP", 0, is_closed);
        expect_problem(&with(&server, CONTROL, "DELETE", &place), 404);
        assert_eq!(with(&server, VIEW, "GET", "/status").status, 401);

        (0..10).for_each(|_| drop(others_mjpeg.next()));
        assert!(
            !others_socket.ends_within(Duration::from_millis(500)),
            "{action}: another one's /ws/view ended"
        );
        with(&server, CONTROL, "DELETE", &others_place).expect(200);
        publisher.stop();
    }
}

#[test]
fn every_way_of_publishing_ends_with_the_publish_token() {
    for action in ACTIONS {
        let server = Server::start(&["--publish-token", PUBLISH, "--control-token", CONTROL]);
        let peer = match peers::aiortc(&[&server.url("/whip/peer"), "--loopback", "--token", PUBLISH]) {
            Ok(peer) => peer,
            Err(reason) => skip!("{reason}"),
        };
        server.wait_for_stream("peer", "a picture", |entry| entry["width"].as_u64() > Some(0));
        let mut live = live_publisher(&server, PUBLISH, "live");
        let mut others_live = live_publisher(&server, CONTROL, "others");
        let mut upload = Socket::open(server.addr, &format!("/t/{PUBLISH}/ws/upload?stream=upload")).unwrap();
        upload.send(&marked(1, 1)).unwrap();
        assert_eq!(upload.json()["type"], "ack");
        let [place, others_place] = [(PUBLISH, "/whip/a"), (CONTROL, "/whip/b")]
            .map(|(token, target)| session(&server, token, target));

        let told = take_back(&server, "publish", action);
        assert_eq!(told["sessions"], 2, "{told}");
        assert!(live.ends_within(PATIENCE), "{action}: /ws/live goes on");
        assert!(upload.ends_within(PATIENCE), "{action}: /ws/upload goes on");
        peer.line("the end of WHIP", 0, is_closed);
        expect_problem(&with(&server, CONTROL, "DELETE", &place), 404);
        assert_eq!(with(&server, PUBLISH, "POST", "/upload").status, 401);

        publish(&mut others_live, 2);
        with(&server, CONTROL, "DELETE", &others_place).expect(200);
    }
}

#[test]
fn what_came_by_a_link_or_its_tag_ends_with_the_link() {
    let server = Server::start(&["--view-token", VIEW, "--control-token", CONTROL]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    wait_for("pictures", || {
        (with(&server, VIEW, "GET", "/streams/cam/snapshot.jpg").status == 200).then_some(())
    });
    let token_of = |told: &Value| told.as_str().expect("a token").to_owned();
    let access = |token: &str| with(&server, token, "GET", "/access").expect(200).json();
    let link = token_of(&access(VIEW)["link"]);
    let [of_link, of_view] = [&*link, VIEW].map(|token| token_of(&access(token)["tag"]["token"]));
    let mut ending: Vec<Viewer> = [format!("/t/{link}/cam.mjpg"), format!("/cam.mjpg?token={of_link}")]
        .iter()
        .map(|target| Viewer::open(server.addr, target))
        .collect();
    let mut staying = Viewer::open(server.addr, &format!("/cam.mjpg?token={of_view}"));
    let mut socket = live_viewer(&server, &format!("/ws/view?stream=cam&token={link}"));
    let place = session(&server, &link, "/whep/cam");

    assert_eq!(take_back(&server, "link", "revoke")["sessions"], json!(1));
    for viewer in &mut ending {
        assert!(viewer.closed_within(PATIENCE), "a viewer by the link goes on");
    }
    assert!(socket.ends_within(PATIENCE), "/ws/view by the link goes on");
    expect_problem(&with(&server, VIEW, "DELETE", &place), 404);
    for token in [link, of_link] {
        assert_eq!(with(&server, &token, "GET", "/status").status, 401);
    }
    (0..10).for_each(|_| drop(staying.next()));
    publisher.stop();
}
