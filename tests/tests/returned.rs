//! Publishers by `/webrtc/offer` that ask for their processed picture get it back on the same connection, and whoever only
//! asks for a picture watches.

use ooblex_tests::browser::{Browser, installed, write_camera};
use ooblex_tests::http;
use ooblex_tests::peers::{aiortc, publish_from, watch_aiortc, with_publisher};
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::{sdp, skip, wait_for};
use serde_json::{Value, json};

/// Pictures that have to come back.
const ENOUGH: usize = 60;

/// What `/status` says about what a publisher gets back.
fn returned(server: &Server) -> Value {
    let status = server.json("/status");
    let webrtc = status["transports"].as_array().unwrap().iter().find(|entry| entry["name"] == "webrtc");
    webrtc.unwrap()["sessions"][0]["returned"].clone()
}

fn is_picture(line: &Value) -> bool {
    line["event"] == "seen" && line["counter"].is_u64()
}

fn counters(lines: &[Value]) -> Vec<u64> {
    lines.iter().filter(|line| is_picture(line)).map(|line| line["counter"].as_u64().unwrap()).collect()
}

fn aiortc_gets_back(codec: &str, back: &str) {
    let server = Server::start(&[]);
    let url = server.url("/webrtc/offer");
    let arguments = [&url, "--id", "7", "--codec", codec, "--stream", "cam", "--back", back, "--loopback"];
    let mut peer = match aiortc(&arguments) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    wait_for("pictures", || (counters(&peer.lines()).len() >= ENOUGH).then_some(()));
    let lines = peer.lines();
    let seen = counters(&lines);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "each is newer than the one before: {seen:?}");
    assert!(lines.iter().filter(|line| is_picture(line)).all(|line| line["id"] == 7), "its own");
    let told =
        wait_for("a report", || Some(returned(&server)).filter(|told| told["pictures"].as_u64() > Some(30)));
    assert_eq!(told["codec"], codec.to_uppercase(), "{told}");
    peer.command(&json!({ "do": "close" }));
    wait_for("the end of both directions", || {
        server.stream("cam").is_none_or(|stream| stream["state"] == "ended").then_some(())
    });
}

#[test]
fn aiortc_gets_its_picture_back_in_the_section_that_it_sends_in() {
    aiortc_gets_back("vp8", "same");
}

#[test]
fn aiortc_gets_its_picture_back_in_a_section_of_its_own() {
    aiortc_gets_back("h264", "own");
}

fn chromium_gets_back(back: &str) {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("camera.y4m");
    write_camera(&film, 9, 1200, 320, 240);
    let browser = Browser::start(programs, Some(&film));
    browser.open(&server.url("/client.html"));
    let more = json!({ "stream": "cam", "model": "grayscale" });
    let options = json!({ "codec": "vp8", "width": 320, "height": 240, "back": back, "more": more });
    let told = publish_from(&browser, "/webrtc/offer", &options);
    assert_eq!(told["status"], 200, "{told}");
    let seen = wait_for("pictures", || {
        let seen = with_publisher(&browser, "return publisher.back.seen.filter(Boolean)");
        seen.as_array().filter(|seen| seen.len() >= ENOUGH).cloned()
    });
    assert!(
        seen.windows(2).all(|pair| pair[0]["counter"].as_u64() < pair[1]["counter"].as_u64()),
        "{seen:?}"
    );
    assert!(seen.iter().all(|mark| mark["id"] == 9), "{seen:?}");
    let last = seen.last().unwrap();
    assert!(last["colour"].as_f64() < Some(3.0), "it is processed: {last}");
    assert_eq!(returned(&server)["codec"], "VP8");
}

#[test]
fn chromium_gets_its_picture_back_in_the_section_that_it_sends_in() {
    chromium_gets_back("same");
}

#[test]
fn chromium_gets_its_picture_back_in_a_section_of_its_own() {
    chromium_gets_back("own");
}

#[test]
fn an_offer_that_only_receives_watches() {
    let server = Server::start(&[]);
    let _publisher = Publisher::start(server.addr, "cam", 7, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let peer = match watch_aiortc(&[&server.url("/webrtc/offer?stream=cam"), "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    wait_for("pictures", || (counters(&peer.lines()).len() >= ENOUGH).then_some(()));
    let seen = counters(&peer.lines());
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert_eq!(server.stream("cam").unwrap()["viewers"], 1);
}

#[test]
fn only_who_may_view_gets_something_back() {
    let (publish, control) = ("a-token-that-only-publishes", "a-token-that-may-do-all");
    let view = "a-token-that-only-watches";
    let server =
        Server::start(&["--publish-token", publish, "--view-token", view, "--control-token", control]);
    let send = |token: &str, direction: &str, more: Value| {
        let sdp = sdp::offer().replace("a=sendonly", direction);
        let mut body = json!({ "sdp": sdp, "type": "offer" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let bearer = format!("Bearer {token}");
        let headers = [("Content-Type", "application/json"), ("Authorization", &bearer)];
        http::send(server.addr, "POST", "/webrtc/offer", &headers, body.to_string().as_bytes())
    };
    let direction = |answer: &http::Response| {
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        let sdp = value["sdp"].as_str().unwrap().to_owned();
        let found = sdp.lines().find(|line| line.starts_with("a=sendrecv") || line.starts_with("a=recvonly"));
        found.unwrap_or_else(|| panic!("{sdp}")).to_owned()
    };
    let answer = send(publish, "a=sendrecv", json!({ "stream": "one" })).expect(200);
    assert_eq!(direction(&answer), "a=recvonly", "it is taken, and the answer says that nothing comes back");
    let answer = send(control, "a=sendrecv", json!({ "stream": "two" })).expect(200);
    assert_eq!(direction(&answer), "a=sendrecv");
    let answer = send(control, "a=sendonly", json!({ "stream": "three" })).expect(200);
    assert_eq!(direction(&answer), "a=recvonly", "it did not ask");
    let problem = expect_problem(&send(publish, "a=recvonly", json!({})), 403);
    assert_eq!(problem["code"], "right_missing", "{problem}");
    let problem = expect_problem(&send(control, "a=recvonly", json!({ "stream": "nobody" })), 404);
    assert_eq!(problem["code"], "unknown_stream", "{problem}");
    let problem = expect_problem(&send(control, "a=recvonly", json!({ "model": "blur" })), 422);
    assert_eq!((&problem["code"], &problem["field"]), (&json!("effect_of_another"), &json!("effect")));
}
